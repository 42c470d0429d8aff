"""Preparation by the published rules, against plain Python; loading and mini-batches, against dense matrices."""

import csv
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from synthetic import train_data

import dataloader
from data.sources import DATASETS
from dataloader import Rows
from utils import InputError

FIXTURES = Path(__file__).parent / "fixtures"
PARTS = ("train_original", "validation", "test")
BLOCK = [(f"u{u}", f"i{i}", "5") for u in range(10) for i in range(10)]  # survives preparation as it is


def write_table(path, columns, rows, sep="\t"):
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(sep.join(row) + "\n" for row in [columns.split(), *rows]), encoding="utf-8")


def write_inter(folder, ratings):
    write_table(folder / "tiny.inter", "user_id:token item_id:token rating:float", ratings)


def write_item(folder, items):
    write_table(folder / "tiny.item", "item_id:token title:token_seq year:token genre:token_seq", items)


def read_splits(folder, name="tiny"):
    """The rows of the three CSVs as tuples of strings."""
    parts = []
    for part in PARTS:
        with open(folder / f"{name}_{part}.csv", newline="", encoding="utf-8") as f:
            header, *rows = csv.reader(f)
        assert header == ["user_id:token", "item_id:token", "rating:float"]
        parts.append([tuple(row) for row in rows])
    return parts


def prepared(folder, ratings, log=print):
    write_inter(folder, ratings)
    dataloader.prepare("tiny", folder, folder, log)
    return read_splits(folder)


# ------------------------------------------------------------------ the rules once more, in plain Python


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


# --------------------------------------------------------------------------------------- rules 1 to 5


@pytest.mark.parametrize(("prefix", "id_order"), [("", int), ("x", str)])
@pytest.mark.parametrize("seed", range(5))
def test_splits_follow_the_rules_row_for_row(tmp_path, seed, prefix, id_order):
    ratings = random_ratings(seed, prefix)
    items = [(f"{prefix}{i}", f"Title {i}", "1999", "Drama" if i % 7 else "NULL") for i in range(1, 30)]
    write_item(tmp_path, items)
    complete = complete_rows(ratings, {item for item, _, _, genre in items if genre == "Drama"})
    assert prepared(tmp_path, ratings) == expected_splits(complete, id_order)


@pytest.mark.parametrize("seed", range(3))
def test_no_user_item_pair_is_in_two_parts(tmp_path, seed):
    rows = [row for part in prepared(tmp_path, random_ratings(seed, "")) for row in part]
    assert len({row[:2] for row in rows}) == len(rows)


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
        ([("x", "X", "", "Drama")], False),
        ([("x", "X", "NULL", "Drama")], False),
        ([("x", "X", "1999", "")], False),
        ([("x", "X", "1999", "NULL")], False),
        ([("x", "X", "1999", "Drama"), ("x", "X", "1999", "NULL")], False),
        ([("x", "X", "1999", "NULL"), ("x", "X", "1999", "Drama")], True),
        ([("x", "X", "V", "Drama")], True),
        ([("x", "Null and Void", "1999", "Drama")], True),
        ([], False),
    ],
)
def test_items_lacking_title_year_or_genre_are_dropped(tmp_path, described, kept):
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


def test_a_rating_given_twice_counts_as_given_last(tmp_path):
    train, validation, test = prepared(tmp_path, [*BLOCK, ("u3", "i3", "1")])
    assert train[-1] == ("u3", "i3", "1")
    assert ("u3", "i3", "5") not in train + validation + test


def test_ids_and_ratings_are_written_as_read_and_load_as_such(tmp_path):
    odd = {"i0": "007", "i1": "NA", "i2": 'a, "b"', "i3": "Ünïcode", "u0": "08"}
    ratings = [(odd.get(user, user), odd.get(item, item), "4.0" if user == "u5" else "5") for user, item, _ in BLOCK]
    rows = [row for part in prepared(tmp_path, ratings) for row in part]
    assert sorted(rows) == sorted(ratings)
    data = dataloader.load(tmp_path, "tiny", tmp_path / "tiny_train_original.csv", "cpu")
    assert set(data.item_ids) == {item for _, item, _ in ratings}


