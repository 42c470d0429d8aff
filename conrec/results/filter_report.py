"""What a filter is worth to the lists of another model: filter_report_NAME.json.

The lists are filtered as CoNRec judges as of test, so that the test events are news to it.  What counts is
how many disliked items go for the liked ones that are lost.  So CoNRec and controls are compared at the same
loss of likes.
"""

import numpy as np
import pandas as pd

from conrec.data.instances import numbers_of, sparse
from conrec.results.closed_forms import Fitted
from conrec.results.filter import RESEMBLANCE, control_scores, leave, odds_of, resemblance
from options.conrec import SAME_LOSS
from preparation.rules import TEST

UNMEASURED = "not measurable here: this split trains on every negative"
CUT = 20  # of a list that is left
LOSSES = (0.01, 0.02, 0.05, 0.1)  # shares of the liked items in the lists
SHARES = np.concatenate(([0], np.geomspace(0.001, 0.75, 40)))  # of the places of a pool that go; then lists run out
BOOTSTRAPS = 1000


def report(table, data, conrec):
    """The report as a dict.  table: of filter_lists.with_numbers.  data: TrainData of the lists' run.  conrec:
    filter_lists.Conrec.
    """
    table, n_lists = table[table.user_number >= 0], table.user.nunique()
    users, items = table.user_number.to_numpy(), table.item_number.to_numpy()
    odds = odds_of(conrec.policy, "test", users, items)
    gone = odds > conrec.threshold
    before, after = leave(users, np.zeros(len(users), bool), CUT), leave(users, gone, CUT)
    found = {
        "dataset": conrec.dataset, "conrec_run": conrec.name, "theta": conrec.theta,
        "users": len(np.unique(users)), "users of the lists": n_lists,
        "places changed": int((before & ~after).sum()), "removed": int(gone.sum()),
    }  # fmt: skip
    liked, disliked = test_rows(conrec.events, data)
    signs = pd.DataFrame({"liked": is_in(liked, users, items)})
    if disliked is None:
        return found | {"disliked": UNMEASURED, "lists": count_a_user(signs, users, before, after)}
    signs["disliked"] = is_in(disliked, users, items)
    found |= {"disliked": "measured", "lists": count_a_user(signs, users, before, after)}
    counts = {}
    for name, scores in {"CoNRec": odds, **controls(conrec, users, items)}.items():
        steps = (SHARES * np.isfinite(scores).sum()).astype(int)  # of the places that may be removed
        of_steps = []
        for n_gone in steps:
            left = leave(users, have_highest(scores, n_gone), CUT)
            of_steps.append(signs[left].groupby(users[left]).sum().to_numpy(float).T)
        counts[name] = of_steps
    return found | {SAME_LOSS: at_equal_losses(counts)}


def have_highest(scores, n):
    """(rows,) bool of the n highest scores, ties by row."""
    return pd.Series(-scores).rank(method="first").to_numpy() <= n


def count_a_user(signs, users, before, after):
    """{"before", "CoNRec": {"liked", "disliked"}}: items of a list, before and after the filter, means over users."""
    found = {}
    for name, left in (("before", before), ("CoNRec", after)):
        found[name] = signs[left].groupby(users[left]).sum().mean().to_dict()
    return found


# ------------------------------------------------------------------------ at the same loss of likes


def at_equal_losses(counts, seed=0):
    """{loss: {system: {"disliked less": [mean, low, high], "CoNRec less it": [mean, low, high]}}}.

    counts: {system: [(liked, disliked) of each step of SHARES, (U,) each]}.  loss: share of the liked items in the
    lists that may be lost.  A system removes more and more until it first loses more than that (linear between two
    steps); "disliked less" is the share of the disliked items in the lists that are then gone.  Both are None of a
    system that never loses so much, since what it would remove stands at the end of the pool.  The 95 % intervals are
    of the bootstrap over users (BOOTSTRAPS resamples, the same for all systems).  None where the lists hold no liked or
    no disliked item.
    """
    at_first = next(iter(counts.values()))[0]
    if not all(side.any() for side in at_first):
        return None
    n_users = len(at_first[0])
    drawn = np.random.default_rng(seed).multinomial(n_users, np.full(n_users, 1 / n_users), BOOTSTRAPS)
    weights = np.concatenate([np.ones((1, n_users)), drawn])  # the sample itself first
    totals = {}
    for name, steps in counts.items():
        totals[name] = [weights @ np.stack(sides, 1) for sides in zip(*steps, strict=True)]  # (1 + B, steps) each
    found = {}
    for loss in LOSSES:
        less = {name: removed_at(*sides, loss) for name, sides in totals.items()}
        found[f"{loss:g}"] = of_loss = {}
        for name, shares in less.items():
            gap = less["CoNRec"] - shares
            of_loss[name] = {"disliked less": interval(shares), "CoNRec less it": interval(gap)}
    return found


