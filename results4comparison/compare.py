"""Set a run beside the published one.

    python results4comparison/compare.py result/ML-100K/ReFINe++_augment_2024            a finished run
    python results4comparison/compare.py some.log --dataset ML-1M --model ReFINe         any log in the published format

Checks, in this order, and exits with the number of the first that fails:

    3  labels and flags (of a run folder) and header counts (users, items, train, validation, test): the published ones
    4  epoch 1: loss within 0.02 and validation Recall@20 within 0.01 of the published ones
    5  test Recall@20, the metric training is stopped by: not lower than published by more than twice the standard
       deviation of the difference of two single runs (sqrt 2 times that over our own seeds); the other test metrics are
       set beside theirs for information, since twelve correlated tests would fail good runs

0: all hold.  2: the input cannot be used.  The published figures are in published/ (one file of epochs a run, and
runs.json), read off the logs that the ReFINe and ReFINe++ authors published; ours/ holds the summaries of our runs.
"""

import argparse
import json
import re
import statistics
import sys
from pathlib import Path

import pandas as pd

HERE = Path(__file__).parent
COUNTS = ("users", "items", "train", "validation", "test")
UNKNOWN_SPREAD = 0.003  # standard deviation assumed where ours/ has fewer than three seeds of a data set


def published(dataset, model):
    """The published run's figures with its epochs as a DataFrame, or None where nothing was published."""
    run = json.loads((HERE / "published" / "runs.json").read_text()).get(f"{model}_{dataset}")
    return run and run | {"epochs": pd.read_csv(HERE / "published" / f"{model}_{dataset}.csv")}


def spread(dataset, model):
    """{metric: (standard deviation, seeds)} over our runs with the authors' labels kept in ours/."""
    runs = [json.loads(path.read_text()) for path in sorted((HERE / "ours").glob("*.json"))]
    same = lambda r: (r["dataset"], r["model"], r["llm"], r.get("flags") or {}) == (dataset, model, "published", {})  # noqa: E731
    runs = [r["test"] for r in runs if same(r)]
    if len(runs) < 3:
        return {}
    return {name: (statistics.stdev(run[name] for run in runs), len(runs)) for name in runs[0]}


def table(run, reference):
    """Lines that set a run's test metrics beside the published ones.  run: a dict with dataset, model, test."""
    if reference is None:
        return [f"Nothing was published for {run['model']} on {run['dataset']}: no comparison."]
    deviation = spread(run["dataset"], run["model"])
    lines = []
    if run.get("llm", "published") != "published":
        lines += [f"Trained on other labels ({run['llm'] or 'none'}) than the published run: another experiment.", ""]
    lines += [
        "Test metrics, published (one run) / this run / difference / standard deviation over our seeds",
        f"{'':14}{'published':>10}{'this run':>10}{'diff':>10}{'std':>10}",
    ]
    for name, value in run["test"].items():
        if name in reference["test"]:
            was = reference["test"][name]
            std = f"{deviation[name][0]:.4f}" if name in deviation else "unknown"
            lines.append(f"{name:14}{was:>10.4f}{value:>10.4f}{value - was:>+10.4f}{std:>10}")
    return lines


def parse_log(path):
    """A log in the published format (ours is one) -> {"data": counts, "epochs": [...], "test": metrics}."""
    text = Path(path).read_text(encoding="utf-8")
    number = r"[:\s]+(\d+)"
    header = [r"user" + number, r"item" + number, *(rf"{n} inter\w+" + number for n in ("train", "valid", "test"))]
    counts = [re.search(pattern, text) for pattern in header]
    epochs = {}  # a resumed run prints some epochs twice: the last counts
    body, _, final = text.partition("Final Test Results")
    for block in re.split(r"^Epoch: ", body, flags=re.MULTILINE)[1:]:
        epoch, loss = re.match(r"(\d+), Loss: (\S+)", block).groups()
        epochs[int(epoch)] = {"epoch": int(epoch), "loss": float(loss), **_metrics(block)}
    test = _metrics(final)
    if not (all(counts) and epochs and test):
        raise ValueError("it lacks header counts, epochs or final test results; is the run finished?")
    return {
        "data": {name: int(match.group(1)) for name, match in zip(COUNTS, counts, strict=True)},
        "epochs": list(epochs.values()),
        "test": test,
    }


def _metrics(text):
    found = re.findall(r"(Precision|Recall|NDCG)@(\d+):\s*([\d.]+)", text)
    return {f"{name.lower()}@{k}": float(value) for name, k, value in found}


def check(run, reference):
    """[(exit code or 0 for information, passed, what was compared), ...] of a parsed run against the published one."""
    counts = ", ".join(f"{n} {run['data'][n]}/{reference['data'][n]}" for n in COUNTS)
    results = [(3, run["data"] == reference["data"], f"header counts, this/published: {counts}")]
    was, now = reference["epochs"].iloc[0], run["epochs"][0]
    for name, tolerance in (("loss", 0.02), ("recall@20", 0.01)):
        if name in now:  # absent from the log of a run with --evaluation_step above 1
            close = abs(now[name] - was[name]) <= tolerance
            results.append((4, close, f"epoch 1 {name} {now[name]:.4f}, published {was[name]:.4f} +- {tolerance}"))
    deviation = spread(run["dataset"], run["model"])
    for name, was in reference["test"].items():
        if name in run["test"]:  # --top_k may have asked for others
            std, seeds = deviation.get(name, (UNKNOWN_SPREAD, 0))
            least, now = was - 2 * 2**0.5 * std, run["test"][name]
            source = f"{seeds} seeds" if seeds else "assumed"
            text = f"test {name} {now:.4f}, at least {least:.4f} (published {was:.4f}; std {std:.4f}, {source})"
            results.append((5 if name == "recall@20" else 0, now >= least, text))
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run folder, or a log file")
    parser.add_argument("--dataset", help="default: what summary.json of the run folder says")
    parser.add_argument("--model", help="default: what summary.json of the run folder says")
    options = parser.parse_args()
    try:
        log, names, other = options.run, {"dataset": options.dataset, "model": options.model}, ""
        if options.run.is_dir():
            if not (options.run / "summary.json").exists():
                raise ValueError("it has no summary.json; resume it first")
            log, summary = options.run / "log.txt", json.loads((options.run / "summary.json").read_text())
            names = {key: given or summary[key] for key, given in names.items()}
            if (summary["llm"], summary.get("flags") or {}) != ("published", {}):
                other = f"labels {summary['llm'] or 'none'}, flags {summary.get('flags') or 'none'}"
        run = parse_log(log) | names
    except (OSError, ValueError) as error:
        print(f"error: {options.run}: not a finished run or a log ({error})", file=sys.stderr)
        return 2
    reference = published(**names)
    if reference is None:
        print(f"error: nothing published for {names}; give --dataset and --model", file=sys.stderr)
        return 2
    print(*table(run, reference), "", sep="\n")
    results = check(run, reference)
    if other:
        results.insert(0, (3, False, f"another experiment than the published run: {other}"))
    for code, passed, text in results:
        print("ok  " if passed else "FAIL" if code else "low ", text)
    failed = [(code, text) for code, passed, text in results if code and not passed]
    print(f"\nNOT reproduced: {failed[0][1]}" if failed else "\nReproduced.")
    return failed[0][0] if failed else 0


if __name__ == "__main__":
    sys.exit(main())
