"""LightGCN (He et al., SIGIR 2020): propagation over the positive train edges, trained with BPR.

    loss = mean of -log sigmoid(s_ui - s_uj) + lambda ||E of the batch's distinct nodes||^2 / B

over B positives (u, i), with one uniform j for each that u has not rated in train, drawn anew every epoch.
"""

import torch
from torch import nn

from model import rw_ssm
from recommender import GraphRecommender
from sampling import UnratedSampler


class LightGCN(GraphRecommender):
    sampling = "uniform unrated negatives"

    def __init__(self, data, options, generator=None):
        super().__init__(data, options, generator, edges=data.positive)
        nn.init.xavier_uniform_(self.table)
        self.positives = data.users[data.positive], data.items[data.positive]  # (E,), (E,)
        self.sampler = self.make_sampler()
        self.negatives = None  # one for each positive, drawn anew every epoch

    def terms(self):
        return ["BPR", self.sampling, f"{self.options.lambda_reg:g} ||E of the batch||^2"]

    def start_epoch(self, epoch):
        """Draw the epoch's negatives."""
        self.negatives = self.draw()

    def make_sampler(self):
        same_for_all = torch.ones(self.data.n_items, dtype=torch.float64, device=self.data.device)
        return UnratedSampler(self.data, same_for_all)

    def draw(self):
        """One negative for each positive, (E,).  For a user who has rated everything the positive itself, which teaches
        nothing."""
        users, items = self.positives
        negatives = self.sampler.draw(users, 1, self.generator)[:, 0]
        return torch.where(self.sampler.left[users] > 0, negatives, items)

    def epoch_state(self):
        return {"negatives": self.negatives}

    def loss(self, batch):
        z_users, z_items = self.embeddings()
        negatives = self.negatives[batch.positive_numbers]  # (P,)
        ranking = self.pairwise_loss(z_users[batch.users], z_items[batch.items], z_items[negatives])
        return ranking + self.options.lambda_reg * self.norm(batch, negatives) / len(batch.users)

    def pairwise_loss(self, z_users, z_positives, z_negatives):
        """BPR over rows (P, d) that belong together.  The hook for systems that make other negatives."""
        positive = (z_users * z_positives).sum(1)  # (P,)
        negative = (z_users * z_negatives).sum(1)  # (P,)
        return rw_ssm(positive, negative)

    def norm(self, batch, negatives):
        """||E||^2 of the distinct nodes of the batch."""
        touched = torch.zeros(len(self.table), 1, device=self.table.device)  # marks nodes: unique() waits for CUDA
        for nodes in (batch.users, self.data.n_users + batch.items, self.data.n_users + negatives):
            touched.index_fill_(0, nodes, 1.0)
        return (touched * self.table).square().sum()
