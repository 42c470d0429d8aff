"""Our own runs as a Markdown table: mean and standard deviation over seeds, the published figure above.

    python results4comparison/table.py

Reads ours/*.json, which are the summary.json files of finished runs, copied there.
"""

import json
import statistics
from collections import defaultdict

import compare

METRICS = ("recall@20", "ndcg@20", "precision@20")


def labels(run):
    """What the run was trained on, in words."""
    if run["dataset_augment"] == "original":
        return "none: ratings as they are"
    return "the authors' Llama-2-7b" if run["llm"] == "published" else f"our {run['llm'].split('/')[-1]}"


def row(*cells):
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def deviation(values):
    return f"{statistics.mean(values):.4f} ± {statistics.stdev(values):.4f}" if len(values) > 1 else f"{values[0]:.4f}"


def lines():
    groups = defaultdict(list)
    for path in sorted((compare.HERE / "ours").glob("*.json")):
        run = json.loads(path.read_text(encoding="utf-8"))
        groups[run["dataset"], run["model"], labels(run)].append(run)
    metrics = (f"test {metric}" for metric in METRICS)
    yield row("data set", "model", "refined by", "seeds", *metrics, "val recall@20", "best epoch")
    yield row(*["---"] * (6 + len(METRICS)))
    told = set()
    for (dataset, model, label), runs in groups.items():
        reference = compare.published(dataset, model)
        if reference and (dataset, model) not in told:
            told.add((dataset, model))
            figures = [f"{reference['test'][metric]:.4f}" for metric in METRICS]
            validation, best = f"{reference['best_validation_recall@20']:.4f}", reference["best_epoch"]
            yield row(dataset, model, "*published, one run*", 1, *figures, validation, best)
        figures = [deviation([run["test"][metric] for run in runs]) for metric in METRICS]
        validation = deviation([run["validation"]["recall@20"] for run in runs])
        best = f"{min(run['best_epoch'] for run in runs)}-{max(run['best_epoch'] for run in runs)}"
        yield row(dataset, model, label, len(runs), *figures, validation, best)


if __name__ == "__main__":
    print(*lines(), sep="\n")
