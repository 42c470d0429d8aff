"""How much faster, and in how much less memory, the fast form trains than the plain form of the same mathematics.

    python benchmarks/epoch.py                    all shapes (about three minutes on two cores)
    python benchmarks/epoch.py ML-100K --steps 20

All forms run in this process, taking turns, on synthetic ratings of the real sizes; the plain form is the one the
tests hold the fast form to (tests/helpers/oracle.py: PyG's LGConv, dense autoencoders over all rows, a dense matrix of
sampling weights).  bf16 is the fast form with --precision bfloat16.  Seconds of an epoch are the median step times
the steps of an epoch.  Memory is the process's peak while the form runs (Linux), or the card's with CUDA.
"""

import argparse
import statistics
import sys
import time
from itertools import islice
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "helpers")]

import oracle

from dataloader import Interactions, TrainData
from machine import hardware
from model import ReFINePlusPlus
from options.models import ReFINePlusPlusSettings
from runs import run_folder
from training.recommender import penalty

SHAPES = {  # users, items, train edges, share of confirmed negatives among them (Amazon_Books': assumed), layers
    "ML-100K": (938, 1008, 65_841, 0.195, 4),
    "ML-1M": (6034, 3125, 581_250, 0.175, 4),
    "Amazon_Books": (28_623, 29_948, 1_169_780, 0.2, 2),
}
PLAIN_LIMIT = 2**25  # users x items; beyond it the plain form needs tens of gigabytes and is not run


def synthetic(n_users, n_items, n_edges, confirmed, device):
    """Random ratings with a long tail of items, as real ones have."""
    random = np.random.RandomState(0)
    popularity = 1 / np.arange(10, n_items + 10)
    pairs = np.zeros(0, np.int64)
    while len(pairs) < n_edges:
        users = random.randint(n_users, size=n_edges)
        items = random.choice(n_items, n_edges, p=popularity / popularity.sum())
        pairs = np.unique(np.concatenate((pairs, users * n_items + items)))
    pairs = random.permutation(pairs)[:n_edges]
    rating = np.where(random.rand(n_edges) >= confirmed, 5.0, 1.0)
    train = Interactions(pairs // n_items, pairs % n_items, rating)
    nobody = Interactions(np.zeros(0, int), np.zeros(0, int), np.zeros(0))
    return TrainData(np.arange(n_users), np.arange(n_items), train, nobody, nobody, device)


def seconds_of(run, times, device):
    """Seconds of each of several runs; with CUDA their mean, since waiting for each would hide what overlaps."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        started = time.perf_counter()
        for _ in range(times):
            run()
        torch.cuda.synchronize(device)
        return [(time.perf_counter() - started) / times]
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        run()
        taken.append(time.perf_counter() - started)
    return taken


def fast_step(model, optimizer):
    def step(batch):
        loss = model.loss(batch)
        reported = loss.detach() + penalty(optimizer)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return reported

    return step


def plain_step(model):
    data = model.data
    propagation = oracle.PygPropagation(data.users, data.items, data.n_users, model.settings.layers).to(data.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def step(batch):
        rows = batch.negatives_by_user
        confirmed = rows.ids[rows.row_of], rows.cols
        loss = oracle.plain_loss(model, propagation, (batch.users, batch.items), confirmed)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def build(data, layers, precision="float32"):
    settings = ReFINePlusPlusSettings(layers=layers, precision=precision)
    torch.manual_seed(0)
    return ReFINePlusPlus(data, settings, torch.Generator(data.device).manual_seed(0)).to(data.device)


def measure(name, steps, device):
    n_users, n_items, n_edges, confirmed, layers = SHAPES[name]
    data = synthetic(n_users, n_items, n_edges, confirmed, device)
    per_epoch = -(-n_edges // 1024)
    forms = {}
    for form, precision in (("fast", "float32"), ("bf16", "bfloat16")):
        model = build(data, layers, precision)
        forms[form] = fast_step(model, torch.optim.Adam(model.parameter_groups(), lr=1e-3, fused=True))
    if n_users * n_items <= PLAIN_LIMIT:
        forms["plain"] = plain_step(build(data, layers))
    seconds, memory = {form: [] for form in forms}, dict.fromkeys(forms, 0.0)
    batches = data.batches(1024, torch.Generator().manual_seed(0))
    for batch in islice(batches, steps):
        for form, step in forms.items():
            hardware.reset_peak_memory(device)
            times = 1 if form == "plain" else 3 if device.type == "cpu" else 30
            seconds[form] += seconds_of(lambda step=step, batch=batch: step(batch), times, device)
            memory[form] = max(memory[form], hardware.peak_memory_mb(device))
    print(f"\n{name}: {n_users} users, {n_items} items, {n_edges} edges, {layers} layers, {per_epoch} steps an epoch")
    for form in forms:
        step = statistics.median(seconds[form][1:])
        print(f"  {form:6} {step * 1e3:9.1f} ms a step {step * per_epoch:9.2f} s an epoch {memory[form]:8.0f} MB peak")
    if "plain" in forms:
        ratio = statistics.median(seconds["plain"][1:]) / statistics.median(seconds["fast"][1:])
        print(f"  ratio  {ratio:9.1f} x faster (fast than plain)")
    else:
        size = n_users * n_items * 4 / 2**30
        print(f"  plain  not run: a dense users x items matrix takes {size:.1f} GiB, and a step makes ten")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shapes", nargs="*", default=list(SHAPES), help=f"of {', '.join(SHAPES)}; default: all")
    parser.add_argument("--steps", type=int, default=10, help="steps measured of each form (the fast ones: thrice)")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--keep_memory", action="store_true", help="as main.py does; the plain form gains most by it")
    options = parser.parse_args()
    unknown = set(options.shapes) - set(SHAPES)
    if unknown or options.steps < 2:
        parser.error(f"shapes are {', '.join(SHAPES)}; --steps is at least 2")
    device = hardware.pick_device(options.device)
    if options.keep_memory:
        hardware.keep_freed_memory()
    print(f"{hardware.device_name(device)}, torch {torch.__version__}, commit {run_folder.commit()}")
    for name in options.shapes:
        measure(name, options.steps, device)


if __name__ == "__main__":
    main()
