"""Makes examples/tiny/: a small data set to try the program on, all of it made up.

    python examples/make_tiny.py [FOLDER]

150 users and 120 films of six genres.  There are three tastes, each of two genres.  A user sees
mostly what fits the taste or what everybody sees, and rates by taste, by how good the film is, and
by mood.  So there is something to learn beyond popularity.  The same numbers every time.
"""

import sys
from itertools import product
from pathlib import Path

import numpy as np

USERS, FILMS = 150, 120
RATINGS_OF_A_USER = (20, 45)  # from, to
FIRST_DAY, YEARS = 1_262_304_000, 10  # of the timestamps: 2010, in seconds since 1970
GENRES = {  # genre: what its titles are made of
    "Comedy": (
        "Accidental Borrowed Clumsy Reluctant Second-Hand", "Bridesmaid Butler Holiday Landlord Wedding-Cake"
    ),
    "Drama": ("Bitter Distant Quiet Unwritten Winter", "Daughters Harvest Inheritance Letters Orchard"),
    "Horror": ("Buried Hollow Nameless Rotting Sleepless", "Cellar Doll-House Nursery Parish Well"),
    "Romance": ("Breathless First Moonlit Tender Unexpected", "Embrace Honeymoon Kiss Sweethearts Waltz"),
    "Sci-Fi": ("Cobalt Last Orbital Synthetic Thousandth", "Android Colony Drift Engine Signal"),
    "Western": ("Crooked Dusty Lonesome Merciless Thirsty", "Canyon Gunslinger Marshal Saddle Stagecoach"),
}
TASTES = [[0, 3], [1, 5], [2, 4]]  # comedy, romance; drama, western; horror, science fiction
LIKING, DISLIKE = 1.1, -1.3  # what a favourite genre adds to a rating, and any other


def make_films(random):
    """(rows of the .item file, (FILMS, genres) share of each genre)."""
    titles = {genre: titles_of(genre, random) for genre in GENRES}
    rows, share = [], np.zeros((FILMS, len(GENRES)))
    for film in range(FILMS):
        main, other = random.choice(len(GENRES), 2, replace=False)
        named = [list(GENRES)[main]]
        share[film, main] = 1
        if random.rand() < 0.3:
            named.append(list(GENRES)[other])
            share[film, [main, other]] = 0.7, 0.3
        title = next(titles[named[0]])
        rows.append((str(film + 1), title, str(random.randint(1960, 2020)), " ".join(named)))
    return rows, share


def titles_of(genre, random):
    """The titles of a genre, each once, in random order."""
    adjectives, nouns = map(str.split, GENRES[genre])
    titles = list(map(" ".join, product(("The", "Return of the"), adjectives, nouns)))
    return iter(random.permutation(titles).tolist())


def make_ratings(random, share):
    """Rows of the .inter file, each user's in a row of the order of time."""
    fame = 1 / (1 + random.permutation(FILMS)) ** 0.5
    quality = random.normal(0, 0.4, FILMS)
    rows = []
    for user in range(USERS):
        taste = np.full(len(GENRES), DISLIKE)
        taste[TASTES[random.randint(len(TASTES))]] = LIKING
        fit = share @ taste  # (FILMS,)
        n = random.randint(*RATINGS_OF_A_USER)
        chance = fame * np.exp(fit)
        seen = random.choice(FILMS, n, replace=False, p=chance / chance.sum())
        stars = 3.1 + fit[seen] + quality[seen] + random.normal(0, 0.7, n)
        days = np.sort(random.choice(365 * YEARS, n, replace=False))
        for film, star, day in zip(seen, stars, days, strict=True):
            rating = int(np.clip(np.rint(star), 1, 5))
            rows.append((str(user + 1), str(film + 1), str(rating), str(FIRST_DAY + 86_400 * day)))
    return rows


def write(path, columns, rows):
    lines = ["\t".join(row) + "\n" for row in [columns, *rows]]
    path.write_text("".join(lines), encoding="utf-8", newline="\n")


def make(folder):
    """Write tiny.inter and tiny.item."""
    random = np.random.RandomState(2024)  # the legacy generator, whose numbers do not change
    films, share = make_films(random)
    ratings = make_ratings(random, share)
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "tiny.inter", ["user_id:token", "item_id:token", "rating:float", "timestamp:float"], ratings)
    write(folder / "tiny.item", ["item_id:token", "title:token_seq", "year:token", "genre:token_seq"], films)


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "tiny")
