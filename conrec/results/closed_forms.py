"""What must be beaten: systems without training steps, fitted on train, with the history at the anchor.

    SYSTEMS      name -> function(Fitted, Histories) -> scores (n, I), high: rather disliked next
    rank         scores and lists of each of them
    evaluate     all of them on validation and test -> figures of each instance

c-, c and the matrices B of EASE are of the users' negatives, positives or all events in train.  A history is
that of an instance.
"""

from collections import defaultdict
from functools import cached_property

import numpy as np
import torch

from baselines.ease import closed_form
from conrec.data.instances import matrix, past, top_items
from conrec.results import metrics
from machine.hardware import require_memory
from options.conrec import CHOOSING, PRIMARY
from preparation.rules import TRAIN

RIDGE, RIDGE_NEGATIVES = 200, 500  # lambda of EASE, and of the sparser negatives
PRIOR = 5  # an item's mean stars are drawn to the overall mean as by so many ratings
NEVER = 0.001  # least chance that an item is rated
OFTEN, NO_NEGATIVE = 20, 0.01  # c- / (c + OFTEN) + NO_NEGATIVE: how often an item that is rated is disliked
LAST = 20  # events: what a user has rated of late tells more than all of it
AT_ONCE = 1024  # instances whose scores are held together


class Fitted:
    """What the systems share, of train events, each made when first asked for."""

    def __init__(self, events):
        self.events = events
        self.negatives = matrix(events, "negative")  # (U, I), like the next
        self.all = matrix(events)
        self.count = np.asarray(self.all.sum(0), float)[0]  # (I,), like the next
        self.count_negatives = np.asarray(self.negatives.sum(0), float)[0]

    @property
    def often_disliked(self):
        """(I,): how often an item that is rated is disliked."""
        return self.count_negatives / (self.count + OFTEN) + NO_NEGATIVE

    @property
    def mean_stars(self):
        """(I,): (sum + 5 mu) / (c + 5)."""
        train = self.events.parts == TRAIN
        items, ratings = self.events.items[train], self.events.ratings[train]
        total = np.bincount(items, ratings, minlength=self.events.n_items)
        return (total + PRIOR * ratings.mean()) / (self.count + PRIOR)

    @cached_property
    def ease_negatives(self):
        return solve_ease(self.negatives, RIDGE_NEGATIVES)

    @cached_property
    def ease_positives(self):
        return solve_ease(matrix(self.events, "positive"), RIDGE)

    @cached_property
    def ease_all(self):
        return solve_ease(self.all, RIDGE)

    @cached_property
    def cosine_all(self):
        """(I, I): cosine of the columns."""
        from sklearn.preprocessing import normalize  # takes a second

        columns = normalize(self.all, axis=0)
        return (columns.T @ columns).toarray()


def solve_ease(x, ridge):
    """EASE's B of a CSR x, (I, I) float32."""
    gram = torch.from_numpy((x.T @ x).toarray())
    return closed_form(gram, float(ridge)).numpy()


class Histories:
    """0/1 rows of n instances' histories, CSR (n, I)."""

    def __init__(self, events, users, positions):
        self.all = past(events, users, positions)
        self.last = past(events, users, positions, last=LAST)
        self.negative = past(events, users, positions, "negative")
        self.positive = past(events, users, positions, "positive")

    def repeat(self, scores):
        """The same scores (I,) for each instance."""
        return np.broadcast_to(scores, self.all.shape)


def multiply_two_factors(fitted, history):
    """Will it be rated, times: is it often disliked."""
    return np.maximum(history @ fitted.ease_all, NEVER) * fitted.often_disliked


SYSTEMS = {
    "random": lambda fitted, of: np.random.default_rng(0).random(of.all.shape),
    "reversed EASE on positives": lambda fitted, of: -(of.positive @ fitted.ease_positives),
    "low mean rating": lambda fitted, of: of.repeat(-fitted.mean_stars),
    "popularity, negatives": lambda fitted, of: of.repeat(fitted.count_negatives),
    "EASE, negatives": lambda fitted, of: of.negative @ fitted.ease_negatives,
    "two factors": lambda fitted, of: multiply_two_factors(fitted, of.all),
    f"item-kNN, last {LAST} events": lambda fitted, of: of.last @ fitted.cosine_all,
    f"EASE, last {LAST} events": lambda fitted, of: of.last @ fitted.ease_all,
    f"two factors, last {LAST} events": lambda fitted, of: multiply_two_factors(fitted, of.last),
}


def rank(fitted, users, positions, k):
    """Yields (name, scores (n, I), lists (n, k)) of the systems for the instances (users, positions), (n,) each."""
    histories = Histories(fitted.events, users, positions)
    for name, score in SYSTEMS.items():
        scores = score(fitted, histories)
        yield name, scores, top_items(scores, histories.all, k)


def refuse_what_does_not_fit(events):
    """Raises InputError where the systems' matrices (I, I) and scores (U, I) would take more memory than there is.

    Measured at 4,000 x 4,000 users and items, and at four other shapes: 31 bytes an entry of the one, 12 of the other.
    """
    needed = 31 * events.n_items**2 + 12 * events.n_users * events.n_items
    what = f"{events.n_items} x {events.n_items} weights and scores of {events.n_users} users"
    cure = "it takes a smaller catalogue, or more memory"
    require_memory(needed, torch.device("cpu"), f"--model CoNRec: the closed forms beside it, {what},", cure)


def evaluate(known, top_k=(20,)):
    """{name: {metric: (n,) float64}} of the systems on test's first instances, on all of test's, and (only FHR@20, of
    other users) on the validation instances.  known: learning.chain.Known.
    """
    truth, every, validation = known.test, known.every, known.validation
    fitted, figures = Fitted(known.events), {}
    for name, scores, lists in rank(fitted, truth.users, truth.positions, max(top_k)):
        figures[name] = metrics.measure_lists(lists, truth, top_k)
        figures[name] |= metrics.measure_scores(scores, truth)
    blocks = defaultdict(list)
    for users, positions in cut_into_blocks(every.users, every.positions):
        for name, _, lists in rank(fitted, users, positions, max(top_k)):
            blocks[name].append(lists)
    for name, lists in blocks.items():
        figures[name] |= metrics.measure_every(np.concatenate(lists), every, top_k)
    for name, _, lists in rank(fitted, validation.users, validation.positions, 20):
        figures[name][CHOOSING] = metrics.measure_lists(lists, validation)[PRIMARY]
    return figures


def cut_into_blocks(*arrays):
    """Yields the arrays, AT_ONCE rows at a time."""
    for start in range(0, len(arrays[0]), AT_ONCE):
        yield tuple(array[start : start + AT_ONCE] for array in arrays)
