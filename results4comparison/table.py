"""Our own runs as Markdown tables: mean and standard deviation over seeds, and paired tests between the labels.

    python results4comparison/table.py                       print both tables
    python results4comparison/table.py keep RUN_FOLDER NAME  add a finished run to ours/ as NAME, such as rule_2024

Reads ours/<data set>_NAME.json, which are the summary.json files of finished runs, and ours/<data set>_per_user.csv,
the test Recall@20 of every user in each of them.
"""

import json
import shutil
import statistics
import sys
from collections import defaultdict
from itertools import combinations
from pathlib import Path

import compare
import pandas as pd
from scipy.stats import ttest_rel

OURS = compare.HERE / "ours"
METRICS = ("recall@20", "ndcg@20", "precision@20")


def labels(run):
    """What the run was trained on, in words."""
    if run["dataset_augment"] == "original":
        return "none: ratings as they are"
    words = {
        "published": "the authors' Llama-2-7b",
        "rule": "no model: 3s liked, 2s not",
        "random": "no model: every 2 and 3 at random, at the authors' rates",
        "shuffled": "the authors' labels, shuffled",
    }
    mode = "" if run["llm_mode"] in (None, "embed") else f", {run['llm_mode']}"
    return words.get(run["llm"], f"our {run['llm'].split('/')[-1]}{mode}")


def row(*cells):
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def deviation(values):
    return f"{statistics.mean(values):.4f} ± {statistics.stdev(values):.4f}" if len(values) > 1 else f"{values[0]:.4f}"


def kept():
    """{(data set, model, labels): {name of the run: its summary}}"""
    groups = defaultdict(dict)
    for path in sorted(OURS.glob("*.json")):
        run = json.loads(path.read_text(encoding="utf-8"))
        groups[run["dataset"], run["model"], labels(run)][path.stem.removeprefix(f"{run['dataset']}_")] = run
    return groups


def lines():
    metrics = (f"test {metric}" for metric in METRICS)
    yield row("data set", "model", "refined by", "seeds", *metrics, "val recall@20", "best epoch")
    yield row(*["---"] * (6 + len(METRICS)))
    told = set()
    for (dataset, model, label), runs in kept().items():
        reference = compare.published(dataset, model)
        if reference and (dataset, model) not in told:
            told.add((dataset, model))
            figures = [f"{reference['test'][metric]:.4f}" for metric in METRICS]
            validation, best = f"{reference['best_validation_recall@20']:.4f}", reference["best_epoch"]
            yield row(dataset, model, "*published, one run*", 1, *figures, validation, best)
        runs = list(runs.values())
        figures = [deviation([run["test"][metric] for run in runs]) for metric in METRICS]
        validation = deviation([run["validation"]["recall@20"] for run in runs])
        best = f"{min(run['best_epoch'] for run in runs)}-{max(run['best_epoch'] for run in runs)}"
        yield row(dataset, model, label, len(runs), *figures, validation, best)


def paired_lines():
    """Paired t-tests over the users: each user's test Recall@20, averaged over the seeds that both labels have."""
    yield row("test Recall@20 with", "less that with", "seeds", "users", "mean difference", "95 % interval", "p")
    yield row(*["---"] * 7)
    for (first, ours), (second, theirs) in combinations(kept().items(), 2):
        if first[:2] != second[:2]:
            continue
        table = pd.read_csv(OURS / f"{first[0]}_per_user.csv", index_col="user")
        by_seed = [{run["random_seed"]: n for n, run in runs.items() if n in table} for runs in (ours, theirs)]
        seeds = sorted(set(by_seed[0]) & set(by_seed[1]))
        means = [table[[names[seed] for seed in seeds]].mean(axis=1) for names in by_seed]
        test = ttest_rel(*means)
        low, high = test.confidence_interval()
        p = "< 0.0001" if test.pvalue < 1e-4 else f"{test.pvalue:.4f}"
        difference = (means[0] - means[1]).mean()
        yield row(first[2], second[2], len(seeds), len(table), f"{difference:+.4f}", f"{low:+.4f} to {high:+.4f}", p)


def keep(folder, name):
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    shutil.copy(folder / "summary.json", OURS / f"{summary['dataset']}_{name}.json")
    path = OURS / f"{summary['dataset']}_per_user.csv"
    own = pd.read_csv(folder / "per_user.csv", index_col="user")["recall@20"].rename(name).round(4)
    table = pd.read_csv(path, index_col="user") if path.exists() else pd.DataFrame(index=own.index)
    table[name] = own
    table.sort_index(axis=1).to_csv(path, lineterminator="\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["keep"] and len(sys.argv) == 4:
        keep(Path(sys.argv[2]), sys.argv[3])
    else:
        print(*lines(), "", *paired_lines(), sep="\n")
