"""Ratings in the order in which they were given, cut into train, validation and test within each user.

    read         .inter and .item -> Events
    to_frame     Events -> the table of events.csv

The other models train on the same cut with --hold_out dislikes --split time (preparation/dislikes.py).
Negative feedback is a rating up to `negative` (2), positive one from 4; 3 is neutral.  Knows files, no model.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from preparation import splits
from preparation.files import STARS, encode, read_items, read_ratings, require_timestamps, sort_ids
from preparation.locate import folder_of_atomic, locate
from preparation.rules import TRAIN, cut_in_time, identified, is_complete, newest, of_drawn_users
from preparation.sources import DATASETS
from preparation.titles import item_table
from utils import InputError

PARTS = ("train", "validation", "test")
POSITIVE = 4  # stars, and more
DISLIKE, NEUTRAL, LIKE = range(3)  # the sign of an event
DAY_SECONDS = 24 * 60 * 60
# the paper's three days shown and seven days to predict; days of eight events where real ones mean nothing
RECENT_DAYS, WINDOW_DAYS, EVENTS_OF_DAY = 3, 7, 8


class Events(NamedTuple):
    """One row an event, by (user, position).  Item numbers are rows of the .item file that have a title."""

    users: np.ndarray  # (N,) int64 user numbers
    items: np.ndarray  # (N,) int64 item numbers
    ratings: np.ndarray  # (N,) float64, 1-5
    positions: np.ndarray  # (N,) int64, 0, 1, ... within the user
    parts: np.ndarray  # (N,) int64: TRAIN, VALIDATION or TEST
    times: np.ndarray  # (N,) float64 seconds
    first: np.ndarray  # (U + 1,) int64: the events of user u are the rows first[u] .. first[u + 1] - 1
    cuts: np.ndarray  # (U, 3) int64: the positions a, b, n where train, validation and test of a user end
    user_ids: np.ndarray  # (U,) str, in sorted order
    item_ids: np.ndarray  # (I,) str
    titles: np.ndarray  # (I,) str
    clock: str  # what days are: "event", EVENTS_OF_DAY events of a user; "wall", real days
    negative: int  # a rating up to this is negative

    @property
    def n_users(self):
        return len(self.user_ids)

    @property
    def n_items(self):
        return len(self.item_ids)

    @property
    def is_negative(self):
        """(N,) bool."""
        return self.ratings <= self.negative

    @property
    def is_positive(self):
        """(N,) bool."""
        return self.ratings >= POSITIVE


def signs_of(ratings, negative):
    """(n,) int64: DISLIKE, NEUTRAL or LIKE of each rating.  negative: the most stars of a dislike."""
    return np.where(ratings <= negative, DISLIKE, np.where(ratings >= POSITIVE, LIKE, NEUTRAL))


def read_of_run(settings_of_run, data_dir=None):
    """(Events, the folder of their files) of a finished run.  settings_of_run: of its config.json.  data_dir: where the
    data sets lie now, if not where they lay then."""
    name, raw, folder = locate(settings_of_run["dataset"], Path(data_dir or settings_of_run["data_dir"]))
    raw = folder_of_atomic(raw, folder)
    events, _ = read(raw, name, settings_of_run["conrec_negative"])
    return events, raw


def read(raw, name=None, negative=2, rated=None):
    """(Events, notes): the events of a folder with one .inter and one .item file, and lines for the log.

    raw: the folder (Path).  name: of a known data set, whose users are drawn where it says so.  Of a pair rated twice
    the last rating counts, a user's rows are in order of (time, item id), rows of items without a title are dropped.
    rated: the file of ratings that an error names, where the .inter was made of another.
    Raises InputError for files that have no timestamps or titles, or no user with two train negatives.
    """
    inter, item = splits.atomic_files(raw)
    rated = rated or inter
    item_ids, titles = read_titled_items(raw, item, rated)
    rows, notes = read_rated_rows(inter, item, DATASETS.get(name), rated)
    known = rows.item.isin(item_ids).to_numpy()
    untitled, rows = (~known).sum(), rows[known]
    if untitled:
        notes.append(f"events: {untitled} dropped, of items without a title in {item.name}")
    if not len(rows):
        raise InputError(
            f"{rated}: no rating is of an item that has a title in {item.name}; do the files belong together?"
        )

    user_ids = sort_ids(rows.user.unique())
    users, items = encode(rows.user, user_ids), encode(rows.item, item_ids)
    times = rows.timestamp.to_numpy(float)
    place = pd.Index(sort_ids(item_ids)).get_indexer(item_ids)  # of each item in id order
    sort = np.lexsort((place[items], times, users))  # by user, then time, then item id
    users, items, times = users[sort].astype(np.int64), items[sort].astype(np.int64), times[sort]
    ratings = rows.rating.to_numpy(float)[sort]

    # positions and cuts within each user
    positions, cuts, parts = cut_in_time(users)
    first = np.concatenate(([0], np.bincount(users).cumsum()))

    clock, why = pick_clock(times[first[1:] - 1] - times[first[:-1]])
    events = Events(
        users, items, ratings, positions, parts, times, first, cuts, user_ids, item_ids, titles, clock, negative
    )
    check_negatives(events, rated)
    return events, [*notes, *describe(events), why]


def read_titled_items(raw, item, rated):
    """(ids (I,), titles (I,)) of the items that have a title, in file order."""
    if item is None:
        raise InputError(f"{rated.parent}: has no .item file; CoNRec needs the titles of the items")
    table = item_table(raw)
    titles = table.title.str.strip()
    titles = titles[titles != ""]
    if not len(titles):
        raise InputError(f"{rated.parent}: no item has a title; CoNRec needs the titles of the items")
    return titles.index.to_numpy(dtype=object), titles.to_numpy(dtype=object)


def read_rated_rows(inter, item, known, rated):
    """(DataFrame user, item, rating, timestamp of one row a pair, notes for the log).

    Raises InputError for unusable timestamps.
    """
    table = read_ratings(inter, "\t", STARS, timed=True)
    cure = "if each user's rows lie in order, a column timestamp that numbers them will do"
    require_timestamps(table, rated, cure)
    whole = identified(table)
    latest = newest(whole)
    rows = latest[is_complete(latest, None)]
    notes = [f"ratings: {len(table)} read"]
    if len(rows) < len(table):
        n_incomplete = len(table) - len(whole) + len(latest) - len(rows)
        notes.append(f"ratings: {len(whole) - len(latest)} given anew later, {n_incomplete} incomplete")
    if known and known.sample_users:
        rows = of_drawn_users(rows, latest, read_items(item), known)
        notes.append(f"ratings: {len(rows)} of the {known.sample_users} users drawn")
    return rows, notes


def pick_clock(spans):
    """(clock, why).  spans: (U,) seconds between each user's first and last event.

    Real days mean nothing where the median user rates everything within the window.
    """
    days = np.median(spans) / DAY_SECONDS
    span = f"since the median user's events span {days:.2g} days"
    if days < WINDOW_DAYS:
        pseudo = f"{EVENTS_OF_DAY} events of a user count as a day"
        return "event", f"clock: event, {span}, less than the window of {WINDOW_DAYS}; {pseudo}"
    return "wall", f"clock: wall, {span}, not less than the window of {WINDOW_DAYS}"


def check_negatives(events, rated):
    """Raises InputError where no user has two negatives in train, so that there is nothing to learn a sequence from."""
    in_train = (events.parts == TRAIN) & events.is_negative
    if np.bincount(events.users[in_train], minlength=1).max() < 2:
        raise InputError(
            f"{rated}: no user has two ratings up to {events.negative} among the first 60 % of their events, so there "
            "is nothing to learn a sequence of dislikes from; --conrec_negative sets what counts as one"
        )


def describe(events):
    """Lines for the log."""
    negative = events.is_negative
    users, parts, times = events.users[negative], events.parts[negative], events.times[negative]
    tied = ((users[1:] == users[:-1]) & (times[1:] == times[:-1])).sum() / len(users)
    have_none = (np.bincount(users, minlength=events.n_users) == 0).sum()
    none_in_train = (np.bincount(users[parts == TRAIN], minlength=events.n_users) == 0).sum()
    return [
        f"events: {events.n_users} users, {events.n_items} items; train, validation, test "
        f"{count_parts(events.parts)}, of which negative {count_parts(parts)}",
        f"events: {have_none} users have no negative, {none_in_train} none in train",
        f"events: {tied:.1%} of the negatives share a time with an earlier negative of the same user: "
        "their order means nothing",
    ]


def count_parts(parts):
    return " / ".join(f"{number:,}" for number in np.bincount(parts, minlength=len(PARTS)))


def to_frame(events):
    """DataFrame user, item (ids), rating, position, part (a name of PARTS): events.csv."""
    columns = {"user": events.user_ids[events.users], "item": events.item_ids[events.items]}
    columns |= {"rating": events.ratings.astype(np.int64), "position": events.positions}
    return pd.DataFrame(columns | {"part": np.array(PARTS, dtype=object)[events.parts]})
