"""What is asked about events: moments at which a user's next dislike is to be predicted.

An instance is (user, p): at position p is a negative, and at least one lies before it.  Its history is all before p, of
any part.  Its window, the events from p on for WINDOW_DAYS, ends at the latest with p's part, so that nothing of
validation or test enters training.
"""

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix

from conrec.data.events import DAY_SECONDS, EVENTS_OF_DAY, PARTS, RECENT_DAYS, WINDOW_DAYS
from preparation.rules import TRAIN
from utils import InputError

MOMENTS = ("validation", "test", "now")  # as of which is predicted: the parts' beginnings, and after all events
N_CANDIDATES = 20
FEW_OF_USER, FEW_OF_ITEM = 3, 5  # train negatives; with fewer it is of the long tail


def instances(events, part, every=False):
    """(users, positions), two (n,) int64 arrays in order of users, then positions.

    every: all instances of the part, else the first of each user.
    """
    negative = events.is_negative
    so_far = np.concatenate(([0], negative.cumsum()))  # negatives in the rows before each row
    before = so_far[:-1] - so_far[events.first[events.users]]  # (N,) of the same user
    rows = np.flatnonzero(negative & (before > 0) & (events.parts == PARTS.index(part)))
    if not every:
        _, first = np.unique(events.users[rows], return_index=True)
        rows = rows[first]
    return events.users[rows], events.positions[rows]


def history(events, user, p):
    """(items, ratings) of the user before position p, oldest first."""
    return rows_of(events, user, 0, p)


def recent(events, user, p):
    """(items, ratings) of the RECENT_DAYS before p, oldest first.

    p may be the number of the user's events: as of now.
    """
    if events.clock == "event":
        return rows_of(events, user, max(0, p - RECENT_DAYS * EVENTS_OF_DAY), p)
    times = events.times[events.first[user] : events.first[user + 1]]
    since = times[min(p, len(times) - 1)] - RECENT_DAYS * DAY_SECONDS
    return rows_of(events, user, min(p, np.searchsorted(times, since)), p)


def window(events, user, p):
    """(items, ratings) from p on, p's own first."""
    end = end_of_part(events, user, p)
    if events.clock == "event":
        return rows_of(events, user, p, min(end, p + WINDOW_DAYS * EVENTS_OF_DAY))
    times = events.times[events.first[user] : events.first[user + 1]]
    until = np.searchsorted(times, times[p] + WINDOW_DAYS * DAY_SECONDS)  # first one that is too late
    return rows_of(events, user, p, min(end, until))


def end_of_part(events, user, p):
    """The position behind the last of p's part."""
    return events.cuts[user, events.parts[events.first[user] + p]]


def rows_of(events, user, begin, end):
    """(items, ratings) of a user's positions begin .. end - 1."""
    first = events.first[user]
    rows = slice(first + begin, first + end)
    return events.items[rows], events.ratings[rows]


# ------------------------------------------------------------------------------------------- choice


def candidates(events, part, seed=0):
    """(n, 20) items of the part's instances, column 0 the true one.

    The 19 others: the user's later ratings >= 4 in the part, nearest first; then 3s likewise; then items that the user
    never rates, drawn without replacement in proportion to train events.
    Raises InputError where a user leaves too few items to draw from.
    """
    users, positions = instances(events, part)
    random = np.random.default_rng([seed, PARTS.index(part)])
    weight = np.bincount(events.items[events.parts == TRAIN], minlength=events.n_items).astype(float)
    chosen = np.empty((len(users), N_CANDIDATES), np.int64)
    for row, (user, p) in enumerate(zip(users, positions, strict=True)):
        items, ratings = rows_of(events, user, p, end_of_part(events, user, p))
        later = [items[:1], items[ratings >= 4], items[(ratings > events.negative) & (ratings < 4)]]
        rated = np.concatenate(later)[:N_CANDIDATES]
        drawn = draw_unrated(events, user, N_CANDIDATES - len(rated), weight, random)
        chosen[row] = np.concatenate((rated, drawn))
    return chosen


