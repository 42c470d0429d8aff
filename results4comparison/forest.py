"""Forest plots of the kept runs: what each row of `table.py labels` and `ablations` is worth.

    python results4comparison/forest.py FOLDER      writes labels.png and ablations.png there
    python results4comparison/forest.py docs        those of the documentation

A line is the difference in test Recall@20 to a reference, of the same data set, with its 95 %
interval over users and seeds, as in table.py; a pale point is one seed, of which none is known.
"""

import sys
import textwrap
from pathlib import Path

from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from machine import shell
from results4comparison import kept_runs, table
from utils import InputError, write_atomically

AS_THEY_ARE = {"labels": "none: ratings as they are"}  # else the same experiment


def differences(wanted, reference):
    """[(dataset, Experiment, differences.Difference)] of kept runs less those of the reference, the best last.

    wanted: of a summary, whether it belongs here.  reference: as of table.against.
    """
    groups = kept_runs.experiments(wanted)
    found = []
    for experiment, runs in groups.items():
        base = groups.get(experiment._replace(**reference))
        if base is None or base is runs:
            continue
        found.append((experiment.dataset, experiment, kept_runs.difference(experiment.dataset, runs, base)))
    return sorted(found, key=lambda row: (row[0], row[2].mean))


def plot(lines, title):
    """A figure of [(text, differences.Difference), ...], the first at the bottom, 800 pixels wide."""
    figure = Figure(figsize=(8, 1.3 + 0.36 * len(lines)), dpi=100, layout="constrained")
    axis = figure.add_subplot()
    axis.axvline(0, color="0.6", lw=1)
    for place, (_, difference) in enumerate(lines):
        if difference.low is None:  # one seed
            axis.errorbar(difference.mean, place, fmt="o", color="0.75")
            continue
        arms = [[difference.mean - difference.low], [difference.high - difference.mean]]
        clear = difference.low > 0 or difference.high < 0  # the interval is on one side of zero
        color = "tab:blue" if clear else "0.45"
        axis.errorbar(difference.mean, place, xerr=arms, fmt="o", color=color, capsize=3)
    texts = [textwrap.fill(text, 36) for text, _ in lines]
    axis.set_yticks(range(len(lines)), texts, fontsize=11)
    axis.set_ylim(-0.6, len(lines) - 0.4)
    axis.set_xlabel("difference in test Recall@20, mean over users with 95 % interval")
    axis.grid(axis="x", alpha=0.3)
    figure.suptitle(title, fontsize=12)
    return figure


def named(rows, name):
    """Lines for plot(), the data set named where there are several.  name: text of an Experiment."""
    several = len({dataset for dataset, _, _ in rows}) > 1
    lines = []
    for dataset, experiment, difference in rows:
        text = f"{dataset}: {name(experiment)}" if several else name(experiment)
        lines.append((text, difference))
    return lines


def folder_of(arguments, doc):
    """The folder that the command line names; None where the program's help is printed instead, its docstring.

    Raises InputError for anything else.
    """
    if not arguments or shell.wants_help(arguments):
        return shell.print_help(doc)
    folder = Path(arguments[0])
    if len(arguments) > 1 or not folder.is_dir():
        raise InputError(f"{' '.join(arguments)}: expected one folder, which is there, to write pictures into")
    return folder


def leave(pictures, folder):
    """Write {name: figure} into a folder."""
    for name, figure in pictures.items():
        path = folder / name
        write_atomically(path, lambda p, figure=figure: figure.savefig(p, format="png"))
        print(path)


def main(arguments):
    folder = folder_of(arguments, __doc__)
    if folder is None:
        return
    rows = differences(table.is_about_labels, AS_THEY_ARE)
    labels = named(rows, lambda experiment: experiment.labels)
    rows = differences(table.is_ablation, table.ABLATION)
    parts = named(rows, lambda experiment: experiment.flags or "as published (with autoencoders)")
    pictures = {
        "labels.png": plot(labels, "ReFINe++ on refined ratings, less ReFINe++ on the ratings as they are"),
        "ablations.png": plot(parts, f"ReFINe++ with these flags, less ReFINe++ {table.ABLATION['flags']}"),
    }
    leave(pictures, folder)


if __name__ == "__main__":
    sys.exit(shell.cli(main, sys.argv[1:]))
