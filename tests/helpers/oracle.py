"""The plain forms that the fast paths must agree with: dense matrices, loops, nothing clever.

Also what benchmarks/epoch.py calls the plain form: every step moves dense |U| x |I| matrices.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch_geometric.nn import LGConv


def dense_adjacency(users, items, n_users, n_items, dtype=torch.float32):
    """Â = D^-1/2 A D^-1/2 as a dense (N, N) matrix."""
    a = torch.zeros(n_users + n_items, n_users + n_items, dtype=dtype)
    a[users, items + n_users] = 1
    a[items + n_users, users] = 1
    scale = a.sum(1).clamp(min=1).rsqrt()
    return scale[:, None] * a * scale[None, :]


def dense_propagation(table, adjacency, layers):
    layer, total = table, table
    for _ in range(layers):
        layer = adjacency @ layer
        total = total + layer
    return total / (layers + 1)


class PygPropagation(nn.Module):
    """PyG's own LGConv, normalising anew in every layer, as most LightGCN code does."""

    def __init__(self, users, items, n_users, layers):
        super().__init__()
        edge_index = torch.stack((torch.cat((users, items + n_users)), torch.cat((items + n_users, users))))
        self.register_buffer("edge_index", edge_index)
        self.conv, self.layers = LGConv(), layers

    def forward(self, table):
        layer, total = table, table
        for _ in range(self.layers):
            layer = self.conv(layer, self.edge_index)
            total = total + layer
        return total / (self.layers + 1)


def dense_autoencoder(autoencoder, x):
    """The same weights as plain nn.Linear algebra on a dense 0/1 matrix x (rows, width): codes, sigmoid output."""
    hidden = F.relu(x @ autoencoder.first + autoencoder.first_bias)
    codes = autoencoder.to_code(hidden)
    return codes, torch.sigmoid(autoencoder.last(F.relu(autoencoder.from_code(codes))))


def rw_ssm(z_users, z_items, users, items, negatives, kappa=0, confirmed=()):
    """mean over positives of log(1 + sum_j exp(s_uj - s_ui)); negatives: one list of items for each positive.

    kappa: weight of the user's confirmed negatives, pairs (user, item), which are summed over, too.
    """
    terms = []
    for u, i, own in zip(users, items, negatives, strict=True):
        s_ui = z_users[u] @ z_items[i]
        total = sum(torch.exp(z_users[u] @ z_items[j] - s_ui) for j in own)
        total = total + kappa * sum(torch.exp(z_users[u] @ z_items[j] - s_ui) for v, j in confirmed if v == u)
        terms.append(torch.log1p(total))
    return torch.stack(terms).mean()


def plain_loss(model, propagation, positive, confirmed):
    """One step's full objective in the plain form.  positive, confirmed: (users, items) of the batch.

    Dense everywhere: both autoencoders see all rows, the sampling weights are a dense |U| x |I| matrix, the norms
    stand in the loss, and each term that needs embeddings propagates for itself.  Draws the shared negatives with
    model.generator, exactly as the fast form does.
    """
    data, options = model.data, model.settings
    sizes = data.n_users, data.n_items
    z_users, z_items = propagation(model.table).split(sizes)
    device = model.table.device
    weight = torch.ones(data.n_users, data.n_items, device=device)
    weight[data.users[data.positive], data.items[data.positive]] = 0
    weight[data.users[~data.positive], data.items[~data.positive]] = options.real_neg_samp_prob
    users, items = positive
    arrival = torch.empty(1, data.n_items, device=device).exponential_(generator=model.generator) / weight[users[:1]]
    negatives = arrival[0].argsort()[: model.n_negatives]
    difference = z_users[users] @ z_items[negatives].t() - (z_users[users] * z_items[items]).sum(1, keepdim=True)
    loss = torch.log1p(torch.exp(difference).sum(1)).mean()
    x = torch.zeros(data.n_users, data.n_items, device=device)
    x[confirmed] = 1
    z_sides = propagation(model.table).split(sizes)
    for autoencoder, z, rows in zip(model.autoencoders(), z_sides, (x, x.t()), strict=True):
        codes, output = dense_autoencoder(autoencoder, rows)
        loss = loss + F.binary_cross_entropy(output, rows) + F.mse_loss(z, codes)
    loss = loss + options.lambda_reg / 2 * model.table.norm() ** 2
    weights = [p for autoencoder in model.autoencoders() for p in autoencoder.parameters()]
    return loss + options.lambda_ae / 2 * sum(p.norm() ** 2 for p in weights)
