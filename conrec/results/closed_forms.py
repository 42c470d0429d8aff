"""What must be beaten: systems without training steps, fitted on train, with the history at the anchor.

    SYSTEMS      name -> function(fitted, histories, seed) -> scores (n, I), higher: rather the next dislike
    scores       of each of them
    evaluate     all of them on a part -> figures of each instance
    table        the means

X-, X+ and X are 0/1 rows of the users' negatives, positives and all events in train, c- and c their column sums, h-, h+
and h the history of an instance.  B(.) is EASE's matrix.
"""

from functools import cached_property

import numpy as np
import pandas as pd
import torch
from scipy.sparse import hstack

from baselines.ease import closed_form
from conrec.data.instances import matrix, past, top_items
from conrec.results import metrics
from machine.hardware import available_memory, require_memory
from options.conrec import CHOOSING, PRIMARY
from preparation.rules import TRAIN

RIDGE, RIDGE_NEGATIVES = 200, 500  # lambda of B(X), B(X+) and of the sparser B(X-)
PRIOR = 5  # an item's mean stars are drawn to the overall mean as by so many ratings
NEVER = 0.001  # least chance that an item is rated
OFTEN, NO_NEGATIVE = 20, 0.01  # c- / (c + OFTEN) + NO_NEGATIVE: how often an item that is rated is disliked
LAST = 20  # events: what a user has rated of late tells more than all of it
AT_ONCE = 1024  # instances whose scores are held together
CHANNELS = ("negative", "neutral", "positive")


class Fitted:
    """What the systems share, of train events, each made when first asked for."""

    def __init__(self, events):
        self.events = events
        self.negatives = matrix(events, "negative")  # (U, I), like the next two
        self.positives = matrix(events, "positive")
        self.all = matrix(events)

    @cached_property
    def count(self):
        return np.asarray(self.all.sum(0), float)[0]  # (I,)

    @cached_property
    def count_negatives(self):
        return np.asarray(self.negatives.sum(0), float)[0]  # (I,)

    @cached_property
    def mean_stars(self):
        """(I,): (sum + 5 mu) / (c + 5)."""
        train = self.events.parts == TRAIN
        items, ratings = self.events.items[train], self.events.ratings[train]
        total = np.bincount(items, ratings, minlength=self.events.n_items)
        return (total + PRIOR * ratings.mean()) / (self.count + PRIOR)

    @cached_property
    def ease_negatives(self):
        return ease(self.negatives, RIDGE_NEGATIVES)

    @cached_property
    def ease_positives(self):
        return ease(self.positives, RIDGE)

    @cached_property
    def ease_all(self):
        return ease(self.all, RIDGE)

    @cached_property
    def channels(self):
        return side_by_side([matrix(self.events, sign) for sign in CHANNELS])  # (U, 3 I)

    @cached_property
    def users_inverse(self):
        """(X X' + lambda)^-1 of the channels side by side, (U, U) float32."""
        gram = torch.from_numpy((self.channels @ self.channels.T).toarray())
        gram.diagonal().add_(RIDGE_NEGATIVES)
        return torch.cholesky_inverse(torch.linalg.cholesky(gram)).numpy()

    @cached_property
    def cosine_negatives(self):
        return cosine(self.negatives)

    @cached_property
    def cosine_all(self):
        return cosine(self.all)

    @cached_property
    def often_disliked(self):
        """(I,): how often an item that is rated is disliked."""
        return self.count_negatives / (self.count + OFTEN) + NO_NEGATIVE


def cosine(x):
    """(I, I): cosine of the columns of a CSR x."""
    from sklearn.preprocessing import normalize  # takes a second

    columns = normalize(x, axis=0)
    return (columns.T @ columns).toarray()


def ease(x, ridge):
    """EASE's B of a CSR x, (I, I) float32."""
    gram = torch.from_numpy((x.T @ x).toarray())
    return closed_form(gram, float(ridge)).numpy()


def side_by_side(matrices):
    return hstack(matrices).tocsr()


class Histories:
    """0/1 rows of n instances' histories, CSR (n, I)."""

    def __init__(self, events, users, positions):
        self.all = past(events, users, positions)
        self.last = past(events, users, positions, last=LAST)
        self.of = {sign: past(events, users, positions, sign) for sign in CHANNELS}

    def channels(self):
        return side_by_side([self.of[sign] for sign in CHANNELS])  # (n, 3 I)

    def __len__(self):
        return self.all.shape[0]


# --------------------------------------------------------------------------------------- the systems


def random(fitted, histories, seed):
    return np.random.default_rng(seed).random((len(histories), fitted.events.n_items))


def reversed_ease(fitted, histories, seed):
    return -(histories.of["positive"] @ fitted.ease_positives)


def low_mean(fitted, histories, seed):
    return everybody(-fitted.mean_stars, histories)


def item_knn(fitted, histories, seed):
    return histories.of["negative"] @ fitted.cosine_negatives


def popularity(fitted, histories, seed):
    return everybody(fitted.count, histories)


def popularity_negatives(fitted, histories, seed):
    return everybody(fitted.count_negatives, histories)


def ease_negatives(fitted, histories, seed):
    return histories.of["negative"] @ fitted.ease_negatives


def ease_all(fitted, histories, seed):
    return histories.all @ fitted.ease_all


