"""The filter: thresholds, what they remove, and the lists of other models without the items near predicted dislikes."""

import io
import json
import shutil
from contextlib import redirect_stdout

import numpy as np
import pandas as pd
import pytest
import synthetic
from scipy import stats

import main
from conrec.data import semantic_ids
from conrec.data.events import POSITIVE, read, to_frame
from conrec.data.instances import as_of, history
from conrec.results import filter as filters
from conrec.results import filter_lists
from conrec.results.filter_lists import are_reached
from conrec.results.filter_report import UNMEASURED, at_equal_losses, have_highest, removed_at
from conrec.results.run_files import read_predictions, write_csv
from options.command_line import parse
from recommend import load_run
from results4comparison import conrec_tables, table
from utils import InputError

SYSTEMS = {"CoNRec", filters.RESEMBLANCE, "low mean rating", "EASE, negatives", "reversed EASE on positives"}
SYSTEMS |= {"EASE, negatives less positives", "random"}
COLUMNS = ["user", "as_of", "rank", "item", "title", "logprob"]  # of predictions.csv


# -------------------------------------------------------------------------------------------- scores


def test_the_resemblance_is_the_largest_similarity_to_a_predicted_dislike(monkeypatch):
    random = np.random.default_rng(0)
    E = random.normal(size=(30, 6)).astype(np.float32)
    E /= np.linalg.norm(E, axis=1, keepdims=True)
    predictions = random.integers(0, 30, (8, 20))
    predictions[[2, 5]] = -1
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

    # a predicted item resembles itself by 1, to rounding: a threshold there would let chance decide
    twins, users, items = np.repeat(E, 2, 0), np.repeat(np.arange(8), 60), np.tile(np.arange(60), 8)
    found = filters.resemblance(np.where(predictions < 0, -1, 2 * predictions), twins, users, items)
    assert not ((found > 0.999) & (found < 1.001)).any() and (found > 1).any()


class Told:
    """A policy that judges by a table (U, I)."""

    def __init__(self, events, table):
        self.events, self.table = events, table

    def odds(self, users, positions, lists):
        self.positions = positions
        return [self.table[user, items].astype(np.float32) for user, items in zip(users, lists, strict=True)]


def test_odds_are_those_of_each_pair_as_of_the_moment(events):
    random = np.random.default_rng(0)
    policy = Told(events, random.normal(size=(events.n_users, events.n_items)).astype(np.float32))
    users, items = random.integers(-1, 12, 200), random.integers(-1, events.n_items, 200)
    found = filters.odds_of(policy, "test", users, items)
    expected = np.where((users < 0) | (items < 0), -np.inf, policy.table[users, items])
    assert np.array_equal(found, expected) and np.isinf(found).any()
    assert policy.positions.tolist() == events.cuts[np.unique(users[users >= 0]), 1].tolist()


@pytest.mark.parametrize("budget, above", [(0, 0), (0.01, 2), (0.07, 14), (0.5, 100), (1, 200)])
def test_theta_lets_its_share_of_positives_lie_above_and_fewer_where_scores_are_tied(budget, above):
    scores = np.random.RandomState(0).permutation(200) / 200
    assert (scores > filters.theta(scores, budget)).sum() == above
    assert filters.theta(np.array([0.9, 0.9, 0.9, 0.1]), 0.25) == 0.9  # above which there is none
    assert filters.theta(np.zeros(0), 0.01) == np.inf


def test_the_highest_scores_are_counted_and_ties_go_by_row():
    scores = np.array([-np.inf, 2, 3, 2, 2, -np.inf], np.float32)
    for n, expected in ((0, []), (1, [2]), (3, [1, 2, 3]), (4, [1, 2, 3, 4])):
        assert np.flatnonzero(have_highest(scores, n)).tolist() == expected


# ------------------------------------------------------------------------------------- lists that are left


def test_lists_are_refilled_from_the_pool():
    users = np.repeat([3, 1], [5, 4])
    gone = np.array([True, False, False, True, False, True, True, True, False])
    assert filters.leave(users, gone, 2).tolist() == [False, True, True, False, False, True, False, False, True]
    assert filters.leave(users, np.zeros(9, bool), 3).tolist() == [True] * 3 + [False] * 2 + [True] * 3 + [False]


def test_only_what_would_have_been_seen_counts_as_removed():
    users = np.repeat([0, 1], [5, 5])
    left = np.array([True, False, True, False, False, True, True, False, False, False])
    assert are_reached(users, left, 2).tolist() == [True, True, False, False, False, True, True, False, False, False]


# ------------------------------------------------------------------------------- a CoNRec run that knows


