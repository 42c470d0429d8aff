"""Runs as tables: mean and standard deviation over seeds, and paired tests over users.

    python results4comparison/table.py systems      ReFINe++ and the systems it is compared with
    python results4comparison/table.py labels       ReFINe++ trained on other labels, all compared
    python results4comparison/table.py ablations    ReFINe++ with parts left out or exchanged
    python results4comparison/table.py negatives    HNLMRec and the samplers (hard_negatives.py)
    python results4comparison/table.py keep RUN_FOLDER NAME

The last adds a finished run to ours/ as NAME, such as rule_2024.
Reads ours/<data set>_NAME.json, which are the summary.json files of finished runs, and
ours/<data set>_per_user.csv, which holds the test Recall@20 of every user in each of them.
study.py makes its table with the functions of this file.
"""

import itertools
import json
import shutil
import statistics
import sys
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from scipy.stats import ttest_rel

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from results4comparison import compare
from results4comparison.layout import markdown

OURS = compare.HERE / "ours"
METRICS = ("recall@20", "ndcg@20", "precision@20")
TEST_METRICS = [f"test {metric}" for metric in METRICS]
FIGURES = ("seeds", *TEST_METRICS, "val recall@20", "best epoch", "train s")
DIFFERENCE = ("users", "difference", "95 % interval", "p")
NO_DIFFERENCE = [""] * len(DIFFERENCE)
AUTHORS = "the authors' Llama-2-7b"
WITHOUT_OUR_MODEL = {
    "published": AUTHORS,
    "rule": "no model: 3s liked, 2s not",
    "random": "no model: every 2 and 3 at random, at the authors' rates",
    "shuffled": "the authors' labels, shuffled",
}

# ---------------------------------------------------------------------------------------- one run


class Experiment(NamedTuple):
    """What the runs of one row have in common.  They differ in the seed."""

    dataset: str
    model: str
    labels: str
    flags: str


def model_name(run):
    """The model; of HNLMRec also who wrote its profiles and made its vectors."""
    made_by = run.get("negatives")
    if not made_by:
        return run["model"]
    writer = "templates" if made_by["writer"] == "template" else made_by["writer"].split("/")[-1]
    return f"{run['model']} ({writer}, {made_by['encoder'].split('/')[-1]})"


def labels(run):
    """What the run was trained on, in words."""
    if run["dataset_augment"] == "original":
        return "none: ratings as they are"
    if run["llm"] in WITHOUT_OUR_MODEL:
        return WITHOUT_OUR_MODEL[run["llm"]]
    name = f"our {run['llm'].split('/')[-1]}"
    if run["llm_mode"] in (None, "embed"):
        return name
    return f"{name}, {run['llm_mode']}"


def flags(run):
    """The flags that make the run another experiment than its model's default."""
    words = []
    for name, value in run["flags"].items():
        if isinstance(value, list):
            value = " ".join(map(str, value))
        words.append(f"--{name} {value}")
    return " ".join(words).replace(" True", "")  # a switch is given without a value


def is_system(run):
    """ReFINe++ as published or on the ratings as they are, or another model with whatever flags.

    HNLMRec without any, and no other --sampler: they have a table of their own.
    """
    if run["model"] not in ("ReFINe++", "HNLMRec"):
        return "sampler" not in run["flags"]
    if run["flags"]:
        return False
    return run["dataset_augment"] == "original" or labels(run) == AUTHORS


def is_default_model(run):
    return run["model"] == "ReFINe++" and not run["flags"]


def is_ablation(run):
    return run["model"] == "ReFINe++" and labels(run) == AUTHORS


# ------------------------------------------------------------------------------------------ cells


def figures(runs):
    """Cells under FIGURES of the runs of one row: summaries that differ in the seed."""
    cells = [str(len(runs))]  # the seeds
    for metric in METRICS:
        cells.append(deviation([run["test"][metric] for run in runs]))
    cells.append(deviation([run["validation"]["recall@20"] for run in runs]))
    cells.append(span([run["best_epoch"] for run in runs]))
    seconds = statistics.mean(run["train_seconds"] for run in runs)
    cells.append(f"{seconds:.0f}")
    return cells


def deviation(values):
    if len(values) == 1:
        return f"{values[0]:.4f}"
    return f"{statistics.mean(values):.4f} ± {statistics.stdev(values):.4f}"


