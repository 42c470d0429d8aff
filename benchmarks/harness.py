"""What the benchmarks share: synthetic ratings of real sizes, a step of training, forms timed in turns."""

import argparse
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "helpers")]

from dataloader import Interactions, TrainData
from machine import hardware
from options import command_line
from options.models import model_class
from runs import run_folder
from training.recommender import penalty

SHAPES = {  # users, items, train edges, share of confirmed negatives among them (Amazon_Books': assumed), layers
    "ML-100K": (938, 1008, 65_841, 0.195, 4),
    "ML-1M": (6034, 3125, 581_250, 0.175, 4),
    "Amazon_Books": (28_623, 29_948, 1_169_780, 0.2, 2),
}
CALLS_ON_CUDA = 20  # timed together: waiting for each would hide what overlaps


def parser_for(doc, shapes=("ML-100K", "ML-1M")):
    """A parser of what every benchmark is told.  shapes: the default."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", default=shapes, choices=SHAPES, help="sizes of the synthetic ratings")
    parser.add_argument("--device", default="auto")
    return parser


def start(options):
    """Set the device up as a run does, say what it is, and return it."""
    torch.set_flush_denormal(True)  # else Adam's small moments slow an Intel core down
    hardware.keep_freed_memory()
    device = hardware.pick_device(options.device)
    print(f"{hardware.device_name(device)}, torch {torch.__version__}, commit {run_folder.commit()}")
    return device


def print_shape(shape):
    users, items, edges, _, layers = SHAPES[shape]
    print(f"\n{shape}: {users} users, {items} items, {edges} edges, {layers} layers")


def ratings_of(shape, device):
    """Random ratings of this shape with a long tail of items, as real ones have."""
    n_users, n_items, n_edges, confirmed, _ = SHAPES[shape]
    random = np.random.RandomState(0)
    popularity = 1 / np.arange(10, n_items + 10)
    pairs = np.zeros(0, np.int64)
    while len(pairs) < n_edges:  # popular pairs are drawn twice
        users = random.randint(n_users, size=n_edges)
        items = random.choice(n_items, n_edges, p=popularity / popularity.sum())
        pairs = np.unique(np.concatenate((pairs, users * n_items + items)))
    pairs = random.permutation(pairs)[:n_edges]
    rating = np.where(random.rand(n_edges) >= confirmed, 5.0, 1.0)
    train = Interactions(pairs // n_items, pairs % n_items, rating)
    # nothing is held out: a step does not look at it
    nobody = Interactions(np.zeros(0, int), np.zeros(0, int), np.zeros(0))
    return TrainData(np.arange(n_users), np.arange(n_items), train, nobody, nobody, device)


def build(name, data, shape, **flags):
    """A model with the default settings of a data set, but for these flags."""
    options = command_line.make({"dataset": shape, "model": name, **flags})
    options.fill_in_of_data_set(shape)
    torch.manual_seed(0)
    generator = torch.Generator(data.device).manual_seed(0)
    return model_class(name)(data, options.recommender, generator).to(data.device)


def fused_adam(model):
    return torch.optim.Adam(model.parameter_groups(), lr=1e-3, fused=True)


def training_step(model, optimizer):
    """A function that does one step on a batch."""

    def step(batch):
        loss = model.loss(batch)
        reported = loss.detach() + penalty(optimizer)  # which training logs
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return reported

    return step


def compare(forms, inputs, device):
    """A table with a row for each form: median ms of a call, how many times as long as the first form's, peak MB.

    forms: {name: function of one input}.  Each form gets every input, and they take turns: what else the machine does
    slows all of them, so that the ratios hold on a busy machine, too.  The first input warms up and does not count.
    """
    seconds = {name: [] for name in forms}
    peak = dict.fromkeys(forms, 0)
    for given in inputs:
        for name, form in forms.items():
            hardware.reset_peak_memory(device)
            seconds[name].append(seconds_of(form, given, device))
            peak[name] = max(peak[name], hardware.peak_memory_mb(device))
    ms = pd.Series({name: 1000 * statistics.median(taken[1:]) for name, taken in seconds.items()})
    return pd.DataFrame({"ms": ms, "x first": ms / ms.iloc[0], "peak MB": peak})


def seconds_of(form, given, device):
    """Seconds of form(given); with CUDA the mean of several calls."""
    calls = CALLS_ON_CUDA if device.type == "cuda" else 1
    wait_for(device)
    started = time.perf_counter()
    for _ in range(calls):
        form(given)
    wait_for(device)
    return (time.perf_counter() - started) / calls


def wait_for(device):
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def print_table(table):
    print(table.to_string(float_format="{:.2f}".format), flush=True)
