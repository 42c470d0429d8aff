"""The tables and the picture that a finished run leaves behind."""

import textwrap

import numpy as np
import pandas as pd

from options.run_name import flag_words
from utils import write_atomically


def write_recommendations(path, ranked, data, item_table):
    """recommendations.csv: user, rank, item, title, score; `ranked` is what rank() yields."""
    table = table_of_ranked(ranked, data, item_table.title.reindex(data.item_ids, fill_value="").to_numpy())
    table["score"] = table.score.round(4)
    write_atomically(path, lambda p: table.to_csv(p, index=False, lineterminator="\n"))


def table_of_ranked(ranked, data, titles):
    """A DataFrame user, rank, item, title, score of what rank() yields.  titles: (I,) by item number."""
    parts = []
    for users, items, scores in ranked:
        k = items.shape[1]
        numbers = items.cpu().numpy().ravel()
        part = {"user": np.repeat(data.user_ids[users], k), "rank": np.tile(np.arange(1, k + 1), len(users))}
        part |= {"item": data.item_ids[numbers], "title": titles[numbers], "score": scores.cpu().numpy().ravel()}
        parts.append(pd.DataFrame(part))
    table = pd.concat(parts, ignore_index=True)
    return table[table.score > -np.inf].reset_index(drop=True)  # who has rated nearly everything gets a shorter list


def write_per_user(path, per_user, data):
    """per_user.csv: the test metrics of every user with a test row, for paired tests between runs.

    Where dislikes are held out it has all users, and an empty cell where a metric says nothing of one.
    """
    users = data.user_ids if data.test_dislikes else data.user_ids[np.flatnonzero(np.diff(data.test.start))]
    table = pd.DataFrame({"user": users} | per_user).round(6)
    write_atomically(path, lambda p: table.to_csv(p, index=False, lineterminator="\n"))


def plot_curves(path, epochs, summary, published):
    """curves.png: training loss and validation Recall@20 by epoch, the published curve in grey behind ours.

    epochs: rows of metrics.csv.  summary: of the run, for the title, the best epoch and the test result.  published: of
    compare.published, or None.  A closed form has no epochs and no picture.
    """
    if "epoch" not in epochs[0]:
        return
    from matplotlib.figure import Figure  # not pyplot: a file needs no screen, and not its share of a second

    figure = Figure(figsize=(11, 4), layout="constrained")
    loss, recall = figure.subplots(1, 2)
    plot_by_epoch(loss, epochs, published, "loss", "Training loss")
    plot_by_epoch(recall, epochs, published, "recall@20", "Recall@20 on validation")
    best, test = summary["best_epoch"], summary["test"]["recall@20"]
    recall.plot([best], [summary["validation"]["recall@20"]], "o", color="tab:red", label=f"best, epoch {best}")
    recall.axhline(test, color="tab:green", ls="--", label=f"test Recall@20, {test:.4f}")
    recall.legend()

    # the title: model and its flags, data set, labels and seed
    words = [summary["model"], *flag_words(summary["flags"])]
    labels = "ratings as they are"
    if summary["dataset_augment"] == "augment":
        labels = f"labels: {summary['llm']}"
    parts = [" ".join(words), summary["dataset"], labels, f"seed {summary['random_seed']}"]
    if summary.get("protocol"):
        parts.insert(2, summary["protocol"].replace("_", " "))
    figure.suptitle(textwrap.fill(", ".join(parts), 80))  # what fits above the narrower picture
    write_atomically(path, lambda p: figure.savefig(p, format="png", dpi=120))


def plot_by_epoch(axis, epochs, published, name, title):
    if published:
        known = published["epochs"]
        axis.plot(known["epoch"], known[name], color="0.7", lw=3, label="published")
    rows = [row for row in epochs if name in row]  # an epoch without evaluation has no Recall@20
    axis.plot([row["epoch"] for row in rows], [row[name] for row in rows], color="tab:blue", label="this run")
    axis.set(title=title, xlabel="epoch")
    axis.grid(alpha=0.3)
    axis.legend()
