"""The published preparation: which ratings are kept, and which are train, validation and test."""

import numpy as np

from preparation.files import encode, sort_ids
from utils import InputError

# What pandas reads as no value.
MISSING = ("", "#N/A", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null")
SPLIT_SEED = 2024  # fixed: the published splits depend on it, unlike --random_seed
TRAIN, VALIDATION, TEST = 0, 1, 2


def split(ratings, items, known, log=print):
    """The published preparation: DataFrame of read_ratings -> (train_original, validation, test).

    Rule 1: drop rows that lack user or item or rating, and of a known data set those whose item
    lacks title, year or genre.
    Rule 2: keep the 5-core of the positives, which are the ratings of 4 and 5.
    Rule 3: keep the negatives of surviving users and items.
    Rule 4: of each user's positives, 20 % are test and 10 % validation.
    Rule 5: train is the other positives, then all negatives.

    items: DataFrame of read_items for a known data set, else None.
    known: the data set's row of the table in sources.py, or None.
    """
    whole = identified(ratings)
    latest = newest(whole)
    rows = latest[is_complete(latest, items)]
    # All ids are numbered, also those of users who are not drawn below.
    user_ids = sort_ids(rows.user.unique())
    item_ids = sort_ids(rows.item.unique())
    if known and known.sample_users:
        rows = of_drawn_users(rows, latest, items, known)

    # From here on, a rating is a row number.
    user_of = encode(rows.user, user_ids)
    item_of = encode(rows.item, item_ids)
    positives, negatives = core(user_of, item_of, rows.rating.to_numpy() >= 4)
    train, validation, test = share_out(positives, user_of)
    if known and known.drop_cold_items:
        validation = validation[np.isin(item_of[validation], item_of[train])]
        test = test[np.isin(item_of[test], item_of[train])]
    n_outside = len(rows) - len(positives) - len(negatives)
    log(
        f"ratings: {len(ratings)} read; {len(whole) - len(latest)} given anew later, "
        f"{len(ratings) - len(whole) + len(latest) - len(rows)} incomplete or not drawn, "
        f"{n_outside} of users or items with fewer than 5 positives; "
        f"kept {len(positives)} positives and {len(negatives)} negatives"
    )
    frame = rows[["user", "item", "token"]]
    train = np.concatenate((train, negatives))
    return frame.iloc[train], frame.iloc[validation], frame.iloc[test]


def identified(ratings):
    """The rows that name a user and an item: without, two rows are not of one pair."""
    return ratings[((ratings.user != "") & (ratings.item != "")).to_numpy()]


def newest(ratings):
    """One row a pair: of a pair rated twice, the newest rating counts.

    That is the last row where there are no timestamps, or equal ones.  A row that lacks its own is
    older than any.  The rows kept stay in file order.
    """
    if "timestamp" in ratings:
        ratings = ratings.sort_values("timestamp", kind="stable", na_position="first")
    return ratings.drop_duplicates(["user", "item"], keep="last").sort_index()


def is_complete(ratings, items):
    """Rule 1, as a column of bool.  Of an item described twice, the last description counts."""
    complete = (ratings.user != "") & (ratings.item != "") & ratings.rating.notna()
    if items is None:
        return complete
    items = items.drop_duplicates("item", keep="last")
    columns = items.columns.intersection(["title", "year", "genre"])
    lacking = items[columns].isin(MISSING).any(axis=1)
    return complete & ratings.item.isin(items.item[~lacking])


def of_drawn_users(rows, latest, items, known):
    """The rows of the users that are drawn of a known data set, the same ones for every split.

    rows: some of latest, which newest() returns.  items: DataFrame of read_items.
    """
    user_ids = sort_ids(latest[is_complete(latest, items)].user.unique())
    if len(user_ids) < known.sample_users:
        raise InputError(
            f"--dataset: {known.sample_users} users are to be drawn, but only {len(user_ids)} have usable "
            "rows; are the .inter and .item files whole?"
        )
    drawn = np.random.RandomState(SPLIT_SEED).choice(user_ids, known.sample_users, replace=False)
    return rows[rows.user.isin(drawn)]


def cut_in_time(users):
    """The first 60 % of each user's rows, the next 20 and the last 20: (position of each row within its user, (U, 3)
    positions at which the three end, part of each row, TRAIN, VALIDATION or TEST).

    users: (N,) numbers from 0, sorted; a user's rows are in order of time.
    """
    n = np.bincount(users)
    positions = np.arange(len(users)) - (n.cumsum() - n)[users]
    cuts = np.stack((6 * n // 10, 8 * n // 10, n), axis=1)  # (U, 3)
    return positions, cuts, (positions[:, None] >= cuts[users, :2]).sum(1)


def core(user_of, item_of, positive):
    """Rules 2 and 3: the row numbers (positives, negatives) that survive.

    The published loop also counts all rows, of both signs, in each round.  A user or item with
    fewer than 5 rows has fewer than 5 positives too, so the outcome is the same.
    """
    rows = np.flatnonzero(positive)
    before = None
    while len(rows) != before:  # one loss brings the next
        before = len(rows)
        for side in (item_of, user_of):
            count = np.bincount(side[rows], minlength=1)
            rows = rows[count[side[rows]] >= 5]
    of_survivors = np.isin(user_of, user_of[rows]) & np.isin(item_of, item_of[rows])
    return rows, np.flatnonzero(~positive & of_survivors)


def share_out(positives, user_of):
    """Rule 4: the row numbers (train, validation, test) of the positives.

    Each part lists users in id order and each user's rows in file order.
    """
    # The published splits depend on this order, and on one permutation a user.
    by_user = positives[np.argsort(user_of[positives], kind="stable")]
    starts = np.flatnonzero(np.diff(user_of[by_user])) + 1
    part = np.full(len(by_user), TRAIN, np.int8)
    random = np.random.RandomState(SPLIT_SEED)
    for places in np.split(np.arange(len(by_user)), starts):  # one user's
        shuffled = places[random.permutation(len(places))]
        n_test = int(0.2 * len(places))
        n_validation = int(0.1 * len(places))
        part[shuffled[:n_test]] = TEST
        part[shuffled[n_test : n_test + n_validation]] = VALIDATION
    return by_user[part == TRAIN], by_user[part == VALIDATION], by_user[part == TEST]
