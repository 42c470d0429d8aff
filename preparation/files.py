"""Reading .inter/.item files, GroupLens' CSVs and our own.

Every cell but a timestamp is read as the string it is: nothing is guessed.  A bad file is named in one line.
"""

import codecs
import csv
import os
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.api.types import union_categoricals

from preparation.convert import title_and_year
from utils import InputError

STARS = (1, 2, 3, 4, 5)
HALF_STARS = (0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5)
LIKED, CONFIRMED = 4.5, 0.5  # codes in train_augment: a refined 2 or 3 becomes one of them
LONGEST_NUMBER = 1000  # digits; Python itself refuses to read more than 4,300
SEPARATORS = {"\t": "tabs", ",": "commas"}

# ---------------------------------------------------------------------------- ratings and items


def read_ratings(path, sep, allowed, timed=False):
    """An .inter file, GroupLens' ratings.csv or one of our CSVs -> DataFrame user, item, token, rating.

    user, item and token are categoricals.  rating is a number, NaN where the cell is empty, and so
    is timestamp, a further column where it is asked for (timed) and the file has one.
    """
    wanted = {"user": ["user_id", "userId"], "item": ["item_id", "movieId"], "token": ["rating"]}
    if timed:
        wanted["timestamp?"] = ["timestamp"]
    table = read_table(path, sep, wanted)
    table["rating"] = parse_ratings(table.token, path, allowed)
    return table


def read_items(path, only=None):
    """The .item file -> DataFrame of strings item, title and, if it has them, year, genre.

    only: ids of the items wanted; None: all.
    """
    if Path(path).suffix == ".csv":
        return read_movies(path, only)
    names = [column.split(":")[0] for column in header(path, "\t")]
    wanted = {
        "item": ["item_id"],
        "title": [name for name in names if "title" in name] or ["title"],
        "year?": [name for name in names if "year" in name],
        "genre?": ["genre", "genres", "class", "categories", "category"],
    }
    return read_table(path, "\t", wanted, only).astype(str)


def read_movies(path, only):
    """GroupLens' movies.csv, with titles such as "Seven (1995)" and genres such as "Crime|Drama"."""
    wanted = {"item": ["movieId"], "title": ["title"], "genre": ["genres"]}
    table = read_table(path, ",", wanted, only).astype(str)
    split = [title_and_year(title) for title in table.title]
    table["title"] = [title for title, _ in split]
    table["year"] = [year for _, year in split]
    genres = table.genre.replace("(no genres listed)", "")
    table["genre"] = genres.str.replace("|", " ", regex=False)
    return table


def parse_ratings(column, path, allowed):
    """Ratings as float64, NaN where the cell is empty.

    Raises InputError, naming the row, for anything that is not one of the allowed numbers.  Half
    stars are refused unless they are allowed: 0.5 and 4.5 are this project's codes.
    """
    # The few distinct tokens are parsed, not the many cells.
    tokens = column.cat.categories
    values = pd.to_numeric(pd.Series(tokens, dtype=object), errors="coerce").to_numpy(float)
    for token, value in zip(tokens, values, strict=True):
        if token.strip() and value not in allowed:
            line = column.index[(column == token).to_numpy()][0]
            numbers = ", ".join(f"{number:g}" for number in allowed)
            how = "another scale must be mapped to whole stars 1-5 first"
            if value in HALF_STARS:
                how = "--half_stars up or --half_stars down rounds the half stars of raw ratings"
            raise InputError(
                f"{path}, line {line}: rating {token!r}, expected one of {numbers}; {how}"
            )
    # Back to the cells.
    ratings = np.full(len(column), np.nan)
    filled = (column != "").to_numpy()
    ratings[filled] = values[column.cat.codes.to_numpy()[filled]]
    return ratings


def parse_timestamps(column, path):
    """Timestamps as float64, NaN where the cell is empty.  Raises InputError, naming the row."""
    values = pd.to_numeric(column, errors="coerce").to_numpy(float)
    bad = ~np.isfinite(values) & (column.str.strip() != "").to_numpy()
    if bad.any():
        line, token = column.index[bad][0] + 2, column[bad].iloc[0]
        raise InputError(
            f"{path}, line {line}: timestamp {token!r}, expected a number (such as seconds since "
            "1970); mend it, or take the column away: then of a pair rated twice the last row counts"
        )
    return values


def require_timestamps(table, path, cure):
    """Raises InputError where the rows of a table of read_ratings cannot be put in order by their timestamps."""
    if "timestamp" not in table:
        raise InputError(f"{path}: has no column timestamp, by which ratings are put in order; {cure}")
    missing = table.timestamp.isna().to_numpy()
    if missing.any():
        raise InputError(f"{path}, line {table.index[missing][0]}: has no timestamp; {cure}")
    if len(table) > 1 and table.timestamp.nunique() == 1:
        raise InputError(f"{path}: all timestamps are {table.timestamp.iloc[0]:g}; {cure}")


# ------------------------------------------------------------------------------------------ ids


def sort_ids(tokens):
    """Distinct ids in order: by number if every one is a plainly written integer, else as text."""
    tokens = np.unique(np.asarray(tokens, dtype=object))
    if all(map(is_plain_integer, tokens)):
        numbers = [int(token) for token in tokens]
        tokens = tokens[np.argsort(numbers, kind="stable")]
    return tokens


def is_plain_integer(token):
    """Written as str(int) writes it: no leading zero, no plus sign, no second minus sign."""
    digits = token.removeprefix("-")
    if len(digits) > LONGEST_NUMBER:
        return False
    return token.isascii() and digits.isdigit() and str(int(token)) == token


