"""Ratings in the order in which they were given, cut into train, validation and test within each user.

    read         .inter and .item -> Events
    to_frame     Events -> the table of events.csv
    time_split   the same cut as CSVs for the other models

Negative feedback is a rating up to `negative` (2), positive one from 4; 3 is neutral.  Knows files, no model.
"""

from typing import NamedTuple

import numpy as np

TRAIN, VALIDATION, TEST = 0, 1, 2
PARTS = ("train", "validation", "test")
POSITIVE = 4  # stars, and more


class Events(NamedTuple):
    """One row an event, by (user, position).  Item numbers are rows of the .item file that have a title."""

    users: np.ndarray  # (N,) int64 user numbers
    items: np.ndarray  # (N,) int64 item numbers
    ratings: np.ndarray  # (N,) float64, 1-5
    positions: np.ndarray  # (N,) int64, 0, 1, ... within the user
    parts: np.ndarray  # (N,) int64: TRAIN, VALIDATION or TEST
    times: np.ndarray  # (N,) float64 seconds; row numbers of the file with order="file"
    first: np.ndarray  # (U + 1,) int64: the events of user u are the rows first[u] .. first[u + 1] - 1
    cuts: np.ndarray  # (U, 3) int64: the positions a, b, n where train, validation and test of a user end
    user_ids: np.ndarray  # (U,) str, in sorted order
    item_ids: np.ndarray  # (I,) str
    titles: np.ndarray  # (I,) str
    clock: str  # "event" or "wall"
    day: int  # events in a pseudo-day (event clock)
    recent: float  # days of the short context
    window: float  # days of the target window
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


def settings(options):
    """The keyword arguments of read() that stand in the flags."""
    names = ("order", "negative", "clock", "day", "recent", "window")
    return {name: getattr(options, f"conrec_{name}") for name in names}


def read(raw, name=None, *, order="timestamp", negative=2, clock="auto", day=8, recent=3, window=7):
    """(Events, notes): the events of a folder with one .inter and one .item file, and lines for the log.

    raw: the folder (Path).  name: of a known data set, whose users are drawn where it says so.  order: "timestamp", or
    "file" where the rows already lie in the order of events.  Of a pair rated twice the last rating counts, a user's
    rows are in order of (time, item id), rows of items without a title are dropped.
    Raises InputError for files that have no timestamps or titles, or no user with two train negatives.
    """
    raise NotImplementedError


def to_frame(events):
    """DataFrame user, item (ids), rating, position, part (a name of PARTS): events.csv."""
    raise NotImplementedError


def time_split(events, folder, name, item_file):
    """Write folder/<name>-time/<name>-time_{train_original,validation,test}.csv and a copy of the .item file.

    folder: of the data sets (data/).  Train holds all ratings of the train part, validation and test the positives of
    theirs.  Files that are the same already are left alone.  Returns the folder.
    """
    raise NotImplementedError
