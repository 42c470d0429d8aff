"""The filter: thresholds, what they remove, and the lists of other models without the items near predicted dislikes."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import synthetic
from scipy import stats
from scipy.sparse import csr_matrix

import main
from conrec.data import semantic_ids
from conrec.data.events import POSITIVE, read, to_frame
from conrec.data.instances import as_of, history
from conrec.results import filter as filters
from conrec.results import filter_lists
from conrec.results.filter_lists import reached
from conrec.results.filter_report import UNMEASURED, Figures, apart, at_equal_losses, removed_at, summary
from conrec.results.run_files import write_csv
from options.command_line import parse
from recommend import load_run
from results4comparison import conrec_tables, table
from utils import InputError

MOMENTS = ("validation", "test", "now")
COLUMNS = ["user", "as_of", "rank", "item", "title", "logprob"]  # of predictions.csv


# -------------------------------------------------------------------------------------------- scores


def random_case(seed=0):
    random = np.random.default_rng(seed)
    E = random.normal(size=(30, 6))
    E /= np.linalg.norm(E, axis=1, keepdims=True)
    predictions = random.integers(0, 30, (8, 20))
    predictions[[2, 5]] = -1
    return random, E.astype(np.float32), predictions


def test_the_resemblance_is_the_largest_similarity_to_a_predicted_dislike(monkeypatch):
    random, E, predictions = random_case()
    users, items = random.integers(-1, 8, 100), random.integers(-1, 30, 100)
    expected = []
    for user, item in zip(users, items, strict=True):
        if user in (-1, 2, 5) or item < 0:
            expected.append(-np.inf)
        elif item in predictions[user]:
            expected.append(2 - predictions[user].tolist().index(item) / 20)  # itself predicted: by rank
        else:
            expected.append(max(E[item] @ E[other] for other in predictions[user]))
    monkeypatch.setattr(filters, "AT_ONCE", 7)
    found = filters.resemblance(predictions, E, users, items)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.isinf(found).sum() > 10 and (found > 1).sum() > 10


def test_no_threshold_falls_among_what_resembles_itself():
    """Predicted items resemble themselves by 1, to rounding: a threshold there would let chance decide."""
    _, E, predictions = random_case()
    twins = np.repeat(E, 2, 0)  # items 2 i and 2 i + 1 have one vector
    users, items = np.repeat(np.arange(8), 60), np.tile(np.arange(60), 8)
    found = filters.resemblance(np.where(predictions < 0, -1, 2 * predictions), twins, users, items)
    finite = found[np.isfinite(found)]
    assert not ((finite > 0.999) & (finite < 1.001)).any() and (finite > 1).any() and finite.min() >= -1


class Told:
    """A policy that judges by a table (U, I)."""

    def __init__(self, events, table):
        self.events, self.table = events, table

    def odds(self, users, positions, lists):
        self.positions = positions
        return [self.table[user, items].astype(np.float32) for user, items in zip(users, lists, strict=True)]


def test_odds_are_those_of_each_pair_as_of_the_moment(tmp_path):
    world = synthetic.write_planted(tmp_path, n_users=12, n_items=40, n_events=20)
    events, random = read(world)[0], np.random.default_rng(0)
    policy = Told(events, random.normal(size=(12, events.n_items)).astype(np.float32))
    users, items = random.integers(-1, 12, 200), random.integers(-1, events.n_items, 200)
    found = filters.odds_of(policy, "test", users, items)
    expected = np.where((users < 0) | (items < 0), -np.inf, policy.table[users, items])
    assert np.array_equal(found, expected) and np.isinf(found).any()
    assert policy.positions.tolist() == events.cuts[np.unique(users[users >= 0]), 1].tolist()


@pytest.mark.parametrize("budget, above", [(0, 0), (0.01, 2), (0.07, 14), (0.5, 100), (1, 200)])
def test_theta_lets_its_share_of_positives_lie_above(budget, above):
    scores = np.random.RandomState(0).permutation(200) / 200
    assert (scores > filters.theta(scores, budget)).sum() == above


def test_theta_never_lets_more_go_where_scores_are_tied():
    scores = np.array([0.9, 0.9, 0.9, 0.1])
    assert filters.theta(scores, 0.25) == 0.9 and not (scores > 0.9).any()
    assert filters.theta(np.zeros(0), 0.01) == np.inf


# ------------------------------------------------------------------------------------- lists that are left


def test_lists_are_refilled_from_the_pool():
    users = np.repeat([3, 1], [5, 4])
    gone = np.array([True, False, False, True, False, True, True, True, False])
    assert filters.leave(users, gone, 2).tolist() == [False, True, True, False, False, True, False, False, True]
    assert filters.leave(users, gone, None).tolist() == (~gone).tolist()
    assert filters.leave(users, np.zeros(9, bool), 3).tolist() == [True] * 3 + [False] * 2 + [True] * 3 + [False]
    assert filters.places(users).tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3]
    assert filters.places(users[:0]).tolist() == []


def test_only_what_would_have_been_seen_counts_as_removed():
    users = np.repeat([0, 1], [5, 5])
    left = np.array([True, False, True, False, False, True, True, False, False, False])
    assert reached(users, left, 2).tolist() == [True, True, False, False, False, True, True, False, False, False]
    assert reached(users, left, None).all()


def test_shares_have_intervals_over_users():
    gone, users = np.array([1, 0, 0, 1, 1, 0], bool), np.array([7, 7, 7, 9, 9, 4])
    share, half = filters.share_of(gone, users)
    ratio = np.array([1 - 0.5 * 3, 2 - 0.5 * 2, 0 - 0.5])
    assert share == 0.5 and half == pytest.approx(1.96 * np.sqrt((ratio**2).sum() * 3 / 2) / 6)
    assert filters.share_of(gone[:0], users[:0]) == (None, None) and filters.share_of(gone[:3], users[:3])[1] is None


# ------------------------------------------------------------------------------- a CoNRec run that knows


def foretold(events, world):
    """{moment: (U, 20)}: items of the topic that each user dislikes, of users with a negative in the history."""
    predictions = {}
    for moment in MOMENTS:
        predictions[moment] = np.full((events.n_users, 20), -1)
        for user, p in zip(*as_of(events, moment), strict=True):
            planted = np.flatnonzero(world.topics == world.dislikes[int(events.user_ids[user][1:])])
            new = np.setdiff1d(planted, history(events, user, p)[0])
            predictions[moment][user] = np.resize(new, 20)
    return predictions


def topic_vectors(world):
    E = np.eye(24)[world.topics] + np.random.RandomState(0).normal(scale=0.05, size=(len(world.topics), 24))
    E -= E.mean(0)
    return (E / np.linalg.norm(E, axis=1, keepdims=True)).astype(np.float32)


def told_odds(events, world):
    """(U, I): above 0 for items of the topic that each user dislikes."""
    disliked = world.dislikes[[int(user[1:]) for user in events.user_ids]]
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (events.n_users, events.n_items))
    return np.where(world.topics[None] == disliked[:, None], 1.0, -1.0) + noise


def odds_of_events(events, world):
    table = told_odds(events, world)
    rows = {part: np.flatnonzero(events.parts == number) for part, number in (("validation", 1), ("test", 2))}
    return {part: table[events.users[of], events.items[of]] for part, of in rows.items()}


@pytest.fixture(autouse=True)
def told(monkeypatch, known):
    """The run has no trained weights: what they would say is what the world knows."""

    def read_policy(folder, given, events, *more):
        return Told(events, told_odds(events, known[1]))

    monkeypatch.setattr(filter_lists, "read_policy", read_policy)


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """(base folder, world): a run of CoNRec on a planted world, of which there is only what the filter reads."""
    base = tmp_path_factory.mktemp("filter")
    world = synthetic.write_planted_world(base / "world", n_users=60, n_items=150, n_events=60)
    options = parse(["--dataset", str(base / "world"), "--model", "CoNRec", "--data_dir", str(base / "data")])
    events, _ = read(base / "world")
    predictions, E, folder = foretold(events, world), topic_vectors(world), base / "conrec"
    folder.mkdir()
    rows = []
    for moment in MOMENTS:
        for user in np.flatnonzero(predictions[moment][:, 0] >= 0):
            for rank, item in enumerate(predictions[moment][user]):
                rows.append((events.user_ids[user], moment, rank + 1, events.item_ids[item], events.titles[item], -1.0))
    write_csv(folder / "predictions.csv", pd.DataFrame(rows, columns=COLUMNS))
    catalog, _ = semantic_ids.make(E, 16, 0, 60, folder, item_ids=events.item_ids, titles=events.titles)
    found = filters.outcome(events, odds_of_events(events, world), predictions, catalog.E)
    (folder / "filter.json").write_text(json.dumps(found))
    given = {name: str(value) if name.endswith("_dir") else value for name, value in options.values().items()}
    (folder / "config.json").write_text(json.dumps({"settings": given, "made_from": {}}))
    (folder / "summary.json").write_text(json.dumps({"task": "negative"}))
    for name, protocol in (("published", []), ("ease", ["--hold_out", "dislikes", "--split", "time"])):
        where = ["--data_dir", base / "data", "--result_dir", base / "result", "--path_name", name]
        words = ["--dataset", base / "world", "--model", "EASE", "--dataset_augment", "original", *protocol, *where]
        main.main(list(map(str, words)))
    return base, world


@pytest.fixture
def events(known):
    return read(known[0] / "world")[0]


def test_foretold_dislikes_are_removed_and_likes_are_not(known, events):
    _, world = known
    E, predictions, odds = topic_vectors(world), foretold(events, world), odds_of_events(events, world)
    found = filters.outcome(events, odds, predictions, E, 0.01)
    of = {(row["system"], row["budget"]): row for row in found["outcome"]}
    ours, budgets = of["CoNRec", 0.01], [row["budget"] for row in found["outcome"] if row["system"] == "CoNRec"]
    assert ours["negatives"] > 0.5 and ours["positives"] < 0.03 and budgets == [0.01, 0.02, 0.05, 0.1]
    assert found["theta"] == ours["theta"] and of["random", 0.01]["negatives"] < 0.1
    assert {system for system, _ in of} == {"CoNRec", filters.RESEMBLANCE, *filters.CONTROLS}
    assert of[filters.RESEMBLANCE, 0.05]["negatives"] > 0.5  # here the topic is all there is

    # theta comes from the positives of validation, and what is counted from test
    validation, test = (np.flatnonzero(events.parts == part) for part in (1, 2))
    liked = events.ratings[validation] >= POSITIVE
    assert (odds["validation"][liked] > found["theta"]).sum() <= 0.01 * liked.sum()
    gone = odds["test"] > found["theta"]
    assert ours["negatives"] == pytest.approx(gone[events.ratings[test] <= 2].mean())
    assert found["negatives"] == (events.ratings[test] <= 2).sum()


# ------------------------------------------------------------------------------------------ the command


def run_filter(base, target):
    flags = ["--filter", target, "--run", base / "conrec", "--data_dir", base / "data"]
    main.main(list(map(str, flags)))


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_run_on_the_time_split_is_filtered_and_reported(known, events, capsys):
    base, world = known
    run = base / "result" / "world" / "ease"
    before = contents(run)
    run_filter(base, run)
    after = contents(run)
    new = {"filtered_by_conrec.csv", "removed_by_conrec.csv", "filter_report_conrec.json"}
    assert set(after) - set(before) == new and all(after[name] == content for name, content in before.items())
    printed = capsys.readouterr().out
    assert "users are known to the run" in printed and "where a share of the liked ones does" in printed

    # lists stay full, in the order they had, without what resembles a predicted dislike
    lists = pd.read_csv(run / "filtered_by_conrec.csv", dtype={"item": str})
    old = pd.read_csv(run / "recommendations.csv", dtype={"item": str})
    removed = pd.read_csv(run / "removed_by_conrec.csv")
    assert list(lists) == list(old) and (lists.groupby("user").size() == old.groupby("user").size()).all()
    assert lists.groupby("user").score.apply(lambda scores: scores.is_monotonic_decreasing).all()
    pairs = [set(zip(table.user, table.item, strict=True)) for table in (old, lists, removed)]
    assert pairs[0] - pairs[1] == pairs[0] & pairs[2] and not pairs[1] & pairs[2] and len(pairs[0] & pairs[2]) > 20

    # and lists only what comes before the last one left
    finished, n_reached = load_run(run, base / "data"), 0
    for user, gone in removed.groupby("user"):
        ranking = finished.recommend(user, 100).item.tolist()
        last = max(ranking.index(item) for item in lists[lists.user == user].item)
        assert all(ranking.index(item) < max(last, 20) for item in gone.item)
        n_reached += last + 1 == 20 + len(gone)
    assert n_reached > 20

    # every removal has a reason: its odds are above theta, and of the predicted dislikes the nearest is named
    theta = json.loads((base / "conrec" / "filter.json").read_text())["theta"]
    predicted = pd.read_csv(base / "conrec" / "predictions.csv").query("as_of == 'now'")
    E, odds = semantic_ids.read(base / "conrec").E, told_odds(events, world)
    for row in removed.itertuples():
        user = events.user_ids.tolist().index(row.user)
        assert row.odds > theta and row.odds == pytest.approx(odds[user, int(row.item[1:])], abs=1e-3)
        others = predicted[predicted.user == row.user].item
        sims = {other: E[int(row.item[1:])] @ E[int(other[1:])] for other in others}
        assert sims[row.resembles] == pytest.approx(max(sims.values()), abs=1e-6)
        assert events.titles[int(row.resembles[1:])] == row.resembles_title
    report = json.loads((run / "filter_report_conrec.json").read_text())
    assert report["disliked"] == "measured" and report["users"] > 50
    ours, plain = report["lists"]["CoNRec"], report["lists"]["before"]
    assert ours["disliked"] < 0.5 * plain["disliked"] and ours["liked"] > 0.9 * plain["liked"]
    mean, low, high = ours["disliked less before"]
    assert low < mean < high < 0 and mean == pytest.approx(ours["disliked"] - plain["disliked"])
    assert set(report["lists"]) == {"before", "CoNRec", filters.RESEMBLANCE, *filters.CONTROLS}
    of_loss = report["at the same loss of likes"]["0.05"]
    assert of_loss["CoNRec"]["disliked less"][0] > 0.4 > of_loss["random"]["disliked less"][2]
    assert of_loss["random"]["CoNRec less it"][1] > 0 and of_loss["CoNRec"]["CoNRec less it"] == [0, 0, 0]
    assert report["removed"] > 0 and report["places changed"] > 0


def test_the_reported_figures_are_those_of_the_lists(known, events):
    """Liked items, recall and coverage of the unfiltered lists, counted from recommendations.csv."""
    base, _ = known
    run = base / "result" / "world" / "ease"
    run_filter(base, run)
    plain = json.loads((run / "filter_report_conrec.json").read_text())["lists"]["before"]
    old = pd.read_csv(run / "recommendations.csv")
    test = pd.read_csv(base / "data" / "world" / "hold_out_dislikes_time" / "world_test.csv")
    liked = set(zip(test["user_id:token"], test["item_id:token"], strict=True))
    old = old[old.user.isin(events.user_ids)]
    hit = old.assign(hit=[pair in liked for pair in zip(old.user, old.item, strict=True)]).groupby("user").hit.sum()
    n_liked = test.groupby("user_id:token").size()
    assert plain["liked"] == pytest.approx(hit.mean()) and hit.mean() > 0
    assert plain["recall@20"] == pytest.approx((hit / n_liked.reindex(hit.index)).mean())
    assert plain["coverage"] == old.item.nunique()


def test_the_report_knows_nothing_as_of_now(known, events, tmp_path, monkeypatch):
    """What is judged as of now has the test events in the history.  Where it says nothing, the report is the same."""
    base, _ = known
    run = base / "result" / "world" / "ease"
    run_filter(base, run)
    odds = Told.odds

    def blind(policy, users, positions, lists):
        of_now = np.array_equal(positions, events.cuts[users, 2])
        return [found * (not of_now) for found in odds(policy, users, positions, lists)]

    monkeypatch.setattr(Told, "odds", blind)
    shutil.copytree(base / "conrec", tmp_path / "blind")
    main.main(["--filter", str(run), "--run", str(tmp_path / "blind"), "--data_dir", str(base / "data")])
    reports = [json.loads((run / f"filter_report_{name}.json").read_text()) for name in ("conrec", "blind")]
    assert reports[0]["lists"] == reports[1]["lists"] and reports[0]["removed"] == reports[1]["removed"] > 0
    assert len(pd.read_csv(run / "removed_by_blind.csv")) == 0
    for path in run.glob("*_blind.*"):
        path.unlink()


def test_dislikes_are_not_measurable_where_all_were_trained_on(known, events):
    """Only what both sides withheld counts: of the events of test, those that the published split tests on, too."""
    base, _ = known
    run = base / "result" / "world" / "published"
    run_filter(base, run)
    report = json.loads((run / "filter_report_conrec.json").read_text())
    assert report["disliked"] == UNMEASURED and "disliked" not in report["lists"]["CoNRec"]
    both = []
    for rows in (read_table(base / "data" / "world" / "world_test.csv"), to_frame(events).query("part == 'test'")):
        both.append(set(rows[["user", "item"]].itertuples(index=False, name=None)))
    old = read_table(run / "recommendations.csv")
    old = old[old.user.isin(events.user_ids)]
    n_liked = sum(pair in both[0] & both[1] for pair in zip(old.user, old.item, strict=True))
    assert report["lists"]["before"]["liked"] == pytest.approx(n_liked / old.user.nunique())
    assert 0 < n_liked < sum(pair in both[1] for pair in zip(old.user, old.item, strict=True))


def read_table(path):
    return pd.read_csv(path).rename(columns={"user_id:token": "user", "item_id:token": "item"})


def test_a_csv_gets_shorter(known, tmp_path, events):
    base, world = known
    dislikes = np.flatnonzero(world.topics == world.dislikes[0])
    likes = np.flatnonzero(world.topics == world.likes[0])
    rows = [("u0", f"i{item}") for item in (likes[0], dislikes[0], likes[1], dislikes[1])]
    rows += [("stranger", "i3"), ("u1", "unheard"), ("u0", "unheard")]
    pd.DataFrame(rows, columns=["user", "item"]).to_csv(tmp_path / "lists.csv", index=False)
    run_filter(base, tmp_path / "lists.csv")
    left = pd.read_csv(tmp_path / "filtered_by_conrec.csv").fillna("")
    expected = [("stranger", 1, "i3"), ("u0", 1, f"i{likes[0]}"), ("u0", 2, f"i{likes[1]}"), ("u0", 3, "unheard")]
    expected.append(("u1", 1, "unheard"))
    assert list(left[["user", "rank", "item"]].itertuples(index=False, name=None)) == expected
    removed = pd.read_csv(tmp_path / "removed_by_conrec.csv")
    assert removed.item.tolist() == [f"i{item}" for item in dislikes[:2]]
    assert (tmp_path / "filter_report_conrec.json").exists()


def test_losses_are_equal_between_two_steps():
    liked, disliked = np.array([[100.0, 98, 90, 90, 40]]), np.array([[10.0, 8, 4, 2, 0]])
    assert removed_at(liked, disliked, 0.02)[0] == pytest.approx(0.2)
    assert removed_at(liked, disliked, 0.06)[0] == pytest.approx(1 - 6 / 10)  # half of the second step
    assert removed_at(liked, disliked, 0.1)[0] == pytest.approx(0.8)  # the third step costs nothing
    assert np.isnan(removed_at(liked, disliked, 0.9)[0])  # never so many
    gains = np.array([[100.0, 101, 99, 100]])  # lists that are refilled, at last with what was to go
    assert removed_at(gains, np.array([[10.0, 9, 5, 8]]), 0.0)[0] == pytest.approx(1 - 7 / 10)
    assert np.isnan(removed_at(gains, np.array([[10.0, 9, 5, 8]]), 0.05)[0])  # never so many
    nobody = [(np.zeros(3), np.ones(3)), (np.zeros(3), np.zeros(3))]
    assert at_equal_losses({"CoNRec": nobody}) is None


def test_a_list_within_is_as_far_apart_as_its_pairs():
    E = random_case()[1][:5]
    pairs = [1 - E[i] @ E[j] for i in range(5) for j in range(5) if i != j]
    assert apart(E) == pytest.approx(np.mean(pairs), abs=1e-6) and np.isnan(apart(E[:1]))


def test_figures_do_not_depend_on_the_order_of_users(events, known):
    random = np.random.default_rng(0)
    users, items = np.repeat(np.arange(20), 30), np.tile(random.permutation(150)[:30], 20)
    liked = some_pairs(events, random)
    left = random.random(600) < 0.5
    E, found = topic_vectors(known[1]), []
    for order in (np.arange(600), np.argsort(-users, kind="stable")):
        figures = Figures(users[order], items[order], liked, liked, E)
        found.append(summary(figures.of(left[order])))
    assert found[0] == pytest.approx(found[1]) and found[0]["liked"] > 0


def some_pairs(events, random):
    return csr_matrix((random.random((events.n_users, events.n_items)) < 0.1).astype(np.float32))


REFUSED = [
    ("nowhere", {}, "neither a run folder nor a CSV"),
    ("empty", {}, "holds no finished run"),
    ("conrec", {}, "predicts dislikes itself"),
    ("bad.csv", {"bad.csv": "user,film\nu0,i1\n"}, "has no column item"),
    ("bad.csv", {"bad.csv": "user,item\nu0,x\n"}, "none of its items is known"),
    ("bad.csv", {"bad.csv": "user,item\nx,i1\n"}, "none of its users is known"),
    ("filtered_by_conrec.csv", {"filtered_by_conrec.csv": "user,item\nu0,i1\n"}, "would be overwritten"),
]


@pytest.mark.parametrize("target, files, message", REFUSED, ids=[message for _, _, message in REFUSED])
def test_what_cannot_be_filtered_is_refused(known, tmp_path, target, files, message):
    base, _ = known
    (tmp_path / "empty").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    before = contents(tmp_path)
    with pytest.raises(InputError, match=message) as error:
        run_filter(base, base / "conrec" if target == "conrec" else tmp_path / target)
    assert "\n" not in str(error.value) and contents(tmp_path) == before


def test_a_run_that_is_not_of_conrec_cannot_filter(known, tmp_path):
    base, _ = known
    run = base / "result" / "world" / "published"
    with pytest.raises(InputError, match="is no run of CoNRec"):
        main.main(["--filter", str(run), "--run", str(run)])
    with pytest.raises(InputError, match="holds no finished run"):
        main.main(["--filter", str(run), "--run", str(tmp_path)])


@pytest.mark.parametrize(
    "file, text, message",
    [
        ("summary.json", "{", "is no run of CoNRec"),
        ("filter.json", "{}", "do not belong together"),
        ("predictions.csv", "user,rank\n", "do not belong together"),
        ("rqvae.safetensors", "x", "do not belong together"),
        ("filter.json", None, r"has no filter\.json; only a run of --conrec_system conrec"),
    ],
)
def test_a_run_with_spoilt_files_is_refused(known, tmp_path, file, text, message):
    base, _ = known
    shutil.copytree(base / "conrec", tmp_path / "conrec")
    (tmp_path / "conrec" / file).unlink()
    if text is not None:
        (tmp_path / "conrec" / file).write_text(text)
    with pytest.raises(InputError, match=message):
        main.main(["--filter", str(base / "result" / "world" / "published"), "--run", str(tmp_path / "conrec")])


def test_a_catalog_that_changed_since_is_refused(known, tmp_path):
    base, _ = known
    shutil.copytree(base / "conrec", tmp_path / "conrec")
    rows = (tmp_path / "conrec" / "sids.csv").read_text().splitlines(keepends=True)
    (tmp_path / "conrec" / "sids.csv").write_text("".join(rows[:-1]))
    with pytest.raises(InputError, match=r"do not belong together .149 items there, 150 here"):
        main.main(["--filter", str(base / "result" / "world" / "published"), "--run", str(tmp_path / "conrec")])


def test_reports_are_kept_and_their_seeds_make_one_row(known, tmp_path, monkeypatch):
    base, _ = known
    run = base / "result" / "world" / "ease"
    run_filter(base, run)
    monkeypatch.setattr(conrec_tables, "OURS", tmp_path)
    table.main(["keep", str(run / "filter_report_conrec.json"), "ease_2024"])
    kept = tmp_path / "filters" / "world_ease_2024.json"
    report = json.loads(kept.read_text())
    of_loss = report["at the same loss of likes"]["0.05"]
    first = of_loss[filters.RESEMBLANCE]["CoNRec less it"]
    of_loss[filters.RESEMBLANCE]["CoNRec less it"] = second = [first[0] + 0.1, first[1] + 0.1, first[2] + 0.1]
    kept.with_name("world_ease_2025.json").write_text(json.dumps(report))
    (row,) = [line for line in conrec_tables.filtered_lists("world") if f"| 5% | {filters.RESEMBLANCE} |" in line]
    assert row.startswith("| ease | 2 |") and f"{(first[0] + second[0]) / 2:+.4f}" in row

    # users vary by the bootstrap's width, seeds by their difference of .1
    found = conrec_tables.of_seeds([first, second], 60)
    of_users, of_seeds = ((first[2] - first[1]) / 3.92) ** 2, 0.1**2 / 2 / 2
    freedom = (of_users + of_seeds) ** 2 / (of_users**2 / 59 + of_seeds**2)
    half = stats.t.ppf(0.975, freedom) * np.sqrt(of_users + of_seeds)
    assert (found.low, found.high) == pytest.approx((found.mean - half, found.mean + half))
    assert conrec_tables.of_seeds([first], 60)[2:] == (None, None, None)
    with pytest.raises(InputError, match=r"summary\.json: is no report of a filter"):
        table.main(["keep", str(run / "summary.json"), "ease_2024"])
