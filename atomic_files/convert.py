"""Other publishers' files in RecBole's form: bytes in, bytes out."""

import re

INTER = ["user_id:token", "item_id:token", "rating:float", "timestamp:float"]
ITEM = ["item_id:token", "movie_title:token_seq", "release_year:token"]


# ------------------------------------------------------------------------------------ GroupLens
# read: a function from the base name of a file in GroupLens' archive to its bytes.


def convert_ml_100k(read):
    """u.data, u.item, u.genre -> (ml-100k.inter, ml-100k.item)."""
    genres = [line.split("|")[0] for line in lines(read("u.genre")) if "|" in line]
    items = []
    for line in lines(read("u.item")):
        number, title, *more = line.split("|")
        flags = more[3 : 3 + len(genres)]  # behind two dates and an address; "1" for its genres
        named = [genre for genre, flag in zip(genres, flags, strict=True) if flag == "1"]
        items.append((number, *title_and_year(title), " ".join(named)))
    ratings = [line.split() for line in lines(read("u.data"))]
    return atomic(INTER, ratings), atomic([*ITEM, "class:token_seq"], items)


def convert_ml_1m(read):
    """ratings.dat, movies.dat ("::" between the cells, latin-1) -> (ml-1m.inter, ml-1m.item)."""
    items = []
    for line in lines(read("movies.dat")):
        number, title, genres = line.split("::")
        items.append((number, *title_and_year(title), genres.replace("|", " ")))
    ratings = [line.split("::") for line in lines(read("ratings.dat"))]
    return atomic(INTER, ratings), atomic([*ITEM, "genre:token_seq"], items)


def title_and_year(text):
    """"Seven (Se7en) (1995)" -> ("Seven (Se7en)", "1995"): split at the last parenthesis."""
    match = re.fullmatch(r"(.*)\((\d{4}|V)\)\s*", text.strip())
    if match is None:
        return text.strip(), ""
    return match[1].strip(), match[2]


# ------------------------------------------------------------------- Netflix Prize, from Kaggle


def convert_netflix(titles, genres):
    """movie_titles.csv, netflix_genres.csv -> netflix.item.

    The titles are latin-1, without a header, with unquoted commas.
    """
    genre_of = {}
    for line in lines(genres, "utf-8-sig")[1:]:  # below the header
        if "," in line:
            number, names = line.split(",", 1)
            genre_of[number.strip()] = names.strip().strip('"').replace("|", " ")
    items = []
    for line in lines(titles):
        number, year, title = line.split(",", 2)
        genre = genre_of.get(number, "")  # without one, preparation drops the item
        items.append((number, title, year, genre))
    return atomic([*ITEM, "genre:token_seq"], items)


# ----------------------------------------------------------------------------------------- text


def lines(content, encoding="latin-1"):
    """The lines that hold something.

    Unlike with str.splitlines, bytes that latin-1 reads as control characters end no line.
    """
    text = content.decode(encoding).replace("\r\n", "\n")
    return [line for line in text.split("\n") if line]


def atomic(columns, rows):
    """A RecBole atomic file as bytes."""
    return "".join("\t".join(row) + "\n" for row in [columns, *rows]).encode("utf-8")
