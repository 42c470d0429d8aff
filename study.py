"""Several models on several data sets with several seeds, and one table of them.

    python study.py --models Popularity EASE LightGCN ReFINe++ --datasets ML-100K --seeds 2024 2025 2026
    python study.py --models ReFINe++ "ReFINe++ --no_autoencoder" "LightGCN --dataset_augment augment" ...
    python study.py --models "SiReN --lambda_reg .01,.05,.1 --learning_rate 1e-3,5e-3" ...
    python study.py ... --jobs 2        two runs at a time
    python study.py ... --list          print the commands that are left to run, for a scheduler

A model may be followed by flags of main.py.  Where a flag has several values with commas between
them, all combinations are run with the first seed, and the one with the best validation Recall@20
with the other seeds.

Every run is a process of main.py with a run folder of its own.  A finished run is not run again, an
interrupted one goes on.  The table is printed and left in <result_dir>/<name>.md and .tex.
"""

import argparse
import itertools
import json
import os
import queue
import shlex
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from tqdm import tqdm

import flags
import shell
import utils
from atomic_files import preparation
from baselines import MODELS
from results4comparison import compare, layout, table
from utils import InputError

MAIN = Path(__file__).with_name("main.py")
OF_THE_STUDY = (  # flags of main.py that this program gives
    *("--dataset", "--random_seed", "--path_name"),
    *("--data_dir", "--result_dir", "--resume", "--model"),
)


def parse(argv=None):
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=style)
    parser.error = lambda message: sys.exit(shell.fail(f"{message} (--help lists the flags)"))
    add = parser.add_argument
    add("--models", nargs="+", required=True,
        help="models, each with flags of main.py in one argument")
    add("--datasets", nargs="+", default=["ML-100K"],
        help="as --dataset of main.py; default: ML-100K")
    add("--seeds", nargs="+", type=int, default=[2024], help="random seeds; default: 2024")
    add("--jobs", type=int, default=1, help="runs at a time; they share the cores; default: 1")
    add("--list", action="store_true",
        help="print the commands that are left, one a line, run nothing")
    add("--name", default="study", help="of the table's files; default: study")
    add("--data_dir", type=Path, default=Path("data"))
    add("--result_dir", type=Path, default=Path("result"))
    options = parser.parse_args(argv)
    if options.jobs < 1:
        raise InputError(f"--jobs {options.jobs}: must be at least 1")
    return options


# ------------------------------------------------------------------------------------------- runs


class Trial:
    """One run of main.py: its arguments and its run folder."""

    def __init__(self, model, dataset, seed, options):
        """model: list of words, the model's name and flags of main.py."""
        refuse_flags_of_the_study(model)
        words = [word.removeprefix("--").replace("/", "-") for word in model]
        path_name = f"{'_'.join(words)}_{seed}"
        self.model = model
        self.arguments = [
            *("--dataset", dataset),
            *("--random_seed", str(seed)),
            *("--path_name", path_name),
            *("--data_dir", str(options.data_dir)),
            *("--result_dir", str(options.result_dir)),
            *("--model", *model),
        ]
        flags.parse(self.arguments)  # raises InputError before anything runs
        name, _, _ = preparation.locate(dataset, options.data_dir)
        self.folder = options.result_dir / name / path_name

    @property
    def finished(self):
        return (self.folder / "summary.json").exists()

    @property
    def command(self):
        command = [sys.executable, str(MAIN), *self.arguments]
        if (self.folder / "config.json").exists():  # it has been started
            command.append("--resume")
        return command

    @property
    def summary(self):
        return json.loads((self.folder / "summary.json").read_text(encoding="utf-8"))

    def recalls(self):
        return pd.read_csv(self.folder / "per_user.csv", index_col="user")["recall@20"]


def refuse_flags_of_the_study(model):
    flags_of_model = {word.split("=")[0] for word in model}
    for flag in OF_THE_STUDY:
        if flag in flags_of_model:
            words = shlex.join(model)
            raise InputError(f"--models {words}: {flag} is for the whole study, not for a model")


def run(trials, options):
    """Run what is not finished, options.jobs at a time.

    Raises InputError with the last words of a run that failed, once all have ended.
    """
    left = [trial for trial in trials if not trial.finished]
    free = queue.SimpleQueue()  # environments that no run is using
    for environment in environments_of(options.jobs, left):
        free.put(environment)
    running, failed, stopping = set(), [], threading.Event()

    def run_one(trial):
        environment = free.get()
        try:
            process = start(trial, environment)
            running.add(process)
            if stopping.is_set():  # too late for the loop below to see it
                process.terminate()
            _, error = process.communicate()
            running.discard(process)
        finally:  # or the other trials would wait for it for ever
            free.put(environment)
        if process.returncode and not stopping.is_set():
            failed.append(f"{shlex.join(trial.command)}: {last_line(error)}")

    # A thread for each of the jobs waits for its run to end.
    pool = ThreadPoolExecutor(options.jobs)
    try:
        ended = pool.map(run_one, left)
        list(tqdm(ended, "runs", len(left), unit="run", disable=None))
    except BaseException:
        # Interrupted: every run saves and stops, and the same command goes on with it.
        stopping.set()
        for process in running.copy():
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
    if failed:
        raise InputError(f"{len(failed)} of {len(left)} runs failed; {failed[0]}")


