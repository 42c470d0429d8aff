"""Runs as tables: mean and standard deviation over seeds, and tests over users and seeds.

    python results4comparison/table.py choose       which model for what, by likes and dislikes shown (held_out.py)
    python results4comparison/table.py systems      ReFINe++ and the systems it is compared with
    python results4comparison/table.py beyond       what goes beyond the published result
    python results4comparison/table.py labels       ReFINe++ trained on other labels, all compared
    python results4comparison/table.py ablations    ReFINe++ with parts left out or exchanged
    python results4comparison/table.py precision    ReFINe++ in float32 and in bfloat16
    python results4comparison/table.py negatives    HNLMRec and the samplers (hard_negatives.py)
    python results4comparison/table.py dislikes     all models with dislikes held out (held_out.py)
    python results4comparison/table.py negative     CoNRec, which predicts dislikes (conrec_tables.py)
    python results4comparison/table.py write        all figures as tables/*.csv, and the tables of README and docs
    python results4comparison/table.py keep RUN_FOLDER NAME
    python results4comparison/table.py result/ML-100K/*
    python results4comparison/table.py --against RUN_FOLDER result/ML-100K/*

The first eight read ours/<data set>_NAME.json, which are the summary.json files of finished runs,
and ours/<data set>_per_user.csv, which holds the test Recall@20 of every user in each of them.
What is printed are the columns that matter most; precision, validation, users, raw p values, seconds
and flags stand in tables/.  `keep` adds a finished run to ours/ as NAME, such as rule_2024.

The last two are of your own runs: those that differ in the seed alone make a row, and the best two
rows of each data set are tested against each other.  --against tests every other row against that of
one run, with Holm's p over these tests.  study.py ends with the same tables.
"""

import itertools
import re
import sys
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from machine import shell
from results4comparison import after_like, compare, conrec_tables, finished_runs, hard_negatives, held_out, kept_runs
from results4comparison.differences import add_differences
from results4comparison.experiments import find, sort_by_recall
from results4comparison.formatting import Table, write_csv, write_tables
from results4comparison.names import AUTHORS, LARGE_BATCHES, labels_of

FOLDER = compare.HERE / "tables"
ROOT = compare.HERE.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# what each table of kept runs sets its experiments against, by what that differs in from them
SYSTEM = {"model": "ReFINe++", "labels": AUTHORS, "flags": {}}
# Most ablations leave the autoencoders out, too: they take most of the time, and what they change
# does not show.
ABLATION = {"flags": {"no_autoencoder": True}}
# What ends on ML-1M within minutes, where a run at the defaults takes hours.
QUICK = LARGE_BATCHES["ML-1M"]
# The flags at which labels are compared, by data set; else the defaults.
LABELS = {"ML-1M": {"no_autoencoder": True, **QUICK}}
# The flags at which float32 and bfloat16 are compared.
PRECISION = LARGE_BATCHES["ML-100K"]

FIGURES = ["seeds", "Recall@20", "NDCG@20"]
TEST = ["difference", "p, Holm"]

# ------------------------------------------------------------------------------------ which runs


def without(run, flag):
    """The flags of a summary but one."""
    return {name: value for name, value in run["flags"].items() if name != flag}


def is_system(run):
    """ReFINe++ as published, on the ratings as they are or in large batches, or another model.

    HNLMRec without any flags, and no other --sampler: they have a table of their own.
    """
    if run["model"] not in ("ReFINe++", "HNLMRec", "Blend"):
        return "sampler" not in run["flags"]
    if run["flags"]:
        return run["llm"] == "rule" and without(run, "no_autoencoder") == QUICK
    return run["dataset_augment"] == "original" or labels_of(run) == AUTHORS


def is_chosen_system(run):
    """A system at its defaults, or at the flags chosen for it on validation."""
    if not is_system(run):
        return False
    if run["model"] in ("ReFINe", "ReFINe++"):
        return labels_of(run) == AUTHORS and not run["flags"]
    if run["model"] == "EASE" and run["flags"] and "ease_words" not in run["flags"]:
        return False  # steps on the way to these
    return run["dataset_augment"] == "original"


def is_beyond(run):
    """Stars weighted, alone or blended; and what these are set against."""
    if run["model"] == "Blend" or "star_weights" in run["flags"]:
        return True
    if run["model"] == "ReFINe++":
        return labels_of(run) == AUTHORS and not run["flags"]
    return is_chosen_system(run) and "ease_words" in run["flags"]


def is_about_labels(run):
    return run["model"] == "ReFINe++" and run["flags"] == LABELS.get(run["dataset"], {})


def is_about_precision(run):
    return run["model"] == "ReFINe++" and without(run, "precision") == PRECISION


def is_ablation(run):
    return run["model"] == "ReFINe++" and labels_of(run) == AUTHORS


# ------------------------------------------------------------------------------------ the tables


def compare_with(wanted, other, published=()):
    """The kept experiments, each less the one that differs from it in other alone, and published ones."""
    table = kept_runs.read_experiments(wanted)
    found = []
    for _, row in table.iterrows():
        own = {"model": row["run"]["model"], "flags": row["run"]["flags"], "labels": row["labels"]}
        found.append(kept_runs.compare_users(row, find(table, row["data set"], **own | other)))
    return add_published(add_differences(table, found), published)