# ---------------------------------------------------------------------------- what prepare leaves alone


def snapshot(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_preparing_again_changes_nothing_and_says_so(tmp_path):
    prepared(tmp_path, BLOCK)
    before, lines = snapshot(tmp_path), []
    dataloader.prepare("tiny", tmp_path, tmp_path, lines.append)
    assert snapshot(tmp_path) == before
    assert len(lines) == 1 and "prepared earlier" in lines[0]


def test_changed_input_is_prepared_anew(tmp_path):
    prepared(tmp_path, BLOCK)
    train, _, _ = prepared(tmp_path, [*BLOCK, ("u0", "i0", "2")])
    assert ("u0", "i0", "2") in train


@pytest.mark.parametrize("part", PARTS)
def test_a_missing_csv_is_prepared_anew(tmp_path, part):
    prepared(tmp_path, BLOCK)
    before = snapshot(tmp_path)
    (tmp_path / f"tiny_{part}.csv").unlink()
    dataloader.prepare("tiny", tmp_path, tmp_path)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("part", PARTS)
def test_a_csv_changed_after_preparation_is_refused(tmp_path, part):
    prepared(tmp_path, BLOCK)
    path = tmp_path / f"tiny_{part}.csv"
    path.write_text(path.read_text().replace(",5\n", ",4\n", 1))
    before = snapshot(tmp_path)
    with pytest.raises(InputError, match=f"tiny_{part}.csv: was changed"):
        dataloader.prepare("tiny", tmp_path, tmp_path)
    assert snapshot(tmp_path) == before


def put_csvs(folder, train, validation, test):
    for part, rows in zip(PARTS, (train, validation, test), strict=True):
        rows = [row.split() for row in rows.split(", ")]
        write_table(folder / f"tiny_{part}.csv", "user_id:token item_id:token rating:float", rows, ",")


def test_csvs_put_there_by_hand_are_used_as_they_are(tmp_path):
    put_csvs(tmp_path, "a x 5", "a y 4", "a z 4")
    before, lines = snapshot(tmp_path), []
    dataloader.prepare("tiny", tmp_path, tmp_path, lines.append)
    assert snapshot(tmp_path) == before
    assert "as found" in lines[0]


@pytest.mark.parametrize("part", PARTS)
def test_a_partial_set_put_there_by_hand_is_refused(tmp_path, part):
    write_inter(tmp_path, BLOCK)
    put_csvs(tmp_path, "a x 5", "a y 4", "a z 4")
    (tmp_path / f"tiny_{part}.csv").unlink()
    before = snapshot(tmp_path)
    with pytest.raises(InputError, match=f"tiny_{part}.csv: missing"):
        dataloader.prepare("tiny", tmp_path, tmp_path)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("ratings", [[], BLOCK[:30], [(user, item, "3") for user, item, _ in BLOCK]])
def test_too_few_likes_to_split_are_refused(tmp_path, ratings):
    with pytest.raises(InputError, match=r"tiny\.inter: too few ratings"):
        prepared(tmp_path, ratings)
    assert list(snapshot(tmp_path)) == ["tiny.inter"]


@pytest.mark.parametrize("files", [[], ["a.item"], ["a.inter", "b.inter"], ["a.inter", "a.item", "b.item"]])
def test_a_folder_without_one_inter_and_at_most_one_item_is_refused(tmp_path, files):
    for file in files:
        (tmp_path / file).touch()
    with pytest.raises(InputError, match=", ".join(files) or "none"):
        dataloader.prepare("tiny", tmp_path, tmp_path)


def test_dataset_is_a_known_name_or_a_folder(tmp_path):
    (tmp_path / "mine").mkdir()
    assert dataloader.locate("ML-1M", tmp_path) == ("ML-1M", tmp_path / "ML-1M", tmp_path / "ML-1M")
    assert dataloader.locate(f"{tmp_path}/mine/", Path("data")) == ("mine", tmp_path / "mine", Path("data/mine"))
    with pytest.raises(InputError, match=r"--dataset nowhere: .*ML-100K"):
        dataloader.locate("nowhere", tmp_path)


def test_item_table_gives_the_last_description_of_each_item(tmp_path):
    write_item(tmp_path, [("007", "Old", "1999", "Drama"), ("007", "New", "NULL", "")])
    assert dataloader.item_table(tmp_path).to_dict("index") == {"007": {"title": "New", "year": "NULL", "genre": ""}}


# ------------------------------------------------------------------------------------- known data sets


def test_ml_100k_is_byte_for_byte_the_published_split(ml_100k):
    assert {part: dataloader.git_blob_id(ml_100k / f"ML-100K_{part}.csv") for part in PARTS} == {
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
    dataloader.prepare("Netflix-1M", folder, folder)

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
    dataloader.prepare("Amazon_Digital_Music", folder, folder)
    ratings = fixture_rows(folder / "Amazon_Digital_Music.inter", ["user_id:token", "item_id:token", "rating:float"])
    rows = [row for row in ratings if row[1] != "B008PL1"]  # the item without categories
    expected = expected_splits(rows, str)
    assert read_splits(folder, "Amazon_Digital_Music") == expected
    assert expected[0][0][2].endswith(".0") and len(rows) < len(ratings)


# ------------------------------------------------------------------------------------------------ load


def pairs(rows, data):
    """(user id, item id) of every entry of Rows."""
    users, items = rows.entries(np.arange(data.n_users))
    return set(zip(data.user_ids[users], data.item_ids[items], strict=True))


TRAIN = "b x 5, b y 0.5, b z 3, b w 2, a y 4.5, a x 1, a z 4, c x 3, c y 2"  # c has neutral ratings only, so has w


@pytest.fixture
def loaded(tmp_path):
    put_csvs(tmp_path, TRAIN, "b new 5, c x 5, a w 4, b z 5", "b a 5, nobody x 5, b y 5")
    refined = (tmp_path / "tiny_train_original.csv").rename(tmp_path / "tiny_train_augment.csv")
    return dataloader.load(tmp_path, "tiny", refined, "cpu")


def test_users_and_items_are_those_of_train_edges_in_id_order(loaded):
    assert (loaded.user_ids.tolist(), loaded.item_ids.tolist()) == (["a", "b"], ["x", "y", "z"])
    assert (loaded.n_users, loaded.n_items, len(loaded.users)) == (2, 3, 5)


def test_4_5_is_a_positive_and_0_5_a_confirmed_negative(loaded):
    assert pairs(loaded.positives, loaded) == {("b", "x"), ("a", "y"), ("a", "z")}
    assert pairs(loaded.confirmed_negatives, loaded) == {("b", "y"), ("a", "x")}
    edges = zip(loaded.users.tolist(), loaded.items.tolist(), loaded.positive.tolist(), strict=True)
    assert sorted(edges) == [(0, 0, False), (0, 1, True), (0, 2, True), (1, 0, True), (1, 1, False)]


def test_neutral_ratings_are_no_edges_but_seen(loaded):
    edges = pairs(loaded.positives, loaded) | pairs(loaded.confirmed_negatives, loaded)
    assert pairs(loaded.seen, loaded) - edges == {("b", "z")}
    assert edges < pairs(loaded.seen, loaded)


def test_validation_and_test_rows_of_unknown_users_and_items_are_left_out(loaded):
    assert pairs(loaded.validation, loaded) == {("b", "z")}
    assert pairs(loaded.test, loaded) == {("b", "y")}


def test_train_file_without_positives_is_refused(tmp_path):
    put_csvs(tmp_path, "a x 1, a y 3, b y 2", "a z 5", "b x 5")
    with pytest.raises(InputError, match=r"tiny_train_original\.csv: holds no rating of 4 or more"):
        dataloader.load(tmp_path, "tiny", tmp_path / "tiny_train_original.csv", "cpu")


@pytest.mark.parametrize(
    ("part", "rating"),
    [("validation", "3.5"), ("validation", "liked"), ("test", "1"), ("train_original", "0.5"), ("train_original", "0")],
)
def test_a_rating_that_its_part_cannot_hold_is_refused(tmp_path, part, rating):
    """Relevant items are rated 4 or 5, and the codes 0.5 and 4.5 belong to refined ratings only."""
    put_csvs(tmp_path, "a x 5, a y 1", "a x 5, a y 5", "a x 5, a y 5")
    path = tmp_path / f"tiny_{part}.csv"
    path.write_text(path.read_text().replace("a,y,1", f"a,y,{rating}").replace("a,y,5", f"a,y,{rating}"))
    with pytest.raises(InputError, match=rf"tiny_{part}\.csv, line 3: rating '{rating}'"):
        dataloader.load(tmp_path, "tiny", tmp_path / "tiny_train_original.csv", "cpu")


def test_ml_100k_loads_with_the_published_counts(ml_100k):
    data = dataloader.load(ml_100k, "ML-100K", ml_100k / "ML-100K_train_original.csv", "cpu")
    assert (data.n_users, data.n_items, len(data.validation.cols), len(data.test.cols)) == (938, 1008, 5018, 10514)


# ----------------------------------------------------------------------------------- Rows and mini-batches


@pytest.mark.parametrize("rows", [[0, 1, 2, 3, 4, 5], [5, 0, 5, 2], [3], []])
def test_rows_hand_out_the_entries_of_any_rows(rows):
    dense = np.random.RandomState(0).rand(6, 7) < 0.4
    dense[3] = False
    sparse = Rows(*np.random.RandomState(1).permutation(np.argwhere(dense)).T, 6, "cpu")
    rows = np.array(rows, int)
    found = torch.zeros(len(rows), 7, dtype=int).index_put(sparse.entries(rows), torch.ones((), dtype=int), True)
    assert found.tolist() == dense[rows].astype(int).tolist()
    assert sparse.count(rows).tolist() == dense[rows].sum(1).tolist()


def signed(positive):
    """23 users, 17 items; 150 train edges, the given ones positive."""
    users, items = np.divmod(np.random.RandomState(0).permutation(23 * 17)[:150], 17)
    return train_data(23, 17, users, items, positive)


SIGNS = {"both": np.arange(150) % 3 > 0, "positives": np.ones(150, bool), "negatives": np.zeros(150, bool)}


def densify(sparse, shape):
    """SparseRows -> dense matrix of counts; the row that follows the others must be empty."""
    dense = np.zeros(shape, int)
    starts = sparse.start.tolist()
    assert len(starts) == len(sparse.ids) + 2 and starts[-2:] == [len(sparse.cols)] * 2
    for row, first, end in zip(sparse.ids.tolist(), starts, starts[1:], strict=False):
        assert end > first
        np.add.at(dense[row], sparse.cols[first:end].numpy(), 1)
    return dense


@pytest.mark.parametrize("signs", SIGNS)
def test_an_epoch_holds_every_edge_once_with_its_sign(signs):
    data = signed(SIGNS[signs])
    epoch = np.zeros((2, 23, 17), int)
    sizes = []
    for batch in data.batches(32, torch.Generator().manual_seed(0)):
        np.add.at(epoch[1], (batch.users.numpy(), batch.items.numpy()), 1)
        epoch[0] += densify(batch.negatives_by_user, (23, 17))
        sizes.append(len(batch.users) + len(batch.negatives_by_user.cols))
    expected = np.zeros((2, 23, 17), int)
    expected[data.positive.int(), data.users, data.items] = 1
    assert (epoch == expected).all()
    assert sizes == [32, 32, 32, 32, 22]


@pytest.mark.parametrize("signs", SIGNS)
def test_confirmed_negatives_of_a_batch_are_the_same_by_user_and_by_item(signs):
    for batch in signed(SIGNS[signs]).batches(32, torch.Generator().manual_seed(0)):
        by_user, by_item = batch.negatives_by_user, batch.negatives_by_item
        assert (densify(by_user, (23, 17)) == densify(by_item, (17, 23)).T).all()
        for sparse, ids in ((by_user, by_item.cols), (by_item, by_user.cols)):
            assert torch.equal(sparse.row_of, torch.arange(len(sparse.ids)).repeat_interleave(sparse.start[:-1].diff()))
            assert torch.equal(sparse.ids, ids.unique())


@pytest.mark.parametrize("signs", SIGNS)
def test_distinct_users_of_a_batch_lead_back_to_its_positives(signs):
    for batch in signed(SIGNS[signs]).batches(32, torch.Generator().manual_seed(0)):
        assert torch.equal(batch.distinct_users, batch.users.unique())
        assert torch.equal(batch.distinct_users[batch.distinct_of], batch.users)
        assert batch.users_host.tolist() == batch.users.tolist()
        assert batch.distinct_users_host.tolist() == batch.distinct_users.tolist()


def test_shuffling_depends_on_the_generator_alone():
    data = signed(SIGNS["both"])
    epoch = lambda generator: [batch.items.tolist() for batch in data.batches(32, generator)]  # noqa: E731
    generator = torch.Generator().manual_seed(0)
    first, second = epoch(generator), epoch(generator)
    assert first == epoch(torch.Generator().manual_seed(0))
    assert first != epoch(torch.Generator().manual_seed(1))
    assert first != second


# ------------------------------------------------------------------------------------ what users bring


def test_own_version_of_a_known_data_set_can_be_given_by_path(tmp_path):
    own = tmp_path / "ML-100K"
    own.mkdir()
    write_table(own / "ml-100k.inter", "user_id item_id rating", BLOCK)
    dataloader.prepare(*dataloader.locate(str(own), tmp_path / "data"))
    assert (tmp_path / "data" / "ML-100K-own" / "ML-100K-own_test.csv").exists()


def test_fewer_users_than_the_sample_are_refused(tmp_path):
    write_table(tmp_path / "netflix.inter", "user_id item_id rating", BLOCK)
    write_table(tmp_path / "netflix.item", "item_id title", [(f"i{i}", "Title") for i in range(10)])
    with pytest.raises(InputError, match="5000 users are to be drawn, but only 10"):
        dataloader.prepare("Netflix-1M", tmp_path, tmp_path)


def test_csv_rows_without_a_user_are_no_users(tmp_path):
    for part in PARTS:
        (tmp_path / f"tiny_{part}.csv").write_text("user_id,item_id,rating\na,x,5\n,y,5\n")
    assert dataloader.load(tmp_path, "tiny", tmp_path / "tiny_train_original.csv", "cpu").user_ids.tolist() == ["a"]


def test_validation_without_a_usable_row_is_refused(tmp_path):
    put_csvs(tmp_path, "a x 5, a y 4", "b z 5", "a x 5")
    with pytest.raises(InputError, match=r"tiny_validation\.csv: no row"):
        dataloader.load(tmp_path, "tiny", tmp_path / "tiny_train_original.csv", "cpu")


def test_a_broken_stamp_is_refused_by_name(tmp_path):
    prepared(tmp_path, BLOCK)
    (tmp_path / "prepared.json").write_text("{")
    with pytest.raises(InputError, match=r"prepared\.json"):
        prepared(tmp_path, BLOCK)
