"""The report card of refined ratings: what a language model's labels are worth.

    python llm_feedback.py report PATH       of an answers.jsonl, or of a train_augment CSV

The refinement itself: feedback/refinement.py, which main.py calls.
"""

import argparse
import sys
from pathlib import Path

from feedback.flags import UNASKED
from shell import fail
from utils import InputError


def main(argv=None):
    options = parse(argv)
    # Only now what takes seconds to import: --help and a typo are answered at once.
    from feedback.report_text import report_lines
    from feedback.verdicts import report_on

    try:
        print(*report_lines(report_on(options.path, options.unasked_twos)), sep="\n")
    except InputError as error:
        return fail(error)
    return 0


def parse(argv):
    about, _, examples = __doc__.partition("\n\n")
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=about, epilog=examples, formatter_class=style, allow_abbrev=False)
    parser.error = lambda message: sys.exit(fail(f"{message} (--help lists what there is)"))
    add = parser.add_argument
    add("command", choices=["report"], help="print a report card")
    add("path", type=Path, help="an answers.jsonl (or its folder), or a train_augment CSV")
    add("--unasked_twos", default="confirmed", choices=UNASKED, help="as in main.py; default: confirmed")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
