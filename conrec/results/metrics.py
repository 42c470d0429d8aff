"""Metrics of negative recommendation, per instance; NaN where one does not apply to an instance.

    truth, every       what came true of the first instance of each user in a part; of all of them
    drawn              of one drawn at random
    measure_lists      ranked lists -> hr, fhr, frecall, luf, lif, lif-strict at each cut-off
    measure_every      ranked lists of all instances -> fhr of each user, the mean over these
    choice             scores of 20 candidates -> share of the choice that is right
    dislike_auc        scores of window items -> share of pairs in the right order
    measure_scores     scores of all items -> the last two
    means, intervals   over instances
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from conrec.data.events import POSITIVE
from conrec.data.instances import candidates, instances, long_tails, window


class Truth(NamedTuple):
    """The instances of a part, and what came true: the first of each user, or (every) all of them."""

    users: np.ndarray  # (n,)
    positions: np.ndarray  # (n,)
    next: np.ndarray  # (n,) the next negative
    negatives: list  # n arrays: the window's negatives
    positives: list  # n arrays: the window's positives
    candidates: np.ndarray | None  # (n, 20), column 0 the true one
    long_user: np.ndarray  # (n,) bool: fewer than 3 train negatives
    long_item: np.ndarray  # (I,) bool: fewer than 5 train negatives


def truth(events, part, seed=0):
    """The Truth of "validation" or "test", of the first instance of each user."""
    choices = candidates(events, part, seed)
    return find_truth(events, *instances(events, part))._replace(candidates=choices)


def every(events, part):
    """The Truth of all instances of a part, a user's one after the other; without candidates."""
    return find_truth(events, *instances(events, part, every=True))


def drawn(events, part, seed=0):
    """The Truth of one instance of each user, any of the part's: the first ones lie next to what was trained on, where
    a model that knows a user's train events by heart does better than it will later."""
    users, positions = instances(events, part, every=True)
    shuffled = np.random.default_rng(seed).permutation(len(users))
    _, first = np.unique(users[shuffled], return_index=True)
    return find_truth(events, users[shuffled[first]], positions[shuffled[first]])


def find_truth(events, users, positions):
    """The Truth of the instances (users, positions), without candidates."""
    next_, negatives, positives = [], [], []
    for user, p in zip(users, positions, strict=True):
        items, ratings = window(events, user, p)
        next_.append(items[0])
        negatives.append(items[ratings <= events.negative])
        positives.append(items[ratings >= POSITIVE])
    long_user, long_item = long_tails(events)
    next_ = np.array(next_, np.int64)
    return Truth(users, positions, next_, negatives, positives, None, long_user[users], long_item)


# ---------------------------------------------------------------------------------- of ranked lists


def measure_lists(lists, truth, top_k=(20,)):
    """{"hr@20": (n,) float64, "fhr@20", "frecall@20", "luf@20", "lif@20", "lif-strict@20", ...}.

    lists: (n, K) items, best first, K >= max(top_k).
    hr: the next negative is in the list.  fhr: any negative of the window is.  frecall: the share of them that are.
    luf: fhr of long-tail users.  lif: fhr of instances with a long-tail item in the window; lif-strict: only those
    items count as hits.
    """
    n_items = len(truth.long_item)
    long_tail = [negatives[truth.long_item[negatives]] for negatives in truth.negatives]
    has_long = np.array([len(items) > 0 for items in long_tail], bool)
    found = marked(truth.negatives, n_items, lists)  # (n, K) bool
    found_long = marked(long_tail, n_items, lists)
    n_negatives = np.array([len(negatives) for negatives in truth.negatives])
    metrics = {}
    for k in top_k:
        hit = found[:, :k].any(1).astype(float)  # (n,)
        metrics[f"hr@{k}"] = (lists[:, :k] == truth.next[:, None]).any(1).astype(float)
        metrics[f"fhr@{k}"] = hit
        metrics[f"frecall@{k}"] = found[:, :k].sum(1) / n_negatives
        metrics[f"luf@{k}"] = np.where(truth.long_user, hit, np.nan)
        metrics[f"lif@{k}"] = np.where(has_long, hit, np.nan)
        metrics[f"lif-strict@{k}"] = np.where(has_long, found_long[:, :k].any(1), np.nan)
    return metrics


def measure_every(lists, truth, top_k):
    """{"fhr-every@20": (users,), ...}: means over the instances of each user, so that users stay what is independent.

    lists: (n, K) of all instances of a part.  truth: every of it.
    """
    hits = pd.DataFrame(measure_lists(lists, truth, top_k)).groupby(truth.users).mean()
    return {f"fhr-every@{k}": hits[f"fhr@{k}"].to_numpy() for k in top_k}


def marked(targets, n_items, lists):
    """(n, K) bool: which places of the lists hold a target of their row.  targets: n arrays."""
    found = np.zeros(lists.shape, bool)
    is_target = np.zeros(n_items, bool)
    for row, items in enumerate(targets):
        is_target[items] = True
        found[row] = is_target[lists[row]]
        is_target[items] = False
    return found


# ---------------------------------------------------------------------------------------- of scores


def choice(scores):
    """(n,) float64: 1 where column 0 of scores (n, 20) is the highest, 1/t where it shares that with t - 1 others, 0
    else."""
    highest = scores == scores.max(1, keepdims=True)
    return highest[:, 0] / highest.sum(1)


def dislike_auc(of_negatives, of_positives):
    """(n,) float64, NaN without a pair: share of pairs whose negative has the higher score, ties count half.

    of_negatives, of_positives: n arrays of scores of the window's negatives and positives.
    """
    shares = np.full(len(of_negatives), np.nan)
    for row, (low, high) in enumerate(zip(of_negatives, of_positives, strict=True)):
        if len(low) and len(high):
            gap = np.asarray(low, float)[:, None] - np.asarray(high, float)[None]
            shares[row] = ((gap > 0) + 0.5 * (gap == 0)).mean()
    return shares


def measure_scores(scores, truth):
    """The metrics that take scores (n, I) of all items: {"cand_ll", "auc"} -> (n,) float64."""
    of_negatives = [scores[row, items] for row, items in enumerate(truth.negatives)]
    of_positives = [scores[row, items] for row, items in enumerate(truth.positives)]
    of_choices = np.take_along_axis(scores, truth.candidates, axis=1)  # (n, 20)
    return {"cand_ll": choice(of_choices), "auc": dislike_auc(of_negatives, of_positives)}


# ----------------------------------------------------------------------------------- over instances


def means(per_instance):
    """{name: mean over the instances it applies to, None where there is none}."""
    applied = {name: values[~np.isnan(values)] for name, values in per_instance.items()}
    return {name: float(values.mean()) if len(values) else None for name, values in applied.items()}


def intervals(per_instance):
    """{name: half the width of the mean's 95 % interval (Student's t), None with fewer than two instances}."""
    from scipy import stats  # takes a second

    widths = {}
    for name, values in per_instance.items():
        values = values[~np.isnan(values)]
        n = len(values)
        widths[name] = float(stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n)) if n > 1 else None
    return widths
