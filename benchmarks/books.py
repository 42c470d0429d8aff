"""Peak memory of whole commands at the size of Amazon_Books: every stage of a model, from raw files to a test result.

    python benchmarks/books.py                     (more than an hour on one core)
    python benchmarks/books.py "ReFINe++ --llm rule" LightGCN
    python benchmarks/books.py --divide 100 Popularity       a hundredth of the users and of the items

Writes made-up ratings of that size as atomic files (28,623 users, 29,948 items, 1.2 million ratings of 4 and 5, a third
as many lower ones) and runs main.py on them for one epoch of batches of 4,096, which take more memory than the default.
Memory is the peak of the whole process, as the system counts it, packages included.  A model that needs more than there
is says so in one line beforehand, which is printed in place of the counts.  HNLMRec is left out: it first trains a
LightGCN to its end.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from runs import run_folder

USERS, ITEMS, RATINGS = 28_623, 29_948, 1_600_000
STARS = (0.05, 0.06, 0.14, 0.25, 0.5)  # shares of 1 to 5
WORDS = ("River", "Winter", "House", "Garden", "War", "Secret", "Night", "Star", "Empire", "Letter", "Stone", "Road")
TRAINED = "--epochs 1 --batch_size 4096"
COMMANDS = (
    "Popularity",
    f"LightGCN {TRAINED}",
    f"MF {TRAINED}",
    f"ReFINe --llm rule {TRAINED} --t 1",  # its search for similar items in the first epoch
    f"SiReN {TRAINED}",
    f"ReFINe++ --llm rule {TRAINED}",
    f"ReFINe++ --llm sentence-transformers/all-MiniLM-L6-v2 {TRAINED}",
    "CoNRec --conrec_sft_steps 5 5 5 5 --conrec_steps 5",
    "EASE --ease_lambdas 500",
)


def write(folder, divide):
    """The atomic files of the made-up data set, or of a part of it with as many ratings a user."""
    random = np.random.RandomState(0)
    n_users, n_items, n_ratings = USERS // divide, ITEMS // divide, RATINGS // divide
    popularity = 1 / np.arange(300, n_items + 300)  # a long tail, whose items still have some five positives
    activity = 0.3 + random.lognormal(0, 0.8, n_users)
    users = random.choice(n_users, n_ratings, p=activity / activity.sum())
    items = random.choice(n_items, n_ratings, p=popularity / popularity.sum())
    pairs = random.permutation(np.unique(users * n_items + items))
    stars = random.choice(5, len(pairs), p=STARS) + 1
    time_of = random.randint(10**9, 15 * 10**8, len(pairs))
    folder.mkdir(parents=True)
    with open(folder / "books.inter", "w") as f:
        f.write("user_id:token\titem_id:token\trating:float\ttimestamp:float\n")
        for pair, star, at in zip(pairs.tolist(), stars.tolist(), time_of.tolist(), strict=True):
            f.write(f"u{pair // n_items}\tb{pair % n_items}\t{star}\t{at}\n")
    with open(folder / "books.item", "w") as f:
        f.write("item_id:token\ttitle:token_seq\tyear:token\tgenre:token_seq\n")
        for item in range(n_items):
            first, second, third = random.choice(WORDS, 3)
            f.write(f"b{item}\tThe {first} of {second} and {third} {item}\t{1950 + item % 70}\t{second}\n")


def run(words, base):
    """(seconds, peak MB, what the run counted or said) of one command."""
    model, *flags = shlex.split(words)
    command = [sys.executable, str(ROOT / "main.py"), "--dataset", str(base / "books"), "--model", model, *flags]
    folders = ["--data_dir", str(base / "data"), "--result_dir", str(base / "result"), "--path_name", "run"]
    summary = base / "result" / "books" / "run" / "summary.json"
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen([*command, *folders], stdout=subprocess.DEVNULL, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        errors.seek(0)
        said = errors.read().strip().splitlines()[-1:] or [f"ended with exit code {os.waitstatus_to_exitcode(status)}"]
    if summary.exists():
        said = ["  ".join(f"{name} {n}" for name, n in json.loads(summary.read_text())["data"].items())]
    if summary.parent.exists():  # a run that was killed, too, would be in the way of the next
        summary.parent.rename(base / "result" / f"done {time.time()}")
    peak = usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)  # bytes there
    return time.perf_counter() - started, peak, said[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commands", nargs="*", default=COMMANDS, help="models, each with its flags in one argument")
    parser.add_argument("--divide", type=int, default=1, help="of all sizes, to try it; default: 1")
    parser.add_argument("--keep", type=Path, help="write data and runs into this folder, and use what is there")
    options = parser.parse_args()
    print(f"commit {run_folder.commit()}\n")
    with tempfile.TemporaryDirectory() as temporary:
        base = options.keep or Path(temporary)
        if not (base / "books").exists():
            write(base / "books", options.divide)
        for words in options.commands:
            seconds, peak, said = run(words, base)
            print(f"{words}\n{seconds:10.0f} s {peak:8.0f} MB   {said}", flush=True)


if __name__ == "__main__":
    main()
