"""From the CSVs of a data set to what training needs.

    load                 CSVs -> TrainData: users and items numbered, train edges, what to rank, what to mask
    TrainData.batches    one epoch of shuffled mini-batches

Knows nothing of models.  How the CSVs are made: preparation/splits.py.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from machine import processes
from machine.hardware import upload
from preparation.dislikes import DISLIKES
from preparation.files import CONFIRMED, LIKED, STARS, encode, read_ratings, sort_ids
from preparation.rules import identified
from utils import InputError


def load(folder, name, train_csv, device, dislikes=False):
    """The CSVs of a folder of splits -> TrainData.

    train_csv: the train file to use, refined or not.  Users and items are those of its positives (rating >= 4) and
    confirmed negatives (<= 1), numbered in sorted id order.  Rows of the other files that name somebody else cannot be
    ranked and are left out (the log's counts show it).  dislikes: whether the folder holds those of validation and
    test, too.
    """
    # read
    train_csv = Path(train_csv)
    refined = train_csv != folder / f"{name}_train_original.csv"
    tables = {
        "train": read_csv(train_csv, (CONFIRMED, *STARS, LIKED) if refined else STARS),
        "validation": read_csv(folder / f"{name}_validation.csv", (4, 5)),
        "test": read_csv(folder / f"{name}_test.csv", (4, 5)),
    }
    if dislikes:
        for part in DISLIKES:
            tables[part] = read_csv(folder / f"{name}_{part}.csv", (1, 2))

    # number the users and items of the train edges
    train = tables["train"]
    if not (train.rating >= 4).any():
        raise InputError(f"{train_csv}: holds no rating of 4 or more, so there is nothing to learn from")
    edges = train[(train.rating >= 4) | (train.rating <= 1)]
    user_ids, item_ids = sort_ids(edges.user.unique()), sort_ids(edges.item.unique())

    # keep the rows about them
    numbered, unranked = {}, {}
    for part, table in tables.items():
        users, items = encode(table.user, user_ids), encode(table.item, item_ids)
        known = (users >= 0) & (items >= 0)
        if not known.any():
            raise InputError(f"{folder}/{name}_{part}.csv: no row is about a user and an item of {train_csv}")
        numbered[part] = Interactions(users[known], items[known], table.rating.to_numpy()[known])
        unranked[part] = np.bincount(users[(users >= 0) & (items < 0)], minlength=len(user_ids))
    data = TrainData(user_ids, item_ids, numbered["train"], numbered["validation"], numbered["test"], device)
    for part in numbered.keys() & set(DISLIKES):
        rows = data.by_user(numbered[part].users, numbered[part].items)
        setattr(data, part, HeldOutDislikes(rows, unranked[part]))
    return data


def pairs_in_two_parts(data):
    """How many rows of validation and test repeat a (user, item) pair of train or of each other."""
    keys = []
    parts = [data.seen, data.validation, data.test]
    if data.test_dislikes:
        parts += [data.validation_dislikes.rows, data.test_dislikes.rows]
    for rows in parts:
        user = np.repeat(np.arange(data.n_users), np.diff(rows.start))
        keys.append(user * data.n_items + rows.cols)
    keys = np.concatenate(keys)
    return len(keys) - len(np.unique(keys))


def read_csv(path, allowed):
    """Ratings of one of our CSVs.  Of a pair given twice the last row counts."""
    return identified(read_ratings(path, ",", allowed)).drop_duplicates(["user", "item"], keep="last")


@dataclass
class Interactions:
    """Rows of a ratings file, in file order."""

    users: np.ndarray  # (rows,) user numbers
    items: np.ndarray  # (rows,) item numbers
    rating: np.ndarray  # (rows,) float64

    def __len__(self):
        return len(self.users)

    @property
    def positive(self):
        return self.rating >= 4


class TrainData:
    """Everything training and evaluation need of a data set, users and items numbered from 0.

    user_ids, item_ids: the tokens in number order.  train: Interactions, every train row.  users, items: (E,) int64
    tensors, the signed edges; positive: (E,) bool, True for rating >= 4 and False for a confirmed negative
    (rating <= 1).  positives, confirmed_negatives, seen, validation, test: Rows by user; seen holds every train row of
    the user, the neutral ones too, and is what ranking masks.  hard: negatives.vectors.HardNegatives of the positives,
    for HNLMRec; None for all other models.  texts: what is said of each item, for EASE; None where nobody looks.
    validation_dislikes, test_dislikes: HeldOutDislikes, None in the published protocol.
    """

    hard = texts = validation_dislikes = test_dislikes = None

    def __init__(self, user_ids, item_ids, train, validation, test, device):
        """train, validation, test: Interactions."""
        self.user_ids, self.item_ids = user_ids, item_ids
        self.n_users, self.n_items = len(user_ids), len(item_ids)
        self.device, self.train = device, train

        signed = self.edges("signed")
        self.users, self.items = upload([signed.users, signed.items], device)
        self.positive = torch.from_numpy(signed.positive).to(device)

        liked, disliked = signed.positive, ~signed.positive
        self.positives = self.by_user(signed.users[liked], signed.items[liked])
        self.confirmed_negatives = self.by_user(signed.users[disliked], signed.items[disliked])
        self.seen = self.by_user(train.users, train.items)
        self.validation = self.by_user(validation.users, validation.items)
        self.test = self.by_user(test.users, test.items)

    def by_user(self, users, items):
        return Rows(users, items, self.n_users, self.n_items, self.device)

    def edges(self, which):
        """The train rows of one kind: "positive" (rating >= 4), "signed" (these and the confirmed negatives, <= 1) or
        "all" (every row, of which those below 4 count as negative)."""
        train = self.train
        if which == "all":
            return train
        kept = train.positive
        if which == "signed":
            kept = kept | (train.rating <= 1)
        return Interactions(train.users[kept], train.items[kept], train.rating[kept])

    def n_batches(self, batch_size, which="signed"):
        """How many Batch objects an epoch has."""
        return -(-len(self.edges(which)) // batch_size)

    def batches(self, batch_size, generator, which="signed"):
        """One epoch: the edges of edges(which), shuffled by the (CPU) generator, in Batch objects."""
        edges = self.edges(which)
        positive_number = edges.positive.cumsum() - 1  # (E,) place of a positive among the positives
        order = torch.randperm(len(edges), generator=generator).numpy()
        for first in range(0, len(order), batch_size):
            yield self.batch(edges, positive_number, order[first : first + batch_size])

    def batch(self, edges, positive_number, chosen):
        """The Batch of the edges at the places `chosen`.

        Everything whose size depends on the data is worked out here on the host, so that on CUDA the steps run without
        waiting for the device.
        """
        is_liked = edges.rating[chosen] >= 4
        liked, disliked = chosen[is_liked], chosen[~is_liked]
        users, items = edges.users[liked], edges.items[liked]
        distinct, distinct_of = np.unique(users, return_inverse=True)
        users_own, items_own = processes.part(self.n_users), processes.part(self.n_items)
        by_user = SparseRows.arrays(edges.users[disliked], edges.items[disliked], items_own)
        by_item = SparseRows.arrays(edges.items[disliked], edges.users[disliked], users_own)

        positives = [users, items, positive_number[liked], distinct, distinct_of]
        tensors = upload([*positives, *by_user, *by_item], self.device)
        rows_of_users, rows_of_items = SparseRows(*tensors[5:9]), SparseRows(*tensors[9:])
        return Batch(*tensors[:5], rows_of_users, rows_of_items, users, distinct)


class Rows:
    """A sparse 0/1 matrix kept by rows (CSR), on the host and on the device; hands out the entries of any rows.

    How many entries there are is known on the host, so that nobody waits for the device.
    """

    def __init__(self, rows, cols, n_rows, n_cols, device):
        order = np.lexsort((cols, rows))
        length = np.bincount(rows, minlength=n_rows)
        self.start = np.concatenate(([0], length.cumsum()))  # (n_rows + 1,)
        self.cols = cols[order]
        self.n_cols, self.device = n_cols, device
        (self.cols_on_device,) = upload([self.cols], device)

    def count(self, rows):
        """How many entries each of the rows has."""
        return self.start[rows + 1] - self.start[rows]

    def entries(self, rows):
        """(position in rows, column) of every entry of the given rows, as two int64 tensors."""
        if len(rows) == 1:  # nothing to upload
            cols = self.cols_on_device[self.start[rows[0]] : self.start[rows[0] + 1]]
            return torch.zeros_like(cols), cols
        count = self.count(rows)
        position = np.repeat(np.arange(len(rows)), count)
        begin = np.cumsum(count) - count  # where each row's entries begin in what is handed out
        place = np.arange(count.sum()) + np.repeat(self.start[rows] - begin, count)
        return upload([position, self.cols[place]], self.device)

    def flat_entries(self, rows):
        """position in rows * n_cols + column of every entry: what index_fill_ takes.

        On CUDA, x[rows, cols] = number would wait for the device: the number goes through a tensor on the host.
        """
        position, cols = self.entries(rows)
        return position * self.n_cols + cols

    def all_entries(self):
        """(row, column) of every entry, by row and then column."""
        return self.entries(np.arange(len(self.start) - 1))


@dataclass
class HeldOutDislikes:
    """Dislikes of the validation or test part."""

    rows: Rows
    unranked: np.ndarray  # (U,) how many more of each user no list can show: nobody learns anything of their items


@dataclass
class SparseRows:
    """The m non-zero rows of a 0/1 matrix, in the form embedding_bag takes.  An empty row m follows them.

    Of several processes all have the same rows, each with the entries of its own columns, numbered from 0.
    """

    ids: torch.Tensor  # (m,) which rows of the matrix these are
    start: torch.Tensor  # (m + 2,) where each begins in cols; the last is empty
    cols: torch.Tensor  # (entries,)
    row_of: torch.Tensor  # (entries,) position in ids

    def entries(self):
        """(row, column) of every entry."""
        return self.ids[self.row_of], self.cols

    @staticmethod
    def arrays(rows, cols, own=None):
        """The four fields on the host, from the (row, column) pairs of the entries.  own: slice of columns to keep."""
        order = np.lexsort((cols, rows))
        (ids, row_of), cols = np.unique(rows[order], return_inverse=True), cols[order]
        if own is not None:
            kept = (own.start <= cols) & (cols < own.stop)
            cols, row_of = cols[kept] - own.start, row_of[kept]
        start = np.searchsorted(row_of, np.arange(len(ids) + 2))
        return ids, start, cols, row_of


@dataclass
class Batch:
    """Train edges of one step: the positives, and the negatives by user and by item."""

    users: torch.Tensor  # (P,)
    items: torch.Tensor  # (P,)
    positive_numbers: torch.Tensor  # (P,) which of TrainData.edges("positive") these are
    distinct_users: torch.Tensor  # (m,)
    distinct_of: torch.Tensor  # (P,) position of each positive's user in distinct_users
    negatives_by_user: SparseRows
    negatives_by_item: SparseRows
    users_host: np.ndarray
    distinct_users_host: np.ndarray
