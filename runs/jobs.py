"""Runs of main.py side by side, each a process whose output goes to a file; what is seen of them here.

A terminal shows a line for each run in flight.  Each run that has ended gets a line, also in a pipe.
"""

import csv
import os
import queue
import shlex
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

from tqdm import tqdm

from machine.threads import usable_cores
from utils import InputError

LOOKS = 1.0  # seconds between two looks at the runs in flight


def run(trials, jobs):
    """Run what is not finished of these study.Trials, `jobs` at a time.

    Raises InputError with the last words of a run that failed, once all have ended.
    """
    left = list({trial.folder: trial for trial in trials if not trial.finished}.values())  # two may be one run
    if not left:
        return
    slots = queue.SimpleQueue()  # (number, environment) that no run is using
    for slot in enumerate(environments_of(jobs, left)):
        slots.put(slot)
    running, failures, stopping = {}, [], threading.Event()

    def run_one(trial):
        number, environment = slots.get()
        try:
            began = time.perf_counter()
            process = start(trial, environment)
            running[number] = trial, process
            if stopping.is_set():  # too late for the loop below to see it
                process.terminate()
            process.wait()
            del running[number]
        finally:  # or the other trials would wait for it for ever
            slots.put((number, environment))
        return trial, process.returncode, time.perf_counter() - began

    # A thread for each of the jobs waits for its run to end, this one looks at what they do.
    pool = ThreadPoolExecutor(jobs)
    progress = Progress(len(left), jobs)
    try:
        waiting = {pool.submit(run_one, trial) for trial in left}
        while waiting:
            ended, waiting = wait(waiting, LOOKS, FIRST_COMPLETED)
            for future in ended:
                failures += progress.end(*future.result())
            progress.look(running)
    except BaseException:
        # Interrupted: every run saves and stops, and the same command goes on with it.
        stopping.set()
        for _, process in list(running.values()):
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        progress.close()
    if failures:
        raise InputError(f"{len(failures)} of {len(left)} runs failed; {failures[0]}")


def environments_of(jobs, trials):
    """One for each run of those side by side, which has its share of the cores and one of the visible GPUs.

    GPUs are not dealt out where a trial names its own.
    """
    if jobs == 1:
        return [None]  # this process's own
    # With as many threads each as there are cores, they would slow each other down.
    threads = max(1, usable_cores() // jobs)
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
    import torch  # takes seconds

    return [str(number) for number in range(torch.cuda.device_count())]


def start(trial, environment):
    """Its process, in a session of its own.

    A Ctrl-C in the terminal then reaches the study alone, which tells each run once.
    """
    path = output_of(trial)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as output:
        return subprocess.Popen(
            trial.command,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def output_of(trial):
    """The file for all that its last start printed.

    Beside the run folder, not in it: a run that fails on its input has none, and main.py alone makes it.
    """
    return trial.folder.with_name(f"{trial.folder.name}.out")


# ----------------------------------------------------------------------------------- what is seen


class Progress:
    """Lines on stderr: one for each run that has ended, and on a terminal one for each in flight."""

    def __init__(self, n_runs, jobs):
        self.n_runs, self.n_ended = n_runs, 0
        self.bar = tqdm(total=n_runs, desc="runs", unit="run", disable=None)
        self.lines = []
        for job in range(jobs):
            line = tqdm(bar_format="{desc}", position=job + 1, leave=False, disable=None)
            self.lines.append(line)

    def look(self, running):
        """running: {number of the line: (trial, process)}."""
        if self.bar.disable:  # no terminal
            return
        self.bar.refresh()
        columns = os.get_terminal_size(sys.stderr.fileno()).columns  # a line must not be broken
        for number, line in enumerate(self.lines):
            trial, _ = running.get(number, (None, None))
            words = in_flight(trial) if trial else ""
            line.set_description_str(words[: columns - 1])

    def end(self, trial, code, seconds):
        """Say how a run ended.  Returns what to say of it at the end of all, if it failed."""
        self.n_ended += 1
        try:
            why = last_words(trial, code) if code else None
            result = None if code else result_in_words(trial.summary)
        except Exception as error:  # whatever is wrong with what this run left, the others go on
            why = f"{trial.folder}/summary.json: cannot be read ({type(error).__name__}: {error})"
        if why:
            why += f" (its output: {output_of(trial)})"
        outcome = f"failed: {why}" if why else f"{result}, {seconds:.0f} s"
        tqdm.write(f"{self.n_ended} of {self.n_runs}: {name_of(trial)}: {outcome}", file=sys.stderr)
        sys.stderr.flush()
        self.bar.update()
        return [f"{shlex.join(trial.command)}: {why}"] if why else []

    def close(self):
        for line in (*self.lines, self.bar):
            line.close()


def name_of(trial):
    return f"{trial.folder.parent.name} {shlex.join(trial.model)}, seed {trial.seed}"


def primary(summary):
    """The name of the metric that a run is judged by: CoNRec's is another than that of the recommenders."""
    return summary.get("primary", "recall@20")


def result_in_words(summary):
    """"test Recall@20 0.2345", of a run's own metric."""
    metric = primary(summary)
    shown = metric.upper() if "primary" in summary else metric.capitalize()
    return f"test {shown} {summary['test'][metric]:.4f}"


def in_flight(trial):
    """How far a run has come, by its metrics.csv."""
    try:
        text = (trial.folder / "metrics.csv").read_text(encoding="utf-8")
    except OSError:
        return f"{name_of(trial)}: preparing"
    whole_lines = text.rpartition("\n")[0]  # the last may be half written
    rows = list(csv.DictReader(whole_lines.splitlines()))
    if not rows:
        return f"{name_of(trial)}: begun"
    place = f"epoch {rows[-1]['epoch']}" if "epoch" in rows[0] else f"solution {len(rows)}"
    chosen = trial.options.run
    evaluated = [{name: float(value) for name, value in row.items() if value} for row in rows if row.get("recall@20")]
    best = f", best validation {chosen.chosen_by} {max(map(chosen.score_of, evaluated)):.4f}" if evaluated else ""
    return f"{name_of(trial)}: {place}{best}"


def last_words(trial, code):
    """Why a run ended with this code."""
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    lines = output_of(trial).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else f"exit code {code}"
