"""Dislikes held out: the published split, without some of the 1s and 2s of train; or a split in time.

    hold_out             the CSVs of data/<name>/ -> those of data/<name>/hold_out_dislikes/, and two of dislikes
    hold_out_by_time     the raw files -> the same five in data/<name>/hold_out_dislikes_time/

The published test part holds 4s and 5s only, and every 1 and 2 is a train row, which no list shows.  So whether a model
recommends what people dislike cannot be seen there.  Here a fifth of each data set's 1s and 2s are test rows and a
tenth validation rows.  The likes are the same rows in every part.
"""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd

from preparation import splits
from preparation.files import CONFIRMED, LIKED, STARS, encode, read_items, read_ratings, require_timestamps, sort_ids
from preparation.rules import TEST, TRAIN, VALIDATION, cut_in_time, is_complete, newest, of_drawn_users
from preparation.sources import DATASETS
from preparation.splits import NOTHING_SAID, PARTS, atomic_files, brought, paths_of
from preparation.stamp import is_up_to_date
from utils import InputError, sha256

DISLIKES = ("validation_dislikes", "test_dislikes")
ALL_PARTS = (*PARTS, *DISLIKES)
HELD_OUT = ("validation", "test", *DISLIKES)
MOST = 2  # stars of a dislike
DRAW = 2024  # another number draws other pairs
SHARE_OF_TEST, SHARE_OF_BOTH = 0.2, 0.3  # the rest stays in train
RULES_VERSION = 1  # raise it when what is held out changes


def parts_of(protocol):
    """The CSVs that a run reads and tests on, by part."""
    return ALL_PARTS if protocol else PARTS


def tested_on(hashes):
    """Those of {part: SHA-256} that a run is tested on, which tell a protocol from another."""
    return {part: hashes[part] for part in HELD_OUT if part in hashes}


def hold_out(name, folder, own, log=print):
    """Make the five CSVs of the folder `own` from the three in `folder`, unless they are there.

    Raises InputError where train holds no dislike for one of the parts.
    """
    sources = paths_of(name, folder, PARTS)
    made_from = {path.name: sha256(path) for path in sources} | {"rules": RULES_VERSION}
    if are_there(name, own, made_from):
        return log(f"dislikes: {own}/{name}_*.csv, held out earlier from the same files")

    train, validation, test = (read_ratings(path, ",", STARS) for path in sources)
    share = share_of(train)
    is_test = share < SHARE_OF_TEST
    is_validation = ~is_test & (share < SHARE_OF_BOTH)
    parts = [train[~is_test & ~is_validation], validation, test, train[is_validation], train[is_test]]
    dislikes = f"{(share < 2).sum()} ratings of 1 or 2"
    write_parts(name, own, parts, made_from, f"{sources[0]} holds {dislikes}")
    log(
        f"dislikes: of {dislikes} in {sources[0]}, {is_test.sum()} are test and "
        f"{is_validation.sum()} validation rows of {own}, and left train"
    )


def are_there(name, own, made_from):
    """Whether the five CSVs lie in the folder and were made of these files; foreign ones are refused."""
    paths, stamp = paths_of(name, own, ALL_PARTS), own / "prepared.json"
    if not stamp.exists() and any(map(Path.exists, paths)):
        raise InputError(f"{own}: holds CSVs that were not made here (no prepared.json); move them to make them anew")
    return is_up_to_date(paths, stamp, made_from)


def write_parts(name, own, parts, made_from, what_there_is):
    """Write the five tables.  Raises InputError where one of them would be empty."""
    for part, table in zip(ALL_PARTS, parts, strict=True):
        if not len(table):
            raise InputError(f"--hold_out dislikes: {what_there_is}, which leave none for the {part} part")
    splits.write(parts, paths_of(name, own, ALL_PARTS), made_from)


def hold_out_by_time(name, raw, own, log=print, reading=NOTHING_SAID):
    """Make the five CSVs of the folder `own`, in that of the data set, from the raw files: of each user's ratings the
    first 60 % are train, the next 20 % validation and the last 20 % test.  Returns what they are made from.

    In validation and test 4s and 5s are likes, 1s and 2s dislikes, and 3s nothing.  There are no cores.  This is also
    where CoNRec cuts (conrec/data/events.py).  Raises InputError for ratings without timestamps.
    """
    known = DATASETS.get(name)
    with brought(name, raw, own.parent, reading, log) as atomic:
        made_from = atomic.files | {"rules": RULES_VERSION} | reading
        if are_there(name, own, made_from):
            log(f"dislikes: {own}/{name}_*.csv, cut earlier from the same files")
            return made_from

        (inter, item), rated = atomic_files(atomic.folder), atomic.rated
        ratings = read_ratings(inter, "\t", STARS, timed=True)
        require_timestamps(ratings, rated, "leave out --split time, and a random part is held out")
        latest = newest(ratings)
        rows = latest[is_complete(latest, None)]
        if known and known.sample_users:
            rows = of_drawn_users(rows, latest, read_items(item), known)

        # a user's rows in order of time, then item
        users, items = encode(rows.user, sort_ids(rows.user.unique())), encode(rows.item, sort_ids(rows.item.unique()))
        order = np.lexsort((items, rows.timestamp.to_numpy(), users))
        _, _, part = cut_in_time(users[order])
        train, validation, test = (rows.iloc[order[part == number]] for number in (TRAIN, VALIDATION, TEST))
        parts = [
            train,
            validation[validation.rating >= 4],
            test[test.rating >= 4],
            validation[validation.rating <= MOST],
            test[test.rating <= MOST],
        ]
        write_parts(name, own, parts, made_from, f"{rated} has {len(rows)} ratings")
        counts = ", ".join(map(str, map(len, parts)))
        log(f"dislikes: {rated} cut in time; train, likes (validation, test), dislikes: {counts}")
        return made_from


def share_of(train):
    """Where each train row lies in the draw, (rows,): a number below 1 of a dislike, 2 of any other row.

    It depends on the pair alone, neither on the order of rows nor on other pairs: so the same are held out whoever made
    the CSVs.  Of a pair given twice the last row counts, and all its rows go the same way.
    """
    last = train.groupby(["user", "item"], observed=True).rating.transform("last")
    share = np.full(len(train), 2.0)
    disliked = train[last <= MOST]
    for row, user, item in zip(np.flatnonzero(last <= MOST), disliked.user, disliked.item, strict=True):
        share[row] = place_in_draw(user, item)
    return share


def place_in_draw(user, item):
    """A number in [0, 1) that a pair alone decides: 8 bytes of its SHA-256 as a fraction."""
    digest = hashlib.sha256(f"{DRAW}\t{user}\t{item}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def without_held_out(labels, name, own):
    """Somebody's refined ratings without the rows that are held out: a table user, item, token.

    labels: their CSV, about the pairs of the published train part.  Its makers have seen what is held out here.
    """
    table = read_ratings(labels, ",", (CONFIRMED, *STARS, LIKED))[["user", "item", "token"]]
    pairs = pd.MultiIndex.from_frame(table[["user", "item"]].astype(str))
    for part in DISLIKES:
        rows = read_ratings(own / f"{name}_{part}.csv", ",", STARS)[["user", "item"]].astype(str)
        held_out = pairs.isin(pd.MultiIndex.from_frame(rows))
        table, pairs = table[~held_out], pairs[~held_out]
    return table
