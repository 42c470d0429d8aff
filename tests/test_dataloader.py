"""Loading and mini-batches, against dense matrices."""

import numpy as np
import pytest
import torch
from synthetic import PARTS, put_csvs, train_data

import dataloader
from dataloader import Rows
from utils import InputError

# ------------------------------ load


def pairs(rows, data):
    """(user id, item id) of every entry of Rows."""
    users, items = rows.entries(np.arange(data.n_users))
    return set(zip(data.user_ids[users], data.item_ids[items], strict=True))


TRAIN = "b x 5, b y 0.5, b z 3, b w 2, a y 4.5, a x 1, a z 4, c x 3, c y 2"  # c has neutral ratings only, so has w


def test_pairs_in_two_parts_are_counted():
    users, items = np.array([0, 0, 1]), np.array([0, 1, 1])
    held = [(np.array([0, 1]), np.array([2, 1])), (np.array([0, 0]), np.array([2, 0]))]
    data = train_data(2, 3, users, items, np.array([5.0, 3.0, 4.0]), *held)
    assert dataloader.pairs_in_two_parts(data) == 3  # (1, 1), (0, 2), (0, 0)
    assert dataloader.pairs_in_two_parts(train_data(2, 3, users, items, np.array([5.0, 3.0, 4.0]))) == 0


@pytest.fixture
def loaded(tmp_path):
    put_csvs(tmp_path, TRAIN, "b new 5, c x 5, a w 4, b z 5", "b a 5, nobody x 5, b y 5")
    refined = (tmp_path / "tiny_train_original.csv").rename(tmp_path / "tiny_train_augment.csv")
    return dataloader.load(tmp_path, "tiny", refined, "cpu")


def test_rows_are_told_apart_by_their_stars(loaded):
    """Users and items are those of train edges in id order: 4.5 is a positive, 0.5 a confirmed negative, what is
    neutral is no edge, but seen, and rows about others are left out."""
    assert (loaded.user_ids.tolist(), loaded.item_ids.tolist()) == (["a", "b"], ["x", "y", "z"])
    assert (loaded.n_users, loaded.n_items, len(loaded.users)) == (2, 3, 5)
    positives, negatives = pairs(loaded.positives, loaded), pairs(loaded.confirmed_negatives, loaded)
    assert positives == {("b", "x"), ("a", "y"), ("a", "z")} and negatives == {("b", "y"), ("a", "x")}
    edges = zip(loaded.users.tolist(), loaded.items.tolist(), loaded.positive.tolist(), strict=True)
    assert sorted(edges) == [(0, 0, False), (0, 1, True), (0, 2, True), (1, 0, True), (1, 1, False)]
    assert pairs(loaded.seen, loaded) == positives | negatives | {("b", "z")}
    assert pairs(loaded.validation, loaded) == {("b", "z")} and pairs(loaded.test, loaded) == {("b", "y")}


def test_files_from_which_nothing_can_be_learned_or_ranked_are_refused(tmp_path):
    put_csvs(tmp_path, "a x 1, a y 3, b y 2", "a z 5", "b x 5")
    with pytest.raises(InputError, match=r"tiny_train_original\.csv: holds no rating of 4 or more"):
        dataloader.load(tmp_path, "tiny", tmp_path / "tiny_train_original.csv", "cpu")
    put_csvs(tmp_path, "a x 5, a y 4", "b z 5", "a x 5")
    with pytest.raises(InputError, match=r"tiny_validation\.csv: no row"):
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


# ------------------------------ Rows and mini-batches


@pytest.mark.parametrize("rows", [[0, 1, 2, 3, 4, 5], [5, 0, 5, 2], [4], [3], []])
def test_rows_hand_out_the_entries_of_any_rows(rows):
    dense = np.random.RandomState(0).rand(6, 7) < 0.4
    dense[3] = False
    sparse = Rows(*np.random.RandomState(1).permutation(np.argwhere(dense)).T, 6, dense.shape[1], "cpu")
    rows = np.array(rows, int)
    found = torch.zeros(len(rows), 7, dtype=int).index_put(sparse.entries(rows), torch.ones((), dtype=int), True)
    assert found.tolist() == dense[rows].astype(int).tolist()
    flat = torch.zeros(len(rows) * 7, dtype=int).index_fill_(0, sparse.flat_entries(rows), 1)
    assert flat.view(len(rows), 7).tolist() == dense[rows].astype(int).tolist()
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
def test_parts_of_a_batch_agree(signs):
    """Confirmed negatives by user and by item, and distinct users with their positives."""
    for batch in signed(SIGNS[signs]).batches(32, torch.Generator().manual_seed(0)):
        by_user, by_item = batch.negatives_by_user, batch.negatives_by_item
        assert (densify(by_user, (23, 17)) == densify(by_item, (17, 23)).T).all()
        for sparse, ids in ((by_user, by_item.cols), (by_item, by_user.cols)):
            assert torch.equal(sparse.row_of, torch.arange(len(sparse.ids)).repeat_interleave(sparse.start[:-1].diff()))
            assert torch.equal(sparse.ids, ids.unique())
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


def test_csv_rows_without_a_user_are_no_users(tmp_path):
    for part in PARTS:
        (tmp_path / f"tiny_{part}.csv").write_text("user_id,item_id,rating\na,x,5\n,y,5\n")
    assert dataloader.load(tmp_path, "tiny", tmp_path / "tiny_train_original.csv", "cpu").user_ids.tolist() == ["a"]


def test_of_a_pair_in_a_csv_twice_the_last_row_counts(tmp_path):
    """In files laid down by hand; preparation writes each pair once."""
    put_csvs(tmp_path, "a x 5, a y 1, a z 4, a x 1, a y 5", "a x 5", "a x 5")
    data = dataloader.load(tmp_path, "tiny", tmp_path / "tiny_train_original.csv", "cpu")
    assert pairs(data.positives, data) == {("a", "y"), ("a", "z")}
    assert pairs(data.confirmed_negatives, data) == {("a", "x")}
    assert len(data.seen.cols) == 3
