"""What is asked about events: moments at which a user's next dislike is to be predicted.

An instance is (user, p): at position p is a negative, and at least one lies before it.  Its history is all before p, of
any part.  Its window, the events from p on for `window` days, ends at the latest with p's part, so that nothing of
validation or test enters training.
"""

import numpy as np

N_CANDIDATES = 20


def instances(events, part, every=None):
    """(users, positions), two (n,) int64 arrays in order of users.

    every: all instances of the part, else the first of each user; None: all in train, first in validation and test.
    """
    raise NotImplementedError


def history(events, user, p):
    """(items, ratings) of the user before position p, oldest first."""
    raise NotImplementedError


def recent(events, user, p):
    """(items, ratings) of the last `recent` days before p (event clock: recent * day events), oldest first."""
    raise NotImplementedError


def window(events, user, p):
    """(items, ratings) from p on, p's own first."""
    raise NotImplementedError


def candidates(events, part, seed=0):
    """(items (n, 20), exposed (n,)) of the part's instances, column 0 the true one.

    The 19 others: the user's later ratings >= 4 in the part, nearest first; then 3s likewise; then items that the user
    never rates, drawn without replacement in proportion to train events.  exposed: how many of the 19 the user rated.
    """
    raise NotImplementedError


def long_tails(events):
    """(users (U,) bool with < 3 train negatives, items (I,) bool with < 5)."""
    raise NotImplementedError


def matrix(events, sign=None, part="train"):
    """scipy CSR (U, I) float32 of 0/1: the part's "negative", "neutral", "positive" or (None) all events."""
    raise NotImplementedError


def past(events, users, positions, sign=None):
    """scipy CSR (n, I) float32 of 0/1: each instance's history of that sign.  What is masked in ranking: sign None."""
    raise NotImplementedError


def as_of(events, moment):
    """(users, positions) of every user with a negative in the history: moment "validation" (history < a), "test" (< b)
    or "now" (all events)."""
    raise NotImplementedError


def top_items(scores, seen, k):
    """(n, k) int64 items of the highest scores (n, I), those in seen (CSR (n, I)) left out, ties by item number.

    Raises InputError where an instance has fewer than k items left.
    """
    raise NotImplementedError


def is_in(events, items):
    """Item ids -> item numbers, -1 where the catalog lacks one."""
    raise NotImplementedError


del np