def add_published(table, models):
    """The experiments and the published runs of these models on their data sets."""
    rows = []
    for dataset, model in itertools.product(table["data set"].unique(), models):
        known = compare.published(dataset, model)
        if known:
            row = {"data set": dataset, "system": model, "model": f"{model}, *published*", "labels": AUTHORS}
            row |= {"seeds": 1, "best epoch": str(known["best_epoch"]), "train seconds": known["train_seconds"]}
            row |= {name: known["test"][name.lower()] for name in ("Recall@20", "NDCG@20", "Precision@20")}
            rows.append(row | {"validation Recall@20": known["best_validation_recall@20"]})
    return sort_by_recall(pd.concat([table, pd.DataFrame(rows)])) if rows else table


def compare_systems():
    rows = compare_with(is_system, SYSTEM, ("ReFINe", "ReFINe++"))
    return {"systems": Table(rows, ["model", "labels", *FIGURES, *TEST])}


def compare_beyond():
    """What goes beyond the published result less ReFINe++, and less the linear model alone."""
    rows = compare_with(is_beyond, SYSTEM, ("ReFINe++",))
    table = kept_runs.read_experiments(is_beyond)
    linear = {row["data set"]: row for _, row in table.iterrows() if row["system"] == "EASE"}
    others = table[table["data set"].isin(linear) & (table["system"] != "EASE")]
    found = [kept_runs.compare_users(row, linear[row["data set"]]) for _, row in others.iterrows()]
    less_ease = add_differences(others[["data set", "model", "labels", "flags"]], found)
    return {
        "beyond": Table(rows, ["model", "labels", *FIGURES, *TEST]),
        "beyond_less_ease": Table(less_ease, ["model", *TEST], "Test Recall@20 less that of EASE:"),
    }


def compare_labels():
    """ReFINe++ with each kind of labels, and the differences between each two kinds on a data set."""
    table, pairs, found = kept_runs.read_experiments(is_about_labels), [], []
    for (_, ours), (_, theirs) in itertools.combinations(table[::-1].iterrows(), 2):  # the better first
        if ours["data set"] == theirs["data set"]:  # users of different data sets cannot be paired
            pairs.append([ours["data set"], ours["labels"], theirs["labels"]])
            found.append(kept_runs.compare_users(ours, theirs))
    pairs = pd.DataFrame(pairs, columns=["data set", "labels", "less"])
    pairs = add_differences(pairs, found).sort_values("data set", kind="stable")
    rows = add_published(table, ("ReFINe++",))
    return {
        "labels": Table(rows, ["model", "labels", *FIGURES]),
        "labels_pairs": Table(pairs, ["labels", "less", *TEST], "Recall@20 with some labels less others:"),
    }


def compare_parts():
    rows = compare_with(is_ablation, ABLATION)
    return {"ablations": Table(rows, ["model", *FIGURES, "train seconds", *TEST])}


def compare_precisions():
    rows = compare_with(is_about_precision, {"flags": PRECISION})
    return {"precision": Table(rows, ["model", *FIGURES, "train seconds", *TEST])}


TABLES = {  # {name of the CSV: Table} of a command
    "choose": held_out.show_choices,
    "systems": compare_systems,
    "beyond": compare_beyond,
    "labels": compare_labels,
    "ablations": compare_parts,
    "precision": compare_precisions,
    "negatives": hard_negatives.compare_vectors,
    "dislikes": held_out.compare_dislikes,
}


def describe(name):
    """Lines of the tables of a command."""
    if name == "negative":
        return [*conrec_tables.lines(), "", *after_like.lines()]
    return write_tables(TABLES[name]().values())


def fill_blocks(text):
    """A document with what the commands of its blocks print."""
    block = r"(<!-- results: python results4comparison/table\.py (\w+) -->\n).*?(<!-- /results -->)"

    def fill(match):
        head, name, end = match.groups()
        return head + "\n".join(describe(name)) + "\n" + end

    return re.sub(block, fill, text, flags=re.DOTALL)


def write_all(folder=FOLDER):
    """All figures of all tables, a CSV each."""
    for make in TABLES.values():
        for name, table in make().items():
            write_csv(table, folder / f"{name}.csv")
    conrec_tables.make_wide_table().to_csv(folder / "negative.csv", index=False, lineterminator="\n")


def main(arguments):
    if not arguments or shell.wants_help(arguments):
        return shell.print_help(__doc__)
    match arguments:
        case ["keep", folder, name]:
            return kept_runs.add(Path(folder), name)
        case ["write"]:
            write_all()
            for path in DOCUMENTS:
                path.write_text(fill_blocks(path.read_text(encoding="utf-8")), encoding="utf-8")
            return None
        case [name] if name in (*TABLES, "negative"):
            lines = describe(name)
        case ["--against", reference, *paths] if paths:
            lines = finished_runs.describe(list(map(Path, paths)), Path(reference))
        case paths:
            lines = finished_runs.describe(list(map(Path, paths)))
    print(*lines, sep="\n")


if __name__ == "__main__":
    sys.exit(shell.cli(main, sys.argv[1:]))
