"""Metrics of negative recommendation, and the closed forms that a run is set against."""

import conrec_models
import numpy as np
import pytest
import synthetic
from scipy import stats

from conrec.data.events import read
from conrec.data.instances import instances, past, window
from conrec.decoder.policy import Policy
from conrec.learning.chain import Known
from conrec.results import closed_forms, evaluation, metrics
from preparation.rules import TRAIN
from utils import InputError, read_json

NAN = float("nan")


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted") / "world"
    synthetic.write_planted_world(folder, n_users=60, n_items=120, n_events=50)
    return read(folder)[0]


@pytest.fixture(scope="module")
def truth(events):
    return metrics.truth(events, "test")


def test_what_lists_are_worth_by_hand():
    """Three instances over items 0-9: item 9 is of the long tail, and so is the second user."""
    disliked = [np.array(items) for items in ([1, 2], [9], [3, 9, 4, 5])]
    small = metrics.Truth(
        users=None, positions=None, next=np.array([1, 9, 3]), negatives=disliked, positives=None, candidates=None,
        long_user=np.array([False, True, False]), long_item=np.arange(10) == 9,
    )  # fmt: skip
    found = metrics.measure_lists(np.array([[0, 2, 1], [0, 1, 9], [5, 4, 0]]), small, (2, 3))
    expected = {
        "hr@2": [0, 0, 0], "fhr@2": [1, 0, 1], "frecall@2": [0.5, 0, 0.5],
        "hr@3": [1, 1, 0], "fhr@3": [1, 1, 1], "frecall@3": [1, 1, 0.5],
        "luf@2": [NAN, 0, NAN], "lif@2": [NAN, 0, 1], "lif-strict@2": [NAN, 0, 0],
        "luf@3": [NAN, 1, NAN], "lif@3": [NAN, 1, 1], "lif-strict@3": [NAN, 1, 0],
    }  # fmt: skip
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, name)


def test_ties_for_the_choice_and_in_pairs_are_shared():
    scores = np.array([[3, 1, 2], [3, 3, 2], [1, 2, 0], [0, 0, 0]], float)
    assert metrics.choice(scores).tolist() == [1, 0.5, 0, 1 / 3]
    low = [np.array([2.0, 1.0]), np.array([1.0]), np.array([]), np.array([1.0])]
    high = [np.array([0.0, 1.5, 2.0]), np.array([1.0]), np.array([1.0]), np.array([])]
    np.testing.assert_allclose(metrics.dislike_auc(low, high), [3.5 / 6, 0.5, NAN, NAN])


def test_the_truth_is_that_of_the_windows(events, truth):
    assert truth.next.tolist() == truth.candidates[:, 0].tolist()
    assert [items[0] for items in truth.negatives] == truth.next.tolist()
    rating = {(u, i): r for u, i, r in zip(events.users, events.items, events.ratings, strict=True)}
    for user, negatives, positives in zip(truth.users, truth.negatives, truth.positives, strict=True):
        assert all(rating[user, item] <= 2 for item in negatives)
        assert all(rating[user, item] >= 4 for item in positives)


def test_means_and_intervals_are_over_the_instances_a_metric_applies_to():
    values = np.array([1, NAN, 0, 1, 1])
    per_instance = {"some": values, "one": np.array([NAN, 2.0]), "none": np.array([NAN])}
    assert metrics.means(per_instance) == {"some": 0.75, "one": 2.0, "none": None}
    halves = metrics.intervals(per_instance)
    low, high = stats.t.interval(0.95, 3, loc=0.75, scale=stats.sem([1, 0, 1, 1]))
    assert halves["some"] == pytest.approx((high - low) / 2) and halves["one"] is None and halves["none"] is None


def test_any_instance_of_a_user_may_be_the_one_that_chooses(events):
    every, drawn = metrics.every(events, "validation"), metrics.drawn(events, "validation")
    assert drawn.users.tolist() == np.unique(every.users).tolist()
    later = 0
    for place, user in enumerate(drawn.users):
        (rows,) = np.nonzero(every.users == user)
        (row,) = rows[every.positions[rows] == drawn.positions[place]]
        assert drawn.negatives[place].tolist() == every.negatives[row].tolist()
        later += row > rows[0]
    assert 5 < later < (np.bincount(every.users) > 1).sum()


def test_every_instance_counts_and_each_user_as_much_as_any_other(events):
    every = metrics.every(events, "test")
    users, positions = instances(events, "test", every=True)
    assert np.array_equal(every.users, users) and np.array_equal(every.positions, positions)
    assert len(users) > 1.5 * len(np.unique(users))
    lists = np.random.default_rng(0).permuted(np.tile(np.arange(events.n_items), (len(users), 1)), axis=1)[:, :20]
    found = metrics.measure_every(lists, every, (5, 20))
    for place, user in enumerate(np.unique(users)):
        hits = []
        for row in np.flatnonzero(users == user):
            items, ratings = window(events, user, positions[row])
            hits.append(np.isin(items[ratings <= 2], lists[row]).any())
        assert found["fhr-every@20"][place] == pytest.approx(np.mean(hits))
    assert set(found) == {"fhr-every@5", "fhr-every@20"}


# ------------------------------------------------------------------------------------ closed forms


@pytest.fixture(scope="module")
def ranked(events):
    """{name: (scores, lists)}"""
    found = closed_forms.rank(closed_forms.Fitted(events), *instances(events, "test"), 20)
    return {name: rest for name, *rest in found}