def told_odds(events, world):
    """(U, I): above 0 for items of the topic that each user dislikes."""
    disliked = world.dislikes[[int(user[1:]) for user in events.user_ids]]
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (events.n_users, events.n_items))
    return np.where(world.topics[None] == disliked[:, None], 1.0, -1.0) + noise


def odds_of_events(events, world):
    table, found = told_odds(events, world), {}
    for part, number in (("validation", 1), ("test", 2)):
        rows = events.parts == number
        found[part] = table[events.users[rows], events.items[rows]]
    return found


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """(base folder, world): a run of CoNRec on a planted world, of which there is only what the filter reads.

    The run has no trained weights: what they would say is what the world knows.
    """
    with pytest.MonkeyPatch.context() as patch:
        base = tmp_path_factory.mktemp("filter")
        world = synthetic.write_planted_world(base / "world", n_users=60, n_items=150, n_events=60)
        patch.setattr(filter_lists, "read_policy", lambda _, __, events, *more: Told(events, told_odds(events, world)))
        write_run(base, world)
        for name, protocol in (("published", []), ("ease", ["--hold_out", "dislikes", "--split", "time"])):
            words = [
                "--dataset", base / "world", "--model", "EASE", "--dataset_augment", "original", *protocol,
                "--data_dir", base / "data", "--result_dir", base / "result", "--path_name", name,
            ]  # fmt: skip
            main.main(list(map(str, words)))
        yield base, world


def write_run(base, world):
    """base/conrec: it predicts items of the topic that each user dislikes."""
    options = parse(["--dataset", str(base / "world"), "--model", "CoNRec", "--data_dir", str(base / "data")])
    events, _ = read(base / "world")
    folder, rows = base / "conrec", []
    folder.mkdir()
    for moment in ("validation", "test", "now"):
        for user, p in zip(*as_of(events, moment), strict=True):
            planted = np.flatnonzero(world.topics == world.dislikes[int(events.user_ids[user][1:])])
            new = np.resize(np.setdiff1d(planted, history(events, user, p)[0]), 20)
            for rank, item in enumerate(new, 1):
                rows.append((events.user_ids[user], moment, rank, events.item_ids[item], events.titles[item], -1.0))
    write_csv(folder / "predictions.csv", pd.DataFrame(rows, columns=COLUMNS))
    E = np.eye(24)[world.topics] + np.random.RandomState(0).normal(scale=0.05, size=(len(world.topics), 24))
    E -= E.mean(0)
    E = (E / np.linalg.norm(E, axis=1, keepdims=True)).astype(np.float32)
    catalog, _ = semantic_ids.make(E, 16, 0, 60, folder, item_ids=events.item_ids, titles=events.titles)
    predictions = read_predictions(folder / "predictions.csv", events)
    found = filters.outcome(events, odds_of_events(events, world), predictions, catalog.E)
    (folder / "filter.json").write_text(json.dumps(found))
    config = {"settings": options.values(), "made_from": {}}
    (folder / "config.json").write_text(json.dumps(config, default=str))
    (folder / "summary.json").write_text(json.dumps({"task": "negative"}))


@pytest.fixture
def events(known):
    return read(known[0] / "world")[0]


@pytest.fixture(scope="module")
def filtered(known):
    """(folder of the run on the split in time, its files before it was filtered, what was printed)."""
    base, _ = known
    run, printed = base / "result" / "world" / "ease", io.StringIO()
    before = contents(run)
    with redirect_stdout(printed):
        run_filter(base, run)
    return run, before, printed.getvalue()


def read_report(run):
    return json.loads((run / "filter_report_conrec.json").read_text())


def test_foretold_dislikes_are_removed_and_likes_are_not(known, events):
    base, world = known
    odds, found = odds_of_events(events, world), json.loads((base / "conrec" / "filter.json").read_text())
    of = {(row["system"], row["budget"]): row for row in found["outcome"]}
    ours, budgets = of["CoNRec", 0.01], [row["budget"] for row in found["outcome"] if row["system"] == "CoNRec"]
    assert ours["negatives"] > 0.5 and ours["positives"] < 0.03 and budgets == [0.01, 0.02, 0.05, 0.1]
    assert found["theta"] == ours["theta"] and of["random", 0.01]["negatives"] < 0.1
    assert {system for system, _ in of} == SYSTEMS
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


def test_a_run_on_the_time_split_is_filtered(known, events, filtered):
    (base, world), (run, before, printed) = known, filtered
    after = contents(run)
    new = {"filtered_by_conrec.csv", "removed_by_conrec.csv", "filter_report_conrec.json"}
    assert set(after) - set(before) == new and before.items() <= after.items()
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


