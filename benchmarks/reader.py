"""Seconds and memory that a large .inter file takes: read, and taken in as one's own data set (preparation/own.py).

    python benchmarks/reader.py                    10 million rows (some minutes)
    python benchmarks/reader.py --rows 100000

Writes random ratings of 100,000 users and 50,000 items to a temporary file and does each in a process of its own.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from preparation.files import STARS, read_ratings
from preparation.own import taken_in

BLOCK = 2**20  # rows written at a time


def write(path, n_rows):
    random = np.random.RandomState(0)
    with open(path, "w") as f:
        f.write("user_id:token\titem_id:token\trating:float\ttimestamp:float\n")
        for first in range(0, n_rows, BLOCK):
            n = min(BLOCK, n_rows - first)
            users = random.randint(100_000, size=n)
            items = random.randint(50_000, size=n)
            ratings = random.randint(1, 6, size=n)
            times = random.randint(978_000_000, 1_600_000_000, size=n)
            for user, item, rating, time_ in zip(users, items, ratings, times, strict=True):
                f.write(f"user{user}\titem{item}\t{rating}\t{time_}\n")


def measure(path, what):
    before = peak_mb()
    started = time.perf_counter()
    if what == "read":
        read_ratings(path, "\t", STARS)
    else:
        with taken_in("large", path.parent, path.parent / "made", {}, lambda _: None):
            pass
    seconds = time.perf_counter() - started
    size = path.stat().st_size / 2**20
    print(f"{size:.0f} MB {what} in {seconds:.1f} s, peak memory {peak_mb():.0f} MB, of which {before:.0f} MB before")


def peak_mb():
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**10 if sys.platform == "linux" else peak / 2**20  # KiB there, bytes on a Mac


def main():
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=style)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        path, what = options.measure
        return measure(Path(path), what)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.inter"
        write(path, options.rows)
        for what in ("read", "taken in"):  # in a process of its own, the peak memory is its own
            subprocess.run([sys.executable, __file__, "--measure", path, what], check=True)


if __name__ == "__main__":
    main()
