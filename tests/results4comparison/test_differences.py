"""Differences of two rows: users and seeds both vary, and p values are of families."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from results4comparison.differences import Measured, adjust, paired


def rows(random, n_users=200, seeds=5, of_seed=0.0, shift=0.0, shared=0.0, user=None):
    """(users, seeds): what a user gets, plus noise of the user's own, plus what a seed adds for everybody."""
    noise = 0.05 * random.normal(size=(n_users, seeds))
    table = shift + noise + of_seed * random.normal(size=seeds)
    return pd.DataFrame(table if user is None else table + user[:, None])


def test_the_standard_error_is_that_of_users_and_of_seeds():
    random = np.random.default_rng(0)
    user = random.normal(size=200)
    ours, theirs = rows(random, of_seed=0.02, user=user), rows(random, seeds=3, of_seed=0.03, user=user)
    found = paired(Measured(ours), Measured(theirs))
    difference = ours.mean(axis=1) - theirs.mean(axis=1)
    parts = [difference.var() / 200, ours.mean().var() / 5, theirs.mean().var() / 3]
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / 199 + parts[1] ** 2 / 4 + parts[2] ** 2 / 2)
    error = sum(parts) ** 0.5
    assert found.users == 200 and found.mean == pytest.approx(difference.mean())
    assert found.p == pytest.approx(2 * scipy.stats.t.sf(abs(difference.mean()) / error, freedom))
    half = scipy.stats.t.ppf(0.975, freedom) * error
    assert (found.low, found.high) == (pytest.approx(found.mean - half), pytest.approx(found.mean + half))


def test_two_closed_forms_are_a_paired_test_over_users():
    random = np.random.default_rng(1)
    ours, theirs = rows(random, seeds=1), rows(random, seeds=1, shift=0.01)
    found = paired(Measured(ours, True), Measured(theirs, True))
    expected = scipy.stats.ttest_rel(ours[0], theirs[0])
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval()))


@pytest.mark.parametrize(("closed", "known"), [((False, True), False), ((True, False), True), ((True, True), True)])
def test_one_seed_of_a_trained_row_gets_neither_interval_nor_p(closed, known):
    random = np.random.default_rng(2)
    ours, theirs = rows(random, seeds=1), rows(random, seeds=4)
    found = paired(Measured(ours, closed[0]), Measured(theirs, closed[1]))
    assert found.mean == pytest.approx(ours[0].mean() - theirs.mean(axis=1).mean())
    assert all((value is not None) == known for value in (found.low, found.high, found.p))


def test_alike_rows_differ_by_nothing_and_users_of_one_row_only_do_not_count():
    same = pd.DataFrame({"a": [0.1, 0.5, 0.9]})
    assert paired(Measured(same, True), Measured(same.rename(columns={"a": "b"}), True)) == (3, 0, 0, 0, 1)
    ours = pd.DataFrame({"a": [0.1, 0.5, np.nan, 0.9]}, index=list("wxyz"))
    theirs = pd.DataFrame({"b": [0.1, 0.4, 0.4, 0.9]}, index=list("xyzv"))
    found = paired(Measured(ours, True), Measured(theirs, True))
    assert found.users == 2 and found.mean == pytest.approx((0.5 + 0.9 - 0.1 - 0.4) / 2)


def test_where_nothing_differs_but_the_luck_of_seeds_few_p_values_are_small():
    """A test over users alone calls two fifths of such differences clear; it is what was done here before."""
    random, small, naive = np.random.default_rng(3), 0, 0
    for _ in range(400):
        user = random.normal(size=300)
        ours, theirs = (rows(random, 300, 5, 0.006, user=user) for _ in range(2))
        small += paired(Measured(ours), Measured(theirs)).p < 0.05
        naive += scipy.stats.ttest_rel(ours.mean(axis=1), theirs.mean(axis=1)).pvalue < 0.05
    assert small / 400 < 0.08 and naive / 400 > 0.25


def test_holm_multiplies_each_p_value_by_what_is_left_and_never_falls():
    assert adjust(pd.Series([0.01, 0.04, 0.03, 0.005])).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert adjust(pd.Series([0.5, None, 0.9])).tolist() == pytest.approx([1, np.nan, 1], nan_ok=True)