def test_lists_of_a_csv_get_shorter(known, tmp_path, capsys):
    """In the order of the file, without the disliked topic; what the run does not know stays, and is counted."""
    base, world = known
    liked, disliked = (np.flatnonzero(world.topics == topics[0])[:2] for topics in (world.likes, world.dislikes))
    rows = [("u0", f"i{item}") for item in (liked[0], disliked[0], liked[1], disliked[1])]
    rows += [("stranger", "i3"), ("u0", "unheard"), ("u0", f"i{liked[0]}")]  # the last one is twice there
    pd.DataFrame(rows, columns=["user", "item"]).to_csv(tmp_path / "lists.csv", index=False)
    run_filter(base, tmp_path / "lists.csv")
    printed = capsys.readouterr().out
    assert "2 of 6 places are of users or items that the CoNRec run lacks; kept" in printed
    assert "2 of 6 places removed" in printed
    left = pd.read_csv(tmp_path / "filtered_by_conrec.csv", keep_default_na=False)
    assert list(left) == ["user", "rank", "item", "title"]
    assert left[["user", "rank", "item"]].to_numpy().tolist() == [
        ["u0", 1, f"i{liked[0]}"], ["u0", 2, f"i{liked[1]}"], ["stranger", 1, "i3"], ["u0", 3, "unheard"],
    ]  # fmt: skip
    assert left.title[0].endswith(f" tale {liked[0]}") and left.title[3] == ""
    removed = pd.read_csv(tmp_path / "removed_by_conrec.csv")
    assert removed.item.tolist() == [f"i{item}" for item in disliked]
    assert {path.name for path in tmp_path.iterdir()} == {
        "lists.csv", "filtered_by_conrec.csv", "removed_by_conrec.csv",
    }  # fmt: skip


def test_the_report_counts_what_the_filter_takes_from_the_lists(known, events, filtered):
    """Liked items of the unfiltered lists are counted again, from recommendations.csv."""
    base, run = known[0], filtered[0]
    report = read_report(run)
    assert report["disliked"] == "measured" and report["users"] > 50
    ours, plain = report["lists"]["CoNRec"], report["lists"]["before"]
    assert ours["disliked"] < 0.5 * plain["disliked"] and ours["liked"] > 0.9 * plain["liked"]
    of_loss = report["at the same loss of likes"]["0.05"]
    assert set(of_loss) == SYSTEMS
    assert of_loss["CoNRec"]["disliked less"][0] > 0.4 > of_loss["random"]["disliked less"][2]
    assert of_loss["random"]["CoNRec less it"][1] > 0
    assert of_loss["CoNRec"]["CoNRec less it"] == [0, 0, 0]
    assert report["removed"] > 0 and report["places changed"] > 0
    old = pd.read_csv(run / "recommendations.csv")
    test = pd.read_csv(base / "data" / "world" / "hold_out_dislikes_time" / "world_test.csv")
    old = old[old.user.isin(events.user_ids)]
    n_liked = len(old.merge(test.set_axis(["user", "item", "rating"], axis=1), on=["user", "item"]))
    assert plain["liked"] == pytest.approx(n_liked / old.user.nunique()) and n_liked > 0


def test_the_report_knows_nothing_as_of_now(known, events, filtered, tmp_path, monkeypatch):
    """What is judged as of now has the test events in the history.  Where it says nothing, the report is the same."""
    base, run = known[0], filtered[0]
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
    report = read_report(run)
    assert report["disliked"] == UNMEASURED and "disliked" not in report["lists"]["CoNRec"]
    published = pd.read_csv(base / "data" / "world" / "world_test.csv").set_axis(["user", "item", "rating"], axis=1)
    old = pd.read_csv(run / "recommendations.csv")
    old = old[old.user.isin(events.user_ids)]
    ours = old.merge(to_frame(events).query("part == 'test'"), on=["user", "item"])
    n_liked = len(ours.merge(published, on=["user", "item"]))
    assert report["lists"]["before"]["liked"] == pytest.approx(n_liked / old.user.nunique())
    assert 0 < n_liked < len(ours)


def test_losses_are_equal_between_two_steps():
    liked, disliked = np.array([[100.0, 98, 90, 90, 40]]), np.array([[10.0, 8, 4, 2, 0]])
    assert removed_at(liked, disliked, 0.02)[0] == pytest.approx(0.2)
    assert removed_at(liked, disliked, 0.06)[0] == pytest.approx(1 - 6 / 10)  # half of the second step
    assert removed_at(liked, disliked, 0.1)[0] == pytest.approx(0.8)  # the third step costs nothing
    assert np.isnan(removed_at(liked, disliked, 0.9)[0])  # never so many
    gains = np.array([[100.0, 101, 99, 100]])  # lists that are refilled, at last with what was to go
    assert removed_at(gains, np.array([[10.0, 9, 5, 8]]), 0.0)[0] == pytest.approx(1 - 7 / 10)
    nobody = [(np.zeros(3), np.ones(3)), (np.zeros(3), np.zeros(3))]
    assert at_equal_losses({"CoNRec": nobody}) is None


