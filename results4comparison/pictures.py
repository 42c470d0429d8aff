"""Pictures of the kept runs.

    python results4comparison/pictures.py FOLDER      writes them there
    python results4comparison/pictures.py docs        those of the documentation

labels.png      the difference of each row of `table.py labels` to the ratings as they are, with its interval
ablations.png   the same of `table.py ablations`; a pale point is one seed
seconds.png     Recall@20, with the deviation over seeds, against seconds of training; a blend's seconds are
                those of its parts and of blending
dislikes.png    Recall@20 against dislikes shown, of the runs with --hold_out dislikes; a small point has
                one seed; the line joins the others that none beats in both
"""

import json
import re
import statistics
import sys
import textwrap
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from machine import shell
from results4comparison import kept_runs, table
from results4comparison.names import AS_THEY_ARE, lets_dislikes_count
from utils import InputError, write_atomically

PROTOCOL = "hold_out_dislikes"
KINDS = {  # colour, and what the legend says
    "against": ("tab:blue", "dislikes count against (kappa, negative stars, rejection)"),
    "plain": ("0.55", "ratings as they are"),
    "refined": ("tab:red", "refined: some 3s called liked"),
    "weighted": ("tab:orange", "stars weighted"),
    "blend": ("tab:green", "blends, weights by --dislike_cost"),
}
LABELS = {  # what refined the ratings, in a word
    "published": "Llama-2-7b", "rule": "3s liked", "twos": "2s disliked", "random": "random", "shuffled": "shuffled",
}  # fmt: skip
# what names share with others, or what tells no point from its neighbours
SHARED = r", (likes as edges|large batches|no autoencoders|words|no vectors|vectors shuffled|Gaussian noise)"
VALUES = r", (stars|α|\d+ candidates)[\d. ]*"

# ------------------------------------------------------------------------------------ differences


def find_differences(wanted, other):
    """The kept experiments with one to be set against, as in table.compare_with, the best last."""
    rows = table.compare_with(wanted, other).dropna(subset="difference")
    return rows.sort_values(["data set", "difference"])


def plot_differences(rows, names, title):
    """A figure of the differences of rows, the first at the bottom, 800 pixels wide.  names: of the rows."""
    figure = Figure(figsize=(8, 1.3 + 0.36 * len(rows)), dpi=100, layout="constrained")
    axis = figure.add_subplot()
    axis.axvline(0, color="0.6", lw=1)
    for place, row in enumerate(rows.to_dict("records")):
        mean, low, high = row["difference"], row["difference low"], row["difference high"]
        if low != low:  # NaN: one seed
            axis.errorbar(mean, place, fmt="o", color="0.75")
            continue
        clear = low > 0 or high < 0  # the interval is on one side of zero
        color = "tab:blue" if clear else "0.45"
        axis.errorbar(mean, place, xerr=[[mean - low], [high - mean]], fmt="o", color=color, capsize=3)
    if rows["data set"].nunique() > 1:
        names = rows["data set"] + ": " + names
    axis.set_yticks(range(len(rows)), [textwrap.fill(name, 36) for name in names], fontsize=11)
    axis.set_ylim(-0.6, len(rows) - 0.4)
    axis.set_xlabel("difference in test Recall@20, mean over users with 95 % interval")
    axis.grid(axis="x", alpha=0.3)
    figure.suptitle(title, fontsize=12)
    return figure


# ---------------------------------------------------------------------------------------- seconds


def find_costs(dataset):
    """The experiments of `table.py beyond`, the chosen systems, and the published runs."""
    rows = kept_runs.read_experiments(lambda run: table.is_beyond(run) or table.is_chosen_system(run))
    rows = rows[(rows["data set"] == dataset) & (rows["system"] != "Popularity")]
    seconds = [row["train seconds"] + count_parts(row) for _, row in rows.iterrows()]
    return table.add_published(rows.assign(**{"train seconds": seconds}), ("ReFINe", "ReFINe++"))


def count_parts(row):
    """Seconds of training of a blend's parts, kept runs themselves; 0 of other models."""
    seconds = 0
    for part in row["run"]["flags"].get("blend", ()):
        n, name = part.split(" x ") if " x " in part else (1, part)
        paths = sorted(kept_runs.OURS.glob(f"{row['data set']}_{name}_[0-9]*.json"))
        seconds += int(n) * statistics.mean(json.loads(path.read_text())["train_seconds"] for path in paths)
    return seconds


def plot_seconds():
    """A figure with an axis for each data set; the legend has its points from the top down."""
    figure = Figure(figsize=(8, 9), dpi=100, layout="constrained")
    for axis, dataset in zip(figure.subplots(2), ("ML-100K", "ML-1M"), strict=True):
        for place, row in enumerate(find_costs(dataset)[::-1].to_dict("records")):
            style = {"fmt": "osD^vP"[place % 6], "color": f"C{place % 10}"}
            if "published" in row["model"]:
                style = {"fmt": "*", "color": "0.25", "markersize": 10}
            spread = row["Recall@20 std"]
            spread = None if spread != spread else spread  # NaN: of one seed none is known
            name = row["model"].replace("*", "")
            axis.errorbar(row["train seconds"], row["Recall@20"], spread, capsize=3, label=name, **style)
        axis.set_xscale("log")
        axis.set_title(dataset, fontsize=12)
        axis.set_xlabel("seconds of training (ours: one busy core; published: an RTX A6000)")
        axis.set_ylabel("test Recall@20")
        axis.grid(alpha=0.3)
        axis.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=9)
    return figure


