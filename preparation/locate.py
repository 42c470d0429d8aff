"""Which data set is meant, and which folders are its own.  Takes no time to import.

    data/ML-100K/                     the raw files, and the published split
    data/ML-100K/hold_out_dislikes/   the same split with dislikes held out, too (preparation/dislikes.py)
"""

from pathlib import Path

from preparation.sources import DATASETS
from utils import InputError, git_blob_id


def locate(dataset, data_dir):
    """--dataset -> (name, folder or file with the raw data, folder of the CSVs).

    Known names win over paths.  A file "reviews.csv" in a folder "shop" is called "shop-reviews".
    """
    path = Path(dataset)
    is_its_own = path.name in DATASETS and path.resolve() == (data_dir / path.name).resolve()
    if dataset in DATASETS or is_its_own:
        folder = data_dir / path.name
        return path.name, folder, folder
    if not path.exists():
        hint = ""
        for known in DATASETS:  # that differs in case or hyphens only
            if known.lower().replace("-", "") == dataset.lower().replace("-", ""):
                hint = f"; did you mean {known}?"
        raise InputError(f"--dataset {dataset}: is neither one of {', '.join(DATASETS)} nor a folder or file{hint}")
    name = path.resolve().name
    if not path.is_dir():
        name = f"{path.resolve().parent.name}-{name.split('.')[0]}"
    if name in DATASETS:
        name += "-own"  # the known data set's CSVs are not to be replaced by these
    return name, path, data_dir / name


def protocol_of(settings):
    """The name of what a run holds out and how, "" for the published split.  settings: {flag: value}, of RunSettings or
    of a config.json."""
    if not settings.get("hold_out"):
        return ""
    in_time = "_time" if settings.get("split") == "time" else ""
    return f"hold_out_{settings['hold_out']}{in_time}"


def folder_of_atomic(raw, folder):
    """The folder of the .inter and .item: what own.taken_in makes of own files, else the raw one."""
    made = folder / "atomic"
    return made if made.is_dir() else raw


def folder_of_splits(folder, protocol):
    """The folder of the CSVs that a run reads.  folder: of the data set."""
    return folder / protocol if protocol else folder


def folder_of_found(labels):
    """The name of the folder below feedback/ for what a protocol leaves of somebody's labels."""
    return f"found-{git_blob_id(labels)[:8]}"
