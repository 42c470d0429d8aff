"""Which column is which: the names that data sets give their users, items, ratings and so on.

    columns_of      the columns of a file of ratings, or of items
    layout_of       whose layout it is, by its columns, and what its ratings mean

A role takes the first name of its list that the file has; names are compared without case, blanks and marks.
"""

import re
from typing import NamedTuple

from preparation.files import titles_among
from utils import InputError

NONE = "-"  # --columns title=-: none is
ROLES = ("user", "item", "rating", "time", "title", "year", "genre")
OF_ITEMS = ("item", "title", "year", "genre")
NAMES = {
    "user": "userid user uid reviewerid authorsteamid steamid customerid memberid profileid username",
    "item": "itemid item iid movieid parentasin asin bookid isbn businessid appid gameid animeid songid trackid "
    "artistid recipeid jokeid productid",
    "rating": "rating ratings stars star starrating overall bookrating reviewrating myrating userrating score "
    "reviewscore recommended isrecommended recommend votedup liked thumbs",
    "time": "timestamp unixreviewtime timestampcreated time dateadded datetime date createdat reviewtime ratedat",
    "year": "releaseyear year yearofpublication publicationyear originalpublicationyear releasedate daterelease",
    "genre": "genre genres class categories category",
    "title": "itemname name moviename productname appname businessname",  # after what has "title" in it
}


class Layout(NamedTuple):
    """What is known of a publisher's files of ratings."""

    name: str
    columns: set  # by which it is recognised
    scale: str = ""  # as --scale, where the file says something else than stars


LAYOUTS = (
    Layout("Amazon 2023", {"userid", "parentasin", "rating"}),
    Layout("Amazon 2014 or 2018", {"reviewerid", "asin", "overall"}),
    Layout("Book-Crossing", {"userid", "isbn", "bookrating"}, "1-10,0=drop"),  # its 0 is "read, not rated"
    Layout("Goodreads", {"userid", "bookid", "rating", "isread"}, "0=drop"),  # its 0 is "not rated"
    Layout("Goodreads", {"userid", "bookid", "rating", "reviewid"}, "0=drop"),
    Layout("Steam", {"recommended"}, "true=5,false=2"),
    Layout("Steam", {"isrecommended"}, "true=5,false=2"),
    Layout("Steam", {"votedup"}, "true=5,false=2"),
    Layout("Yelp", {"userid", "businessid", "stars"}),
    Layout("GroupLens", {"userid", "movieid", "rating"}),
)


def plain(name):
    """A name as it is compared: "Book-Rating", "book_rating" and "BookRating" are one."""
    return re.sub(r"[\W_]", "", name.lower())


def layout_of(columns):
    """The Layout of a file of ratings with these columns, or None."""
    names = set(map(plain, columns))
    for layout in LAYOUTS:
        if layout.columns <= names:
            return layout
    return None


def columns_of(columns, given, roles=ROLES):
    """{role: column} of the roles that a file has.  given: of --columns, which come first."""
    found, left = {}, [column for column in columns if column not in given.values()]
    written = {plain(column): column for column in reversed(left)}
    for role in roles:
        column = given.get(role)
        if column == NONE:
            continue
        if column in columns:
            found[role] = column
        elif role == "title" and titles_among(left):
            found[role] = titles_among(left)[0]
        else:
            names = [written[name] for name in NAMES[role].split() if name in written]
            if names:
                found[role] = names[0]
    return found


def ids_among(columns):
    """Those that may be ids of items."""
    found = []
    for column in columns:
        name = plain(column)
        if name in NAMES["item"].split() or (name.endswith("id") and "user" not in name):
            found.append(column)
    return found


def parse_columns(words):
    """--columns "user=uid,item=iid" as {role: column}.  Raises InputError for what is none."""
    given = {}
    for part in filter(None, (words or "").split(",")):
        role, equals, column = map(str.strip, part.partition("="))
        if not equals or role not in ROLES or not column:
            raise InputError(
                f"--columns {words}: {part.strip()!r} is not one of {', '.join(ROLES)}, an equals sign and the name of "
                "a column (its number where the file has no line of names; - for none), such as user=reviewerID"
            )
        if column != NONE and column in given.values():
            raise InputError(f"--columns {words}: {column} is named twice; a column has one role")
        given[role] = column
    return given
