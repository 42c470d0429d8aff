"""The items of one's own files: titles, years and genres as they are meant."""

import ast
import html
import json
import re

from preparation.convert import title_and_year
from preparation.layouts import OF_ITEMS, ids_among
from preparation.tables import cells_of, suffix_of
from preparation.titles import on_one_line

ONE_TITLE = 1.05  # titles an item at most, for a column in the file of ratings to be titles of items


def items_of(source, rated, notes):
    """(DataFrame item, title, year, genre, the Source with the column of the rated ids)."""
    table, columns = source.items, dict(source.item_columns)
    ids = ids_among(table.columns)
    if "item" in columns:
        ids = list(dict.fromkeys([columns.pop("item"), *ids]))
    cells = cells_of(table, {f"id {name}": name for name in ids} | columns)

    # the column in which most of the rated ids are found, the first of several such
    known = set() if rated is None else set(rated.cat.categories) - {""}
    most = -1
    for name in ids:
        tokens = cells[f"id {name}"].astype(str).str.strip()
        found = len(known.intersection(tokens))
        if found > most:
            most, best, item = found, name, tokens
    if most < len(known):
        note = f"titles: {table.path.name} describes {most:,} of {len(known):,} rated items"
        if most == 0 and len(cells):
            here = str(cells[f"id {best}"].iloc[0])
            note += f"; ids look like {min(known)!r} there, {here!r} here; --columns item=NAME names another column"
        notes.append(note)
    columns["item"] = best
    return described(cells.assign(item=item), table), source._replace(item_columns=source.item_columns | columns)


def items_in_ratings(source, notes):
    """The same of titles in the file of ratings; None where they are titles of reviews, say."""
    wanted = {}
    for role in OF_ITEMS:
        if role in source.rating_columns:
            wanted[role] = source.rating_columns[role]
    cells = cells_of(source.ratings, wanted).astype(str)
    titles = cells[cells.title != ""].drop_duplicates(["item", "title"])
    if len(titles) > ONE_TITLE * titles.item.nunique():
        notes.append(
            f"titles: column {wanted['title']} of {source.ratings.path.name} is not read, since an item "
            "has several there; put a file of items beside it"
        )
        return None
    return described(cells.drop_duplicates("item", keep="last"), source.ratings)


def described(cells, table):
    """Titles, years and genres as they are meant."""
    cells = cells.astype(str)
    made = cells[["item"]].assign(title=cells.title.map(html.unescape).map(on_one_line), year="", genre="")
    if "year" in cells:
        made["year"] = cells.year.map(year_of)
    else:
        split = made.title.map(title_and_year)
        if (split.str[1] != "").sum() > len(split) / 2:  # GroupLens' "Seven (1995)"
            made["title"], made["year"] = split.str[0], split.str[1]
    if "genre" in cells:
        made["genre"] = genres_of(cells.genre, table)
    return made[made.item != ""].drop_duplicates("item", keep="last")


def year_of(text):
    """The year "1995" of "1995.0", "1995-05-01" and "01-Jan-1995"; other words stay."""
    text = text.strip()
    found = re.fullmatch(r"(\d{4})(\.0+)?", text) or re.search(r"(?<!\d)(\d{4})(?!\d)", text)
    return found[1] if found else on_one_line(text)


def genres_of(column, table):
    """Genres with a blank between two, as RecBole has them.  One mark separates them in the column."""
    texts = column.map(html.unescape).str.replace("(no genres listed)", "", regex=False).str.strip()
    if texts.str.startswith("[").any():
        return texts.map(names_in).map(in_one_text)
    for mark in ("|", ";", ","):
        if texts.str.contains(mark, regex=False).any():
            return texts.str.split(mark, regex=False).map(in_one_text)
    if suffix_of(table.path) == ".item":  # RecBole's sequences of tokens
        return texts.str.split().map(in_one_text)
    return texts.map(lambda text: in_one_text([text]))


def in_one_text(genres):
    """["Drama", "Science Fiction"] -> "Drama Science-Fiction"."""
    hyphened = ["-".join(on_one_line(genre).split()) for genre in genres]
    return " ".join(filter(None, hyphened))


def names_in(text):
    """Names of a list in JSON's or Python's form, also of objects in it; else the text itself."""
    try:
        return flatten(json.loads(text))
    except ValueError:
        try:
            return flatten(ast.literal_eval(text))
        except (ValueError, SyntaxError):
            return [text]


def flatten(value):
    """The distinct names in a value, however deep the lists in it."""
    if isinstance(value, dict):
        return flatten(value.get("name", ""))
    if not isinstance(value, list | tuple):
        return [str(value)]
    names = {}
    for each in value:
        names |= dict.fromkeys(flatten(each))
    return list(names)
