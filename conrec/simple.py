"""What must be beaten: systems without training steps, fitted on train, with the history at the anchor.

    SYSTEMS      name -> function(fitted, history) -> scores (n, I), higher: rather the next dislike
    evaluate     all of them on a part -> figures
"""

import numpy as np

SYSTEMS = {}


def scores(events, users, positions, names=None):
    """Yields (name, scores (n, I) float32) of the systems for the instances (users, positions), (n,) int64 each.

    names: None for all of SYSTEMS.
    """
    raise NotImplementedError


def evaluate(events, truth, top_k=(20,), k_lists=None, log=print):
    """{name: {metric: (n,) float64 array}} of every system on the instances of a Truth (metrics.truth)."""
    raise NotImplementedError


def table(figures):
    """DataFrame of means: one row a system, one column a metric.  figures: what evaluate returns."""
    raise NotImplementedError


del np
