"""The vectors of hard negatives: the files they lie in, and what training sees of them.

    read             a finished folder -> HardNegatives
    HardNegatives    the vector of each train positive

A finished folder holds

    settings.json    what it was made with; "source" is one of SOURCES
    ids.json         {"users": [...], "items": [...]}: tokens in number order, so that a folder can be used elsewhere
    pairs.npy        int32 (P, 2)      user and item number
    vectors.npy      float16 (P, D)    of unit norm; zeros where the status is NONE
    items.npy        float16 (I, D)    item documents, of unit norm
    status.npy       uint8 (P,)        place in STATUS
    report.json      written last

Nothing here knows a language model.  P pairs, E positive train edges, I items, D width of the vectors.
"""

import math

import numpy as np
import pandas as pd
import torch

from machine.hardware import available_memory
from utils import InputError, read_json

SOURCES = {  # --hard: the source of the folder it reads
    "tuned": "tuned", "untuned": "untuned", "text": "text",
    "shuffled": "tuned", "noise_gauss": "gauss", "noise_const": "gauss",
}  # fmt: skip
STATUS = ("kept", "no vector", "a train positive", "nearly a train positive", "scores above the positive")
KEPT, NONE, POSITIVE, DUPLICATE, OUTSCORED = range(len(STATUS))  # in the order in which they are tried
BLOCK = 2**24  # entries of an array that are checked at once
ANEW = "delete the folder to make it anew"


class HardNegatives:
    """The vector of each train positive, as training sees it.

    width        D
    rows         (E,) int64 on the host: the vector of each edge of data.edges("positive"), -1 for none
    kept         (E,) bool on the device: has a vector, which passed the filter
    vectors      (P, D) float16, mapped; a tensor on the card where it takes less than a quarter of the free memory
    documents    (I, D) float16 on the device by item number
    constant     noise_const: one normal number in all places of a vector, drawn anew in every fetch
    """

    def __init__(self, rows, kept, vectors, documents, device, constant=False):
        """rows, kept: numpy (E,).  vectors, documents: numpy (P, D), (I, D)."""
        self.width = vectors.shape[1]
        self.device, self.constant = torch.device(device), constant
        self.rows = rows
        self.kept = torch.from_numpy(kept).to(device)
        self.has_vector = torch.from_numpy(rows >= 0).to(device)
        self.vectors = vectors
        self.rows_on_device = None
        if self.device.type == "cuda" and vectors.nbytes < available_memory(self.device) / 4:
            self.vectors = torch.from_numpy(np.array(vectors)).to(device)
            self.rows_on_device = torch.from_numpy(rows).to(device)
        self.documents = torch.from_numpy(documents).to(device)

    def fetch(self, edges):
        """Vectors (B, D) float32 of these edges, times sqrt(D): entries of the scale of noise of variance 1.

        edges: (B,) int64 tensor of places in data.edges("positive").  Zeros where there is no vector.
        """
        if self.constant:
            number = torch.randn(len(edges), 1, device=self.device)
            return (number * self.has_vector[edges, None]).expand(-1, self.width)
        scale = math.sqrt(self.width)
        if self.rows_on_device is not None:
            rows = self.rows_on_device[edges]  # (B,)
            found = self.vectors[rows.clamp(min=0)].float()  # (B, D)
            return found * (scale * (rows >= 0)[:, None])
        found = torch.from_numpy(read_sorted(self.vectors, self.rows[edges.cpu().numpy()]))  # (B, D)
        return found.to(self.device).float() * scale


def read_sorted(vectors, rows):
    """vectors[rows], (B, D), zeros where the row is -1.  The file is read from front to back."""
    order = np.argsort(rows, kind="stable")
    order = order[np.searchsorted(rows[order], 0) :]  # without those of -1
    found = np.zeros((len(rows), vectors.shape[1]), vectors.dtype)
    found[order] = vectors[rows[order]]
    return found


def read(folder, data, source, seed, device):
    """A finished folder -> HardNegatives of the users and items of `data`, found by token.

    source: the --hard that asks.  shuffled: vectors are exchanged by `seed` among the kept pairs, and among the
    rejected ones.  Raises InputError, naming the file, for a folder that is not finished, of another source or of
    other ratings, and for arrays that are not whole, finite and of unit norm.
    """
    check_settings(folder, source)
    users, items = number_tokens(folder, data)
    pairs = load_array(folder / "pairs.npy", np.int32, (None, 2))
    vectors = load_array(folder / "vectors.npy", np.float16, (len(pairs), None))
    status = np.asarray(load_array(folder / "status.npy", np.uint8, (len(pairs),)))
    if status.max() >= len(STATUS):
        raise InputError(f"{folder}/status.npy: holds the code {status.max()}, known are 0 to {len(STATUS) - 1}")
    check_norms(folder / "vectors.npy", vectors, status != NONE)

    rows = find_rows(folder, data, users, items, pairs, status)
    if not (rows >= 0).any():
        raise InputError(f"{folder}/pairs.npy: no pair has a vector, so there is nothing to learn from")
    kept = (rows >= 0) & (status[rows] == KEPT)
    if source == "shuffled":
        rows = shuffle(rows, kept, seed)
    documents = read_documents(folder, data, items, vectors.shape[1])
    return HardNegatives(rows, kept, vectors, documents, device, source == "noise_const")


