"""What quality costs: test Recall@20 against seconds of training, of the kept runs and the published ones.

    python results4comparison/seconds.py FOLDER      writes seconds.png there
    python results4comparison/seconds.py docs        that of the documentation

A point is an experiment of `table.py headline` or `beyond` (on ML-1M: `systems`), Popularity left out; the
bar is the standard deviation over its seeds.  A blend's seconds are those of its parts and of blending.
"""

import json
import statistics
import sys
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from machine import shell
from results4comparison import compare, forest, kept_runs, table

PUBLISHED = ("ReFINe", "ReFINe++")


class Point(NamedTuple):
    text: str
    seconds: float
    recall: float
    deviation: float = 0.0


def points(dataset):
    """Our Points on a data set."""
    found = []
    for experiment, runs in kept_runs.experiments(lambda run: run["dataset"] == dataset and belongs(run)).items():
        recall = [run["test"]["recall@20"] for run in runs.values()]
        deviation = statistics.stdev(recall) if len(recall) > 1 else 0.0
        found.append(Point(short_name(experiment), seconds_of(dataset, runs), statistics.mean(recall), deviation))
    return found


def belongs(run):
    shown = table.is_beyond(run) or table.is_chosen_system(run)
    return shown and run["model"] != "Popularity"


def seconds_of(dataset, runs):
    """Mean train_seconds of summaries; those of a blend's parts are added."""
    seconds = statistics.mean(run["train_seconds"] for run in runs.values())
    for part in next(iter(runs.values()))["flags"].get("blend", ()):
        n, name = part.split(" x ") if " x " in part else (1, part)
        paths = sorted(kept_runs.OURS.glob(f"{dataset}_{name}_[0-9]*.json"))
        seconds += int(n) * statistics.mean(json.loads(path.read_text())["train_seconds"] for path in paths)
    return seconds


def short_name(experiment):
    if experiment.model == "Blend":
        n = experiment.flags.split()[1]  # "--blend 5 x stars ease"
        return f"{n} blended" if n.isdigit() else "blended"  # with EASE; longer names meet in the picture
    if "_weights" in experiment.flags:
        more = ", slower" if "n_negatives" in experiment.flags else ""
        return f"{experiment.model}, a weight a star{more}"
    return experiment.model.split(" (")[0]


def published_points(dataset):
    known = [(model, compare.published(dataset, model)) for model in PUBLISHED]
    return [Point(f"{model}, published", run["train_seconds"], run["test"]["recall@20"]) for model, run in known if run]


def draw(axis, dataset):
    axis.set_xscale("log")
    for text, seconds, recall, deviation in points(dataset):
        axis.errorbar(seconds, recall, yerr=deviation or None, fmt="o", color="tab:blue", capsize=3)
        write(axis, text, (seconds, recall), (5, 5), color="tab:blue")
    for text, seconds, recall, _ in published_points(dataset):
        axis.plot(seconds, recall, "*", color="0.25")
        write(axis, text, (seconds, recall), (-5, -3), color="0.25", ha="right")
    axis.set_title(dataset, fontsize=12)
    axis.set_xlabel("seconds of training (ours: one busy core; published: an RTX A6000)")
    axis.set_ylabel("test Recall@20")
    axis.margins(x=0.22, y=0.1)
    axis.grid(alpha=0.3)


def write(axis, text, place, offset, **style):
    axis.annotate(text, place, offset, textcoords="offset points", fontsize=9, **style)


def main(arguments):
    folder = forest.folder_of(arguments, __doc__)
    if folder is None:
        return
    figure = Figure(figsize=(8, 9), dpi=100, layout="constrained")
    for axis, dataset in zip(figure.subplots(2), ("ML-100K", "ML-1M"), strict=True):
        draw(axis, dataset)
    forest.leave({"seconds.png": figure}, folder)


if __name__ == "__main__":
    sys.exit(shell.cli(main, sys.argv[1:]))
