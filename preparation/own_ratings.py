"""The ratings of one's own files, as strings: whole ids, stars, seconds."""

import re

import numpy as np
import pandas as pd

from preparation import layouts, scale
from preparation.files import recoded
from preparation.tables import cells_of
from utils import InputError

ROLES = ("user", "item", "rating", "time")
UNITS = ((1e17, 1e9, "nanoseconds"), (1e14, 1e6, "microseconds"), (1e11, 1e3, "milliseconds"))  # from, to a second
DATES = ("ISO8601", "%a %b %d %H:%M:%S %z %Y", "%m %d, %Y", "%B %d, %Y", "%b %d, %Y", "%d-%b-%Y")
EXAMPLES = 2
MOST_RATINGS = 20  # values of a column that may be ratings


def ratings_of(source, reading, notes):
    """(DataFrame user, item, rating[, time] of strings, the scale in words, what was dropped in words)."""
    wanted = {role: source.rating_columns[role] for role in ROLES if role in source.rating_columns}
    table, path = cells_of(source.ratings, wanted), source.ratings.path
    for role in ("user", "item"):
        table[role] = clean_ids(table[role], role, path, notes)
    if "time" in table:
        table["time"] = seconds_of(table.time, path, notes)
    if "rating" not in table:
        refuse_what_may_be_ratings(source, path)
        for flag in {"scale", "half_stars"} & reading.keys():
            raise InputError(f"--{flag} {reading[flag]}: {path} has no column of ratings; leave it out")
        table["rating"] = pd.Categorical.from_codes(np.zeros(len(table), np.int8), ["5"])
        return drop_rows(table, {}, "scale: no column of ratings, so every row is a like, 5 stars")
    way, words = scale_of(source, reading)
    values = [scale.compared(token) for token in table.rating.cat.categories]
    table["rating"], is_dropped = scale.in_stars(table.rating, way, path)
    if "half_stars" in reading and not any(value and value % 1 == 0.5 for value in values):
        raise InputError(f"--half_stars {reading['half_stars']}: {path} holds no half stars; leave it out")
    return drop_rows(table, {"that are not rated": is_dropped}, f"scale: {words}; {scale.counted(table.rating)}")


def drop_rows(table, dropped, scaled):
    """What ratings_of returns.  dropped: {why: bool of each row}, beside those that lack a user or an item."""
    n_rows = len(table)
    dropped = dropped | {f"without {role} id": (table[role] == "").to_numpy() for role in ("user", "item")}
    table = table[~np.any(list(dropped.values()), axis=0)]
    dropped = [f"{n:,} {why}" for why, rows in dropped.items() if (n := int(rows.sum()))] or ["nothing"]
    return table, scaled, f"dropped: of {n_rows:,} rows {', '.join(dropped)}"


def refuse_what_may_be_ratings(source, path):
    """Raises InputError where no column is known as the rating, and one that may be it is left.

    Else a dislike would become a like, since every row is one without a rating.
    """
    if source.chosen_none:
        return
    known = source.rating_columns.values()
    left = [name for name in dict.fromkeys(source.ratings.columns) if name and name not in known]
    cells = cells_of(source.ratings, {str(n): name for n, name in enumerate(left)}) if left else {}
    for n, name in enumerate(left):
        values = cells[str(n)].cat.categories
        if 2 <= len(values) <= MOST_RATINGS:
            raise InputError(
                f"{path}: has no column of ratings by name, and {name} ({', '.join(sorted(values)[:5])}) may be one; "
                f"type --columns rating={name}, or --columns rating=- where every row is a like"
            )


def scale_of(source, reading):
    """(the Scale of --scale or --half_stars, else what the layout is known for; the same in words)."""
    if "half_stars" in reading:
        return scale.half_stars(reading["half_stars"]), f"half stars rounded {reading['half_stars']}"
    if "scale" in reading:
        return scale.parse(reading["scale"]), reading["scale"]
    layout = layouts.layout_of(source.ratings.columns)
    if layout and layout.scale and layouts.plain(source.rating_columns["rating"]) in layout.columns:
        return scale.parse(layout.scale), f"{layout.scale} (what {layout.name} means; --scale says otherwise)"
    return scale.Scale(""), "stars as they are"


def clean_ids(column, role, path, notes):
    """Ids as they are, but for blanks around them.  Ids that look alike are counted in a note."""
    ids = column.cat.categories
    without_blanks = ["".join(token.split()) for token in ids]
    if without_blanks == ids.tolist() and not ids.str.endswith(".0").any():
        return column
    plain = [token.strip() for token in ids]
    for token in plain:
        if re.search(r"[\t\r\n]", token):
            line = column.index[column.str.contains(token, regex=False).to_numpy()][0]
            raise InputError(f"{path}, line {line}: the {role} id {token!r} holds a tab or a line break; take it out")
    alike = {}
    for token, short in zip(ids, without_blanks, strict=True):
        alike.setdefault(short.removesuffix(".0"), []).append(token)
    twins = [tokens for tokens in alike.values() if len(tokens) > 1]
    if twins:
        shown = "; ".join(" and ".join(map(repr, tokens[:2])) for tokens in twins[:EXAMPLES])
        notes.append(
            f"{role}s: {len(twins):,} ids stand in {path.name} in more than one way, such as {shown}; blanks around an "
            'id do not count, but "7.0" and "7" are two; mend the file where they are one'
        )
    return column if plain == ids.tolist() else recoded(column, plain)


def seconds_of(column, path, notes):
    """Times as seconds since 1970, as text, "" where there is none.

    Numbers of another unit are recognised by their size: seconds reach 1e11 in the year 5138.
    """
    tokens = column.cat.categories
    numbers = pd.to_numeric(pd.Series(tokens, dtype=object), errors="coerce").to_numpy(float, copy=True)
    if tokens.str.fullmatch(r"\d*").all() and (np.nan_to_num(numbers) < UNITS[-1][0]).all():
        return column
    words = np.array([bool(token.strip()) for token in tokens]) & ~np.isfinite(numbers)
    if words.any():
        numbers[words] = dates_of(tokens[words], column, path)
    unit_of = np.full(len(tokens), "seconds", dtype=object)
    for least, to_second, unit in UNITS:
        larger = np.abs(numbers) >= least
        unit_of[larger], numbers[larger] = unit, numbers[larger] / to_second
    units = pd.Series(unit_of[column.cat.codes[(column != "").to_numpy()]]).value_counts()
    if len(units) > 1:
        counts = ", ".join(f"{n:,} in {unit}" for unit, n in units.items())
        notes.append(f"times: {path.name} mixes units, {counts}; all are read as what their size says")
    return recoded(column, list(map(text_of_seconds, numbers)))


def dates_of(tokens, column, path):
    """Seconds of dates in words."""
    for form in DATES:
        times = pd.to_datetime(pd.Series(tokens, dtype=object), format=form, utc=True, errors="coerce")
        if times.notna().all():
            return (times - pd.Timestamp(0, tz="UTC")).dt.total_seconds().to_numpy()
    token = tokens[times.isna().to_numpy()][0]
    line = column.index[(column == token).to_numpy()][0]
    raise InputError(
        f"{path}, line {line}: time {token!r} is neither a number nor a date; mend it, or leave times out with "
        "--columns time=-"
    )


def text_of_seconds(number):
    if np.isnan(number):
        return ""
    return str(int(number)) if number == int(number) else repr(float(number))
