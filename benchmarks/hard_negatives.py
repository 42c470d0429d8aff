"""What the vectors of hard negatives cost an epoch: seconds and memory, and how they are read.

    python benchmarks/hard_negatives.py                                   500,000 vectors of width 1,024 (1 GB of disk)
    python benchmarks/hard_negatives.py --pairs 38881 --width 384         ML-100K's size with the default encoder

Synthetic ratings and random vectors, which lie in a file and are mapped.  An epoch of HNLMRec with --hard none, and one
with these vectors, in a process each.  Memory is the peak of the process's anonymous memory during the steps less that
before them (Linux): pages of the file that the system keeps while there is room are not counted.  Batched reads rows of
a batch sorted and at once, as training does; one by one reads each row by itself.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from itertools import islice
from pathlib import Path

import harness
import numpy as np
import torch

from baselines.hnlmrec import HNLMRec
from machine import hardware
from negatives import vectors
from negatives.vectors import HardNegatives, read_sorted
from options import command_line
from runs import run_folder

WRITTEN = 2**16  # rows written at once


def write(path, n, width):
    """Random unit vectors, (n, width) float16."""
    random = np.random.default_rng(0)
    array = vectors.create(path, (n, width), np.float16)
    for first in range(0, n, WRITTEN):
        rows = random.standard_normal((min(WRITTEN, n - first), width), np.float32)
        array[first : first + WRITTEN] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    array.flush()


def shape_of(pairs):
    """Users and items of a data set with so many positives, about as dense as MovieLens-1M."""
    return max(100, pairs // 50), max(100, pairs // 100)


class AnonymousMemory:
    """The peak of this process's anonymous memory, looked at every ten milliseconds."""

    def __enter__(self):
        self.before = self.peak = self.now()
        self.over = threading.Event()
        self.watch = threading.Thread(target=self.look, daemon=True)
        self.watch.start()
        return self

    def now(self):
        return hardware.figure_in(hardware.PROCESS / "status", "RssAnon:") or 0  # kilobytes

    def look(self):
        while not self.over.wait(0.01):
            self.peak = max(self.peak, self.now())

    def __exit__(self, *error):
        self.over.set()
        self.watch.join()
        self.megabytes = (self.peak - self.before) / 2**10


def epoch(path, options):
    """{"seconds" of a step, "megabytes"} of the steps of an epoch.  path: of the vectors; "" for none."""
    users, items = shape_of(options.pairs)
    data = harness.synthetic(users, items, options.pairs, 0.0, torch.device("cpu"))
    words = ["--dataset", "x", "--model", "HNLMRec", "--backbone", options.backbone]
    words += ["--hn_adapter", options.adapter] if path else ["--hard", "none"]
    of_model = command_line.parse(words)
    if path:
        mapped = np.load(path, mmap_mode="r")
        documents = np.array(mapped[: data.n_items])
        data.hard = HardNegatives(np.arange(len(mapped)), np.ones(len(mapped), bool), mapped, documents, "cpu")
    torch.manual_seed(0)
    model = HNLMRec(data, of_model.recommender, torch.Generator().manual_seed(0))
    step = harness.training_step(model, harness.fused_adam(model))
    model.start_epoch(1)
    batches = data.batches(of_model.run.batch_size, torch.Generator().manual_seed(0), model.trains_on)
    step(next(batches))  # makes Adam's moments
    taken = []
    with AnonymousMemory() as memory:
        for batch in islice(batches, options.steps):
            started = time.perf_counter()
            step(batch)
            taken.append(time.perf_counter() - started)
    return {"seconds": statistics.median(taken), "megabytes": memory.megabytes}


def in_a_process(path, options):
    words = ["--one", path, "--pairs", options.pairs, "--backbone", options.backbone, "--adapter", options.adapter]
    if options.steps:
        words += ["--steps", options.steps]
    done = subprocess.run([sys.executable, "-W", "ignore", __file__, *map(str, words)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout)


def reading(path, times):
    """Median seconds of a batch's rows, read at once and one by one."""
    mapped = np.load(path, mmap_mode="r")
    batches = np.random.default_rng(0).integers(0, len(mapped), (times, 1024))
    at_once, singly = [], []
    for rows in batches:
        started = time.perf_counter()
        read_sorted(mapped, rows)
        at_once.append(time.perf_counter() - started)
        started = time.perf_counter()
        np.stack([mapped[row] for row in rows])
        singly.append(time.perf_counter() - started)
    return statistics.median(at_once), statistics.median(singly)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=500_000)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--steps", type=int, help="steps measured; default: an epoch")
    parser.add_argument("--backbone", default="LightGCN")
    parser.add_argument("--adapter", default="aligned")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # a process of its own, JSON
    options = parser.parse_args()
    torch.set_flush_denormal(True)
    if options.one is not None:
        return print(json.dumps(epoch(options.one, options)))

    machine = f"{hardware.device_name(torch.device('cpu'))}, torch {torch.__version__}, commit {run_folder.commit()}"
    print(f"{machine}, {options.pairs} positives, vectors of width {options.width}\n")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vectors.npy"
        write(path, options.pairs, options.width)
        print(f"  {path.stat().st_size / 2**20:.0f} MB of vectors")
        without, hard = in_a_process("", options), in_a_process(path, options)
        for words, found in (("without vectors", without), ("with vectors", hard)):
            figures = f"{1000 * found['seconds']:7.0f} ms a step, {found['megabytes']:6.0f} MB more in an epoch"
            print(f"  {words:16} {figures}")
        print(f"  {'ratio':16} {hard['seconds'] / without['seconds']:7.2f} x")
        at_once, singly = reading(path, 20)
        words = f"batched {1000 * at_once:.1f} ms, one by one {1000 * singly:.1f} ms: {singly / at_once:.1f} x"
        print(f"  1,024 rows read  {words}")


if __name__ == "__main__":
    main()
