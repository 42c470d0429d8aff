"""What the same weights recommend: the items that follow <like>, judged as any other model's on the split in time.

A user's lists are made as of validation, from the train events alone, as `--hold_out dislikes --split time` has it for
the other models; and as of test, when the validation events are known, too, and are no longer ranked.
"""

import numpy as np
import pandas as pd

from conrec.data.instances import matrix
from conrec.results import metrics
from training import evaluation

MOMENTS = ("validation", "test")
RECOMMENDING_VERSION = 1  # raise it when figures would differ
SHOWN = ("recall", "ndcg", "likes", "dislikes")


def measure_recommended(events, lists, top_k):
    """DataFrame: a row for each moment and user, in order of moments, then of user numbers; columns moment, user and
    the metrics of SHOWN at each cut-off, empty where one says nothing of the user.

    lists: {moment: (U, K) items, best first}.
    """
    tables = []
    for moment, items in lists.items():
        table = pd.DataFrame(measure_lists(events, items, top_k)).round(6)
        table.insert(0, "user", events.user_ids)
        table.insert(0, "moment", moment)
        tables.append(table)
    return pd.concat(tables)


def measure_lists(events, items, top_k):
    """{metric: (U,) float64}.  items: (U, K)."""
    hits, n_liked = find_in_test(events, "positive", items)
    shown, n_disliked = find_in_test(events, "negative", items)
    figures = evaluation.ranking_metrics(hits, np.maximum(n_liked, 1), top_k)
    figures = {name: np.where(n_liked > 0, values, np.nan) for name, values in figures.items()}
    figures |= evaluation.dislike_metrics(hits, shown, n_disliked, top_k)
    return {name: values for name, values in figures.items() if name.partition("@")[0] in SHOWN}


def find_in_test(events, sign, items):
    """((U, K) bool, (U,) counts): which listed items are test events of a sign; how many of these there are."""
    test, users = matrix(events, sign, "test"), np.arange(events.n_users)[:, None]
    return np.asarray(test[users, items].todense()) > 0, np.diff(test.indptr)


def means(table):
    """{moment: {metric: mean, None where it says nothing of anybody}} of a table of measure_recommended."""
    found = {}
    for moment, rows in table.groupby("moment"):
        rows = rows.drop(columns=["moment", "user"])
        found[moment] = metrics.means({name: rows[name].to_numpy(float) for name in rows})
    return found