def test_what_cannot_be_filtered_or_filter_is_refused(known, tmp_path):
    base, _ = known
    conrec, run = base / "conrec", base / "result" / "world" / "published"
    refused = [
        (tmp_path, conrec, "holds no finished run"), (conrec, conrec, "predicts dislikes itself"),
        (run, run, "is no run of CoNRec"), (run, tmp_path, "holds no finished run"),
        (tmp_path / "none", conrec, "is neither a run folder nor a CSV"),
    ]  # fmt: skip
    files = {
        "film.csv": ("user,film\nu0,i1\n", "film.csv: has no column item"),
        "who.csv": ("person,item\nu0,i1\n", "who.csv: has no column user"),
        "items.csv": ("user,item\nu0,x\n", "none of its items is known to the run of --run"),
        "filtered_by_conrec.csv": ("user,item\nu0,i1\n", "would be overwritten by its filtered lists"),
    }
    for name, (text, message) in files.items():
        (tmp_path / name).write_text(text)
        refused.append((tmp_path / name, conrec, message))
    before = contents(tmp_path), contents(run), contents(conrec)
    for given, by, message in refused:
        with pytest.raises(InputError, match=message) as error:
            main.main(["--filter", str(given), "--run", str(by), "--data_dir", str(base / "data")])
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="--filter_pool: the lists of a CSV are not filled up"):
        main.main(["--filter", str(tmp_path / "film.csv"), "--run", str(conrec), "--filter_pool", "50"])
    with pytest.raises(InputError, match="published: is a run on world, that of --run on other; name two"):
        filter_lists.rank_pool(run, "other", 50, base / "data", "cpu")
    assert (contents(tmp_path), contents(run), contents(conrec)) == before


def test_places_that_the_run_lacks_are_counted_and_kept_and_other_data_refused(events, capsys):
    table = pd.DataFrame({"user": ["u0", "x", "u1"], "item": ["i1", "i2", "x"]})
    found = filter_lists.with_numbers(table, events, "lists")
    assert found.user_number.tolist()[1] == found.item_number.tolist()[2] == -1 and (found.user_number >= 0).sum() == 2
    assert "lists: 2 of 3 places are of users or items that the CoNRec run lacks; kept" in capsys.readouterr().out
    for column in ("user", "item"):
        with pytest.raises(InputError, match=f"none of its {column}s is known to the run of --run"):
            filter_lists.with_numbers(table.assign(**{column: "x"}), events, "lists")


@pytest.mark.parametrize(
    "file, text, message",
    [
        ("summary.json", "{", "is no run of CoNRec"),
        ("filter.json", "{}", "do not belong together"),
        ("predictions.csv", "user,rank\n", "do not belong together"),
        ("rqvae.safetensors", "x", "do not belong together"),
        ("filter.json", None, r"has no filter\.json; only a run of --conrec_system conrec"),
        ("sids.csv", -1, r"do not belong together .149 items there, 150 here"),
    ],
)
def test_a_run_with_spoilt_files_is_refused(known, tmp_path, file, text, message):
    """text: None: the file is gone; -1: it lacks its last line."""
    base, _ = known
    path = shutil.copytree(base / "conrec", tmp_path / "conrec") / file
    if text is None:
        path.unlink()
    elif text == -1:
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    else:
        path.write_text(text)
    with pytest.raises(InputError, match=message):
        main.main(["--filter", str(base / "result" / "world" / "published"), "--run", str(tmp_path / "conrec")])


def test_reports_are_kept_and_their_seeds_make_one_row(filtered, tmp_path, monkeypatch):
    run = filtered[0]
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
    found = conrec_tables.combine_seeds([first, second], 60)
    of_users, of_seeds = ((first[2] - first[1]) / 3.92) ** 2, 0.1**2 / 2 / 2
    freedom = (of_users + of_seeds) ** 2 / (of_users**2 / 59 + of_seeds**2)
    half = stats.t.ppf(0.975, freedom) * np.sqrt(of_users + of_seeds)
    assert (found.low, found.high) == pytest.approx((found.mean - half, found.mean + half))
    assert conrec_tables.combine_seeds([first], 60)[2:] == (None, None, None)
    with pytest.raises(InputError, match=r"summary\.json: is no report of a filter"):
        table.main(["keep", str(run / "summary.json"), "ease_2024"])
