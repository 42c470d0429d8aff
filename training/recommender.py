"""The interface that every model implements, and what models on a graph share.

    Recommender         the interface that every model implements
    Propagation         Z = mean of E, ÂE, ..., Â^L E            (LightGCN, He et al. 2020, eq. 8)
    GraphRecommender    a table of embeddings E and its propagation
    penalty             the norms that weight decay stands for, for the log

Shapes are written behind the lines: U users, I items, N = U + I nodes, d embedding dimensions.
"""

import torch
import torch.nn.functional as F
from torch import nn

from machine import processes
from machine.hardware import upload
from utils import InputError


class Recommender(nn.Module):
    """The interface that every model implements.

    Its settings and whether it is trained by gradient stand in options.models.MODELS.  A class says of itself:

    trains_on     the train interactions it learns from, for TrainData.edges
    columns       of metrics.csv, before the metrics
    cut_along     {parameter: dimension} along which several processes share it (machine/processes.py); None: one
                  process only
    """

    trains_on = "positive"
    columns = ("epoch", "loss")
    cut_along = None

    def __init__(self, data, settings, generator=None):
        """data: dataloader.TrainData on the device of the model.  settings: the model's own (options/models.py).
        generator: of all random numbers but initial weights and dropout, on the same device."""
        super().__init__()
        self.data, self.settings, self.generator = data, settings, generator

    def terms(self):
        """What the model is made of, in words for the log: a list."""
        raise NotImplementedError

    def settled(self):
        """{flag: value} of the flags that were left to the data, for the log and config.json."""
        return {}

    def embeddings(self):
        """Users (U, d) and items (I, d); the score of (u, i) is their dot product."""
        raise NotImplementedError

    # What a finished run may be asked for (recommend.py); a model that has no answer says so:

    def fold_in(self, users, items, ratings, n_users):
        """Rows (n_users, d) of users that were not trained on, whose dot products with the items of embeddings() are
        their scores.

        users (from 0), items (numbers), ratings (1 to 5): (n,) numpy arrays, a row of each rating.  Raises InputError
        where the model knows nobody but those that it was trained on.
        """
        raise self.refusal("a new user has no scores: it knows those alone that it was trained on")

    @torch.no_grad()
    def similarities(self, item):
        """(I,) how alike each item is to the item of this number: the cosine of their embeddings, if no other is
        meant.  Raises InputError of a model that knows no likeness of items."""
        return cosines(self.embeddings()[1], item)

    def refusal(self, why):
        """An InputError about this model."""
        return InputError(f"{type(self).__name__}: {why}")

    # A model trained by gradient:

    def parameter_groups(self):
        """For Adam.  A group's weight_decay stands for a norm in the loss, see penalty()."""
        return [{"params": list(self.parameters())}]

    def start_epoch(self, epoch):
        """Called before the first step of each epoch, from 1.  May return a note for the log."""

    def epoch_state(self):
        """{name: tensor} of what start_epoch made, for a run that is resumed in the middle of an epoch."""
        return {}

    def load_epoch_state(self, state):
        for name, tensor in state.items():
            setattr(self, name, tensor.to(self.data.device))

    def loss(self, batch):
        """The objective of one dataloader.Batch, a scalar without the norms that weight decay stands for.  It needs no
        gradient where the batch holds nothing that the model learns from."""
        raise NotImplementedError

    # A closed-form model has instead:

    grid = ()  # the settings to choose from on validation, each a dict {name: value} for the log

    def solve(self, setting):
        """The solution for one setting of the grid."""
        raise NotImplementedError


class Propagation(nn.Module):
    """LightGCN's propagation Z = 1/(L+1) * sum_{k=0..L} Â^k E with Â = D^-1/2 A D^-1/2.

    Â is symmetric, so the gradient with respect to E is the same polynomial applied to the gradient with respect to Z:
    nothing has to be stored between the layers, and nothing is transposed.

    One layer is one `embedding_bag`: row n of ÂX is the weighted sum of the rows of X listed for node n, which is a
    sparse matrix product.  PyTorch's bag kernel did it about 3 times faster on a CPU than its own CSR product (MKL,
    int32 indices) and 150 times faster than PyG's LGConv (benchmarks/propagation.py), and it runs unchanged on CUDA.
    """

    def __init__(self, users, items, n_users, n_items, layers):
        """users, items: (edges,) int64 tensors, one entry an edge of the train graph."""
        from torch_geometric.nn.conv.gcn_conv import gcn_norm  # all of torch_geometric, for which only graphs need wait

        super().__init__()
        n_nodes = n_users + n_items
        item_nodes = items + n_users
        edge_index = torch.stack((torch.cat((users, item_nodes)), torch.cat((item_nodes, users))))
        edge_index = edge_index[:, torch.argsort(edge_index[0], stable=True)]
        # (2, 2 edges), (2 edges,)
        edge_index, weight = gcn_norm(edge_index, None, n_nodes, add_self_loops=False)
        degree = torch.bincount(edge_index[0], minlength=n_nodes)
        start = torch.cat((degree.new_zeros(1), degree.cumsum(0)))  # (N + 1,)
        self.layers = layers
        # int32 halves what a layer reads; buffers are not saved, the graph is rebuilt from the data.
        self.register_buffer("start", start.int(), persistent=False)
        self.register_buffer("neighbours", edge_index[1].int(), persistent=False)
        self.register_buffer("weight", weight, persistent=False)

    def polynomial(self, x):
        """Apply 1/(L+1) * sum_k Â^k to x, (N, d) -> (N, d), outside autograd."""
        weight = self.weight.to(x.dtype)
        total = x.clone()
        for _ in range(self.layers):
            x = self.layer(x, weight)
            total += x
        return total.div_(self.layers + 1)

    def layer(self, x, weight):
        """Â x, outside autograd.  weight: self.weight in the type of x."""
        weights = {"mode": "sum", "per_sample_weights": weight}
        return F.embedding_bag(self.neighbours, x, self.start, include_last_offset=True, **weights)

    def forward(self, table):
        return _Polynomial.apply(table, self)

    def hops(self, table):
        """E, ÂE, ..., Â^L E apart, (L + 1, N, d).  Their mean is forward(table)."""
        return _Hops.apply(table, self)


