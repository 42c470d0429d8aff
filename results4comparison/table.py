"""Runs as tables: mean and standard deviation over seeds, and paired tests over users.

    python results4comparison/table.py systems       ReFINe++ and the systems it is compared with
    python results4comparison/table.py labels        ReFINe++ trained on other labels, and tests of each against each
    python results4comparison/table.py ablations     ReFINe++ with parts left out or exchanged
    python results4comparison/table.py keep RUN_FOLDER NAME      add a finished run to ours/ as NAME, such as rule_2024

Reads ours/<data set>_NAME.json, which are the summary.json files of finished runs, and ours/<data set>_per_user.csv,
the test Recall@20 of every user in each of them.  study.py makes its table with the functions of this file.
"""

import itertools
import json
import shutil
import statistics
import sys
from collections import defaultdict
from pathlib import Path

import pandas as pd
from scipy.stats import ttest_rel

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from results4comparison import compare

OURS = compare.HERE / "ours"
METRICS = ("recall@20", "ndcg@20", "precision@20")
FIGURES = ("seeds", *(f"test {metric}" for metric in METRICS), "val recall@20", "best epoch", "train s")
DIFFERENCE = ("users", "difference", "95 % interval", "p")
AUTHORS = "the authors' Llama-2-7b"


def labels(run):
    """What the run was trained on, in words."""
    if run["dataset_augment"] == "original":
        return "none: ratings as they are"
    words = {
        "published": AUTHORS,
        "rule": "no model: 3s liked, 2s not",
        "random": "no model: every 2 and 3 at random, at the authors' rates",
        "shuffled": "the authors' labels, shuffled",
    }
    mode = "" if run["llm_mode"] in (None, "embed") else f", {run['llm_mode']}"
    return words.get(run["llm"], f"our {run['llm'].split('/')[-1]}{mode}")


def flags(run):
    """The flags that make the run another experiment than its model's default."""
    words = (f"--{name} {' '.join(map(str, v)) if isinstance(v, list) else v}" for name, v in run["flags"].items())
    return " ".join(words).replace(" True", "")


def deviation(values):
    return f"{statistics.mean(values):.4f} ± {statistics.stdev(values):.4f}" if len(values) > 1 else f"{values[0]:.4f}"


def span(values):
    return f"{min(values)}-{max(values)}" if min(values) < max(values) else f"{values[0]}"


def figures(runs):
    """Cells under FIGURES of the runs of one row: summaries that differ in the seed."""
    yield str(len(runs))
    yield from (deviation([run["test"][metric] for run in runs]) for metric in METRICS)
    yield deviation([run["validation"]["recall@20"] for run in runs])
    yield span([run["best_epoch"] for run in runs])
    yield f"{statistics.mean(run['train_seconds'] for run in runs):.0f}"


def published_figures(reference):
    """Cells under FIGURES of a published run, for compare.published()."""
    yield "1"
    yield from (f"{reference['test'][metric]:.4f}" for metric in METRICS)
    yield from (f"{reference['best_validation_recall@20']:.4f}", str(reference["best_epoch"]))
    yield f"{reference['train_seconds']:.0f}"


def difference(ours, theirs):
    """Cells under DIFFERENCE: mean over users of ours - theirs, by a two-sided paired t-test.  ours, theirs: test
    Recall@20, one row a user and one column a seed, of which each user's mean is taken; users of both count (a user may
    lack a test row where only some labels make an edge of the item)."""
    means = ours.mean(axis=1).align(theirs.mean(axis=1), join="inner")
    yield str(len(means[0]))
    test = ttest_rel(*means)
    low, high = test.confidence_interval()
    yield f"{(means[0] - means[1]).mean():+.4f}"
    yield f"{low:+.4f} to {high:+.4f}"
    yield "< 0.0001" if test.pvalue < 1e-4 else f"{test.pvalue:.4f}"


def markdown(header, rows):
    return [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows)]


