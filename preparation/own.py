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


class Atomic(NamedTuple):
    """A data set in RecBole's form."""

    folder: Path  # of the .inter and .item
    files: dict  # {name: SHA-256} of the raw files that they are, or are made of
    rated: Path | None  # the file of ratings that the user knows


# ------------------------------ which file, which column


def understand(given, reading, needs_ratings=True):
    """The Source of a folder, or of a file of ratings with the files beside it.

    reading: {"columns", "scale"} as given, without those that were not.  needs_ratings: False where splits were put
    there by hand, and only titles are wanted.
    """
    columns = layouts.parse_columns(reading.get("columns"))
    folder = given if given.is_dir() else given.parent
    named = set(columns.values()) - {layouts.NONE}
    numbered = bool(named) and all(map(str.isdigit, named))
    tables, problems = find_tables(folder, numbered)
    if not given.is_dir() and given not in [table.path for table in tables]:
        tables.append(table_of(given, numbered))
    for role, column in columns.items():
        if tables and column != layouts.NONE and not any(column in table.columns for table in tables):
            found = "; ".join(f"{table.path.name}: {', '.join(table.columns[:SHOWN])}" for table in tables)
            raise InputError(
                f"--columns {reading['columns']}: {given} has no column {column} (for {role}); it has {found}"
            )

    rated, described, others = sort_out(tables, columns)
    if not given.is_dir():
        rated = [table for table in rated if table.path == given]
    elif with_ratings := [table for table in rated if "rating" in layouts.columns_of(table.columns, columns)]:
        rated = with_ratings
    if not needs_ratings and len(rated) > 1:
        rated = []
    if len(rated) > 1:
        names = ", ".join(table.path.name for table in rated)
        raise InputError(f"{given}: {names} may each hold the ratings; say which: --dataset {rated[0].path}")
    if needs_ratings and not rated:
        raise InputError(f"{given}: {which_ratings(folder, columns, tables, others, problems)}")
    if len(described) > 1:
        names = ", ".join(table.path.name for table in described)
        raise InputError(f"{folder}: {names} may each hold the items' titles; leave one of them there")

    ratings, rating_columns, items, item_columns = None, {}, None, {}
    if rated:
        ratings, rating_columns = rated[0], layouts.columns_of(rated[0].columns, columns)
    if described:
        items, item_columns = described[0], layouts.columns_of(described[0].columns, columns, layouts.OF_ITEMS)
    return Source(ratings, rating_columns, items, item_columns)


def sort_out(tables, columns):
    """(tables of ratings, tables of items, all that are not of items).  Where one has RecBole's suffix for its kind, no
    other is meant; an .item file without ids or titles is refused."""
    rated, described, others = [], [], []
    suffixes = {suffix_of(table.path) for table in tables}
    for table in tables:
        suffix, is_foreign = suffix_of(table.path), table.path.name == NOT_OURS
        found = layouts.columns_of(table.columns, columns, layouts.OF_ITEMS)
        has_ids = bool(layouts.ids_among(table.columns))
        is_rated = {"user", "item"} <= layouts.columns_of(table.columns, columns).keys()
        is_described = "title" in found and ("item" in found or has_ids) and suffix != ".inter" and not is_foreign
        if is_described and not is_rated:
            if suffix == ".item" or ".item" not in suffixes:
                described.append(table)
            continue
        if suffix == ".item" and not is_foreign:
            raise InputError(
                f"{table.path}: has no column {'title' if has_ids else 'item_id'}; the first line must, and reads: "
                f"{' '.join(table.columns)}; --columns item=...,title=... says which they are"
            )
        others.append(table)
        if is_rated and (suffix == ".inter" or ".inter" not in suffixes):
            rated.append(table)
    return rated, described, others


def which_ratings(folder, columns, tables, others, problems):
    """What to say where no file holds the ratings."""
    for table in tables:
        found = layouts.columns_of(table.columns, columns)
        if {"item", "rating"} <= found.keys() and "user" not in found:
            why = "has items and ratings, but no column of users, of whom many are needed"
            problems = [*problems, f"{table.path.name} {why}"]
    if others:
        lines = [f"{table.path.name} ({WORDS[table.sep]}; {', '.join(table.columns[:SHOWN])})" for table in others]
        return (
            "which columns are user, item and rating is not clear; type --columns "
            f"user=...,item=...,rating=... with names of {'; '.join(lines + problems)}; a file without a line of names "
            "has numbers: --columns user=1,item=2,rating=3"
        )
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))[:SHOWN]
    more = f" ({'; '.join(problems)})" if problems else ""
    return (
        f"holds no file of ratings, found {', '.join(names) or 'none'}{more}; expected one with a user, an item and a "
        f"rating a row ({', '.join(SUFFIXES)}, or one of these with .gz), such as an .inter file with the first line "
        "user_id:token item_id:token rating:float and the second alice tt0083658 5, with tabs between them"
    )


# ------------------------------ files in


@contextmanager
def taken_in(name, given, folder, reading, log=print, needs_ratings=True):
    """The Atomic of a data set of one's own, for the block that uses it first.

    Its folder becomes folder/atomic when the block is done: input that turns out unusable there leaves nothing.  Files
    that were made earlier from the same are used as they are.  Raises InputError for what cannot be understood.
    """
    source = understand(given, reading, needs_ratings)
    target, stamp = folder / "atomic", folder / "atomic" / "prepared.json"
    files, rated = files_of(source), source.ratings and source.ratings.path
    made_from = files | reading | {"read": READ_VERSION}
    made = read_stamp(stamp).get("made", {})
    tables = {}
    if not is_up_to_date([target / file for file in made], stamp, made_from):
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
    """({suffix: (DataFrame of strings, {role: column in RecBole's form})}, lines to say of it)."""
    tables, said, notes, rated, items = {}, [], [], None, None
    if source.ratings:
        ratings, *said = ratings_of(source, reading, notes)
        tables[".inter"], rated = (ratings, INTER), ratings.item
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
        table[columns].to_csv(f, sep="\t", index=False, header=list(map(names.get, columns)), quoting=3)


def columns_in_words(source, has_items):
    """The line of the log that says which column is which."""
    parts = []
    if source.ratings:
        found, layout = dict(source.rating_columns), layouts.layout_of(source.ratings.columns)
        if source.items or not has_items:  # titles in the file of ratings are not read
            found = {role: name for role, name in found.items() if role in INTER}
        whose = f" (layout: {layout.name})" if layout else ""
        parts.append(f"{pairs(found)} of {source.ratings.path.name}{whose}")
    if source.items:
        parts.append(f"{pairs(source.item_columns)} of {source.items.path.name}")
    return f"columns: {'; '.join(parts)}{'' if has_items else '; no titles'}"


def pairs(found):
    return ", ".join(f"{role} = {name}" for role, name in found.items())
