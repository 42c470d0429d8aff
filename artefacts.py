"""The tables and the picture that a finished run leaves behind."""

import numpy as np
import pandas as pd

from utils import write_atomically


def write_recommendations(path, ranked, data, item_table):
    """recommendations.csv: user, rank, item, title, score; `ranked` is what rank() yields."""
    titles = item_table.title.reindex(data.item_ids, fill_value="").to_numpy()
    parts = []
    for users, items, scores in ranked:
        k = items.shape[1]
        numbers = items.cpu().numpy().ravel()
        columns = {
            "user": np.repeat(data.user_ids[users], k),
            "rank": np.tile(np.arange(1, k + 1), len(users)),
            "item": data.item_ids[numbers],
            "title": titles[numbers],
            "score": scores.cpu().numpy().ravel().round(4),
        }
        parts.append(pd.DataFrame(columns))
    table = pd.concat(parts)
    table = table[table.score > -np.inf]  # a user who has rated nearly everything gets a shorter list
    write_atomically(path, lambda p: table.to_csv(p, index=False, lineterminator="\n"))


def write_per_user(path, per_user, data):
    """per_user.csv: the test metrics of every user with a test row, for paired tests between runs."""
    users = data.user_ids[np.flatnonzero(np.diff(data.test.start))]
    columns = {"user": users}
    for name, values in per_user.items():
        columns[name] = values.round(6)
    table = pd.DataFrame(columns)
    write_atomically(path, lambda p: table.to_csv(p, index=False, lineterminator="\n"))


def plot_curves(path, epochs, published):
    """curves.png: training loss and validation Recall@20 by epoch, the published curve in grey behind ours.

    epochs: rows of metrics.csv.  Of a closed-form model: Recall@20 by ridge penalty; nothing where there is none.
    """
    import matplotlib

    matplotlib.use("Agg")  # a file, on machines without a screen
    from matplotlib import pyplot as plt

    if "epoch" in epochs[0]:
        figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
        plot_by_epoch(axes[0], epochs, published, "loss", "Training loss")
        plot_by_epoch(axes[1], epochs, published, "recall@20", "Validation Recall@20")
    elif "lambda" in epochs[0]:
        figure, axis = plt.subplots(figsize=(6, 4), layout="constrained")
        ridges = [row["lambda"] for row in epochs]
        axis.semilogx(ridges, [row["recall@20"] for row in epochs], color="tab:blue", marker="o")
        axis.set(title="Validation Recall@20", xlabel="lambda")
        axis.grid(alpha=0.3)
    else:
        return
    write_atomically(path, lambda p: figure.savefig(p, format="png", dpi=120))
    plt.close(figure)


def plot_by_epoch(axis, epochs, published, name, title):
    if published:
        known = published["epochs"]
        axis.plot(known["epoch"], known[name], color="0.7", lw=3, label="published")
    rows = [row for row in epochs if name in row]  # an epoch without evaluation has no Recall@20
    axis.plot([row["epoch"] for row in rows], [row[name] for row in rows], color="tab:blue", label="this run")
    axis.set(title=title, xlabel="epoch")
    axis.grid(alpha=0.3)
    axis.legend()
