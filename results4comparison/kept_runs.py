"""The runs kept in ours/, which the tables and pictures are made of, as rows beside the published ones.

ours/<data set>_NAME.json is the summary.json of a finished run, ours/<data set>_per_user.csv holds the test Recall@20
of every user in each of them.  Those of another protocol lie in a folder of its name, such as ours/hold_out_dislikes/,
with the users' dislikes@20 in <data set>_per_user_dislikes.csv.
"""

import itertools
import json
import shutil
from collections import defaultdict
from typing import NamedTuple

import pandas as pd

from preparation.files import sort_ids
from results4comparison import compare, conrec_tables, finished_runs
from results4comparison.differences import Difference, paired
from results4comparison.formatting import (
    AUTHORS,
    experiment_of,
    figures,
    mean_recall,
    measured,
    published_figures,
    tested,
)

OURS = compare.HERE / "ours"
METRICS = {"recall@20": "per_user", "dislikes@20": "per_user_dislikes"}  # kept of every user, and in which file


def experiments(wanted, protocol=""):
    """{Experiment: {name of the run: summary}} of the kept runs of a protocol for which wanted(summary)."""
    groups = defaultdict(dict)
    for path in sorted((OURS / protocol).glob("*.json")):
        # The oldest summaries have no flags: none had been given.
        run = {"flags": {}} | json.loads(path.read_text(encoding="utf-8"))
        if not wanted(run):
            continue
        name = path.stem.removeprefix(f"{run['dataset']}_")
        groups[experiment_of(run)][name] = run
    return groups


def find(groups, dataset, model, flags, labels=None):
    """The runs with exactly these flags, and these labels where any are given; None where there are none."""
    for experiment, runs in groups.items():
        run = next(iter(runs.values()))
        same = (experiment.dataset, run["model"], run["flags"]) == (dataset, model, flags)
        if same and labels in (None, experiment.labels):
            return runs
    return None


def of_users(dataset, runs, metric="recall@20", protocol=""):
    """(users, runs) a test metric of kept runs; two of the oldest lack Recall@20."""
    table = pd.read_csv(OURS / protocol / f"{dataset}_{METRICS[metric]}.csv", index_col="user", dtype={"user": str})
    return table[[name for name in runs if name in table]]


def add(folder, name):
    """Add a finished run, or a filter's report, to ours/.  Raises InputError where it is neither."""
    if folder.is_file():
        return conrec_tables.keep_report(folder, name)
    run = finished_runs.finished_run(folder)
    if conrec_tables.is_of_dislikes(run):
        return conrec_tables.keep(folder, run, name)
    dataset, protocol = run["dataset"], run.get("protocol", "")
    kept = OURS / protocol
    kept.mkdir(exist_ok=True)
    shutil.copy(folder / "summary.json", kept / f"{dataset}_{name}.json")
    # Its users' metrics become a column beside those of the other runs.
    metrics = pd.read_csv(folder / "per_user.csv", index_col="user", dtype={"user": str})
    for metric, file in METRICS.items():
        if metric not in metrics:
            continue
        own = metrics[metric].rename(name).round(4)
        if metric == "dislikes@20":
            own = own.astype("Int64")  # counts
        path = kept / f"{dataset}_{file}.csv"
        table = own.to_frame()
        if path.exists():
            others = pd.read_csv(path, index_col="user", dtype={"user": str}).drop(columns=name, errors="ignore")
            table = others.join(own, how="outer")  # a user may be in some of the runs only
        table.loc[sort_ids(table.index)].sort_index(axis=1).to_csv(path, lineterminator="\n")


class Row(NamedTuple):
    """One line of a table.  Sorted rows are those of each data set, the best last."""

    dataset: str
    recall: float
    cells: list  # without a difference
    found: Difference | None = None  # to the row that it is compared with


def with_tests(rows):
    """Lines of cells of the sorted rows: each with its difference, and p within the data set by Holm's method."""
    rows = sorted(rows, key=lambda row: row[:3])
    cells = tested([(row.dataset, row.found) for row in rows])
    return [[row.dataset, *row.cells, *more] for row, more in zip(rows, cells, strict=True)]


def published_rows(datasets, models):
    rows = []
    for dataset, model in itertools.product(datasets, models):
        known = compare.published(dataset, model)
        if known:
            cells = [f"{model}, *published*", AUTHORS, *published_figures(known)]
            rows.append(Row(dataset, known["test"]["recall@20"], cells))
    return rows


def difference(dataset, runs, base, metric="recall@20", protocol=""):
    """The Difference in a test metric of kept runs to others, {name: summary}."""
    sides = []
    for side in (runs, base):
        users = of_users(dataset, side, metric, protocol)
        sides.append(measured(users, next(iter(side.values()))))
    return paired(*sides)


def row_of(experiment, runs, base):
    """base: the runs that these are compared with; None, or these themselves, for no comparison."""
    found = None
    if base is not None and base is not runs:
        found = difference(experiment.dataset, runs, base)
    cells = [experiment.name, experiment.labels, *figures(list(runs.values()))]
    return Row(experiment.dataset, mean_recall(runs.values()), cells, found)
