"""What a filter is worth to the lists of another model: filter_report_NAME.json.

The lists are filtered as CoNRec judges as of test, so that the test events are news to it, and then by controls that
remove as many places of the same lists.  What counts is how many disliked items go for the liked ones that are lost: so
all of them are also compared at the same loss of likes.
"""

import time

import numpy as np
import pandas as pd

from conrec.data.instances import numbers_of, sparse
from conrec.results import closed_forms, metrics
from conrec.results.filter import RESEMBLANCE, control_scores, leave, odds_of, places, resemblance
from options.conrec import SAME_LOSS
from preparation.rules import TEST
from training.evaluation import ranking_metrics

UNMEASURED = "not measurable here: this split trains on every negative"
CUT = 20
RANKING = (f"recall@{CUT}", f"ndcg@{CUT}")
LOSSES = (0.01, 0.02, 0.05, 0.1)  # shares of the liked items in the lists
SHARES = np.concatenate(([0], np.geomspace(0.001, 0.75, 40)))  # of the places of a pool that go; then lists run out
BOOTSTRAPS = 1000
SHOWN = ("liked", "disliked", *RANKING)


def report(lists, conrec):
    """The report as a dict.  lists: filter_lists.Lists.  conrec: filter_lists.Conrec."""
    table, events = lists.table, conrec.events
    users, items = table.user_number.to_numpy(), table.item_number.to_numpy()
    rows = pd.factorize(table.user)[0]  # the row's list
    begun = time.perf_counter()
    odds = odds_of(conrec.policy, "test", users, items)
    gone = odds > conrec.threshold
    seconds = time.perf_counter() - begun

    looked_at = users >= 0
    liked, disliked = test_rows(events, lists.data)
    figures = Figures(users[looked_at], items[looked_at], liked, disliked, conrec.E)
    of_systems = {"CoNRec": odds} | controls(events, conrec, users, items)

    def left(gone):
        return leave(rows, gone, lists.k)[looked_at]

    before, ours = left(np.zeros(len(rows), bool)), left(gone)
    plain = figures.of(before)
    systems = {"before": summary(plain)}
    for name, of_rows in of_systems.items():
        after = ours if name == "CoNRec" else left(highest(of_rows, [gone.sum()])[0])
        systems[name] = summary(figures.of(after), plain)
    n_users = len(figures.numbers)
    found = {
        "dataset": conrec.dataset,
        "conrec_run": conrec.name,
        "theta": conrec.theta,
        "users": n_users,
        "users of the lists": int(table.user.nunique()),
        "places changed": int((before & ~ours).sum()),
        "removed": int(gone.sum()),
        "disliked": "measured" if disliked is not None else UNMEASURED,
        "microseconds a user": round(1e6 * seconds / max(1, n_users), 1),
        "lists": systems,
    }
    if disliked is not None:
        counts = {}
        for name, of_rows in of_systems.items():
            steps = (SHARES * np.isfinite(of_rows).sum()).astype(int)  # of the places that may be removed
            counts[name] = [figures.counts(left(gone)) for gone in highest(of_rows, steps)]
        found[SAME_LOSS] = at_equal_losses(counts)
    return found


def highest(scores, numbers):
    """[(rows,) bool of the n highest scores, ties by row, for each n of numbers]."""
    rank = np.empty(len(scores), np.int64)
    rank[np.argsort(-scores, kind="stable")] = np.arange(len(scores))
    return [rank < n for n in numbers]


# ------------------------------------------------------------------------------- at the same loss of likes


