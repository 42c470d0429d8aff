"""Preparation: from raw files to the three CSVs that everything else reads.

    brought        raw files -> the folder with their .inter and .item
    prepare        .inter/.item -> train_original / validation / test CSV

How files of one's own are understood: own.py.  The rules of the published splits: rules.py.  Titles: titles.py.  Which
data sets are known by name and where their files come from: sources.py, fetch.py.
"""

import os
from contextlib import contextmanager

from preparation.fetch import fetch
from preparation.files import STARS, read_items, read_ratings
from preparation.own import Atomic, files_of, taken_in, understand
from preparation.rules import split
from preparation.sources import DATASETS
from preparation.stamp import is_up_to_date
from preparation.titles import item_files, visible
from utils import InputError, git_blob_id, sha256, write_json

PARTS = ("train_original", "validation", "test")
COLUMNS = ["user_id:token", "item_id:token", "rating:float"]  # as the ReFINe++ authors publish them
NOTHING_SAID = {}  # --columns and --scale as given: none
RULES_VERSION = 2  # raise it when preparation changes: splits made under other rules are made anew


def prepare(name, raw, folder, log=print, reading=NOTHING_SAID):
    """Make the three CSVs of `folder` from the ratings in `raw`, unless they are there.

    CSVs without prepared.json beside them were put there by hand (the authors' published splits,
    say) and are used as they are.  With it, they are kept as long as they and the files they were
    made from are unchanged.

    raw: of locate.  reading: {flag: value} of how files of one's own are understood (own.py).
    Returns what they are made from, as origin().
    """
    known = DATASETS.get(name)  # None for a user's own data set
    paths = paths_of(name, folder, PARTS)
    if by_hand(name, folder):
        refuse_reading(reading, f"{folder}/{name}_*.csv are used as found")
        log(f"splits: {folder}/{name}_*.csv as found (not prepared here)")
        say_whether_published(name, folder, log)
        bring_titles(name, raw, folder, log)
        return origin(name, raw, folder)
    with brought(name, raw, folder, reading, log) as atomic:
        made_from = atomic.files | {"rules": RULES_VERSION} | reading
        if is_up_to_date(paths, folder / "prepared.json", made_from):
            log(f"splits: {folder}/{name}_*.csv, prepared earlier from the same files")
            return made_from

        # Everything is worked out before anything is written.
        inter, item = atomic_files(atomic.folder)
        ratings = read_ratings(inter, "\t", STARS, timed=not known)  # the published splits are made in file order
        tables = split(ratings, read_items(item) if known and item else None, known, log)
        if not all(map(len, tables)):
            raise InputError(
                f"{atomic.rated}: too few ratings of 4 and 5 to split: users and items with fewer than 5 are "
                "dropped, and validation needs a user with 10"
            )
        write(tables, paths, made_from)
        log(f"splits: prepared {folder}/{name}_*.csv from {atomic.rated}")
    say_whether_published(name, folder, log)
    return made_from


def paths_of(name, folder, parts):
    """The CSVs of these parts."""
    return [folder / f"{name}_{part}.csv" for part in parts]


@contextmanager
def brought(name, raw, folder, reading, log=print):
    """The Atomic that everything is made of: fetched, or taken in from one's own files."""
    if name in DATASETS:
        refuse_reading(reading, f"{name} has whole stars and columns of its own")
        fetch(name, raw, log)
        yield Atomic(raw, fingerprint(name, raw), atomic_files(raw)[0])
    else:
        with taken_in(name, raw, folder, reading, log) as atomic:
            yield atomic


def bring_titles(name, raw, folder, log):
    """The item file beside CSVs that were put there by hand, where there is or can be had one."""
    if name not in DATASETS:
        with taken_in(name, raw, folder, NOTHING_SAID, log, needs_ratings=False):
            return
    if not item_files(raw):
        try:
            fetch(name, raw, log, only=".item")
        except InputError as error:
            log(f"titles: none are there, and none could be fetched ({error})")


def refuse_reading(reading, why):
    """Raises InputError where --columns or --scale is given."""
    for flag, value in reading.items():
        raise InputError(f"--{flag} {value}: has no use here, leave it out; {why}")


def by_hand(name, folder):
    """Whether the CSVs of `folder` are used as they are: all there, and not prepared here."""
    if (folder / "prepared.json").exists():
        return False
    paths = paths_of(name, folder, PARTS)
    missing = [path for path in paths if not path.exists()]
    if 0 < len(missing) < len(paths):
        how = "add it, or delete those to prepare all anew"
        raise InputError(f"{missing[0]}: missing beside the other splits; {how}")
    return not missing


def origin(name, raw, folder, reading=NOTHING_SAID, digest=sha256):
    """What the CSVs of `folder` are made from: files by their digest, and how.

    Of CSVs put there by hand only the titles beside them are known.
    """
    if not by_hand(name, folder):
        return fingerprint(name, raw, reading, digest) | {"rules": RULES_VERSION} | reading
    if name in DATASETS:
        return {path.name: digest(path) for path in item_files(raw)}
    return files_of(understand(raw, reading, needs_ratings=False)._replace(ratings=None), digest)


def write(tables, paths, made_from):
    """Write the CSVs and prepared.json, so that a kill leaves files missing, but no mixture."""
    stamp = paths[0].parent / "prepared.json"
    stamp.parent.mkdir(parents=True, exist_ok=True)
    temporary, made = {}, {}
    for table, path in zip(tables, paths, strict=True):
        temporary[path] = path.with_name(f".{path.name}.tmp")
        rows = table[["user", "item", "token"]]
        rows.to_csv(temporary[path], header=COLUMNS, index=False, lineterminator="\n", encoding="utf-8")
        made[path.name] = sha256(temporary[path])
    # The old CSVs go before the new prepared.json comes, which would not belong to them.
    for path in paths:
        path.unlink(missing_ok=True)
    write_json(stamp, {"made_from": made_from, "made": made})
    for path in paths:
        os.replace(temporary[path], path)


def say_whether_published(name, folder, log):
    """The published CSVs are pinned by their git blob ids."""
    if name not in DATASETS:
        return
    for part, blob in DATASETS[name].splits.items():
        if git_blob_id(folder / f"{name}_{part}.csv") != blob:
            return log("splits: NOT the published ones (another source?)")
    log("splits: byte for byte the published ones")


def atomic_files(folder):
    """(the .inter, the .item or None) of a folder.  Raises InputError where they are not one each."""
    ratings, items = visible(folder.glob("*.inter")), item_files(folder)
    if len(ratings) != 1 or len(items) > 1:
        names = ", ".join(path.name for path in (*ratings, *items)) or "none"
        raise InputError(
            f"{folder}: expected one .inter file of ratings and at most one .item file of titles, found {names}"
        )
    return ratings[0], items[0] if items else None


def fingerprint(name, raw, reading=NOTHING_SAID, digest=sha256):
    """Digests of the raw files, the known ones checked against their pinned SHA-256."""
    if name not in DATASETS:
        return files_of(understand(raw, reading), digest)
    found = {path.name: digest(path) for path in atomic_files(raw) if path}
    for file, expected in DATASETS[name].files.items():  # None: more than one version is in circulation
        if expected and found.get(file, expected) != expected:  # under another name it is somebody's own version
            raise InputError(
                f"{raw / file}: SHA-256 is {found[file]}, expected {expected}; delete it to fetch it anew, or give the "
                "folder's path as --dataset to use your own version"
            )
    return found
