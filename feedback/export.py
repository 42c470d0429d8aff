"""Refined ratings in the formats of other libraries, for `llm_feedback.py export`:

    csv        user, item, rating, refined, decision, of labels.table_of; also .jsonl and .parquet
    recbole    an atomic file, NAME/NAME.inter, with the refined rating in place of the given one,
               and timestamps where the ratings have them
    implicit   a sparse matrix of users x items: 1 of a positive or liked item, -1 of a confirmed negative

What loads them: docs/use_elsewhere.md.
"""

import numpy as np
import scipy.sparse

from preparation.files import encode, read_table, sort_ids
from preparation.own import INTER, write_atomic_file
from utils import InputError, require_table_path, write_atomically, write_npz, write_table


def to_csv(table, path, raw):
    """Write the table in the form that the end of the path says.  Returns the lines that say so."""
    write_table(path, table)
    return [f"{path}: {len(table)} ratings, {in_counts(table)}"]


def to_recbole(table, path, raw):
    """Write the folder `path` with RecBole's NAME.inter in it.

    raw: the folder of the data set's own .inter, whose timestamps are taken over: RecBole needs them to split by time.
    """
    broken = table.user.str.contains("\t") | table.item.str.contains("\t")
    if broken.any():
        raise InputError(f"{path}: ids with a tab in them, such as {table.user[broken].iloc[0]!r}, cannot be written")
    path.mkdir(parents=True, exist_ok=True)
    file = path / f"{path.name}.inter"
    atomic = table[["user", "item"]].assign(rating=table.refined)
    timestamps, beside = timestamps_of(table, raw), "without timestamps"
    if timestamps is not None:
        atomic["time"], beside = timestamps, "with timestamps"
    write_atomically(file, lambda p: write_atomic_file(p, atomic, INTER))
    how = f'dataset="{path.name}" and data_path="{path.parent}" read it'
    return [f"{file}: {len(table)} refined ratings, {in_counts(table)}, {beside}; {how}"]


def timestamps_of(table, raw):
    """(rows,) of the .inter in a folder, the last of a pair rated twice; None where a row has none."""
    files = sorted(raw.glob("*.inter"))
    if len(files) != 1:
        return None
    rows = read_table(files[0], "\t", {"user": ["user_id"], "item": ["item_id"], "timestamp?": ["timestamp"]})
    if "timestamp" not in rows:
        return None
    rows = rows.astype({"user": str, "item": str}).sort_values("timestamp", kind="stable")
    rows = rows.drop_duplicates(["user", "item"], keep="last")
    found = table[["user", "item"]].merge(rows, how="left", on=["user", "item"]).timestamp
    return None if found.isna().any() else found.to_numpy()


def to_implicit(table, path, raw):
    """Write a CSR matrix (users, items) of 1 and -1, and the ids of its rows and columns."""
    user_ids, item_ids = sort_ids(table.user.unique()), sort_ids(table.item.unique())
    users = encode(table.user.astype("category"), user_ids)
    items = encode(table.item.astype("category"), item_ids)
    sign = np.select([table.refined >= 4, table.refined <= 1], [1, -1], 0).astype(np.float32)
    kept = sign != 0
    shape = len(user_ids), len(item_ids)
    matrix = scipy.sparse.csr_matrix((sign[kept], (users[kept], items[kept])), shape=shape)
    beside = path.with_name(f"{path.stem}_ids.npz")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_npz(beside, lambda f: np.savez(f, user_ids=user_ids.astype(str), item_ids=item_ids.astype(str)))
    write_npz(path, lambda f: scipy.sparse.save_npz(f, matrix))
    left_out = f"{(~kept).sum()} neutral ratings left out"
    return [
        f"{path}: {shape[0]} users x {shape[1]} items, {(sign > 0).sum()} of 1, {(sign < 0).sum()} of -1; {left_out}",
        f"{beside}: user_ids of its rows, item_ids of its columns",
    ]


FORMATS = {"csv": to_csv, "recbole": to_recbole, "implicit": to_implicit}


def require_path(kind, path):
    """Raises InputError where the format cannot be written to this path."""
    if kind == "csv":
        require_table_path(path)
    elif kind == "implicit" and (path.suffix != ".npz" or path.is_dir()):
        raise InputError(f"--out {path}: must be a file whose name ends in .npz")
    elif kind == "recbole" and (path.exists() and not path.is_dir()):
        raise InputError(f"--out {path}: must be a folder, of which RecBole takes the name for the data set's")


def in_counts(table):
    """How many of each decision, in words."""
    return ", ".join(f"{n} {decision}" for decision, n in table.decision.value_counts().items())
