"""Runs as a DataFrame, a row a run, and as experiments, whose runs differ in the seed alone."""

from collections import defaultdict

import pandas as pd

from results4comparison.names import is_closed, labels_of, name_system, shorten, write_flags

FIGURES = {  # column: where a summary has the figure
    "Recall@20": ("test", "recall@20"),
    "NDCG@20": ("test", "ndcg@20"),
    "Precision@20": ("test", "precision@20"),
    "validation Recall@20": ("validation", "recall@20"),
}
SHOWN = {  # of runs of another protocol
    "likes shown": ("test", "likes@20"),
    "dislikes shown": ("test", "dislikes@20"),
    "share of dislikes": ("test", "dislike_recall@20"),
    "dislikes a like": ("test", "dislikes_per_like@20"),
    "like AUC": ("test", "like_auc"),
    "validation dislikes shown": ("validation", "dislikes@20"),
    "validation like AUC": ("validation", "like_auc"),
}
LISTS = {  # of versions that measure what all lists of 20 items together recommend
    "coverage@20": ("lists", "coverage@20"),
    "Gini@20": ("lists", "gini@20"),
    "popularity@20": ("lists", "popularity@20"),
}
PROTOCOLS = {
    "hold_out_dislikes": "a fifth of each user's likes and of all dislikes are the test part, at random",
    "hold_out_dislikes_time": "the last fifth of each user's ratings is the test part",
}
EXPERIMENT = ["data set", "system", "labels", "flags", "protocol"]  # what the runs of one have in common


def tabulate(runs):
    """DataFrame with a row for each of [(name, summary), ...].  "row" numbers the experiments."""
    rows, hashes = [], defaultdict(set)  # name of a prompt -> of which texts
    for _, run in runs:
        hashes[run.get("prompt")].add(run.get("prompt_hash"))
    for name, run in runs:
        labels = labels_of(run, with_hash=len(hashes[run.get("prompt")]) > 1)
        row = {"name": name, "run": run, "data set": run["dataset"], "seed": run.get("random_seed")}
        row |= {"system": name_system(run), "labels": labels, "flags": write_flags(run)}
        row |= {"protocol": run.get("protocol", ""), "model": shorten(run), "closed": is_closed(run)}
        row |= {"best epoch": run["best_epoch"], "train seconds": run["train_seconds"]}
        for column, (part, metric) in (FIGURES | SHOWN | LISTS).items():
            row[column] = run.get(part, {}).get(metric)
        rows.append(row)
    figures = FIGURES | SHOWN | LISTS
    columns = ["name", "run", "model", "seed", "closed", "best epoch", "train seconds", *EXPERIMENT, *figures]
    table = pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(figures, float))
    table["row"] = table.groupby(EXPERIMENT, sort=False).ngroup()
    return table


def find_experiments(runs):
    """DataFrame with a row an experiment: means over seeds, and beside each "X std", their deviation.

    A figure that one of its runs lacks, an experiment lacks.  names: of its runs.  run: the first's summary.
    """
    figures = [*FIGURES, "train seconds", *SHOWN, *LISTS]
    grouped = runs.groupby("row", sort=False)
    table = grouped[[*EXPERIMENT, "model", "closed", "run"]].first()
    table["names"] = grouped["name"].agg(list)
    table["seeds"] = grouped.size()
    table["one seed"] = (table["seeds"] == 1) & ~table["closed"]  # of a trained model
    table["best epoch"] = grouped["best epoch"].agg(write_range)
    complete = grouped[figures].count().eq(table["seeds"], axis=0)
    means = grouped[figures].mean().where(complete)
    deviations = grouped[figures].std().where(complete).add_suffix(" std")
    return table.join(means).join(deviations)


def sort_by_recall(table):
    """The best of a data set last."""
    return table.sort_values(["data set", "Recall@20"], kind="stable", ignore_index=True)


def write_range(values):
    least, most = values.min(), values.max()
    return str(least) if least == most else f"{least}-{most}"


def find(table, dataset, model, flags, labels=None):
    """The experiment of exactly these flags, and of these labels where any are given; or None."""
    for _, row in table[table["data set"] == dataset].iterrows():
        same = (row["run"]["model"], row["run"]["flags"]) == (model, flags)
        if same and labels in (None, row["labels"]):
            return row
    return None