# --------------------------------------------------------------------------------------- dislikes


def find_kind(run):
    """A key of KINDS."""
    flags = run["flags"]
    if run["model"] == "Blend":
        return "blend"
    if lets_dislikes_count(run):
        return "against"
    if "star_weights" in flags or flags.get("ease_weights"):
        return "weighted"
    return "refined" if run["dataset_augment"] == "augment" else "plain"


def name_point(row):
    """What stands beside a point: as short as tells it from its neighbours."""
    run = row["run"]
    if run["model"] == "Blend":
        return f"blend, cost {run['flags'].get('dislike_cost', 0):g}"
    name = re.sub(SHARED, "", row["model"])
    if run["model"] != "EASE":
        name = re.sub(VALUES, "", name)
    if find_kind(run) == "refined":
        label = run["llm"].split("/")[-1].removeprefix("all-").split("-")[0]
        name += f", {LABELS.get(run['llm'], label)}"
    return name


def find_front(points):
    """Those rows that no other beats: each has more Recall than all with fewer dislikes."""
    points = points.sort_values(["dislikes shown", "Recall@20"], ascending=[True, False])
    return points[points["Recall@20"] > points["Recall@20"].cummax().shift(fill_value=-1.0)]


def plot_dislikes(dataset, least=0.38):
    """A figure of the experiments with a Recall@20 of at least this, 900 pixels wide."""
    points = kept_runs.read_experiments(lambda run: run["dataset"] == dataset, PROTOCOL)
    points = points[points["Recall@20"] >= least]
    points = points.assign(kind=points["run"].map(find_kind))
    front = find_front(points[~points["one seed"]])
    figure = Figure(figsize=(9, 6), dpi=100, layout="constrained")
    axis = figure.add_subplot()
    axis.plot(front["dislikes shown"], front["Recall@20"], color="0.8", lw=2, zorder=1)
    for kind, (colour, words) in KINDS.items():
        own = points[points["kind"] == kind]
        if len(own):
            sizes = own["one seed"].map({True: 14, False: 46})
            axis.scatter(own["dislikes shown"], own["Recall@20"], color=colour, s=sizes, label=words, zorder=2)
    write_names(axis, points.assign(behind=~points.index.isin(front.index)))
    axis.set_xlim(right=points["dislikes shown"].max() + 0.12 * np.ptp(points["dislikes shown"]))
    axis.set_xlabel("dislikes shown: held-out 1s and 2s among a user's 20 items, mean")
    axis.set_ylabel("Recall@20")
    axis.set_title(f"{dataset}: likes found, and dislikes shown with them")
    axis.grid(alpha=0.3)
    axis.legend(loc="lower right", fontsize=9)
    return figure


def write_names(axis, points):
    """Write names beside points of several seeds: no two on one another, none twice."""
    width, height = np.ptp(points["dislikes shown"]), np.ptp(points["Recall@20"])
    named = points[~points["one seed"]].assign(order=points["kind"].map(list(KINDS).index))
    named = named.sort_values(["order", "behind", "Recall@20"], ascending=[True, True, False])
    written = {}  # name: the point that has it
    for row in named.to_dict("records"):
        name, x, y = name_point(row), row["dislikes shown"], row["Recall@20"]
        near = [abs(x - left) < 0.2 * width and abs(y - low) < 0.028 * height for left, low in written.values()]
        if not any(near) and name not in written:
            written[name] = x, y
            axis.annotate(name, (x, y), (6, -3), textcoords="offset points", fontsize=8)


# ------------------------------------------------------------------------------------ the command


def draw_all():
    """{name: figure}"""
    labels = find_differences(table.is_about_labels, {"labels": AS_THEY_ARE})
    parts = find_differences(table.is_ablation, table.ABLATION)
    flags = parts["model"].str.removeprefix("ReFINe++, ")
    flags = flags.replace("ReFINe++", "as published (with autoencoders)")
    title = "ReFINe++ on refined ratings, less ReFINe++ on the ratings as they are"
    title_of_parts = "Variants of ReFINe++, less ReFINe++ without autoencoders"
    return {
        "labels.png": plot_differences(labels, labels["labels"], title),
        "ablations.png": plot_differences(parts, flags, title_of_parts),
        "seconds.png": plot_seconds(),
        "dislikes.png": plot_dislikes("ML-100K"),
    }


def main(arguments):
    if not arguments or shell.wants_help(arguments):
        return shell.print_help(__doc__)
    folder = Path(arguments[0])
    if len(arguments) > 1 or not folder.is_dir():
        raise InputError(f"{' '.join(arguments)}: expected one folder, which is there, to write pictures into")
    for name, figure in draw_all().items():
        path = folder / name
        write_atomically(path, lambda p, figure=figure: figure.savefig(p, format="png"))
        print(path)


if __name__ == "__main__":
    sys.exit(shell.cli(main, sys.argv[1:]))
