"""Runs as tables: mean and standard deviation over seeds, and tests over users and seeds.

    python results4comparison/table.py headline     one row a system on ML-100K, for the front page
    python results4comparison/table.py systems      ReFINe++ and the systems it is compared with
    python results4comparison/table.py beyond       what goes beyond the published result
    python results4comparison/table.py labels       ReFINe++ trained on other labels, all compared
    python results4comparison/table.py ablations    ReFINe++ with parts left out or exchanged
    python results4comparison/table.py precision    ReFINe++ in float32 and in bfloat16
    python results4comparison/table.py negatives    HNLMRec and the samplers (hard_negatives.py)
    python results4comparison/table.py dislikes     all models with dislikes held out (held_out.py)
    python results4comparison/table.py negative     CoNRec, which predicts dislikes (conrec_tables.py)
    python results4comparison/table.py keep RUN_FOLDER NAME
    python results4comparison/table.py result/ML-100K/*

The first seven read ours/<data set>_NAME.json, which are the summary.json files of finished runs,
and ours/<data set>_per_user.csv, which holds the test Recall@20 of every user in each of them.
`keep` adds a finished run to them as NAME, such as rule_2024.

The last is of your own runs: those that differ in the seed alone make a row, and the best two rows
of each data set are tested against each other.  study.py ends with the same tables.
"""

import itertools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from machine import shell
from results4comparison import after_like, conrec_tables, finished_runs, hard_negatives, held_out, kept_runs
from results4comparison.formatting import (
    AUTHORS,
    FIGURES,
    TESTED,
    experiment_of,
    flags,
    labels,
    markdown,
    tested,
)

# what each table of kept runs sets its experiments against, by what that differs in from them
SYSTEM = {"model": "ReFINe++", "labels": AUTHORS, "flags": ""}
# Most ablations leave the autoencoders out, too: they take most of the time, and what they change
# does not show.
ABLATION = {"flags": "--no_autoencoder"}
# What ends on ML-1M within minutes, where a run at the defaults takes hours.
QUICK = held_out.QUICK["ML-1M"]
# The flags at which labels are compared, by data set; else the defaults.
LABELS = {"ML-1M": {"no_autoencoder": True, **QUICK}}
# The flags at which float32 and bfloat16 are compared, in the order of --help, as summaries have them.
PRECISION = held_out.QUICK["ML-100K"]

# ------------------------------------------------------------------------------------ which runs


def without(run, flag):
    """The flags of a summary but one."""
    return {name: value for name, value in run["flags"].items() if name != flag}


def is_system(run):
    """ReFINe++ as published, on the ratings as they are or in large batches, or another model with whatever flags.

    HNLMRec without any, and no other --sampler: they have a table of their own.
    """
    if run["model"] not in ("ReFINe++", "HNLMRec", "Blend"):
        return "sampler" not in run["flags"]
    if run["flags"]:
        return run["llm"] == "rule" and without(run, "no_autoencoder") == QUICK
    return run["dataset_augment"] == "original" or labels(run) == AUTHORS


def is_headline(run):
    return run["dataset"] == "ML-100K" and (is_chosen_system(run) or run["flags"].get("kappa"))


def is_chosen_system(run):
    """A system at its defaults, or at the flags chosen for it on validation."""
    if not is_system(run):
        return False
    if run["model"] in ("ReFINe", "ReFINe++"):
        return labels(run) == AUTHORS and not run["flags"]
    if run["model"] == "EASE" and run["flags"] and "ease_words" not in run["flags"]:
        return False  # steps on the way to these
    return run["dataset_augment"] == "original"


def is_beyond(run):
    """Stars weighted, alone or blended; and what these are set against."""
    if run["model"] == "Blend" or "star_weights" in run["flags"]:
        return True
    experiment = experiment_of(run)
    return experiment == experiment._replace(**SYSTEM) or (is_chosen_system(run) and "ease_words" in run["flags"])


def is_about_labels(run):
    return run["model"] == "ReFINe++" and run["flags"] == LABELS.get(run["dataset"], {})


def is_about_precision(run):
    return run["model"] == "ReFINe++" and without(run, "precision") == PRECISION


def is_ablation(run):
    return run["model"] == "ReFINe++" and labels(run) == AUTHORS


# ------------------------------------------------------------------------------------ the tables