def ease_channels(fitted, histories, seed):
    """EASE from what was rated negative, neutral and positive, side by side, to negatives.

    P = (X'X + lambda)^-1 would be of 3 I items.  It is (1 - X' K X) / lambda with K = (X X' + lambda)^-1 of users
    (Woodbury's identity), and h B = h - h P / diag P.
    """
    x, k = fitted.channels, fitted.users_inverse  # (U, 3 I), (U, U)
    n_items = fitted.events.n_items
    x_to, h_to = x[:, :n_items], histories.of["negative"].toarray()  # (U, I), (n, I): to negatives only
    diagonal = 1 - np.asarray(x_to.multiply(k @ x_to).sum(0))[0]  # (I,): lambda diag P
    h_p = h_to - ((histories.channels() @ x.T) @ k) @ x_to  # (n, I): lambda h P
    return h_to - h_p / diagonal


def two_factors(fitted, histories, seed):
    """Will it be rated, times: is it often disliked."""
    return np.maximum(histories.all @ fitted.ease_all, NEVER) * fitted.often_disliked


def item_knn_of_late(fitted, histories, seed):
    return histories.last @ fitted.cosine_all


def ease_of_late(fitted, histories, seed):
    return histories.last @ fitted.ease_all


def two_factors_of_late(fitted, histories, seed):
    return np.maximum(histories.last @ fitted.ease_all, NEVER) * fitted.often_disliked


def everybody(scores, histories):
    return np.broadcast_to(scores, (len(histories), len(scores)))


SYSTEMS = {
    "random": random,
    "reversed EASE on positives": reversed_ease,
    "low mean rating": low_mean,
    "item-kNN, negatives": item_knn,
    "popularity, all events": popularity,
    "popularity, negatives": popularity_negatives,
    "EASE, negatives": ease_negatives,
    "EASE, sign ignored": ease_all,
    "EASE, three channels": ease_channels,
    "two factors": two_factors,
    f"item-kNN, last {LAST} events": item_knn_of_late,
    f"EASE, last {LAST} events": ease_of_late,
    f"two factors, last {LAST} events": two_factors_of_late,
}

# ------------------------------------------------------------------------------------------ all of them


def scores(fitted, users, positions, names=None, seed=0, log=print):
    """Yields (name, scores (n, I)) of the systems for the instances (users, positions), (n,) int64 each.

    names: None for all of SYSTEMS.  One whose matrix would not fit into memory is left out, which is logged.
    """
    events, histories = fitted.events, Histories(fitted.events, users, positions)
    for name in names or SYSTEMS:
        if SYSTEMS[name] is ease_channels and not fits(events.n_users):
            log(f"{name}: left out, its matrix of {events.n_users} x {events.n_users} users does not fit into memory")
            continue
        yield name, SYSTEMS[name](fitted, histories, seed)


def refuse_what_does_not_fit(events):
    """Raises InputError where the systems' matrices (I, I) and scores (U, I) would take more memory than there is.

    Measured at 4,000 x 4,000 users and items, and at four other shapes: 31 bytes an entry of the one, 12 of the other.
    """
    needed = 31 * events.n_items**2 + 12 * events.n_users * events.n_items
    what = f"{events.n_items} x {events.n_items} weights and scores of {events.n_users} users"
    cure = "it takes a smaller catalogue, or more memory"
    require_memory(needed, torch.device("cpu"), f"--model CoNRec: the closed forms beside it, {what},", cure)


def fits(side):
    """Whether there is memory for a matrix (side, side), its factor and its inverse."""
    free = available_memory(torch.device("cpu"))
    return free is None or 3 * 4 * side**2 < free  # bytes of float32


def evaluate(known, top_k=(20,), names=None, seed=0, log=print):
    """{name: {metric: (n,) float64}} of the systems on test's first instances, on all of test's, and (only FHR@20, of
    other users) on the validation instances.  known: learning.chain.Known.
    """
    events, truth, every, validation = known.events, known.test, known.every, known.validation
    fitted, seen, figures = Fitted(events), past(events, truth.users, truth.positions), {}
    for name, of_items in scores(fitted, truth.users, truth.positions, names, seed, log):
        lists = top_items(of_items, seen, max(top_k))
        figures[name] = metrics.of_lists(lists, truth, top_k) | metrics.of_scores(of_items, truth)
    lists = {name: [] for name in figures}
    for rows in np.split(np.arange(len(every.users)), range(AT_ONCE, len(every.users), AT_ONCE)):
        users, positions = every.users[rows], every.positions[rows]
        seen = past(events, users, positions)
        for name, of_items in scores(fitted, users, positions, list(figures), seed):
            lists[name].append(top_items(of_items, seen, max(top_k)))
    for name, blocks in lists.items():
        figures[name] |= metrics.of_every(np.concatenate(blocks), every, top_k)
    users, positions = validation.users, validation.positions
    seen = past(events, users, positions)
    for name, of_items in scores(fitted, users, positions, list(figures), seed):
        found = metrics.of_lists(top_items(of_items, seen, 20), validation)
        figures[name][CHOOSING] = found[PRIMARY]
    return figures


def table(figures):
    """DataFrame of means: one row a system, one column a metric.  figures: what evaluate returns."""
    return pd.DataFrame({name: metrics.means(values) for name, values in figures.items()}).T.astype(float)