def environments_of(jobs, trials):
    """One for each run of those side by side, which has its share of the cores and one of the visible GPUs.

    GPUs are not dealt out where a trial names its own.
    """
    if jobs == 1:
        return [None]  # this process's own
    # With as many threads each as there are cores, they would slow each other down.
    threads = max(1, (os.cpu_count() or 1) // jobs)
    named = any(word.split("=")[0] == "--device" for trial in trials for word in trial.model)
    gpus = [] if named else visible_gpus()
    environments = []
    for job in range(jobs):
        environment = {"OMP_NUM_THREADS": str(threads), **os.environ}
        if len(gpus) > 1:
            environment["CUDA_VISIBLE_DEVICES"] = gpus[job % len(gpus)]
        environments.append(environment)
    return environments


def visible_gpus():
    """The names of the GPUs that this process may use, as CUDA_VISIBLE_DEVICES has them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name for name in named.split(",") if name]
    return [str(number) for number in range(torch.cuda.device_count())]


def start(trial, environment):
    """Its process, in a session of its own.

    A Ctrl-C in the terminal then reaches the study alone, which tells each run once.
    """
    return subprocess.Popen(
        trial.command,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )


def last_line(error):
    lines = error.strip().splitlines()
    return lines[-1] if lines else "no reason given"


# ------------------------------------------------------------------------------------------ table


class Row(NamedTuple):
    """One line of the table."""

    dataset: str
    model: str  # and its flags
    trials: list  # one a seed


def report(rows):
    """(Markdown lines, LaTeX lines) of the table of all rows and of that of the best two."""
    header = ["data set", "model", "refined by", *table.FIGURES, "published recall@20"]
    best = ["data set", "best test recall@20", "less the second best", *table.DIFFERENCE]
    body, models = [], {}
    for dataset, model, trials in rows:
        body.append(cells(dataset, model, trials))
        models.setdefault(dataset, []).append((model, recalls(trials)))
    tests = []
    for dataset, of_data_set in models.items():
        if len(of_data_set) > 1:
            tests.append([dataset, *best_two(of_data_set)])
    note = "Difference: two-sided paired t-test over users, each user's mean over the seeds."
    markdown = [*layout.markdown(header, body), "", *layout.markdown(best, tests), "", note]
    tex = [*layout.latex(header, body), "", *layout.latex(best, tests), "", f"% {note}"]
    return markdown, tex


def cells(dataset, model, trials):
    summaries = [trial.summary for trial in trials]
    known = compare.published(dataset, summaries[0]["model"])
    published = f"{known['test']['recall@20']:.4f}" if known else ""
    return [dataset, model, table.labels(summaries[0]), *table.figures(summaries), published]


def recalls(trials):
    """(users, seeds) test Recall@20."""
    return pd.concat([trial.recalls() for trial in trials], axis=1, ignore_index=True)


def best_two(models):
    """Cells of the best and the second best of [(model, recalls)], and of their difference."""
    by_mean = sorted(models, key=lambda pair: -pair[1].to_numpy().mean())
    (first, ours), (second, theirs) = by_mean[:2]
    return [first, second, *table.difference(ours, theirs)]


# ------------------------------------------------------------------------------------------ study


def study(argv=None):
    options = parse(argv)

    # Every combination of a grid is run with the first seed.
    grids = {}  # a model that is given twice is run once
    for dataset, model in itertools.product(options.datasets, options.models):
        grids[dataset, model] = grid_of(dataset, model, options)
    if not options.list:
        run(itertools.chain(*grids.values()), options)

    # The best of each grid is run with the other seeds.
    rows, everything = [], []
    for (dataset, model), grid in grids.items():
        rows.append(row_of(dataset, model, grid, options))
        everything += rows[-1].trials
    if options.list:
        left = [trial for trial in everything if not trial.finished]
        return print(*(shlex.join(trial.command) for trial in left), sep="\n")
    run(everything, options)

    markdown, tex = report(rows)
    print(*markdown, sep="\n")
    write_lines(options.result_dir / f"{options.name}.md", markdown)
    write_lines(options.result_dir / f"{options.name}.tex", tex)


def grid_of(dataset, model, options):
    """A trial with the first seed for each combination of the model's flags."""
    seed = options.seeds[0]
    return [Trial(words, dataset, seed, options) for words in combinations(model)]


def combinations(model):
    """"SiReN --lambda_reg .01,.1" -> [["SiReN", "--lambda_reg", ".01"], [..., ".1"]]"""
    values = [word.split(",") for word in shlex.split(model)]
    return list(map(list, itertools.product(*values)))


def row_of(dataset, model, grid, options):
    """The row of a grid: the trials of its best combination with all seeds."""
    name = grid[0].folder.parent.name
    if len(grid) == 1:
        best = grid[0]
        label = shlex.join(best.model)
    elif all(trial.finished for trial in grid):
        best = max(grid, key=lambda trial: trial.summary["validation"]["recall@20"])
        label = f"{shlex.join(best.model)} (best of {len(grid)})"
    else:
        # With --list alone: the best is not known yet, and the grid is what is left to run.
        return Row(name, model, grid)
    seeds = options.seeds
    if MODELS[best.model[0]].closed_form:
        seeds = seeds[:1]  # nothing in it is random
    trials = [Trial(best.model, dataset, seed, options) for seed in seeds]
    return Row(name, label, trials)


def write_lines(path, lines):
    text = "\n".join(lines) + "\n"
    utils.write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(shell.cli(study))
