"""Preparation by the published rules, against plain Python."""

import csv
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import layouts
import numpy as np
import pytest
from synthetic import PARTS, put_csvs, write_inter, write_item, write_table

import dataloader
import utils
from preparation import locate, splits, titles
from preparation.sources import DATASETS, DataSet
from utils import InputError

FIXTURES = Path(__file__).parents[1] / "fixtures"
BLOCK = [(f"u{u}", f"i{i}", "5") for u in range(10) for i in range(10)]  # survives preparation as it is

def read_splits(folder, name="tiny"):
    """The rows of the three CSVs as tuples of strings."""
    parts = []
    for part in PARTS:
        with open(folder / f"{name}_{part}.csv", newline="", encoding="utf-8") as f:
            header, *rows = csv.reader(f)
        assert header == ["user_id:token", "item_id:token", "rating:float"]
        parts.append([tuple(row) for row in rows])
    return parts


def prepared(folder, ratings, log=print, **reading):
    write_inter(folder, ratings)
    splits.prepare("tiny", folder, folder, log, reading)
    return read_splits(folder)


@pytest.fixture
def known(monkeypatch):
    """Make "tiny" a data set known by name, to which all the published rules apply."""
    monkeypatch.setitem(DATASETS, "tiny", DataSet({"tiny.inter": None, "tiny.item": None}, []))


# ------------------------------ the rules once more, in plain Python


def complete_rows(ratings, described):
    """Rule 1.  ratings: (user, item, rating) in file order; a later duplicate takes the place of an earlier one."""
    last = {}
    for row in ratings:
        last.pop(row[:2], None)
        last[row[:2]] = row
    return [row for row in last.values() if all(row) and row[1] in described]


def keep_core(rows):
    for side in (1, 0):  # items, then users
        count = Counter(row[side] for row in rows)
        rows = [row for row in rows if count[row[side]] >= 5]
    return rows


def expected_splits(rows, id_order):
    """Rules 2-5: complete rows in file order -> train_original, validation, test."""
    before = None
    while len(rows) != before:
        before = len(rows)
        rows = keep_core(keep_core([r for r in rows if float(r[2]) >= 4]) + [r for r in rows if float(r[2]) < 4])
    positives = [row for row in rows if float(row[2]) >= 4]
    users, items = {row[0] for row in positives}, {row[1] for row in positives}
    negatives = [row for row in rows if float(row[2]) < 4 and row[0] in users and row[1] in items]
    train, validation, test = [], [], []
    random = np.random.RandomState(2024)
    for user in sorted(users, key=id_order):
        own = [row for row in positives if row[0] == user]
        drawn = random.permutation(len(own)).tolist()
        n_test, n_validation = len(own) // 5, len(own) // 10
        for position, row in enumerate(own):
            rank = drawn.index(position)
            (test if rank < n_test else validation if rank < n_test + n_validation else train).append(row)
    return [train + negatives, validation, test]


def random_ratings(seed, prefix):
    """40 users and 30 items of very different activity, in random order, with duplicates and empty cells."""
    random = np.random.RandomState(seed)
    chance = random.rand(40, 1) ** 0.7 * random.rand(30)
    pairs = random.permutation(np.argwhere(random.rand(40, 30) < 1.8 * chance))
    pairs = np.concatenate((pairs, pairs[:40]))
    stars = random.choice(["1", "2", "3", "4", "5"], len(pairs), p=[0.1, 0.1, 0.15, 0.35, 0.3])
    rows = [[f"{prefix}{user}", f"{prefix}{item}", rating] for (user, item), rating in zip(pairs, stars, strict=True)]
    for row in random.choice(len(rows), 30, replace=False):
        rows[row][random.randint(3)] = ""
    return [tuple(row) for row in rows]


# ------------------------------ rules 1 to 5


@pytest.mark.parametrize(("prefix", "id_order"), [("", int), ("x", str)])
@pytest.mark.parametrize("seed", range(3))
def test_splits_of_known_data_follow_the_rules_row_for_row(known, tmp_path, seed, prefix, id_order):
    ratings = random_ratings(seed, prefix)
    items = [(f"{prefix}{i}", f"Title {i}", "1999", "Drama" if i % 7 else "NULL") for i in range(1, 30)]
    write_item(tmp_path, items)
    complete = complete_rows(ratings, {item for item, _, _, genre in items if genre == "Drama"})
    parts = prepared(tmp_path, ratings)
    assert parts == expected_splits(complete, id_order)
    rows = [row for part in parts for row in part]
    assert len({row[:2] for row in rows}) == len(rows)  # no pair is in two parts


