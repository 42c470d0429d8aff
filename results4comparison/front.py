"""Recall against dislikes: a picture of the kept runs with --hold_out dislikes.

    python results4comparison/front.py FOLDER      writes dislikes.png there
    python results4comparison/front.py docs        that of the documentation

A point is an experiment, the mean over its seeds; a small one has one seed.  Up is more Recall@20, left are fewer
dislikes among 20 items.  The line joins those of several seeds, or in closed form, that no other such beats in both.
What recommends too little to be on the picture (Popularity, item means, chance) is in the table.
"""

import statistics
import sys
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from machine import shell
from results4comparison import kept_runs
from results4comparison.forest import folder_of, leave
from results4comparison.formatting import is_one_seed, lets_dislikes_count

PROTOCOL = "hold_out_dislikes"
KINDS = {  # colour, and what the legend says
    "plain": ("0.55", "ratings as they are"),
    "refined": ("tab:red", "refined: some 3s called liked"),
    "weighted": ("tab:orange", "stars weighted"),
    "against": ("tab:blue", "dislikes count against (kappa, negative stars, rejection)"),
    "blend": ("tab:green", "blends, weights by --dislike_cost"),
}
LABELS = {  # what refined the ratings, in a word
    "published": "Llama-2-7b", "rule": "3s liked", "twos": "2s disliked", "random": "random", "shuffled": "shuffled",
}  # fmt: skip


class Point(NamedTuple):
    """An experiment."""

    dislikes: float
    recall: float
    run: dict  # a summary
    one_seed: bool


def kind_of(run):
    """A key of KINDS."""
    flags = run["flags"]
    if run["model"] == "Blend":
        return "blend"
    if lets_dislikes_count(run):
        return "against"
    if "star_weights" in flags or flags.get("ease_weights"):
        return "weighted"
    return "refined" if run["dataset_augment"] == "augment" else "plain"


def name_of(run):
    """What stands beside a point: as short as tells it from its neighbours."""
    flags = run["flags"]
    if run["model"] == "Blend":
        return f"blend, cost {flags.get('dislike_cost', 0):g}"
    words = [run["model"]]
    if run["model"] == "HNLMRec" and flags.get("hard") == "none":  # its backbone, without a vector
        words = [flags.get("backbone", "LightGCN"), *([flags["sampler"].upper()] if "sampler" in flags else [])]
    if run["dataset_augment"] == "augment" and not flags.get("kappa") and "star_weights" not in flags:
        words.append(LABELS.get(run["llm"], run["llm"].split("/")[-1].removeprefix("all-").split("-")[0]))
    if flags.get("kappa"):
        more = f", {flags['n_negatives']} negatives" if "n_negatives" in flags else ""
        words.append(f"kappa {flags['kappa']:g}{more}")
    if flags.get("rejection"):
        words.append(f"rejection {flags['rejection']:g}")
    if "ease_weights" in flags:
        words.append(" ".join(f"{weight:g}" for weight in flags["ease_weights"]))
    return " ".join(words)


def points(dataset):
    """The Points of the kept experiments of a data set, means over seeds."""
    found = []
    for runs in kept_runs.experiments(lambda run: run["dataset"] == dataset, PROTOCOL).values():
        summaries = list(runs.values())
        means = [statistics.mean(run["test"][name] for run in summaries) for name in ("dislikes@20", "recall@20")]
        found.append(Point(*means, summaries[0], is_one_seed(runs)))
    return sorted(found, key=lambda point: point[:2])


def front_of(found):
    """Those points that no other beats: each has more Recall than all with fewer dislikes."""
    best, front = -1.0, []
    for point in sorted(found, key=lambda point: (point.dislikes, -point.recall)):
        if point.recall > best:
            best = point.recall
            front.append(point)
    return front


def plot(dataset, least=0.38):
    """A figure of a data set's points with a Recall@20 of at least this, 900 pixels wide."""
    found = [point for point in points(dataset) if point.recall >= least]
    figure = Figure(figsize=(9, 6), dpi=100, layout="constrained")
    axis = figure.add_subplot()
    front = front_of([point for point in found if not point.one_seed])
    axis.plot([point.dislikes for point in front], [point.recall for point in front], color="0.8", lw=2, zorder=1)
    for kind, (colour, words) in KINDS.items():
        own = [point for point in found if kind_of(point.run) == kind]
        if own:
            place = [point.dislikes for point in own], [point.recall for point in own]
            sizes = [14 if point.one_seed else 46 for point in own]
            axis.scatter(*place, color=colour, s=sizes, label=words, zorder=2)
    width = max(point.dislikes for point in found) - min(point.dislikes for point in found)
    height = max(point.recall for point in found) - min(point.recall for point in found)
    written = {}  # name: the point that has it; no two names on one another, none twice
    kinds = ["against", "plain", "refined", "weighted", "blend"]  # the single models first
    named = [point for point in found if not point.one_seed]
    for point in sorted(named, key=lambda point: (kinds.index(kind_of(point.run)), point not in front, -point.recall)):
        name, places = name_of(point.run), written.values()
        near = [abs(x - point.dislikes) < 0.2 * width and abs(y - point.recall) < 0.028 * height for x, y in places]
        if any(near) or name in written:
            continue
        written[name] = point[:2]
        axis.annotate(name, point[:2], (6, -3), textcoords="offset points", fontsize=8)
    axis.set_xlim(right=max(point.dislikes for point in found) + 0.12 * width)
    axis.set_xlabel("dislikes shown: held-out 1s and 2s among a user's 20 items, mean")
    axis.set_ylabel("Recall@20")
    axis.set_title(f"{dataset}: likes found, and dislikes shown with them")
    axis.grid(alpha=0.3)
    axis.legend(loc="lower right", fontsize=9)
    return figure


def main(arguments):
    folder = folder_of(arguments, __doc__)
    if folder is None:
        return
    leave({"dislikes.png": plot("ML-100K")}, folder)


if __name__ == "__main__":
    sys.exit(shell.cli(main, sys.argv[1:]))
