"""The published preparation: which ratings are kept, and which of them are train, validation and test."""

import numpy as np

from atomic_files.files import encode, sort_ids
from utils import InputError

MISSING = ("", "#N/A", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null")  # what pandas reads as no value
SPLIT_SEED = 2024  # fixed: the published splits depend on it, unlike --random_seed


def split(ratings, items, known, log=print):
    """The published preparation: DataFrame of read_ratings -> (train_original, validation, test).

    1 drop rows lacking user, item, rating or, after a left join, title, year, genre; 2 cores of 5; 3 negatives
    of surviving users and items; 4 per user 20 % test and 10 % validation of the positives; 5 train = the other
    positives, then all negatives.  known: the data set's row of the table in atomic_files/sources.py, or None.
    """
    read, ratings = len(ratings), ratings.drop_duplicates(["user", "item"], keep="last")
    complete = (ratings.user != "") & (ratings.item != "") & ratings.rating.notna()
    if items is not None:
        items = items.drop_duplicates("item", keep="last")
        columns = [name for name in ("title", "year", "genre") if name in items]
        described = items.item[~items[columns].isin(MISSING).any(axis=1)]
        complete &= ratings.item.isin(described)
    rows = ratings[complete]
    user_ids, item_ids = sort_ids(rows.user.unique()), sort_ids(rows.item.unique())
    if known and known.sample_users:
        if len(user_ids) < known.sample_users:
            raise InputError(
                f"--dataset: {known.sample_users} users are to be drawn, but only {len(user_ids)} have usable rows; "
                "are the .inter and .item files whole?"
            )
        chosen = np.random.RandomState(SPLIT_SEED).choice(user_ids, known.sample_users, replace=False)
        rows = rows[rows.user.isin(chosen)]
    users, items = encode(rows.user, user_ids), encode(rows.item, item_ids)
    positives, negatives = core(users, items, rows.rating.to_numpy() >= 4)

    random = np.random.RandomState(SPLIT_SEED)
    part = np.zeros(len(positives), np.int8)  # 0 train, 1 validation, 2 test
    order = np.argsort(users[positives], kind="stable")  # users in id order, each one's rows in file order
    for own in np.split(order, np.flatnonzero(np.diff(users[positives][order])) + 1):
        shuffled = own[random.permutation(len(own))]
        n_test, n_validation = int(0.2 * len(own)), int(0.1 * len(own))
        part[shuffled[:n_test]] = 2
        part[shuffled[n_test : n_test + n_validation]] = 1
    # The parts list users in id order and each user's rows in file order.
    train, validation, test = (positives[order[part[order] == which]] for which in (0, 1, 2))
    if known and known.drop_cold_items:
        validation, test = (rows_[np.isin(items[rows_], items[train])] for rows_ in (validation, test))
    log(
        f"ratings: {read} read; {read - len(ratings)} given anew later, {len(ratings) - len(rows)} incomplete or not "
        f"drawn, {len(rows) - len(positives) - len(negatives)} of users or items with fewer than 5 positives; kept "
        f"{len(positives)} positives and {len(negatives)} negatives"
    )
    frame = rows[["user", "item", "token"]]
    return tuple(frame.iloc[p] for p in (np.concatenate((train, negatives)), validation, test))


def core(users, items, positive):
    """Row numbers (positives, negatives) that survive rules 2 and 3: the 5-core of the positives, and the negatives
    of its users and items.  (The published loop also counts all rows, of both signs, in each round.  A user or item
    with fewer than 5 rows has fewer than 5 positives too, so the outcome is the same.)"""
    rows, before = np.flatnonzero(positive), None
    while len(rows) != before:
        before = len(rows)
        for side in (items, users):
            rows = rows[np.bincount(side[rows], minlength=1)[side[rows]] >= 5]
    negatives = ~positive & np.isin(users, users[rows]) & np.isin(items, items[rows])
    return rows, np.flatnonzero(negatives)