def encode(column, ids):
    """Position of each cell of a categorical column in ids, -1 where it is not among them."""
    position = pd.Index(ids).get_indexer(column.cat.categories)
    return position[column.cat.codes.to_numpy()]


# ---------------------------------------------------------------------------- tables of strings


def read_table(path, sep, wanted, only=None):
    """A delimited text file with a header line -> DataFrame of the wanted columns, renamed by role.

    wanted: {role: accepted column names}.  A role that ends in "?" may be absent.  Names are
    compared without RecBole's ":token" suffix.  Columns may come in any order, and extra ones are
    ignored.  Every cell stays the string it is ("007", "NA"), in a categorical, but those of the
    role timestamp, which are float64.  only: values of the role item whose rows are wanted, None
    for all.  The index holds line numbers.
    Raises InputError, naming the file, for anything that is not such a file.
    """
    path = Path(path)
    role_of = find_columns(path, sep, wanted)
    chunks = list(read_chunks(path, sep, role_of, only))
    columns = {}
    for role in role_of.values():
        parts = [chunk[role] for chunk in chunks]
        if role == "timestamp":
            columns[role] = np.concatenate(parts)
        else:
            # A token may be a category in some chunks only, so the chunks' categories are united.
            columns[role] = union_categoricals(parts)
    # Row 0 is line 2: lines are counted from 1, and the first is the header.
    lines = np.concatenate([chunk.index for chunk in chunks]) + 2
    return pd.DataFrame(columns).set_index(lines)


def find_columns(path, sep, wanted):
    """{column name as written in the file: role}; wanted as for read_table."""
    columns = header(path, sep)
    written = {column.split(":")[0]: column for column in columns}
    role_of = {}
    for role, names in wanted.items():
        # The first of the accepted names that the file has.
        found = [written[name] for name in names if name in written]
        if found:
            role_of[found[0]] = role.rstrip("?")
            continue
        if role.endswith("?"):
            continue
        needed, line = " or ".join(names), " ".join(columns)
        problem = f"{path}: has no column {needed}; the first line must, and reads: {line}"
        if len(columns) == 1:
            problem += f"; cells must be separated by {SEPARATORS[sep]}"
        raise InputError(problem)
    return role_of


def read_chunks(path, sep, role_of, only):
    """DataFrames of up to a million rows, without the empty rows, under row numbers from 0."""
    options = {
        "sep": sep,
        "dtype": str,
        "keep_default_na": False,  # "NA" may be an id
        # RecBole's files quote nothing: a title may begin with a quotation mark.
        "quoting": csv.QUOTE_NONE if sep == "\t" else csv.QUOTE_MINIMAL,
        "index_col": False,
        "skip_blank_lines": False,  # so that row n is line n + 2
        "chunksize": 2**20,
    }
    encoding = encoding_of(path)
    try:
        with warnings.catch_warnings(), pd.read_csv(path, encoding=encoding, **options) as reader:
            # The warning is of a first row that is longer than the header.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            for chunk in reader:
                filled = (chunk != "").any(axis=1)
                yield narrowed(chunk.loc[filled, list(role_of)].rename(columns=role_of), only, path)
    except (pd.errors.ParserError, pd.errors.ParserWarning, ValueError) as error:
        reason = str(error).strip()
        raise InputError(f"{path}: is not a table with one row a line ({reason})") from None


def narrowed(chunk, only, path):
    """The rows wanted, in little memory: long files repeat few distinct tokens."""
    if only is not None:
        chunk = chunk[chunk.item.isin(only)]
    columns = {}
    for role, cells in chunk.items():
        if role == "timestamp":
            columns[role] = parse_timestamps(cells, path)
        else:
            columns[role] = cells.astype("category")
    return pd.DataFrame(columns, index=chunk.index)


def header(path, sep):
    """The column names on the first line.  Raises InputError for what is plainly no data file."""
    first, last = first_and_last_line(path)
    # What is often found in a data file's place.
    if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise InputError(f"{path}: is UTF-16; save it as UTF-8")
    if not first.strip():
        raise InputError(f"{path}: is empty; delete it and run again to fetch or prepare it anew")
    if first.startswith(b"version https://git-lfs"):
        how = "run `git lfs pull` where it came from"
        raise InputError(f"{path}: is a git-LFS pointer, not the data; {how}")
    if first.lstrip().startswith(b"<"):
        how = "download the file itself"
        raise InputError(f"{path}: is a web page saved under the data file's name; {how}")
    # What is most often wrong with a data file.
    columns = first.decode("utf-8-sig", errors="replace").rstrip("\r\n").split(sep)
    if last.strip() and last.count(sep.encode()) + 1 < len(columns):
        how = "the file is cut off, fetch or copy it anew"
        raise InputError(f"{path}: ends in the middle of a row; {how}")
    return columns


def first_and_last_line(path):
    """The first line, and what follows the last line break, which is nothing in most files.

    At most 64 KiB of each are read, since a file that is no table may have no line breaks.
    """
    try:
        with open(path, "rb") as f:
            first = f.readline(2**16)
            f.seek(max(0, os.path.getsize(path) - 2**16))
            last = f.read().rpartition(b"\n")[2]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    return first, last


def encoding_of(path):
    """UTF-8 (with or without a byte-order mark), or latin-1 for the older files that are not."""
    with open(path, encoding="utf-8-sig") as f:
        try:
            while f.read(2**22):
                pass
        except UnicodeDecodeError as error:
            # latin-1 reads any bytes, but what begins with UTF-8's mark was not meant as latin-1.
            if Path(path).read_bytes().startswith(codecs.BOM_UTF8):
                problem = f"begins as UTF-8 but is not ({error.reason}); save it as UTF-8"
                raise InputError(f"{path}: {problem}") from None
            return "latin-1"
    return "utf-8-sig"
