"""Runs that predict dislikes (CoNRec and what it is set beside), as tables.

    python results4comparison/table.py negative             of the runs kept in ours/conrec/
    python results4comparison/table.py result/ML-100K/*     of your own runs, below the table of the other models

Rows are runs that differ in the seed alone.  Differences are tested over users and seeds (differences.py).  All other
figures of the kept runs are in tables/negative.csv.
"""

import shutil
import statistics
from collections import defaultdict

import pandas as pd

from options.conrec import BESIDE, CHOOSING, EVERY, PRIMARY, SAME_LOSS
from options.run_name import flag_words
from results4comparison import compare
from results4comparison.differences import Difference, Measured, add_differences, paired, with_interval
from results4comparison.formatting import deviation, markdown, write_markdown
from utils import InputError, read_json

OURS = compare.HERE / "ours" / "conrec"
SHOWN = {"hr@20": "HR@20", PRIMARY: "FHR@20", EVERY: "FHR every", "auc": "dislike AUC", "auc-odds": "odds AUC"}
MORE = {  # in tables/negative.csv alone
    CHOOSING: "validation FHR@20", "luf@20": "LUF@20", "lif@20": "LIF@20", "lif-strict@20": "LIF strict",
    "cand_ll": "choice", "ila": "alignment", "translation": "translation", "relative_error": "relative error of IDs",
    "collisions": "collisions of IDs", "neighbours_in_common": "neighbours in common",
}  # fmt: skip
FAMILIES = {"first instance": PRIMARY, "every instance": EVERY}  # of tests


def is_of_dislikes(run):
    return run.get("task") == "negative"


def name_of(run):
    """The system and its flags, without the seed."""
    system = {"conrec": "CoNRec", "sasrec": "SASRec"}.get(run["system"], run["system"])
    if run.get("llm"):
        system += f" ({run['llm'].split('/')[-1]})"
    flags = {name: value for name, value in run["flags"].items() if name != "conrec_system"}
    return " ".join([system, *flag_words(flags)])


# --------------------------------------------------------------------------------------- which runs


def read_kept():
    """The runs in ours/conrec/, grouped."""
    return group_runs((read_json(path), path.with_suffix(".csv")) for path in sorted(OURS.glob("*.json")))


def group_runs(runs):
    """{data set: {system and flags: [(summary, users), ...]}}.  runs: of (summary, path of the per_user.csv)."""
    groups = defaultdict(lambda: defaultdict(list))
    for run, path in runs:
        groups[run["dataset"]][name_of(run)].append((run, per_user(path)))
    return groups


def per_user(path):
    """DataFrame of the columns of FHR@20, of all instances too, by user; empty where a run has none."""
    if not path.exists():
        return pd.DataFrame()
    table = pd.read_csv(path, index_col="user", dtype={"user": str})
    return table[[name for name in table.columns if name.startswith((PRIMARY, EVERY))]]


def keep(folder, run, name):
    """Add a finished run of this task to ours/conrec/."""
    OURS.mkdir(exist_ok=True)
    path = OURS / f"{run['dataset']}_{name}.json"
    shutil.copy(folder / "summary.json", path)
    per_user(folder / "per_user.csv").round(4).to_csv(path.with_suffix(".csv"), lineterminator="\n")


def keep_report(path, name):
    """Add a filter's report to ours/conrec/filters/.  name: of the lists, then of the seed, such as ease_2024."""
    (OURS / "filters").mkdir(parents=True, exist_ok=True)
    report = read_json(path)
    if not report.get(SAME_LOSS):
        raise InputError(f"{path}: is no report of a filter in whose lists dislikes can be measured")
    shutil.copy(path, OURS / "filters" / f"{report['dataset']}_{name}.json")


# --------------------------------------------------------------------------------------- the tables


def lines():
    """All tables of the kept runs, the reported figures first."""
    known = read_json(compare.HERE / "published" / "conrec.json")
    blocks = [[f"Reported: {known['mark']}."], reported(known, "systems"), reported(known, "ablation")]
    groups = read_kept()
    if not groups:
        blocks.append(["Not measured yet: no run is kept in ours/conrec/."])
    for dataset, own in sorted(groups.items()):
        n_users = next(iter(own.values()))[0][0]["data"]["test instances"]
        blocks += [[f"**{dataset}**, {n_users} test users"], systems(own), differences(own)]
        if "CoNRec" in own:
            blocks += [filters(own["CoNRec"]), filtered_lists(dataset)]
    return joined(blocks)


def of_folders(runs):
    """Lines for run folders: {folder: summary}."""
    blocks = []
    groups = group_runs((run, folder / "per_user.csv") for folder, run in runs.items())
    for dataset, own in sorted(groups.items()):
        blocks += [[f"Next dislikes, {dataset}"], systems(own), differences(own)]
    return joined(blocks)


def reported(known, which):
    rows = []
    for name, figures in known[which].items():
        cells = ["" if figure is None else f"{figure:.4f}" for figure in figures]
        rows.append([f"{name}, *reported*", *cells])
    return markdown(["", *known["columns"]], rows)


