"""The report card of what a language model made: refined ratings, or hard negatives.

The stages themselves are in feedback/ and negatives/; main.py calls them.
"""

import argparse
import sys
from pathlib import Path

from machine import shell
from options.refinement import UNASKED

ABOUT = "The report card of what a language model made: refined ratings, or hard negatives."
EXAMPLES = """\
examples:
  python llm_feedback.py report data/ML-100K/feedback/NAME                refined ratings, by their answers.jsonl
  python llm_feedback.py report data/ML-100K/ML-100K_train_augment.csv    refined ratings as a file
  python llm_feedback.py report data/ML-100K/negatives/RATINGS/NAME       hard negatives, a folder of vectors"""


def main(argv=None):
    return shell.cli(report, argv)


def report(argv):
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=ABOUT, epilog=EXAMPLES, formatter_class=style, allow_abbrev=False)
    parser.error = lambda message: sys.exit(shell.fail(f"{message} (--help lists what there is)"))
    add = parser.add_argument
    add("command", choices=["report"], help="print a report card")
    add("path", type=Path, help="a file or folder, as in the examples")
    add("--unasked_twos", default="confirmed", choices=UNASKED, help="as in main.py; default: confirmed")
    options = parser.parse_args(argv)
    print(*card_of(options.path, options.unasked_twos), sep="\n")


def card_of(path, unasked_twos):
    """The report card, as lines.  Raises InputError for a path to neither."""
    # What takes long to import is imported here, so that --help and a typo are answered at once.
    if (path / "status.npy").exists():
        from negatives.report import report_lines
        from negatives.stage import read_card

        return report_lines(read_card(path))
    from feedback.report_text import report_lines
    from feedback.verdicts import report_on

    labels = sorted(path.glob("*_train_augment.csv"))
    if labels and not (path / "answers.jsonl").exists():  # those of --llm shuffled, say
        path = labels[0]
    return report_lines(report_on(path, unasked_twos))


if __name__ == "__main__":
    sys.exit(main())
