"""What ratings mean: any scale to stars from 1 to 5.

--scale 1-10            five equal parts of a range of whole numbers: 1 and 2 are one star, 9 and 10 five
--scale 0.5-5           of half stars: they are rounded up
--scale "1=5,0=2"       value by value; a value may be a word, and what it becomes may be "drop"
--scale "1-10,0=drop"   both
"""

import math
import re
from typing import NamedTuple

from preparation.files import HALF_STARS, STARS, line_of, recoded
from utils import InputError

DROP = "drop"
SHOWN = 12  # values that a message names
LIKE = ["1", "true", "yes", "like", "liked", "up", "thumbsup", "thumbs_up", "positive", "good"]
DISLIKE = ["0", "-1", "false", "no", "dislike", "disliked", "down", "thumbsdown", "thumbs_down", "negative", "bad"]


class Scale(NamedTuple):
    """What a --scale says."""

    words: str  # as typed; "" where nothing was
    values: dict = {}  # value as compared() gives it: stars, or DROP
    ends: tuple | None = None  # of the range
    says_all: bool = False  # whether it says value by value what is how many stars: any other is a mistake


def parse(words):
    """Raises InputError for what is no scale."""
    values, ends, says_all = {}, None, False
    for part in filter(None, map(str.strip, words.split(","))):
        range_ = re.fullmatch(r"(-?\d+(?:\.5)?)\s*-\s*(-?\d+(?:\.5)?)", part)
        value, _, stars = part.rpartition("=")
        value, stars = compared(value), stars.strip()
        if range_:
            ends = float(range_[1]), float(range_[2])
            if (ends[1] - ends[0]) / step_of(ends) < 4:
                raise InputError(
                    f"--scale {words}: {part} has fewer than five whole numbers; say what each is, such as 1=5,0=2"
                )
        elif value != "" and stars == DROP:
            values[value] = DROP
        elif value != "" and stars in {"1", "2", "3", "4", "5"}:
            values[value], says_all = int(stars), True
        else:
            raise InputError(
                f"--scale {words}: {part!r} is neither a range such as 1-10 nor a value, an equals sign and 1 to 5 "
                "stars or drop, such as 0=drop"
            )
    return Scale(words, values, ends, says_all)


def step_of(ends):
    """From one value of a range to the next: half a star where one of its ends is one."""
    return 1 if all(map(float.is_integer, ends)) else 0.5


def compared(token):
    """A value as it is compared: a number, or a word in small letters."""
    token = token.strip().lower()
    try:
        number = float(token)
    except ValueError:
        return token
    return number if math.isfinite(number) else token


def in_stars(column, scale, path):
    """A categorical of ratings ("" where it is empty) as one of stars, DROP and "".  Raises InputError, naming line and
    value, for what is neither a star nor said to be one."""
    tokens = column.cat.categories
    stars = [star_of(token, scale) for token in tokens]
    if None in stars:
        token = tokens[stars.index(None)]
        raise InputError(f"{path}, line {line_of(column, token)}: rating {token!r}, {how_to_say(tokens, scale)}")
    return recoded(column, stars)


def star_of(token, scale):
    """The token of a value's stars, DROP, or None where nothing is known of it."""
    value = compared(token)
    if value == "":
        return ""
    if value in scale.values:
        return str(scale.values[value])
    if isinstance(value, str):
        return None
    if scale.ends:
        first, last = scale.ends
        if not first <= value <= last:
            return None
        part = math.floor(5 * (value - first) / (last - first + step_of(scale.ends)))
        return str(min(part, 4) + 1)
    return token.strip() if value in STARS and not scale.says_all else None


def how_to_say(tokens, scale):
    """What is wrong with ratings that are no stars, and what to type."""
    values = sorted(set(map(compared, tokens)) - {""}, key=lambda value: (isinstance(value, str), value))
    found = ", ".join(f"{value:g}" if isinstance(value, float) else value for value in values[:SHOWN])
    if len(values) > SHOWN:
        found += f" and {len(values) - SHOWN} more"
    if scale.words:
        return f"of which --scale {scale.words} says nothing; the values are {found}; add it, or =drop"
    return f"expected one of 1, 2, 3, 4, 5; the values are {found}; say what they mean: {suggested(values)}"


def suggested(values):
    """Flags to type, of which one is meant."""
    words = [value for value in values if isinstance(value, str)]
    if words or set(values) <= {-1.0, 0.0, 1.0}:
        kinds = words or [f"{value:g}" for value in values]
        stars = dict.fromkeys(DISLIKE, 2) | dict.fromkeys(LIKE, 5)
        if "-1" in kinds and "0" in kinds:
            stars["0"] = 3  # between the two
        parts = [f"{kind}={stars.get(kind, 'STARS')}" for kind in kinds[:SHOWN]]
        unknown = " with stars from 1 to 5, or drop" if set(kinds) - set(stars) else ""
        return f'--scale "{",".join(parts)}"{unknown}'
    if set(values) <= set(HALF_STARS):
        return "--scale 0.5-5 rounds half stars up"
    least, most = values[0], values[-1]
    top = next(end for end in (5, 10, 100, math.ceil(most)) if end >= most)
    if least in (0, -1) and all(map(float.is_integer, values)):
        rated = "" if top == 5 else f"1-{top},"
        drop = f'--scale "{rated}{least:g}=drop" if {least:g} means not rated'
        return drop + (f", --scale 0-{top} if it is the worst" if least == 0 else "")
    return f"--scale {min(math.floor(least), 1)}-{top}"


def counted(stars):
    """How many rows have how many stars, in words.  stars: a categorical of tokens."""
    rated = stars[~stars.isin(["", DROP])].astype(str).astype(float)
    parts = []
    for star, n in rated.value_counts().sort_index().items():
        parts.append(f"{star:g}: {n:,} ({n / len(rated):.0%})")
    return ", ".join(parts)
