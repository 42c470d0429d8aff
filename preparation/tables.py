"""Any table of rows: which files are one, their columns, and their cells as strings.

    find_tables     the tables of a folder, by their first lines
    cells_of        a table -> DataFrame of the wanted columns

A table is a file of cells (commas, tabs, semicolons, bars or "::" between them, under a line of names or without one),
or of JSON objects, one a line.  Both may be gzipped.
"""

import ast
import json
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from preparation.files import SEPARATORS, column_names, first_line_of, opened, read_cells, unite
from preparation.stamp import read_stamp
from utils import InputError

SUFFIXES = (".inter", ".item", ".csv", ".tsv", ".txt", ".dat", ".data", ".json", ".jsonl", ".ndjson")
ATOMIC = (".inter", ".item")  # RecBole's: tabs, and no quotation marks
JSON = ""  # stands for the separator of JSON objects
LOOKED_AT = 100  # objects whose names are gathered
AT_ONCE = 2**15  # objects held in memory


class Table(NamedTuple):
    """A file whose cells can be read."""

    path: Path
    sep: str
    columns: list  # names as written, but for RecBole's ":token"; without a line of names "1", "2", ...
    has_names: bool = True


def find_tables(folder, numbered=False):
    """(the Table of each data file of a folder but those that preparation itself has put there, why others are none).
    numbered: no file has a line of names."""
    tables, problems, ours = [], [], read_stamp(folder / "prepared.json").get("made", {})
    for path in sorted(folder.iterdir()):
        is_ours = path.name in ours or path.name.endswith("_train_augment.csv")
        if is_ours or path.name.startswith(".") or suffix_of(path) not in SUFFIXES:  # ._x: a Mac's
            continue
        try:
            tables.append(table_of(path, numbered))
        except InputError as error:
            if suffix_of(path) in ATOMIC:
                raise
            problems.append(str(error))
    return tables, problems


def suffix_of(path):
    """The suffix ".csv" of ratings.csv and of ratings.csv.gz."""
    return Path(path.name.removesuffix(".gz")).suffix.lower()


def table_of(path, numbered=False):
    """The Table of a file.  Raises InputError for a file that is plainly no table."""
    line = first_line_of(path)
    if line.lstrip().startswith(("{", "[")) and suffix_of(path) not in ATOMIC:
        names = {}
        for _, record in islice(json_records(path), LOOKED_AT):
            names |= dict.fromkeys(record)
        return Table(path, JSON, list(names))
    is_atomic = suffix_of(path) in ATOMIC and "\t" in line
    sep = "\t" if is_atomic else max(SEPARATORS, key=lambda sep: (line.count(sep), len(sep)))
    columns = column_names(line, sep)
    if numbered:
        return Table(path, sep, list(map(str, range(1, len(columns) + 1))), has_names=False)
    return Table(path, sep, [name.split(":")[0] for name in columns])


def cells_of(table, wanted):
    """DataFrame of the wanted columns as categoricals, "" for an empty cell; the index holds the lines.

    wanted: {role: name of its column}.
    """
    role_of = {name: role for role, name in wanted.items()}
    if table.sep != JSON:
        return read_cells(table.path, table.sep, table.columns, role_of, has_names=table.has_names)
    chunks, records = [], json_records(table.path)
    while batch := list(islice(records, AT_ONCE)):
        chunk = pd.DataFrame(index=[line for line, _ in batch])
        for name, role in role_of.items():
            chunk[role] = pd.Categorical([text_of(record.get(name)) for _, record in batch])
        chunks.append(chunk)
    return unite(chunks)


def json_records(path):
    """Yields (line, object) of a file of JSON objects, or of one list of them."""
    try:
        with opened(path, "utf-8-sig") as f:
            is_list = f.read(1) == "["
            f.seek(0)
            if is_list:
                yield from enumerate(records_of_list(path, f), 1)
                return
            for line, text in enumerate(f, 1):
                if text.strip():
                    yield line, record_of(path, line, text)
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is no UTF-8, which JSON must be ({error.reason}); save it as UTF-8") from None


def records_of_list(path, f):
    try:
        records = json.load(f)
    except ValueError as error:
        raise InputError(f"{path}: begins as a list of JSON objects and is none ({error})") from None
    for record in records:
        if not isinstance(record, dict):
            raise InputError(f"{path}: is a list, but not of JSON objects, one a rating or item")
    return records


def record_of(path, line, text):
    """The object on a line.  Older files of Amazon and Steam hold it in Python's form."""
    try:
        record = json.loads(text)
    except ValueError:
        try:
            record = ast.literal_eval(text.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            record = None
    if not isinstance(record, dict):
        raise InputError(f"{path}, line {line}: is no JSON object, and each line of the file must be one")
    return record


def text_of(value):
    """A JSON value as the cell of a CSV: 5.0 stays "5.0", true becomes "true", a list stays JSON."""
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False)
