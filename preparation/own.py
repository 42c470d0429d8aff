"""One's own files, whatever their layout, in RecBole's form: data/<name>/atomic/<name>.inter and .item.

    understand      which file holds the ratings, which the items, and which column is which, by their first lines
    taken_in        the files that everything else reads, made unless they are there

What was understood, mapped and dropped is logged, and kept in the folder's prepared.json.
"""

import os
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from preparation import layouts
from preparation.files import SEPARATORS
from preparation.own_items import items_in_ratings, items_of
from preparation.own_ratings import ratings_of
from preparation.sources import NOT_OURS
from preparation.stamp import is_up_to_date, read_stamp
from preparation.tables import JSON, SUFFIXES, Table, find_tables, suffix_of, table_of
from utils import InputError, sha256, write_atomically, write_json

READ_VERSION = 1  # raise it when the same files would be understood otherwise
INTER = {"user": "user_id:token", "item": "item_id:token", "rating": "rating:float", "time": "timestamp:float"}
ITEM = {"item": "item_id:token", "title": "title:token_seq", "year": "year:token", "genre": "genre:token_seq"}
WORDS = SEPARATORS | {JSON: "JSON"}
SHOWN = 20  # names that a message lists


class Source(NamedTuple):
    """What a folder or file holds.  The columns are {role: name}."""

    ratings: Table | None
    rating_columns: dict
    items: Table | None
    item_columns: dict
    chosen_none: bool = False  # --columns rating=-: every row is a like


class Atomic(NamedTuple):
    """A data set in RecBole's form."""

    folder: Path  # of the .inter and .item
    files: dict  # {name: SHA-256} of the raw files that they are, or are made of
    rated: Path | None  # the file of ratings that the user knows


# ------------------------------------------------------------------------------------- which file, which column


def understand(given, reading, needs_ratings=True):
    """The Source of a folder, or of a file of ratings with the files beside it.

    reading: {"columns", "scale", "half_stars"} as given, without those that were not.  needs_ratings: False where
    splits were put there by hand, and only titles are wanted.  Raises InputError, with the line
    to type, where no or more than one file may be meant.
    """
    columns = layouts.parse_columns(reading.get("columns"))
    named = [column for column in columns.values() if column != layouts.NONE]
    numbered = bool(named) and all(map(str.isdigit, named))
    folder = given if given.is_dir() else given.parent
    tables, problems = find_tables(folder, numbered)
    if not given.is_dir() and given not in [table.path for table in tables]:
        tables.append(table_of(given, numbered))
    refuse_unknown_columns(columns, tables, reading, given)

    rated = of_suffix([table for table in tables if is_of_ratings(table, columns)], tables, ".inter")
    if not given.is_dir():
        rated = [table for table in rated if table.path == given]
    rated = [table for table in rated if is_of_ratings(table, columns, "rating")] or rated
    if not needs_ratings and len(rated) > 1:
        rated = []
    described = of_suffix([table for table in tables if is_of_items(table, columns)], tables, ".item")
    described = [table for table in described if table not in rated]
    refuse_item_file_without_titles(tables, columns)
    if len(rated) > 1 or (needs_ratings and not rated):
        raise InputError(which_ratings(given, folder, columns, rated, tables, problems))
    if len(described) > 1:
        names = ", ".join(table.path.name for table in described)
        raise InputError(f"{folder}: {names} may each hold the items' titles; leave one of them there")

    ratings, items = rated[0] if rated else None, described[0] if described else None
    return Source(
        ratings, layouts.ratings_columns(ratings.columns, columns) if ratings else {},
        items, layouts.item_columns(items.columns, columns) if items else {},
        columns.get("rating") == layouts.NONE,
    )  # fmt: skip


def of_suffix(tables, all_tables, suffix):
    """Those of RecBole's suffix, where the folder has such a file: then no other is meant."""
    if not any(suffix_of(table.path) == suffix for table in all_tables):
        return tables
    return [table for table in tables if suffix_of(table.path) == suffix]


def is_of_ratings(table, columns, *more):
    return {"user", "item", *more} <= layouts.ratings_columns(table.columns, columns).keys()


def is_of_items(table, columns):
    if suffix_of(table.path) == ".inter" or table.path.name == NOT_OURS or is_of_ratings(table, columns):
        return False
    found = layouts.item_columns(table.columns, columns)
    return "title" in found and ("item" in found or bool(layouts.ids_among(table.columns)))


def refuse_item_file_without_titles(tables, columns):
    """Raises InputError for an .item file that lacks ids or titles: else its titles would be missing without a word."""
    for table in tables:
        if suffix_of(table.path) == ".item" and table.path.name != NOT_OURS and not is_of_items(table, columns):
            lacks = "title" if layouts.ids_among(table.columns) else "item_id"
            raise InputError(
                f"{table.path}: has no column {lacks}; the first line must, and reads: {' '.join(table.columns)}; "
                "--columns item=...,title=... says which they are"
            )