@pytest.mark.parametrize("described", [range(0), range(1, 20), range(1, 30)])
def test_ones_own_ratings_need_no_titles(tmp_path, described):
    """Whatever .item holds, the splits are those of all ratings."""
    ratings = random_ratings(0, "")
    write_item(tmp_path, [(str(i), "" if i % 3 else "Title", "NULL", "") for i in described])
    everything = complete_rows(ratings, {item for _, item, _ in ratings})
    assert prepared(tmp_path, ratings) == expected_splits(everything, int)


LIKES = [("v", f"i{i}", "4") for i in range(5)]  # just enough to stay
X_BY_4 = [(f"u{u}", "x", "5") for u in range(4)]  # one like short of staying
CHAIN = [  # w has too few likes, then x without w, then v without x, then y without v
    *(("w", "x", "5"), ("w", "i0", "5"), *X_BY_4[:3], ("v", "x", "5"), *LIKES[:3], ("v", "y", "5")),
    *((user, "y", "5") for user, _, _ in X_BY_4),
]


@pytest.mark.parametrize(
    ("extra", "kept"),
    [
        pytest.param(LIKES, LIKES, id="user with 5 likes"),
        pytest.param(LIKES[:4], [], id="user with 4 likes"),
        pytest.param([*X_BY_4, ("u4", "x", "4")], [*X_BY_4, ("u4", "x", "4")], id="item with 5 likes"),
        pytest.param([*X_BY_4, ("u4", "x", "3"), ("u5", "x", "1")], [], id="dislikes do not make up for likes"),
        pytest.param(CHAIN, [], id="one loss brings the next"),
        pytest.param([(f"u{u}", "x", "2") for u in range(9)], [], id="dislikes of an item that nobody likes"),
        pytest.param([("v", f"i{i}", "1") for i in range(9)], [], id="dislikes of a user who likes nothing"),
        pytest.param([*LIKES, ("v", "i7", "1")], [*LIKES, ("v", "i7", "1")], id="dislike between survivors"),
        pytest.param([("", f"i{i}", "5") for i in range(10)], [], id="no user"),
        pytest.param([(f"u{u}", "", "5") for u in range(10)], [], id="no item"),
        pytest.param([*LIKES, ("v", "i7", "")], LIKES, id="no rating"),
    ],
)
def test_core_of_5_likes_and_dislikes_of_survivors_only(tmp_path, extra, kept):
    rows = [row for part in prepared(tmp_path, [*extra, *BLOCK]) for row in part]
    assert sorted(rows) == sorted([*BLOCK, *kept])


@pytest.mark.parametrize(
    ("described", "kept"),
    [
        ([("x", "", "1999", "Drama")], False),
        ([("x", "X", "NULL", "Drama")], False),
        ([("x", "X", "1999", "")], False),
        ([("x", "X", "1999", "Drama"), ("x", "X", "1999", "NULL")], False),
        ([("x", "X", "1999", "NULL"), ("x", "X", "1999", "Drama")], True),
        ([("x", "Null and Void", "1999", "Drama")], True),
        ([], False),
    ],
)
def test_items_of_known_data_lacking_title_year_or_genre_are_dropped(known, tmp_path, described, kept):
    write_item(tmp_path, [*described, *((f"i{i}", "Title", "1999", "Drama") for i in range(10))])
    liked = [(f"u{u}", "x", "5") for u in range(10)]
    rows = [row for part in prepared(tmp_path, [*liked, *BLOCK]) for row in part]
    assert sorted(rows) == sorted([*BLOCK, *liked] if kept else BLOCK)


def test_each_user_gives_a_fifth_to_test_and_a_tenth_to_validation_rounded_down(tmp_path):
    block = [(f"u{u}", f"i{i}", "5") for u in range(10) for i in range(15)]
    users = [(f"likes{n}", f"i{i}", "5") for n in (5, 9, 10, 14, 15) for i in range(n)]
    train, validation, test = (Counter(user for user, _, _ in part) for part in prepared(tmp_path, block + users))
    counts = [(train[f"likes{n}"], validation[f"likes{n}"], test[f"likes{n}"]) for n in (5, 9, 10, 14, 15)]
    assert counts == [(4, 0, 1), (8, 0, 1), (7, 1, 2), (11, 1, 2), (11, 1, 3)]


