"""What ratings mean: any scale to stars from 1 to 5.

--scale 1-10            five equal parts of a range of whole numbers: 1 and 2 are one star, 9 and 10 five
--scale "1=5,0=2"       value by value; a value may be a word, and what it becomes may be "drop"
--scale "1-10,0=drop"   both
"""

import math
import re
from typing import NamedTuple

from preparation.files import HALF_STARS, STARS, recoded
from utils import InputError

DROP = "drop"
LIKE = ["true", "yes", "like", "liked", "up", "thumbsup", "thumbs_up", "positive", "good"]
DISLIKE = ["false", "no", "dislike", "disliked", "down", "thumbsdown", "thumbs_down", "negative", "bad"]
SHOWN = 12  # values that a message names


class Scale(NamedTuple):
    """What a --scale or --half_stars says."""

    words: str  # as typed; "" where nothing was
    values: dict = {}  # value as compared() gives it: stars, or DROP
    ends: tuple | None = None  # of the range

    @property
    def says_all(self):
        """Whether it says value by value what is how many stars: then any other value is a mistake."""
        return any(star != DROP for star in self.values.values())


def half_stars(way):
    """The Scale that rounds half stars "up" or "down".  There is no 0: 0.5 becomes 1."""
    rounded = math.ceil if way == "up" else math.floor
    return Scale(f"--half_stars {way}", {value: max(rounded(value), 1) for value in HALF_STARS})


def parse(words):
    """Raises InputError for what is no scale."""
    values, ends = {}, None
    for part in filter(None, (each.strip() for each in words.split(","))):
        range_ = re.fullmatch(r"(-?\d+)\s*-\s*(-?\d+)", part)
        value, equals, stars = (each.strip() for each in part.rpartition("="))
        if range_:
            ends = int(range_[1]), int(range_[2])
            if ends[1] - ends[0] < 4:
                raise InputError(
                    f"--scale {words}: {part} has fewer than five whole numbers; say what each is, such as 1=5,0=2"
                )
        elif equals and value and (stars == DROP or stars in {str(star) for star in STARS}):
            values[compared(value)] = DROP if stars == DROP else int(stars)
        else:
            raise InputError(
                f"--scale {words}: {part!r} is neither a range such as 1-10 nor a value, an equals sign and 1 to 5 "
                "stars or drop, such as 0=drop"
            )
    return Scale(f"--scale {words}", values, ends)


def compared(token):
    """A value as it is compared: a number, or a word in small letters."""
    token = token.strip().lower()
    try:
        number = float(token)
    except ValueError:
        return token
    return number if math.isfinite(number) else token


def in_stars(column, scale, path):
    """(categorical of stars, (N,) bool: whether the row is dropped) of a categorical of ratings, "" where it is empty.

    Values on which nothing is said and that are stars stay what they are.  Raises InputError, naming line and value,
    for any other.
    """
    stars = [star_of(token, scale) for token in column.cat.categories]
    for token, star in zip(column.cat.categories, stars, strict=True):
        if star is None:
            line = column.index[(column == token).to_numpy()][0]
            raise InputError(f"{path}, line {line}: rating {token!r}, {how_to_say(column.cat.categories, scale)}")
    stars = recoded(column, stars)
    return stars, (stars == DROP).to_numpy()


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
        part = math.floor(5 * (value - first) / (last - first + 1))
        return str(min(part, 4) + 1) if first <= value <= last else None
    return token.strip() if value in STARS and not scale.says_all else None


def how_to_say(tokens, scale):
    """What is wrong with ratings that are no stars, and what to type."""
    values = sorted({compared(token) for token in tokens} - {""}, key=lambda value: (isinstance(value, str), value))
    found = ", ".join(f"{value:g}" if isinstance(value, float) else value for value in values[:SHOWN])
    more = f" and {len(values) - SHOWN} more" if len(values) > SHOWN else ""
    if scale.words:
        return f"of which {scale.words} says nothing; the values are {found}{more}; add it, or =drop"
    return f"expected one of 1, 2, 3, 4, 5; the values are {found}{more}; say what they mean: {suggested(values)}"


def suggested(values):
    """Flags to type, of which one is meant."""
    words = [value for value in values if isinstance(value, str)]
    if words:
        stars = [5 if plain in LIKE else 2 if plain in DISLIKE else None for plain in words]
        parts = [f"{word}={star or 'STARS'}" for word, star in zip(words[:SHOWN], stars, strict=False)]
        return f'--scale "{",".join(parts)}"' + ("" if all(stars) else " with stars from 1 to 5, or drop")
    least, most, whole = values[0], values[-1], all(value == int(value) for value in values)
    if set(values) <= set(HALF_STARS):
        return "--half_stars up or --half_stars down rounds half stars"
    if set(values) <= {-1.0, 0.0, 1.0}:
        low = {-1.0: "-1=2", 0.0: "0=3" if -1.0 in values else "0=2"}
        return f'--scale "{",".join(["1=5", *(low[value] for value in values if value in low)])}"'
    top = next(end for end in (5, 10, 100, math.ceil(most)) if end >= most)
    if least in (0, -1) and whole:
        rated = "" if top == 5 else f"1-{top},"
        drop = f'--scale "{rated}{least:g}=drop" if {least:g} means not rated'
        return drop + (f", --scale 0-{top} if it is the worst" if least == 0 else "")
    return f"--scale {min(math.floor(least), 1)}-{top}"


def counted(stars):
    """How many rows have how many stars, in words.  stars: a categorical of tokens."""
    numbers = {}
    for token, n in stars.value_counts().items():
        if token not in ("", DROP):
            numbers[float(token)] = numbers.get(float(token), 0) + n
    total = max(sum(numbers.values()), 1)
    return ", ".join(f"{star:g}: {n:,} ({n / total:.0%})" for star, n in sorted(numbers.items()))
