"""ReFINe++: LightGCN trained with RW-SSM beside two dispreference autoencoders.

Read it in the order of the file:

    Propagation                 Z = mean of E, ÂE, ..., Â^L E            (LightGCN, He et al. 2020, eq. 8)
    draw_negatives              weighted sampling without replacement    (Efraimidis & Spirakis 2006)
    draw_for_each               one negative for each positive           (what BPR and ReFINe need)
    rw_ssm                      the Re-Weighted sampled-softmax loss     (ReFINe++)
    DispreferenceAutoencoder    confirmed negatives -> code -> confirmed negatives
    ReFINePlusPlus              the model: loss(batch), embeddings(), start_epoch(epoch)

Every model of this project, here and in baselines/, has those three verbs, parameter_groups() for the optimiser and
a generator for its sampling; the training loop knows nothing else of it.  Shapes are written behind the lines: U users,
I items, N = U + I nodes, d embedding dimensions, P positives of a batch, m distinct rows.  The plain, dense forms of
everything below are in tests/oracle.py; values and gradients must agree with them.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch_geometric.nn.conv.gcn_conv import gcn_norm

BLOCK = 2**25  # most entries of a (users x items) block held at once: 128 MiB of float32


class Propagation(nn.Module):
    """LightGCN's propagation Z = 1/(L+1) * sum_{k=0..L} Â^k E with Â = D^-1/2 A D^-1/2.

    Â is symmetric, so the gradient with respect to E is the same polynomial applied to the gradient with
    respect to Z: nothing has to be stored between the layers, and nothing is transposed.

    One layer is one `embedding_bag`: row n of ÂX is the weighted sum of the rows of X listed for node n,
    which is a sparse matrix product.  PyTorch's bag kernel did it 1.5 times faster on a CPU than its own CSR
    product (MKL, int32 indices) and 100 times faster than PyG's LGConv (benchmarks/epoch.py), and it runs
    unchanged on CUDA.
    """

    def __init__(self, users, items, n_users, n_items, layers):
        """users, items: (edges,) int64 tensors, one entry an edge of the train graph."""
        super().__init__()
        n = n_users + n_items
        edge_index = torch.stack((torch.cat((users, items + n_users)), torch.cat((items + n_users, users))))
        edge_index = edge_index[:, torch.argsort(edge_index[0], stable=True)]
        edge_index, weight = gcn_norm(edge_index, None, n, add_self_loops=False)  # (2, 2 edges), (2 edges,)
        degree = torch.bincount(edge_index[0], minlength=n)
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
            x = F.embedding_bag(
                self.neighbours, x, self.start, mode="sum", per_sample_weights=weight, include_last_offset=True
            )
            total += x
        return total.div_(self.layers + 1)

    def forward(self, table):
        return _Polynomial.apply(table, self)


class _Polynomial(torch.autograd.Function):
    @staticmethod
    def forward(ctx, table, propagation):
        ctx.propagation = propagation
        return propagation.polynomial(table)

    @staticmethod
    def backward(ctx, grad):
        return ctx.propagation.polynomial(grad.contiguous()), None


def draw_negatives(weight, n, generator=None):
    """Draw n items a row without replacement, with probability proportional to weight.

    weight: (rows, I), >= 0.  Returns item indices (rows, n) and a mask (rows, n) that is False where a row
    has fewer than n items of positive weight.  An exponential race: item j arrives at Exp(1)/w_j and the n
    first arrivals win, which is successive weighted drawing; unlike torch.multinomial it never waits for
    the device.
    """
    arrival = torch.empty_like(weight).exponential_(generator=generator).div_(weight)  # w = 0: never arrives
    arrival, items = arrival.topk(n, dim=1, largest=False)
    return items, arrival < torch.inf


def draw_for_each(users, items, n_items, weights, generator=None):
    """One negative for each positive (u, i), in proportion to the weights of u's row: (E,) items on their device.

    users, items: (E,) numpy arrays; weights: numpy array of users (m,) -> (m, I) tensor.  By inverting the cumulative
    weight, with the rows of a block of users laid end to end, so that the whole epoch takes one pass over the users.
    A user without an item of positive weight gets the positive itself, which teaches nothing.
    """
    distinct, row_of = np.unique(users, return_inverse=True)
    order, negatives = np.argsort(row_of, kind="stable"), []
    for first in range(0, len(distinct), block := max(1, BLOCK // 4 // n_items)):
        own = order[slice(*np.searchsorted(row_of[order], (first, first + block)))]  # the block's positives
        # In whole millionths, since sums of integers are exact, and the same on a GPU every time.
        mass = weights(distinct[first : first + block]).mul(2.0**20).round().long().flatten().cumsum(0)  # (block * I,)
        end = mass[n_items - 1 :: n_items]  # (block,)
        begin = torch.cat((end.new_zeros(1), end[:-1]))
        row = torch.from_numpy(row_of[own] - first).to(mass.device)  # (own,)
        at = torch.rand(len(own), dtype=torch.float64, device=mass.device, generator=generator)
        at = begin[row] + (at * (end - begin)[row]).long()
        found = torch.searchsorted(mass, at, right=True) - row * n_items
        itself = torch.from_numpy(items[own]).to(mass.device)
        negatives.append(torch.where((begin < end)[row], found, itself))
    return torch.cat(negatives)[torch.from_numpy(np.argsort(order)).to(negatives[0].device)]


def rw_ssm(positive, logsumexp_negatives):
    """RW-SSM: mean over positives (u,i) of log(1 + sum_{j in N} exp(s_uj - s_ui)).

    positive: (P,) scores s_ui.  logsumexp_negatives: (P,) log sum_{j in N} exp(s_uj).  Written as
    softplus(logsumexp(s_uj) - s_ui), since the exponentials themselves overflow.
    """
    return F.softplus(logsumexp_negatives - positive).mean()


class DispreferenceAutoencoder(nn.Module):
    """width -> hidden -> code -> hidden -> width over 0/1 rows; ReLU after hidden, none on the code.

    Trained on *all* rows of the user x item matrix of a batch's confirmed negatives, of which nearly all are
    zero.  Zero rows share one code and one output, so only the rows that hold something are computed, and
    one zero row stands for the rest.  The first layer is stored input-major: a 0/1 row times it is the sum
    of the listed rows, again an embedding_bag.
    """

    def __init__(self, width, hidden_dim, code_dim):
        super().__init__()
        first = nn.Linear(width, hidden_dim)  # only for its initial values
        self.to_code = nn.Linear(hidden_dim, code_dim)
        self.from_code = nn.Linear(code_dim, hidden_dim)
        self.last = nn.Linear(hidden_dim, width)
        # As in the released code: weights Xavier uniform, biases as torch leaves them.
        for layer in (first, self.to_code, self.from_code, self.last):
            nn.init.xavier_uniform_(layer.weight)
        self.first = nn.Parameter(first.weight.detach().t().contiguous())  # (width, hidden)
        self.first_bias = nn.Parameter(first.bias.detach())

    def forward(self, rows):
        """rows: dataloader.SparseRows with m rows.  Returns codes (m + 1, code), logits (m + 1, width);
        the last of each belongs to the zero row."""
        hidden = F.embedding_bag(rows.cols, self.first, rows.start, mode="sum", include_last_offset=True)
        codes = self.to_code(F.relu(hidden + self.first_bias))  # (m + 1, code)
        return codes, self.last(F.relu(self.from_code(codes)))  # (m + 1, width)


def reconstruction(logits, rows, n_rows):
    """Binary cross-entropy of the autoencoder, averaged over all n_rows x width entries of the input.

    BCE(x, t) = softplus(x) - t x for a logit x; the zero row's is counted once for every row not in `rows`.
    """
    per_row = F.softplus(logits).sum(1)  # (m + 1,)
    m, width = len(rows.ids), logits.shape[1]
    ones = logits[rows.row_of, rows.cols].sum()
    return (per_row[:m].sum() + (n_rows - m) * per_row[m] - ones) / (n_rows * width)


def alignment(z, codes, rows):
    """Mean squared error between embeddings z (n, d) and the rows' codes; absent rows have the zero row's."""
    target = codes[-1:].expand_as(z).index_copy(0, rows.ids, codes[:-1])  # (n, d)
    return F.mse_loss(z, target)


class ReFINePlusPlus(nn.Module):
    """ReFINe++ on one data set: total loss = RW-SSM + BCE(user) + BCE(item) + alignment (+ weight decay).

    data: dataloader.TrainData on the device of the model.  options: the flags of main.py.  The terms
    (lambda_reg/2)||E||^2 and (lambda_ae/2)||autoencoders||^2 are the optimiser's weight_decay, group by
    group (Adam adds lambda w to the gradient), so they cost no pass of their own; penalty() reports them.
    """

    trains_on, solutions = "signed", None  # see baselines/__init__.py
    flags = {
        "embedding_dim", "layers", "hidden_dim", "no_autoencoder", "no_alignment", "graph", "loss", "negatives",
        "n_negatives", "real_neg_samp_prob", "lambda_reg", "lambda_ae",
    }  # fmt: skip
    defaults = {"dataset_augment": "augment", "learning_rate": 1e-3, "lambda_reg": 1e-7}

    def __init__(self, data, options, generator=None):
        super().__init__()
        self.data, self.options, self.generator = data, options, generator
        self.n_negatives = min(options.n_negatives or max(1, data.n_items // 10), data.n_items)
        edges = data.positive if options.graph == "positive" else slice(None)
        self.propagation = Propagation(
            data.users[edges], data.items[edges], data.n_users, data.n_items, options.layers
        )
        self.table = nn.Parameter(torch.empty(data.n_users + data.n_items, options.embedding_dim))
        nn.init.xavier_uniform_(self.table)
        self.autoencoders = nn.ModuleList()
        if not options.no_autoencoder:
            for width in (data.n_items, data.n_users):
                self.autoencoders.append(
                    DispreferenceAutoencoder(width, options.hidden_dim, options.embedding_dim)
                )

    def parameter_groups(self):
        groups = [{"params": [self.table], "weight_decay": self.options.lambda_reg}]
        if len(self.autoencoders):
            groups.append({"params": list(self.autoencoders.parameters()), "weight_decay": self.options.lambda_ae})
        return groups

    @property
    def terms(self):
        """What the loss is made of, and the graph, in words."""
        o = self.options
        negatives = "one negative a positive" if o.loss == "bpr" else f"{self.n_negatives} {o.negatives} negatives"
        yield f"{'BPR' if o.loss == 'bpr' else 'RW-SSM'} ({negatives}, gamma {o.real_neg_samp_prob:g})"
        if not o.no_autoencoder:
            yield from ("BCE of users", "BCE of items", *(() if o.no_alignment else ("alignment",)))
            yield f"{o.lambda_ae:g}/2 ||autoencoders||^2"
        yield from (f"{o.lambda_reg:g}/2 ||E||^2", f"{o.graph} graph")

    def start_epoch(self, epoch):
        """With BPR, draw the epoch's negatives."""
        if self.options.loss == "bpr":
            users, items, _ = self.data.edges("positive")
            self.negatives = draw_for_each(users, items, self.data.n_items, self.negative_weights, self.generator)

    def embeddings(self):
        """Z of users (U, d) and items (I, d); the score of (u, i) is their dot product."""
        return self.propagation(self.table).split((self.data.n_users, self.data.n_items))

    def loss(self, batch):
        """The objective of one dataloader.Batch, a scalar, without the weight penalties."""
        z_users, z_items = self.embeddings()
        loss = 0 * z_users[0].sum()  # a batch without positives, and no autoencoders: still something to differentiate
        if len(batch.users):
            loss = loss + self.ranking_loss(batch, z_users, z_items)
        sides = ((z_users, batch.negatives_by_user), (z_items, batch.negatives_by_item))
        for autoencoder, (z, rows) in zip(self.autoencoders, sides if self.autoencoders else (), strict=True):
            codes, logits = autoencoder(rows)
            loss = loss + reconstruction(logits, rows, len(z))
            if not self.options.no_alignment:
                loss = loss + alignment(z, codes, rows)
        return loss

    def ranking_loss(self, batch, z_users, z_items):
        """RW-SSM with shared or per-user negatives, or BPR, which is RW-SSM with one negative of each positive's own.
        The sum over N depends on the user only, so it is computed once a distinct user and then handed to that
        user's positives."""
        positive = (z_users[batch.users] * z_items[batch.items]).sum(1)  # (P,)
        if self.options.loss == "bpr":
            return rw_ssm(positive, (z_users[batch.users] * z_items[self.negatives[batch.positive_numbers]]).sum(1))
        distinct = z_users[batch.distinct_users]  # (m, d)
        if self.options.negatives == "shared":
            # The released code draws one set, for the user of one positive, and uses it for the whole batch.
            weight = self.negative_weights(batch.users_host[:1])  # (1, I); the batch is shuffled: any positive
            items, drawn = draw_negatives(weight, self.n_negatives, self.generator)
            lse = masked_logsumexp(distinct @ z_items[items[0]].t(), drawn)  # (m, n) -> (m,)
        else:
            block, lse = max(1, BLOCK // self.data.n_items), []
            for first in range(0, len(distinct), block):
                weight = self.negative_weights(batch.distinct_users_host[first : first + block])  # (block, I)
                items, drawn = draw_negatives(weight, self.n_negatives, self.generator)
                scores = distinct[first : first + block] @ z_items.t()  # (block, I)
                lse.append(masked_logsumexp(scores.gather(1, items), drawn))
            lse = torch.cat(lse)  # (m,)
        return rw_ssm(positive, lse[batch.distinct_of])

    def negative_weights(self, users):
        return signed_weights(self.data, users, self.options.real_neg_samp_prob)


def signed_weights(data, users, gamma):
    """Sampling weights (len(users), I): 0 for a user's train positives, gamma for confirmed negatives, 1 for every
    other item.  users: numpy array on the host, where the row lengths are known."""
    weight = torch.ones(len(users), data.n_items, device=data.device)
    weight[data.positives.entries(users)] = 0.0
    weight[data.confirmed_negatives.entries(users)] = gamma
    return weight


def masked_logsumexp(scores, keep):
    """logsumexp over the kept entries of each row; a row without any gives about -1e38, that is log 0."""
    return scores.masked_fill(~keep, torch.finfo(scores.dtype).min / 2).logsumexp(1)


@torch.no_grad()
def penalty(optimizer):
    """sum over parameter groups of (weight_decay / 2) * ||w||^2, a scalar on the device, for the log; 0 without any."""
    groups = [group for group in optimizer.param_groups if group["weight_decay"]]
    return sum(group["weight_decay"] / 2 * nn.utils.get_total_norm(group["params"]) ** 2 for group in groups)