def dense(events, kept):
    x = np.zeros((events.n_users, events.n_items))
    x[events.users[kept], events.items[kept]] = 1
    return x


def ease(x, ridge):
    inverse = np.linalg.inv(x.T @ x + ridge * np.eye(x.shape[1]))
    b = -inverse / np.diag(inverse)
    np.fill_diagonal(b, 0)
    return b


def by_hand(events):
    """The table of closed forms, written out with dense matrices, for one instance a user: {name: (n, I)}."""
    train = events.parts == TRAIN
    low, high = events.ratings <= 2, events.ratings >= 4
    x_low, x_high, x = (dense(events, train & kept) for kept in (low, high, train))
    users, positions = instances(events, "test")
    before, late = (np.zeros(len(events.users), bool) for _ in range(2))
    for user, p in zip(users, positions, strict=True):
        first = events.first[user]
        before[first : first + p] = True
        late[first + max(p - 20, 0) : first + p] = True
    h_low, h_high, h, h_late = (dense(events, kept)[users] for kept in (before & low, before & high, before, late))
    disliked = x_low.sum(0) / (x.sum(0) + 20) + 0.01
    sums = np.bincount(events.items[train], events.ratings[train], minlength=events.n_items)
    means = (sums + 5 * events.ratings[train].mean()) / (x.sum(0) + 5)
    norms = np.maximum(np.sqrt(x.sum(0)), 1e-9)
    n = len(users)
    return {
        "reversed EASE on positives": -h_high @ ease(x_high, 200),
        "low mean rating": np.tile(-means, (n, 1)),
        "popularity, negatives": np.tile(x_low.sum(0), (n, 1)),
        "EASE, negatives": h_low @ ease(x_low, 500),
        "two factors": np.maximum(h @ ease(x, 200), 0.001) * disliked,
        "item-kNN, last 20 events": h_late @ (x.T @ x / norms / norms[:, None]),
        "EASE, last 20 events": h_late @ ease(x, 200),
        "two factors, last 20 events": np.maximum(h_late @ ease(x, 200), 0.001) * disliked,
    }


def test_closed_forms_are_their_formulas_and_leave_out_what_was_rated(events, ranked):
    expected = by_hand(events)
    assert {*expected, "random"} == set(ranked) == set(closed_forms.SYSTEMS)
    rated = past(events, *instances(events, "test")).toarray() > 0
    for name, wanted in expected.items():
        scores, lists = ranked[name]
        np.testing.assert_allclose(scores, wanted, atol=1e-5, err_msg=name)
        assert wanted.std() > 1e-3, name  # not a comparison of nothing
        assert not np.take_along_axis(rated, lists, 1).any(), name


def test_every_system_is_evaluated_on_test_and_validation(events, ranked, truth, monkeypatch):
    monkeypatch.setattr(closed_forms, "AT_ONCE", 7)
    known = Known(events)
    found = closed_forms.evaluate(known, (5, 20))
    assert list(found) == list(closed_forms.SYSTEMS)
    name, n_users = "two factors", len(truth.users)
    expected = metrics.measure_lists(ranked[name][1], truth, (5, 20)) | metrics.measure_scores(ranked[name][0], truth)
    assert all(np.array_equal(found[name][metric], values, equal_nan=True) for metric, values in expected.items())
    row, scores = 3, ranked[name][0][3]
    gaps = scores[truth.negatives[row]][:, None] - scores[truth.positives[row]]
    assert found[name]["auc"][row] == pytest.approx(((gaps > 0) + 0.5 * (gaps == 0)).mean())
    best = truth.candidates[row][scores[truth.candidates[row]].argmax()]
    assert found[name]["cand_ll"][row] == (best == truth.next[row])
    assert found[name]["fhr-every@20"].shape == (n_users,) and 0.2 < found[name]["fhr-every@20"].mean() < 0.9
    assert len(found[name]["fhr-validation@20"]) == len(known.validation.users)


def test_a_catalogue_that_does_not_fit_is_refused_beforehand(events, monkeypatch):
    closed_forms.refuse_what_does_not_fit(events)
    needed = 31 * events.n_items**2 + 12 * events.n_users * events.n_items
    monkeypatch.setattr("machine.hardware.available_memory", lambda device: needed - 1)
    with pytest.raises(InputError, match=f"{events.n_items} x {events.n_items} weights and scores of {events.n_users}"):
        closed_forms.refuse_what_does_not_fit(events)
    monkeypatch.setattr("machine.hardware.available_memory", lambda device: None)  # macOS does not say
    closed_forms.refuse_what_does_not_fit(events)


def test_an_evaluation_counts_the_prompts_that_it_cut_itself(events, truth, tmp_path):
    backbone, trie, catalog = conrec_models.tiny(conrec_models.catalog(events.n_items))
    backbone.context = 40  # an event takes four tokens
    policy, counts = Policy(events, backbone, trie, shown=(20, 20), n_beams=20), []
    for name in "ab":
        (tmp_path / name).mkdir()
        evaluation.evaluate_stage(policy, truth, ["negatives", "both"], catalog, [20], True, tmp_path / name)
        rows = read_json(tmp_path / name / "figures.json")["rows"]
        counts.append([row["cut prompts"] for row in rows])
    assert counts[0] == counts[1] and 0 < counts[0][0] < counts[0][1]
