"""Events in order, their cuts, and the instances asked about."""

from types import SimpleNamespace

import numpy as np
import pytest
import synthetic

from conrec.data import instances as moments
from conrec.data.events import read, read_of_run, to_frame
from conrec.data.instances import (
    as_of,
    candidates,
    history,
    instances,
    long_tails,
    matrix,
    past,
    recent,
    top_items,
    window,
)
from conrec.decoder.policy import padded
from conrec.learning.reward import swing, swing_values, target_sets
from conrec.results import closed_forms
from preparation.files import STARS, read_items, read_ratings
from preparation.rules import TRAIN, split
from preparation.sources import DATASETS
from utils import InputError

ITEMS = "item_id:token\tmovie_title:token_seq\n" + "".join(f"{i}\tFilm {i}\n" for i in (10, 9, 2, 30, 31))


def write(folder, rows, columns="user_id:token item_id:token rating:float timestamp:float", items=ITEMS):
    folder.mkdir(exist_ok=True)
    text = "\n".join(row.replace(" ", "\t") for row in [columns, *rows])
    (folder / "x.inter").write_text(text + "\n")
    (folder / "x.item").write_text(items)
    return folder


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted") / "world"
    synthetic.write_planted_world(folder, n_users=40, n_items=90, n_events=50)
    return folder


@pytest.fixture(scope="module")
def events(planted):
    return read(planted)[0]


# ------------------------------------------------------------------------------------------ reading


def test_the_events_of_a_finished_run_are_read_again(planted, events):
    """Also where its config names flags of older versions."""
    config = {"dataset": str(planted), "data_dir": str(planted.parent / "data"), "conrec_negative": 2, "conrec_day": 8}
    again, folder = read_of_run(config)
    assert to_frame(again).equals(to_frame(events)) and folder == planted


def test_rows_are_in_order_of_user_time_and_item_id(tmp_path):
    rows = ["b 10 1 5", "a 10 1 7", "a 9 2 7", "a 2 2 7", "a 30 4 3", "b 2 1 4", "a 31 5 9"]
    events, _ = read(write(tmp_path, rows))
    assert to_frame(events).iloc[:, :4].to_numpy().tolist() == [
        ["a", "30", 4, 0], ["a", "2", 2, 1], ["a", "9", 2, 2], ["a", "10", 1, 3], ["a", "31", 5, 4],
        ["b", "2", 1, 0], ["b", "10", 1, 1],
    ]  # fmt: skip
    assert events.item_ids.tolist() == ["10", "9", "2", "30", "31"]  # as in the .item file
    assert events.titles.tolist() == ["Film 10", "Film 9", "Film 2", "Film 30", "Film 31"]


def test_the_last_rating_of_a_pair_counts_and_items_without_a_title_go(tmp_path):
    rows = ["a 10 5 9", "a 10 1 2", "a 9 2 3", "a 2 1 4", "a 77 1 5", "a 30 1 6", "a 31 1 7", "b 31 2 1"]
    events, notes = read(write(tmp_path, rows))
    table = to_frame(events)
    assert table.query("user == 'a'")[["item", "rating"]].to_numpy().tolist() == [
        ["9", 2], ["2", 1], ["30", 1], ["31", 1], ["10", 5],
    ]  # fmt: skip
    text = "\n".join(notes)
    assert "1 dropped, of items without a title" in text and "1 given anew later" in text


def test_users_are_drawn_as_the_published_split_draws_them(planted, monkeypatch):
    known = SimpleNamespace(sample_users=36, drop_cold_items=False)
    monkeypatch.setitem(DATASETS, "world", known)
    events, notes = read(planted, "world")
    parts = split(read_ratings(planted / "world.inter", "\t", STARS), read_items(planted / "world.item"), known)
    drawn = set().union(*(part.user for part in parts))
    assert drawn <= set(events.user_ids) and len(drawn) > 10 and events.n_users == 36
    assert "of the 36 users drawn" in "\n".join(notes)


@pytest.mark.parametrize("n, cuts", [(1, (0, 0, 1)), (4, (2, 3, 4)), (5, (3, 4, 5))])
def test_cuts_lie_at_six_and_eight_tenths(tmp_path, n, cuts):
    rows = [f"a {item} 1 {time}" for time, item in enumerate((10, 9, 2, 30, 31))]
    rows += [f"b {item} 1 {time}" for time, item in enumerate((10, 9, 2, 30, 31)[:n])]
    events, _ = read(write(tmp_path, rows))
    assert events.cuts[1].tolist() == list(cuts)
    assert events.parts[events.users == 1].tolist() == [sum(p >= cut for cut in cuts[:2]) for p in range(n)]