def refuse_unknown_columns(columns, tables, reading, given):
    known = {name for table in tables for name in table.columns} | {layouts.NONE}
    for role, column in columns.items():
        if tables and column not in known:
            found = "; ".join(f"{table.path.name}: {', '.join(table.columns[:SHOWN])}" for table in tables)
            raise InputError(
                f"--columns {reading['columns']}: {given} has no column {column} (for {role}); it has {found}"
            )


def which_ratings(given, folder, columns, rated, tables, problems):
    """What to say where no or more than one file may hold the ratings."""
    if rated:
        names = ", ".join(table.path.name for table in rated)
        return f"{given}: {names} may each hold the ratings; say which: --dataset {rated[0].path}"
    for table in tables:
        found = layouts.ratings_columns(table.columns, columns)
        if {"item", "rating"} <= found.keys() and "user" not in found:
            why = "has items and ratings, but no column of users, of whom many are needed"
            problems = [*problems, f"{table.path.name} {why}"]
    unknown = [table for table in tables if not is_of_items(table, columns)]
    lines = [f"{table.path.name} ({WORDS[table.sep]}; {', '.join(table.columns[:SHOWN])})" for table in unknown]
    if unknown:
        return (
            f"{given}: which columns are user, item and rating is not clear; type --columns "
            f"user=...,item=...,rating=... with names of {'; '.join(lines + problems)}; a file without a line of names "
            "has numbers: --columns user=1,item=2,rating=3"
        )
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))[:SHOWN]
    names = ", ".join(names) or "none"
    more = f" ({'; '.join(problems)})" if problems else ""
    return (
        f"{given}: holds no file of ratings, found {names}{more}; expected one with a user, an item and a rating a row "
        f"({', '.join(SUFFIXES)}, or one of these with .gz), such as an .inter file with the first line user_id:token "
        "item_id:token rating:float and the second alice tt0083658 5, with tabs between them"
    )


# ------------------------------------------------------------------------------------------------- files in


@contextmanager
def taken_in(name, given, folder, reading, log=print, needs_ratings=True):
    """The Atomic of a data set of one's own, for the block that uses it first.

    Its folder becomes folder/atomic when the block is done: input that turns out unusable there leaves nothing.  Files
    that were made earlier from the same are used as they are.  Raises InputError for what cannot be understood.
    """
    source = understand(given, reading, needs_ratings)
    target = folder / "atomic"
    files = files_of(source)
    made_from = files | reading | {"read": READ_VERSION}
    rated = source.ratings and source.ratings.path
    made = read_stamp(target / "prepared.json").get("made", {})
    if is_up_to_date([target / file for file in made], target / "prepared.json", made_from):
        yield Atomic(target, files, rated)
        return
    tables, lines = read_source(source, reading)
    for line in lines:
        log(line)
    if not tables:
        yield Atomic(target, files, rated)
        return
    temporary = folder / f".atomic.{os.getpid()}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        made = {}
        for suffix, (table, columns) in tables.items():
            path = temporary / f"{name}{suffix}"
            write_atomically(path, lambda p, table=table, columns=columns: write_atomic_file(p, table, columns))
            made[path.name] = sha256(path)
        write_json(temporary / "prepared.json", {"made_from": made_from, "made": made, "understood": lines})
        yield Atomic(temporary, files, rated)
        shutil.rmtree(target, ignore_errors=True)
        os.replace(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        with suppress(OSError):  # not empty: something else lies there
            folder.rmdir()


def read_source(source, reading):
    """({suffix: (DataFrame of strings, {role: column in RecBole's form})}, what to say of it in lines)."""
    tables, said, notes, rated = {}, [], [], None
    if source.ratings:
        ratings, *said = ratings_of(source, reading, notes)
        tables[".inter"], rated = (ratings, INTER), ratings.item
    items = None
    if source.items:
        items, source = items_of(source, rated, notes)
    elif "title" in source.rating_columns:
        items = items_in_ratings(source, notes)
    if items is not None:
        tables[".item"] = items, ITEM
    return tables, [columns_in_words(source, items is not None), *said, *notes] if tables else []


def files_of(source, digest=sha256):
    """{name: digest} of the files that are read."""
    return {table.path.name: digest(table.path) for table in (source.ratings, source.items) if table}


def write_atomic_file(path, table, names):
    """RecBole's form: tabs, no quotation marks."""
    columns = [role for role in names if role in table]
    with open(path, "w", encoding="utf-8", newline="\n") as f:
        table[columns].to_csv(f, sep="\t", index=False, header=[names[role] for role in columns], quoting=3)


# ------------------------------------------------------------------------------------------------- in words


def columns_in_words(source, has_items):
    parts = []
    if source.ratings:
        layout = layouts.layout_of(source.ratings.columns)
        found = {role: name for role, name in source.rating_columns.items() if role in INTER}
        if has_items and not source.items:
            found = source.rating_columns
        whose = f" (layout: {layout.name})" if layout else ""
        parts.append(f"{pairs(found)} of {source.ratings.path.name}{whose}")
    if source.items:
        parts.append(f"{pairs(source.item_columns)} of {source.items.path.name}")
    return f"columns: {'; '.join(parts)}{'' if has_items else '; no titles'}"


def pairs(found):
    return ", ".join(f"{role} = {name}" for role, name in found.items())
