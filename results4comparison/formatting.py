"""What the tables are made of: names and figures of runs, tests between runs, Markdown and LaTeX."""

import itertools
import re
import statistics
import textwrap
from collections import defaultdict
from typing import NamedTuple

from options.models import MODELS
from options.refinement import ENOUGH
from options.run_name import flag_words, without_commas
from results4comparison.differences import Measured, holm, paired

METRICS = ("recall@20", "ndcg@20", "precision@20")
TEST_METRICS = [f"test {metric}" for metric in METRICS]
FIGURES = ("seeds", *TEST_METRICS, "val recall@20", "best epoch", "train s")
LISTS = {"coverage@20": "coverage@20", "gini@20": "Gini@20", "popularity@20": "popularity@20"}  # of summary["lists"]
ABOUT_LISTS = "What all lists of 20 items together recommend:"
DIFFERENCE = ("users", "difference", "95 % interval", "p")
NO_DIFFERENCE = [""] * len(DIFFERENCE)
TESTED = (*DIFFERENCE, "p, Holm")
AUTHORS = "the authors' Llama-2-7b"
PROTOCOLS = {
    "hold_out_dislikes": "a fifth of each user's likes and of all dislikes are the test part, at random",
    "hold_out_dislikes_time": "the last fifth of each user's ratings is the test part",
}
SHOWN = {  # of runs of another protocol
    "recall@20": "Recall@20", "likes@20": "likes shown", "dislikes@20": "dislikes shown",
    "dislike_recall@20": "share of dislikes", "dislikes_per_like@20": "dislikes a like", "like_auc": "like AUC",
}  # fmt: skip
WITHOUT_OUR_MODEL = {
    "published": AUTHORS,
    "rule": "no model: 3s liked, 2s not",
    "twos": "no model: 2s not liked, 3s open",
    "random": "no model: every 2 and 3 at random, at the authors' rates",
    "file": "labels as found",
}

LETTERS = re.compile(r"[A-Za-z]{2}")  # in a cell that is text: 1e-05 and "± 0.1" are numbers
LONGEST_TEXT = 22  # columns of a terminal that a cell of text takes where a table is too wide

# ---------------------------------------------------------------------------------------- one run


class Experiment(NamedTuple):
    """What the runs of one row have in common.  They differ in the seed."""

    dataset: str
    model: str
    labels: str
    flags: str
    protocol: str = ""  # of preparation.locate

    @property
    def name(self):
        """The model and its flags."""
        return f"{self.model} {self.flags}".strip()


def labels(run):
    """What the run was trained on, in words.  run: a summary."""
    words = kind_of_labels(run)
    return saw(words) if run.get("labels_saw_dislikes") else words


def saw(words):
    """Labels that were made with the held-out dislikes at hand."""
    return f"{words} (made with the held-out dislikes)"


def kind_of_labels(run):
    """Whose labels, whatever they have seen."""
    if run["dataset_augment"] == "original":
        return "none: ratings as they are"
    if run["llm"] == "shuffled":
        whose = f"labels of {run['shuffled']}" if run.get("shuffled") else "the authors' labels"
        return f"{whose}, shuffled" + (" within users" if run.get("llm_shuffle") == "user" else "")
    if run["llm"] in WITHOUT_OUR_MODEL:
        return WITHOUT_OUR_MODEL[run["llm"]]
    name = f"our {run['llm'].split('/')[-1]}"
    if run["llm_mode"] in (None, "embed"):
        return name
    card = run.get("refinement") or {}
    share = card.get("answered", 1) / max(card.get("candidates", 1), 1)
    # labels of a model that said little are hardly its own
    silent = f" ({share:.0%} answered)" if share < ENOUGH else ""
    return f"{name}, {run['llm_mode']}{silent}"


def flags(run):
    """The flags that make the run another experiment than its model's default."""
    given = dict(run["flags"])
    if "blend" in given:  # older runs name its parts with commas
        given["blend"] = list(map(without_commas, given["blend"]))
    return " ".join(flag_words(given))


