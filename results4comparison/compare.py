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
       that over our own seeds.  The other test metrics are set beside theirs for information,
       since twelve correlated tests would fail good runs.

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
from typing import NamedTuple

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


def spread(dataset, model):
    """{metric: (standard deviation, seeds)} over our runs with the authors' labels in ours/."""
    tests = []
    for path in sorted((HERE / "ours").glob("*.json")):
        run = json.loads(path.read_text())
        same = (run["dataset"], run["model"]) == (dataset, model)
        if same and not other_labels_and_flags(run):
            tests.append(run["test"])
    if len(tests) < 3:  # too few for a standard deviation
        return {}
    deviation = {}
    for name in tests[0]:
        deviation[name] = statistics.stdev(test[name] for test in tests), len(tests)
    return deviation


def departures(run, reference):
    """What makes a run another experiment than the published one, in words; [] for the same.

    run: a summary, or a parsed log, which tells of its counts alone.  Other labels or flags explain
    other counts, so that these are named by themselves only.
    """
    return other_labels_and_flags(run) or other_counts(run, reference)


def other_labels_and_flags(run):
    """Labels that are not the authors', and the flags given; [] for the published experiment."""
    words = [run["protocol"].replace("_", " ")] if run.get("protocol") else []
    labels = run.get("llm", "published")
    if labels != "published":
        words.append(f"labels {labels or 'none'}")
    return words + flag_words(run.get("flags", {}))


def other_counts(run, reference):
    words = []
    for name in COUNTS:
        ours, theirs = run["data"][name], reference["data"][name]
        if ours != theirs:
            words.append(f"{name} {ours} instead of {theirs}")
    return words


# --------------------------------------------------------------------------------------- the logs


def parse_log(path):
    """A log in the published format -> {"data": counts, "epochs": [...], "test": metrics}.

    Our own logs are in this format, too.
    """
    text = Path(path).read_text(encoding="utf-8")
    body, _, final = text.partition("Final Test Results")
    counts = parse_counts(text)
    epochs = parse_epochs(body)
    test = parse_metrics(final)
    if not (counts and epochs and test):
        lacking = "header counts, epochs or final test results"
        raise ValueError(f"it lacks {lacking}; is the run finished?")
    return {"data": counts, "epochs": epochs, "test": test}


def parse_counts(text):
    """{"users": number, ...}, or None where one is lacking."""
    counts = {}
    for name, pattern in COUNTS.items():
        match = re.search(pattern, text)
        if match is None:
            return None
        counts[name] = int(match.group(1))
    return counts


def parse_epochs(text):
    """[{"epoch": 1, "loss": ..., "recall@20": ...}, ...], metrics where there was an evaluation."""
    epochs = {}  # a resumed run prints some epochs twice: the last counts
    for block in re.split(r"^Epoch: ", text, flags=re.MULTILINE)[1:]:
        match = re.match(r"(\d+), Loss: (\S+)", block)
        if match is None:
            raise ValueError(f"its line 'Epoch: {block.splitlines()[0]}' has no number and loss")
        epoch = int(match.group(1))
        epochs[epoch] = {"epoch": epoch, "loss": float(match.group(2)), **parse_metrics(block)}
    return list(epochs.values())


def parse_metrics(text):
    found = re.findall(r"(Precision|Recall|NDCG)@(\d+):\s*([\d.]+)", text)
    return {f"{name.lower()}@{k}": float(value) for name, k, value in found}


# ---------------------------------------------------------------------- side by side, and checked