def latex(header, rows):
    """A tabular in the style of booktabs."""
    escaped = {"&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "±": r"$\pm$", "<": "$<$", "*": "", "--": r"{-}{-}"}

    def line(cells):
        for plain, tex in escaped.items():
            cells = [cell.replace(plain, tex) for cell in cells]
        return rf"{' & '.join(cells)} \\"

    body = [line(header), r"\midrule", *map(line, rows)]
    return [rf"\begin{{tabular}}{{{'l' * len(header)}}}", r"\toprule", *body, r"\bottomrule", r"\end{tabular}"]


def kept(wanted):
    """{(data set, model, labels, flags): {name of the run: summary}} of the runs in ours/ for which wanted(summary)."""
    groups = defaultdict(dict)
    for path in sorted(OURS.glob("*.json")):
        run = {"flags": {}} | json.loads(path.read_text(encoding="utf-8"))
        if wanted(run):
            name = path.stem.removeprefix(f"{run['dataset']}_")
            groups[run["dataset"], run["model"], labels(run), flags(run)][name] = run
    return groups


def recalls(dataset, runs):
    """(users, runs) test Recall@20 of kept runs; two of the oldest lack it."""
    table = pd.read_csv(OURS / f"{dataset}_per_user.csv", index_col="user")
    return table[[name for name in runs if name in table]]


def against(wanted, models, reference=None):
    """Lines of a table of the kept runs and of the published ones of these models, the best last.  reference: (model,
    labels, flags); DIFFERENCE is then that of each row and this row of its data set."""
    groups, rows = kept(wanted), []
    for dataset, model in itertools.product(sorted({key[0] for key in groups}), models):
        if known := compare.published(dataset, model):
            cells = [f"{model}, *published*", AUTHORS, *published_figures(known), *[""] * len(DIFFERENCE)]
            rows.append((dataset, known["test"]["recall@20"], cells))
    for (dataset, model, label, flag), runs in groups.items():
        base = groups.get((dataset, *(reference or ())))
        same = base is None or base is runs
        less = [""] * len(DIFFERENCE) if same else difference(recalls(dataset, runs), recalls(dataset, base))
        recall = statistics.mean(run["test"]["recall@20"] for run in runs.values())
        rows.append((dataset, recall, [f"{model} {flag}".strip(), label, *figures(list(runs.values())), *less]))
    columns = ["data set", "model", "refined by", *FIGURES, *(DIFFERENCE if reference else ())]
    return markdown(columns, [[dataset, *cells][: len(columns)] for dataset, _, cells in sorted(rows)])


def pairs(wanted):
    """Lines of a table of the differences between each two rows of kept runs."""
    rows = []
    for (first, ours), (second, theirs) in itertools.combinations(kept(wanted).items(), 2):
        if first[:2] == second[:2]:
            table = [recalls(first[0], runs) for runs in (ours, theirs)]
            rows.append([first[2], second[2], *difference(*table)])
    return markdown(["test Recall@20 with", "less that with", *DIFFERENCE], rows)


def keep(folder, name):
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    shutil.copy(folder / "summary.json", OURS / f"{summary['dataset']}_{name}.json")
    path = OURS / f"{summary['dataset']}_per_user.csv"
    own = pd.read_csv(folder / "per_user.csv", index_col="user")["recall@20"].rename(name).round(4)
    table = pd.read_csv(path, index_col="user") if path.exists() else pd.DataFrame(index=own.index)
    table[name] = own
    table.sort_index(axis=1).to_csv(path, lineterminator="\n")


def main(arguments):
    match arguments:
        case ["keep", folder, name]:
            return keep(Path(folder), name)
        case ["systems"]:
            plain = lambda run: run["dataset_augment"] == "original" or labels(run) == AUTHORS  # noqa: E731
            wanted = lambda run: run["model"] != "ReFINe++" or (plain(run) and not run["flags"])  # noqa: E731
            lines = against(wanted, ("ReFINe", "ReFINe++"), ("ReFINe++", AUTHORS, ""))
        case ["labels"]:
            wanted = lambda run: run["model"] == "ReFINe++" and not run["flags"]  # noqa: E731
            lines = [*against(wanted, ("ReFINe++",)), "", *pairs(wanted)]
        case ["ablations"]:
            wanted = lambda run: run["model"] == "ReFINe++" and labels(run) == AUTHORS  # noqa: E731
            # Most ablations leave the autoencoders out, too, which take most of the time and change nothing that shows.
            lines = against(wanted, (), ("ReFINe++", AUTHORS, "--no_autoencoder"))
        case _:
            print(__doc__)
            return 2
    print(*lines, sep="\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
