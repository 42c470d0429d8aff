"""Runs as tables: mean and standard deviation over seeds, and paired tests over users.

    python results4comparison/table.py headline     one row a system on ML-100K, for the front page
    python results4comparison/table.py systems      ReFINe++ and the systems it is compared with
    python results4comparison/table.py beyond       what goes beyond the published result
    python results4comparison/table.py labels       ReFINe++ trained on other labels, all compared
    python results4comparison/table.py ablations    ReFINe++ with parts left out or exchanged
    python results4comparison/table.py negatives    HNLMRec and the samplers (hard_negatives.py)
    python results4comparison/table.py negative     CoNRec, which predicts dislikes (dislikes.py)
    python results4comparison/table.py keep RUN_FOLDER NAME
    python results4comparison/table.py result/ML-100K/*

The first six read ours/<data set>_NAME.json, which are the summary.json files of finished runs,
and ours/<data set>_per_user.csv, which holds the test Recall@20 of every user in each of them.
`keep` adds a finished run to them as NAME, such as rule_2024.

The last is of your own runs: those that differ in the seed alone make a row, and the best two rows
of each data set are tested against each other.  study.py ends with the same tables.
"""

import itertools
import json
import shutil
import sys
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import shell
from results4comparison import compare, dislikes, folders
from results4comparison.cells import (
    AUTHORS,
    DIFFERENCE,
    FIGURES,
    NO_DIFFERENCE,
    difference,
    experiment_of,
    figures,
    labels,
    markdown,
    mean_recall,
    published_figures,
)

OURS = compare.HERE / "ours"
# what each table of kept runs sets the others against: (model, labels, flags)
SYSTEM = ("ReFINe++", AUTHORS, "")
# Most ablations leave the autoencoders out, too: they take most of the time, and what they change
# does not show.
ABLATION = ("ReFINe++", AUTHORS, "--no_autoencoder")

# ------------------------------------------------------------------------------------ which runs


def is_system(run):
    """ReFINe++ as published or on the ratings as they are, or another model with whatever flags.

    HNLMRec without any, and no other --sampler: they have a table of their own.
    """
    if run["model"] not in ("ReFINe++", "HNLMRec", "Blend"):
        return "sampler" not in run["flags"]
    if run["flags"]:
        return False
    return run["dataset_augment"] == "original" or labels(run) == AUTHORS


def is_headline(run):
    return run["dataset"] == "ML-100K" and is_chosen_system(run)


def is_chosen_system(run):
    """A system at its defaults, or at the flags chosen for it on validation."""
    if not is_system(run):
        return False
    if run["model"] in ("ReFINe", "ReFINe++"):
        return labels(run) == AUTHORS and not run["flags"]
    return run["dataset_augment"] == "original" and "ease_side" not in run["flags"]


def is_beyond(run):
    """Stars weighted, alone or blended; and what these are set against."""
    if run["model"] == "Blend" or "star_weights" in run["flags"]:
        return True
    return experiment_of(run)[1:] == SYSTEM or (is_chosen_system(run) and "ease_alphas" in run["flags"])


def is_default_model(run):
    return run["model"] == "ReFINe++" and not run["flags"]


def is_ablation(run):
    return run["model"] == "ReFINe++" and labels(run) == AUTHORS


# ---------------------------------------------------------------------------------- runs in ours/


def kept(wanted):
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


def against(wanted, models, reference=None):
    """Lines of a table of the kept runs and of the published ones of these models, the best last.

    reference: (model, labels, flags) of the experiment that every other of its data set is compared
    with, under DIFFERENCE.
    """
    groups = kept(wanted)
    datasets = sorted({experiment.dataset for experiment in groups})
    rows = published_rows(datasets, models)
    for experiment, runs in groups.items():
        base = None
        if reference:
            base = groups.get((experiment.dataset, *reference))
        rows.append(kept_row(experiment, runs, base))
    lines = [[row.dataset, *row.cells] for row in sorted(rows)]
    return markdown(["data set", "model", "refined by", *FIGURES, *DIFFERENCE], lines)


def beyond():
    """Lines of a table against ReFINe++, and of one against the linear model alone."""
    groups, rows = kept(is_beyond), []
    linear = {experiment.dataset: runs for experiment, runs in groups.items() if experiment.model == "EASE"}
    for experiment, runs in groups.items():
        theirs = linear.get(experiment.dataset)
        if theirs and experiment.model != "EASE":
            tested = difference(recalls(experiment.dataset, runs), recalls(experiment.dataset, theirs))
            rows.append([experiment.dataset, experiment.name, *tested])
    header = ["data set", "test Recall@20 of", "users", "less EASE's", *DIFFERENCE[2:]]
    return [*against(is_beyond, ("ReFINe++",), SYSTEM), "", *markdown(header, rows)]


def headline():
    """Lines of a short table: a system, its labels, and what it reaches at what cost."""
    header = ["model", "labels", "seeds", "test Recall@20", "test NDCG@20", "train seconds"]
    rows = published_rows(["ML-100K"], ("ReFINe", "ReFINe++"))
    rows += [kept_row(experiment, runs, None) for experiment, runs in kept(is_headline).items()]
    lines = []
    for row in sorted(rows):
        model, refined_by, seeds, recall, ndcg, _, _, _, seconds, *_ = row.cells
        lines.append([model, refined_by.removeprefix("none: "), seeds, recall, ndcg, seconds])
    return markdown(header, lines)


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


def kept_row(experiment, runs, base):
    """base: the runs that these are compared with; None, or these themselves, for no comparison."""
    dataset = experiment.dataset
    tested = NO_DIFFERENCE
    if base is not None and base is not runs:
        tested = difference(recalls(dataset, runs), recalls(dataset, base))
    recall = mean_recall(runs.values())
    return Row(dataset, recall, [experiment.name, experiment.labels, *figures(list(runs.values())), *tested])


def pairs(wanted):
    """Lines of a table of the differences between each two rows of kept runs."""
    rows = []
    for (first, ours), (second, theirs) in itertools.combinations(kept(wanted).items(), 2):
        # Users of different data sets cannot be paired, and models are compared in other tables.
        if (first.dataset, first.model) != (second.dataset, second.model):
            continue
        tested = difference(recalls(first.dataset, ours), recalls(second.dataset, theirs))
        rows.append([first.labels, second.labels, *tested])
    return markdown(["test Recall@20 with", "less that with", *DIFFERENCE], rows)


def keep(folder, name):
    """Add a finished run to ours/.  Raises InputError where it is none."""
    run = folders.finished_run(folder)
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


def main(arguments):
    match arguments:
        case []:
            lines = [__doc__]
        case ["keep", folder, name]:
            return keep(Path(folder), name)
        case ["headline"]:
            lines = headline()
        case ["systems"]:
            lines = against(is_system, ("ReFINe", "ReFINe++"), SYSTEM)
        case ["beyond"]:
            lines = beyond()
        case ["labels"]:
            lines = [*against(is_default_model, ("ReFINe++",)), "", *pairs(is_default_model)]
        case ["ablations"]:
            lines = against(is_ablation, (), ABLATION)
        case ["negatives"]:
            from results4comparison import hard_negatives  # which needs this file

            lines = hard_negatives.lines()
        case ["negative"]:
            lines = dislikes.lines()
        case paths:
            lines = folders.table(list(map(Path, paths)))
    print(*lines, sep="\n")


if __name__ == "__main__":
    sys.exit(shell.cli(main, sys.argv[1:]))
