"""Folders of ratings as their publishers lay them out: the same 500 ratings and 25 items in each.

write(kind, folder) writes one.  EXPECTED says what must be understood of it.
"""

import csv
import gzip
from typing import NamedTuple

import pandas as pd

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


TITLES, YEARS = [f"Title {n}" for n in range(25)], [1990 + n for n in range(25)]


def ratings(user, item, stars, seconds=None, **more):
    """RATINGS with columns of these names, and more columns."""
    frame = pd.DataFrame(RATINGS, columns=[user, item, stars, seconds])
    return (frame if seconds else frame.iloc[:, :3]).assign(**more)


def save(path, frame, sep=",", **style):
    path.parent.mkdir(parents=True, exist_ok=True)
    if "json" in path.name:
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_csv(path, sep=sep, index=False, **style)


def recbole(folder):
    save(folder / "x.inter", ratings("user_id:token", "item_id:token", "rating:float", "timestamp:float"), "\t")
    items = {"item_id:token": ITEMS, "movie_title:token_seq": TITLES, "release_year:token": YEARS}
    save(folder / "x.item", pd.DataFrame(items | {"class:token_seq": "Drama War"}), "\t")


def grouplens(folder):
    frame = ratings("userId", "movieId", "rating", "timestamp")
    save(folder / "ratings.csv", frame.assign(rating=frame.rating - 0.5))
    titles = [f'Title {n}, "The" ({1990 + n})' for n in range(25)]
    genres = ["(no genres listed)", *["Drama|War"] * 24]
    save(folder / "movies.csv", pd.DataFrame({"movieId": ITEMS, "title": titles, "genres": genres}))
    save(folder / "tags.csv", pd.DataFrame({"userId": ["u1"], "movieId": "B01", "tag": "slow", "timestamp": "1"}))
    save(folder / "links.csv", pd.DataFrame({"movieId": ["B01"], "imdbId": "7", "tmdbId": "8"}))


def amazon_2014(folder):
    frame = ratings("reviewerID", "asin", "overall", "unixReviewTime", reviewText="a\nb", reviewTime="09 13, 2009")
    save(folder / "reviews_Toys_5.json.gz", frame.astype({"overall": float}).assign(helpful=[[0, 1]] * 500))
    with gzip.open(folder / "meta_Toys.json.gz", "wt") as f:  # as Python writes it: that is how they were published
        for n, item in enumerate(ITEMS):
            categories = [["Toys", "Board Games"], ["Toys"]]
            f.write(f"{({'asin': item, 'title': f'Title{chr(39)}s &amp; {n}', 'categories': categories})}\n")


def amazon_2023(folder):
    titles, frame = [f"My words {n}" for n in range(500)], ratings("user_id", "parent_asin", "rating", "timestamp")
    frame = frame.assign(timestamp=frame.timestamp * 1000, asin="V" + frame.parent_asin, title=titles, text="x")
    save(folder / "Toys.jsonl", frame.astype({"rating": float}).assign(helpful_vote=0, verified_purchase=True))
    items = {"title": TITLES, "parent_asin": ITEMS, "categories": [["Toys", "Board Games"]] * 25}
    save(folder / "meta_Toys.jsonl", pd.DataFrame(items))


def goodreads(folder):
    frame = ratings("user_id", "book_id", "rating", review_id="7", is_read=True)
    frame = frame.assign(rating=frame.rating.replace(1, 0), date_added="Sun Jul 30 07:44:10 -0700 2017")
    save(folder / "goodreads_interactions.json.gz", frame)
    items = {"book_id": ITEMS, "title": TITLES, "title_without_series": "-", "publication_year": map(str, YEARS)}
    save(folder / "goodreads_books.json.gz", pd.DataFrame(items))


def goodbooks(folder):
    """The ratings name books by a number that books.csv calls id; its book_id is another."""
    frame = ratings("user_id", "book_id", "rating")
    save(folder / "ratings.csv", frame.assign(book_id=frame.book_id.map(ITEMS.index) + 1))
    books = pd.DataFrame({"id": range(1, 26), "book_id": range(90000, 90025), "best_book_id": range(90000, 90025)})
    books["original_publication_year"] = [f"{year}.0" for year in YEARS]
    save(folder / "books.csv", books.assign(original_title=[f"Titel {n}" for n in range(25)], title=TITLES))
    save(folder / "to_read.csv", pd.DataFrame({"user_id": ["u1"], "book_id": 3}))


def steam(folder):
    frame = ratings("user_id", "app_id", "is_recommended", helpful="0", hours="1.5")
    frame["is_recommended"] = (frame.is_recommended >= 3).map({True: "true", False: "false"})
    save(folder / "recommendations.csv", frame.assign(date=[f"2022-12-{n % 28 + 1:02}" for n in range(500)]))
    dates = [f"{year}-05-01" for year in YEARS]
    games = {"app_id": ITEMS, "title": [f"{title}, the game" for title in TITLES], "date_release": dates, "win": "true"}
    save(folder / "games.csv", pd.DataFrame(games))


def book_crossing(folder):
    style = {"sep": ";", "quoting": csv.QUOTE_NONNUMERIC, "encoding": "latin-1"}
    style |= {"doublequote": False, "escapechar": "\\"}
    frame = ratings("User-ID", "ISBN", "Book-Rating")
    points = (2 * frame["Book-Rating"] - 1).where(frame["Book-Rating"] > 1, 0)
    save(folder / "BX-Book-Ratings.csv", frame.assign(**{"Book-Rating": points.astype(str)}), **style)
    books = {"ISBN": ITEMS, "Book-Title": [f'Café; the "real" {n}' for n in range(25)], "Book-Author": "A"}
    save(folder / "BX-Books.csv", pd.DataFrame(books | {"Year-Of-Publication": list(map(str, YEARS))}), **style)
    save(folder / "BX-Users.csv", pd.DataFrame({"User-ID": ["u1"], "Location": "x", "Age": "NULL"}), **style)


def yelp(folder):
    frame = ratings("user_id", "business_id", "stars", review_id="x", date="2018-07-07 22:09:11")
    save(folder / "yelp_academic_dataset_review.json", frame.astype({"stars": float}))
    items = {"business_id": ITEMS, "name": TITLES, "stars": 4.5, "categories": "Pizza, Fast Food"}
    save(folder / "yelp_academic_dataset_business.json", pd.DataFrame(items))


def thumbs(folder):
    frame = ratings("who", " item ", "thumb", "when")
    frame["thumb"] = (frame.thumb >= 3).map({True: "up", False: "down"})
    save(folder / "votes.tsv", frame.assign(title="Title " + frame[" item "]), "\t")


def ten_points(folder):
    folder.mkdir(parents=True, exist_ok=True)
    rows = [f"{user}::{item}::{2 * stars}::{seconds}\n" for user, item, stars, seconds in RATINGS]
    (folder / "ratings.dat").write_text("".join(rows))


def clicks(folder):
    save(folder / "log.csv", ratings("user_id", "item_id", "stars", "timestamp").drop(columns="stars"))


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
