"""Dislikes held out: which pairs, and what the CSVs then hold."""

import hashlib

import numpy as np
import pandas as pd
import pytest
import synthetic

from conrec.data import events
from preparation import dislikes, splits
from preparation.files import STARS, read_ratings
from utils import InputError, sha256


@pytest.fixture
def published(tmp_path):
    raw = synthetic.write_data_set(tmp_path / "blocks")
    splits.prepare("blocks", raw, tmp_path / "data" / "blocks")
    return tmp_path / "data" / "blocks"


def held_out(folder, own, log=print):
    dislikes.hold_out("blocks", folder, own, log)
    return {part: read_ratings(own / f"blocks_{part}.csv", ",", STARS) for part in dislikes.ALL_PARTS}


def pairs(table):
    return set(zip(table.user, table.item, strict=True))


def test_the_draw_is_the_first_eight_bytes_of_a_hash_of_the_pair():
    digest = hashlib.sha256(b"2024\t42\ttt0083658").digest()
    assert dislikes.place_in_draw("42", "tt0083658") == int.from_bytes(digest[:8], "big") / 2**64
    draws = [dislikes.place_in_draw(str(user), str(item)) for user in range(50) for item in range(50)]
    assert 0.17 < np.mean(np.array(draws) < 0.2) < 0.23 and max(draws) < 1


def test_a_fifth_of_the_dislikes_is_test_and_a_tenth_validation_and_all_else_is_as_published(published):
    before = read_ratings(published / "blocks_train_original.csv", ",", STARS)
    parts = held_out(published, published / "own")
    for part in ("validation", "test"):
        assert sha256(published / f"blocks_{part}.csv") == sha256(published / "own" / f"blocks_{part}.csv")
    n = (before.rating <= 2).sum()
    for part, low, high in (("test_dislikes", 0, 0.2), ("validation_dislikes", 0.2, 0.3)):
        assert 0.7 * (high - low) < len(parts[part]) / n < 1.3 * (high - low)
        assert parts[part].rating.max() == 2
        for user, item in pairs(parts[part]):
            assert low <= dislikes.place_in_draw(user, item) < high
    # each row is in one part, and the rows that stay lie in their old order, byte for byte
    gone = pairs(parts["test_dislikes"]) | pairs(parts["validation_dislikes"])
    old = (published / "blocks_train_original.csv").read_text().splitlines()
    kept = [line for line in old if tuple(line.split(",")[:2]) not in gone]
    assert (published / "own" / "blocks_train_original.csv").read_text().splitlines() == kept
    assert len(kept) == len(old) - len(parts["test_dislikes"]) - len(parts["validation_dislikes"])


def test_the_same_pairs_are_held_out_whatever_the_order_of_rows(published):
    first = held_out(published, published / "own")
    path = published / "blocks_train_original.csv"
    header, *rows = path.read_text().splitlines()
    path.write_text("\n".join([header, *np.random.RandomState(1).permutation(rows)]) + "\n")
    second = held_out(published, published / "own")  # made anew, since train is another now
    for part in dislikes.ALL_PARTS:
        assert pairs(first[part]) == pairs(second[part])


def test_of_a_pair_given_twice_the_last_row_decides_for_both(published):
    path = published / "blocks_train_original.csv"
    gone = sorted(pairs(held_out(published, published / "own")["test_dislikes"]))
    with open(path, "a") as f:
        f.write("".join(f"{user},{item},{stars}\n" for (user, item), stars in zip(gone[:2], "51", strict=True)))
    parts = held_out(published, published / "own")
    assert gone[0] not in pairs(parts["test_dislikes"]) and gone[1] in pairs(parts["test_dislikes"])
    assert gone[0] in pairs(parts["train_original"]) and gone[1] not in pairs(parts["train_original"])


def test_csvs_are_made_once_and_those_that_were_changed_are_named(published, capsys):
    own = published / "own"
    held_out(published, own)
    times = {path: path.stat().st_mtime_ns for path in own.iterdir()}
    held_out(published, own)
    assert times == {path: path.stat().st_mtime_ns for path in own.iterdir()}
    assert "held out earlier" in capsys.readouterr().out
    (own / "blocks_test_dislikes.csv").write_text("user_id:token,item_id:token,rating:float\nu1,i1,1\n")
    with pytest.raises(InputError, match="was changed after it was prepared"):
        held_out(published, own)
    (own / "prepared.json").unlink()
    with pytest.raises(InputError, match="not made here"):
        held_out(published, own)


def test_ratings_without_dislikes_are_refused_and_nothing_is_written(published):
    path = published / "blocks_train_original.csv"
    lines = [line for line in path.read_text().splitlines() if line[-2:] not in (",1", ",2")]
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match="holds 0 ratings of 1 or 2, which leave none for the validation_dislikes"):
        held_out(published, published / "own")
    assert not (published / "own").exists()


def test_labels_of_others_lose_the_rows_that_are_held_out(published):
    parts = held_out(published, published / "own")
    labels = published / "blocks_train_augment.csv"
    original = pd.read_csv(published / "blocks_train_original.csv", dtype=str)
    original["rating:float"] = original["rating:float"].replace({"2": "0.5", "3": "4.5"})
    original.to_csv(labels, index=False)
    table = dislikes.without_held_out(labels, "blocks", published / "own")
    assert pairs(table) == pairs(parts["train_original"]) and set(table.token) == {"0.5", "1", "4", "4.5", "5"}


def test_the_split_in_time_is_that_of_conrec(tmp_path):
    """Ties in time are decided by item id in both; 3s after the cut count as nothing."""
    raw = tmp_path / "world"
    synthetic.write_planted_world(raw, n_users=40)
    path = raw / "world.inter"
    header, *rows = path.read_text().splitlines()
    coarse = [row.rpartition("\t")[0] + f"\t{int(row.split(chr(9))[3]) // 600 * 600}" for row in rows]
    path.write_text("\n".join([header, *np.random.RandomState(1).permutation(coarse)]) + "\n")
    dislikes.hold_out_by_time("world", raw, tmp_path / "own")
    parts = {part: read_ratings(tmp_path / "own" / f"world_{part}.csv", ",", STARS) for part in dislikes.ALL_PARTS}
    frame = events.to_frame(events.read(raw)[0])
    expected = {"train_original": frame[frame.part == "train"]}
    for part in ("validation", "test"):
        own = frame[frame.part == part]
        expected |= {part: own[own.rating >= 4], f"{part}_dislikes": own[own.rating <= 2]}
    for part, table in parts.items():
        assert pairs(table) == pairs(expected[part]) and len(table) == len(expected[part]) > 0, part
    assert len(parts["train_original"]) == 40 * 36


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (None, "has no column timestamp"),
        (["7"] * 5, "all timestamps are 7; leave out --split time"),
        (["7", "8", "", "9", "9"], "line 4: has no timestamp"),
    ],
)
def test_ratings_that_cannot_be_put_in_order_are_named(tmp_path, column, said):
    raw = tmp_path / "x"
    raw.mkdir()
    header = "user_id:token\titem_id:token\trating:float" + ("\ttimestamp:float" if column else "")
    rows = [f"u\ti{n}\t{n + 1}" + (f"\t{column[n]}" if column else "") for n in range(5)]
    (raw / "x.inter").write_text("\n".join([header, *rows]) + "\n")
    with pytest.raises(InputError, match=said):
        dislikes.hold_out_by_time("x", raw, tmp_path / "own")
    assert not (tmp_path / "own").exists()
