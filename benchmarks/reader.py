"""Seconds and memory that reading a large .inter file takes.

    python benchmarks/reader.py                    10 million rows (about a minute)
    python benchmarks/reader.py --rows 100000

Writes random ratings of 100,000 users and 50,000 items to a temporary file and reads them in a
process of its own.
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
            for user, item, rating in zip(users, items, ratings, strict=True):
                f.write(f"user{user}\titem{item}\t{rating}\t978300760\n")


def read(path):
    before = peak_mb()
    started = time.perf_counter()
    table = read_ratings(path, "\t", STARS)
    seconds = time.perf_counter() - started
    size = Path(path).stat().st_size / 2**20
    print(
        f"{len(table)} rows, {size:.0f} MB: read in {seconds:.1f} s, "
        f"peak memory {peak_mb():.0f} MB, of which {before:.0f} MB before reading"
    )


def peak_mb():
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**10 if sys.platform == "linux" else peak / 2**20  # KiB there, bytes on a Mac


def main():
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=style)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--read", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        return read(options.read)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.inter"
        write(path, options.rows)
        # In a process of its own, the peak memory is that of reading alone.
        subprocess.run([sys.executable, __file__, "--read", path], check=True)


if __name__ == "__main__":
    main()
