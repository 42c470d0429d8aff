"""The items of one's own files: titles, years and genres as they are meant."""

import ast
import html
import json
import re

import numpy as np
import pandas as pd

from preparation.convert import title_and_year
from preparation.layouts import ids_among
from preparation.tables import cells_of, suffix_of
from preparation.titles import on_one_line

ROLES = ("item", "title", "year", "genre")
ONE_TITLE = 1.05  # titles an item at most, for a column in the file of ratings to be titles of items


def items_of(source, rated, notes):
    """(DataFrame item, title, year, genre, the Source with the column of ids that the rated ids are found in)."""
    table = source.items
    ids = list(dict.fromkeys([*filter(None, [source.item_columns.get("item")]), *ids_among(table.columns)]))
    wanted = {role: name for role, name in source.item_columns.items() if role != "item"}
    cells = cells_of(table, {f"id {n}": name for n, name in enumerate(ids)} | wanted)
    best = 0
    if rated is not None:
        known = set(rated.cat.categories) - {""}
        found = [len(known & set(cells[f"id {n}"].astype(str).str.strip())) for n in range(len(ids))]
        best = int(np.argmax(found))
        if found[best] < len(known):
            note = f"titles: {table.path.name} describes {found[best]:,} of {len(known):,} rated items"
            if not found[best] and len(cells):
                here = str(cells[f"id {best}"].iloc[0])
                note += f"; ids look like {min(known)!r} there, {here!r} here; --columns item=NAME names another column"
            notes.append(note)
    cells["item"] = cells[f"id {best}"].astype(str).str.strip()
    return described(cells, table), source._replace(item_columns=source.item_columns | {"item": ids[best]})


def items_in_ratings(source, notes):
    """The same of titles in the file of ratings; None where they are no titles of items, but of reviews, say."""
    roles = [role for role in ROLES if role in source.rating_columns]
    cells = cells_of(source.ratings, {role: source.rating_columns[role] for role in roles}).astype(str)
    titles = cells[cells.title != ""].drop_duplicates(["item", "title"])
    if len(titles) > ONE_TITLE * titles.item.nunique():
        notes.append(
            f"titles: column {source.rating_columns['title']} of {source.ratings.path.name} is not read, since an item "
            "has several there; put a file of items beside it"
        )
        return None
    return described(cells.drop_duplicates("item", keep="last"), source.ratings)


def described(cells, table):
    """Titles, years and genres as they are meant."""
    cells = cells.astype(str)
    titles = [on_one_line(html.unescape(title)) for title in cells.title]
    years = [year_of(year) for year in cells.year] if "year" in cells else None
    split = [title_and_year(title) for title in titles]
    if years is None and sum(year != "" for _, year in split) > len(split) / 2:  # GroupLens' "Seven (1995)"
        titles, years = [title for title, _ in split], [year for _, year in split]
    made = pd.DataFrame({"item": cells.item.to_numpy(), "title": titles})
    made["year"] = "" if years is None else years
    made["genre"] = genres_of(cells.genre, table) if "genre" in cells else ""
    return made[made.item != ""].drop_duplicates("item", keep="last")


def year_of(text):
    """The year "1995" of "1995.0", "1995-05-01" and "01-Jan-1995"; other words stay."""
    text = text.strip()
    found = re.fullmatch(r"(\d{4})(\.0+)?", text) or re.search(r"(?<!\d)(\d{4})(?!\d)", text)
    return found[1] if found else on_one_line(text)


def genres_of(column, table):
    """Genres with a blank between two, as RecBole has them.  What separates them is the same in the whole column."""
    texts = [html.unescape(text).replace("(no genres listed)", "").strip() for text in column]
    if any(text.startswith("[") for text in texts):
        parts = [names_in(text) for text in texts]
    else:
        marks = [mark for mark in ("|", ";", ",") if any(mark in text for text in texts)]
        blanks = suffix_of(table.path) == ".item"  # RecBole's sequences of tokens
        parts = [text.split(marks[0]) if marks else text.split() if blanks else [text] for text in texts]
    return [" ".join(filter(None, ("-".join(on_one_line(name).split()) for name in names))) for names in parts]


def names_in(text):
    """Names of a list in JSON's or Python's form, of lists in it, and of objects with a name; else the text itself."""
    try:
        return flat(json.loads(text))
    except ValueError:
        try:
            return flat(ast.literal_eval(text))
        except (ValueError, SyntaxError):
            return [text]


def flat(value):
    if isinstance(value, dict):
        return flat(value.get("name", ""))
    if isinstance(value, list | tuple):
        return list(dict.fromkeys(name for each in value for name in flat(each)))
    return [str(value)]
