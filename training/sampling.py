"""Negative sampling: which items stand against a user's positives.

    sampling_weights    how likely each item is for each user            (excluded items 0, confirmed negatives gamma)
    draw_negatives      weighted sampling without replacement            (Efraimidis & Spirakis 2006)
    draw_for_each       one negative for each positive of an epoch       (what BPR and ReFINe need)
    UnratedSampler      unrated items in proportion to a weight an item  (SiReN, LightGCN)
    scores_of           the scores of sampled items
    scores_of_pairs     the scores of users and items, pair by pair

U users, I items.
"""

import numpy as np
import torch
import torch.nn.functional as F

from machine import processes
from machine.hardware import upload

BLOCK = 2**25  # most entries of a (users x items) block held at once: 128 MiB of float32
WORTH_ALL = 80  # items a sampled one up to which all scores are made


def sampling_weights(data, users, excluded, gamma=1.0):
    """Sampling weights (len(users), I): 0 for a user's excluded items, gamma for confirmed negatives, else 1.

    users: numpy array of user numbers.  excluded: dataloader.Rows by user.  Excluded items win over confirmed
    negatives.
    """
    weight = torch.ones(len(users), data.n_items, device=data.device)  # (users, I)
    flat = weight.view(-1)
    flat.index_fill_(0, data.confirmed_negatives.flat_entries(users), gamma)
    flat.index_fill_(0, excluded.flat_entries(users), 0.0)
    return weight


def draw_negatives(weight, n, generator=None):
    """Draw n items a row without replacement, with probability proportional to weight.

    weight: (rows, I), >= 0.  Returns item indices (rows, n) and a mask (rows, n) that is False where a row has
    fewer than n items of positive weight.  An exponential race: item j arrives at Exp(1)/w_j and the n first
    arrivals win.  That is successive weighted drawing, and unlike torch.multinomial it never waits for the device.
    """
    arrival = torch.empty_like(weight).exponential_(generator=generator).div_(weight)  # w = 0: never arrives
    arrival, items = arrival.topk(n, dim=1, largest=False)
    return items, arrival < torch.inf


def draw_for_each(users, items, n_items, weights, generator=None):
    """One negative for each positive (u, i), in proportion to the weights of u's row: (E,) items on their device.

    users, items: (E,) numpy arrays.  weights: numpy array of users (m,) -> (m, I) tensor.  A user without an item of
    positive weight gets the positive itself, which teaches nothing.

    The cumulative weight is inverted.  The rows of a block of users are laid end to end on one line, so that the
    whole epoch takes one pass over the users.
    """
    distinct, row_of = np.unique(users, return_inverse=True)
    by_user = np.argsort(row_of, kind="stable")  # (E,) the positives, user by user
    users_at_once = max(1, BLOCK // 4 // n_items)
    drawn = []
    for first in range(0, len(distinct), users_at_once):
        # The block's users, and their positives.
        block = distinct[first : first + users_at_once]
        begin, end = np.searchsorted(row_of[by_user], (first, first + users_at_once))
        positives = by_user[begin:end]  # (p,)

        # The line of weights.  In whole millionths: sums of integers are exact, and the same on a GPU every time.
        line = weights(block).mul(2.0**20).round().long().flatten().cumsum(0)  # (block * I,)
        row_end = line[n_items - 1 :: n_items]  # (block,)
        row_begin = torch.cat((row_end.new_zeros(1), row_end[:-1]))  # (block,)

        # A uniform point on the row of each positive's user names the negative.
        row, itself = upload([row_of[positives] - first, items[positives]], line.device)  # (p,), (p,)
        length = (row_end - row_begin)[row]  # (p,)
        uniform = torch.rand(len(positives), dtype=torch.float64, device=line.device, generator=generator)
        point = row_begin[row] + (uniform * length).long()  # (p,)
        negative = torch.searchsorted(line, point, right=True) - row * n_items  # (p,)
        drawn.append(torch.where(length > 0, negative, itself))

    (place,) = upload([np.argsort(by_user)], drawn[0].device)  # from user by user to the order given
    return torch.cat(drawn)[place]


class UnratedSampler:
    """Draws items that a user has not rated in train, in proportion to a weight an item, in one exact pass.

    The items' weights laid end to end are a line, and the rated items of a user cut pieces out of it.  A point of what
    is left, moved right by the pieces before it, names the item.  How many pieces those are is one binary search over
    all users' cuts, so nothing is rejected and no (users x items) matrix is needed.  Weights are whole numbers here,
    so that no rounding can ever name a rated item.

    Four items of weights 2, 1, 3, 2 end at 2, 3, 6, 8.  A user has rated the second and the fourth, so
    2 + 3 = 5 is left.  On what is left the cuts lie at 2 and at 5, so one cut, of length 1, comes before
    point 3.  Point 3 becomes 4, which lies on the third item.
    """

    def __init__(self, data, weight):
        """weight: (I,) float64 tensor, >= 0."""
        users, items = data.seen.all_entries()  # (entries,)
        total = float(weight.sum())
        # As fine as the sums below allow: doubles hold integers up to 2^52, an int64 the lines of all users.
        scale = min(2.0**20, 2.0**52 / total, 2.0**62 / (data.n_users + 1) / total)
        weight = (weight * scale).round().long()  # (I,)
        self.line = weight.cumsum(0)  # (I,) where each item ends

        # What is cut out of each user's line, and what is left of it.
        start = torch.from_numpy(data.seen.start).to(items.device)  # (U + 1,)
        cut = weight[items].cumsum(0)  # (entries,)
        cut = torch.cat((cut.new_zeros(1), cut))  # (entries + 1,)
        before = cut[:-1] - cut[start[users]]  # (entries,) cut out of the user's line before this entry
        self.left = self.line[-1] - (cut[start[1:]] - cut[start[:-1]])  # (U,)

        # Where each cut lies on the shortened line, made increasing over all users by an offset a user.
        self.stride = self.line[-1] + 1
        self.cuts = users * self.stride + self.line[items] - weight[items] - before  # (entries,)
        self.start, self.cut = start, cut

    def draw(self, users, n, generator):
        """(len(users), n) items, with replacement; any items for a user with nothing left.  users: int64 tensor."""
        left = self.left[users][:, None].clamp(min=1)  # (m, 1)
        uniform = torch.rand(len(users), n, dtype=torch.float64, device=users.device, generator=generator)
        point = (uniform * left).long().minimum(left - 1)  # (m, n)
        passed = torch.searchsorted(self.cuts, users[:, None] * self.stride + point, right=True)  # (m, n)
        cut_before = self.cut[passed] - self.cut[self.start[users]][:, None]  # (m, n)
        found = torch.searchsorted(self.line, point + cut_before, right=True)
        return found.clamp(max=len(self.line) - 1)


def scores_of(z_u, z_items, items):
    """Scores of n items of each row of z_u, (B, d) -> (B, n), by the form that takes less time.  items: (B, n).

    In a small catalogue all scores are made and n kept, in a large one the embeddings of the n are fetched.  One
    core took 6 ms against 19 for 1,008 items and n = 40, and 298 against 18 for 29,948.
    """
    if len(z_items) <= WORTH_ALL * items.shape[1]:
        return processes.total((z_u @ z_items.t()).gather(1, items))
    fetched = F.embedding(items, z_items)  # (B, n, d)
    return processes.total(torch.bmm(fetched, z_u[:, :, None]).squeeze(2))


def scores_of_pairs(z_u, z_i):
    """Dot products of rows that belong together, (P, d) and (P, d) -> (P,)."""
    return processes.total((z_u * z_i).sum(1))
