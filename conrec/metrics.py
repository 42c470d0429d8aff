"""Metrics of negative recommendation, per instance; NaN where one does not apply to an instance.

    truth              what came true of the instances of a part
    of_lists           ranked lists -> hr, fhr, frecall, luf, lif, lif-strict (and fhr-c) at each cut-off
    choice             scores of 20 candidates -> share of the choice that is right
    dislike_auc        scores of window items -> share of (negative, positive) pairs in the right order
    means, intervals   over instances
"""

from typing import NamedTuple

import numpy as np


class Truth(NamedTuple):
    """The instances of a part, and what came true.  One instance a user, so rows are users."""

    users: np.ndarray  # (n,)
    positions: np.ndarray  # (n,)
    next: np.ndarray  # (n,) the next negative
    negatives: list  # n arrays: the window's negatives
    positives: list  # n arrays: the window's positives
    neighbours: list | None  # n arrays: negatives with their Swing neighbours, where given
    candidates: np.ndarray  # (n, 20), column 0 the true one
    exposed: np.ndarray  # (n,) bool: all 19 others are items that the user rated
    long_user: np.ndarray  # (n,) bool: fewer than 3 train negatives
    long_item: np.ndarray  # (I,) bool: fewer than 5 train negatives


def truth(events, part, seed=0, neighbours=None):
    """The Truth of "validation" or "test".  neighbours: what reward.swing returns, for fhr-c."""
    raise NotImplementedError


def of_lists(lists, truth, top_k=(20,)):
    """{"hr@20": (n,) float64, "fhr@20", "frecall@20", "luf@20", "lif@20", "lif-strict@20"[, "fhr-c@20"], ...}.

    lists: (n, K) items, best first, K >= max(top_k).
    """
    raise NotImplementedError


def choice(scores, exposed=None):
    """(n,) float64: 1 where column 0 of scores (n, 20) is the highest, 1/t where it shares that with t - 1 others, 0
    else.  exposed: (n,) bool, NaN where it is False."""
    raise NotImplementedError


def dislike_auc(of_negatives, of_positives):
    """(n,) float64, NaN without a pair: share of pairs whose negative has the higher score, ties count half.

    of_negatives, of_positives: n arrays of scores of the window's negatives and positives.
    """
    raise NotImplementedError


def of_scores(scores, truth):
    """The metrics that take scores (n, I) of all items: {"candidates", "candidates-exposed", "auc"} -> (n,) float64."""
    raise NotImplementedError


def forget_rate(after_alignment, now):
    """(after alignment - now) / after alignment, of ILA accuracies; NaN where the first is 0."""
    raise NotImplementedError


def means(per_instance):
    """{name: mean over the instances it applies to (None where there is none)}."""
    raise NotImplementedError


def intervals(per_instance):
    """{name: half the width of the mean's 95 % interval (normal), None with fewer than two instances}."""
    raise NotImplementedError
