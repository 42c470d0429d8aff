"""The difference of two rows of runs: its size, its interval and its p value, over users and seeds.

    paired    two rows' users and seeds -> Difference
    holm      p values of a family -> adjusted for their number

Users and seeds both vary.  A difference of seed means that is tested over users alone takes the luck of the seeds for
an effect: so each row's seeds add what their means vary by.

    SE^2 = (variance of the users' differences of seed means) / U + s_A^2 / S_A + s_B^2 / S_B

with Satterthwaite's degrees of freedom.  In a closed form nothing is random, s = 0.  Of one seed of a trained model
nobody knows s: the difference has neither interval nor p.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd


class Measured(NamedTuple):
    """A metric of the runs of one row."""

    users: pd.DataFrame  # one row a user, one column a seed; NaN where the metric says nothing of a user
    closed: bool = False  # a closed form: every seed would give the same


class Difference(NamedTuple):
    """A mean over users with its 95 % interval and p value; None where they are not known."""

    users: int
    mean: float
    low: float | None
    high: float | None
    p: float | None


def paired(ours, theirs):
    """The Difference ours - theirs, two-sided.  ours, theirs: Measured.

    Users of both count.  (A user may lack a test row where only some labels make an edge of the item.)
    """
    our_means, their_means = (side.users.mean(axis=1).dropna() for side in (ours, theirs))
    our_means, their_means = our_means.align(their_means, join="inner")
    differences = (our_means - their_means).to_numpy()
    n, mean = len(differences), float(differences.mean())
    if n < 2 or any(not side.closed and side.users.shape[1] < 2 for side in (ours, theirs)):
        return Difference(n, mean, None, None, None)

    parts = [(differences.var(ddof=1) / n, n - 1)]  # (variance of the mean, its degrees of freedom)
    for side in (ours, theirs):
        seeds = side.users.shape[1]
        if not side.closed:
            parts.append((side.users.loc[our_means.index].mean().var(ddof=1) / seeds, seeds - 1))
    return with_interval(n, mean, parts)


def with_interval(n, mean, parts):
    """The Difference of a mean over n users.  parts: [(a variance of the mean, its degrees of freedom), ...]."""
    from scipy.stats import t  # takes a second

    variance = sum(part for part, _ in parts)
    if variance == 0:  # users and seeds agree to the last digit
        return Difference(n, mean, mean, mean, 1.0 if mean == 0 else 0.0)
    freedom = variance**2 / sum(part**2 / of for part, of in parts)
    half = t.ppf(0.975, freedom) * np.sqrt(variance)
    p = 2 * t.sf(abs(mean) / np.sqrt(variance), freedom)
    return Difference(n, mean, mean - half, mean + half, float(p))


def adjust(p_values):
    """A Series of p values adjusted for their number (Holm 1979); NaN is no test, and stays NaN.

    The k-th smallest of n is multiplied by n - k + 1, and none is below the one before it.
    """
    ranked = p_values.sort_values()
    left = p_values.count() - np.arange(len(ranked))
    return (ranked * left).clip(upper=1).cummax().reindex(p_values.index)


def add_differences(table, found, words="", family="data set"):
    """The table with the columns of Differences, found, one or None a row.

    words: before the name of each column.  family: the column by which p values are adjusted.
    """
    columns = ["users", "difference", "difference low", "difference high", "p"]
    missing = [None] * len(columns)
    tests = pd.DataFrame([each or missing for each in found], table.index, columns, dtype=float)
    tests["p, Holm"] = tests.groupby(table[family])["p"].transform(adjust)
    return table.join(tests.add_prefix(words))