def span(values):
    if min(values) == max(values):
        return f"{values[0]}"
    return f"{min(values)}-{max(values)}"


def published_figures(reference):
    """Cells under FIGURES of a published run, for compare.published()."""
    cells = ["1"]  # seed
    for metric in METRICS:
        cells.append(f"{reference['test'][metric]:.4f}")
    cells.append(f"{reference['best_validation_recall@20']:.4f}")
    cells.append(str(reference["best_epoch"]))
    cells.append(f"{reference['train_seconds']:.0f}")
    return cells


def difference(ours, theirs):
    """Cells under DIFFERENCE: mean over users of ours - theirs, by a two-sided paired t-test.

    ours, theirs: test Recall@20, one row a user and one column a seed, of which each user's mean is
    taken.  Users of both count.  (A user may lack a test row where only some labels make an edge of
    the item.)
    """
    n_users, mean, test = paired_test(ours, theirs)
    low, high = test.confidence_interval()
    return [str(n_users), f"{mean:+.4f}", f"{low:+.4f} to {high:+.4f}", p_value(test.pvalue)]


def paired_test(ours, theirs):
    """(users, mean difference, scipy's result); see difference."""
    our_means, their_means = ours.mean(axis=1).align(theirs.mean(axis=1), join="inner")
    return len(our_means), (our_means - their_means).mean(), ttest_rel(our_means, their_means)


def p_value(p):
    return "< 0.0001" if p < 1e-4 else f"{p:.4f}"


# ---------------------------------------------------------------------------------- runs in ours/


def kept(wanted):
    """{Experiment: {name of the run: summary}} of the runs in ours/ for which wanted(summary)."""
    groups = defaultdict(dict)
    for path in sorted(OURS.glob("*.json")):
        # The oldest summaries have no flags: none had been given.
        run = {"flags": {}} | json.loads(path.read_text(encoding="utf-8"))
        if not wanted(run):
            continue
        experiment = Experiment(run["dataset"], model_name(run), labels(run), flags(run))
        name = path.stem.removeprefix(f"{run['dataset']}_")
        groups[experiment][name] = run
    return groups


def recalls(dataset, runs):
    """(users, runs) test Recall@20 of kept runs; two of the oldest lack it."""
    table = pd.read_csv(OURS / f"{dataset}_per_user.csv", index_col="user")
    return table[[name for name in runs if name in table]]


def against(wanted, models, reference=None):
    """Lines of a table of the kept runs and of the published ones of these models, the best last.

    reference: (model, labels, flags) of the experiment that every other of its data set is compared
    with, under DIFFERENCE.  None: the table has no such columns.
    """
    groups = kept(wanted)
    datasets = sorted({experiment.dataset for experiment in groups})
    rows = published_rows(datasets, models)
    for experiment, runs in groups.items():
        base = None
        if reference:
            base = groups.get((experiment.dataset, *reference))
        rows.append(kept_row(experiment, runs, base))
    columns = ["data set", "model", "refined by", *FIGURES]
    if reference:
        columns += DIFFERENCE
    lines = []
    for row in sorted(rows):
        cells = [row.dataset, *row.cells]
        lines.append(cells[: len(columns)])  # DIFFERENCE is left out where there is no reference
    return markdown(columns, lines)


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
    recall = statistics.mean(run["test"]["recall@20"] for run in runs.values())
    model = f"{experiment.model} {experiment.flags}".strip()
    return Row(dataset, recall, [model, experiment.labels, *figures(list(runs.values())), *tested])


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
    """Add a finished run to ours/."""
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    dataset = summary["dataset"]
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
        case ["keep", folder, name]:
            return keep(Path(folder), name)
        case ["systems"]:
            lines = against(is_system, ("ReFINe", "ReFINe++"), ("ReFINe++", AUTHORS, ""))
        case ["labels"]:
            lines = [*against(is_default_model, ("ReFINe++",)), "", *pairs(is_default_model)]
        case ["ablations"]:
            # Most ablations leave the autoencoders out, too: they take most of the time, and what
            # they change does not show.
            lines = against(is_ablation, (), ("ReFINe++", AUTHORS, "--no_autoencoder"))
        case ["negatives"]:
            from results4comparison import hard_negatives  # which needs this file

            lines = hard_negatives.lines()
        case _:
            print(__doc__)
            return 2
    print(*lines, sep="\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
