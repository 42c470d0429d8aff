"""What it costs to hold out dislikes: preparing the split once, and measuring both kinds at every evaluation.

    python benchmarks/dislikes.py                    ML-100K's and ML-1M's shape
    python benchmarks/dislikes.py ML-1M --rounds 9

Prints seconds of preparation, and how many times an evaluation with dislikes takes one without: they are measured in
turns, and the ratio is that of the medians, since machines are shared.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import epoch
import numpy as np
import pandas as pd
import torch
from epoch import SHAPES

from dataloader import HeldOutDislikes
from preparation import dislikes
from preparation.splits import COLUMNS, PARTS
from training import evaluation

SHARE = {"train_original": 0.85, "validation": 0.05, "test": 0.1}  # of a data set's ratings
TOP_K = [5, 10, 15, 20]


def seconds_to_hold_out(n_users, n_items, n_ratings):
    """Of dislikes.hold_out on as many random ratings."""
    random = np.random.RandomState(0)
    pairs = random.choice(n_users * n_items, n_ratings, replace=False)
    stars = random.choice([1, 2, 3, 4, 5], n_ratings, p=[0.06, 0.11, 0.27, 0.34, 0.22])
    table = pd.DataFrame({"user": pairs // n_items, "item": pairs % n_items, "rating": stars})
    with tempfile.TemporaryDirectory() as base:
        part = random.choice(list(PARTS), n_ratings, p=list(SHARE.values()))
        part[(part != "train_original") & (stars < 4)] = "train_original"
        for name in PARTS:
            table[part == name].to_csv(Path(base) / f"x_{name}.csv", index=False, header=COLUMNS)
        began = time.perf_counter()
        dislikes.hold_out("x", Path(base), Path(base) / "own", lambda line: None)
        return time.perf_counter() - began


def ratio_of_evaluations(data, rounds):
    """(ms without, ms with dislikes), the medians of so many rounds."""
    random = np.random.RandomState(1)
    pairs = random.choice(data.n_users * data.n_items, len(data.users) // 8, replace=False)
    likes, own = np.split(pairs, [len(pairs) * 2 // 3])
    likes = data.by_user(likes // data.n_items, likes % data.n_items)
    rows = data.by_user(own // data.n_items, own % data.n_items)
    held_out = HeldOutDislikes(rows, np.zeros(data.n_users, int))
    embeddings = torch.randn(data.n_users, 64), torch.randn(data.n_items, 64)
    taken = {False: [], True: []}
    for _ in range(rounds + 1):
        for with_dislikes in taken:
            began = time.perf_counter()
            more = [held_out] if with_dislikes else []
            evaluation.evaluate(embeddings, data, likes, TOP_K, 1024, *more)
            taken[with_dislikes].append(1000 * (time.perf_counter() - began))
    return [statistics.median(times[1:]) for times in taken.values()]  # the first round warms up


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shapes", nargs="*", default=["ML-100K", "ML-1M"], help="of epoch.SHAPES")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    for name in options.shapes:
        n_users, n_items, n_edges, confirmed, _ = SHAPES[name]
        seconds = seconds_to_hold_out(n_users, n_items, int(1.5 * n_edges))
        plain, both = ratio_of_evaluations(epoch.synthetic(n_users, n_items, n_edges, confirmed, "cpu"), options.rounds)
        print(
            f"{name}: held out in {seconds:.2f} s, once; an evaluation takes {plain:.0f} ms, with dislikes {both:.0f} "
            f"ms, {both / plain:.2f} times as long"
        )


if __name__ == "__main__":
    main()
