"""Seconds and memory that reading a large .inter file takes.

    python benchmarks/reader.py                    10 million rows (about a minute)
    python benchmarks/reader.py --rows 100000

Writes random ratings of 100,000 users and 50,000 items to a temporary file and reads them in a process of its own.
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


def write(path, rows):
    random, left = np.random.RandomState(0), rows
    with open(path, "w") as f:
        f.write("user_id:token\titem_id:token\trating:float\ttimestamp:float\n")
        while left:
            n = min(left, 2**20)
            columns = random.randint(100_000, size=n), random.randint(50_000, size=n), random.randint(1, 6, size=n)
            f.writelines(f"user{u}\titem{i}\t{r}\t978300760\n" for u, i, r in zip(*columns, strict=True))
            left -= n


def read(path):
    from atomic_files.files import read_ratings

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    table = read_ratings(path, "\t", (1, 2, 3, 4, 5))
    seconds, peak = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    unit = 2**10 if sys.platform == "linux" else 2**20
    size = Path(path).stat().st_size / 2**20
    print(
        f"{len(table)} rows, {size:.0f} MB: read in {seconds:.1f} s, peak memory {peak / unit:.0f} MB, of which "
        f"{before / unit:.0f} MB before reading"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--read", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        return read(options.read)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.inter"
        write(path, options.rows)
        subprocess.run([sys.executable, __file__, "--read", path], check=True)


if __name__ == "__main__":
    main()
