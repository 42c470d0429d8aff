"""Recall@20 by how active users are and how popular items are.

    python results4comparison/groups.py keep RUN_FOLDER NAME   add a run's to ours/, such as dns_2024
    python results4comparison/groups.py kept NAME ...          of runs NAME_<seed>, mean over seeds

Thirds of the users by their train positives, and items that hold the first, second and last third of all train
positives, the most popular first.  Recall of a group: its hits among the first 20 / its test rows.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import recommend
from machine import shell
from results4comparison.compare import HERE
from results4comparison.formatting import markdown
from utils import InputError

OURS = HERE / "ours"
K = 20


def group_users(positives):
    """(U,) group 0, 1, 2, as many users in each, the least active in 0.  positives: (U,) train positives."""
    rank = positives.argsort(kind="stable").argsort()
    return rank * 3 // len(positives)


def group_items(positives):
    """(I,) group 0 of the most popular items that hold a third of all positives (I,), then 1, then 2."""
    order = (-positives).argsort(kind="stable")
    before = positives[order].cumsum() - positives[order]  # held by more popular items
    group = np.empty(len(positives), int)
    group[order] = before * 3 // positives.sum()
    return group.clip(max=2)


def name_groups(kind, positives, group):
    """(n,) name of each one's group, with the range of its train positives."""
    own = pd.Series(positives).groupby(group)
    named = f"{kind} with " + own.min().astype(str) + " to " + own.max().astype(str) + " train positives"
    return named[group].to_numpy()


def measure(folder):
    """DataFrame group, hits, rows of a finished run.  Raises InputError."""
    data = recommend.load_run(folder, None, "cpu").data
    listed = pd.read_csv(folder / "recommendations.csv", dtype=str, keep_default_na=False)
    listed = listed[listed["rank"].astype(int) <= K]
    users, items = (part.numpy() for part in data.test.all_entries())  # (rows,)
    test = pd.MultiIndex.from_arrays([data.user_ids[users], data.item_ids[items]])
    hit = pd.Series(test.isin(pd.MultiIndex.from_frame(listed[["user", "item"]])))

    positives = data.edges("positive")
    of_users = np.bincount(positives.users, minlength=data.n_users)
    of_items = np.bincount(positives.items, minlength=data.n_items)
    by_user, by_item = group_users(of_users), group_items(of_items)
    parts = []
    for number, name in (
        (by_user[users], name_groups("users", of_users, by_user)[users]),
        (by_item[items], name_groups("items", of_items, by_item)[items]),
    ):
        table = hit.groupby([number, name]).agg(hits="sum", rows="size")
        parts.append(table.reset_index(names=["number", "group"]))
    return pd.concat(parts)[["group", "hits", "rows"]]


def keep(folder, name):
    """Add the groups of a finished run to ours/."""
    runs = [measure(folder).assign(run=name)]
    dataset = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["dataset"]
    path = OURS / f"{dataset}_groups.csv"
    if path.exists():
        others = pd.read_csv(path)
        runs.insert(0, others[others.run != name])
    columns = ["run", "group", "hits", "rows"]
    pd.concat(runs)[columns].sort_values("run", kind="stable").to_csv(path, index=False, lineterminator="\n")


def write_table(wanted):
    """Lines of a table with a row a group and a column for each of the kept runs of these names."""
    runs = pd.concat(map(pd.read_csv, sorted(OURS.glob("*_groups.csv"))))
    runs["column"] = runs["run"].str.replace(r"_\d+$", "", regex=True)
    for name in wanted:
        if name not in set(runs["column"]):
            raise InputError(f"{name}: no kept run of ours/ is called {name}_<seed>")
    runs["recall"] = runs["hits"] / runs["rows"].clip(lower=1)
    table = runs.pivot_table("recall", "group", "column", sort=False)[wanted].dropna(how="all")
    table = table.map("{:.4f}".format)
    table["test rows"] = runs.groupby("group")["rows"].last().astype(str)
    return markdown(["Recall@20 of", *table.columns], table.reset_index().to_numpy().tolist())


def main(arguments):
    if shell.wants_help(arguments):
        return shell.print_help(__doc__)
    match arguments:
        case ["keep", folder, name]:
            return keep(Path(folder), name)
        case ["kept", *wanted] if wanted:
            return print(*write_table(wanted), sep="\n")
    raise InputError("give keep RUN_FOLDER NAME, or kept NAME ...")


if __name__ == "__main__":
    sys.exit(shell.cli(main, sys.argv[1:]))