def draw_unrated(events, user, n, weight, random):
    """n distinct items that the user never rates.  Items without a train event come last."""
    open_ = np.ones(events.n_items, bool)
    open_[events.items[events.first[user] : events.first[user + 1]]] = False
    items = np.flatnonzero(open_)
    if len(items) < n:
        raise InputError(
            f"user {events.user_ids[user]}: has rated all but {len(items)} of {events.n_items} items, too many for "
            f"the choice of {N_CANDIDATES} candidates; CoNRec needs a larger catalog"
        )
    known, unknown = items[weight[items] > 0], items[weight[items] == 0]
    n_known = min(n, len(known))
    if n_known:
        known = random.choice(known, n_known, replace=False, p=weight[known] / weight[known].sum())
    return np.concatenate((known[:n_known], random.permutation(unknown)[: n - n_known]))


# ------------------------------------------------------------------------------------------- counts


def long_tails(events):
    """(users (U,) bool with < 3 train negatives, items (I,) bool with < 5)."""
    negatives = matrix(events, "negative")
    of_user = np.diff(negatives.indptr)
    of_item = np.bincount(negatives.indices, minlength=events.n_items)
    return of_user < FEW_OF_USER, of_item < FEW_OF_ITEM


def matrix(events, sign=None, part="train"):
    """scipy CSR (U, I) float32 of 0/1: the part's "negative", "positive" or (None) all events."""
    kept = has_sign(events, sign) & (events.parts == PARTS.index(part))
    return sparse(events.users[kept], events.items[kept], (events.n_users, events.n_items))


def past(events, users, positions, sign=None, last=None):
    """scipy CSR (n, I) float32 of 0/1: each instance's history of that sign.  What is masked in ranking: sign None.

    last: the most recent events alone that count; None for all.
    """
    kept = has_sign(events, sign)
    starts = events.first[users]
    wanted = [np.flatnonzero(kept[s : s + p]) + s for s, p in zip(starts, positions, strict=True)]
    if last is not None:
        wanted = [rows[-last:] for rows in wanted]
    instance = np.repeat(np.arange(len(users)), [len(rows) for rows in wanted])
    rows = np.concatenate([np.zeros(0, np.int64), *wanted])
    return sparse(instance, events.items[rows], (len(users), events.n_items))


def has_sign(events, sign):
    """(N,) bool."""
    if sign is None:
        return np.ones(len(events.users), bool)
    return events.is_negative if sign == "negative" else events.is_positive


def sparse(rows, cols, shape):
    return csr_matrix((np.ones(len(rows), np.float32), (rows, cols)), shape)


# -------------------------------------------------------------------------------------- predictions


def as_of(events, moment):
    """(users, positions) of every user with a negative in the history: moment "validation" (history < a), "test" (< b)
    or "now" (all events)."""
    users, positions = everybody(events, moment)
    some = np.diff(past(events, users, positions, "negative").indptr) > 0
    return users[some], positions[some]


def everybody(events, moment):
    """(users, positions) of all users as of a moment."""
    return np.arange(events.n_users), events.cuts[:, MOMENTS.index(moment)]


def top_items(scores, seen, k):
    """(n, k) int64 items of the highest scores (n, I), those in seen (CSR (n, I)) left out, ties by item number.

    Raises InputError where an instance has fewer than k items left.
    """
    most = np.diff(seen.indptr).max(initial=0)
    if scores.shape[1] - most < k:
        raise InputError(f"--top_k {k}: a user has rated {most} of {scores.shape[1]} items, so fewer are left to rank")
    scores = np.array(scores, copy=True)
    scores[np.repeat(np.arange(seen.shape[0]), np.diff(seen.indptr)), seen.indices] = -np.inf
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


def numbers_of(ids, known):
    """The place of each id in `known`, int64, -1 where it is not among them."""
    return pd.Index(np.asarray(known).astype(str)).get_indexer(np.asarray(ids).astype(str))


def by_user(events, kept):
    """For each user the items of the events `kept` (N,) bool, oldest first."""
    users, items = events.users[kept], events.items[kept]
    return np.split(items, np.searchsorted(users, np.arange(1, events.n_users)))
