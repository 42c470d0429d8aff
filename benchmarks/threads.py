"""Seconds of a step with one thread and with more, alone and beside as many busy processes as there are cores.

    python benchmarks/threads.py                    three sizes (about two minutes on two cores)
    python benchmarks/threads.py ML-100K --threads 1 2 4 --model LightGCN

The numbers of threads take turns on the same batches in this process, so that what else the machine does hits all of
them.  The busy processes spin in an empty loop; this program starts and ends them.  Ratios are to one thread: below 1,
more threads are faster.  "least" are minima, which leave out most of what the machine does besides.
"""

import argparse
import contextlib
import statistics
import subprocess
import sys
import time
from itertools import cycle, islice

import epoch as plus_plus
import torch
from epoch import seconds_of

from machine import threads
from options import command_line
from options.models import model_class
from runs import run_folder

SHAPES = {  # users, items, train edges, share of confirmed negatives, layers
    "tiny": (150, 119, 4151, 0.26, 4),  # examples/tiny
    "four tiny": (300, 238, 4 * 4151, 0.26, 4),
    "ML-100K": plus_plus.SHAPES["ML-100K"],
    "ML-1M": plus_plus.SHAPES["ML-1M"],
}
WARM_UP = 1  # steps after each change of the number of threads, in which the threads are made


@contextlib.contextmanager
def busy_neighbours(number):
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(number)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def step_of(name, shape):
    """(the data, what does one step on a batch) of a model on synthetic ratings of a shape."""
    *sizes, layers = SHAPES[shape]
    device = torch.device("cpu")
    data = plus_plus.synthetic(*sizes, device)
    if name == "ReFINe++":
        model = plus_plus.build(data, layers)
    else:
        options = command_line.parse(["--dataset", "x", "--model", name])
        options.fill_in_of_data_set("x")
        torch.manual_seed(0)
        model = model_class(name)(data, options.recommender, torch.Generator().manual_seed(0))
    return data, plus_plus.fast_step(model, torch.optim.Adam(model.parameter_groups(), lr=1e-3, fused=True))


def measure(data, step, numbers, budget):
    """{number of threads: seconds of each step}, in turns until so many seconds are used up, at least one turn."""
    taken = {number: [] for number in numbers}
    batches = islice(data.batches(1024, torch.Generator().manual_seed(0)), 4)
    end = time.perf_counter() + budget
    for batch in cycle(batches):
        if all(taken.values()) and time.perf_counter() > end:
            return taken
        for number in numbers:
            torch.set_num_threads(number)
            seconds = seconds_of(lambda batch=batch: step(batch), WARM_UP + 2, data.device)
            taken[number] += seconds[WARM_UP:]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shapes", nargs="*", default=list(SHAPES), help=f"of {', '.join(SHAPES)}; default: all")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=5, help="for each size, alone and beside others")
    parser.add_argument("--model", default="ReFINe++")
    options = parser.parse_args()
    if set(options.shapes) - set(SHAPES):
        parser.error(f"shapes are {', '.join(SHAPES)}")
    torch.set_flush_denormal(True)
    cores = threads.usable_cores()
    taken = f"{cores - threads.free_cores():.1f} of {cores} cores taken by others"
    print(f"{taken}, torch {torch.__version__}, commit {run_folder.commit()}")
    for shape in options.shapes:
        data, step = step_of(options.model, shape)
        print(f"\n{options.model} on {shape}: {data.n_users} users, {data.n_items} items, {SHAPES[shape][2]} edges")
        print("  neighbours  threads  ms a step   ratio      least   ratio")
        for neighbours in (0, cores):
            with busy_neighbours(neighbours):
                seconds = measure(data, step, options.threads, options.seconds)
            first = seconds[options.threads[0]]
            for number, those in seconds.items():
                median, least = statistics.median(those), min(those)
                ratios = median / statistics.median(first), least / min(first)
                cells = f"{median * 1e3:10.1f} {ratios[0]:7.2f} {least * 1e3:10.1f} {ratios[1]:7.2f}"
                print(f"  {neighbours:10} {number:8} {cells}", flush=True)


if __name__ == "__main__":
    main()