def given_twice(folder, first, second, third, columns="user_id item_id rating timestamp"):
    """The rating of (u3, i3) that counts, given as (rating, timestamp) in three rows among those of BLOCK."""
    rows = [(*row, "100") for row in BLOCK if row[:2] != ("u3", "i3")]
    for place, (rating, time) in zip((5, 50, 90), (first, second, third), strict=True):
        rows.insert(place, ("u3", "i3", rating, time))
    write_table(folder / "tiny.inter", columns, rows)
    splits.prepare("tiny", folder, folder)
    ((_, _, rating),) = [row for part in read_splits(folder) for row in part if row[:2] == ("u3", "i3")]
    return rating


@pytest.mark.parametrize(
    ("first", "second", "third", "counts"),
    [
        pytest.param(("1", "9"), ("2", "10"), ("3", "8"), "2", id="the newest, by number and not as text"),
        pytest.param(("1", "7"), ("2", "7.0"), ("3", "6"), "2", id="of equal ones the later row"),
        pytest.param(("1", "-1"), ("2", ""), ("3", ""), "1", id="without one older than any"),
        pytest.param(("1", ""), ("2", ""), ("3", ""), "3", id="all without"),
        pytest.param(("1", "1700000000000000000"), ("2", "3"), ("3", "1e9"), "1", id="nanoseconds"),
    ],
)
def test_of_ones_own_ratings_of_a_pair_the_newest_counts(tmp_path, first, second, third, counts):
    assert given_twice(tmp_path, first, second, third) == counts


def test_of_a_pair_rated_twice_the_last_row_counts_in_known_data_and_without_timestamps(tmp_path, request):
    rows = ("1", "9"), ("2", "10"), ("3", "8")
    assert given_twice(tmp_path, *rows, columns="user_id item_id rating when") == "3"
    request.getfixturevalue("known")
    write_item(tmp_path, [(f"i{i}", "Title", "1999", "Drama") for i in range(10)])
    assert given_twice(tmp_path, *rows) == "3"


def test_rows_without_a_user_are_incomplete_and_not_given_anew(known, tmp_path):
    write_item(tmp_path, [(f"i{i}", "Title", "1999", "Drama") for i in range(10)])
    lines = []
    prepared(tmp_path, [*BLOCK, ("", "i1", "5"), ("", "i1", "4"), ("u1", "", "5")], lines.append)
    assert lines[0].startswith("ratings: 103 read; 0 given anew later, 3 incomplete or not drawn")


def test_the_rows_that_count_stay_in_file_order(tmp_path):
    """Which of a user's ratings are test depends on it, so timestamps must not change it."""
    rows = [(*row, str(time)) for row, time in zip(BLOCK, np.random.RandomState(0).permutation(100), strict=True)]
    write_table(tmp_path / "tiny.inter", "user_id item_id rating timestamp", rows)
    splits.prepare("tiny", tmp_path, tmp_path)
    (tmp_path / "other").mkdir()
    assert read_splits(tmp_path) == prepared(tmp_path / "other", BLOCK)


# ------------------------------ half stars

STARS_UP = {"0.5": "1", "1.5": "2", "2.5": "3", "3.5": "4", "4.5": "5"}
HALVES = [*BLOCK[:-1], ("u9", "i9", "4.5")]


def test_half_stars_are_rounded_before_anything_else(tmp_path):
    """The splits are those of the ratings rounded beforehand."""
    random = np.random.RandomState(0)
    ratings = [(user, item, random.choice(["4.5", "5.0", "4", "3.5"])) for user, item, _ in BLOCK * 2]
    ratings += [("u1", "x", star) for star in STARS_UP] + [("u2", "i1", "")]
    ratings += [(f"u{u}", "y", "5") for u in range(5)] + [("u5", "y", "0.5"), ("u6", "y", "1.5"), ("u7", "y", "2.5")]
    whole = [(user, item, STARS_UP.get(rating, rating[:1])) for user, item, rating in ratings]
    (tmp_path / "whole").mkdir()
    (tmp_path / "half").mkdir()
    assert prepared(tmp_path / "half", ratings, scale="0.5-5") == prepared(tmp_path / "whole", whole)


def test_another_scale_prepares_anew(tmp_path):
    up = prepared(tmp_path, HALVES, scale="0.5-5")
    lines = []
    assert prepared(tmp_path, HALVES, lines.append, scale="0.5-5") == up and "prepared earlier" in lines[0]
    down = prepared(tmp_path, HALVES, scale="4.5=4,5=5")
    ratings = [[row[2] for part in parts for row in part if row[:2] == ("u9", "i9")] for parts in (up, down)]
    assert ratings == [["5"], ["4"]]
    with pytest.raises(InputError, match="--scale"):
        prepared(tmp_path, HALVES)
    assert read_splits(tmp_path) == down  # nothing lost


