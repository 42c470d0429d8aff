"""Folders of ratings as their publishers lay them out: the same 500 ratings and 25 items in each.

write(kind, folder) writes one.  EXPECTED says what must be understood of it.
"""

import csv
import gzip
import json
from typing import NamedTuple

USERS, ITEMS = [f"u{n}" for n in range(20)], [f"B{n:02}" for n in range(25)]
SECONDS = 1_400_000_000


def stars_of(user, item):
    """Whole stars of the n-th user and item: every user and item has five likes and more, and some dislikes."""
    return 2 if (user + item) % 7 == 0 else 1 + (user * 3 + item) % 2 * 4 if (user + item) % 5 == 0 else 4 + (item % 2)


RATINGS = [
    (user, item, stars_of(u, i), SECONDS + 97 * u + i) for u, user in enumerate(USERS) for i, item in enumerate(ITEMS)
]


class Kind(NamedTuple):
    write: object  # (folder)
    columns: str  # the line of the log, after "columns: "
    scale: str
    title: str  # of item 3
    year: str = ""
    genre: str = ""
    stars: object = lambda stars: stars  # of what was written
    seconds: object = lambda seconds: seconds  # None: no times
    item: object = lambda item: item
    reading: dict = {}


def lines(path, rows, opener=open, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    with opener(path, "wt", encoding=encoding, newline="") as f:
        f.writelines(f"{row}\n" for row in rows)


def json_lines(path, records, opener=open, dump=json.dumps):
    lines(path, map(dump, records), opener)


def table(path, header, rows, **style):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as f:
        csv.writer(f, lineterminator="\n", **style).writerows([header, *rows])


def recbole(folder):
    lines(folder / "x.inter", ["user_id:token\titem_id:token\trating:float\ttimestamp:float"] + [
        "\t".join(map(str, row)) for row in RATINGS
    ])  # fmt: skip
    lines(folder / "x.item", ["item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq"] + [
        f"{item}\tTitle {n}\t{1990 + n}\tDrama War" for n, item in enumerate(ITEMS)
    ])  # fmt: skip


def grouplens(folder):
    rows = [(user, item, f"{stars - 0.5}", seconds) for user, item, stars, seconds in RATINGS]
    table(folder / "ratings.csv", ["userId", "movieId", "rating", "timestamp"], rows)
    movies = [(item, f'Title {n}, "The" ({1990 + n})', "Drama|War" if n else "(no genres listed)")
              for n, item in enumerate(ITEMS)]  # fmt: skip
    table(folder / "movies.csv", ["movieId", "title", "genres"], movies)
    table(folder / "tags.csv", ["userId", "movieId", "tag", "timestamp"], [("u1", "B01", "slow", "1")])
    table(folder / "links.csv", ["movieId", "imdbId", "tmdbId"], [("B01", "7", "8")])


def amazon_2014(folder):
    json_lines(folder / "reviews_Toys_5.json.gz", (
        {"reviewerID": user, "asin": item, "helpful": [0, 1], "reviewText": "a\nb", "overall": float(stars),
         "summary": "fine", "unixReviewTime": seconds, "reviewTime": "09 13, 2009"}
        for user, item, stars, seconds in RATINGS
    ), gzip.open)  # fmt: skip
    json_lines(folder / "meta_Toys.json.gz", (
        {"asin": item, "title": f"Title's &amp; {n}", "categories": [["Toys", "Board Games"], ["Toys"]]}
        for n, item in enumerate(ITEMS)
    ), gzip.open, dump=str)  # as Python writes it: that is how they were published  # fmt: skip


def amazon_2023(folder):
    json_lines(folder / "Toys.jsonl", (
        {"rating": float(stars), "title": f"My words {n}", "text": "x", "asin": f"V{item}", "parent_asin": item,
         "user_id": user, "timestamp": seconds * 1000, "helpful_vote": 0, "verified_purchase": True}
        for n, (user, item, stars, seconds) in enumerate(RATINGS)
    ))  # fmt: skip
    json_lines(folder / "meta_Toys.jsonl", (
        {"main_category": "Toys", "title": f"Title {n}", "parent_asin": item, "categories": ["Toys", "Board Games"]}
        for n, item in enumerate(ITEMS)
    ))  # fmt: skip


def goodreads(folder):
    json_lines(folder / "goodreads_interactions.json.gz", (
        {"user_id": user, "book_id": item, "review_id": "7", "is_read": True, "rating": 0 if stars == 1 else stars,
         "date_added": "Sun Jul 30 07:44:10 -0700 2017"}
        for user, item, stars, _ in RATINGS
    ), gzip.open)  # fmt: skip
    json_lines(folder / "goodreads_books.json.gz", (
        {"book_id": item, "title": f"Title {n}", "title_without_series": "-", "publication_year": f"{1990 + n}"}
        for n, item in enumerate(ITEMS)
    ), gzip.open)  # fmt: skip


def goodbooks(folder):
    """The ratings name books by a number that books.csv calls id; its book_id is another."""
    rows = [(user, ITEMS.index(item) + 1, stars) for user, item, stars, _ in RATINGS]
    table(folder / "ratings.csv", ["user_id", "book_id", "rating"], rows)
    columns = ["id", "book_id", "best_book_id", "original_publication_year", "original_title", "title"]
    books = [(n + 1, n + 90000, n + 90000, f"{1990 + n}.0", f"Titel {n}", f"Title {n}") for n in range(25)]
    table(folder / "books.csv", columns, books)
    table(folder / "to_read.csv", ["user_id", "book_id"], [("u1", 3)])


def steam(folder):
    rows = [(item, "0", f"2022-12-{n % 28 + 1:02}", str(stars >= 3).lower(), "1.5", user)
            for n, (user, item, stars, _) in enumerate(RATINGS)]  # fmt: skip
    table(folder / "recommendations.csv", ["app_id", "helpful", "date", "is_recommended", "hours", "user_id"], rows)
    games = [(item, f"Title {n}, the game", f"{1990 + n}-05-01", "true") for n, item in enumerate(ITEMS)]
    table(folder / "games.csv", ["app_id", "title", "date_release", "win"], games)


def book_crossing(folder):
    lines(folder / "BX-Book-Ratings.csv", ['"User-ID";"ISBN";"Book-Rating"'] + [
        f'"{user}";"{item}";"{0 if stars == 1 else 2 * stars - 1}"' for user, item, stars, _ in RATINGS
    ])  # fmt: skip
    lines(folder / "BX-Books.csv", ['"ISBN";"Book-Title";"Book-Author";"Year-Of-Publication"'] + [
        f'"{item}";"Café; the \\"real\\" {n}";"A";"{1990 + n}"' for n, item in enumerate(ITEMS)
    ], encoding="latin-1")  # fmt: skip
    lines(folder / "BX-Users.csv", ['"User-ID";"Location";"Age"', '"u1";"x";NULL'])


def yelp(folder):
    json_lines(folder / "yelp_academic_dataset_review.json", (
        {"review_id": "x", "user_id": user, "business_id": item, "stars": float(stars), "date": "2018-07-07 22:09:11"}
        for user, item, stars, _ in RATINGS
    ))  # fmt: skip
    json_lines(folder / "yelp_academic_dataset_business.json", (
        {"business_id": item, "name": f"Title {n}", "stars": 4.5, "categories": "Pizza, Fast Food"}
        for n, item in enumerate(ITEMS)
    ))  # fmt: skip


def thumbs(folder):
    rows = [(user, item, "up" if stars >= 3 else "down", seconds, f"Title {item}")
            for user, item, stars, seconds in RATINGS]  # fmt: skip
    table(folder / "votes.tsv", ["who", " item ", "thumb", "when", "title"], rows, delimiter="\t")


def ten_points(folder):
    lines(folder / "ratings.dat", (
        f"{user}::{item}::{2 * stars}::{seconds}" for user, item, stars, seconds in RATINGS
    ))  # fmt: skip


def clicks(folder):
    table(folder / "log.csv", ["user_id", "item_id", "timestamp"], [(u, i, t) for u, i, _, t in RATINGS])


def by_day(seconds):
    """What Steam's dates say: midnight of a day of December 2022."""
    n = [row[3] for row in RATINGS].index(seconds)
    return 1669852800 + 86400 * (n % 28)


def drop_ones(stars):
    return None if stars == 1 else stars


THUMBS = {"columns": "user=who,rating=thumb,time=when", "scale": "up=5,down=2"}
NUMBERS = {"columns": "user=1,item=2,rating=3,time=4", "scale": "1-10"}
KINDS = {
    "RecBole": Kind(
        recbole,
        "user = user_id, item = item_id, rating = rating, time = timestamp of x.inter; item = item_id, "
        "title = movie_title, year = release_year, genre = class of x.item",
        "stars as they are", "Title 3", "1993", "Drama War",
    ),
    "GroupLens": Kind(
        grouplens,
        "user = userId, item = movieId, rating = rating, time = timestamp of ratings.csv (layout: GroupLens); "
        "item = movieId, title = title, genre = genres of movies.csv",
        "0.5-5", 'Title 3, "The"', "1993", "Drama War", reading={"scale": "0.5-5"},
    ),
    "Amazon 2014": Kind(
        amazon_2014,
        "user = reviewerID, item = asin, rating = overall, time = unixReviewTime of reviews_Toys_5.json.gz "
        "(layout: Amazon 2014 or 2018); item = asin, title = title, genre = categories of meta_Toys.json.gz",
        "stars as they are", "Title's & 3", "", "Toys Board-Games",
    ),
    "Amazon 2023": Kind(
        amazon_2023,
        "user = user_id, item = parent_asin, rating = rating, time = timestamp of Toys.jsonl (layout: Amazon "
        "2023); item = parent_asin, title = title, genre = categories of meta_Toys.jsonl",
        "stars as they are", "Title 3", "", "Toys Board-Games",
    ),
    "Goodreads": Kind(
        goodreads,
        "user = user_id, item = book_id, rating = rating, time = date_added of goodreads_interactions.json.gz "
        "(layout: Goodreads); item = book_id, title = title, year = publication_year of goodreads_books.json.gz",
        "0=drop (what Goodreads means; --scale says otherwise)", "Title 3", "1993",
        stars=drop_ones, seconds=lambda _: 1501425850,
    ),
    "goodbooks": Kind(
        goodbooks,
        "user = user_id, item = book_id, rating = rating of ratings.csv; item = id, title = title, "
        "year = original_publication_year of books.csv",
        "stars as they are", "Title 3", "1993",
        seconds=None, item=lambda item: str(ITEMS.index(item) + 1),
    ),
    "Steam": Kind(
        steam,
        "user = user_id, item = app_id, rating = is_recommended, time = date of recommendations.csv (layout: "
        "Steam); item = app_id, title = title, year = date_release of games.csv",
        "true=5,false=2 (what Steam means; --scale says otherwise)", "Title 3, the game", "1993",
        stars=lambda stars: 5 if stars >= 3 else 2, seconds=by_day,
    ),
    "Book-Crossing": Kind(
        book_crossing,
        "user = User-ID, item = ISBN, rating = Book-Rating of BX-Book-Ratings.csv (layout: Book-Crossing); "
        "item = ISBN, title = Book-Title, year = Year-Of-Publication of BX-Books.csv",
        "1-10,0=drop (what Book-Crossing means; --scale says otherwise)", 'Café; the "real" 3', "1993",
        stars=drop_ones, seconds=None,
    ),
    "Yelp": Kind(
        yelp,
        "user = user_id, item = business_id, rating = stars, time = date of yelp_academic_dataset_review.json "
        "(layout: Yelp); item = business_id, title = name, genre = categories of yelp_academic_dataset_business.json",
        "stars as they are", "Title 3", "", "Pizza Fast-Food", seconds=lambda _: 1531001351,
    ),
    "thumbs": Kind(
        thumbs, "user = who, item = item, rating = thumb, time = when, title = title of votes.tsv", "up=5,down=2",
        "Title B03", stars=lambda stars: 5 if stars >= 3 else 2, reading=THUMBS,
    ),
    "ten points, no names": Kind(
        ten_points, "user = 1, item = 2, rating = 3, time = 4 of ratings.dat; no titles", "1-10", None, reading=NUMBERS
    ),
    "clicks": Kind(
        clicks, "user = user_id, item = item_id, time = timestamp of log.csv; no titles",
        "no column of ratings, so every row is a like, 5 stars", None, stars=lambda _: 5,
    ),
}  # fmt: skip
