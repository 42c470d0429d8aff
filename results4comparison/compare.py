"""Set a run beside the published one.

    python results4comparison/compare.py result/ML-100K/ReFINe++_2024
    python results4comparison/compare.py some.log --dataset ML-1M --model ReFINe

The first is a finished run, the second any log in the published format.

Another experiment than the published one is not compared: other labels or flags (of a run folder),
or other header counts (users, items, train, validation, test).  They are named, and the exit code
is 3.  Else it checks, in this order, and exits with the number of the first that fails:

    4  epoch 1: loss within 0.02 and validation Recall@20 within 0.01 of the published ones
    5  test Recall@20, the metric training is stopped by: not lower than published by more than
       twice the standard deviation of the difference of two single runs, which is sqrt 2 times
       that over our own seeds.  The table above the checks has the other test metrics, which are
       not checked, since twelve correlated tests would fail good runs.

0: all hold.  2: the input cannot be used.

The published figures are in published/ (one file of epochs a run, and runs.json), read off the logs
that the ReFINe and ReFINe++ authors published.  ours/ holds the summaries of our runs.
"""

import argparse
import json
import re
import statistics
import sys
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from machine import shell
from options.run_name import flag_words

HERE = Path(__file__).parent
NUMBER = r"[:\s]+(\d+)"
COUNTS = {  # in the header of a log
    "users": "user" + NUMBER,
    "items": "item" + NUMBER,
    "train": r"train inter\w+" + NUMBER,
    "validation": r"valid inter\w+" + NUMBER,
    "test": r"test inter\w+" + NUMBER,
}
UNKNOWN_SPREAD = 0.003  # standard deviation assumed where ours/ has fewer than three seeds

# ---------------------------------------------------------------------------------- what is known


def published(dataset, model):
    """The published run's figures with its epochs as a DataFrame, or None."""
    run = json.loads((HERE / "published" / "runs.json").read_text()).get(f"{model}_{dataset}")
    if run is None:
        return None
    return run | {"epochs": pd.read_csv(HERE / "published" / f"{model}_{dataset}.csv")}


def measure_spread(dataset, model):
    """{metric: (standard deviation, seeds)} over our runs with the authors' labels in ours/."""
    tests = []
    for path in sorted((HERE / "ours").glob("*.json")):
        run = json.loads(path.read_text())
        if (run["dataset"], run["model"]) == (dataset, model) and not name_labels_and_flags(run):
            tests.append(run["test"])
    if len(tests) < 3:  # too few for a standard deviation
        return {}
    return {name: (statistics.stdev(test[name] for test in tests), len(tests)) for name in tests[0]}


def find_departures(run, reference):
    """What makes a run another experiment than the published one, in words; [] for the same.

    run: a summary, or a parsed log, which tells of its counts alone.  Other labels or flags explain
    other counts, so that these are named by themselves only.
    """
    words = name_labels_and_flags(run)
    if words:
        return words
    for name in COUNTS:
        ours, theirs = run["data"][name], reference["data"][name]
        if ours != theirs:
            words.append(f"{name} {ours} instead of {theirs}")
    return words


def name_labels_and_flags(run):
    """Labels that are not the authors', and the flags given; [] for the published experiment."""
    words = [run["protocol"].replace("_", " ")] if run.get("protocol") else []
    labels = run.get("llm", "published")
    if labels != "published":
        words.append(f"labels {labels or 'none'}")
    return words + flag_words(run.get("flags", {}))


# --------------------------------------------------------------------------------------- the logs


def parse_log(path):
    """A log in the published format, as ours are -> {"data": counts, "epochs": [...], "test": metrics}.
    """
    text = Path(path).read_text(encoding="utf-8")
    body, _, final = text.partition("Final Test Results")
    counts = {name: re.search(pattern, text) for name, pattern in COUNTS.items()}
    epochs = {}  # a resumed run prints some epochs twice: the last counts
    for block in re.split(r"^Epoch: ", body, flags=re.MULTILINE)[1:]:
        match = re.match(r"(\d+), Loss: (\S+)", block)
        if match is None:
            raise ValueError(f"its line 'Epoch: {block.splitlines()[0]}' has no number and loss")
        epoch = int(match.group(1))
        epochs[epoch] = {"epoch": epoch, "loss": float(match.group(2)), **parse_metrics(block)}
    test = parse_metrics(final)
    if not (all(counts.values()) and epochs and test):
        raise ValueError("it lacks header counts, epochs or final test results; is the run finished?")
    counts = {name: int(match.group(1)) for name, match in counts.items()}
    return {"data": counts, "epochs": list(epochs.values()), "test": test}


