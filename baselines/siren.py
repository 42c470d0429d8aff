"""SiReN (Seo, Jeong, Shin and Shin, TNNLS 2022; arXiv 2108.08735): sign-aware recommendation.

    Z^p = mean of the propagations of E over the positive edges (LightGCN);  Z^n = MLP(E2), without any graph
    Z = alpha^p Z^p + alpha^n Z^n,  alpha = softmax over q . tanh(W_a Z^b + b_a) of the branches b, node by node
    L = sum over edges (u, i) and their negatives j of -log sigmoid(c s_ui - s_uj)
        + lambda (||z_u||^2 + ||z_i||^2 + sum_j ||z_j||^2)

Every train rating is an edge: 4 and 5 are positive with c = 1, 1 to 3 negative with c = --siren_neg_coef.  The
negatives j are items u has not rated, drawn in proportion to degree^0.75.  Sums, not means, as in the official code.
"""

import torch
import torch.nn.functional as F
from torch import nn

from training.recommender import GraphRecommender
from training.sampling import UnratedSampler, scores_of

MLP_LAYERS = 2  # of the negative branch


class SiReN(GraphRecommender):
    trains_on = "all"

    def __init__(self, data, settings, generator=None):
        super().__init__(data, settings, generator, edges=data.positive)  # self.table: E of the positive branch
        d = settings.embedding_dim
        self.negative_table = nn.Parameter(torch.empty_like(self.table))  # (N, d) E2
        self.mlp = nn.ModuleList(nn.Linear(d, d) for _ in range(MLP_LAYERS))
        for weight in (self.table, self.negative_table, *(layer.weight for layer in self.mlp)):
            nn.init.xavier_normal_(weight)
        self.attention = nn.Linear(d, d)
        self.query = nn.Linear(d, 1, bias=False)
        degree = torch.bincount(data.seen.all_entries()[1], minlength=data.n_items)
        self.sampler = UnratedSampler(data, degree.double() ** 0.75)

    def terms(self):
        o = self.settings
        return [
            f"{o.n_negatives} unrated negatives an edge by degree^0.75",
            f"c {o.siren_neg_coef:g}",
            f"{o.lambda_reg:g} ||Z of the batch||^2",
            f"dropout {o.siren_dropout:g}",
        ]

    def dropout(self, x):
        return F.dropout(x, self.settings.siren_dropout, self.training)

    def branches(self):
        """Z^p and Z^n, (N, d) each."""
        z = self.negative_table
        for layer in self.mlp:
            z = self.dropout(F.relu(layer(z)))
        return self.propagation(self.table), z

    def embeddings(self):
        branches = torch.stack(self.branches())  # (2, N, d)
        hidden = self.dropout(torch.tanh(self.attention(branches)))  # (2, N, d)
        alpha = self.query(hidden).softmax(0)  # (2, N, 1)
        return self.by_side((alpha * branches).sum(0))

    def loss(self, batch):
        negative_users, negative_items = batch.negatives_by_user.entries()
        users = torch.cat((batch.users, negative_users))  # (B,)
        items = torch.cat((batch.items, negative_items))  # (B,)
        c = torch.ones(len(users), device=users.device)
        c[len(batch.users) :] = self.settings.siren_neg_coef
        negatives = self.sampler.draw(users, self.settings.n_negatives, self.generator)  # (B, n)
        return self.ranking_loss(users, items, c, negatives, self.sampler.left[users] > 0)

    def ranking_loss(self, users, items, c, negatives, counts):
        """users, items, c: (B,) edges and their coefficients; negatives: (B, n); counts: (B,) False for an edge whose
        user has rated everything."""
        z_users, z_items = self.embeddings()
        z_u = z_users[users]  # (B, d)
        positive = c * (z_u * z_items[items]).sum(1)  # (B,)
        negative = scores_of(z_u, z_items, negatives)  # (B, n)
        ranking = F.softplus(negative - positive[:, None]).sum(1)  # (B,)
        item_norms = z_items.square().sum(1)  # (I,), once an item rather than once a negative
        norms = z_u.square().sum(1) + item_norms[items] + item_norms[negatives].sum(1)  # (B,)
        return (counts * (ranking + self.settings.lambda_reg * norms)).sum()
