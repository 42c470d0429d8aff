"""Preparation: the first stage, from .inter/.item files to the three CSVs that everything else reads.

    locate        --dataset -> name, folder of the raw files, folder of the CSVs
    prepare       .inter/.item -> train_original / validation / test CSV  (the rules of the published splits: split.py)
    item_table    .item -> title, year and genre of each item

How files are read: files.py.  Which data sets are known by name and where their files come from: sources.py.
"""

import json
import os
from pathlib import Path

import pandas as pd

from atomic_files.files import STARS, read_items, read_ratings
from atomic_files.sources import DATASETS, fetch
from atomic_files.split import split
from utils import InputError, git_blob_id, sha256, write_json

COLUMNS = ["user_id:token", "item_id:token", "rating:float"]  # of the CSVs, as the ReFINe++ authors publish them
RULES_VERSION = 1  # raise it when preparation changes: splits made under other rules are made anew


def locate(dataset, data_dir):
    """--dataset -> (name, folder of the .inter/.item files, folder of the CSVs).

    Known names win over paths.  A path counts as the known data set only where it is that one's own folder.
    """
    path = Path(dataset)
    if dataset in DATASETS or (path.name in DATASETS and path.resolve() == (data_dir / path.name).resolve()):
        return path.name, data_dir / path.name, data_dir / path.name
    if not path.is_dir():
        close = [name for name in DATASETS if name.lower().replace("-", "") == dataset.lower().replace("-", "")]
        hint = f"; did you mean {close[0]}?" if close else ""
        raise InputError(f"--dataset {dataset}: is neither one of {', '.join(DATASETS)} nor a folder{hint}")
    name = path.resolve().name
    name += "-own" if name in DATASETS else ""
    return name, Path(dataset), data_dir / name


def prepare(name, raw, folder, log=print):
    """Make the three CSVs of `folder` from the .inter/.item in `raw`, unless they are there already.

    CSVs without prepared.json beside them were put there by hand (the authors' published splits, say) and are
    used as they are.  With it, they are kept as long as they and the files they were made from are unchanged.
    """
    paths = [folder / f"{name}_{part}.csv" for part in ("train_original", "validation", "test")]
    stamp = folder / "prepared.json"
    there = [path.exists() for path in paths]
    if all(there) and not stamp.exists():
        return log(f"splits: {folder}/{name}_*.csv as found (not prepared here)")
    if any(there) and not all(there) and not stamp.exists():
        missing = paths[there.index(False)]
        raise InputError(f"{missing}: missing beside the other splits; add it, or delete those to prepare all anew")
    if name in DATASETS:
        fetch(name, raw, log)
    made_from = fingerprint(name, raw) | {"rules": RULES_VERSION}
    if stamp.exists() and all(there):
        try:
            known = json.loads(stamp.read_text())
        except ValueError:
            raise InputError(f"{stamp}: is not JSON; delete it to use the splits beside it as they are") from None
        changed = [path for path in paths if sha256(path) != known["made"].get(path.name)]
        if changed:
            raise InputError(
                f"{changed[0]}: was changed after it was prepared; delete it to prepare it anew, or delete {stamp} "
                "to use it as it is"
            )
        if known["made_from"] == made_from:
            return log(f"splits: {folder}/{name}_*.csv, prepared earlier from the same files")
    inter, item = raw_files(raw)
    ratings = read_ratings(inter, "\t", STARS)
    tables = split(ratings, read_items(item) if item else None, DATASETS.get(name), log)
    if not all(len(table) for table in tables):
        raise InputError(
            f"{inter}: too few ratings of 4 and 5 to split: users and items with fewer than 5 are dropped, and "
            "validation needs a user with 10"
        )
    folder.mkdir(parents=True, exist_ok=True)
    temporary = [path.with_name(f".{path.name}.tmp") for path in paths]
    for table, path in zip(tables, temporary, strict=True):
        table.to_csv(path, index=False, header=COLUMNS, lineterminator="\n", encoding="utf-8")
    made = {path.name: sha256(t) for path, t in zip(paths, temporary, strict=True)}
    for path in paths:  # a kill from here on leaves files missing, never a mixture that looks whole
        path.unlink(missing_ok=True)
    write_json(stamp, {"made_from": made_from, "made": made})
    for path, t in zip(paths, temporary, strict=True):
        os.replace(t, path)
    log(f"splits: prepared {folder}/{name}_*.csv from {inter}")
    published = DATASETS[name].splits if name in DATASETS else {}
    if published:
        same = all(git_blob_id(folder / f"{name}_{part}.csv") == blob for part, blob in published.items())
        log("splits: byte for byte the published ones" if same else "splits: NOT the published ones (another source?)")


def raw_files(raw):
    """(.inter, .item or None) of a folder that holds one of each."""
    found = {suffix: sorted(raw.glob(f"*{suffix}")) for suffix in (".inter", ".item")}
    if len(found[".inter"]) != 1 or len(found[".item"]) > 1:
        names = ", ".join(path.name for paths in found.values() for path in paths) or "none"
        raise InputError(f"{raw}: expected one .inter and at most one .item file, found {names}")
    return found[".inter"][0], next(iter(found[".item"]), None)


def fingerprint(name, raw):
    """SHA-256 of the raw files, the known ones checked against their pinned values."""
    made = {path.name: sha256(path) for path in raw_files(raw) if path}
    for file, expected in DATASETS[name].files.items() if name in DATASETS else ():
        if expected and made.get(file, expected) != expected:
            raise InputError(
                f"{raw / file}: SHA-256 is {made[file]}, expected {expected}; delete it to fetch it anew, "
                "or give the folder's path as --dataset to use your own version"
            )
    return made


def item_table(raw):
    """The folder's .item file as strings, indexed by item id: title, year, genre ("" where it has none).  Empty when
    there is no such file."""
    files = sorted(raw.glob("*.item"))
    table = read_items(files[0]).astype(str) if files else pd.DataFrame(columns=["item"], dtype=str)
    table = table.drop_duplicates("item", keep="last").set_index("item")
    return table.reindex(columns=["title", "year", "genre"], fill_value="")
