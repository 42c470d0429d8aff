"""Reading .inter/.item files and our own CSVs; tables.py adds what other files need.

Every cell but a timestamp is read as the string it is: nothing is guessed.  A bad file is named in one line.
"""

import codecs
import csv
import gzip
import re
import warnings
import zlib
from collections import deque
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.api.types import union_categoricals

from utils import InputError

STARS = (1, 2, 3, 4, 5)
HALF_STARS = (0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5)
LIKED, CONFIRMED = 4.5, 0.5  # codes in train_augment: a refined 2 or 3 becomes one of them
PLAIN_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,999}")  # as str(int) writes it; Python itself reads at most 4,300 digits
SEPARATORS = {"\t": "tabs", ",": "commas", ";": "semicolons", "::": "double colons", "|": "bars"}
QUOTED = (",", ";")  # RecBole's files quote nothing: a title may begin with a quotation mark
ESCAPE = {";": "\\"}  # Book-Crossing writes a quotation mark within quotation marks as \"

# ------------------------------ ratings and items


def read_ratings(path, sep, allowed, timed=False):
    """An .inter file or one of our CSVs -> DataFrame user, item, token, rating.

    user, item and token are categoricals.  rating is a number, NaN where the cell is empty, and so
    is timestamp, a further column where it is asked for (timed) and the file has one.
    """
    wanted = {"user": ["user_id"], "item": ["item_id"], "token": ["rating"]}
    if timed:
        wanted["timestamp?"] = ["timestamp"]
    table = read_table(path, sep, wanted)
    return table.assign(rating=parse_ratings(table.token, path, allowed))


def read_items(path, only=None):
    """The .item file -> DataFrame of strings item, title and, if it has them, year, genre.

    only: ids of the items wanted; None: all.
    """
    names = [column.split(":")[0] for column in column_names(first_line_of(path), "\t")]
    wanted = {
        "item": ["item_id"],
        "title": titles_among(names) or ["title"],
        "year?": [name for name in names if "year" in name],
        "genre?": ["genre", "genres", "class", "categories", "category"],
    }
    return read_table(path, "\t", wanted, only).astype(str)


def titles_among(names):
    """Those of the names that may be of titles, the likeliest first: "title", then "movie_title", then an original
    title, which is in another language."""
    found = [name for name in names if "title" in name.lower() and not name.lower().endswith("id")]
    return sorted(found, key=lambda name: (name.lower() != "title", "original" in name.lower()))


def parse_ratings(column, path, allowed):
    """Ratings as float64, NaN where the cell is empty.  Raises InputError, naming the row, for other than the allowed
    numbers, also for half stars: 0.5 and 4.5 are this project's codes."""
    tokens = column.cat.categories  # the few distinct tokens are parsed, not the many cells
    values = pd.to_numeric(pd.Series(tokens, dtype=object), errors="coerce").to_numpy(float)
    bad = (tokens.str.strip() != "") & ~np.isin(values, allowed)
    if bad.any():
        token = tokens[bad][0]
        numbers = ", ".join(f"{number:g}" for number in allowed)
        how = "--scale maps another scale to stars, such as --scale 1-10 (docs/data.md)"
        if values[bad][0] in HALF_STARS:
            how = "--scale 0.5-5 rounds the half stars of raw ratings up"
        raise InputError(f"{path}, line {line_of(column, token)}: rating {token!r}, expected one of {numbers}; {how}")
    return values[column.cat.codes.to_numpy()]


def line_of(column, token):
    """The line of the first cell that holds the token."""
    return column.index[(column == token).to_numpy()][0]


def parse_timestamps(column, path):
    """Timestamps as float64, NaN where the cell is empty.  Raises InputError, naming the row."""
    values = pd.to_numeric(column, errors="coerce").to_numpy(float)
    bad = ~np.isfinite(values) & (column.str.strip() != "").to_numpy()
    if bad.any():
        line, token = column.index[bad][0], column[bad].iloc[0]
        raise InputError(
            f"{path}, line {line}: timestamp {token!r}, expected a number (such as seconds since "
            "1970); mend it, or take the column away: then of a pair rated twice the last row counts"
        )
    return values