def against(wanted, models, reference=None):
    """Lines of a table of the kept runs and of the published ones of these models, the best last.

    reference: what another experiment of the data set has else (fields of an Experiment), with which each is
    compared, under TESTED.
    """
    groups = kept_runs.experiments(wanted)
    datasets = sorted({experiment.dataset for experiment in groups})
    rows = kept_runs.published_rows(datasets, models)
    for experiment, runs in groups.items():
        base = None
        if reference:
            base = groups.get(experiment._replace(**reference))
        rows.append(kept_runs.row_of(experiment, runs, base))
    return markdown(["data set", "model", "refined by", *FIGURES, *TESTED], kept_runs.with_tests(rows))


def beyond():
    """Lines of a table against ReFINe++, and of one against the linear model alone."""
    groups, rows, found = kept_runs.experiments(is_beyond), [], []
    linear = {experiment.dataset: runs for experiment, runs in groups.items() if experiment.model == "EASE"}
    for experiment, runs in groups.items():
        theirs = linear.get(experiment.dataset)
        if theirs and experiment.model != "EASE":
            rows.append([experiment.dataset, experiment.name])
            found.append((experiment.dataset, kept_runs.difference(experiment.dataset, runs, theirs)))
    rows = [[*row, *cells] for row, cells in zip(rows, tested(found), strict=True)]
    header = ["data set", "test Recall@20 of", "users", "less EASE's", *TESTED[2:]]
    return [*against(is_beyond, ("ReFINe++",), SYSTEM), "", *markdown(header, rows)]


def headline():
    """Lines of a short table: a system, its labels, what it reaches at what cost, and what it shows of dislikes where
    these are held out."""
    header = ["model", "labels", "seeds", "test Recall@20", "test NDCG@20", "dislikes shown", "train seconds"]
    rows = kept_runs.published_rows(["ML-100K"], ("ReFINe", "ReFINe++"))
    with_dislikes = kept_runs.experiments(lambda run: run["dataset"] == "ML-100K", "hold_out_dislikes")
    for experiment, runs in kept_runs.experiments(is_headline).items():
        row = kept_runs.row_of(experiment, runs, None)
        shown = held_out.dislikes_of(with_dislikes, experiment, next(iter(runs.values())))
        rows.append(row._replace(cells=[*row.cells, shown]))
    lines = []
    for row in sorted(rows):
        model, refined_by, seeds, recall, ndcg, _, _, _, seconds, *shown = row.cells
        lines.append([model, refined_by.removeprefix("none: "), seeds, recall, ndcg, *(shown or [""]), seconds])
    return markdown(header, lines)


def lists(wanted):
    """Lines of a table of what the lists of kept runs recommend, none where no run is new enough to tell."""
    rows = []
    for experiment, runs in kept_runs.experiments(wanted).items():
        rows.append(finished_runs.Row(experiment.dataset, experiment.name, list(runs.values()), []))
    return ["", *finished_runs.lines_of(finished_runs.tables_of_lists(rows), markdown)][:-1]


def pairs(wanted):
    """Lines of a table of the differences between each two rows of kept runs of a data set."""
    rows, found = [], []
    for (first, ours), (second, theirs) in itertools.combinations(kept_runs.experiments(wanted).items(), 2):
        # Users of different data sets cannot be paired, and models are compared in other tables.
        if (first.dataset, first.model) != (second.dataset, second.model):
            continue
        rows.append([first.dataset, first.labels, second.labels])
        found.append((first.dataset, kept_runs.difference(first.dataset, ours, theirs)))
    rows = [[*row, *cells] for row, cells in zip(rows, tested(found), strict=True)]
    rows.sort(key=lambda row: row[0])
    return markdown(["data set", "test Recall@20 with", "less that with", *TESTED], rows)


def main(arguments):
    if not arguments or shell.wants_help(arguments):
        return shell.print_help(__doc__)
    match arguments:
        case ["keep", folder, name]:
            return kept_runs.add(Path(folder), name)
        case ["headline"]:
            lines = headline()
        case ["systems"]:
            lines = [*against(is_system, ("ReFINe", "ReFINe++"), SYSTEM), *lists(is_system)]
        case ["beyond"]:
            lines = beyond()
        case ["labels"]:
            lines = [*against(is_about_labels, ("ReFINe++",)), "", *pairs(is_about_labels)]
        case ["ablations"]:
            lines = against(is_ablation, (), ABLATION)
        case ["precision"]:
            lines = against(is_about_precision, (), {"flags": flags({"flags": PRECISION})})
        case ["negatives"]:
            lines = hard_negatives.lines()
        case ["dislikes"]:
            lines = held_out.lines()
        case ["negative"]:
            lines = [*conrec_tables.lines(), "", *after_like.lines()]
        case paths:
            lines = finished_runs.table(list(map(Path, paths)))
    print(*lines, sep="\n")


if __name__ == "__main__":
    sys.exit(shell.cli(main, sys.argv[1:]))
