"""What a filter is worth to the lists of another model: filter_report_NAME.json.

The lists are filtered with what CoNRec predicted as of test, so that the test events are news to it, and then by
controls that remove as many places of the same lists.
"""

import time

import numpy as np
import pandas as pd

from conrec.data.instances import numbers_of, sparse
from conrec.results import closed_forms, metrics
from conrec.results.filter import control_scores, leave, places, scores
from preparation.rules import TEST
from training.evaluation import ranking_metrics

UNMEASURED = "not measurable here: this split trains on every negative"
CUT = 20
RANKING = (f"recall@{CUT}", f"ndcg@{CUT}")
SHOWN = ("liked", "disliked", *RANKING)


def report(lists, conrec):
    """The report as a dict.  lists: filter_lists.Lists.  conrec: filter_lists.Conrec."""
    table, events, predictions = lists.table, conrec.events, conrec.predictions["test"]
    users, items = table.user_number.to_numpy(), table.item_number.to_numpy()
    rows = pd.factorize(table.user)[0]  # the row's list
    begun = time.perf_counter()
    near = scores(predictions, conrec.E, users, items)
    gone = near > conrec.threshold
    left = leave(rows, gone, lists.k)
    seconds = time.perf_counter() - begun

    looked_at = (users >= 0) & (predictions[users, 0] >= 0)  # lists of users with a prediction
    liked, disliked = test_rows(events, lists.data)
    figures = Figures(users[looked_at], items[looked_at], liked, disliked, conrec.E)
    before = leave(rows, np.zeros(len(rows), bool), lists.k)
    plain = figures.of(before[looked_at])
    systems = {"before": summary(plain), "CoNRec": summary(figures.of(left[looked_at]), plain)}
    for name, of_rows in controls(events, users, items, looked_at):
        most = np.zeros(len(rows), bool)
        most[np.argsort(-of_rows, kind="stable")[: gone.sum()]] = True
        systems[name] = summary(figures.of(leave(rows, most, lists.k)[looked_at]), plain)
    n_users = len(figures.numbers)
    return {
        "conrec_run": conrec.name,
        "theta": conrec.theta,
        "users": n_users,
        "users of the lists": int(table.user.nunique()),
        "places changed": int((before & ~left).sum()),
        "removed": int(gone.sum()),
        "disliked": "measured" if disliked is not None else UNMEASURED,
        "microseconds a user": round(1e6 * seconds / max(1, n_users), 1),
        "bytes a user": 2 * predictions.shape[1] * conrec.E.shape[1],
        "lists": systems,
    }


def test_rows(events, data):
    """(liked, disliked): CSR (U, I) of 0/1 of the test events that neither side has trained on.

    data: TrainData of the run that made the lists: of the liked ones only its own test rows count, of the disliked ones
    those of its users and items that are not among its train rows.  disliked is None where all are.  data None: of a
    CSV nothing is known, all test events count.
    """
    test = events.parts == TEST
    found = []
    for sign in (events.is_positive, events.is_negative):
        rows = test & sign
        found.append(sparse(events.users[rows], events.items[rows], (events.n_users, events.n_items)))
    if data is None:
        return found
    liked, disliked = found
    liked = liked.multiply(numbered(events, data, data.test)).tocsr()
    users, items = known(events, data)
    disliked = disliked.multiply(users[:, None]).multiply(items[None]).tocsr()
    disliked = disliked - disliked.multiply(numbered(events, data, data.seen))
    disliked.eliminate_zeros()
    return liked, disliked if disliked.nnz else None


def known(events, data):
    """((U,), (I,)) of 0/1: which users and items of the events the run knows."""
    return np.isin(events.user_ids, data.user_ids) * 1.0, np.isin(events.item_ids, data.item_ids) * 1.0


def numbered(events, data, rows):
    """dataloader.Rows of a run as CSR (U, I) of 0/1 under the numbers of the events."""
    users = np.repeat(numbers_of(data.user_ids, events.user_ids), np.diff(rows.start))
    items = numbers_of(data.item_ids, events.item_ids)[rows.cols]
    both = (users >= 0) & (items >= 0)
    return sparse(users[both], items[both], (events.n_users, events.n_items))


