"""What a sampled item is worth in training: near to future negatives and their neighbours, far from future positives.

    swing       train negatives -> neighbours of each item
    targets     instances -> target sets
    rewards     sampled items -> r, n, p
"""

from typing import NamedTuple

import torch

KINDS = ("next", "a", "b", "c", "d", "e")


class Targets(NamedTuple):
    """Of m instances.  Rows of gts and fps are padded with -1."""

    rows: torch.Tensor  # (m,) int64: which of the given instances; those without a target are left out
    next: torch.Tensor  # (m, 1) int64: the next negative
    gts: torch.Tensor  # (m, T) int64: the window's negatives and their neighbours
    fps: torch.Tensor  # (m, F) int64: the window's positives


class Rewards(NamedTuple):
    r: torch.Tensor  # (P, G) the reward
    n: torch.Tensor  # (P, G) nearness to the targets
    p: torch.Tensor  # (P, G) nearness to future positives, 0 without any


def swing(negatives, a1=15, a2=0, theta=0.3, above=5):
    """Swing on a CSR (U, I) of 0/1: a list of I arrays, the items j with Swi(i, j) > 0, the largest value first (ties
    by number).

    Only pairs that more than `above` users share have a value.
    """
    raise NotImplementedError


def targets(events, users, positions, neighbours, n_neighbours=3):
    """Targets of the instances (users, positions).

    neighbours: what swing returns.  Each target brings its n_neighbours nearest, none from the history or the window's
    positives.  Items in both sets leave both.
    """
    raise NotImplementedError


def rewards(sampled, gts, fps, E, kind="c", gamma=0.5, codes=None):
    """Rewards of items sampled (P, G) int64 for P prompts with target sets gts (P, T), fps (P, F), padded with -1.

    E: (I, d) unit vectors.  kind: one of KINDS; for "next" gts is Targets.next.  codes: (I, 3), for kind "e" only.
    """
    raise NotImplementedError
