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

from model import Propagation


def add_flags(add):
    add("--siren_neg_coef", type=float, default=2.0,
        help="c of a disliked item: 2 in the final official code, -1 in its first release, another model")
    add("--siren_mlp_layers", type=int, default=2, help="layers of the negative branch")
    add("--siren_dropout", type=float, default=0.5, help="of the negative branch and the attention")  # fmt: skip


class UnratedSampler:
    """Draws items that a user has not rated in train, in proportion to a weight an item, in one exact pass.

    The items' weights laid end to end are a line; the rated items of a user cut pieces out of it.  A point of what is
    left, moved right by the pieces before it, names the item.  How many pieces those are is one binary search over all
    users' cuts, so nothing is rejected and no (users x items) matrix is needed.  Weights are whole numbers here,
    so that no rounding can ever name a rated item.
    """

    def __init__(self, data, weight):
        """weight: (I,) float64 tensor, >= 0."""
        users, items = data.seen.all_entries()  # (entries,)
        scale = min(2.0**20, 2.0**52 / float(weight.sum()), 2.0**62 / (data.n_users + 1) / float(weight.sum()))
        weight = (weight * scale).round().long()  # (I,)
        self.line = weight.cumsum(0)  # (I,) where each item ends
        cut = weight[items].cumsum(0)  # (entries,)
        start = torch.from_numpy(data.seen.start).to(items.device)  # (U + 1,)
        cut = torch.cat((cut.new_zeros(1), cut))  # (entries + 1,)
        before = cut[:-1] - cut[start[users]]  # (entries,) cut out of the user's line before this entry
        self.left = self.line[-1] - (cut[start[1:]] - cut[start[:-1]])  # (U,) what is left of each user's line
        self.stride = self.line[-1] + 1
        # Where each cut lies on the shortened line, made increasing over all users by an offset a user.
        self.cuts = users * self.stride + self.line[items] - weight[items] - before  # (entries,)
        self.start, self.cut = start, cut

    def draw(self, users, n, generator):
        """(len(users), n) items, with replacement; any items for a user with nothing left.  users: int64 tensor."""
        left = self.left[users][:, None].clamp(min=1)  # (m, 1)
        uniform = torch.rand(len(users), n, dtype=torch.float64, device=users.device, generator=generator)
        point = (uniform * left).long().minimum(left - 1)  # (m, n)
        begin = self.start[users][:, None]
        passed = torch.searchsorted(self.cuts, users[:, None] * self.stride + point, right=True)  # (m, n)
        found = torch.searchsorted(self.line, point + self.cut[passed] - self.cut[begin], right=True)
        return found.clamp(max=len(self.line) - 1)


class SiReN(nn.Module):
    trains_on, solutions = "all", None
    flags = {
        "embedding_dim", "layers", "lambda_reg", "n_negatives", "siren_neg_coef", "siren_mlp_layers", "siren_dropout",
    }  # fmt: skip
    defaults = {"dataset_augment": "original", "learning_rate": 5e-3, "lambda_reg": 0.05, "n_negatives": 40}

    def __init__(self, data, options, generator):
        super().__init__()
        self.data, self.options, self.generator = data, options, generator
        self.terms = (
            f"{options.n_negatives} unrated negatives an edge by degree^0.75", f"c {options.siren_neg_coef:g}",
            f"{options.lambda_reg:g} ||Z of the batch||^2", f"MLP of {options.siren_mlp_layers} layers",
            f"dropout {options.siren_dropout:g}",
        )  # fmt: skip
        users, items = data.users[data.positive], data.items[data.positive]
        self.propagation = Propagation(users, items, data.n_users, data.n_items, options.layers)
        n, d = data.n_users + data.n_items, options.embedding_dim
        self.positive_table, self.negative_table = (nn.Parameter(torch.empty(n, d)) for _ in range(2))
        self.mlp = nn.ModuleList(nn.Linear(d, d) for _ in range(options.siren_mlp_layers))
        for weight in (self.positive_table, self.negative_table, *(layer.weight for layer in self.mlp)):
            nn.init.xavier_normal_(weight)
        self.attention, self.query = nn.Linear(d, d), nn.Linear(d, 1, bias=False)
        degree = torch.bincount(data.seen.all_entries()[1], minlength=data.n_items)
        self.sampler = UnratedSampler(data, degree.double() ** 0.75)

    def parameter_groups(self):
        return [{"params": list(self.parameters())}]

    def start_epoch(self, epoch):
        """Nothing to prepare."""

    def branches(self):
        """Z^p and Z^n, (N, d) each."""
        z = self.negative_table
        for layer in self.mlp:
            z = F.dropout(F.relu(layer(z)), self.options.siren_dropout, self.training)
        return self.propagation(self.positive_table), z

    def embeddings(self):
        """Z of users (U, d) and items (I, d); the score of (u, i) is their dot product."""
        branches = torch.stack(self.branches())  # (2, N, d)
        hidden = F.dropout(torch.tanh(self.attention(branches)), self.options.siren_dropout, self.training)
        alpha = self.query(hidden).softmax(0)  # (2, N, 1)
        return (alpha * branches).sum(0).split((self.data.n_users, self.data.n_items))

    def loss(self, batch):
        negative_users, negative_items = batch.negatives_by_user.entries()
        users = torch.cat((batch.users, negative_users))  # (B,)
        items = torch.cat((batch.items, negative_items))  # (B,)
        c = torch.ones(len(users), device=users.device)
        c[len(batch.users) :] = self.options.siren_neg_coef
        negatives = self.sampler.draw(users, self.options.n_negatives, self.generator)  # (B, n)
        return self.ranking_loss(users, items, c, negatives, self.sampler.left[users] > 0)

    def ranking_loss(self, users, items, c, negatives, counts):
        """users, items, c: (B,) edges and their coefficients; negatives: (B, n); counts: (B,) False for an edge whose
        user has rated everything."""
        z_users, z_items = self.embeddings()
        z_u = z_users[users]  # (B, d)
        positive = c * (z_u * z_items[items]).sum(1)  # (B,)
        # All scores of the users, then n of each: a matrix product is faster than fetching B x n embeddings.
        negative = (z_u @ z_items.t()).gather(1, negatives)  # (B, n)
        ranking = F.softplus(negative - positive[:, None]).sum(1)  # (B,)
        item_norms = z_items.square().sum(1)  # (I,), once an item rather than once a negative
        norms = z_u.square().sum(1) + item_norms[items] + item_norms[negatives].sum(1)  # (B,)
        return (counts * (ranking + self.options.lambda_reg * norms)).sum()