def controls(events, users, items, looked_at):
    """Yields (control, (rows,) scores); -inf where CoNRec may not remove, either."""
    fitted, rows = closed_forms.Fitted(events), np.flatnonzero(looked_at & (items >= 0))
    for name, of_items in control_scores(fitted, "test"):
        of_rows = np.full(len(users), -np.inf)
        of_rows[rows] = of_items[users[rows], items[rows]]
        yield name, of_rows


# ------------------------------------------------------------------------------------------- figures


class Figures:
    """Figures of what is left of lists, user by user."""

    def __init__(self, users, items, liked, disliked, E):
        """users, items: (rows,) numbers, item -1: none; each user's best first.  liked, disliked: of test_rows."""
        self.numbers, self.user_of_row = np.unique(users, return_inverse=True)  # (n,), (rows,)
        self.items, self.E = items, E
        self.liked = found_in(liked, users, items)
        self.disliked = None if disliked is None else found_in(disliked, users, items)
        self.n_liked = np.diff(liked.indptr)[self.numbers]  # (n,)

    def of(self, left):
        """{figure: (n,) float64, NaN where it is not of this user}, and "coverage": how many items.

        left: (rows,) bool.
        """
        n, rows = len(self.numbers), np.flatnonzero(left)
        rows = rows[np.argsort(self.user_of_row[rows], kind="stable")]
        users, items = self.user_of_row[rows], self.items[rows]
        found = {"liked": np.bincount(users, self.liked[rows], n)}
        if self.disliked is not None:
            found["disliked"] = np.bincount(users, self.disliked[rows], n)

        place = places(users)
        top = place < CUT
        hits = np.zeros((n, CUT), bool)
        hits[users[top], place[top]] = self.liked[rows[top]]
        ranking = ranking_metrics(hits, np.maximum(self.n_liked, 1), [CUT])
        for name in RANKING:
            found[name] = np.where(self.n_liked > 0, ranking[name], np.nan)
        lists = np.split(items, np.searchsorted(users, np.arange(1, n)))
        found["distance within"] = np.array([apart(self.E[items[items >= 0]]) for items in lists])
        return found | {"coverage": len(np.unique(items))}


def found_in(matrix, users, items):
    """(rows,) bool: whether the pair is in a CSR (U, I) of 0/1."""
    return (np.asarray(matrix[users, items]).ravel() > 0) & (items >= 0)


def apart(vectors):
    """Mean of 1 - similarity over the pairs of a list, NaN where there is none."""
    n = len(vectors)
    if n < 2:
        return np.nan
    return 1 - (np.square(vectors.sum(0)).sum() - np.square(vectors).sum()) / (n * (n - 1))


def summary(figures, before=None):
    """{figure: its mean}, and where `before` is given {"FIGURE less before": [mean, low, high]}: the difference and its
    95 % interval, paired over users.
    """
    per_user = {name: values for name, values in figures.items() if name != "coverage"}
    found = metrics.means(per_user) | {"coverage": figures["coverage"]}
    if before is not None:
        gaps = {f"{name} less before": values - before[name] for name, values in per_user.items()}
        halves = metrics.intervals(gaps)
        for name, mean in metrics.means(gaps).items():
            if halves[name] is not None:
                found[name] = [mean, mean - halves[name], mean + halves[name]]
    return found


def report_lines(found):
    """Lines to print."""
    theta = "none, so that nothing is removed" if found["theta"] is None else f"{found['theta']:.4f}"
    lines = [
        f"{found['users']} of {found['users of the lists']} users have predicted dislikes as of test; theta {theta}",
        f"{found['places changed']} places of their lists changed; disliked test items: {found['disliked']}",
        f"{'a user':<32}" + "".join(f"{name:>12}" for name in SHOWN),
    ]
    for name, figures in found["lists"].items():
        cells = [figures.get(column) for column in SHOWN]
        words = ["" if cell is None else f"{cell:.4f}" for cell in cells]
        lines.append(f"{name:<32}" + "".join(f"{word:>12}" for word in words))
    return lines
