"""The ratings of one's own files, as strings: whole ids, stars, seconds."""

import numpy as np
import pandas as pd

from preparation import layouts, scale
from preparation.files import line_of, recoded
from preparation.tables import cells_of
from utils import InputError

UNITS = ((1e17, 1e9, "nanoseconds"), (1e14, 1e6, "microseconds"), (1e11, 1e3, "milliseconds"))  # from, to a second
DATES = ("ISO8601", "%a %b %d %H:%M:%S %z %Y", "%m %d, %Y", "%B %d, %Y", "%b %d, %Y", "%d-%b-%Y")
EXAMPLES = 2
MOST_RATINGS = 20  # values of a column that may be ratings


def ratings_of(source, reading, notes):
    """(DataFrame user, item, rating[, time] of strings, lines on the scale and what was dropped)."""
    wanted = {role: name for role, name in source.rating_columns.items() if role in ("user", "item", "rating", "time")}
    table, path = cells_of(source.ratings, wanted), source.ratings.path
    for role in ("user", "item"):
        table[role] = clean_ids(table[role], role, path, notes)
    if "time" in table:
        table["time"] = seconds_of(table.time, path, notes)
    if "rating" in table:
        layout = layouts.layout_of(source.ratings.columns)
        given, words = reading.get("scale", ""), reading.get("scale", "stars as they are")
        if not given and layout and layout.scale and layouts.plain(wanted["rating"]) in layout.columns:
            given, words = layout.scale, f"{layout.scale} (what {layout.name} means; --scale says otherwise)"
        table["rating"] = scale.in_stars(table.rating, scale.parse(given), path)
        words = f"{words}; {scale.counted(table.rating)}"
    else:
        if layouts.parse_columns(reading.get("columns")).get("rating") != layouts.NONE:
            refuse_what_may_be_ratings(source, path)
        if "scale" in reading:
            raise InputError(f"--scale {reading['scale']}: {path} has no column of ratings; leave it out")
        table["rating"] = pd.Categorical.from_codes(np.zeros(len(table), np.int8), ["5"])
        words = "no column of ratings, so every row is a like, 5 stars"

    # rows that say nothing go, and are counted
    useless, counts = np.zeros(len(table), bool), []
    for role, value, why in (
        ("rating", scale.DROP, "that are not rated"), ("user", "", "without user id"), ("item", "", "without item id")
    ):  # fmt: skip
        rows = (table[role] == value).to_numpy()
        useless |= rows
        if rows.any():
            counts.append(f"{rows.sum():,} {why}")
    dropped = f"dropped: of {len(table):,} rows {', '.join(counts) or 'nothing'}"
    return table[~useless], f"scale: {words}", dropped


def refuse_what_may_be_ratings(source, path):
    """Raises InputError where a column may be the rating: else a dislike would become a like."""
    known = {"", *source.rating_columns.values()}
    left = {f"column {name}": name for name in source.ratings.columns if name not in known}
    cells = cells_of(source.ratings, left) if left else {}
    for role, name in left.items():
        values = cells[role].cat.categories
        if 2 <= len(values) <= MOST_RATINGS:
            raise InputError(
                f"{path}: has no column of ratings by name, and {name} ({', '.join(sorted(values)[:5])}) may be one; "
                f"type --columns rating={name}, or --columns rating=- where every row is a like"
            )


def clean_ids(column, role, path, notes):
    """Ids as they are, but for blanks around them.  Ids that look alike are counted in a note."""
    ids = column.cat.categories
    plain, short = ids.str.strip(), ids.str.split().str.join("")
    if short.equals(ids) and not ids.str.endswith(".0").any():
        return column
    broken = plain[plain.str.contains(r"[\t\r\n]")]
    if len(broken):
        line = column.index[column.str.contains(broken[0], regex=False).to_numpy()][0]
        raise InputError(f"{path}, line {line}: the {role} id {broken[0]!r} holds a tab or a line break; take it out")
    alike = pd.Series(ids).groupby(short.str.removesuffix(".0"), sort=False).agg(list)
    twins = alike[alike.str.len() > 1]
    if len(twins):
        shown = "; ".join(f"{tokens[0]!r} and {tokens[1]!r}" for tokens in twins[:EXAMPLES])
        notes.append(
            f"{role}s: {len(twins):,} ids stand in {path.name} in more than one way, such as {shown}; blanks around an "
            'id do not count, but "7.0" and "7" are two; mend the file where they are one'
        )
    return recoded(column, plain)


def seconds_of(column, path, notes):
    """Times as seconds since 1970, as text, "" where there is none.

    Numbers of another unit are recognised by their size: seconds reach 1e11 in the year 5138.
    """
    tokens = column.cat.categories
    numbers = pd.to_numeric(pd.Series(tokens, dtype=object), errors="coerce").to_numpy(float, copy=True)
    if tokens.str.fullmatch(r"\d*").all() and (np.nan_to_num(numbers) < UNITS[-1][0]).all():
        return column
    words = (tokens.str.strip() != "") & ~np.isfinite(numbers)
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
    raise InputError(
        f"{path}, line {line_of(column, token)}: time {token!r} is neither a number nor a date; mend it, or leave "
        "times out with --columns time=-"
    )


def text_of_seconds(number):
    if np.isnan(number):
        return ""
    return str(int(number)) if number == int(number) else repr(float(number))
