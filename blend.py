"""Blend finished runs of one data set: the weighted mean of their scores, weights chosen on validation.

    python blend.py result/ML-1M/ReFINe++_rule_2024 result/ML-1M/EASE_2024
    python blend.py RUN RUN RUN --path_name three

Runs that differ in their seeds alone weigh alike.  What is left behind is a run folder like any other:
compare.py, table.py and --recommend take it.  Short for main.py --model Blend --blend RUN RUN with the
data set of the first run; other flags of main.py may follow.  How: baselines/blend.py.
"""

import sys
from itertools import takewhile
from pathlib import Path

import main
from machine import shell
from options.run import READING
from runs.run_folder import read_config, require_finished
from utils import InputError


def blend(argv=None):
    argv = sys.argv[1:] if argv is None else argv
    if not argv or shell.wants_help(argv):
        return shell.print_help(__doc__)
    runs = list(takewhile(lambda word: not word.startswith("--"), argv))
    if len(runs) < 2 or len({Path(run).resolve() for run in runs}) < len(runs):
        raise InputError("give at least two folders of finished runs, each once")
    for run in runs:
        require_finished(Path(run))
    settings = read_config(Path(runs[0]))["settings"]
    where = ["--dataset", settings["dataset"], "--data_dir", settings["data_dir"]]
    for flag in (*READING, "hold_out", "split"):
        if flag in settings:
            where += [f"--{flag}", settings[flag]]
    return main.main([*where, "--model", "Blend", "--blend", *runs, *argv[len(runs) :]])


if __name__ == "__main__":
    sys.exit(shell.cli(blend))
