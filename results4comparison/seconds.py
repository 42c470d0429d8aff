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
from matplotlib.transforms import Bbox

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from machine import shell
from results4comparison import compare, forest, kept_runs, table

PUBLISHED = ("ReFINe", "ReFINe++")
RADIUS = 5  # pixels of a point
SIDES = [  # where a name may stand beside its point: offset in points of print, alignment
    (6, 4, "left", "bottom"), (6, -4, "left", "top"), (-6, 4, "right", "bottom"), (-6, -4, "right", "top"),
    (7, 0, "left", "center"), (-7, 0, "right", "center"), (0, 8, "center", "bottom"), (0, -8, "center", "top"),
    (9, 14, "left", "bottom"), (9, -14, "left", "top"), (-9, 14, "right", "bottom"), (-9, -14, "right", "top"),
    (0, 18, "center", "bottom"), (0, -18, "center", "top"),
]  # fmt: skip


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
    """Draw the points; returns [(Point, colour)] of those whose names are to be written (write_names)."""
    axis.set_xscale("log")
    named = []
    for point in points(dataset):
        axis.errorbar(*point[1:3], yerr=point.deviation or None, fmt="o", color="tab:blue", capsize=3)
        named.append((point, "tab:blue"))
    for point in published_points(dataset):
        axis.plot(*point[1:3], "*", color="0.25")
        named.append((point, "0.25"))
    axis.set_title(dataset, fontsize=12)
    axis.set_xlabel("seconds of training (ours: one busy core; published: an RTX A6000)")
    axis.set_ylabel("test Recall@20")
    axis.margins(x=0.22, y=0.1)
    axis.grid(alpha=0.3)
    return named


def write_names(axis, named):
    """Write each name beside its point, where it lies on no other name, point or bar; returns the texts.

    named: of draw.  To be called when the layout is settled.  The first side that is free is taken, or else the one
    where least is hidden.  Points near others choose first: they have the fewest free sides.
    """
    taken = [box_of(axis, point) for point, _ in named]
    inside, written = axis.get_window_extent(), []
    for place in sorted(range(len(named)), key=lambda place: nearest(taken, place)):
        point, colour = named[place]
        others = taken[:place] + taken[place + 1 :]
        best = None
        for x, y, side, level in SIDES:
            style = {"ha": side, "va": level, "fontsize": 9, "color": colour, "textcoords": "offset points"}
            text = axis.annotate(point.text, point[1:3], (x, y), **style)
            box = text.get_window_extent()
            hidden = sum(overlap(box, other) for other in others) + outside(box, inside)
            if best is None or hidden < best[0]:
                if best:
                    best[1].remove()
                best = hidden, text, box
            else:
                text.remove()
        written.append(best[1])
        taken.append(best[2])
    return written


def box_of(axis, point):
    """What a point and its bar cover, in pixels."""
    ends = [(point.seconds, point.recall + sign * point.deviation) for sign in (-1, 1)]
    (x, low), (_, high) = axis.transData.transform(ends)
    return Bbox([[x - RADIUS, low - RADIUS], [x + RADIUS, high + RADIUS]])


def nearest(boxes, place):
    """Pixels from the middle of a box to that of the next one."""
    centre = boxes[place].get_points().mean(0)
    return min(abs(box.get_points().mean(0) - centre).sum() for box in boxes if box is not boxes[place])


def overlap(box, other):
    """Square pixels that two boxes share."""
    shared = Bbox.intersection(box, other)
    return shared.width * shared.height if shared else 0


def outside(box, inside):
    """Square pixels of a box beyond another."""
    return box.width * box.height - overlap(box, inside)


def picture():
    """(figure, {axis: texts of the names on it}): an axis for each data set."""
    figure = Figure(figsize=(8, 9), dpi=100, layout="constrained")
    axes = dict(zip(figure.subplots(2), ("ML-100K", "ML-1M"), strict=True))
    named = {axis: draw(axis, dataset) for axis, dataset in axes.items()}
    figure.draw_without_rendering()  # settles the layout
    return figure, {axis: write_names(axis, of_axis) for axis, of_axis in named.items()}


def main(arguments):
    folder = forest.folder_of(arguments, __doc__)
    if folder is None:
        return
    figure, _ = picture()
    forest.leave({"seconds.png": figure}, folder)


if __name__ == "__main__":
    sys.exit(shell.cli(main, sys.argv[1:]))
