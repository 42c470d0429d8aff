"""Recall@20 by how active users are and how popular items are.

    python results4comparison/groups.py result/ML-100K/NAME ...     of finished runs
    python results4comparison/groups.py keep RUN_FOLDER NAME        add a run's to ours/, as NAME, such as dns_2024
    python results4comparison/groups.py kept NAME ...               of kept runs NAME_<seed>, mean over the seeds

Thirds of the users by their train positives, and items that hold the first, second and last third of all train
positives, the most popular first.  Recall of a group: its hits among the first 20 / its test rows.
"""

import json
import re
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


def thirds_of_users(positives):
    """positives: (U,) train positives of each user.  (U,) group 0, 1, 2: as many users in each, the least active 0."""
    rank = positives.argsort(kind="stable").argsort()
    return rank * 3 // len(positives)


def thirds_of_positives(positives):
    """positives: (I,) train positives of each item.  (I,) group 0 of the most popular items that hold a third of all
    train positives, then 1, then 2."""
    order = (-positives).argsort(kind="stable")
    before = positives[order].cumsum() - positives[order]  # held by more popular items
    group = np.empty(len(positives), int)
    group[order] = before * 3 // positives.sum()
    return group.clip(max=2)


def names(kind, positives, group):
    """{group: its name with the range of train positives}"""
    return {
        number: f"{kind} with {positives[group == number].min()} to {positives[group == number].max()} train positives"
        for number in sorted(set(group.tolist()))
    }


def of_run(folder, data_dir=None):
    """DataFrame group, hits, rows of a finished run.  Raises InputError."""
    data = recommend.load_run(folder, data_dir, "cpu").data
    recommended = pd.read_csv(folder / "recommendations.csv", dtype=str, keep_default_na=False)
    recommended = recommended[recommended["rank"].astype(int) <= K]
    hit = set(zip(recommended.user, recommended.item, strict=True))

    users, items = (part.numpy() for part in data.test.all_entries())  # (rows,)
    pairs = zip(data.user_ids[users], data.item_ids[items], strict=True)
    is_hit = np.array([pair in hit for pair in pairs])  # (rows,)
    positives = data.edges("positive")
    rows = []
    for kind, row, held, cut in (
        ("users", users, np.bincount(positives.users, minlength=data.n_users), thirds_of_users),
        ("items", items, np.bincount(positives.items, minlength=data.n_items), thirds_of_positives),
    ):
        group = cut(held)
        for number, name in names(kind, held, group).items():
            own = group[row] == number  # (rows,)
            rows.append((name, is_hit[own].sum(), own.sum()))
    return pd.DataFrame(rows, columns=["group", "hits", "rows"])


def table(columns):
    """Lines of a table with a row for each group and a column for each {name: [DataFrame of a run]}."""
    groups = next(iter(columns.values()))[0].group
    rows = []
    for group in groups:
        cells = [group]
        for runs in columns.values():
            own = [run.set_index("group").loc[group] for run in runs]
            cells.append(f"{np.mean([one.hits / max(1, one.rows) for one in own]):.4f}")
        rows.append([*cells, str(own[-1].rows)])
    return markdown(["Recall@20 of", *columns, "test rows"], rows)


def keep(folder, name):
    """Add the groups of a finished run to ours/."""
    dataset = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["dataset"]
    path = OURS / f"{dataset}_groups.csv"
    runs = [of_run(folder).assign(run=name)]
    if path.exists():
        others = pd.read_csv(path)
        runs.insert(0, others[others.run != name])
    columns = ["run", "group", "hits", "rows"]
    pd.concat(runs)[columns].sort_values("run", kind="stable").to_csv(path, index=False, lineterminator="\n")


def kept(wanted):
    """{name: [DataFrame of each seed]} of the kept runs of these names."""
    columns = {name: [] for name in wanted}
    for path in sorted(OURS.glob("*_groups.csv")):
        for run, own in pd.read_csv(path).groupby("run"):
            name = re.sub(r"_\d+$", "", run)
            if name in columns:
                columns[name].append(own)
    for name, runs in columns.items():
        if not runs:
            raise InputError(f"{name}: no kept run of ours/ is called {name}_<seed>")
    return columns


def main(arguments):
    if shell.wants_help(arguments):
        return shell.print_help(__doc__)
    match arguments:
        case ["keep", folder, name]:
            return keep(Path(folder), name)
        case ["kept", *wanted] if wanted:
            lines = table(kept(wanted))
        case [*folders] if folders:
            lines = table({Path(folder).name: [of_run(Path(folder))] for folder in folders})
        case _:
            raise InputError("give run folders, or keep RUN_FOLDER NAME, or kept NAME ...")
    print(*lines, sep="\n")


if __name__ == "__main__":
    sys.exit(shell.cli(main, sys.argv[1:]))
