"""ReFINe++: LightGCN trained with RW-SSM beside two dispreference autoencoders.

Read it in the order of the file:

    rw_ssm                      the Re-Weighted sampled-softmax loss
    DispreferenceAutoencoder    confirmed negatives -> code -> confirmed negatives
    ReFINePlusPlus              the model

The propagation and what every model has: training/recommender.py.  Negative sampling: training/sampling.py.  Shapes
are written behind the lines: U users, I items, N = U + I nodes, d embedding dimensions, P positives of a batch, m
distinct rows.  The plain, dense forms of everything below are in tests/helpers/oracle.py; values and gradients must
agree with them.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from dataloader import SparseRows
from machine import processes
from machine.hardware import upload
from training.recommender import GraphRecommender, cosines
from training.sampling import BLOCK, draw_for_each, draw_negatives, sampling_weights, scores_of_pairs
from utils import InputError


def rw_ssm(positive, logsumexp_negatives, weight=None):
    """RW-SSM: mean over positives (u,i) of log(1 + sum_{j in N} exp(s_uj - s_ui)).

    positive: (P,) scores s_ui.  logsumexp_negatives: (P,) log sum_{j in N} exp(s_uj).  weight: (P,), where the mean is
    weighted.  Written as softplus(logsumexp(s_uj) - s_ui), since the exponentials themselves overflow.  With one
    negative it is BPR's -log sigmoid(s_ui - s_uj).
    """
    losses = F.softplus(logsumexp_negatives - positive)  # (P,)
    if weight is None:
        return losses.mean()
    return (weight * losses).sum() / weight.sum()


def masked_logsumexp(scores, keep):
    """logsumexp over the kept entries of each row; a row without any gives about -1e38, that is log 0."""
    return scores.masked_fill(~keep, torch.finfo(scores.dtype).min / 2).logsumexp(1)


ROWS = 64  # in bfloat16 the autoencoders' rows are padded to a multiple of this


class DispreferenceAutoencoder(nn.Module):
    """width -> hidden -> code -> hidden -> width over 0/1 rows; ReLU after hidden, none on the code.

    Trained on *all* rows of the user x item matrix of a batch's confirmed negatives, of which nearly all are zero.
    Zero rows share one code and one output, so only the rows that hold something are computed, and one zero row stands
    for the rest.  The first layer is stored input-major: a 0/1 row times it is the sum of the listed rows, again an
    embedding_bag.

    Of several processes each has some rows of the first layer, some codes and the same columns of the last layer as of
    the input.  The hidden units are sums over processes, and whole.
    """

    cut_along = {
        "first": 0, "to_code.weight": 0, "to_code.bias": 0, "from_code.weight": 1, "last.weight": 0, "last.bias": 0,
    }  # fmt: skip

    def __init__(self, width, hidden_dim, code_dim, precision="float32"):
        """precision: float32, or bfloat16 for the products of the last three layers; weights stay float32."""
        super().__init__()
        self.width, self.precision = width, precision
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
        """rows: dataloader.SparseRows with m rows.  Returns codes (m + 1, code), logits (m + 1, width); the last of
        each belongs to the zero row."""
        bags = F.embedding_bag(rows.cols, self.first, rows.start, mode="sum", include_last_offset=True)
        n = len(bags)  # m + 1
        half = self.precision == "bfloat16"
        if half:  # oneDNN compiles and keeps a kernel for every shape that it meets: make them few
            bags = F.pad(bags, (0, 0, 0, -n % ROWS))  # zero rows, cut off again below
        with torch.autocast(bags.device.type, torch.bfloat16, enabled=half):
            hidden = F.relu(processes.total(bags) + self.first_bias)  # (m + 1, hidden)
            codes = self.to_code(processes.shared(hidden))  # (m + 1, code)
            hidden = F.relu(self.hidden_of(codes))  # (m + 1, hidden)
            logits = self.last(processes.shared(hidden))  # (m + 1, width)
        return codes[:n].to(bags.dtype), logits[:n].to(bags.dtype)  # the losses are sums of many small terms

    def hidden_of(self, codes):
        """from_code of codes of which each process has some columns, (m + 1, code) -> (m + 1, hidden)."""
        if processes.count() == 1:
            return self.from_code(codes)
        product = F.linear(codes, self.from_code.weight).to(self.from_code.bias.dtype)
        return processes.total(product) + self.from_code.bias


def reconstruction(logits, rows, n_rows, width=None):
    """Binary cross-entropy of the autoencoder, averaged over all n_rows x width entries of the input.

    BCE(x, t) = softplus(x) - t x for a logit x; the zero row's is counted once for every row not in `rows`.
    width: where logits and rows are of a process' own columns only, of which the loss is then its part.
    """
    per_row = F.softplus(logits).sum(1)  # (m + 1,)
    m = len(rows.ids)
    ones = logits[rows.row_of, rows.cols].sum()
    return (per_row[:m].sum() + (n_rows - m) * per_row[m] - ones) / (n_rows * (width or logits.shape[1]))


def alignment(z, codes, rows):
    """Mean squared error between embeddings z (n, d) and the rows' codes; absent rows have the zero row's."""
    target = codes[-1:].expand_as(z).index_copy(0, rows.ids, codes[:-1])  # (n, d)
    return F.mse_loss(z, target)


def with_own_negatives(lse, scores, owner, kappa):
    """log(exp(lse) + kappa * sum over a user's confirmed negatives of exp(s)), (m,).

    lse: (m,) of the sampled negatives.  scores: (n,) of all users' confirmed negatives.  owner: (n,) whose, below m.
    """
    most = lse.detach().scatter_reduce(0, owner, scores.detach(), "amax")  # (m,) so that no exponential overflows
    own = torch.zeros_like(lse).index_add(0, owner, (scores - most[owner]).exp())  # (m,)
    return most + ((lse - most).exp() + kappa * own).log()


def in_deviations(users, items):
    """Users (U, d) over the standard deviation of their scores for the items (I, d), which need not be made for it."""
    items = items - items.mean(0)  # (I, d)
    square = ((users @ (items.t() @ items / len(items))) * users).sum(1, keepdim=True)  # (U, 1) variance
    return users / square.clamp(min=1e-18).sqrt()


def weights_of_stars(data, weights):
    """The weight of each positive train edge in the ranking loss, (positives,); None where all weigh the same.

    weights: of a refined rating that is liked (4.5), of a 4 and of a 5.
    """
    if set(weights) == {1}:
        return None
    rating = data.train.rating[data.train.rating >= 4]
    refined, four, five = weights
    weight = np.select([rating == 4, rating == 5], [four, five], refined)
    return torch.from_numpy(weight).float().to(data.device)


class ReFINePlusPlus(GraphRecommender):
    """ReFINe++ on one data set: total loss = RW-SSM + BCE(user) + BCE(item) + alignment (+ weight decay).

    The terms (lambda_reg/2)||E||^2 and (lambda_ae/2)||autoencoders||^2 are the optimiser's weight_decay, group by
    group (Adam adds lambda w to the gradient), so they cost no pass of their own; penalty() reports them.
    """

    trains_on = "signed"
    cut_along = {"table": 1}

    def __init__(self, data, settings, generator=None):
        edges = data.positive if settings.graph == "positive" else slice(None)
        super().__init__(data, settings, generator, edges)
        nn.init.xavier_uniform_(self.table)
        self.user_autoencoder = self.item_autoencoder = None
        if not settings.no_autoencoder:
            sizes = settings.hidden_dim, settings.embedding_dim, settings.precision
            self.user_autoencoder = DispreferenceAutoencoder(data.n_items, *sizes)
            self.item_autoencoder = DispreferenceAutoencoder(data.n_users, *sizes)
        if settings.loss == "rw_ssm":
            wanted = settings.n_negatives or max(1, data.n_items // 10)
            self.n_negatives = min(wanted, data.n_items)
        if settings.rejection and processes.count() > 1:
            raise InputError("--rejection: one process only; leave it out, or start the run without torchrun")
        self.negatives = None  # with BPR: one for each positive, drawn anew every epoch
        self.weights = weights_of_stars(data, settings.star_weights)  # (positives,) or None

    def settled(self):
        return {"n_negatives": self.n_negatives} if self.settings.loss == "rw_ssm" else {}

    def autoencoders(self):
        """[] or [of users, of items]"""
        return [self.user_autoencoder, self.item_autoencoder] if self.user_autoencoder else []

    def parameter_groups(self):
        groups = [{"params": [self.table], "weight_decay": self.settings.lambda_reg}]
        if self.user_autoencoder:
            parameters = [weight for autoencoder in self.autoencoders() for weight in autoencoder.parameters()]
            groups.append({"params": parameters, "weight_decay": self.settings.lambda_ae})
        return groups

    def terms(self):
        o = self.settings
        if o.loss == "bpr":
            terms = [f"BPR (one negative a positive, gamma {o.real_neg_samp_prob:g})"]
        else:
            own = f", kappa {o.kappa:g}" if o.kappa else ""
            terms = [f"RW-SSM ({self.n_negatives} {o.negatives} negatives, gamma {o.real_neg_samp_prob:g}{own})"]
        if not o.no_autoencoder:
            terms += ["BCE of users", "BCE of items"]
            if not o.no_alignment:
                terms.append("alignment")
            terms.append(f"{o.lambda_ae:g}/2 ||autoencoders||^2")
            if o.rejection:
                terms.append(f"lists ranked by scores less {o.rejection:g} x what a user rejects")
        if self.weights is not None:
            terms[0] += f", stars weighted {' '.join(f'{weight:g}' for weight in o.star_weights)}"
        return [*terms, f"{o.lambda_reg:g}/2 ||E||^2", f"{o.graph} graph"]

    def is_edge(self, ratings):
        return (ratings >= 4) if self.settings.graph == "positive" else (ratings >= 4) | (ratings <= 1)

    def embeddings(self):
        """With --rejection, a list's scores know what a user rejects; the loss, in training mode, does not."""
        z_users, z_items = super().embeddings()
        if self.training or not self.settings.rejection:
            return z_users, z_items
        users, items = (part.cpu().numpy() for part in self.data.confirmed_negatives.all_entries())
        return self.with_rejection(z_users, z_items, users, items)

    @torch.no_grad()
    def fold_in(self, users, items, ratings, n_users):
        _, z_items = super().embeddings()
        z_users = self.folded(z_items, users, items, ratings, n_users)
        if not self.settings.rejection:
            return z_users
        disliked = ratings <= 1
        return self.with_rejection(z_users, z_items, users[disliked], items[disliked])[0]

    @torch.no_grad()
    def similarities(self, item):
        return cosines(super().embeddings()[1], item)

    def with_rejection(self, z_users, z_items, users, items):
        """Users (U, d) and items (I, d) with what users reject behind them.

        users, items: the (user, item) pairs of the users' confirmed negatives, numpy arrays.
        """
        rejected, logits_of = self.reconstructed(users, items, len(z_users))
        rejected = -self.settings.rejection * in_deviations(rejected, logits_of)
        return torch.cat((in_deviations(z_users, z_items), rejected), 1), torch.cat((z_items, logits_of), 1)

    def reconstructed(self, users, items, n_users):
        """Users (n_users, hidden + 1) and items (I, hidden + 1) whose dot products are the logits of the users'
        autoencoder, its input being all confirmed negatives of a user: the pairs (users, items)."""
        rows = SparseRows(*upload(SparseRows.arrays(users, items), self.table.device))
        codes, _ = self.user_autoencoder(rows)  # (m + 1, code)
        codes = codes[-1:].expand(n_users, -1).index_copy(0, rows.ids, codes[:-1])  # (n_users, code)
        hidden = F.relu(self.user_autoencoder.from_code(codes))  # (U, hidden)
        last = self.user_autoencoder.last
        return torch.cat((hidden, torch.ones_like(hidden[:, :1])), 1), torch.cat((last.weight, last.bias[:, None]), 1)

    def start_epoch(self, epoch):
        """With BPR, draw the epoch's negatives."""
        if self.settings.loss == "bpr":
            positives = self.data.edges("positive")
            pairs = positives.users, positives.items
            self.negatives = draw_for_each(*pairs, self.data.n_items, self.negative_weights, self.generator)

    def epoch_state(self):
        return {} if self.negatives is None else {"negatives": self.negatives}

    def loss(self, batch):
        z_users, z_items = self.embeddings()
        terms, own = [], []
        if len(batch.users):  # the shuffled batch may hold no positive
            terms.append(self.ranking_loss(batch, z_users, z_items))
        if self.user_autoencoder:
            own += self.dispreference_terms(self.user_autoencoder, z_users, batch.negatives_by_user)
            own += self.dispreference_terms(self.item_autoencoder, z_items, batch.negatives_by_item)
        terms += processes.totals(own)
        return sum(terms, start=torch.zeros((), device=self.table.device))

    def dispreference_terms(self, autoencoder, z, rows):
        """The losses of one side, of this process' own columns.  z: (n, d) of all users or items.  rows: the batch's
        confirmed negatives."""
        codes, logits = autoencoder(rows)
        terms = [reconstruction(logits, rows, len(z), autoencoder.width)]
        if not self.settings.no_alignment:
            terms.append(alignment(z, codes, rows) / processes.count())  # each has as many columns
        return terms

    def ranking_loss(self, batch, z_users, z_items):
        """RW-SSM with shared or per-user negatives, or BPR: RW-SSM with one negative of each positive's own."""
        positive = scores_of_pairs(z_users[batch.users], z_items[batch.items])  # (P,)
        weight = None if self.weights is None else self.weights[batch.positive_numbers]  # (P,)
        if self.settings.loss == "bpr":
            negatives = self.negatives[batch.positive_numbers]  # (P,)
            negative = scores_of_pairs(z_users[batch.users], z_items[negatives])  # (P,)
            return rw_ssm(positive, negative, weight)
        # The sum over N depends on the user only: once a distinct user, then handed to that user's positives.
        distinct = z_users[batch.distinct_users]  # (m, d)
        if self.settings.negatives == "shared":
            lse = self.shared_negatives(batch, distinct, z_items)  # (m,)
        else:
            lse = self.per_user_negatives(batch, distinct, z_items)  # (m,)
        if self.settings.kappa:
            owner, items = self.data.confirmed_negatives.entries(batch.distinct_users_host)  # (n,), (n,)
            own = scores_of_pairs(distinct[owner], z_items[items])  # (n,)
            lse = with_own_negatives(lse, own, owner, self.settings.kappa)
        return rw_ssm(positive, lse[batch.distinct_of], weight)

    def shared_negatives(self, batch, z_distinct, z_items):
        """log sum over N of exp(s_uj) for each distinct user, (m, d) -> (m,), with one N for the whole batch.

        The released code draws the set for the user of one positive, and uses it for all.  The batch is shuffled, so
        it may be any positive: the first.
        """
        weight = self.negative_weights(batch.users_host[:1])  # (1, I)
        items, drawn = draw_negatives(weight, self.n_negatives, self.generator)  # (1, n)
        scores = processes.total(z_distinct @ z_items[items[0]].t())  # (m, n)
        return masked_logsumexp(scores, drawn)

    def per_user_negatives(self, batch, z_distinct, z_items):
        """The same with an N of its own for each distinct user, in blocks that bound the memory."""
        block = max(1, BLOCK // self.data.n_items)
        parts = []
        for first in range(0, len(z_distinct), block):
            weight = self.negative_weights(batch.distinct_users_host[first : first + block])  # (block, I)
            items, drawn = draw_negatives(weight, self.n_negatives, self.generator)  # (block, n)
            scores = z_distinct[first : first + block] @ z_items.t()  # (block, I)
            parts.append(masked_logsumexp(processes.total(scores.gather(1, items)), drawn))
        return torch.cat(parts)

    def negative_weights(self, users):
        """0 for a user's train positives, gamma for confirmed negatives, 1 for every other item: (len(users), I)."""
        return sampling_weights(self.data, users, self.data.positives, self.settings.real_neg_samp_prob)
