"""The runs kept in ours/, which the tables and pictures are made of.

ours/<data set>_NAME.json is the summary.json of a finished run, ours/<data set>_per_user.csv holds the
test Recall@20 of every user in each of them.  Those of another protocol lie in a folder of its name,
such as ours/hold_out_dislikes/, with the users' dislikes@20 in <data set>_per_user_dislikes.csv.
"""

import functools
import json
import shutil

import pandas as pd

from preparation.files import sort_ids
from results4comparison import compare, conrec_tables, finished_runs
from results4comparison.differences import Measured, paired
from results4comparison.experiments import find_experiments, sort_by_recall, tabulate

OURS = compare.HERE / "ours"
METRICS = {"recall@20": "per_user", "dislikes@20": "per_user_dislikes"}  # of users, in which files


def read_experiments(wanted, protocol=""):
    """The experiments of the kept runs of a protocol for which wanted(summary), the best last."""
    runs = []
    for path in sorted((OURS / protocol).glob("*.json")):
        # The oldest summaries have no flags: none had been given.
        run = {"flags": {}} | json.loads(path.read_text(encoding="utf-8"))
        if wanted(run):
            runs.append((path.stem.removeprefix(f"{run['dataset']}_"), run))
    return sort_by_recall(find_experiments(tabulate(runs)))


def read_users(experiment, metric="recall@20"):
    """(users, runs) a test metric of a kept experiment; two of the oldest runs lack Recall@20."""
    path = OURS / experiment["protocol"] / f"{experiment['data set']}_{METRICS[metric]}.csv"
    table = read_per_user(path, path.stat().st_mtime_ns)
    return table[[name for name in experiment["names"] if name in table]]


@functools.cache
def read_per_user(path, written):
    """A file of what is kept of users, read once for all rows of a table.  written: when it was."""
    return pd.read_csv(path, index_col="user", dtype={"user": str})


def compare_users(ours, theirs, metric="recall@20"):
    """The Difference of two kept experiments in a metric; None of one less itself or nothing."""
    if theirs is None or ours["names"] == theirs["names"]:
        return None
    return paired(*(Measured(read_users(side, metric), side["closed"]) for side in (ours, theirs)))


def add(folder, name):
    """Add a finished run, or a filter's report, to ours/.  Raises InputError for anything else."""
    if folder.is_file():
        return conrec_tables.keep_report(folder, name)
    run = finished_runs.read_summary(folder)
    if conrec_tables.is_of_dislikes(run):
        return conrec_tables.keep(folder, run, name)
    kept = OURS / run.get("protocol", "")
    kept.mkdir(exist_ok=True)
    shutil.copy(folder / "summary.json", kept / f"{run['dataset']}_{name}.json")
    # Its users' metrics become a column beside those of the other runs.
    metrics = pd.read_csv(folder / "per_user.csv", index_col="user", dtype={"user": str})
    for metric, file in METRICS.items():
        if metric not in metrics:
            continue
        own = metrics[metric].rename(name).round(4)
        if metric == "dislikes@20":
            own = own.astype("Int64")  # counts
        path = kept / f"{run['dataset']}_{file}.csv"
        table = own.to_frame()
        if path.exists():
            others = pd.read_csv(path, index_col="user", dtype={"user": str})
            others = others.drop(columns=name, errors="ignore")
            table = others.join(own, how="outer")  # a user may be in some of the runs only
        table.loc[sort_ids(table.index)].sort_index(axis=1).to_csv(path, lineterminator="\n")