@pytest.mark.parametrize("last, clock", [(7 * 86400 - 1, "event"), (7 * 86400, "wall")])
def test_the_clock_is_that_of_the_data(tmp_path, last, clock):
    events, notes = read(write(tmp_path, ["a 10 1 0", "a 9 1 1", "a 2 1 2", f"a 30 1 {last}"]))
    assert events.clock == clock and f"clock: {clock}, since the median user's events span 7 days" in notes[-1]


GOOD = [f"a {item} 1 {time}" for time, item in enumerate((10, 9, 2, 30, 31))]
ONE_TITLE = "item_id:token\ttitle:token_seq\n"
REFUSED = [  # beside those of tests/helpers/bad_input_conrec.py
    ({"rows": [*GOOD, "b 9 1 "]}, 2, "line 7: has no timestamp; if each user's rows lie in order, a column timestamp"),
    ({"rows": GOOD, "items": ONE_TITLE + "10\t\n"}, 2, "no item has a title"),
    ({"rows": GOOD, "items": ONE_TITLE + "7\tFilm\n"}, 2, "do the files belong together"),
    ({"rows": [row.replace(" 1 ", " 2 ") for row in GOOD]}, 1, "no user has two ratings up to 1"),
]


@pytest.mark.parametrize("files, negative, message", REFUSED, ids=[message for _, _, message in REFUSED])
def test_what_cannot_be_put_in_order_is_refused(tmp_path, files, negative, message):
    folder = write(tmp_path, **files)
    with pytest.raises(InputError, match=message) as error:
        read(folder, negative=negative)
    assert "\n" not in str(error.value)


# ---------------------------------------------------------------------------------------- instances


