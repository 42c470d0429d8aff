"""Finished run folders as tables: one row for the runs that differ in the seed alone, and a test of
the best two rows of each data set.  For `table.py result/ML-100K/*` and for study.py.
"""

import json
import sys

import pandas as pd

from results4comparison import compare, conrec_tables
from results4comparison.differences import Measured, add_differences, paired
from results4comparison.experiments import FIGURES, LISTS, PROTOCOLS, SHOWN, find_experiments, sort_by_recall, tabulate
from results4comparison.formatting import write_markdown
from utils import InputError

NAME = {"data set": "data set", "model": "model", "labels": "refined by"}  # columns and what they are called
OF_PUBLISHED = NAME | {
    "seeds": "seeds", "Recall@20": "test recall@20", "NDCG@20": "test ndcg@20", "Precision@20": "test precision@20",
    "validation Recall@20": "val recall@20", "best epoch": "best epoch", "train seconds": "train s",
    "published recall@20": "published recall@20",
}  # fmt: skip
OF_DISLIKES = NAME | {"seeds": "seeds", "Recall@20": "Recall@20"}
OF_DISLIKES |= {column: column for column in SHOWN if "validation" not in column}
OF_LISTS = NAME | {column: column for column in LISTS}
BEST_TWO = ["data set", "best test recall@20", "less the second best"]


def write_tables(rows, against=None):
    """Lines of Markdown.  rows: of find_experiments.

    All rows of the published protocol; the best two of them; each other protocol; what lists hold.
    against: a run, whose row all others are tested against, too.
    """
    tables = []  # (words above, Markdown)
    published = rows[rows["protocol"] == ""]
    if len(published):
        figures = []
        for _, row in published.iterrows():
            known = compare.published(row["data set"], row["run"]["model"])
            figures.append(known["test"]["recall@20"] if known else None)
        published = published.assign(**{"published recall@20": figures})
        tables.append(("", write_markdown(published, OF_PUBLISHED)))
        best_two = compare_best_two(published)
        tables.append(("", write_markdown(best_two, [*BEST_TWO, "users", "difference", "p"])))
    for protocol, words in PROTOCOLS.items():
        own = rows[rows["protocol"] == protocol]
        tables.append((f"Dislikes held out: {words}.", write_markdown(own, OF_DISLIKES)))
    if against:
        tables += compare_with(rows, against)
    if rows["coverage@20"].notna().any():
        words = "What all lists of 20 items together recommend:"
        tables.append((words, write_markdown(rows, OF_LISTS)))
    lines = []
    for words, table in tables:
        if not table:
            continue
        if words:
            lines += [words, ""]
        lines += [*table, ""]
    return lines


def compare_best_two(rows):
    """A row for each data set of which two rows have their users' Recall@20."""
    pairs, found = [], []
    for dataset, own in rows.groupby("data set", sort=False):
        models = []
        for _, row in own.iterrows():
            users = read_users(row["names"])
            if not users.empty:
                name = f"{row['model']}, {row['labels']}"
                models.append((users.mean(axis=1).mean(), name, Measured(users, row["closed"])))
        if len(models) > 1:
            (_, first, ours), (_, second, theirs) = sorted(models, key=lambda model: -model[0])[:2]
            pairs.append([dataset, first, second])
            found.append(paired(ours, theirs))
    return add_differences(pd.DataFrame(pairs, columns=BEST_TWO), found)


