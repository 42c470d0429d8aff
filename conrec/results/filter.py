"""The filter: items too near to what a user is predicted to dislike leave the lists of another model.

    score(u, i) = max over the predicted dislikes e of u of  E(i) . E(e);  above theta the item is dropped

    vectors      the predicted dislikes as vectors: pes.safetensors
    scores       of (user, item) pairs
    theta        the threshold that costs a given share of liked items
    leave        what is left of lists
    outcome      theta from validation, what it removes in test, beside controls: filter.json

The command that filters a run's lists is in filter_lists.py, what it is worth to them in filter_report.py.
"""

import numpy as np

from conrec.data.instances import everybody
from conrec.results import closed_forms
from preparation.rules import TEST, VALIDATION

BUDGETS = (0.01, 0.02, 0.05, 0.10)  # shares of liked items that may go, in filter.json
AT_ONCE = 2**16  # pairs whose similarities are worked out together
EASE_BOTH = "EASE, negatives less positives"
CONTROLS = ("low mean rating", "EASE, negatives", "reversed EASE on positives", EASE_BOTH, "random")


def vectors(predictions, E):
    """(U, 20, d) float16.  predictions: (U, 20) items, -1 in the rows of users without any, whose vectors are 0."""
    found = np.asarray(E, np.float16)[predictions]  # (U, 20, d)
    found[predictions < 0] = 0
    return found


def scores(predictions, E, users, items):
    """(n,) float32 score(u, i) of the pairs (users, items), in [-1, 1]; -inf for users without predictions.

    users, items: numbers, -1 where there is none: also -inf.  E (I, d) is taken as it is kept, in float16, so that a
    threshold means the same before and after.
    """
    E = np.asarray(E, np.float16).astype(np.float32)
    found = np.full(len(users), -np.inf, np.float32)
    known = np.flatnonzero((users >= 0) & (items >= 0) & (predictions[users, 0] >= 0))
    for rows in np.split(known, range(AT_ONCE, len(known), AT_ONCE)):
        disliked = E[predictions[users[rows]]]  # (b, 20, d)
        found[rows] = np.einsum("bkd,bd->bk", disliked, E[items[rows]], optimize=True).max(1).clip(-1, 1)
    return found


def theta(of_positives, budget):
    """The threshold that lets floor(budget x n) of n positives' scores lie above it: the next largest.

    inf without a positive; below the least where all may go.
    """
    n = len(of_positives)
    if not n:
        return float("inf")
    m = int(budget * n + 1e-9)  # .07 x 100 is 7
    descending = np.sort(of_positives)[::-1]
    return float(descending[m] if m < n else descending[-1] - 1)


def leave(users, gone, k):
    """(rows,) bool: the rows that are left of lists, each user's best first, when those `gone` are taken out.

    k: length of a list; one that runs out of others is filled up with the best of what was to go.  None: any length.
    """
    if k is None:
        return ~gone
    order = np.lexsort((gone, users))  # of each user, what stays, then what goes; stable, so each by rank
    place = np.empty(len(users), np.int64)
    place[order] = places(users[order])
    return place < k


def places(users):
    """(rows,) 0, 1, ... within each user of rows that come by user."""
    first = np.flatnonzero(np.diff(users, prepend=users[:1] - 1)) if len(users) else np.zeros(0, np.int64)
    return np.arange(len(users)) - np.repeat(first, np.diff(first, append=len(users)))


# ------------------------------------------------------------------------------ theta and what it removes


def outcome(events, predictions, E, budget=0.01, seed=0):
    """filter.json as a dict: theta, and what is removed in test, for the predictions and for controls.

    predictions: {"validation": (U, 20), "test": (U, 20)} items, -1 in the rows of users without any.
    Thresholds come from the validation events of users with a prediction as of validation.  What is removed is counted
    among the test events of users with one as of test.
    """
    validation, test = rows_with(events, predictions, "validation"), rows_with(events, predictions, "test")
    ours = [of_rows(events, predictions["validation"], E, validation), of_rows(events, predictions["test"], E, test)]
    by_system = {"CoNRec": ours} | of_controls(events, validation, test, seed)
    liked = events.is_positive
    found = []
    for system, (before, after) in by_system.items():
        for share in sorted({*BUDGETS, budget}):
            threshold = theta(before[liked[validation]], share)
            row = {"system": system, "budget": share, "theta": finite(threshold)}
            found.append(row | removed(events, test, after > threshold))
    return {
        "budget": budget,
        "theta": finite(theta(ours[0][liked[validation]], budget)),
        "users": len(np.unique(events.users[test])),
        "positives": int(liked[test].sum()),
        "negatives": int(events.is_negative[test].sum()),
        "outcome": found,
    }


def rows_with(events, predictions, moment):
    """The rows of the part that begins at the moment, of users with a prediction as of it."""
    part = {"validation": VALIDATION, "test": TEST}[moment]
    return np.flatnonzero((events.parts == part) & (predictions[moment][events.users, 0] >= 0))


def of_rows(events, predictions, E, rows):
    return scores(predictions, E, events.users[rows], events.items[rows])


def removed(events, rows, gone):
    """{"positives": share of the positives among the rows that are gone, "positives ±", "negatives", "negatives ±"}."""
    found = {}
    for name, sign in (("positives", events.is_positive), ("negatives", events.is_negative)):
        kept = sign[rows]
        found[name], found[f"{name} ±"] = share_of(gone[kept], events.users[rows][kept])
    return found


def share_of(gone, users):
    """(share, half of its 95 % interval), of events that come by user: a ratio of two sums over users.

    None where there is no event, or no second user.
    """
    if not len(gone):
        return None, None
    _, users = np.unique(users, return_inverse=True)
    n_gone, n = np.bincount(users, gone), np.bincount(users)
    share = n_gone.sum() / n.sum()
    if len(n) < 2:
        return float(share), None
    spread = np.sqrt(((n_gone - share * n) ** 2).sum() * len(n) / (len(n) - 1)) / n.sum()
    return float(share), float(1.96 * spread)


def finite(number):
    """JSON has no infinity: None, and nothing is removed."""
    return number if np.isfinite(number) else None


# ---------------------------------------------------------------------------------------------- controls


def of_controls(events, validation, test, seed=0):
    """{control: [scores of the rows `validation`, of the rows `test`]}, the history as of the beginning of the part."""
    fitted, found = closed_forms.Fitted(events), {name: [] for name in CONTROLS}
    for moment, rows in (("validation", validation), ("test", test)):
        for name, of_items in control_scores(fitted, moment, seed):
            found[name].append(of_items[events.users[rows], events.items[rows]])
    return found


def control_scores(fitted, moment, seed=0):
    """Yields (control, scores (U, I)), higher: rather to be removed.  moment: "validation", "test" or "now"."""
    histories = closed_forms.Histories(fitted.events, *everybody(fitted.events, moment))
    for name in CONTROLS:
        if name == EASE_BOTH:
            negatives = closed_forms.ease_negatives(fitted, histories, seed)
            yield name, negatives + closed_forms.reversed_ease(fitted, histories, seed)
        else:
            yield name, closed_forms.SYSTEMS[name](fitted, histories, seed)
