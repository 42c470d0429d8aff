"""Runs of main.py side by side, each a process whose output goes to a file.  Each that has ended gets a line here."""

import os
import queue
import shlex
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed

from tqdm import tqdm

from machine.threads import usable_cores
from utils import InputError


def run(trials, jobs):
    """Run what is not finished of these study.Trials, `jobs` at a time.

    Raises InputError with the last words of a run that failed, once all have ended.
    """
    left = list({trial.folder: trial for trial in trials if not trial.finished}.values())  # two may be one run
    if not left:
        return
    slots = queue.SimpleQueue()  # environments that no run is using
    for environment in environments_of(jobs, left):
        slots.put(environment)
    running, failures, stopping = set(), [], threading.Event()

    def run_one(trial):
        environment = slots.get()
        try:
            began = time.perf_counter()
            process = start(trial, environment)
            running.add(process)
            if stopping.is_set():  # too late for the loop below to see it
                process.terminate()
            process.wait()
            running.remove(process)
        finally:  # or the other trials would wait for it for ever
            slots.put(environment)
        return trial, process.returncode, time.perf_counter() - began

    # A thread for each of the jobs waits for its run to end, this one says how they ended.
    pool = ThreadPoolExecutor(jobs)
    bar = tqdm(total=len(left), desc="runs", unit="run", disable=None)
    try:
        for number, future in enumerate(as_completed([pool.submit(run_one, trial) for trial in left]), 1):
            words, why = how_it_ended(*future.result())
            tqdm.write(f"{number} of {len(left)}: {words}", file=sys.stderr)
            sys.stderr.flush()
            bar.update()
            if why:
                failures.append(f"{shlex.join(future.result()[0].command)}: {why}")
    except BaseException:
        # Interrupted: every run saves and stops, and the same command goes on with it.
        stopping.set()
        for process in list(running):
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        bar.close()
    if failures:
        raise InputError(f"{len(failures)} of {len(left)} runs failed; {failures[0]}")


def environments_of(jobs, trials):
    """One for each run of those side by side: its share of the cores and, unless a trial names its own, a GPU."""
    if jobs == 1:
        return [None]  # this process's own
    # With as many threads each as there are cores, they would slow each other down.
    threads = max(1, usable_cores() // jobs)
    named = any(word.split("=")[0] == "--device" for trial in trials for word in trial.model)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named:
        gpus = []
    elif visible is not None:
        gpus = list(filter(None, visible.split(",")))
    else:
        import torch  # takes seconds

        gpus = list(map(str, range(torch.cuda.device_count())))
    environments = []
    for job in range(jobs):
        environment = {"OMP_NUM_THREADS": str(threads), **os.environ}
        if len(gpus) > 1:
            environment["CUDA_VISIBLE_DEVICES"] = gpus[job % len(gpus)]
        environments.append(environment)
    return environments


def start(trial, environment):
    """Its process, in a session of its own: a Ctrl-C reaches the study alone, which tells each run once."""
    path = output_of(trial)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as output:
        return subprocess.Popen(
            trial.command, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )


def output_of(trial):
    """The file for all that its last start printed: beside the run folder, which main.py alone makes."""
    return trial.folder.with_name(f"{trial.folder.name}.out")


def how_it_ended(trial, code, seconds):
    """(a run and its result in words, why it failed or None)."""
    name = f"{trial.folder.parent.name} {shlex.join(trial.model)}, seed {trial.seed}"
    output = output_of(trial)
    try:
        if code < 0:
            why = f"killed by {signal.Signals(-code).name}"
        elif code:
            lines = output.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            why = lines[-1] if lines else f"exit code {code}"
        else:
            metric = trial.summary.get("primary", "recall@20")  # by which a run is judged
            shown = metric.upper() if "primary" in trial.summary else metric.capitalize()
            return f"{name}: test {shown} {trial.summary['test'][metric]:.4f}, {seconds:.0f} s", None
    except Exception as error:  # whatever is wrong with what this run left, the others go on
        why = f"{trial.folder}/summary.json: cannot be read ({type(error).__name__}: {error})"
    why += f" (its output: {output})"
    return f"{name}: failed: {why}", why