def model_name(run):
    """The model; of HNLMRec also who wrote its profiles and made its vectors."""
    made_by = run.get("negatives")
    if not made_by:
        return run["model"]
    writer = "templates" if made_by["writer"] == "template" else made_by["writer"].split("/")[-1]
    return f"{run['model']} ({writer}, {made_by['encoder'].split('/')[-1]})"


def experiment_of(run):
    return Experiment(run["dataset"], model_name(run), labels(run), flags(run), run.get("protocol", ""))


def is_closed(run):
    """Whether nothing in a run is random.  A blend is as random as its parts, of which it does not tell."""
    row = MODELS[run["model"]]
    return run["model"] != "Blend" and row.closed_form and not row.chance


def is_one_seed(runs):
    """Whether a row is of one seed of a trained model."""
    return len(runs) == 1 and not is_closed(next(iter(runs.values())))


def lets_dislikes_count(run):
    """Whether dislikes count against items in a model: kappa, stars that weigh less than nothing, rejection."""
    flags = run["flags"]
    return bool(flags.get("kappa") or flags.get("rejection") or min(flags.get("ease_weights", [0])) < 0)


def measured(users, run):
    """Measured of one row.  users: (users, seeds).  run: one of its summaries."""
    return Measured(users, is_closed(run))


def mean_recall(runs):
    return statistics.mean(run["test"]["recall@20"] for run in runs)


# ---------------------------------------------------------------------------------------- figures


def figures(runs):
    """Cells under FIGURES of the runs of one row: summaries that differ in the seed."""
    cells = [str(len(runs))]  # the seeds
    for metric in METRICS:
        cells.append(deviation([run["test"][metric] for run in runs]))
    cells.append(deviation([run["validation"]["recall@20"] for run in runs]))
    cells.append(span([run["best_epoch"] for run in runs]))
    seconds = statistics.mean(run["train_seconds"] for run in runs)
    cells.append(f"{seconds:.0f}")
    return cells


def figures_of_lists(runs):
    """Cells under LISTS of the runs of one row; empty where one is of a version that did not measure them."""
    cells = []
    for name in LISTS:
        values = [run.get("lists", {}).get(name) for run in runs]
        cells.append(deviation(values, digits=1 if name == "popularity@20" else 4))
    return cells


def shown_figures(summaries):
    """Cells under SHOWN."""
    return [deviation([run["test"][metric] for run in summaries]) for metric in SHOWN]


def deviation(values, digits=4):
    """A cell: the mean ± the standard deviation of the runs of a row; empty where one lacks the figure."""
    if None in values:
        return ""
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{statistics.mean(values):.{digits}f} ± {statistics.stdev(values):.{digits}f}"


def span(values):
    if min(values) == max(values):
        return f"{values[0]}"
    return f"{min(values)}-{max(values)}"


def published_figures(reference):
    """Cells under FIGURES of a published run, for compare.published()."""
    cells = ["1"]  # seed
    for metric in METRICS:
        cells.append(f"{reference['test'][metric]:.4f}")
    cells.append(f"{reference['best_validation_recall@20']:.4f}")
    cells.append(str(reference["best_epoch"]))
    cells.append(f"{reference['train_seconds']:.0f}")
    return cells


# ------------------------------------------------------------------------------------------ tests


def shown(found):
    """Cells under DIFFERENCE of a Difference, empty ones of None."""
    if found is None:
        return NO_DIFFERENCE
    interval = "" if found.low is None else f"{found.low:+.4f} to {found.high:+.4f}"
    return [str(found.users), f"{found.mean:+.4f}", interval, p_value(found.p)]


def tested(families):
    """Rows of cells under TESTED, of [(family, Difference or None), ...]: p by Holm's method within each family."""
    places = defaultdict(list)
    for place, (family, found) in enumerate(families):
        if found is not None:
            places[family].append(place)
    adjusted = [None] * len(families)
    for own in places.values():
        for place, p in zip(own, holm([families[place][1].p for place in own]), strict=True):
            adjusted[place] = p
    return [[*shown(found), p_value(p)] for (_, found), p in zip(families, adjusted, strict=True)]


