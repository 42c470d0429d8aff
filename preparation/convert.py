"""Other publishers' files in RecBole's form: bytes in, bytes out."""

import re

INTER = ["user_id:token", "item_id:token", "rating:float", "timestamp:float"]
ITEM = ["item_id:token", "movie_title:token_seq", "release_year:token"]
GENRES_100K = (  # the last 19 cells of a line of u.item, in this order
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime"),
    *("Documentary", "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery"),
    *("Romance", "Sci-Fi", "Thriller", "War", "Western"),
)


# read: a function from the base name of a publisher's file to its bytes.  The converters return
# {file name: content} and raise ValueError for what is no such file.  GroupLens' rows are those of
# RecBole's files, but not the same bytes, so the files get names of their own.


def convert_ml_100k(read):
    """u.data, u.item -> grouplens.inter, grouplens.item."""
    items = []
    for line in lines(read("u.item")):
        number, title, _, _, _, *flags = line.split("|")  # two dates and an address
        named = [genre for genre, flag in zip(GENRES_100K, flags, strict=True) if flag == "1"]
        title, year = title_and_year(title)
        # Of one item it knows nothing.  RecBole's file says so in words, so that the published
        # splits hold its ratings.
        items.append((number, title, year or "unknown", " ".join(named)))
    ratings = [line.split() for line in lines(read("u.data"))]
    return {"grouplens.inter": atomic(INTER, ratings), "grouplens.item": atomic([*ITEM, "class:token_seq"], items)}


def convert_ml_1m(read):
    """ratings.dat, movies.dat (latin-1, "::" between cells) -> grouplens.inter, grouplens.item."""
    items = []
    for line in lines(read("movies.dat")):
        number, title, genres = line.split("::")
        items.append((number, *title_and_year(title), genres.replace("|", " ")))
    ratings = [line.split("::") for line in lines(read("ratings.dat"))]
    return {"grouplens.inter": atomic(INTER, ratings), "grouplens.item": atomic([*ITEM, "genre:token_seq"], items)}


def title_and_year(text):
    """"Seven (Se7en) (1995)" -> ("Seven (Se7en)", "1995"): split at the last parenthesis."""
    match = re.fullmatch(r"(.*)\((\d{4}|V)\)\s*", text.strip())
    if match is None:
        return text.strip(), ""
    return match[1].strip(), match[2]


def convert_netflix(read):
    """movie_titles.csv, netflix_genres.csv -> netflix.item.

    The titles are latin-1, without a header, with unquoted commas.
    """
    genre_of = {}
    for line in lines(read("netflix_genres.csv"), "utf-8-sig")[1:]:  # below the header
        if "," in line:
            number, names = line.split(",", 1)
            genre_of[number.strip()] = names.strip().strip('"').replace("|", " ")
    items = []
    for line in lines(read("movie_titles.csv")):
        number, year, title = line.split(",", 2)
        genre = genre_of.get(number, "")  # without one, preparation drops the item
        items.append((number, title, year, genre))
    return {"netflix.item": atomic([*ITEM, "genre:token_seq"], items)}


# ------------------------------ text


def lines(content, encoding="latin-1"):
    """The lines that hold something.

    Unlike with str.splitlines, bytes that latin-1 reads as control characters end no line.
    """
    text = content.decode(encoding).replace("\r\n", "\n")
    return [line for line in text.split("\n") if line]


def atomic(columns, rows):
    """A RecBole atomic file as bytes."""
    for row in rows:
        if len(row) != len(columns):
            raise ValueError(f"a row has {len(row)} cells, not {len(columns)}")
    return "".join("\t".join(row) + "\n" for row in [columns, *rows]).encode("utf-8")