def table(run, reference):
    """Lines that set a run's test metrics beside the published ones; none where nothing was published.

    run: a summary, or a parsed log with its dataset and model.  reference: of published().  Of another experiment than
    the published one the first line says what differs.
    """
    if reference is None or run.get("protocol"):
        return []
    lines = []
    differing = departures(run, reference)
    if differing:
        lines += [f"This run differs from the published run: {', '.join(differing)}", ""]
    columns = "published (one run) / this run / difference / standard deviation over our seeds"
    lines.append(f"Test metrics, {columns}")
    lines.append(f"{'':14}{'published':>10}{'this run':>10}{'diff':>10}{'std':>10}")
    deviation = spread(run["dataset"], run["model"])
    for name, now in run["test"].items():
        if name not in reference["test"]:
            continue
        was = reference["test"][name]
        std = f"{deviation[name][0]:.4f}" if name in deviation else "unknown"
        lines.append(f"{name:14}{was:>10.4f}{now:>10.4f}{now - was:>+10.4f}{std:>10}")
    return lines


class Check(NamedTuple):
    code: int  # the exit code where it fails, 0 for information
    passed: bool
    text: str  # what was compared

    def __str__(self):
        if self.passed:
            return f"ok   {self.text}"
        if self.code:
            return f"FAIL {self.text}"
        return f"low  {self.text}"


def check(run, reference):
    """The checks of a parsed run against the published one, in their order."""
    first_epoch = check_first_epoch(run["epochs"][0], reference["epochs"].iloc[0])
    test = check_test(run["test"], reference["test"], spread(run["dataset"], run["model"]))
    return [*first_epoch, *test]


def check_first_epoch(ours, theirs):
    checks = []
    for name, tolerance in (("loss", 0.02), ("recall@20", 0.01)):
        if name not in ours:  # the log is of a run with --evaluation_step above 1
            continue
        now, was = ours[name], theirs[name]
        text = f"epoch 1 {name} {now:.4f}, published {was:.4f} +- {tolerance}"
        checks.append(Check(4, abs(now - was) <= tolerance, text))
    return checks


def check_test(ours, theirs, deviation):
    checks = []
    for name, was in theirs.items():
        if name not in ours:  # --top_k may have asked for others
            continue
        now = ours[name]
        std, seeds = deviation.get(name, (UNKNOWN_SPREAD, 0))
        # Both figures are of single runs, so their difference varies by sqrt 2 times as much.
        least = was - 2 * 2**0.5 * std
        source = f"{seeds} seeds" if seeds else "assumed"
        basis = f"published {was:.4f}; std {std:.4f}, {source}"
        text = f"test {name} {now:.4f}, at least {least:.4f} ({basis})"
        code = 5 if name == "recall@20" else 0  # the others are for information
        checks.append(Check(code, now >= least, text))
    return checks


# ------------------------------------------------------------------------------------ the command


def parse(arguments):
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=style)
    parser.error = lambda message: sys.exit(shell.fail(f"{message} (--help lists what there is)"))
    parser.add_argument("run", type=Path, help="a run folder, or a log file")
    parser.add_argument("--dataset", help="default: what summary.json of the run folder says")
    parser.add_argument("--model", help="default: what summary.json of the run folder says")
    return parser.parse_args(arguments)


def main(arguments=None):
    options = parse(arguments)
    names = {"dataset": options.dataset, "model": options.model}
    log, summary = options.run, {}
    try:
        # A run folder says itself what it is a run of.
        if options.run.is_dir():
            log = options.run / "log.txt"
            summary = read_summary(options.run)
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
    differing = ", ".join(departures(summary | run, reference))
    if differing:
        print(f"Another experiment, not compared: it differs from the published run: {differing}")
        return 3

    # First the figures, then the checks, then the verdict.
    print(*table(run, reference), "", sep="\n")
    checks = check(run, reference)
    print(*checks, sep="\n")
    return verdict(checks)


def verdict(checks):
    """Print it; returns the exit code."""
    for code, passed, text in checks:
        if code and not passed:
            print(f"\nNOT reproduced: {text}")
            return code
    print("\nReproduced.")
    return 0


def read_summary(folder):
    path = folder / "summary.json"
    if not path.exists():
        raise ValueError("it has no summary.json; resume it first")
    return json.loads(path.read_text())


if __name__ == "__main__":
    sys.exit(shell.cli(main))
