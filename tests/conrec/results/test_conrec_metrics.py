"""Metrics of negative recommendation, and the closed forms that a run is set against."""

from types import SimpleNamespace

import conrec_models
import numpy as np
import pytest
import synthetic
from scipy import stats

from conrec.data.events import read
from conrec.data.instances import instances, past, top_items, window
from conrec.decoder.policy import Policy
from conrec.learning.chain import Known
from conrec.results import closed_forms, evaluation, metrics
from preparation.rules import TRAIN, VALIDATION
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


def small(neighbours=None):
    """Three instances over items 0-9: item 9 is of the long tail, and so is the second user."""
    arrays = [np.array(items) for items in ([1, 2], [9], [3, 9, 4, 5])]
    likes = [np.array(items, int) for items in ([6], [], [7, 8])]
    long_item = np.arange(10) == 9
    return metrics.Truth(
        np.arange(3), np.arange(3), np.array([1, 9, 3]), arrays, likes, neighbours, np.zeros((3, 20), int),
        np.ones(3, bool), np.array([False, True, False]), long_item,
    )  # fmt: skip


def test_what_lists_are_worth_by_hand():
    lists = np.array([[0, 2, 1], [0, 1, 9], [5, 4, 0]])
    found = metrics.of_lists(lists, small(), (2, 3))
    expected = {
        "hr@2": [0, 0, 0], "fhr@2": [1, 0, 1], "frecall@2": [0.5, 0, 0.5],
        "hr@3": [1, 1, 0], "fhr@3": [1, 1, 1], "frecall@3": [1, 1, 0.5],
        "luf@2": [NAN, 0, NAN], "lif@2": [NAN, 0, 1], "lif-strict@2": [NAN, 0, 0],
        "luf@3": [NAN, 1, NAN], "lif@3": [NAN, 1, 1], "lif-strict@3": [NAN, 1, 0],
    }  # fmt: skip
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, name)


def test_neighbours_count_for_one_metric_only():
    lists = np.array([[7], [0], [0]])
    near = [np.array([1, 2, 7]), np.array([9, 3]), np.array([3, 9, 4, 5, 0])]
    with_them, without = (metrics.of_lists(lists, small(n), (1,)) for n in (near, None))
    assert with_them.pop("fhr-c@1").tolist() == [1, 0, 1]
    assert with_them.keys() == without.keys() and with_them["fhr@1"].tolist() == [0, 0, 0]


def test_laws_of_lists(events, truth):
    """On random lists of every quality."""
    random = np.random.RandomState(0)
    seen = past(events, truth.users, truth.positions)
    for weight in (0, 0.5, 3):
        scores = random.rand(len(truth.users), events.n_items)
        for row, items in enumerate(truth.negatives):
            scores[row, items] += weight * random.rand()
        found = metrics.of_lists(top_items(scores, seen, 20), truth, (5, 20))
        for k in (5, 20):
            assert (found[f"hr@{k}"] <= found[f"fhr@{k}"]).all() and (found[f"frecall@{k}"] <= found[f"fhr@{k}"]).all()
            strict, loose = found[f"lif-strict@{k}"], found[f"lif@{k}"]
            assert (strict[~np.isnan(strict)] <= loose[~np.isnan(loose)]).all()
        assert (found["fhr@5"] <= found["fhr@20"]).all() and found["fhr@20"].mean() > 0
    assert found["hr@5"].mean() > 0.5  # the last lists are good ones


def test_a_tie_for_the_choice_is_shared():
    scores = np.array([[3, 1, 2], [3, 3, 2], [1, 2, 0], [0, 0, 0]], float)
    assert metrics.choice(scores).tolist() == [1, 0.5, 0, 1 / 3]
    np.testing.assert_array_equal(metrics.choice(scores, np.array([True, False, True, False])), [1, NAN, 0, NAN])


def test_pairs_in_the_right_order():
    low = [np.array([2.0, 1.0]), np.array([1.0]), np.array([]), np.array([1.0])]
    high = [np.array([0.0, 1.5, 2.0]), np.array([1.0]), np.array([1.0]), np.array([])]
    np.testing.assert_allclose(metrics.dislike_auc(low, high), [3.5 / 6, 0.5, NAN, NAN])


