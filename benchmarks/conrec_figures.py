"""Whether the counts and closed forms of CoNRec come out on MovieLens-100K as they were first worked out.

    python benchmarks/conrec_figures.py data/ML-100K

Ten seconds.  The figures were found with code of its own before conrec/ was written, so each is a check of the other.
Ends with exit code 1 where one differs: counts by anything, figures by more than .001.  What is drawn at random
(candidates, the random system) is not compared.
"""

import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parents[1]))

from conrec.data import events as conrec_events
from conrec.data import instances as moments
from conrec.data.instances import history, instances, matrix, recent, window
from conrec.learning import reward
from conrec.learning.chain import Known
from conrec.results import closed_forms, metrics

METRICS = ("hr@20", "fhr@20", "luf@20", "lif@20", "lif-strict@20", "auc")
SYSTEMS = {  # METRICS on test
    "reversed EASE on positives": (0.010, 0.064, 0.008, 0.092, 0.015, 0.694),
    "low mean rating": (0.027, 0.179, 0.068, 0.204, 0.000, 0.709),
    "item-kNN, negatives": (0.058, 0.222, 0.197, 0.237, 0.130, 0.564),
    "popularity, all events": (0.061, 0.204, 0.129, 0.207, 0.000, 0.369),
    "popularity, negatives": (0.102, 0.308, 0.273, 0.276, 0.000, 0.503),
    "EASE, negatives": (0.118, 0.364, 0.311, 0.365, 0.008, 0.553),
    "EASE, sign ignored": (0.127, 0.308, 0.265, 0.301, 0.018, 0.377),
    "EASE, three channels": (0.157, 0.420, 0.432, 0.408, 0.005, 0.546),
    "two factors": (0.192, 0.459, 0.439, 0.436, 0.005, 0.470),
}
def main(folder):
    events, _ = conrec_events.read(Path(folder), "ML-100K")
    steps = (split, train_anchors, test_instances, tails, choices, targets, systems, lists)
    found = [row for step in tqdm(steps, disable=None) for row in step(events)]
    wrong = 0
    for name, figure, expected in found:
        right = abs(figure - expected) <= (0 if isinstance(expected, int) else 0.001)
        wrong += not right
        print(f"{'  ' if right else '! '}{name:<60}{figure:>12.6g}{expected:>10g}")
    print(f"{len(found)} figures, {wrong} differ")
    return wrong > 0


def split(events):
    """(name, found, expected) of section "Split"."""
    yield from rows("events", np.bincount(events.parts), (59_619, 20_000, 20_381))
    yield from rows("negatives", np.bincount(events.parts[events.is_negative]), (8_970, 3_680, 4_830))
    yield "negatives tied with an earlier one", round(conrec_events.same_time_as_before(events), 3), 0.257
    n_users = [len(moments.as_of(events, moment)[0]) for moment in ("now", "validation", "test")]
    yield from rows("users with a negative, in train, before test", n_users, (943 - 28, 943 - 93, 882))


def train_anchors(events):
    users, positions = instances(events, "train", every=True)
    whole = positions + 56 <= events.cuts[users, 0]
    yield from rows("train anchors, with the whole window in train", (len(users), whole.sum()), (8_120, 3_508))
    medians, none = [], []
    for read, signs in ((history, "-+"), (window, "-+")):
        for sign in signs:
            counts = np.array([count(events, read(events, u, p), sign) for u, p in zip(users, positions, strict=True)])
            medians.append(np.median(counts))
            none.append((counts == 0).mean())
    yield from rows("medians at a train anchor", medians, (9, 22, 7, 15))
    yield "no window positive", none[3], 0.081
    shown = [count(events, recent(events, u, p), "-") for u, p in zip(users, positions, strict=True)]
    yield "no negative in the last 24 events", np.mean(np.array(shown) == 0), 0.031


def test_instances(events):
    truth = metrics.truth(events, "test")
    n = np.array([len(negatives) for negatives in truth.negatives])
    yield "validation instances", len(instances(events, "validation")[0]), 644
    yield "test instances", len(truth.users), 676
    found = np.median(n), round(n.mean(), 2), (n == 1).mean()
    yield from rows("window negatives: median, mean, share with one", found, (4, 6.54, 0.214))


def tails(events):
    truth = metrics.truth(events, "test")
    long_user, long_item = moments.long_tails(events)
    with_item = sum(long_item[negatives].any() for negatives in truth.negatives)
    found = truth.long_user.sum(), with_item
    yield from rows("test: long-tail users, instances with such an item", found, (132, 392))
    none = (np.asarray(matrix(events, "negative").sum(0)) == 0).sum()
    found = long_item.sum(), none, long_user.sum()
    yield from rows("long-tail items, of them with none; users", found, (1_127, 333, 293))


def choices(events):
    _, exposed = moments.candidates(events, "test")
    yield "candidates drawn, mean", round(19 - exposed.mean(), 1), 8.9
    yield "instances whose candidates are all exposed", round((exposed == 19).mean(), 2), 0.30


def targets(events):
    values = reward.swing_values(matrix(events, "negative"))
    yield from rows("Swing: pairs, items in them", (values.nnz // 2, (np.diff(values.indptr) > 0).sum()), (434, 120))
    neighbours = reward.swing(matrix(events, "negative"))
    gts, _ = reward.target_sets(events, *instances(events, "train", every=True), neighbours)
    yield "mean target set with 3 neighbours", round(np.mean([len(items) for items in gts]), 1), 13.7


def systems(events):
    table = closed_forms.table(closed_forms.evaluate(Known(events), names=list(SYSTEMS)))
    for name, expected in SYSTEMS.items():
        for metric, figure in zip(METRICS, expected, strict=True):
            yield f"{name}: {metric}", table.loc[name, metric], figure


def lists(events):
    """Test items a user in the top 20 of EASE on positives, over all users."""
    everybody, test = np.arange(events.n_users), events.cuts[:, 1]
    fitted, histories = closed_forms.Fitted(events), closed_forms.Histories(events, everybody, test)
    scores = -closed_forms.reversed_ease(fitted, histories, 0)
    best = moments.top_items(scores, moments.past(events, everybody, test), 20)
    for sign, expected in (("positive", 2.02), ("negative", 0.162)):
        truth = matrix(events, sign, "test")
        hits = np.asarray(truth[np.repeat(everybody, 20), best.ravel()]).sum()
        yield f"top 20 of EASE on positives: {sign}", round(hits / events.n_users, len(str(expected)) - 2), expected


def count(events, shown, sign):
    _, ratings = shown
    return (ratings <= events.negative).sum() if sign == "-" else (ratings >= conrec_events.POSITIVE).sum()


def rows(name, found, expected):
    for place, (figure, right) in enumerate(zip(found, expected, strict=True)):
        yield f"{name} ({place + 1})" if len(expected) > 1 else name, figure, right


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
