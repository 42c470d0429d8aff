"""The report card of refined ratings: what a language model's labels are worth.

    python llm_feedback.py report PATH       of an answers.jsonl, or of a train_augment CSV

The refinement itself: feedback/refinement.py, which main.py calls.
"""

import sys

from machine.shell import report_command
from options.refinement import UNASKED


def main(argv=None):
    return report_command(argv, __doc__, "an answers.jsonl (or its folder), or a train_augment CSV", lines, add_flags)


def add_flags(add):
    add("--unasked_twos", default="confirmed", choices=UNASKED, help="as in main.py; default: confirmed")


def lines(options):
    from feedback.report_text import report_lines
    from feedback.verdicts import report_on

    return report_lines(report_on(options.path, options.unasked_twos))


if __name__ == "__main__":
    sys.exit(main())
