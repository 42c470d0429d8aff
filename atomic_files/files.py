"""Reading .inter/.item files and our CSVs: every cell a string, nothing guessed, bad files named in one line."""

import codecs
import csv
import os
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.api.types import union_categoricals

from utils import InputError

STARS = (1, 2, 3, 4, 5)
LIKED, CONFIRMED = 4.5, 0.5  # codes in train_augment, not stars: a refined 2 or 3 becomes one of them
SEPARATORS = {"\t": "tabs", ",": "commas"}


def read_table(path, sep, wanted):
    """A delimited text file with a header line -> DataFrame of the wanted columns, renamed by role.

    wanted: {role: accepted column names}; a role ending in "?" may be absent.  Names are compared without
    RecBole's ":token" suffix; columns may come in any order and extra ones are ignored.  Every cell stays the
    string it is ("007", "NA"), each column a categorical, since long files repeat few distinct tokens.
    Raises InputError, naming the file, for anything that is not such a file.
    """
    path = Path(path)
    columns = header(path, sep)
    found = {name.split(":")[0]: name for name in columns}
    roles = {}
    for role, names in wanted.items():
        column = next((found[name] for name in names if name in found), None)
        if column is not None:
            roles[column] = role.rstrip("?")
        elif not role.endswith("?"):
            hint = "" if len(columns) > 1 else f"; cells must be separated by {SEPARATORS[sep]}"
            raise InputError(
                f"{path}: has no column {' or '.join(names)}; the first line must, and reads: {' '.join(columns)}{hint}"
            )
    quoting = csv.QUOTE_NONE if sep == "\t" else csv.QUOTE_MINIMAL
    options = {"sep": sep, "dtype": str, "keep_default_na": False, "quoting": quoting, "index_col": False}
    options["skip_blank_lines"] = False  # so that row n is line n + 2
    try:
        with warnings.catch_warnings(), pd.read_csv(path, encoding=encoding_of(path), chunksize=2**20, **options) as f:
            warnings.simplefilter("error", pd.errors.ParserWarning)  # a first row longer than the header
            parts = [chunk.loc[(chunk != "").any(axis=1), list(roles)].astype("category") for chunk in f]
    except (pd.errors.ParserError, pd.errors.ParserWarning, ValueError) as error:
        raise InputError(f"{path}: is not a table with one row a line ({str(error).strip()})") from None
    table = pd.DataFrame({role: union_categoricals([part[name] for part in parts]) for name, role in roles.items()})
    return table.set_index(np.concatenate([part.index for part in parts]) + 2)  # line numbers


def header(path, sep):
    """The column names on the first line.  Raises InputError for what is plainly no data file."""
    try:
        with open(path, "rb") as f:
            start = f.readline(2**16)
            f.seek(max(0, os.path.getsize(path) - 2**16))
            end = f.read().rpartition(b"\n")[2]  # a whole file's last line ends in a line break, or is a whole row
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise InputError(f"{path}: is UTF-16; save it as UTF-8")
    if not start.strip():
        raise InputError(f"{path}: is empty; delete it and run again to fetch or prepare it anew")
    if start.startswith(b"version https://git-lfs"):
        raise InputError(f"{path}: is a git-LFS pointer, not the data; run `git lfs pull` where it came from")
    if start.lstrip().startswith(b"<"):
        raise InputError(f"{path}: is a web page saved under the data file's name; download the file itself")
    columns = start.decode("utf-8-sig", errors="replace").rstrip("\r\n").split(sep)
    if end.strip() and end.count(sep.encode()) + 1 < len(columns):
        raise InputError(f"{path}: ends in the middle of a row; the file is cut off, fetch or copy it anew")
    return columns


def encoding_of(path):
    """UTF-8 (with or without a byte-order mark), or latin-1 for the older files that are not."""
    with open(path, encoding="utf-8-sig") as f:
        try:
            while f.read(2**22):
                pass
        except UnicodeDecodeError as error:
            if Path(path).read_bytes().startswith(codecs.BOM_UTF8):
                raise InputError(f"{path}: begins as UTF-8 but is not ({error.reason}); save it as UTF-8") from None
            return "latin-1"
    return "utf-8-sig"


def parse_ratings(column, path, allowed):
    """Ratings as float64, NaN where the cell is empty.  Raises InputError, naming the row, for anything that is
    not one of the allowed numbers (half stars: 0.5 and 4.5 are this project's codes and must not be confused)."""
    tokens = column.cat.categories
    values = pd.to_numeric(pd.Series(tokens, dtype=object), errors="coerce").to_numpy(float)
    for token, value in zip(tokens, values, strict=True):
        if token.strip() and value not in allowed:
            line = column.index[(column == token).to_numpy()][0]
            raise InputError(
                f"{path}, line {line}: rating {token!r}, expected one of {', '.join(f'{a:g}' for a in allowed)}"
                " (half stars or another scale must be mapped to whole stars 1-5 first)"
            )
    ratings = np.full(len(column), np.nan)
    known = (column != "").to_numpy()
    ratings[known] = values[column.cat.codes.to_numpy()[known]]
    return ratings


def sort_ids(tokens):
    """Distinct ids in sorted order: by number if every one is a plainly written integer, else as text."""
    tokens = np.unique(np.asarray(tokens, dtype=object))
    if all(t.isascii() and t.removeprefix("-").isdigit() and str(int(t)) == t for t in tokens):
        tokens = tokens[np.argsort([int(t) for t in tokens], kind="stable")]
    return tokens


def encode(column, ids):
    """Position of each cell of a categorical column in ids, -1 where it is not among them."""
    position = pd.Index(ids).get_indexer(column.cat.categories)
    return position[column.cat.codes.to_numpy()]


def read_items(path):
    """The .item file -> DataFrame of categoricals: item, title, and year, genre where the file has them."""
    names = [name.split(":")[0] for name in header(path, "\t")]
    wanted = {
        "item": ["item_id"],
        "title": [name for name in names if "title" in name] or ["title"],
        "year?": [name for name in names if "year" in name],
        "genre?": ["genre", "genres", "class", "categories", "category"],
    }
    return read_table(path, "\t", wanted)


def read_ratings(path, sep, allowed):
    """An .inter file or one of our CSVs -> DataFrame user, item (categoricals), token, rating (NaN if empty)."""
    wanted = {"user": ["user_id"], "item": ["item_id"], "token": ["rating"]}
    table = read_table(path, sep, wanted)
    table["rating"] = parse_ratings(table.token, path, allowed)
    return table
