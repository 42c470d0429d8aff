"""Kill the real command again and again at random moments, and see whether it ends as if nothing had happened.

    python benchmarks/kills.py                (50 kills; about ten minutes on two cores, fetches ML-100K)

One run of prepare, refine and train on ML-100K is left alone.  Another is killed (SIGKILL, SIGTERM and SIGINT in turn)
at a moment drawn evenly from the time the first took, started again, and so on; once it ends, its splits, answers,
labels, metrics, best weights and recommendations are compared with the first's, bit for bit, and it starts over in an
empty folder until the kills are used up.  At the first difference it ends with an error and leaves both for a look.
"""

import argparse
import collections
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import synthetic  # noqa: E402
from same import assert_same_end  # noqa: E402

import run_folder  # noqa: E402
from atomic_files.sources import fetch  # noqa: E402

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
STAGES = {
    "Epoch: ": "train",
    "user: ": "train",
    "refining with": "refine",
    "splits: ": "refine",
    "": "start or prepare",
}


def command(base, llm):
    """The job in the folder base; --resume where it has begun to train."""
    run = base / "result" / "ML-100K" / "a"
    flags = ["--llm", llm, "--no_autoencoder", "--epochs", "15", "--path_name", "a", "--device", "cpu"]
    flags += ["--resume"] if (run / "config.json").exists() else []
    paths = ["--data_dir", base / "data", "--result_dir", base / "result"]
    return [sys.executable, "-W", "ignore", ROOT / "main.py", "--dataset", "ML-100K", *paths, *flags]


def compare(whole, other):
    """All that both left behind, in the order in which it was made; AssertionError at the first difference."""
    data = [base / "data" / "ML-100K" for base in (whole, other)]
    for path in sorted(data[0].glob("*.csv")):
        assert path.read_bytes() == (data[1] / path.name).read_bytes(), path.name
    answers = [next(folder.rglob("answers.jsonl")) for folder in data]
    lines = [sorted(path.read_text().splitlines()) for path in answers]
    assert lines[0] == lines[1], "answers.jsonl"
    labels = [path.with_name("ML-100K_train_augment.csv").read_bytes() for path in answers]
    assert labels[0] == labels[1], "train_augment"
    assert_same_end(*(base / "result" / "ML-100K" / "a" for base in (whole, other)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    dice, kills, ends = random.Random(options.seed), collections.Counter(), 0
    base = Path(tempfile.mkdtemp(prefix="kills_"))
    print(f"in {base}", flush=True)
    llm, files = synthetic.write_encoder(base / "llm"), base / "files" / "ML-100K"
    fetch("ML-100K", files)
    whole, killed = base / "whole", base / "killed"
    shutil.copytree(files, whole / "data" / "ML-100K")
    started = time.perf_counter()
    subprocess.run(command(whole, llm), check=True, stdout=subprocess.DEVNULL)
    whole_seconds = time.perf_counter() - started
    while kills.total() < options.kills:
        shutil.rmtree(killed, ignore_errors=True)
        shutil.copytree(files, killed / "data" / "ML-100K")
        finished = killed / "result" / "ML-100K" / "a" / "summary.json"  # a kill may come later than this, too
        while not finished.exists():
            process = subprocess.Popen(
                command(killed, llm), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            number = SIGNALS[kills.total() % 3]
            try:
                printed, _ = process.communicate(timeout=dice.uniform(0, whole_seconds))
            except subprocess.TimeoutExpired:
                process.send_signal(number)
                printed, _ = process.communicate()
                kills[next(stage for mark, stage in STAGES.items() if f"\n{mark}" in f"\n{printed}")] += 1
            if process.returncode not in (0, -number, 128 + number):
                sys.exit(f"exit code {process.returncode} after {number.name}: {printed[-500:]}")
        compare(whole, killed)
        ends += 1
    shutil.rmtree(base)
    where = ", ".join(f"{n} in {stage}" for stage, n in sorted(kills.items()))
    print(f"{kills.total()} kills ({where}) over {ends} runs: each ended bit for bit as the one left alone")
    print(f"commit {run_folder.commit()}")


if __name__ == "__main__":
    main()
