"""LightGCN (He et al., SIGIR 2020): propagation over the positive train edges, trained with BPR.

    loss = mean of -log sigmoid(s_ui - s_uj) + lambda ||E of the batch's distinct nodes||^2 / B

over B positives (u, i), with one uniform j for each that u has not rated in train, drawn anew every epoch, or with
another --sampler.  MF is the same without a graph (Rendle et al., BPR, UAI 2009).
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from baselines import samplers
from machine import processes
from training.recommender import GraphRecommender
from training.sampling import UnratedSampler, scores_of_pairs


class Rows(NamedTuple):
    """What belongs to the positives of a batch, row by row."""

    users: torch.Tensor  # (P, d)
    positives: torch.Tensor  # (P, d)
    negatives: torch.Tensor  # (P, d)
    negative_items: torch.Tensor  # (P,) whose row of the table the norm counts
    z_items: torch.Tensor  # (I, d) all items


class LightGCN(GraphRecommender):
    cut_along = {"table": 1}

    def __init__(self, data, settings, generator=None):
        super().__init__(data, settings, generator, edges=data.positive)
        nn.init.xavier_uniform_(self.table)
        self.positives = data.users[data.positive], data.items[data.positive]  # (E,), (E,)
        self.sampler = self.make_sampler()
        self.negatives = None  # one for each positive, drawn anew every epoch; None: chosen in every step

    def terms(self):
        return ["BPR", self.sampling(), f"{self.settings.lambda_reg:g} ||E of the batch||^2"]

    def sampling(self):
        """How negatives are drawn, in words."""
        return samplers.describe(self.settings)

    def start_epoch(self, epoch):
        """Draw the epoch's negatives."""
        self.negatives = self.draw()

    def make_sampler(self):
        return UnratedSampler(self.data, samplers.item_weights(self.data, self.settings.sampler))

    def draw(self):
        """One negative for each positive, (E,), None where they are chosen step by step.  For a user who has rated
        everything the positive itself, which teaches nothing."""
        if self.settings.sampler in samplers.BY_SCORE:
            return None
        return self.draw_unrated(*self.positives, 1, self.generator)[:, 0]

    def draw_unrated(self, users, items, n, generator):
        """(len(users), n) items that these users have not rated, the item itself for a user who has rated all."""
        drawn = self.sampler.draw(users, n, generator)
        return torch.where(self.sampler.left[users, None] > 0, drawn, items[:, None])

    def epoch_state(self):
        return {} if self.negatives is None else {"negatives": self.negatives}

    def loss(self, batch):
        rows = self.rows(batch)
        ranking = self.pairwise_loss(rows.users, rows.positives, rows.negatives)
        return ranking + self.regulariser(batch, rows)

    def rows(self, batch):
        """Rows of the positives of a batch."""
        if self.negatives is None and self.settings.sampler == "mixgcf":
            return self.mixed_rows(batch)
        z_users, z_items = self.embeddings()
        z_u, z_i = z_users[batch.users], z_items[batch.items]
        if self.negatives is None:
            negatives = samplers.choose(self.settings, z_u, z_i, z_items, self.candidates(batch), self.generator)
        else:
            negatives = self.negatives[batch.positive_numbers]  # (P,)
        return Rows(z_u, z_i, z_items[negatives], negatives, z_items)

    def mixed_rows(self, batch):
        """Rows with the negatives of MixGCF."""
        hops = self.propagation.hops(self.table)  # (K + 1, N, d)
        z_users, z_items = self.by_side(hops.mean(0))
        items = hops[:, self.data.n_users :]  # (K + 1, I, d)
        z_u = z_users[batch.users]
        candidates = self.candidates(batch)
        mixed, first = samplers.mix_hops(z_u, items[:, batch.items], items, candidates, self.generator)
        return Rows(z_u, z_items[batch.items], mixed, first, z_items)

    def candidates(self, batch):
        """(P, M) unrated items to choose from."""
        return self.draw_unrated(batch.users, batch.items, self.settings.sampler_candidates, self.generator)

    def pairwise_loss(self, z_users, z_positives, z_negatives):
        """BPR over rows (P, d) that belong together."""
        lead = scores_of_pairs(z_users, z_negatives) - scores_of_pairs(z_users, z_positives)  # (P,)
        return F.softplus(lead).mean()

    def regulariser(self, batch, rows):
        return self.settings.lambda_reg * self.norm(batch, rows.negative_items) / len(batch.users)

    def norm(self, batch, negatives):
        """||E||^2 of the distinct nodes of the batch."""
        touched = torch.zeros(len(self.table), 1, device=self.table.device)  # marks nodes: unique() waits for CUDA
        for nodes in (batch.users, self.data.n_users + batch.items, self.data.n_users + negatives):
            touched.index_fill_(0, nodes, 1.0)
        return processes.total((touched * self.table).square().sum())


class MF(LightGCN):
    """Matrix factorisation: LightGCN without a layer."""

    layers = 0