def test_ids_and_ratings_are_written_as_read_and_load_as_such(tmp_path):
    odd = {"i0": "007", "i1": "NA", "i2": 'a, "b"', "i3": "Ünïcode", "u0": "08"}
    ratings = [(odd.get(user, user), odd.get(item, item), "4.0" if user == "u5" else "5") for user, item, _ in BLOCK]
    rows = [row for part in prepared(tmp_path, ratings) for row in part]
    assert sorted(rows) == sorted(ratings)
    data = dataloader.load(tmp_path, "tiny", tmp_path / "tiny_train_original.csv", "cpu")
    assert set(data.item_ids) == {item for _, item, _ in ratings}


# ------------------------------ what prepare leaves alone


def snapshot(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_preparing_again_changes_nothing_and_what_is_missing_or_of_other_input_is_made_anew(tmp_path):
    prepared(tmp_path, BLOCK)
    before, lines = snapshot(tmp_path), []
    splits.prepare("tiny", tmp_path, tmp_path, lines.append)
    assert snapshot(tmp_path) == before
    assert len(lines) == 1 and "prepared earlier" in lines[0]
    for part in PARTS:
        (tmp_path / f"tiny_{part}.csv").unlink()
        splits.prepare("tiny", tmp_path, tmp_path)
        assert snapshot(tmp_path) == before
    train, _, _ = prepared(tmp_path, [*BLOCK, ("u0", "i0", "2")])
    assert ("u0", "i0", "2") in train


def test_csvs_put_there_by_hand_are_used_as_they_are_and_published_ones_are_recognised(tmp_path, monkeypatch):
    put_csvs(tmp_path, "a x 5", "a y 4", "a z 4")
    before, blobs = snapshot(tmp_path), {part: utils.git_blob_id(tmp_path / f"tiny_{part}.csv") for part in PARTS}
    for known, said in (
        (None, []),  # of a user's own data set nothing was published
        (blobs, ["splits: byte for byte the published ones"]),
        *((blobs | {part: "0"}, ["splits: NOT the published ones (another source?)"]) for part in PARTS),
    ):
        if known:
            monkeypatch.setitem(DATASETS, "tiny", DataSet({}, [], splits=known))
        lines = []
        splits.prepare("tiny", tmp_path, tmp_path, lines.append)
        assert "as found" in lines[0] and lines[1:] == said and snapshot(tmp_path) == before


def test_splits_and_labels_of_all_published_data_sets_are_known():
    blobs = [blob for known in DATASETS.values() for blob in (*known.splits.values(), known.labels)]
    assert all(len(blob) == 40 and int(blob, 16) for blob in blobs) and len(set(blobs)) == len(blobs) == 20


def test_dataset_is_a_known_name_or_a_folder(tmp_path):
    (tmp_path / "mine").mkdir()
    assert locate.locate("ML-1M", tmp_path) == ("ML-1M", tmp_path / "ML-1M", tmp_path / "ML-1M")
    assert locate.locate(f"{tmp_path}/mine/", Path("data")) == ("mine", tmp_path / "mine", Path("data/mine"))


def test_item_table_gives_the_last_description_of_each_item(tmp_path):
    write_item(tmp_path, [("007", "Old", "1999", "Drama"), ("007", "New", "NULL", "")])
    assert titles.item_table(tmp_path).to_dict("index") == {"007": {"title": "New", "year": "", "genre": ""}}


@pytest.mark.parametrize(
    ("described", "logged"),
    [(range(10), []), (range(7), ["items: 3 of 10 have no title"]), ([], ["items: 10 of 10 have no title"])],
)
def test_rated_items_are_those_of_the_train_file_and_those_without_title_are_counted(tmp_path, described, logged):
    prepared(tmp_path, BLOCK)
    lines, unrated = [], ("other", "Unrated", "1999", "Drama")
    write_item(tmp_path, [unrated, *((f"i{i}", f"Title {i}", "1999", "Drama") for i in described)])
    items = titles.rated_items("tiny", tmp_path, tmp_path, lines.append)
    assert items.title.to_dict() == {f"i{i}": f"Title {i}" for i in described}
    assert [line.partition(";")[0] for line in lines] == logged
    (tmp_path / "tiny.item").unlink()
    assert titles.rated_items("tiny", tmp_path, tmp_path).empty


# ------------------------------ known data sets


def test_ml_100k_is_byte_for_byte_the_published_split(ml_100k):
    assert {part: utils.git_blob_id(ml_100k / f"ML-100K_{part}.csv") for part in PARTS} == {
        "train_original": "38def0b51e296992900303f611ff2bf85c1a0b73",
        "validation": "dc14ca7fcd367346f249d6aeb23a3e09f20cbef1",
        "test": "f3cbe95698f3cd22627cf92045ff0eb5a0e951f5",
    }


def fixture_rows(path, columns):
    header, *rows = [line.split("\t") for line in path.read_text().splitlines()]
    return [tuple(row[header.index(column)] for column in columns) for row in rows]


def test_netflix_users_are_sampled_and_cold_items_dropped_from_validation_and_test(tmp_path, monkeypatch):
    folder = shutil.copytree(FIXTURES / "netflix", tmp_path / "Netflix-1M")
    monkeypatch.setitem(DATASETS, "Netflix-1M", replace(DATASETS["Netflix-1M"], sample_users=11))
    splits.prepare("Netflix-1M", folder, folder)

    ratings = fixture_rows(folder / "netflix.inter", ["user_id:token", "item_id:token", "rating:float"])
    rows = [row for row in ratings if row[1] not in ("4", "5")]  # the movies without year and without genre
    users = sorted({user for user, _, _ in rows}, key=int)
    sampled = np.random.RandomState(2024).choice(users, 11, replace=False)
    train, validation, test = expected_splits([row for row in rows if row[0] in sampled], int)
    warm = {item for _, item, rating in train if int(rating) >= 4}
    expected = [train, *([row for row in part if row[1] in warm] for part in (validation, test))]
    assert read_splits(folder, "Netflix-1M") == expected
    assert len(users) > 11 and len(expected[1] + expected[2]) < len(validation + test)  # the rule had work to do


def test_amazon_ratings_keep_their_form_and_need_title_and_categories(tmp_path):
    folder = shutil.copytree(FIXTURES / "amazon", tmp_path / "Amazon_Digital_Music")
    splits.prepare("Amazon_Digital_Music", folder, folder)
    ratings = fixture_rows(folder / "Amazon_Digital_Music.inter", ["user_id:token", "item_id:token", "rating:float"])
    rows = [row for row in ratings if row[1] != "B008PL1"]  # the item without categories
    expected = expected_splits(rows, str)
    assert read_splits(folder, "Amazon_Digital_Music") == expected
    assert expected[0][0][2].endswith(".0") and len(rows) < len(ratings)


# ------------------------------ what users bring


def test_own_version_of_a_known_data_set_can_be_given_by_path(tmp_path):
    own = tmp_path / "ML-100K"
    own.mkdir()
    write_table(own / "ml-100k.inter", "user_id item_id rating", BLOCK)
    splits.prepare(*locate.locate(str(own), tmp_path / "data"))
    assert (tmp_path / "data" / "ML-100K-own" / "ML-100K-own_test.csv").exists()


def test_ones_own_folder_stays_as_it_is_and_is_read_anew_without_its_titles(tmp_path):
    folder, reading, lines = tmp_path / "ml-latest-small", {"scale": "0.5-5"}, []
    layouts.grouplens(folder)
    before = snapshot(folder)
    name, raw, csvs = locate.locate(str(folder), tmp_path / "data")
    splits.prepare(name, raw, csvs, reading=reading)
    assert snapshot(folder) == before
    items = titles.rated_items(name, csvs / "atomic", csvs).to_dict("index")
    assert items["B03"] == {"title": 'Title 3, "The"', "year": "1993", "genre": "Drama War"}
    splits.prepare(name, raw, csvs, lines.append, reading)
    assert "prepared earlier" in lines[0]
    (folder / "movies.csv").unlink()
    splits.prepare(name, raw, csvs, reading=reading)
    assert titles.rated_items(name, csvs / "atomic", csvs).empty


def test_grouplens_csvs_beside_an_inter_file_are_not_read(tmp_path):
    layouts.grouplens(tmp_path)
    write_item(tmp_path, [("i1", "Title", "1999", "Drama")])
    assert any(prepared(tmp_path, BLOCK))
    assert titles.item_table(tmp_path / "atomic").title.to_dict() == {"i1": "Title"}


def test_fewer_users_than_the_sample_are_refused(tmp_path):
    write_table(tmp_path / "netflix.inter", "user_id item_id rating", BLOCK)
    write_table(tmp_path / "netflix.item", "item_id title", [(f"i{i}", "Title") for i in range(10)])
    with pytest.raises(InputError, match="5000 users are to be drawn, but only 10"):
        splits.prepare("Netflix-1M", tmp_path, tmp_path)
