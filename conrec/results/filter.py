"""The filter: items that look like dislikes rather than likes leave the lists of another model.

    odds(u, i) = log p(i | dislike) - log p(i | like), after u's history;  above theta the item is dropped

    odds_of      of (user, item) pairs as of a moment
    resemblance  the paper's score: how near an item lies to what the user is predicted to dislike
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
FILTER_VERSION = 1  # raise it when odds would differ
AT_ONCE = 2**16  # pairs whose similarities are worked out together
EASE_BOTH = "EASE, negatives less positives"
CONTROLS = ("low mean rating", "EASE, negatives", "reversed EASE on positives", EASE_BOTH, "random")
RESEMBLANCE = "resemblance to predicted dislikes"
BESIDE_IT = 0.998  # the most that an item that is not itself predicted can resemble one that is


def odds_of(policy, moment, users, items):
    """(n,) float32 odds of the pairs (users, items) as of the beginning of a part; -inf where a number is -1.

    A user's history of all signs is the prompt, once with <dislike> and once with <like> after it.
    """
    found = np.full(len(users), -np.inf, np.float32)
    known = np.flatnonzero((users >= 0) & (items >= 0))
    order = known[np.argsort(users[known], kind="stable")]
    asked, first = np.unique(users[order], return_index=True)
    rows = np.split(order, first[1:]) if len(asked) else []  # of each user
    positions = everybody(policy.events, moment)[1][asked]
    for user_rows, odds in zip(rows, policy.odds(asked, positions, [items[of] for of in rows]), strict=True):
        found[user_rows] = odds
    return found


def resemblance(predictions, E, users, items):
    """(n,) float32 of the pairs (users, items): the largest E(i) . E(e) over the user's predicted dislikes e (the
    paper's score), and above all of these the predicted ones themselves, by rank: from 1 to 2.

    predictions: (U, 20) items, -1 in the rows of users without any: -inf, as where a number is -1.
    """
    found = np.full(len(users), -np.inf, np.float32)
    known = np.flatnonzero((users >= 0) & (items >= 0) & (predictions[users, 0] >= 0))
    for rows in np.split(known, range(AT_ONCE, len(known), AT_ONCE)):
        listed = predictions[users[rows]]  # (b, 20)
        near = np.einsum("bkd,bd->bk", E[listed], E[items[rows]], optimize=True).max(1)
        same = listed == items[rows][:, None]
        by_rank = 2 - same.argmax(1) / listed.shape[1]
        found[rows] = np.where(same.any(1), by_rank, near.clip(-1, BESIDE_IT))
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


def outcome(events, odds, predictions, E, budget=0.01, seed=0):
    """filter.json as a dict: theta, and what is removed in test, for the odds and for controls.

    odds: {"validation", "test"}: (n,) of the part's events in their order, as of its beginning.  predictions: the same
    parts, (U, 20) items.  Thresholds come from validation's events, what is removed is counted among those of test.
    """
    validation, test = (np.flatnonzero(events.parts == part) for part in (VALIDATION, TEST))
    by_system = {"CoNRec": [odds["validation"], odds["test"]]}
    by_system[RESEMBLANCE] = [
        resemblance(predictions[part], E, events.users[rows], events.items[rows])
        for part, rows in (("validation", validation), ("test", test))
    ]
    by_system |= of_controls(events, validation, test, seed)
    liked = events.is_positive
    found = []
    for system, (before, after) in by_system.items():
        for share in sorted({*BUDGETS, budget}):
            threshold = theta(before[liked[validation]], share)
            row = {"system": system, "budget": share, "theta": finite(threshold)}
            found.append(row | removed(events, test, after > threshold))
    return {
        "budget": budget,
        "theta": finite(theta(odds["validation"][liked[validation]], budget)),
        "users": len(np.unique(events.users[test])),
        "positives": int(liked[test].sum()),
        "negatives": int(events.is_negative[test].sum()),
        "outcome": found,
    }


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