def parse_metrics(text):
    found = re.findall(r"(Precision|Recall|NDCG)@(\d+):\s*([\d.]+)", text)
    return {f"{name.lower()}@{k}": float(value) for name, k, value in found}


# ---------------------------------------------------------------------- side by side, and checked


def write_table(run, reference):
    """Lines that set a run's test metrics beside the published ones; none where none were published.

    run: a summary, or a parsed log with its dataset and model.  reference: of published().  Of another
    experiment than the published one the first line says what differs.
    """
    if reference is None or run.get("protocol"):
        return []
    lines = []
    differing = find_departures(run, reference)
    if differing:
        lines += [f"This run differs from the published run: {', '.join(differing)}", ""]
    columns = "published (one run) / this run / difference / standard deviation over our seeds"
    lines.append(f"Test metrics, {columns}")
    lines.append(f"{'':14}{'published':>10}{'this run':>10}{'diff':>10}{'std':>10}")
    spread = measure_spread(run["dataset"], run["model"])
    for name, now in run["test"].items():
        if name in reference["test"]:
            was = reference["test"][name]
            std = f"{spread[name][0]:.4f}" if name in spread else "unknown"
            lines.append(f"{name:14}{was:>10.4f}{now:>10.4f}{now - was:>+10.4f}{std:>10}")
    return lines


def check(run, reference):
    """[(exit code where it fails, whether it holds, what was compared), ...]"""
    checks = []
    ours, theirs = run["epochs"][0], reference["epochs"].iloc[0]
    for name, tolerance in (("loss", 0.02), ("recall@20", 0.01)):
        if name in ours:  # else the run did not evaluate in every epoch
            text = f"epoch 1 {name} {ours[name]:.4f}, published {theirs[name]:.4f} +- {tolerance}"
            checks.append((4, abs(ours[name] - theirs[name]) <= tolerance, text))
    now, was = run["test"].get("recall@20"), reference["test"]["recall@20"]
    if now is not None:  # --top_k may have asked for others
        spread = measure_spread(run["dataset"], run["model"])
        std, seeds = spread.get("recall@20", (UNKNOWN_SPREAD, 0))
        # Both figures are of single runs, so their difference varies by sqrt 2 times as much.
        least = was - 2 * 2**0.5 * std
        source = f"{seeds} seeds" if seeds else "assumed"
        basis = f"published {was:.4f}; std {std:.4f}, {source}"
        text = f"test recall@20 {now:.4f}, at least {least:.4f} ({basis})"
        checks.append((5, now >= least, text))
    return checks


# ------------------------------------------------------------------------------------ the command


def main(arguments=None):
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=style)
    parser.error = lambda message: sys.exit(shell.fail(f"{message} (--help lists what there is)"))
    parser.add_argument("run", type=Path, help="a run folder, or a log file")
    parser.add_argument("--dataset", help="default: what summary.json of the run folder says")
    parser.add_argument("--model", help="default: what summary.json of the run folder says")
    options = parser.parse_args(arguments)
    names = {"dataset": options.dataset, "model": options.model}
    log, summary = options.run, {}
    try:
        # A run folder says itself what it is a run of.
        if options.run.is_dir():
            log, path = options.run / "log.txt", options.run / "summary.json"
            if not path.exists():
                raise ValueError("it has no summary.json; resume it first")
            summary = json.loads(path.read_text())
            names = {key: given or summary[key] for key, given in names.items()}
        reference = published(**names)
        if reference is None:  # its log may be of another form
            return shell.fail(f"nothing published for {names}; give --dataset and --model")
        run = parse_log(log) | names
    except KeyError as error:
        return shell.fail(f"{options.run}/summary.json: lacks {error}")
    except (OSError, ValueError) as error:
        return shell.fail(f"{options.run}: not a finished run or a log ({error})")

    # Differences between two experiments say nothing about either.
    differing = ", ".join(find_departures(summary | run, reference))
    if differing:
        print(f"Another experiment, not compared: it differs from the published run: {differing}")
        return 3

    # First the figures, then the checks, then the verdict.
    print(*write_table(run, reference), "", sep="\n")
    checks = check(run, reference)
    for _, holds, text in checks:
        print(f"{'ok  ' if holds else 'FAIL'} {text}")
    for code, holds, text in checks:
        if not holds:
            print(f"\nNOT reproduced: {text}")
            return code
    print("\nReproduced.")
    return 0


if __name__ == "__main__":
    sys.exit(shell.cli(main))
