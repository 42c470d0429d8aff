"""The report card of what a language model made: refined ratings, or hard negatives.

The stages themselves are in feedback/ and negatives/; main.py calls them.
"""

import sys

from machine.shell import report_command
from options.refinement import UNASKED

ABOUT = "The report card of what a language model made: refined ratings, or hard negatives."
EXAMPLES = """\
examples:
  python llm_feedback.py report data/ML-100K/feedback/NAME                refined ratings, by their answers.jsonl
  python llm_feedback.py report data/ML-100K/ML-100K_train_augment.csv    refined ratings as a file
  python llm_feedback.py report data/ML-100K/negatives/RATINGS/NAME       hard negatives, a folder of vectors"""


def main(argv=None):
    return report_command(argv, ABOUT, EXAMPLES, "a file or folder, as in the examples", lines, add_flags)


def add_flags(add):
    add("--unasked_twos", default="confirmed", choices=UNASKED, help="as in main.py; default: confirmed")


def lines(options):
    """The card of options.path, as lines.  Raises InputError for what is neither."""
    is_of_vectors = (options.path / "report.json").exists() and not (options.path / "answers.jsonl").exists()
    if is_of_vectors:
        from negatives.report import report_lines
        from negatives.stage import read_card

        return report_lines(read_card(options.path))
    from feedback.report_text import report_lines
    from feedback.verdicts import report_on

    return report_lines(report_on(options.path, options.unasked_twos))


if __name__ == "__main__":
    sys.exit(main())
