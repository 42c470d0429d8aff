"""What a sampled item is worth in training: near to future negatives and their neighbours, far from future positives.

    swing         train negatives -> neighbours of each item
    target_sets   instances -> negatives of the window with their neighbours, positives of the window
    rewards       sampled items -> r, n, p

With sim(x, y) = E(x) . E(y), an output o has

    n = max over targets i of sim(o, i),  p = max over future positives j of sim(o, j),  r = n - gamma p
"""

from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_matrix

from conrec.data.events import POSITIVE
from conrec.data.instances import history, window

A1, THETA, ABOVE = 15, 0.3, 5  # of Swing: smoothing and power of a user's weight; users that a pair must exceed
NEIGHBOURS = 3  # of each of the window's negatives, by Swing
NEAR = 0.6  # of kinds b and d: what is not above it counts as 0
SHARED_CODES = (0.0, 0.01, 0.1, 1.0)  # of kind e: worth of 0, 1, 2, 3 leading codes in common with a target


class Rewards(NamedTuple):
    r: torch.Tensor  # (P, G) the reward
    n: torch.Tensor  # (P, G) nearness to the targets
    p: torch.Tensor  # (P, G) nearness to future positives, 0 without any


def swing(negatives, above=ABOVE):
    """A list of I int64 arrays: the items j with Swi(i, j) > 0, the largest value first (ties by number)."""
    values = swing_values(negatives, above)
    neighbours = []
    for item in range(values.shape[0]):
        row = slice(values.indptr[item], values.indptr[item + 1])
        rounded = values.data[row].round(12)  # equal in theory: also equal here
        order = np.lexsort((values.indices[row], -rounded))
        neighbours.append(values.indices[row][order].astype(np.int64))
    return neighbours


def swing_values(negatives, above=ABOVE):
    """Swi(i, j) as a CSR (I, I), for negatives, a CSR (U, I) of 0/1.  (Swing: Yang et al., arXiv 2010.05525.)

    U(i): users negative on i, I(u): items that u is negative on.  With w_u = (|I(u)| + A1)^-THETA,

        Swi(i, j) = sum over ordered pairs u != v in both U(i) and U(j) of  w_u w_v / |I(u) and I(v)|
                    * [|U(i) and U(j)| > above] / sqrt(|U(j)|)

    Worked out user by user: u and the v that share two items or more with u add to the block I(u) x I(u).
    """
    x = negatives.astype(np.float64).tocsr()
    n_items, n_users = np.diff(x.indptr), np.asarray(x.sum(0))[0]  # |I(u)| (U,), |U(i)| (I,)
    weight = (n_items + A1) ** -THETA  # (U,)
    kept = np.flatnonzero(n_users > above)  # no other item has a pair that more than `above` share
    x_kept = x[:, kept]
    total = np.zeros((len(kept), len(kept)))
    for u in np.flatnonzero(n_items >= 2):
        items = x_kept.indices[x_kept.indptr[u] : x_kept.indptr[u + 1]]
        shared = np.asarray((x @ x[u].T).todense())[:, 0]  # (U,): |I(u) and I(v)|
        shared[u] = 0
        others = np.flatnonzero(shared >= 2)
        block = x_kept[others][:, items].toarray()  # (others, items)
        m = weight[u] * weight[others] / shared[others]  # (others,)
        total[np.ix_(items, items)] += block.T @ (m[:, None] * block)
    together = np.asarray((x_kept.T @ x_kept).todense())
    total[together <= above] = 0
    np.fill_diagonal(total, 0)
    total /= np.sqrt(n_users[kept])
    i, j = np.nonzero(total)
    return csr_matrix((total[i, j], (kept[i], kept[j])), (x.shape[1], x.shape[1]))


def target_sets(events, users, positions, neighbours):
    """(gts, fps): two lists of n arrays, for the instances (users, positions).

    gts: the window's negatives, the next one first, then their neighbours.  fps: the window's positives.
    neighbours: what swing returns.  Each negative brings those of its NEIGHBOURS nearest that are neither in the
    history nor in fps.  So no item is in both sets, and gts holds at least the next negative.
    """
    gts, fps = [], []
    for user, p in zip(users, positions, strict=True):
        items, ratings = window(events, user, p)
        negatives, positives = items[ratings <= events.negative], items[ratings >= POSITIVE]
        closed = {*history(events, user, p)[0].tolist(), *positives.tolist()}
        found = dict.fromkeys(negatives.tolist())  # in order, each once
        for item in negatives:
            near = [other for other in neighbours[item][:NEIGHBOURS].tolist() if other not in closed]
            found.update(dict.fromkeys(near))
        gts.append(np.array(list(found), np.int64))
        fps.append(positives)
    return gts, fps


def rewards(sampled, gts, fps, E, kind="c", gamma=0.5, codes=None):
    """Rewards of items sampled (P, G) int64 for P prompts with target sets gts (P, T), fps (P, F), padded with -1.

    E: (I, d) unit vectors.  kind: --conrec_reward; for "next" gts are the next negatives.  codes: (I, 3), for "e" only.
    """
    n, p = nearest(sampled, gts, E), nearest(sampled, fps, E)  # (P, G)
    p = p.where((fps >= 0).any(1, keepdim=True), 0)
    worth, cost = n, p
    if kind in ("b", "d"):
        worth, cost = n.where(n > NEAR, 0), p.where(p > NEAR, 0)
    if kind == "e":
        worth = prefix_worth(sampled, gts, codes)
    if kind in ("c", "d"):
        worth = worth - gamma * cost
    return Rewards(worth, n, p)


def nearest(sampled, targets, E):
    """(P, G): the largest sim of each sampled item to a target of its row, -inf where there is none."""
    sim = E[sampled] @ E[targets.clamp(min=0)].transpose(1, 2)  # (P, G, T)
    return sim.masked_fill((targets < 0)[:, None], -torch.inf).amax(2)


def prefix_worth(sampled, targets, codes):
    """(P, G): the worth of the most leading codes that a sampled item has in common with a target of its row."""
    same = codes[sampled][:, :, None] == codes[targets.clamp(min=0)][:, None]  # (P, G, T, 3)
    n_leading = same.long().cumprod(3).sum(3)  # (P, G, T)
    n_leading = n_leading.masked_fill((targets < 0)[:, None], 0).amax(2)
    return torch.tensor(SHARED_CODES, device=sampled.device)[n_leading]