def compare_with(rows, against):
    """Tables of the other rows of the same data set and protocol less the row of the run `against`, by metric."""
    (reference,) = [row for _, row in rows.iterrows() if against in row["names"]]
    own = rows[(rows["data set"] == reference["data set"]) & (rows["protocol"] == reference["protocol"])]
    tables = []
    for metric in ("recall@20", "dislikes@20"):
        measured = {}
        for number, row in own.iterrows():
            measured[number] = Measured(read_users(row["names"], metric), row["closed"])
        theirs = measured.pop(reference.name)
        others = [number for number, side in measured.items() if len(side.users) and len(theirs.users)]
        if others:
            found = [paired(measured[number], theirs) for number in others]
            tested = add_differences(own.loc[others, [*NAME]], found)
            words = f"Test {metric} less that of {reference['model']}, {reference['labels']}:"
            columns = NAME | {"difference": "difference (95 % interval)", "p, Holm": "p, Holm"}
            tables.append((words, write_markdown(tested, columns)))
    return tables


def read_users(folders, metric="recall@20"):
    """(users, runs) a test metric of finished runs; empty where none has it user by user."""
    columns = []
    for folder in folders:
        path = folder / "per_user.csv"
        if path.exists():
            table = pd.read_csv(path, index_col="user", dtype={"user": str})
            if metric in table:  # dislikes@20 is of some protocols only
                columns.append(table[metric])
        elif metric == "recall@20":
            print(f"{folder}: has no per_user.csv, so it is in no test", file=sys.stderr)
    return pd.concat(columns, axis=1, ignore_index=True) if columns else pd.DataFrame()


def describe(paths, against=None):
    """Lines of both tables of the finished runs among these folders, the best of a data set last.

    against: a run folder, whose row all others are tested against.
    What is left out, and why, goes to stderr.  Raises InputError where nothing is left.
    """
    found, of_dislikes = [], {}
    if against:  # once, however it is written among them
        paths = [path for path in paths if path.resolve() != against.resolve()] + [against]
    for path in paths:
        if not path.exists():
            raise InputError(f"{path}: no such run folder (nor systems, labels, ablations, keep)")
        if not path.is_dir():  # result/ML-100K/* names the output files of study.py as well
            continue
        try:
            run = read_summary(path)
        except InputError as reason:
            print(f"left out: {reason}", file=sys.stderr)
            continue
        if conrec_tables.is_of_dislikes(run):
            of_dislikes[path] = run
        else:
            found.append((path, run))
    if not found and not of_dislikes:
        raise InputError("no finished run among the folders given")
    if against and against not in [path for path, _ in found]:
        raise InputError(f"--against {against}: is no finished run of a recommender")

    lines = []
    if found:
        runs = tabulate(found)
        runs["model"] = (runs["system"] + " " + runs["flags"]).str.strip()
        warn_of_doubles(runs)
        lines = write_tables(sort_by_recall(find_experiments(runs)), against)
    lines += conrec_tables.of_folders(of_dislikes)
    return lines if lines[-1] else lines[:-1]


def read_summary(folder):
    """The summary of a run folder, also of one that an older version left.

    Raises InputError where there is none, or where it lacks what the table needs.
    """
    path = folder / "summary.json"
    if not path.exists():
        raise InputError(f"{folder}: holds no finished run")
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
        if conrec_tables.is_of_dislikes(run):
            of_users = conrec_tables.per_user(folder / "per_user.csv")
            conrec_tables.systems({conrec_tables.name_of(run): [(run, of_users)]})
            return run
        run = {"flags": {}, "llm": None, "llm_mode": None} | run  # which the oldest lack
        run.setdefault("dataset_augment", "augment" if run["llm"] else "original")
        for part, metric in FIGURES.values():
            float(run[part][metric])
        tabulate([(folder, run)])
    except KeyError as key:
        raise InputError(f"{path}: lacks {key}") from None
    except (ValueError, TypeError, AttributeError):
        raise InputError(f"{path}: is not the summary of a run") from None
    return run


def warn_of_doubles(runs):
    """Runs of one row should differ in the seed."""
    for (_, seed), own in runs.groupby(["row", "seed"], sort=False, dropna=False):
        if len(own) > 1:
            same = f"one row, although their seed is the same, too ({seed})"
            print(f"{', '.join(map(str, own['name']))}: {same}", file=sys.stderr)
