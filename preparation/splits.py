"""Preparation: from .inter/.item files to the three CSVs that everything else reads.

    prepare        .inter/.item -> train_original / validation / test CSV

How files are read: files.py.  The rules of the published splits: rules.py.  Titles: titles.py.  Which
data sets are known by name and where their files come from: sources.py, fetch.py.
"""

import os
from pathlib import Path

from preparation.fetch import fetch
from preparation.files import HALF_STARS, STARS, read_items, read_ratings
from preparation.rules import split, whole_stars
from preparation.sources import DATASETS
from preparation.titles import item_files
from utils import InputError, git_blob_id, read_json, sha256, write_json

PARTS = ("train_original", "validation", "test")
COLUMNS = ["user_id:token", "item_id:token", "rating:float"]  # as the ReFINe++ authors publish them
INTER_EXAMPLE = (
    "an .inter file's first line is user_id:token item_id:token rating:float, its second for "
    "example alice tt0083658 5, with a tab between two cells"
)
RULES_VERSION = 2  # raise it when preparation changes: splits made under other rules are made anew


def prepare(name, raw, folder, log=print, half_stars=None):
    """Make the three CSVs of `folder` from the .inter/.item in `raw`, unless they are there.

    CSVs without prepared.json beside them were put there by hand (the authors' published splits,
    say) and are used as they are.  With it, they are kept as long as they and the files they were
    made from are unchanged.

    half_stars: "up" or "down", how those of a user's own data set are rounded; None: refused.
    Returns what they are made from, as origin().
    """
    known = DATASETS.get(name)  # None for a user's own data set
    paths = [folder / f"{name}_{part}.csv" for part in PARTS]
    stamp = folder / "prepared.json"
    refuse_half_stars_of_known(name, half_stars)

    # Is there anything to do?
    if by_hand(name, folder):
        if half_stars:
            raise InputError(f"{of_no_use(half_stars)}; {folder}/{name}_*.csv are used as found")
        log(f"splits: {folder}/{name}_*.csv as found (not prepared here)")
        say_whether_published(name, folder, known, log)
        return origin(name, raw, folder)
    if known:
        fetch(name, raw, log)
    made_from = origin(name, raw, folder, half_stars)
    if is_up_to_date(paths, stamp, made_from):
        log(f"splits: {folder}/{name}_*.csv, prepared earlier from the same files")
        return made_from

    # Everything is worked out before anything is written.
    inter, item = raw_files(raw)
    tables = split_files(inter, item, known, half_stars, log)
    write_splits(tables, paths, stamp, made_from)
    log(f"splits: prepared {folder}/{name}_*.csv from {inter}")

    say_whether_published(name, folder, known, log)
    return made_from


def split_files(inter, item, known, half_stars, log):
    """The tables of the three CSVs.  Raises InputError where one of them would be empty."""
    sep = "," if inter.suffix == ".csv" else "\t"
    if known:  # the published splits are made in file order
        ratings = read_ratings(inter, sep, STARS)
        tables = split(ratings, read_items(item) if item else None, known, log)
    else:
        ratings = read_ratings(inter, sep, HALF_STARS if half_stars else STARS, timed=True)
        if half_stars:
            ratings = in_whole_stars(ratings, half_stars, inter)
        tables = split(ratings, None, None, log)
    if not all(map(len, tables)):
        raise InputError(
            f"{inter}: too few ratings of 4 and 5 to split: users and items with fewer than 5 are "
            "dropped, and validation needs a user with 10"
        )
    return tables


def of_no_use(half_stars):
    return f"--half_stars {half_stars}: has no use here, leave it out"


def refuse_half_stars_of_known(name, half_stars):
    """Raises InputError where --half_stars is given for a data set that is known by name."""
    if half_stars and name in DATASETS:
        raise InputError(f"{of_no_use(half_stars)}; {name} has whole stars")


def in_whole_stars(ratings, half_stars, inter):
    """Ratings with half stars rounded.  Raises InputError where there are none."""
    if not (ratings.rating % 1 == 0.5).any():
        raise InputError(f"--half_stars {half_stars}: {inter} holds no half stars; leave it out")
    return whole_stars(ratings, half_stars)


def by_hand(name, folder):
    """Whether the CSVs of `folder` are used as they are: all there, and not prepared here."""
    paths = [folder / f"{name}_{part}.csv" for part in PARTS]
    return not (folder / "prepared.json").exists() and were_put_there_by_hand(paths)


