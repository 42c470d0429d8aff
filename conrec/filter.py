"""What the other models' users gain: items too near to a predicted dislike leave their lists.

    score(u, i) = max over the predicted dislikes e of u of  E(i) . E(e);  above theta the item is dropped

    outcome      theta from validation, the test outcome beside controls: filter.json
    apply        python main.py --filter RUN --run CONREC_RUN
"""

import numpy as np


def vectors(predictions, E):
    """(U, 20, d) float16: pes.safetensors.  predictions: (U, 20) items, -1 in the rows of users without any, whose
    vectors are 0."""
    raise NotImplementedError


def scores(predictions, E, users, items):
    """(n,) float32 score(u, i) of the pairs (users, items); -inf for users without predictions."""
    raise NotImplementedError


def theta(of_positives, budget):
    """The threshold that lets floor(budget x n) of n positives' scores lie above it: the next largest."""
    raise NotImplementedError


def outcome(events, predictions, E, budget=0.01, seed=0):
    """filter.json as a dict: theta, and what is removed in test, for the predictions and for controls.

    predictions: {"validation": (U, 20), "test": (U, 20)} items, -1 in the rows of users without any.
    """
    raise NotImplementedError


def apply(options):
    """The command.  Writes filtered_by_<name>.csv, removed_by_<name>.csv and filter_report_<name>.json beside RUN's own
    files.  Raises InputError for what is no finished run or no CSV of users and items."""
    raise NotImplementedError


del np