def gather_figures(groups):
    """DataFrame: a row a run, and a row a closed form; columns system and those of SHOWN and MORE.

    groups: {system and flags: [(summary, users), ...]} of a data set.
    """
    first, _ = next(iter(groups.values()))[0]
    rows = []
    for name, figures in first["baselines"].items():
        choice = figures.get("candidates")  # what older runs call it, since there was another kind, too
        rows.append({"system": name, "cand_ll": choice, **figures})
    for name, runs in groups.items():
        for run, _ in runs:
            figures = {"system": f"**{name}**"} | run.get("sids", {})
            if "evaluated" in run:  # in stages, of which the last is the run's
                figures |= run["evaluated"][-1]
            rows.append(figures | run["test"] | {CHOOSING: run["validation"][PRIMARY]})
    return pd.DataFrame(rows).reindex(columns=["system", *SHOWN, *MORE])


def systems(groups):
    """Every system, the best last: means and deviations over seeds."""
    by_system = gather_figures(groups).groupby("system")
    table = by_system.agg(deviation)
    table.insert(0, "seeds", by_system.size().astype(str))
    table = table.loc[by_system[PRIMARY].mean().sort_values(kind="stable").index, ["seeds", *SHOWN]]
    return markdown(["system", "seeds", *SHOWN.values()], table.reset_index().to_numpy().tolist())


def make_wide_table():
    """DataFrame of tables/negative.csv: mean and deviation over seeds of all figures of every system."""
    figures = []
    for dataset, own in read_kept().items():
        figures.append(gather_figures(own).assign(**{"data set": dataset}))
    figures = pd.concat(figures).rename(columns=SHOWN | MORE)
    figures["system"] = figures.system.str.strip("*")
    rows = figures.groupby(["data set", "system"])
    table = rows.agg(["mean", "std"]).round(6)
    table.columns = [title.removesuffix(" mean") for title in map(" ".join, table.columns)]
    table.insert(0, "seeds", rows.size())
    return table.sort_values(["data set", "FHR@20"], kind="stable").reset_index()


def differences(groups):
    """FHR@20 less that of the best counting, on the first instance of each user and on all, each a family of tests."""
    rows, found = [], []
    for over, metric in FAMILIES.items():
        for name, runs in groups.items():
            column = f"{metric} of {BESIDE}"
            if any(column not in users for _, users in runs):
                continue  # of older runs
            ours = Measured(pd.concat([users[metric] for _, users in runs], axis=1))
            rows.append([name, over])
            found.append(paired(ours, Measured(runs[0][1][[column]], closed=True)))
    if not rows:
        return []
    table = add_differences(pd.DataFrame(rows, columns=["system", "over"]), found, family="over")
    columns = [*table.columns[:2], "users", "difference", "p", "p, Holm"]
    return [f"FHR@20 less that of {BESIDE}:", "", *write_markdown(table, columns)]


def filters(runs):
    """Share of test likes and dislikes that the filter and its controls remove."""
    outcomes = pd.concat([pd.DataFrame(run["filter"]["outcome"]) for run, _ in runs])
    outcomes["budget"] = outcomes.budget.map("{:.0%}".format)
    table = outcomes.groupby(["system", "budget"], sort=False)[["positives", "negatives"]].agg(deviation)
    header = ["filter by", "budget of likes", "likes removed", "dislikes removed"]
    return markdown(header, table.reset_index().to_numpy().tolist())


def filtered_lists(dataset):
    """Of the filtered lists of other models: the share of their disliked items that goes at the same loss of likes."""
    figures, rows, gaps = [], [], []
    for path in sorted((OURS / "filters").glob(f"{dataset}_*.json")):
        report, name = read_json(path), path.stem.removeprefix(f"{dataset}_").rpartition("_")[0]
        for loss, of_systems in report[SAME_LOSS].items():
            for system, found in of_systems.items():
                row = {"name": name, "loss": loss, "system": system, "users": report["users"]}
                figures.append(row | found)
    if not figures:
        return []
    for (name, loss, system), own in pd.DataFrame(figures).groupby(["name", "loss", "system"], sort=False):
        users = own.users.iloc[0]
        gone = combine_seeds(own["disliked less"].tolist(), users)
        gaps.append(None if system == "CoNRec" else combine_seeds(own["CoNRec less it"].tolist(), users))
        share = "never so many" if gone is None else f"{gone.mean:.3f}"
        rows.append([name, str(len(own)), f"{float(loss):.0%}", system, share])
    header = ["lists of", "seeds", "likes lost", "filter by", "dislikes that go"]
    table = add_differences(pd.DataFrame(rows, columns=header), gaps, "CoNRec less it, ", family="lists of")
    return write_markdown(table, [*header, "CoNRec less it, difference"])


def combine_seeds(values, users):
    """The Difference of [[mean, low, high] over users] of each seed: users and seeds both vary.

    None where a seed has none, since its filter never loses so many likes.
    """
    if None in values:
        return None
    means = [mean for mean, _, _ in values]
    of_users = statistics.mean(((high - low) / 2 / 1.96) ** 2 for _, low, high in values)
    if len(means) == 1:
        return Difference(users, means[0], None, None, None)
    parts = [(of_users, users - 1), (statistics.variance(means) / len(means), len(means) - 1)]
    return with_interval(users, statistics.mean(means), parts)


def joined(blocks):
    lines = []
    for block in blocks:
        if block:
            lines += [*block, ""]
    return lines[:-1]