def require_timestamps(table, path, cure):
    """Raises InputError where rows of read_ratings cannot be put in order by their timestamps."""
    if "timestamp" not in table:
        raise InputError(f"{path}: has no column timestamp, by which ratings are put in order; {cure}")
    missing = table.timestamp.isna().to_numpy()
    if missing.any():
        raise InputError(f"{path}, line {table.index[missing][0]}: has no timestamp; {cure}")
    if len(table) > 1 and table.timestamp.nunique() == 1:
        raise InputError(f"{path}: all timestamps are {table.timestamp.iloc[0]:g}; {cure}")


# ------------------------------ ids


def sort_ids(tokens):
    """Distinct ids in order: by number if every one is a plainly written integer, else as text."""
    tokens = np.unique(np.asarray(tokens, dtype=object))
    if all(map(PLAIN_INTEGER.fullmatch, tokens)):
        tokens = tokens[np.argsort(list(map(int, tokens)), kind="stable")]
    return tokens


def encode(column, ids):
    """Position of each cell of a categorical column in ids, -1 where it is not among them."""
    position = pd.Index(ids).get_indexer(column.cat.categories)
    return position[column.cat.codes.to_numpy()]


def recoded(column, texts):
    """A categorical whose categories have become these texts, of which several may be the same."""
    return column.map(dict(zip(column.cat.categories, texts, strict=True))).astype("category")


# ------------------------------ tables of strings


def read_table(path, sep, wanted, only=None):
    """A delimited text file with a header line -> DataFrame of the wanted columns, renamed by role.

    wanted: {role: accepted column names, without RecBole's ":token"}.  A role that ends in "?" may be absent.  Every
    cell stays the string it is ("007", "NA"), in a categorical, but those of the role timestamp, which are float64.
    only: values of the role item whose rows are wanted, None for all.  The index holds line numbers.
    """
    columns = column_names(first_line_of(path), sep)
    return read_cells(path, sep, columns, find_columns(path, sep, columns, wanted), only)


def read_cells(path, sep, columns, role_of, only=None, has_names=True):
    """The same of the columns {column name: role}.  columns: all names, in order; has_names: whether the first line
    holds them.  Raises InputError where a row has more or fewer cells."""
    encoding = check_rows(path, sep, len(columns))
    options = {
        "sep": sep,
        "engine": "c" if len(sep) == 1 else "python",  # GroupLens' "::"
        "dtype": str,
        "header": None,
        "names": range(len(columns)),
        "skiprows": int(has_names),
        "keep_default_na": False,  # "NA" may be an id
        "quoting": csv.QUOTE_MINIMAL if sep in QUOTED else csv.QUOTE_NONE,
        "escapechar": ESCAPE.get(sep),
        "index_col": False,
        "skip_blank_lines": False,  # so that row n is line n + 2
        "chunksize": 2**23 // max(len(columns), 8),
        "encoding": encoding,
    }
    role_at = {columns.index(name): role for name, role in role_of.items()}
    above = 1 + has_names  # lines are counted from 1
    chunks = []
    with readable(path), pd.read_csv(path, **options) as reader:
        for chunk in reader:
            chunk.index += above
            if sep in QUOTED:  # a cell may go on over several lines
                breaks = chunk.apply(lambda cells: cells.str.count("\n")).sum(axis=1).to_numpy(int)
                chunk.index += breaks.cumsum() - breaks
                above += breaks.sum()
            filled = (chunk != "").any(axis=1)
            wanted = chunk.loc[filled, list(role_at)].rename(columns=role_at)
            if only is not None:
                wanted = wanted[wanted.item.isin(only)]
            kinds = {role: "category" for role in wanted if role != "timestamp"}  # long files repeat few tokens
            if "timestamp" in wanted:
                wanted["timestamp"] = parse_timestamps(wanted.timestamp, path)
            chunks.append(wanted.astype(kinds))
    return unite(chunks)


def unite(chunks):
    """One DataFrame of several: a token may be a category in some of them only."""
    columns = {}
    for role in chunks[0]:
        parts = [chunk[role] for chunk in chunks]
        columns[role] = np.concatenate(parts) if role == "timestamp" else union_categoricals(parts)
    return pd.DataFrame(columns).set_index(np.concatenate([chunk.index for chunk in chunks]))


