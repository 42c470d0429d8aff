"""Arrays that take long to fill, and settings.json, which says how far each is.

    Progress     settings.json of a folder: what it was made with, and what of it is finished
    fill         a mapped array, batch by batch: a kill costs a batch
    write_array  a small one at once
"""

import os
import time

import numpy as np
from tqdm import tqdm

from utils import InputError, named, read_json, refuse_other_settings, write_json, write_npz

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
    """settings.json or report.json as a dict.  Raises InputError."""
    try:
        return dict(read_json(path))
    except (OSError, ValueError, TypeError):
        raise InputError(f"{path}: is no JSON object; delete its folder to make it anew") from None


def fill(progress, name, shape, batches, make, words):
    """The float16 array `name`.npy of the folder, mapped, with make(rows) in the rows of each of the batches.

    batches: arrays of rows, the same at every start.  Those that an earlier start has finished are left as they are.
    """
    array, is_new = open_array(progress.folder / f"{name}.npy", shape)
    done = 0 if is_new else progress.finished.get(name, 0)
    noted = time.monotonic()
    for number, rows in enumerate(tqdm(batches, initial=0, desc=words, unit="batch", disable=None), 1):
        if number <= done:
            continue
        array[rows] = make(rows)
        if number == len(batches) or time.monotonic() - noted > NOTE_SECONDS:
            array.flush()
            progress.note(name, number)
            noted = time.monotonic()
    return array


def open_array(path, shape):
    """(float16 array mapped for writing, whether it is new): an array of this shape is left as it is.

    A new one is allocated whole, since writing to a mapped file on a full disk would kill the process.  Raises OSError
    there.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)  # r+ would lengthen a file that was cut short
        if array.shape == shape and array.dtype == np.float16:
            return np.load(path, mmap_mode="r+", allow_pickle=False), False
    except (OSError, ValueError, EOFError):
        pass  # not there, or cut short
    with named(path):
        array = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)
        if hasattr(os, "posix_fallocate"):  # not on macOS
            with open(path, "rb+") as f:
                os.posix_fallocate(f.fileno(), 0, path.stat().st_size)
    return array, True


def in_batches(order, size):
    """An array of places cut into batches."""
    return [order[first : first + size] for first in range(0, len(order), size)]


def mean_row(array):
    """Mean of the rows of a mapped array, (D,) float32, of which a block at a time is in memory."""
    total = np.zeros(array.shape[1])
    for first in range(0, len(array), ROWS_AT_ONCE):
        total += array[first : first + ROWS_AT_ONCE].astype(np.float64).sum(0)
    return (total / len(array)).astype(np.float32)


def write_array(path, array):
    write_npz(path, lambda file: np.save(file, array, allow_pickle=False))
