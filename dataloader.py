"""From the CSVs of a data set to what training needs.

    load                 CSVs -> TrainData: users and items numbered, train edges, what to rank, what to mask
    TrainData.batches    one epoch of shuffled mini-batches

Knows nothing of models.  How the CSVs are made: atomic_files/preparation.py.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from atomic_files.files import CONFIRMED, LIKED, STARS, encode, read_ratings, sort_ids
from utils import InputError


def upload(arrays, device):
    """Integer arrays -> int64 tensors on the device in one transfer that the host does not wait for."""
    flat = torch.from_numpy(np.concatenate(arrays).astype(np.int64, copy=False))
    if torch.device(device).type == "cuda":
        flat = flat.pin_memory().to(device, non_blocking=True)
    return flat.split([len(a) for a in arrays])


class Rows:
    """A sparse 0/1 matrix kept by rows on the host (CSR); hands out the entries of any rows as tensors."""

    def __init__(self, rows, cols, n_rows, device):
        order = np.lexsort((cols, rows))
        self.start = np.concatenate(([0], np.bincount(rows, minlength=n_rows).cumsum()))  # (n_rows + 1,)
        self.cols = cols[order]
        self.device = device

    def count(self, rows):
        return self.start[rows + 1] - self.start[rows]

    def entries(self, rows):
        """(position in rows, column) of every entry of the given rows, as two int64 tensors."""
        count = self.count(rows)
        first_out = np.cumsum(count) - count
        at = np.arange(count.sum()) + np.repeat(self.start[rows] - first_out, count)
        return upload((np.repeat(np.arange(len(rows)), count), self.cols[at]), self.device)

    def all_entries(self):
        """(row, column) of every entry, by row and then column."""
        return self.entries(np.arange(len(self.start) - 1))


@dataclass
class SparseRows:
    """The m non-zero rows of a 0/1 matrix, in the form embedding_bag takes.  An empty row m follows them."""

    ids: torch.Tensor  # (m,) which rows of the matrix these are
    start: torch.Tensor  # (m + 2,) where each begins in cols; the last is empty
    cols: torch.Tensor  # (entries,)
    row_of: torch.Tensor  # (entries,) position in ids

    def entries(self):
        return self.ids[self.row_of], self.cols

    @staticmethod
    def arrays(rows, cols):
        order = np.lexsort((cols, rows))
        ids, first, row_of = np.unique(rows[order], return_index=True, return_inverse=True)
        return ids, np.concatenate((first, [len(rows), len(rows)])), cols[order], row_of


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


class TrainData:
    """Everything training and evaluation need of a data set, users and items numbered from 0.

    user_ids, item_ids: the tokens in number order.  rated: (users, items, rating) arrays, one entry a train row.
    users, items: (E,) int64 tensors, the signed edges; positive: (E,) bool, True for rating >= 4 and False for a
    confirmed negative (rating <= 1).  positives, confirmed_negatives, seen, validation, test: Rows by user; seen
    holds every train row of the user, the neutral ones too, and is what ranking masks.
    """

    def __init__(self, user_ids, item_ids, rated, validation, test, device):
        self.user_ids, self.item_ids = user_ids, item_ids
        self.n_users, self.n_items = len(user_ids), len(item_ids)
        self.device, self.rated = device, rated
        users, items, positive = self.edges("signed")
        self.users, self.items = upload((users, items), device)
        self.positive = torch.from_numpy(positive).to(device)
        rows = lambda u, i: Rows(u, i, self.n_users, device)  # noqa: E731
        self.positives = rows(users[positive], items[positive])
        self.confirmed_negatives = rows(users[~positive], items[~positive])
        self.seen, self.validation, self.test = rows(*rated[:2]), rows(*validation), rows(*test)

    def edges(self, which):
        """(users, items, positive) arrays of the train rows that are "positive" (rating >= 4), "signed" (these and
        the confirmed negatives, <= 1) or "all" (every row below 4 counts as negative)."""
        users, items, rating = self.rated
        among = {"positive": rating >= 4, "signed": (rating >= 4) | (rating <= 1), "all": rating == rating}[which]
        return users[among], items[among], rating[among] >= 4

    def batches(self, batch_size, generator, which="signed"):
        """One epoch: the edges of edges(which), shuffled by the (CPU) generator, in Batch objects.

        Everything whose size depends on the data is worked out here on the host, so that on CUDA the
        steps run without waiting for the device.
        """
        edges = self.edges(which)
        edges += (edges[2].cumsum() - 1,)
        order = torch.randperm(len(edges[0]), generator=generator).numpy()
        for first in range(0, len(order), batch_size):
            users, items, positive, number = (a[order[first : first + batch_size]] for a in edges)
            distinct, distinct_of = np.unique(users[positive], return_inverse=True)
            neg_users, neg_items = users[~positive], items[~positive]
            arrays = (users[positive], items[positive], number[positive], distinct, distinct_of)
            arrays += SparseRows.arrays(neg_users, neg_items) + SparseRows.arrays(neg_items, neg_users)
            t = upload(arrays, self.device)
            yield Batch(*t[:5], SparseRows(*t[5:9]), SparseRows(*t[9:]), users[positive], distinct)


def load(folder, name, train_csv, device):
    """The three CSVs of data/<name>/ -> TrainData.

    train_csv: the train file to use, refined or not.  Users and items are those of its positives (rating >= 4)
    and confirmed negatives (<= 1), numbered in sorted id order; rows of the other files that name somebody else
    cannot be ranked and are left out (the log's counts show it).
    """
    tables = {}
    refined = Path(train_csv) != folder / f"{name}_train_original.csv"
    for part, path, allowed in (
        ("train", Path(train_csv), (CONFIRMED, *STARS, LIKED) if refined else STARS),
        ("validation", folder / f"{name}_validation.csv", (4, 5)),
        ("test", folder / f"{name}_test.csv", (4, 5)),
    ):
        table = read_ratings(path, ",", allowed)
        table = table[(table.user != "") & (table.item != "")]
        tables[part] = table.drop_duplicates(["user", "item"], keep="last")
    train = tables["train"]
    is_edge = ((train.rating >= 4) | (train.rating <= 1)).to_numpy()
    if not (train.rating >= 4).any():
        raise InputError(f"{train_csv}: holds no rating of 4 or more, so there is nothing to learn from")
    user_ids, item_ids = (sort_ids(train[side][is_edge].unique()) for side in ("user", "item"))
    pairs = {}
    for part, table in tables.items():
        users, items = encode(table.user, user_ids), encode(table.item, item_ids)
        pairs[part] = users, items, (users >= 0) & (items >= 0)
        if not pairs[part][2].any():
            raise InputError(f"{folder}/{name}_{part}.csv: no row is about a user and an item of {train_csv}")
    rated, validation, test = ((u[k], i[k]) for u, i, k in (pairs[p] for p in ("train", "validation", "test")))
    rated += (train.rating.to_numpy()[pairs["train"][2]],)
    return TrainData(user_ids, item_ids, rated, validation, test, device)
