"""The runs kept in ours/, which the tables and pictures are made of, as rows beside the published ones.

ours/<data set>_NAME.json is the summary.json of a finished run, ours/<data set>_per_user.csv holds the test Recall@20
of every user in each of them.
"""

import itertools
import json
import shutil
from collections import defaultdict
from typing import NamedTuple

import pandas as pd

from results4comparison import compare, dislikes, finished_runs
from results4comparison.formatting import (
    AUTHORS,
    NO_DIFFERENCE,
    difference,
    experiment_of,
    figures,
    mean_recall,
    published_figures,
)

OURS = compare.HERE / "ours"


def experiments(wanted):
    """{Experiment: {name of the run: summary}} of the runs in ours/ for which wanted(summary)."""
    groups = defaultdict(dict)
    for path in sorted(OURS.glob("*.json")):
        # The oldest summaries have no flags: none had been given.
        run = {"flags": {}} | json.loads(path.read_text(encoding="utf-8"))
        if not wanted(run):
            continue
        name = path.stem.removeprefix(f"{run['dataset']}_")
        groups[experiment_of(run)][name] = run
    return groups


def recalls(dataset, runs):
    """(users, runs) test Recall@20 of kept runs; two of the oldest lack it."""
    table = pd.read_csv(OURS / f"{dataset}_per_user.csv", index_col="user")
    return table[[name for name in runs if name in table]]


def add(folder, name):
    """Add a finished run to ours/.  Raises InputError where it is none."""
    run = finished_runs.finished_run(folder)
    if dislikes.is_of_dislikes(run):
        return dislikes.keep(folder, run, name)
    dataset = run["dataset"]
    shutil.copy(folder / "summary.json", OURS / f"{dataset}_{name}.json")
    # Its users' Recall@20 become a column beside those of the other runs.
    metrics = pd.read_csv(folder / "per_user.csv", index_col="user")
    recall = metrics["recall@20"].rename(name).round(4)
    path = OURS / f"{dataset}_per_user.csv"
    table = recall.to_frame()
    if path.exists():
        others = pd.read_csv(path, index_col="user").drop(columns=name, errors="ignore")
        table = others.join(recall, how="outer")  # a user may be in some of the runs only
    table.sort_index(axis=1).to_csv(path, lineterminator="\n")


class Row(NamedTuple):
    """One line of a table.  Sorted rows are those of each data set, the best last."""

    dataset: str
    recall: float
    cells: list


def published_rows(datasets, models):
    rows = []
    for dataset, model in itertools.product(datasets, models):
        known = compare.published(dataset, model)
        if known:
            cells = [f"{model}, *published*", AUTHORS, *published_figures(known), *NO_DIFFERENCE]
            rows.append(Row(dataset, known["test"]["recall@20"], cells))
    return rows


def row_of(experiment, runs, base):
    """base: the runs that these are compared with; None, or these themselves, for no comparison."""
    dataset = experiment.dataset
    tested = NO_DIFFERENCE
    if base is not None and base is not runs:
        tested = difference(recalls(dataset, runs), recalls(dataset, base))
    recall = mean_recall(runs.values())
    return Row(dataset, recall, [experiment.name, experiment.labels, *figures(list(runs.values())), *tested])
