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
import pandas as pd

from conrec.data.instances import everybody
from conrec.results.closed_forms import SYSTEMS, Fitted, Histories
from preparation.rules import TEST, VALIDATION

BUDGETS = (0.01, 0.02, 0.05, 0.10)  # shares of liked items that may go, in filter.json
FILTER_VERSION = 1  # raise it when odds would differ
AT_ONCE = 2**16  # pairs whose similarities are worked out together
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
    """(rows,) bool: the k rows that are left of each user's list, best first, when those `gone` are taken out.

    One that runs out of others is filled up with the best of what was to go.
    """
    rows = pd.DataFrame({"user": users, "gone": gone}).sort_values("gone", kind="stable")
    return (rows.groupby("user").cumcount() < k).sort_index().to_numpy()


# ------------------------------------------------------------------------ theta and what it removes


def outcome(events, odds, predictions, E, budget=0.01):
    """filter.json as a dict: theta, and what is removed in test, for the odds and for controls.

    odds: {"validation", "test"}: (n,) of the part's events in their order, as of its beginning.  predictions: the same
    parts, (U, 20) items.  Thresholds come from validation's events, what is removed is counted among those of test.
    """
    by_part = {}
    rows_of = {"validation": events.parts == VALIDATION, "test": events.parts == TEST}
    fitted = Fitted(events)
    for part, rows in rows_of.items():
        users, items = events.users[rows], events.items[rows]
        by_part[part] = {"CoNRec": odds[part], RESEMBLANCE: resemblance(predictions[part], E, users, items)}
        for name, scores in control_scores(fitted, part):
            by_part[part][name] = scores[users, items]

    liked = {part: events.is_positive[rows] for part, rows in rows_of.items()}
    disliked = events.is_negative[rows_of["test"]]
    found = []
    for system, before in by_part["validation"].items():
        for share in sorted({*BUDGETS, budget}):
            threshold = theta(before[liked["validation"]], share)
            gone = by_part["test"][system] > threshold
            row = {"system": system, "budget": share, "theta": finite(threshold)}
            row |= {"positives": share_of(gone[liked["test"]]), "negatives": share_of(gone[disliked])}
            found.append(row)
    return {
        "budget": budget,
        "theta": finite(theta(odds["validation"][liked["validation"]], budget)),
        "users": len(np.unique(events.users[rows_of["test"]])),
        "positives": int(liked["test"].sum()),
        "negatives": int(disliked.sum()),
        "outcome": found,
    }


def share_of(gone):
    """Share of the events that go, None where there is none."""
    return float(gone.mean()) if len(gone) else None


def finite(number):
    """JSON has no infinity: None, and nothing is removed."""
    return number if np.isfinite(number) else None


def control_scores(fitted, moment):
    """Yields (control, scores (U, I)), higher: rather to be removed.  moment: "validation" or "test"."""
    histories = Histories(fitted.events, *everybody(fitted.events, moment))
    yield "low mean rating", SYSTEMS["low mean rating"](fitted, histories)
    of_negatives = SYSTEMS["EASE, negatives"](fitted, histories)
    yield "EASE, negatives", of_negatives
    less_positives = SYSTEMS["reversed EASE on positives"](fitted, histories)
    yield "reversed EASE on positives", less_positives
    yield "EASE, negatives less positives", of_negatives + less_positives
    yield "random", SYSTEMS["random"](fitted, histories)
