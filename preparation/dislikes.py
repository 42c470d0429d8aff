"""Dislikes held out: the published split, without some of the 1s and 2s of train.

    hold_out     the CSVs of data/<name>/ -> those of data/<name>/hold_out_dislikes/, and two of dislikes

The published test part holds 4s and 5s only, and every 1 and 2 is a train row, which no list shows.  So whether a model
recommends what people dislike cannot be seen there.  Here a fifth of each data set's 1s and 2s are test rows and a
tenth validation rows.  The likes are the same rows in every part.
"""

import hashlib
from pathlib import Path

import numpy as np

from preparation.files import CONFIRMED, LIKED, STARS, read_ratings
from preparation.splits import PARTS, is_up_to_date, write_splits
from utils import InputError, sha256

DISLIKES = ("validation_dislikes", "test_dislikes")
ALL_PARTS = (*PARTS, *DISLIKES)
MOST = 2  # stars of a dislike
DRAW = 2024  # another number draws other pairs
SHARE_OF_TEST, SHARE_OF_BOTH = 0.2, 0.3  # the rest stays in train
RULES_VERSION = 1  # raise it when what is held out changes


def parts_of(protocol):
    """The CSVs that a run reads and tests on, by part."""
    return ALL_PARTS if protocol else PARTS


def hold_out(name, folder, own, log=print):
    """Make the five CSVs of the folder `own` from the three in `folder`, unless they are there.

    They are kept as long as they and those that they were made from are unchanged.  Raises InputError where train holds
    no dislike for one of the parts.
    """
    paths = [own / f"{name}_{part}.csv" for part in ALL_PARTS]
    sources = [folder / f"{name}_{part}.csv" for part in PARTS]
    made_from = {path.name: sha256(path) for path in sources} | {"rules": RULES_VERSION}
    if not (own / "prepared.json").exists() and any(map(Path.exists, paths)):
        raise InputError(f"{own}: holds CSVs that were not made here (no prepared.json); move them to make them anew")
    if is_up_to_date(paths, own / "prepared.json", made_from):
        return log(f"dislikes: {own}/{name}_*.csv, held out earlier from the same files")

    train, validation, test = (read_ratings(path, ",", STARS) for path in sources)
    share = share_of(train)
    parts = [train[share >= SHARE_OF_BOTH], validation, test]
    parts += [train[(share >= SHARE_OF_TEST) & (share < SHARE_OF_BOTH)], train[share < SHARE_OF_TEST]]
    for part, table in zip(ALL_PARTS, parts, strict=True):
        if not len(table):
            few = f"only {(share < 2).sum()} ratings of 1 or 2"
            raise InputError(f"--hold_out dislikes: {sources[0]} holds {few}, which leave none for the {part} part")
    tables = [table[["user", "item", "token"]] for table in parts]
    write_splits(tables, paths, own / "prepared.json", made_from)
    log(
        f"dislikes: of {(share < 2).sum()} ratings of 1 or 2 in {sources[0]}, {len(tables[4])} are test and "
        f"{len(tables[3])} validation rows of {own}, and left train"
    )


def share_of(train):
    """Where each train row lies in the draw, (rows,): a number below 1 of a dislike, 2 of any other row.

    It depends on the pair alone, neither on the order of rows nor on other pairs: so the same are held out whoever made
    the CSVs.  Of a pair given twice the last row counts, and all its rows go the same way.
    """
    last = train.groupby(["user", "item"], observed=True).rating.transform("last")
    disliked = np.flatnonzero(last <= MOST)
    share = np.full(len(train), 2.0)
    users, items = train.user.astype(object).to_numpy(), train.item.astype(object).to_numpy()
    for row in disliked:
        share[row] = place_in_draw(users[row], items[row])
    return share


def place_in_draw(user, item):
    """A number in [0, 1) that a pair alone decides: the first 8 bytes of its SHA-256 as a fraction."""
    digest = hashlib.sha256(f"{DRAW}\t{user}\t{item}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def without_held_out(labels, name, own):
    """Somebody's refined ratings without the rows that are held out: a table user, item, token.

    labels: their CSV, about the pairs of the published train part.  Its makers have seen the dislikes that are held out
    here: such runs say so.
    """
    table = read_ratings(labels, ",", (CONFIRMED, *STARS, LIKED))
    held_out = set()
    for part in DISLIKES:
        rows = read_ratings(own / f"{name}_{part}.csv", ",", STARS)
        held_out.update(zip(rows.user, rows.item, strict=True))
    kept = [pair not in held_out for pair in zip(table.user, table.item, strict=True)]
    return table.loc[kept, ["user", "item", "token"]]
