"""How time and memory grow with the data: one step of every model on 1, 4, 16 and 64 times the edges of ML-100K.

    python benchmarks/growth.py                            (about ten minutes on two cores)
    python benchmarks/growth.py --models LightGCN --factors 1 4
    python benchmarks/growth.py --picture docs/growth.png

Users and items grow alike, so that the shape of the matrix stays: 64 times the edges are 8 times the users and 8 times
the items.  Each figure comes from a process of its own.

- Seconds are the median step of 1,024 edges, with the making of its batch.  What a model does at the start of an epoch
  is spread over its steps.  Of a closed form they are those of one solution.
- Memory is the peak from loading to the last step, less what the packages take.
- The slope is that of log figure over log edges between the last two sizes: 1 is linear, 0 does not grow.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
import time

import epoch as plus_plus
import torch
from epoch import seconds_of

from machine import hardware
from options import command_line
from options.models import MODELS, model_class
from runs import run_folder

SHAPE = (938, 1008, 65_841, 0.195)  # ML-100K's users, items, edges, share of confirmed negatives
FACTORS = (1, 4, 16, 64)

ALONE = [name for name in MODELS if name not in ("Blend", "HNLMRec", "CoNRec")]  # which need runs, vectors, stages


def measure(name, factor, steps, device):
    """{"seconds", "memory"} of one model at one size, in this process."""
    hardware.keep_freed_memory()
    side = math.isqrt(factor)
    hardware.reset_peak_memory(device)
    before = hardware.peak_memory_mb(device)
    users, items, edges, confirmed = SHAPE
    data = plus_plus.synthetic(users * side, items * side, edges * factor, confirmed, device)
    options = command_line.parse(["--dataset", "x", "--model", name])
    options.fill_in_of_data_set("x")
    torch.manual_seed(0)
    model = model_class(name)(data, options.recommender, torch.Generator(device).manual_seed(0)).to(device)
    if MODELS[name].closed_form:
        seconds = statistics.median(seconds_of(lambda: model.solve(model.grid[0]), 3, device))
        return {"seconds": seconds, "memory": hardware.peak_memory_mb(device) - before}

    # what happens once an epoch (of ReFINe: once similar items are weighted), as a share of a step
    step = plus_plus.fast_step(model, torch.optim.Adam(model.parameter_groups(), lr=1e-3, fused=True))
    epoch = getattr(model.settings, "t", 1)
    start = min(seconds_of(lambda: model.start_epoch(epoch), 2, device))
    n_steps = data.n_batches(options.run.batch_size, model.trains_on)

    # the steps, with the making of their batches
    batches = data.batches(options.run.batch_size, torch.Generator().manual_seed(0), model.trains_on)
    taken = []
    for _ in range(min(steps + 1, n_steps)):
        started = time.perf_counter()
        batch = next(batches)
        made = time.perf_counter() - started
        taken.append(made + seconds_of(lambda batch=batch: step(batch), 1, device)[0])
    seconds = statistics.median(taken[1:]) + start / n_steps
    return {"seconds": seconds, "memory": hardware.peak_memory_mb(device) - before}


def in_a_process(name, factor, options):
    words = ["--one", name, "--factors", str(factor), "--steps", str(options.steps), "--device", options.device]
    done = subprocess.run([sys.executable, "-W", "ignore", __file__, *words], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{name} at {factor} x: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout)


def slope(figures, factors):
    """Of log figure over log edges, between the last two sizes."""
    if len(factors) < 2:
        return math.nan
    growth = max(figures[-1], 1e-9) / max(figures[-2], 1e-9)
    return math.log(growth) / math.log(factors[-1] / factors[-2])


def draw(path, found, factors):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    edges = [SHAPE[2] * factor for factor in factors]
    for axis, unit in zip(axes, ("seconds", "memory"), strict=True):
        for name, figures in found.items():
            axis.loglog(edges, [each[unit] for each in figures], marker="o", label=name)
        axis.set_xlabel("train edges")
        axis.grid(alpha=0.3)
    axes[0].set_title("Seconds a step (closed form: a solution)")
    axes[1].set_title("Peak memory, MB")
    axes[1].legend()
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=ALONE, choices=ALONE)
    parser.add_argument("--factors", nargs="+", type=int, default=list(FACTORS), help="squares; default: 1 4 16 64")
    parser.add_argument("--steps", type=int, default=5, help="steps measured")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--picture", help="draw the figures into this file")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # a process of its own: one model, one size, JSON
    options = parser.parse_args()
    device = hardware.pick_device(options.device)
    torch.set_flush_denormal(True)
    if options.one:
        return print(json.dumps(measure(options.one, options.factors[0], options.steps, device)))

    print(f"{hardware.device_name(device)}, torch {torch.__version__}, commit {run_folder.commit()}\n")
    sizes = "".join(f"{factor:>8} x edges" for factor in options.factors)
    print(f"{'':12}{sizes}     slope")
    found = {}
    for name in options.models:
        found[name] = [in_a_process(name, factor, options) for factor in options.factors]
        for unit, form in (("seconds", "{:14.4f} s"), ("memory", "{:13.0f} MB")):
            figures = [each[unit] for each in found[name]]
            cells = "".join(form.format(figure) for figure in figures)
            title = name if unit == "seconds" else ""
            print(f"{title:12}{cells}{slope(figures, options.factors):10.2f}", flush=True)
    if options.picture:
        draw(options.picture, found, options.factors)


if __name__ == "__main__":
    main()
