"""The vectors of hard negatives: lookup by token, sorted reads, controls, and folders that cannot be used."""

import json

import hard_negatives
import numpy as np
import pytest
import torch
from synthetic import train_data

from negatives import vectors
from negatives.vectors import HardNegatives, read
from utils import InputError

USERS, ITEMS, WIDTH = 9, 15, 8


@pytest.fixture
def data():
    """60 train rows, 40 of them liked.  Tokens that look like numbers, not in the order of numbers."""
    pairs = np.random.RandomState(0).permutation(USERS * ITEMS)[:60]
    data = train_data(USERS, ITEMS, pairs // ITEMS, pairs % ITEMS, np.arange(60) % 3 > 0)
    data.user_ids = np.array([f"{n:03d}" if n % 2 else str(100 - n) for n in range(USERS)])
    data.item_ids = np.array([f"{n}.0" if n % 2 else str(n) for n in range(ITEMS)])
    return data


@pytest.fixture
def folder(data, tmp_path):
    return hard_negatives.write_folder(tmp_path / "made", data)


def all_edges(data):
    return torch.arange(len(data.edges("positive")))


def load(folder, name):
    return np.array(np.load(folder / f"{name}.npy"))


# ----------------------------------------------------------------------------------------------- lookup


def test_each_edge_gets_its_own_vector_times_the_root_of_the_width(folder, data):
    hard = read(folder, data, "tuned", 0, "cpu")
    assert hard.width == WIDTH and hard.kept.all() and hard.vectors.dtype == np.float16
    assert isinstance(hard.vectors, np.memmap)  # not read into memory
    edges = torch.tensor([5, 0, 39, 5])
    expected = torch.from_numpy(load(folder, "vectors")[edges]).float() * WIDTH**0.5
    found = hard.fetch(edges)
    assert found.dtype == torch.float32 and torch.equal(found, expected)


def test_other_orders_of_tokens_and_pairs_give_the_same_rows_for_the_same_pairs(folder, data):
    before = read(folder, data, "tuned", 0, "cpu")
    expected, documents = before.fetch(all_edges(data)), before.documents.clone()  # now: the files will be others
    random = np.random.default_rng(3)
    users, items, pairs = random.permutation(USERS), random.permutation(ITEMS), random.permutation(40)
    tokens = {"users": data.user_ids[users].tolist(), "items": data.item_ids[items].tolist()}
    tokens["items"].append("elsewhere")  # a folder may know items that are in no train edge of this run
    (folder / "ids.json").write_text(json.dumps(tokens))
    old = load(folder, "pairs")[pairs]
    renamed = np.stack((np.argsort(users)[old[:, 0]], np.argsort(items)[old[:, 1]]), 1)
    np.save(folder / "pairs.npy", renamed.astype(np.int32))
    np.save(folder / "vectors.npy", load(folder, "vectors")[pairs])
    np.save(folder / "items.npy", load(folder, "items")[[*items, 0]])
    after = read(folder, data, "tuned", 0, "cpu")
    assert not np.array_equal(after.rows, before.rows)
    assert torch.equal(after.fetch(all_edges(data)), expected)
    assert torch.equal(after.documents, documents)


def test_pairs_left_out_and_without_a_vector_get_zeros_and_are_not_kept(folder, data):
    status = np.zeros(30, np.uint8)
    status[:4] = vectors.NONE, vectors.POSITIVE, vectors.DUPLICATE, vectors.OUTSCORED
    for name in ("pairs", "vectors"):
        np.save(folder / f"{name}.npy", load(folder, name)[:30])
    without = load(folder, "vectors")
    without[0] = 0
    np.save(folder / "vectors.npy", without)
    np.save(folder / "status.npy", status)
    hard = read(folder, data, "tuned", 0, "cpu")
    assert hard.rows.tolist() == [-1, *range(1, 30), *[-1] * 10]
    assert hard.kept.tolist() == [False] * 4 + [True] * 26 + [False] * 10
    assert hard.has_vector.tolist() == [False] + [True] * 29 + [False] * 10
    found = hard.fetch(all_edges(data))
    assert (found[[0, *range(30, 40)]] == 0).all() and (found[1:30].norm(dim=1) > 2).all()


def test_the_file_is_read_from_front_to_back(data):
    class Watched(np.ndarray):
        def __getitem__(self, rows):
            asked.append(np.array(rows))
            return super().__getitem__(rows)

    asked = []
    codes = hard_negatives.random_vectors(5, 4)
    rows = np.array([4, -1, 0, 4, 2])
    hard = HardNegatives(rows, rows >= 0, codes.view(Watched), codes, "cpu")
    found = hard.fetch(torch.arange(5))
    assert asked[0].tolist() == [0, 2, 4, 4]
    expected = codes[rows] * (rows >= 0)[:, None]
    assert torch.equal(found, torch.from_numpy(expected).float() * 2)


# --------------------------------------------------------------------------------------------- controls


def test_shuffled_vectors_are_those_of_the_other_pairs_kept_among_kept(folder, data):
    status = np.arange(40) % 4 // 3  # every fourth pair is rejected
    np.save(folder / "status.npy", (status * vectors.OUTSCORED).astype(np.uint8))
    plain, one, again, other = (
        read(folder, data, source, seed, "cpu")
        for source, seed in (("tuned", 1), ("shuffled", 1), ("shuffled", 1), ("shuffled", 2))
    )
    assert torch.equal(one.kept, plain.kept) and not one.kept.all()
    kept = plain.kept.numpy()
    for group in (kept, ~kept):
        assert sorted(one.rows[group]) == sorted(plain.rows[group])
        assert (one.rows[group] != plain.rows[group]).mean() > 0.6
    assert np.array_equal(one.rows, again.rows) and not np.array_equal(one.rows, other.rows)


def test_constant_noise_is_one_number_a_row_drawn_anew_in_every_fetch(data, tmp_path):
    folder = hard_negatives.write_folder(tmp_path / "gauss", data, "noise_const", width=2000)
    hard = read(folder, data, "noise_const", 0, "cpu")
    torch.manual_seed(0)
    first, second = (hard.fetch(torch.arange(30).repeat(100)) for _ in range(2))
    assert first.shape == (3000, 2000) and (first == first[:, :1]).all() and not torch.equal(first, second)
    assert abs(first[:, 0].mean()) < 4 / 3000**0.5 and abs(first[:, 0].std() - 1) < 0.06
    torch.manual_seed(0)
    assert torch.equal(hard.fetch(torch.arange(30).repeat(100)), first)  # from torch's generator, which is saved


# ---------------------------------------------------------------------------------- what cannot be used


def changed(array, place, value):
    array[place] = value
    return array


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("vectors", lambda a: a[:-1], r"vectors\.npy: holds float16 39 x 8, expected float16 40 x any"),
        ("vectors", lambda a: a.astype(np.float32), r"vectors\.npy: holds float32 .* float16"),
        ("vectors", lambda a: a[:, :0], r"vectors\.npy: holds float16 40 x 0"),
        ("vectors", lambda a: changed(a, (3, 1), np.inf), r"vectors\.npy, row 3: has norm inf, expected 1"),
        ("vectors", lambda a: changed(a, 7, 0), r"vectors\.npy, row 7: has norm 0, expected 1"),
        ("items", lambda a: a[:, :4], r"items\.npy: holds float16 15 x 4, .* 15 x 8"),
        ("pairs", lambda a: changed(a, (4, 1), 15), r"pairs\.npy, row 4: names a user or item"),
        ("pairs", lambda a: a[:, ::-1] % np.int32(9), r"pairs\.npy, row \d+: is no train positive here"),
        ("status", lambda a: a[1:], r"status\.npy: holds uint8 39, expected uint8 40"),
        ("status", lambda a: changed(a, 0, 9), r"status\.npy: holds the code 9, known are 0 to 4"),
        ("status", lambda a: a + np.uint8(1), r"pairs\.npy: no pair has a vector"),
    ],
)
def test_an_array_that_does_not_fit_is_refused(folder, data, name, change, message):
    np.save(folder / f"{name}.npy", change(load(folder, name)))
    with pytest.raises(InputError, match=message):
        read(folder, data, "tuned", 0, "cpu")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("vectors.npy", "<html>", r"vectors\.npy: is no whole array of numbers .*; delete the folder"),
        ("vectors.npy", None, r"vectors\.npy: missing; delete"),
        ("ids.json", '{"users": [1], "items": []}', r"ids\.json: is not JSON of users and items"),
        ("settings.json", "{", r"settings\.json: is not JSON with a source"),
        ("settings.json", '{"source": "text"}', r"source text, --hard tuned needs tuned"),
        ("settings.json", None, r"made: holds no hard negatives"),
        ("report.json", None, r"made: is not finished \(no report\.json\)"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(folder, data, name, text, message):
    (folder / name).unlink()
    if text is not None:
        (folder / name).write_text(text)
    with pytest.raises(InputError, match=message):
        read(folder, data, "tuned", 0, "cpu")


def test_a_folder_that_lacks_an_item_is_refused(folder, data):
    rest = load(folder, "pairs")[:, 1] != 0
    for name in ("pairs", "vectors", "status"):
        np.save(folder / f"{name}.npy", load(folder, name)[rest])
    (folder / "ids.json").write_text((folder / "ids.json").read_text().replace('"0"', '"another"'))
    with pytest.raises(InputError, match=r"ids\.json: lacks item 0;"):
        read(folder, data, "tuned", 0, "cpu")
