"""Finished run folders as tables: one row for the runs that differ in the seed alone, and a test of
the best two rows of each data set.  For `table.py result/ML-100K/*` and for study.py.
"""

import json
import sys
from collections import defaultdict
from typing import NamedTuple

import pandas as pd

from results4comparison import compare, conrec_tables
from results4comparison.formatting import (
    ABOUT_LISTS,
    DIFFERENCE,
    FIGURES,
    LISTS,
    PROTOCOLS,
    SHOWN,
    best_two,
    experiment_of,
    figures,
    figures_of_lists,
    labels,
    markdown,
    mean_recall,
    measured,
    shown_figures,
)
from utils import InputError


class Row(NamedTuple):
    """One row of the table."""

    dataset: str
    model: str  # and its flags
    runs: list  # summaries, one a seed
    folders: list  # where they lie


def tables(rows):
    """[(words above, header, cells), ...] of the table of all rows, of that of the best two, of the rows of each other
    protocol, and of what lists hold.  Those without rows are left out."""
    published = [row for row in rows if not row.runs[0].get("protocol")]
    found = of_published(published) if published else []
    for protocol, words in PROTOCOLS.items():
        own = [row for row in rows if row.runs[0].get("protocol") == protocol]
        if own:
            lines = [[row.dataset, row.model, labels(row.runs[0]), str(len(row.runs))] for row in own]
            lines = [[*line, *shown_figures(row.runs)] for line, row in zip(lines, own, strict=True)]
            header = ["data set", "model", "refined by", "seeds", *SHOWN.values()]
            found.append((f"Dislikes held out: {words}.", header, lines))
    return found + tables_of_lists(rows)


def tables_of_lists(rows):
    """[(words above, header, cells)] of what the lists of each row hold, [] where no run is new enough to tell."""
    if not any("lists" in run for row in rows for run in row.runs):
        return []
    cells = [[row.dataset, row.model, labels(row.runs[0]), *figures_of_lists(row.runs)] for row in rows]
    return [(ABOUT_LISTS, ["data set", "model", "refined by", *LISTS.values()], cells)]


def of_published(rows):
    """The first two tables."""
    body, models = [], defaultdict(list)
    for dataset, model, runs, folders in rows:
        known = compare.published(dataset, runs[0]["model"])
        published = f"{known['test']['recall@20']:.4f}" if known else ""
        body.append([dataset, model, labels(runs[0]), *figures(runs), published])
        users = recalls(folders)
        if not users.empty:
            models[dataset].append((f"{model}, {labels(runs[0])}", measured(users, runs[0])))
    tests = []
    for dataset, of_data_set in models.items():
        if len(of_data_set) > 1:
            tests.append([dataset, *best_two(of_data_set)])
    header = ["data set", "model", "refined by", *FIGURES, "published recall@20"]
    best = ["data set", "best test recall@20", "less the second best", *DIFFERENCE]
    return [("", header, body), ("", best, tests)]


def lines_of(found, style):
    """Lines of tables, as markdown or latex (style)."""
    lines = []
    for words, header, cells in found:
        lines += [*([words, ""] if words else []), *style(header, cells), ""]
    return lines


def recalls(folders):
    """(users, runs) test Recall@20 of finished runs; empty where none of them has it user by user."""
    columns = []
    for folder in folders:
        path = folder / "per_user.csv"
        if path.exists():
            columns.append(pd.read_csv(path, index_col="user", dtype={"user": str})["recall@20"])
        else:
            print(f"{folder}: has no per_user.csv, so it is in no test", file=sys.stderr)
    return pd.concat(columns, axis=1, ignore_index=True) if columns else pd.DataFrame()


def table(paths):
    """Lines of both tables of the finished runs among these folders, the best of a data set last.

    What is left out, and why, goes to stderr.  Raises InputError where nothing is left.
    """
    groups, of_dislikes = defaultdict(dict), {}
    for path in paths:
        if not path.exists():
            raise InputError(f"{path}: no such run folder (nor systems, labels, ablations, keep)")
        if not path.is_dir():  # result/ML-100K/* names the output files of study.py as well
            continue
        try:
            run = finished_run(path)
        except InputError as reason:
            print(f"left out: {reason}", file=sys.stderr)
            continue
        if conrec_tables.is_of_dislikes(run):
            of_dislikes[path] = run
        else:
            groups[experiment_of(run)][path] = run
    if not groups and not of_dislikes:
        raise InputError("no finished run among the folders given")

    rows = []
    for experiment, runs in groups.items():
        warn_of_doubles(runs)
        rows.append(Row(experiment.dataset, experiment.name, list(runs.values()), list(runs)))
    rows.sort(key=lambda row: (row.dataset, mean_recall(row.runs)))
    lines = [*lines_of(tables(rows), markdown), *conrec_tables.of_folders(of_dislikes)]
    return lines if lines[-1] else lines[:-1]


def finished_run(folder):
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
        experiment_of(run), figures([run])
        if run.get("protocol"):
            shown_figures([run])
    except KeyError as key:
        raise InputError(f"{path}: lacks {key}") from None
    except (ValueError, TypeError, AttributeError):
        raise InputError(f"{path}: is not the summary of a run") from None
    return run


def warn_of_doubles(runs):
    """Runs of one row should differ in the seed.  runs: {folder: summary}."""
    seeds = defaultdict(list)
    for folder, run in runs.items():
        seeds[run.get("random_seed")].append(str(folder))
    for seed, folders in seeds.items():
        if len(folders) > 1:
            same = "one row, although their seed is the same, too"
            print(f"{', '.join(folders)}: {same} ({seed})", file=sys.stderr)