def origin(name, raw, folder, half_stars=None, digest=sha256):
    """What the CSVs of `folder` are made from, as long as nothing changes: files by their digest, and how.

    Of CSVs put there by hand only the titles beside them are known.
    """
    if by_hand(name, folder):
        return {path.name: digest(path) for path in item_files(raw)}
    made_from = fingerprint(name, raw, digest) | {"rules": RULES_VERSION}
    if half_stars:
        made_from["half_stars"] = half_stars
    return made_from


def were_put_there_by_hand(paths):
    """Whether CSVs without prepared.json are all there.  Raises InputError where only some are."""
    missing = [path for path in paths if not path.exists()]
    if 0 < len(missing) < len(paths):
        how = "add it, or delete those to prepare all anew"
        raise InputError(f"{missing[0]}: missing beside the other splits; {how}")
    return not missing


def is_up_to_date(paths, stamp, made_from):
    """Whether the CSVs are those that prepared.json (the stamp) says were made from made_from.

    Raises InputError for a CSV that was changed since: work done by hand is not to be overwritten.
    """
    if not stamp.exists() or not all(map(Path.exists, paths)):
        return False
    stamped = read_stamp(stamp)
    for path in paths:
        if sha256(path) != stamped["made"].get(path.name):
            raise InputError(
                f"{path}: was changed after it was prepared; delete it to prepare it anew, "
                f"or delete {stamp} to use it as it is"
            )
    return stamped["made_from"] == made_from


def read_stamp(stamp):
    """{"made_from", "made"} of a prepared.json; {} where there is none.  Raises InputError for one that is not ours."""
    if not stamp.exists():
        return {}
    try:
        stamped = dict(read_json(stamp))
        return {key: dict(stamped[key]) for key in ("made_from", "made")}
    except (ValueError, LookupError, TypeError):
        problem = "is not JSON of this program; delete it to use the splits beside it as they are"
        raise InputError(f"{stamp}: {problem}") from None


def write_splits(tables, paths, stamp, made_from):
    """Write the CSVs and prepared.json, so that a kill leaves files missing, but no mixture."""
    stamp.parent.mkdir(parents=True, exist_ok=True)
    style = {"index": False, "lineterminator": "\n", "encoding": "utf-8"}
    temporary, made = {}, {}
    for table, path in zip(tables, paths, strict=True):
        temporary[path] = path.with_name(f".{path.name}.tmp")
        table.to_csv(temporary[path], header=COLUMNS, **style)
        made[path.name] = sha256(temporary[path])
    # The old CSVs go before the new prepared.json comes, which would not belong to them.
    for path in paths:
        path.unlink(missing_ok=True)
    write_json(stamp, {"made_from": made_from, "made": made})
    for path in paths:
        os.replace(temporary[path], path)


def say_whether_published(name, folder, known, log):
    """The published CSVs are pinned by their git blob ids.  known: row of DATASETS, None for a user's own data."""
    if known is None:
        return
    for part, blob in known.splits.items():
        if git_blob_id(folder / f"{name}_{part}.csv") != blob:
            return log("splits: NOT the published ones (another source?)")
    log("splits: byte for byte the published ones")


def raw_files(raw):
    """(ratings, items or None): the .inter and .item of a folder, else ratings.csv and movies.csv.

    Raises InputError where there is no or more than one file of ratings, or more than one of items.
    """
    ratings = sorted(raw.glob("*.inter")) or sorted(raw.glob("ratings.csv"))
    items = item_files(raw)
    if len(ratings) != 1 or len(items) > 1:
        names = ", ".join(path.name for path in (*ratings, *items)) or "none"
        raise InputError(
            f"{raw}: expected one .inter file of ratings and at most one .item file of titles (or "
            f"GroupLens' ratings.csv and movies.csv), found {names}; {INTER_EXAMPLE}; GroupLens' "
            "u.data or ratings.dat goes into the folder of --dataset ML-100K or ML-1M"
        )
    return ratings[0], items[0] if items else None


def fingerprint(name, raw, digest=sha256):
    """SHA-256 of the raw files, the known ones checked against their pinned values."""
    found = {path.name: digest(path) for path in raw_files(raw) if path}
    pinned = DATASETS[name].files if name in DATASETS else {}
    for file, expected in pinned.items():
        if not expected:  # not known, or more than one version is in circulation
            continue
        if file not in found:  # a version of somebody's own, under another name
            continue
        if found[file] != expected:
            raise InputError(
                f"{raw / file}: SHA-256 is {found[file]}, expected {expected}; "
                "delete it to fetch it anew, or give the folder's path as --dataset "
                "to use your own version"
            )
    return found