def p_value(p):
    if p is None:
        return ""
    return "< 0.0001" if p < 1e-4 else f"{p:.4f}"


def best_two(models):
    """Cells of the best and the second best of [(model, Measured)], and of their difference."""
    by_mean = sorted(models, key=lambda pair: -pair[1].users.mean(axis=1).mean())
    (first, ours), (second, theirs) = by_mean[:2]
    return [first, second, *shown(paired(ours, theirs))]


# ----------------------------------------------------------------------------------------- layout


def markdown(header, rows):
    """Lines of the table without the columns that are empty in every row; none without rows."""
    if not rows:
        return []
    header, *rows = without_empty(header, rows)
    lines = []
    for row in (header, ["---"] * len(header), *rows):
        lines.append(f"| {' | '.join(row)} |")
    return lines


def fitted(lines, width):
    """Lines of text and Markdown tables, fitted to the columns of a terminal: (lines, whether a column was left out).

    Long names are wrapped.  Of a table that is still too wide the last columns are left out.
    """
    found, cut = [], False
    for is_table, block in itertools.groupby(lines, lambda line: line.startswith("| ")):
        block = list(block)
        if is_table and max(map(len, block)) > width:
            header, _, *rows = (line[2:-2].split(" | ") for line in block)
            narrower, left_out = narrow([header, *rows], width)
            found, cut = found + narrower, cut or left_out
        elif is_table:
            found += block
        else:
            found += [part for line in block for part in textwrap.wrap(line, width) or [""]]
    return found, cut


def narrow(rows, width):
    """(lines of aligned columns within this width, whether a column was left out).  rows: lists of cells, first the
    header."""
    texts = {place for place in range(len(rows[0])) if any(LETTERS.search(row[place]) for row in rows[1:])}
    wrapped = []  # rows of cells of lines
    for row in rows:
        cells = [
            textwrap.wrap(cell, LONGEST_TEXT if place in texts else width, break_on_hyphens=False) or [""]
            for place, cell in enumerate(row)
        ]
        wrapped.append(cells)
    widths = [max(len(line) for row in wrapped for line in row[place]) for place in range(len(rows[0]))]
    ends = list(itertools.accumulate(widths, lambda end, own: end + 2 + own))  # two spaces between columns
    kept = sum(end <= width for end in ends)
    lines = []
    for row in wrapped:
        for parts in itertools.zip_longest(*row[:kept], fillvalue=""):
            lines.append("  ".join(part.ljust(own) for part, own in zip(parts, widths, strict=False)).rstrip())
        if row is wrapped[0]:
            lines.append("  ".join("-" * own for own in widths[:kept]))
    return lines, kept < len(widths)


def latex(header, rows):
    """The same as a tabular in the style of booktabs."""
    if not rows:
        return []
    header, *rows = without_empty(header, rows)
    begin = rf"\begin{{tabular}}{{{'l' * len(header)}}}"
    head = [r"\toprule", latex_row(header), r"\midrule"]
    body = map(latex_row, rows)
    return [begin, *head, *body, r"\bottomrule", r"\end{tabular}"]


def latex_row(cells):
    escaped = {"&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "±": r"$\pm$", "<": "$<$"}
    # Markdown's italics are left out, and the two hyphens of a flag must not become a dash.
    escaped |= {"*": "", "--": r"{-}{-}"}
    for plain, tex in escaped.items():
        cells = [cell.replace(plain, tex) for cell in cells]
    return rf"{' & '.join(cells)} \\"


def without_empty(header, rows):
    """Header and rows, in one list, of the columns that hold something."""
    kept = []
    for column in range(len(header)):
        if any(row[column] for row in rows):
            kept.append(column)
    return [[row[column] for column in kept] for row in (header, *rows)]
