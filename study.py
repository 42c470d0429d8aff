"""Several models on several data sets with several seeds, and one table of them.

    python study.py --models Popularity EASE LightGCN ReFINe++ --datasets ML-100K --seeds 2024 2025 2026
    python study.py --models ReFINe++ "ReFINe++ --no_autoencoder" "LightGCN --dataset_augment augment" ...
    python study.py --models "SiReN --lambda_reg .01,.05,.1 --learning_rate 1e-3,5e-3" ...
    python study.py ... --jobs 2        two runs at a time
    python study.py ... --list          print the commands that are left to run, for a scheduler

A model may be followed by flags of main.py.  Where a flag has several values with commas between them, all
combinations are run with the first seed, and the one with the best validation Recall@20 with the other seeds.  Every
run is a process of main.py with a run folder of its own; a finished one is not run again, an interrupted one goes on.
The table is printed and left in <result_dir>/<name>.md and .tex.
"""

import argparse
import itertools
import json
import os
import shlex
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
from tqdm import tqdm

import main
import shell
import utils
from atomic_files import preparation
from baselines import MODELS
from results4comparison import compare, table
from utils import InputError

MAIN = Path(main.__file__)


def parse(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.error = lambda message: sys.exit(shell.fail(f"{message} (--help lists the flags)"))
    parser.add_argument("--models", nargs="+", required=True, help="models, each with flags of main.py in one argument")
    parser.add_argument("--datasets", nargs="+", default=["ML-100K"], help="as --dataset of main.py; default: ML-100K")
    parser.add_argument("--seeds", nargs="+", type=int, default=[2024], help="random seeds; default: 2024")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time; they share the cores; default: 1")
    parser.add_argument("--list", action="store_true", help="print the commands that are left, one a line, run nothing")
    parser.add_argument("--name", default="study", help="of the table's files; default: study")
    parser.add_argument("--data_dir", type=Path, default=Path("data"))
    parser.add_argument("--result_dir", type=Path, default=Path("result"))
    options = parser.parse_args(argv)
    if options.jobs < 1:
        raise InputError(f"--jobs {options.jobs}: must be at least 1")
    return options


class Trial:
    """One run of main.py: its arguments and its run folder."""

    def __init__(self, model, dataset, seed, options):
        """model: list of words, the model's name and flags of main.py."""
        for flag in ("--dataset", "--random_seed", "--path_name", "--data_dir", "--result_dir", "--resume", "--model"):
            if any(word.split("=")[0] == flag for word in model):
                raise InputError(f"--models {shlex.join(model)}: {flag} is for the whole study, not for a model")
        words = "_".join(word.removeprefix("--").replace("/", "-") for word in model)
        self.model = model
        self.arguments = [
            "--dataset", dataset, "--random_seed", str(seed), "--path_name", f"{words}_{seed}",
            "--data_dir", str(options.data_dir), "--result_dir", str(options.result_dir), "--model", *model,
        ]  # fmt: skip
        main.parse(self.arguments)  # raises InputError before anything runs
        self.folder = options.result_dir / preparation.locate(dataset, options.data_dir)[0] / f"{words}_{seed}"

    @property
    def finished(self):
        return (self.folder / "summary.json").exists()

    @property
    def command(self):
        resume = ["--resume"] if (self.folder / "config.json").exists() else []
        return [sys.executable, str(MAIN), *self.arguments, *resume]

    @property
    def summary(self):
        return json.loads((self.folder / "summary.json").read_text(encoding="utf-8"))

    def recalls(self):
        return pd.read_csv(self.folder / "per_user.csv", index_col="user")["recall@20"]


def combinations(model):
    """All ways of choosing one of the values with commas between them: [["SiReN", "--lambda_reg", ".01"], ...]"""
    return [list(words) for words in itertools.product(*(word.split(",") for word in shlex.split(model)))]


def run(trials, options):
    """Run what is not finished, options.jobs at a time; raises InputError with the last words of those that failed."""
    left = [trial for trial in trials if not trial.finished]
    threads = str(max(1, (os.cpu_count() or 1) // options.jobs))  # of each run, or they would fight for the cores
    environment = {"OMP_NUM_THREADS": threads, **os.environ} if options.jobs > 1 else None
    running, failed, stopping = set(), [], threading.Event()
    # Sessions of their own: a Ctrl-C in the terminal reaches this process alone, which tells each run once.
    more = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}

    def one(trial):
        process = subprocess.Popen(trial.command, env=environment, **more)
        running.add(process)
        if stopping.is_set():
            process.terminate()
        _, error = process.communicate()
        running.discard(process)
        if process.returncode and not stopping.is_set():
            failed.append(f"{shlex.join(trial.command)}: {(error.strip().splitlines() or ['no reason given'])[-1]}")

    pool = ThreadPoolExecutor(options.jobs)
    try:
        list(tqdm(pool.map(one, left), "runs", len(left), unit="run", disable=None))
    except BaseException:  # interrupted: every run saves and stops, and the same command goes on with it
        stopping.set()
        for process in running.copy():
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
    if failed:
        raise InputError(f"{len(failed)} of {len(left)} runs failed; {failed[0]}")


def report(rows):
    """(Markdown lines, LaTeX lines).  rows: [(data set, model and flags, trials)]"""
    header = ["data set", "model", "refined by", *table.FIGURES, "published recall@20"]
    body, tests = [], []
    for dataset, model, trials in rows:
        summaries = [trial.summary for trial in trials]
        known = compare.published(dataset, summaries[0]["model"])
        published = f"{known['test']['recall@20']:.4f}" if known else ""
        body.append([dataset, model, table.labels(summaries[0]), *table.figures(summaries), published])
    for dataset in dict.fromkeys(row[0] for row in rows):
        recalls = [
            (model, pd.concat([trial.recalls() for trial in trials], axis=1, ignore_index=True))
            for name, model, trials in rows
            if name == dataset
        ]
        recalls.sort(key=lambda pair: -pair[1].to_numpy().mean())
        if len(recalls) > 1:
            (first, ours), (second, theirs) = recalls[:2]
            tests.append([dataset, first, second, *table.difference(ours, theirs)])
    best = ["data set", "best test recall@20", "less the second best", *table.DIFFERENCE]
    note = "Difference: two-sided paired t-test over users, each user's mean over the seeds."
    lines = [*table.markdown(header, body), "", *table.markdown(best, tests), "", note]
    return lines, [*table.latex(header, body), "", *table.latex(best, tests), "", f"% {note}"]


def study(argv=None):
    options = parse(argv)
    pairs = list(itertools.product(options.datasets, options.models))
    first = options.seeds[0]
    grids = {pair: [Trial(words, pair[0], first, options) for words in combinations(pair[1])] for pair in pairs}
    if not options.list:
        run([trial for trials in grids.values() for trial in trials], options)
    rows = []
    for (dataset, model), trials in grids.items():
        if len(trials) == 1 or all(trial.finished for trial in trials):  # else the best of the grid is not known yet
            best = max(trials, key=lambda trial: trial.finished and trial.summary["validation"]["recall@20"])
            model = shlex.join(best.model) + (f" (best of {len(trials)})" if len(trials) > 1 else "")
            # A closed-form model throws no dice: one seed is enough.
            seeds = options.seeds if MODELS[best.model[0]].solutions is None else options.seeds[:1]
            trials = [Trial(best.model, dataset, seed, options) for seed in seeds]
        rows.append((trials[0].folder.parent.name, model, trials))
    everything = [trial for *_, trials in rows for trial in trials]
    if options.list:
        return print(*(shlex.join(trial.command) for trial in everything if not trial.finished), sep="\n")
    run(everything, options)
    markdown, latex = report(rows)
    print(*markdown, sep="\n")
    for suffix, lines in ((".md", markdown), (".tex", latex)):
        path = options.result_dir / f"{options.name}{suffix}"
        utils.write_atomically(path, lambda p, lines=lines: p.write_text("\n".join(lines) + "\n", encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(shell.cli(study))