def removed_at(liked, disliked, loss):
    """(b,) shares of the disliked that go where a share `loss` of the liked does.  liked, disliked: (b, steps) what is
    left after each step; the last step before one that loses more counts, and linearly what lies between the two.  NaN
    where none does."""
    shares = np.full(len(liked), np.nan)
    for row, (likes, dislikes) in enumerate(zip(liked, disliked, strict=True)):
        allowed = (1 - loss) * likes[0]
        too_many = np.flatnonzero(likes < allowed)
        if len(too_many) and dislikes[0]:
            last = too_many[0] - 1
            part = (likes[last] - allowed) / (likes[last] - likes[last + 1])
            shares[row] = 1 - (dislikes[last] + part * (dislikes[last + 1] - dislikes[last])) / dislikes[0]
    return shares


def interval(values):
    """[of the sample, 2.5th, 97.5th percentile of the resamples that have a value]; None where the sample has none."""
    if np.isnan(values[0]):
        return None
    return [float(values[0]), *np.nanpercentile(values[1:], [2.5, 97.5]).tolist()]


# ---------------------------------------------------------------------------------- what is counted


def test_rows(events, data):
    """(liked, disliked): CSR (U, I) of 0/1 of the test events that neither side has trained on.

    data: TrainData of the run that made the lists: of the liked ones only its own test rows count, of the disliked ones
    those of its users and items that are not among its train rows.  disliked is None where all are.
    """
    users, items = np.isin(events.user_ids, data.user_ids), np.isin(events.item_ids, data.item_ids)
    counted = (events.parts == TEST) & users[events.users] & items[events.items]
    found = []
    for sign in (events.is_positive, events.is_negative):
        rows = counted & sign
        found.append(sparse(events.users[rows], events.items[rows], (events.n_users, events.n_items)))
    liked, disliked = found
    liked = liked.multiply(numbered(events, data, data.test)).tocsr()
    disliked = disliked - disliked.multiply(numbered(events, data, data.seen))
    disliked.eliminate_zeros()
    return liked, disliked if disliked.nnz else None


def numbered(events, data, rows):
    """dataloader.Rows of a run as CSR (U, I) of 0/1 under the numbers of the events."""
    users = np.repeat(numbers_of(data.user_ids, events.user_ids), np.diff(rows.start))
    items = numbers_of(data.item_ids, events.item_ids)[rows.cols]
    both = (users >= 0) & (items >= 0)
    return sparse(users[both], items[both], (events.n_users, events.n_items))


def is_in(matrix, users, items):
    """(rows,) bool: whether the pair is in a CSR (U, I) of 0/1."""
    return (np.asarray(matrix[users, items]).ravel() > 0) & (items >= 0)


def controls(conrec, users, items):
    """{control: (rows,) scores}; -inf where CoNRec may not remove, either."""
    found = {RESEMBLANCE: resemblance(conrec.predictions["test"], conrec.E, users, items)}
    for name, scores in control_scores(Fitted(conrec.events), "test"):
        found[name] = np.where(items >= 0, scores[users, items], -np.inf)
    return found


def report_lines(found):
    """Lines to print."""
    theta = "none, so that nothing is removed" if found["theta"] is None else f"{found['theta']:.4f}"
    lines = [
        f"{found['users']} of {found['users of the lists']} users are known to the run; theta {theta}",
        f"{found['places changed']} places of their lists changed; disliked test items: {found['disliked']}",
    ]
    for name, signs in found["lists"].items():
        words = ", ".join(f"{mean:.4f} {sign}" for sign, mean in signs.items())
        lines.append(f"items of a list, {name}: {words}")
    equal = found.get(SAME_LOSS)
    if equal:
        lines += ["", "share of the disliked items that go where a share of the liked ones does:"]
        lines.append(f"{'':<36}" + "".join(f"{float(loss):>12.0%}" for loss in equal))
        for name in equal["0.01"]:
            cells = [of_loss[name]["disliked less"] for of_loss in equal.values()]
            words = ["not lost" if cell is None else f"{cell[0]:.1%}" for cell in cells]
            lines.append(f"{name:<36}" + "".join(f"{word:>12}" for word in words))
    return lines