def find_columns(path, sep, columns, wanted):
    """{column name as written in the file: role}; wanted as for read_table."""
    written = {column.split(":")[0]: column for column in columns}
    role_of = {}
    for role, names in wanted.items():
        name = next((name for name in names if name in written), None)
        if name is not None:
            role_of[written[name]] = role.rstrip("?")
        elif not role.endswith("?"):
            needed, line = " or ".join(names), " ".join(columns)
            problem = f"{path}: has no column {needed}; the first line must, and reads: {line}"
            if len(columns) == 1:
                problem += f"; cells must be separated by {SEPARATORS[sep]}"
            raise InputError(problem)
    return role_of


def check_rows(path, sep, n):
    """The encoding of a file in which each row has n cells.  Raises InputError where one has not.

    pandas fills short rows up.  A line break inside a title would so make a ghost item and move cells to other columns.
    """
    try:
        encoding, wrong = "utf-8-sig", rows_of_other_length(path, sep, n, "utf-8-sig")
    except UnicodeDecodeError as error:
        with opened(path, "latin-1") as f:
            marked = f.read(3).encode("latin-1") == codecs.BOM_UTF8
        if marked:  # latin-1 reads any bytes, but this was not meant as latin-1
            raise InputError(f"{path}: begins as UTF-8 but is not ({error.reason}); save it as UTF-8") from None
        encoding, wrong = "latin-1", rows_of_other_length(path, sep, n, "latin-1")
    if not wrong:
        return encoding
    (line, length), n_wrong = wrong[0], len(wrong)
    with opened(path, "latin-1") as f:
        last_line = deque(f, maxlen=1).pop()
    if n_wrong == 1 and length < n and not last_line.endswith("\n"):
        raise InputError(f"{path}: ends in the middle of a row; the file is cut off, fetch or copy it anew")
    rows = f"{n_wrong} such rows" if n_wrong > 1 else "no other row"
    raise InputError(
        f"{path}: is not a table with one row a line (line {line} has {length} cells, the first line {n}; {rows}); "
        f"where a cell holds a line break or {SEPARATORS[sep]}, take them out; where cells are missing, add them"
    )


def rows_of_other_length(path, sep, n, encoding):
    """[(line, number of cells)] of the rows that do not have n cells.  This also proves the encoding."""
    wrong = []
    with opened(path, encoding) as f:
        if sep in QUOTED:
            rows = csv.reader(f, delimiter=sep, escapechar=ESCAPE.get(sep))
            for row in rows:
                if len(row) != n and any(map(str.strip, row)):
                    wrong.append((rows.line_num, len(row)))
        else:
            for line, text in enumerate(f, 1):
                if text.count(sep) + 1 != n and text.strip():
                    wrong.append((line, text.count(sep) + 1))
    return wrong


def column_names(line, sep):
    """The names on a first line, without blanks and quotation marks around them."""
    names = next(csv.reader([line], delimiter=sep)) if sep in QUOTED else line.split(sep)
    return list(map(str.strip, names))


def first_line_of(path):
    """The first line, at most 64 KiB of it.  Raises InputError for what is plainly no data file."""
    with opened(path, "latin-1") as f:  # the bytes, each as a character
        first = f.readline(2**16).encode("latin-1")
    if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise InputError(f"{path}: is UTF-16; save it as UTF-8")
    if not first.strip():
        raise InputError(f"{path}: is empty; delete it and run again to fetch or prepare it anew")
    if first.startswith(b"version https://git-lfs"):
        raise InputError(f"{path}: is a git-LFS pointer, not the data; run `git lfs pull` where it came from")
    if first.lstrip().startswith(b"<"):
        raise InputError(f"{path}: is a web page saved under the data file's name; download the file itself")
    return first.decode("utf-8-sig", errors="replace").rstrip("\n")


@contextmanager
def opened(path, encoding):
    """The text of a file, which may be gzipped.  \\r, \\r\\n and \\n end a line."""
    with readable(path), (gzip.open if Path(path).suffix == ".gz" else open)(path, "rt", encoding=encoding) as f:
        yield f


@contextmanager
def readable(path):
    """An error of reading in the block becomes an InputError that names the file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            yield
    except UnicodeDecodeError:
        raise
    except (pd.errors.ParserError, pd.errors.ParserWarning, csv.Error, ValueError) as error:
        raise InputError(f"{path}: is not a table with one row a line ({str(error).strip()})") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{path}: is no whole gzip file ({error}); fetch or copy it anew") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