@pytest.mark.parametrize("number, part", [(0, "train"), (1, "validation"), (2, "test")])
def test_an_instance_is_a_negative_with_one_before_it(events, number, part):
    by_hand, firsts = [], {}
    for user in range(events.n_users):
        negatives = np.flatnonzero((events.users == user) & (events.ratings <= 2))
        for row in negatives[1:]:
            if events.parts[row] == number:
                by_hand.append((user, events.positions[row]))
                firsts.setdefault(user, events.positions[row])
    assert list(zip(*instances(events, part, every=True), strict=True)) == by_hand and len(by_hand) > 20
    assert list(zip(*instances(events, part), strict=True)) == list(firsts.items())


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_history_ends_where_the_window_begins_which_ends_with_the_part(events, part):
    for user, p in zip(*instances(events, part), strict=True):
        own = events.items[events.users == user]
        n = len(own)
        end = {"train": 6 * n // 10, "validation": 8 * n // 10, "test": n}[part]
        assert history(events, user, p)[0].tolist() == own[:p].tolist()
        assert window(events, user, p)[0].tolist() == own[p : min(end, p + 56)].tolist()
        assert recent(events, user, p)[0].tolist() == own[max(0, p - 24) : p].tolist()


def test_windows_in_days(events, monkeypatch):
    days = events._replace(clock="wall")  # a minute lies between two events
    monkeypatch.setattr(moments, "WINDOW_DAYS", 3 / 1440)
    monkeypatch.setattr(moments, "RECENT_DAYS", 2 / 1440)
    assert len(window(days, 0, 5)[0]) == 3  # 0, 1 and 2 minutes later
    assert history(days, 0, 9)[0].tolist()[-2:] == recent(days, 0, 9)[0].tolist()
    assert len(recent(days, 0, 50)[0]) == 3  # as of now: 2, 1 and 0 minutes before the last


def test_candidates_are_the_next_negative_and_19_others(events):
    chosen = candidates(events, "test", 3)
    drawn = 0
    for row, (user, p) in enumerate(zip(*instances(events, "test"), strict=True)):
        items, ratings = history(events, user, events.cuts[user, 2])
        later = slice(p, events.cuts[user, 2])
        liked = items[later][ratings[later] >= 4]
        neutral = items[later][ratings[later] == 3]
        expected = [items[p], *liked, *neutral][:20]
        assert chosen[row, : len(expected)].tolist() == expected
        others = chosen[row, len(expected) :]
        assert not np.isin(others, items).any() and len(set(chosen[row])) == 20
        drawn += len(others)
    assert drawn > 100 and np.array_equal(chosen, candidates(events, "test", 3))


def test_drawn_candidates_are_often_the_frequent_items(tmp_path):
    """Items 0-9 are rated by everybody but the user in question, items 10-39 by nobody or once."""
    items = "item_id:token\tmovie_title:token_seq\n" + "".join(f"{i}\tFilm {i}\n" for i in range(60))
    rows = [f"u{user} {item} 1 {item}" for user in range(1, 20) for item in range(10)]
    rows += [f"v {item} 3 {item}" for item in range(10, 40)]
    rows += [f"u0 {item} 1 {item}" for item in range(40, 60)]
    events, _ = read(write(tmp_path, rows, items=items))
    assert set(candidates(events, "test")[0]) >= set(range(6))  # those that lie in train


def test_long_tails_are_counted_on_train(events):
    disliked = matrix(events, "negative").toarray()
    users, items = long_tails(events)
    assert np.array_equal(users, disliked.sum(1) < 3) and np.array_equal(items, disliked.sum(0) < 5)


def test_matrices_and_histories_hold_the_events_of_their_sign(events):
    assert matrix(events).nnz == (events.parts == TRAIN).sum()
    for sign, ratings in (("negative", [1, 2]), ("positive", [4, 5])):
        of_sign = (events.parts == TRAIN) & np.isin(events.ratings, ratings)
        assert set(zip(*matrix(events, sign).nonzero(), strict=True)) == set(
            zip(events.users[of_sign], events.items[of_sign], strict=True)
        )
    moments = instances(events, "test")
    seen, disliked, liked = (past(events, *moments, sign) for sign in (None, "negative", "positive"))
    for row, moment in enumerate(zip(*moments, strict=True)):
        items, ratings = history(events, *moment)
        for found, expected in ((seen, items), (liked, items[ratings >= 4]), (disliked, items[ratings <= 2])):
            assert set(found[row].indices) == set(expected)


def test_moments_of_prediction(events):
    for moment, cut in (("validation", 0), ("test", 1), ("now", 2)):
        users, positions = as_of(events, moment)
        expected = [u for u in range(events.n_users) if (history(events, u, events.cuts[u, cut])[1] <= 2).any()]
        assert users.tolist() == expected and positions.tolist() == events.cuts[expected, cut].tolist()


def test_top_items_are_new_and_ties_go_by_number(events):
    users, positions = instances(events, "test")
    seen = past(events, users, positions)
    lists = top_items(np.zeros((len(users), events.n_items)), seen, 20)
    for row, items in enumerate(lists):
        assert items.tolist() == [i for i in range(events.n_items) if i not in seen[row].indices][:20]
    with pytest.raises(InputError, match="--top_k 60: a user has rated"):
        top_items(np.zeros((len(users), events.n_items)), seen, 60)


# ------------------------------------------------------------------------------------ nothing leaks


def test_what_is_counted_or_fitted_knows_train_only(planted, tmp_path, events):
    """Every item and rating of validation and test is replaced: train counts, instances, targets, Swing and all closed
    forms stay the same bytes."""
    random = np.random.RandomState(7)
    lines = ["user_id:token\titem_id:token\trating:float\ttimestamp:float"]
    for user in range(events.n_users):
        rows = np.flatnonzero(events.users == user)
        in_train = events.parts[rows] == TRAIN
        items = events.items[rows].copy()
        others = np.setdiff1d(np.arange(events.n_items), items[in_train])
        items[~in_train] = random.permutation(others)[: (~in_train).sum()]
        ratings = np.where(in_train, events.ratings[rows], random.choice([1, 3, 5], len(rows)))
        for item, rating, time in zip(items, ratings, events.times[rows], strict=True):
            lines.append(f"{events.user_ids[user]}\ti{item}\t{rating:g}\t{time:g}")
    (tmp_path / "world.inter").write_text("\n".join(lines) + "\n")
    (tmp_path / "world.item").write_bytes((planted / "world.item").read_bytes())
    other, _ = read(tmp_path)
    assert (other.items != events.items).sum() > 300
    assert fitted_bytes(other) == fitted_bytes(events)


def fitted_bytes(events):
    """Everything that is counted or fitted, by name, as bytes."""
    negatives = matrix(events, "negative")
    fitted = closed_forms.Fitted(events)
    users, positions = instances(events, "train", every=True)
    values = swing_values(negatives, above=1)
    gts, fps = target_sets(events, users, positions, swing(negatives, above=1))
    found = {"gts": padded(gts), "fps": padded(fps)}
    found |= {"users": users, "positions": positions, "swing": values.toarray()}
    found |= dict(zip(("long users", "long items"), long_tails(events), strict=True))
    names = "count count_negatives mean_stars ease_negatives ease_positives ease_all cosine_all often_disliked"
    found |= {name: getattr(fitted, name) for name in names.split()}
    assert values.nnz > 20
    return {name: array.tobytes() for name, array in found.items()}