def at_equal_losses(counts, seed=0):
    """{loss: {system: {"disliked less": [mean, low, high], "CoNRec less it": [mean, low, high]}}}.

    counts: {system: [(liked, disliked) of each step of SHARES, (U,) each]}.  loss: share of the liked items in the
    lists that may be lost.  A system removes more and more until it first loses more than that (linear between two
    steps); "disliked less" is the share of the disliked items in the lists that are then gone.  Both are None of a
    system that never loses so much, since what it would remove stands at the end of the pool.  The 95 % intervals are
    of the bootstrap over users (BOOTSTRAPS resamples, the same for all systems).  None where the lists hold no liked or
    no disliked item.
    """
    if not all(side.any() for side in next(iter(counts.values()))[0]):
        return None
    n_users = len(next(iter(counts.values()))[0][0])
    drawn = np.random.default_rng(seed).multinomial(n_users, np.full(n_users, 1 / n_users), BOOTSTRAPS)
    weights = np.concatenate([np.ones((1, n_users)), drawn])  # the sample itself first
    totals = {}
    for name, steps in counts.items():
        totals[name] = [weights @ np.stack(sides, 1) for sides in zip(*steps, strict=True)]  # (1 + B, steps) each
    found = {}
    for loss in LOSSES:
        less = {name: removed_at(*sides, loss) for name, sides in totals.items()}
        found[f"{loss:g}"] = {
            name: {"disliked less": interval(of), "CoNRec less it": interval(less["CoNRec"] - of)}
            for name, of in less.items()
        }
    return found


def removed_at(liked, disliked, loss):
    """(b,) shares of the disliked that go where a share `loss` of the liked does.  liked, disliked: (b, steps) what is
    left after each step; the last step before one that loses more counts, and linearly what lies between the two.  NaN
    where none does."""
    shares = np.full(len(liked), np.nan)
    for row, (likes, dislikes) in enumerate(zip(liked, disliked, strict=True)):
        allowed = (1 - loss) * likes[0]
        too_many = np.flatnonzero(likes < allowed)
        if len(too_many) and dislikes[0]:
            last = too_many[0] - 1
            part = (likes[last] - allowed) / (likes[last] - likes[last + 1])
            shares[row] = 1 - (dislikes[last] + part * (dislikes[last + 1] - dislikes[last])) / dislikes[0]
    return shares


def interval(values):
    """[of the sample, 2.5th, 97.5th percentile of the resamples that have a value]; None where the sample has none."""
    if np.isnan(values[0]):
        return None
    return [float(values[0]), *np.nanpercentile(values[1:], [2.5, 97.5]).tolist()]


# -------------------------------------------------------------------------------------------- what is counted


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


def controls(events, conrec, users, items):
    """{control: (rows,) scores}; -inf where CoNRec may not remove, either."""
    known = np.flatnonzero((users >= 0) & (items >= 0))
    found = {RESEMBLANCE: resemblance(conrec.predictions["test"], conrec.E, users, items)}
    for name, of_items in control_scores(closed_forms.Fitted(events), "test"):
        found[name] = np.full(len(users), -np.inf)
        found[name][known] = of_items[users[known], items[known]]
    return found


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

    def counts(self, left):
        """((n,) liked, (n,) disliked) places of what is left.  left: (rows,) bool."""
        users, n = self.user_of_row[left], len(self.numbers)
        return np.bincount(users, self.liked[left], n), np.bincount(users, self.disliked[left], n)

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
        f"{found['users']} of {found['users of the lists']} users are known to the run; theta {theta}",
        f"{found['places changed']} places of their lists changed; disliked test items: {found['disliked']}",
        f"{'a user':<36}" + "".join(f"{name:>12}" for name in SHOWN),
    ]
    for name, figures in found["lists"].items():
        cells = [figures.get(column) for column in SHOWN]
        words = ["" if cell is None else f"{cell:.4f}" for cell in cells]
        lines.append(f"{name:<36}" + "".join(f"{word:>12}" for word in words))
    equal = found.get(SAME_LOSS)
    if equal:
        lines += ["", "share of the disliked items that go where a share of the liked ones does:"]
        lines.append(f"{'':<36}" + "".join(f"{float(loss):>12.0%}" for loss in equal))
        for name in next(iter(equal.values())):
            cells = [of_loss[name]["disliked less"] for of_loss in equal.values()]
            words = ["not lost" if cell is None else f"{cell[0]:.1%}" for cell in cells]
            lines.append(f"{name:<36}" + "".join(f"{word:>12}" for word in words))
    return lines