class _Polynomial(torch.autograd.Function):
    @staticmethod
    def forward(ctx, table, propagation):
        ctx.propagation = propagation
        return propagation.polynomial(table)

    @staticmethod
    def backward(ctx, grad):
        return ctx.propagation.polynomial(grad.contiguous()), None


class _Hops(torch.autograd.Function):
    @staticmethod
    def forward(ctx, table, propagation):
        ctx.propagation = propagation
        weight = propagation.weight.to(table.dtype)
        hops = [table]
        for _ in range(propagation.layers):
            hops.append(propagation.layer(hops[-1], weight))
        return torch.stack(hops)

    @staticmethod
    def backward(ctx, grads):
        """G_0 + Â G_1 + ... + Â^L G_L by Horner's scheme: L products, nothing stored between the layers."""
        weight = ctx.propagation.weight.to(grads.dtype)
        *before, grad = grads
        for earlier in reversed(before):
            grad = ctx.propagation.layer(grad.contiguous(), weight) + earlier
        return grad, None


class GraphRecommender(Recommender):
    """A table of embeddings E, (N, d), and its propagation over a graph of train interactions.

    The table is made here and filled by the subclass, with the initial values that are its own.
    """

    layers = None  # a number that the class fixes, for the flag --layers

    def __init__(self, data, settings, generator, edges):
        """edges: which of data.users and data.items are edges of the graph; a (E,) bool tensor or a slice."""
        super().__init__(data, settings, generator)
        users, items = data.users[edges], data.items[edges]
        layers = settings.layers if self.layers is None else self.layers
        self.propagation = Propagation(users, items, data.n_users, data.n_items, layers)
        self.table = nn.Parameter(torch.empty(data.n_users + data.n_items, settings.embedding_dim))

    def by_side(self, nodes):
        """(N, d) -> users (U, d), items (I, d)"""
        return nodes.split((self.data.n_users, self.data.n_items))

    def embeddings(self):
        return self.by_side(self.propagation(self.table))

    def is_edge(self, ratings):
        """Which ratings, (n,), are edges of the graph: those of the positives, where a model has no others."""
        return ratings >= 4

    @torch.no_grad()
    def fold_in(self, users, items, ratings, n_users):
        return self.folded(self.embeddings()[1], users, items, ratings, n_users)

    def folded(self, z_items, users, items, ratings, n_users):
        """A layer of the propagation from the items' final embeddings (I, d) to new users, (n_users, d): z_u = sum over
        the edges of u of z_i / sqrt(degree of u x degree of i), degrees of items as in the train graph.

        A user's own row of E, which training alone could give, is left out.  Of a model without a layer (MF) degrees
        count for nothing: the sum.
        """
        edges = self.is_edge(ratings)
        users, items = upload([users[edges], items[edges]], z_items.device)
        degree = self.propagation.start.diff()[self.data.n_users :].clamp(min=1)  # (I,) an item may have no edge
        if not self.propagation.layers:
            degree = torch.ones_like(degree)
        own = torch.bincount(users, minlength=n_users).clamp(min=1)  # (n_users,)
        weight = (own[users] * degree[items]).rsqrt()[:, None]  # (edges, 1)
        return z_items.new_zeros(n_users, z_items.shape[1]).index_add_(0, users, weight * z_items[items])


def cosines(items, item):
    """(I,) the cosine of each row of items (I, d) with that of the item of this number."""
    items = F.normalize(items)
    return items @ items[item]


@torch.no_grad()
def penalty(optimizer):
    """sum over parameter groups of (weight_decay / 2) * ||w||^2, a scalar on the device, for the log; 0 without any."""
    total = 0
    for group in optimizer.param_groups:
        if group["weight_decay"]:
            weights = group["params"]
            if processes.number():  # in the sum over processes, the first alone counts what is not cut
                weights = filter(processes.cut_of, weights)
            square = nn.utils.get_total_norm(weights) ** 2
            total = total + group["weight_decay"] / 2 * processes.total(square)
    return total