def test_scores_of_all_items_are_read_at_candidates_and_windows(truth, events):
    scores = np.random.RandomState(0).rand(len(truth.users), events.n_items)
    found = metrics.of_scores(scores, truth)
    row = 3
    own = scores[row]
    best = truth.candidates[row][np.argmax(own[truth.candidates[row]])]
    assert found["candidates"][row] == (best == truth.next[row])
    pairs = [own[low] > own[high] for low in truth.negatives[row] for high in truth.positives[row]]
    assert found["auc"][row] == pytest.approx(np.mean(pairs))
    assert np.isnan(found["candidates-exposed"]).tolist() == (~truth.exposed).tolist()


def test_the_truth_is_that_of_the_windows(events, truth):
    assert truth.next.tolist() == truth.candidates[:, 0].tolist()
    assert [items[0] for items in truth.negatives] == truth.next.tolist()
    rating = {(u, i): r for u, i, r in zip(events.users, events.items, events.ratings, strict=True)}
    for user, negatives, positives in zip(truth.users, truth.negatives, truth.positives, strict=True):
        assert all(rating[user, item] <= 2 for item in negatives)
        assert all(rating[user, item] >= 4 for item in positives)


def test_forget_rates_are_the_reported_ones():
    found = [round(100 * metrics.forget_rate(0.755, now), 1) for now in (0.518, 0.540, 0.652)]
    assert found == [31.4, 28.5, 13.6]
    assert np.isnan(metrics.forget_rate(0, 0.1))


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
    others = metrics.drawn(events, "validation", seed=1)
    assert (others.positions != drawn.positions).any()


def test_every_instance_counts_and_each_user_as_much_as_any_other(events):
    every = metrics.every(events, "test")
    users, positions = instances(events, "test", every=True)
    assert np.array_equal(every.users, users) and np.array_equal(every.positions, positions)
    assert len(users) > 1.5 * len(np.unique(users))
    lists = np.random.default_rng(0).permuted(np.tile(np.arange(events.n_items), (len(users), 1)), axis=1)[:, :20]
    found = metrics.of_every(lists, every, (5, 20))
    for place, user in enumerate(np.unique(users)):
        hits = []
        for row in np.flatnonzero(users == user):
            items, ratings = window(events, user, positions[row])
            hits.append(np.isin(items[ratings <= 2], lists[row]).any())
        assert found["fhr-every@20"][place] == pytest.approx(np.mean(hits))
    assert set(found) == {f"{name}-every@{k}" for name in ("hr", "fhr", "frecall") for k in (5, 20)}


# ------------------------------------------------------------------------------------ closed forms


@pytest.fixture(scope="module")
def scores(events):
    return dict(closed_forms.scores(closed_forms.Fitted(events), *instances(events, "test")))


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
    x_low, x_mid, x_high, x = (dense(events, train & kept) for kept in (low, ~low & ~high, high, train))
    users, positions = instances(events, "test")
    before = np.zeros(len(events.users), bool)
    for user, p in zip(users, positions, strict=True):
        before[events.first[user] : events.first[user] + p] = True
    h_low, h_mid, h_high, h = (dense(events, before & kept)[users] for kept in (low, ~low & ~high, high, before))
    late = np.zeros(len(events.users), bool)
    for user, p in zip(users, positions, strict=True):
        late[events.first[user] + max(p - 20, 0) : events.first[user] + p] = True
    h_late, all_norms = dense(events, late)[users], np.maximum(np.sqrt(x.sum(0)), 1e-9)
    disliked = x_low.sum(0) / (x.sum(0) + 20) + 0.01
    sums = np.bincount(events.items[train], events.ratings[train], minlength=events.n_items)
    means = (sums + 5 * events.ratings[train].mean()) / (x.sum(0) + 5)
    norms = np.maximum(np.sqrt(x_low.sum(0)), 1e-9)
    beside = np.hstack([x_low, x_mid, x_high])
    n = len(users)
    return {
        "reversed EASE on positives": -h_high @ ease(x_high, 200),
        "low mean rating": np.tile(-means, (n, 1)),
        "item-kNN, negatives": h_low @ (x_low.T @ x_low / norms / norms[:, None]),
        "popularity, all events": np.tile(x.sum(0), (n, 1)),
        "popularity, negatives": np.tile(x_low.sum(0), (n, 1)),
        "EASE, negatives": h_low @ ease(x_low, 500),
        "EASE, sign ignored": h @ ease(x, 200),
        "EASE, three channels": np.hstack([h_low, h_mid, h_high]) @ ease(beside, 500)[:, : events.n_items],
        "two factors": np.maximum(h @ ease(x, 200), 0.001) * disliked,
        "item-kNN, last 20 events": h_late @ (x.T @ x / all_norms / all_norms[:, None]),
        "EASE, last 20 events": h_late @ ease(x, 200),
        "two factors, last 20 events": np.maximum(h_late @ ease(x, 200), 0.001) * disliked,
    }


