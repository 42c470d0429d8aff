"""Stages: folders that are made once and never changed, named after all that they depend on.

    data/<name>/conrec/<stage>-<10 hex digits>/

The digits are those of the SHA-256 of made_from.json: the stage before, the settings that matter to this one, seed,
kind of device and version of its code.  Runs that begin alike share the folders of their beginning.  A folder is
finished once it has done.json, written last, with the SHA-256 of each file.  Deleting a folder is always safe.
"""

import hashlib
import json
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from machine import processes
from utils import InputError, is_first, locked, read_json, sha256, write_atomically, write_json

DONE, ORIGIN, LAST = "done.json", "made_from.json", "last.pt"


class Stage(NamedTuple):
    """A finished stage."""

    name: str
    folder: Path
    hash: str  # 64 hex digits: what the next stage names as its origin


class Stages:
    """Makes the stages of a run one after the other, and finds those that are made already."""

    def __init__(self, base, seed, device, log=print):
        """base: data/<name>/conrec.  device: torch's, of which the kind counts."""
        self.base, self.seed, self.device, self.log = Path(base), seed, device.type, log

    def make(self, name, after, settings, version, build):
        """The Stage `name` after another (or None): build(folder) fills the folder where it is not finished.

        settings: plain JSON values.  version: of the code that makes it.  A killed build finds what it left in the
        folder.  Of several processes the first alone looks, locks and finishes; all of them build.
        Raises InputError where the folder was changed after it was finished.
        """
        made_from = {"stage": name, "after": after.hash if after else None, "settings": settings}
        made_from |= {"seed": self.seed, "device": self.device, "version": version}
        digest = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()
        folder = self.base / f"{name}-{digest[:10]}"
        with locked(folder, self.log) if is_first() else nullcontext():
            if not processes.by_first(is_finished, folder):
                if is_first():
                    folder.mkdir(parents=True, exist_ok=True)
                    write_json(folder / ORIGIN, made_from)
                build(folder)
                processes.by_first(finish, folder)
                self.log(f"{name}: {folder}")
        return Stage(name, folder, digest)


def finish(folder):
    """Write done.json, for all files but hidden ones (temporary files, locks)."""
    hashes = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in name.parts)
        if path.is_file() and not hidden and path.name not in (DONE, LAST):
            hashes[name.as_posix()] = sha256(path)
    write_json(folder / DONE, hashes)
    (folder / LAST).unlink(missing_ok=True)


def is_finished(folder):
    """Raises InputError for a finished folder that is not as it was left."""
    if not (folder / DONE).exists():
        return False
    cure = f"delete {folder} to have it made anew"
    try:
        hashes = dict(read_json(folder / DONE))
    except (OSError, ValueError, TypeError):
        raise InputError(f"{folder}: its {DONE} cannot be read; {cure}") from None
    for name, digest in hashes.items():
        path = folder / name
        if not path.is_file():
            raise InputError(f"{path}: is gone, which a finished stage must have; {cure}")
        if sha256(path) != digest:
            raise InputError(f"{path}: was changed after the stage was finished; put it back, or {cure}")
    return True


COLUMNS = (  # of metrics.csv; a cell is empty where a stage has no such figure
    "stage", "step", "loss", "reward", "n", "p", "zero_std", "distinct", "kl", "entropy", "fhr@20", "frecall@20",
    "confirm", "seconds",
)  # fmt: skip


def write_rows(path, rows):
    table = pd.DataFrame(rows, columns=COLUMNS)
    write_atomically(path, lambda temporary: table.to_csv(temporary, index=False, lineterminator="\n"))


def read_rows(path):
    """The rows of a metrics.csv, cells as written."""
    return pd.read_csv(path, dtype=str, keep_default_na=False).to_dict("records")
