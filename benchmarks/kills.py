"""Kill the real command again and again, and see whether it ends as if nothing had happened.

    python benchmarks/kills.py           50 kills: about ten minutes on two cores, fetches ML-100K

One run of prepare, refine and train on ML-100K is left alone.  Another is killed (SIGKILL, SIGTERM
and SIGINT in turn) at a moment drawn uniformly from the time the first took, started again, and so
on.  Once it ends, its splits, answers, labels, metrics, best weights and recommendations are
compared with the first's, bit for bit.  Then it starts over in an empty folder, until the kills are
used up.  At the first difference this ends with an error and leaves both for a look.
"""

import argparse
import collections
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "helpers")]

import synthetic
from same import assert_same_end

from preparation.fetch import fetch
from runs import run_folder

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
DATA = Path("data") / "ML-100K"
RUN = Path("result") / "ML-100K" / "a"
STAGES = {  # what a run has printed -> the stage it is in; the first that fits
    "Epoch: ": "train",
    "user: ": "train",
    "refining with": "refine",
    "splits: ": "refine",
    "": "start or prepare",
}


def command(base, llm):
    """The job in the folder base; --resume where it has begun to train."""
    python = [sys.executable, "-W", "ignore"]
    paths = ["--data_dir", base / "data", "--result_dir", base / "result", "--path_name", RUN.name]
    flags = ["--llm", llm, "--no_autoencoder", "--epochs", "15", "--device", "cpu"]
    if (base / RUN / "config.json").exists():
        flags.append("--resume")
    return [*python, ROOT / "main.py", "--dataset", DATA.name, *paths, *flags]


def start_over(base, files):
    shutil.rmtree(base, ignore_errors=True)
    shutil.copytree(files, base / DATA)


def run_with_kills(base, llm, seconds, moments, kills):
    """Run the job to its end, killed within these seconds, and count the kills by stage."""
    while not (base / RUN / "summary.json").exists():  # a kill may come later than this, too
        process = subprocess.Popen(
            command(base, llm), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        number = SIGNALS[kills.total() % len(SIGNALS)]
        try:
            printed, _ = process.communicate(timeout=moments.uniform(0, seconds))
        except subprocess.TimeoutExpired:
            process.send_signal(number)
            printed, _ = process.communicate()
            kills[stage_of(printed)] += 1
        # It ended by itself, by the signal, or saved and ended because of the signal.
        if process.returncode not in (0, -number, 128 + number):
            sys.exit(f"exit code {process.returncode} after {number.name}: {printed[-500:]}")


def stage_of(printed):
    for mark, stage in STAGES.items():
        if f"\n{mark}" in f"\n{printed}":  # at the beginning of a line
            return stage


def compare(whole, other):
    """All that both left behind, in the order in which it was made.

    AssertionError at the first difference.
    """
    for path in sorted((whole / DATA).glob("*.csv")):
        assert path.read_bytes() == (other / DATA / path.name).read_bytes(), path.name
    answers, labels = [], []
    for base in (whole, other):
        path = next((base / DATA).rglob("answers.jsonl"))
        answers.append(sorted(path.read_text().splitlines()))
        labels.append(path.with_name("ML-100K_train_augment.csv").read_bytes())
    assert answers[0] == answers[1], "answers.jsonl"
    assert labels[0] == labels[1], "train_augment"
    assert_same_end(whole / RUN, other / RUN)


def main():
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=style)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # all runs alike, or their last digits might differ
    base = Path(tempfile.mkdtemp(prefix="kills_"))
    print(f"in {base}", flush=True)
    llm = synthetic.write_encoder(base / "llm")
    files = base / "files" / "ML-100K"
    fetch("ML-100K", files)
    whole, killed = base / "whole", base / "killed"

    # The run that is left alone says how long a run takes.
    start_over(whole, files)
    started = time.perf_counter()
    subprocess.run(command(whole, llm), check=True, stdout=subprocess.DEVNULL)
    whole_seconds = time.perf_counter() - started

    moments = random.Random(options.seed)
    kills, ends = collections.Counter(), 0
    while kills.total() < options.kills:
        start_over(killed, files)
        run_with_kills(killed, llm, whole_seconds, moments, kills)
        compare(whole, killed)
        ends += 1
    shutil.rmtree(base)
    where = ", ".join(f"{n} in {stage}" for stage, n in sorted(kills.items()))
    outcome = "each ended bit for bit as the one left alone"
    print(f"{kills.total()} kills ({where}) over {ends} runs: {outcome}")
    print(f"commit {run_folder.commit()}")


if __name__ == "__main__":
    main()