def check_settings(folder, source):
    """Raises InputError where the folder is not finished or holds another source than --hard asks for."""
    path = folder / "settings.json"
    try:
        made_of = dict(read_json(path))["source"]
    except FileNotFoundError:
        raise InputError(f"{folder}: holds no hard negatives (no settings.json); leave out --hn_folder") from None
    except (ValueError, LookupError, TypeError):
        raise InputError(f"{path}: is not JSON with a source; {ANEW}") from None
    if made_of != SOURCES[source]:
        raise InputError(f"{folder}: holds vectors of source {made_of}, --hard {source} needs {SOURCES[source]}")
    if not (folder / "report.json").exists():
        raise InputError(f"{folder}: is not finished (no report.json); run without --hn_folder where it was begun")


def number_tokens(folder, data):
    """Numbers in `data` of the folder's users and items, two int arrays; -1 for one that is not in `data`."""
    path = folder / "ids.json"
    try:
        ids = read_json(path)
        sides = ids["users"], ids["items"]
        assert all(isinstance(token, str) for token in [*sides[0], *sides[1]])
    except (OSError, ValueError, LookupError, TypeError, AssertionError):
        raise InputError(f"{path}: is not JSON of users and items; {ANEW}") from None
    known = data.user_ids, data.item_ids
    return [pd.Index(own).astype(str).get_indexer(side) for own, side in zip(known, sides, strict=True)]


def load_array(path, dtype, shape):
    """The array at `path`, mapped.  shape: with None for a length that may be any.  Raises InputError."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"{path}: missing; {ANEW}") from None
    except (ValueError, EOFError) as error:  # cut short, pickled objects, no array at all
        raise InputError(f"{path}: is no whole array of numbers ({str(error)[:60]}); {ANEW}") from None
    lengths = zip(array.shape, shape, strict=False)
    fits = array.ndim == len(shape) and all(wanted in (None, length) for length, wanted in lengths)
    if array.dtype != dtype or not fits or 0 in array.shape:
        wanted = " x ".join("any" if length is None else str(length) for length in shape)
        found = " x ".join(map(str, array.shape))
        raise InputError(f"{path}: holds {array.dtype} {found}, expected {np.dtype(dtype)} {wanted}; {ANEW}")
    return array


def check_norms(path, vectors, expected):
    """Raises InputError for a row that is not finite and of unit norm where expected (P,) says that it is."""
    at_once = max(1, BLOCK // vectors.shape[1])
    for first in range(0, len(vectors), at_once):
        block = np.asarray(vectors[first : first + at_once], np.float32)
        norm = np.sqrt(np.einsum("pd,pd->p", block, block))  # (block,)
        wrong = expected[first : first + at_once] & ~(np.abs(norm - 1) < 0.01)
        if wrong.any():
            row = wrong.argmax()
            raise InputError(f"{path}, row {first + row}: has norm {norm[row]:g}, expected 1; {ANEW}")


def find_rows(folder, data, users, items, pairs, status):
    """(E,) row in `pairs` of each positive train edge, -1 where there is none or none has a vector."""
    path = folder / "pairs.npy"
    unknown = ((pairs < 0) | (pairs >= [len(users), len(items)])).any(1)  # (P,)
    if unknown.any():
        raise InputError(f"{path}, row {unknown.argmax()}: names a user or item that ids.json lacks; delete the folder")
    user, item = users[pairs[:, 0]], items[pairs[:, 1]]  # (P,) numbers in data
    edges = data.edges("positive")
    edge = pd.Index(edges.users * data.n_items + edges.items)  # (E,)
    place = edge.get_indexer(np.where((user >= 0) & (item >= 0), user * data.n_items + item, -1))  # (P,)
    if (place < 0).any():
        row = (place < 0).argmax()
        raise InputError(f"{path}, row {row}: is no train positive here; the folder was made from other ratings")
    rows = np.full(len(edge), -1)
    has_vector = status != NONE
    rows[place[has_vector]] = np.flatnonzero(has_vector)
    return rows


def shuffle(rows, kept, seed):
    """rows (E,) with the vectors exchanged among the kept edges, and among the others that have one."""
    shuffled = rows.copy()
    for n, group in enumerate((kept, ~kept & (rows >= 0))):
        generator = np.random.default_rng([seed, n])
        shuffled[group] = generator.permutation(rows[group])
    return shuffled


def read_documents(folder, data, items, width):
    """(I, D) item documents in the order of the data.  items: see number_tokens."""
    documents = load_array(folder / "items.npy", np.float16, (len(items), width))
    check_norms(folder / "items.npy", documents, np.ones(len(documents), bool))
    row = np.full(data.n_items, -1)
    row[items[items >= 0]] = np.flatnonzero(items >= 0)
    if row.min() < 0:
        lacking = data.item_ids[row.argmin()]
        raise InputError(f"{folder}/ids.json: lacks item {lacking}; the folder was made from other ratings")
    return documents[row]
