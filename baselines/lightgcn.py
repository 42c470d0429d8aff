"""LightGCN (He et al., SIGIR 2020): propagation over the positive train edges, trained with BPR.

    loss = mean of -log sigmoid(s_ui - s_uj) + lambda ||E of the batch's distinct nodes||^2 / B

over B positives (u, i), with one uniform j for each that u has not rated in train, drawn anew every epoch.
"""

import torch
from torch import nn

from model import Propagation, draw_for_each, rw_ssm


class LightGCN(nn.Module):
    trains_on, solutions = "positive", None
    flags = {"embedding_dim", "layers", "lambda_reg"}
    defaults = {"dataset_augment": "original", "learning_rate": 1e-3, "lambda_reg": 1e-4}
    sampling = "uniform unrated negatives"

    def __init__(self, data, options, generator):
        super().__init__()
        self.data, self.options, self.generator = data, options, generator
        self.terms = ("BPR", self.sampling, f"{options.lambda_reg:g} ||E of the batch||^2")
        users, items = data.users[data.positive], data.items[data.positive]
        self.propagation = Propagation(users, items, data.n_users, data.n_items, options.layers)
        self.table = nn.Parameter(torch.empty(data.n_users + data.n_items, options.embedding_dim))
        nn.init.xavier_uniform_(self.table)

    def parameter_groups(self):
        return [{"params": [self.table]}]  # the norm of the batch's nodes stands in the loss: no weight decay

    def start_epoch(self, epoch):
        """Draw the epoch's negatives."""
        users, items, _ = self.data.edges("positive")
        self.negatives = draw_for_each(users, items, self.data.n_items, self.negative_weights, self.generator)  # (E,)

    def negative_weights(self, users):
        """Sampling weights (len(users), I): 1 for items without a train row of the user, else 0."""
        weight = torch.ones(len(users), self.data.n_items, device=self.table.device)
        weight[self.data.seen.entries(users)] = 0.0
        return weight

    def embeddings(self):
        """Z of users (U, d) and items (I, d); the score of (u, i) is their dot product."""
        return self.propagation(self.table).split((self.data.n_users, self.data.n_items))

    def loss(self, batch):
        z_users, z_items = self.embeddings()
        negatives = self.negatives[batch.positive_numbers]  # (P,)
        z_batch = z_users[batch.users]  # (P, d)
        positive = (z_batch * z_items[batch.items]).sum(1)  # (P,)
        negative = (z_batch * z_items[negatives]).sum(1)  # (P,)
        touched = torch.zeros(len(self.table), 1, device=self.table.device)  # marks nodes: unique() waits for CUDA
        for nodes in (batch.users, self.data.n_users + batch.items, self.data.n_users + negatives):
            touched[nodes] = 1.0
        norm = (touched * self.table).square().sum()
        # With one negative, log(1 + exp(s_uj - s_ui)) is BPR's -log sigmoid(s_ui - s_uj).
        return rw_ssm(positive, negative) + self.options.lambda_reg * norm / len(batch.users)
