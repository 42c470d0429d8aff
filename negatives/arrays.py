"""Arrays that take long to fill, and settings.json, which says how far each is.

    Progress     settings.json of a folder: what it was made with, and what of it is finished
    fill         a mapped array, batch by batch: a kill costs a batch
    write_array  a small one at once
"""

import json
import time

import numpy as np
from tqdm import tqdm

from negatives.vectors import create
from utils import InputError, refuse_other_settings, write_atomically, write_json

ROWS_AT_ONCE = 4096  # of a mapped array
NOTE_SECONDS = 1  # between two notes of how far an array is


class Progress:
    def __init__(self, folder, settings):
        """settings: JSON values that the content depends on.  Raises InputError where the folder has others."""
        self.folder, self.path, self.settings, self.finished = folder, folder / "settings.json", settings, {}
        if not self.path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            self.write()
            return
        there = read_settings(self.path)
        refuse_other_settings(self.path, there, settings, "delete its folder to make it anew")
        self.finished = there.get("finished", {})

    def note(self, step, value=True):
        """Step: done, or done up to `value`."""
        self.finished[step] = value
        self.write()

    def write(self):
        write_json(self.path, self.settings | {"finished": self.finished})


def read_settings(path):
    """settings.json as a dict.  Raises InputError."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        raise InputError(f"{path}: is no JSON object; delete its folder to make it anew") from None


def fill(progress, name, shape, dtype, batches, words):
    """The array `name`.npy of the folder, with content[rows] for each (rows, make) of batches, make() -> content.

    batches: a list of (rows, make) that is the same at every start.  Those that an earlier start has finished are left
    as they are.  Returns the array, mapped.
    """
    path = progress.folder / f"{name}.npy"
    done = progress.finished.get(name, 0) if is_whole(path, shape, dtype) else 0
    array = create(path, shape, dtype)
    noted = time.monotonic()
    for number, (rows, make) in enumerate(tqdm(batches, initial=0, desc=words, unit="batch", disable=None), 1):
        if number <= done:
            continue
        array[rows] = make()
        if number == len(batches) or time.monotonic() - noted > NOTE_SECONDS:
            array.flush()
            progress.note(name, number)
            noted = time.monotonic()
    return array


def is_whole(path, shape, dtype):
    """Whether an array of this kind lies there, however much of it is filled."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return False
    return array.shape == tuple(shape) and array.dtype == dtype


def in_batches(order, size):
    """An array of places cut into batches."""
    return [order[first : first + size] for first in range(0, len(order), size)]


def unit_rows(vectors):
    """(n, D) of unit norm; a zero row stays one."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def mean_row(array):
    """Mean of the rows of a mapped array, (D,) float32, of which a block at a time is in memory."""
    total = np.zeros(array.shape[1])
    for first in range(0, len(array), ROWS_AT_ONCE):
        total += array[first : first + ROWS_AT_ONCE].astype(np.float64).sum(0)
    return (total / len(array)).astype(np.float32)


def write_array(path, array):
    """A small array at once: atomically."""
    def write(temporary):
        with open(temporary, "wb") as f:
            np.save(f, array, allow_pickle=False)

    write_atomically(path, write)