def test_closed_forms_are_their_formulas(events, scores):
    expected = by_hand(events)
    assert {*expected, "random"} == set(scores) == set(closed_forms.SYSTEMS)
    for name, found in expected.items():
        np.testing.assert_allclose(scores[name], found, atol=1e-5, err_msg=name)
        assert found.std() > 1e-3, name  # not a comparison of nothing


def test_an_item_that_nobody_rates_still_has_a_chance():
    fitted = SimpleNamespace(
        ease_all=np.array([[0, -0.5, 0.3]]), often_disliked=np.array([5 / 40, 10 / 50, 0]) + 0.01
    )
    found = closed_forms.two_factors(fitted, SimpleNamespace(all=np.ones((1, 1))), 0)
    np.testing.assert_allclose(found, [[0.001 * (5 / 40 + 0.01), 0.001 * (10 / 50 + 0.01), 0.3 * 0.01]])


def test_the_random_system_is_that_of_its_seed(events):
    fitted, (users, positions) = closed_forms.Fitted(events), instances(events, "test")
    runs = [next(closed_forms.scores(fitted, users, positions, ["random"], seed))[1] for seed in (0, 0, 1)]
    assert np.array_equal(runs[0], runs[1]) and not np.array_equal(runs[0], runs[2])


def test_the_table_holds_every_system_and_metric(events, truth):
    table = closed_forms.table(closed_forms.evaluate(Known(events), (5, 20)))
    assert list(table.index) == list(closed_forms.SYSTEMS)
    expected = "hr@5 fhr@20 fhr-every@20 frecall@20 luf@20 lif@20 lif-strict@20 candidates auc fhr-validation@20"
    assert set(expected.split()) <= set(table)
    assert table.loc["item-kNN, negatives", "fhr@20"] > 1.5 * table.loc["popularity, negatives", "fhr@20"]


def test_a_matrix_that_does_not_fit_is_left_out_and_said(events, monkeypatch):
    monkeypatch.setattr(closed_forms, "available_memory", lambda device: 10**4)
    lines = []
    fitted, moments = closed_forms.Fitted(events), instances(events, "test")
    found = [name for name, _ in closed_forms.scores(fitted, *moments, log=lines.append)]
    assert found == [name for name in closed_forms.SYSTEMS if name != "EASE, three channels"]
    assert "EASE, three channels: left out" in lines[0]


def test_a_catalogue_that_does_not_fit_is_refused_beforehand(events, monkeypatch):
    closed_forms.refuse_what_does_not_fit(events)
    needed = 31 * events.n_items**2 + 12 * events.n_users * events.n_items
    monkeypatch.setattr("machine.hardware.available_memory", lambda device: needed - 1)
    with pytest.raises(InputError, match=f"{events.n_items} x {events.n_items} weights and scores of {events.n_users}"):
        closed_forms.refuse_what_does_not_fit(events)


def test_alignment_asks_about_the_first_dislikes_in_time(events, monkeypatch):
    monkeypatch.setattr(evaluation, "QUESTIONS_OF_USER", 2)
    in_validation, expected = events.parts == VALIDATION, []
    for user in range(events.n_users):
        own = in_validation & (events.users == user)
        if (own & events.is_positive).sum() >= evaluation.OTHERS:
            expected += events.items[own & events.is_negative][:2].tolist()  # events lie in order of time
    assert evaluation.alignment_questions(events)[:, 0].tolist() == expected and len(expected) > 20


def test_an_evaluation_counts_the_prompts_that_it_cut_itself(events, truth, tmp_path):
    backbone, trie, catalog = conrec_models.tiny(conrec_models.catalog(events.n_items))
    backbone.context = 110  # the choice among 20 alone takes 87 tokens
    policy, counts = Policy(events, backbone, trie, shown=(20, 20), n_beams=20), []
    for name in "ab":
        (tmp_path / name).mkdir()
        evaluation.of_stage(policy, truth, ["negatives", "both"], catalog, [20], True, tmp_path / name)
        rows = read_json(tmp_path / name / "figures.json")["rows"]
        counts.append([row["cut prompts"] for row in rows])
    assert counts[0] == counts[1] and 0 < counts[0][0] < counts[0][1]
