"""What it costs to recommend to users whom a run was not trained on, from their stars alone.

    python benchmarks/new_users.py EASE LightGCN            minutes on one core, fetches ML-100K
    python benchmarks/new_users.py --users 300 --folder DIR "ReFINe++ --llm rule --no_autoencoder"

Draws users, trains each model twice, with all users and without these, and asks both runs for the lists of these users:
the first as users that it knows, the second by what they rated in train (FinishedRun.recommend of a dict).  Recall@20
of the two, averaged over the users, and the difference with its standard error over users.  Popularity, which is the
same for everybody, says what knowing nothing is worth.
"""

import argparse
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from preparation.files import STARS, read_ratings
from preparation.splits import COLUMNS, PARTS
from recommend import load_run
from runs import run_folder
from utils import file_name

NAME, K = "without", 20


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["EASE", "LightGCN"], help="with flags of their own")
    parser.add_argument("--dataset", default="ML-100K")
    parser.add_argument("--users", type=int, default=100)
    parser.add_argument("--seed", type=int, default=2024, help="of the draw of users, and of the runs")
    parser.add_argument("--folder", type=Path, help="where data and runs are kept; left out: nowhere")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        compare(options, options.folder or Path(temporary))


def compare(options, base):
    train(base, options.dataset, "Popularity", "popularity", options.seed)
    popularity = load_run(base / "result" / options.dataset / "popularity", device="cpu")
    tables = {}
    for part in PARTS:
        path = popularity.splits / f"{options.dataset}_{part}.csv"
        tables[part] = read_ratings(path, ",", STARS)[["user", "item", "rating"]].astype({"user": str, "item": str})
    known = set(popularity.data.item_ids)
    relevant = {part: liked_by(tables[part], known) for part in ("validation", "test")}
    both = [user for user in popularity.data.user_ids if user in relevant["validation"] and user in relevant["test"]]
    drawn = np.random.RandomState(options.seed).choice(both, options.users, replace=False)
    leave_out(base, tables, set(drawn))
    print(f"{options.dataset}, {options.users} users drawn with seed {options.seed}, commit {run_folder.commit()}")
    for part, wanted in relevant.items():
        figures = [recall(popularity.recommend(user, K), wanted[user]) for user in drawn]
        print(f"Popularity, {part}: Recall@{K} {np.mean(figures):.4f}")
    for words in options.models:
        # one run has learned from the users, the other knows only the stars that they give it
        name = file_name(words.replace("/", "_"))
        train(base, options.dataset, words, name, options.seed)
        train(base, str(base / NAME), words, name, options.seed)
        trained, other = (load_run(base / "result" / of / name, device="cpu") for of in (options.dataset, NAME))
        lists = {}
        for user in drawn:
            lists[user] = trained.recommend(user, K), other.recommend(stars_of(user, tables, other), K)
        for part, wanted in relevant.items():
            figures = np.array([[recall(each, wanted[user]) for each in lists[user]] for user in drawn])  # (users, 2)
            difference = figures[:, 1] - figures[:, 0]
            error = difference.std(ddof=1) / len(drawn) ** 0.5
            trained_on, folded_in = figures.mean(0)
            print(
                f"{words}, {part}: Recall@{K} {trained_on:.4f} trained on, {folded_in:.4f} folded in, "
                f"difference {difference.mean():+.4f} ± {error:.4f}"
            )


def train(base, dataset, words, name, seed):
    """A run of main.py, unless it is there."""
    if (base / "result" / Path(dataset).name / name / "summary.json").exists():
        return
    paths = ["--data_dir", base / "data", "--result_dir", base / "result", "--path_name", name]
    flags = ["--model", *shlex.split(words), "--random_seed", seed, "--device", "cpu", *paths]
    command = [sys.executable, "-W", "ignore", ROOT / "main.py", "--dataset", dataset, *flags]
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)


def liked_by(table, known):
    """{user: the items, a set} of the rows with a known item."""
    return table[table.item.isin(known)].groupby("user").item.agg(set).to_dict()


def leave_out(base, tables, users):
    """The splits without these users as a data set of its own, its CSVs put there by hand."""
    (base / NAME).mkdir(exist_ok=True)
    folder = base / "data" / NAME
    folder.mkdir(exist_ok=True)
    for part, table in tables.items():
        rows = table[~table.user.isin(users)]
        rows.to_csv(folder / f"{NAME}_{part}.csv", index=False, header=COLUMNS, lineterminator="\n")


def stars_of(user, tables, run):
    """{item: stars} of a user's train rows whose item the run ranks."""
    rows = tables["train_original"]
    rows = rows[(rows.user == user) & rows.item.isin(run.data.item_ids)]
    return dict(zip(rows.item, rows.rating, strict=True))


def recall(found: pd.DataFrame, wanted):
    return len(wanted.intersection(found.item)) / len(wanted)


if __name__ == "__main__":
    main()
