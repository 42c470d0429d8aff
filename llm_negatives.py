"""The report card of hard negatives: what the vectors of a folder are worth.

    python llm_negatives.py report PATH       of a finished folder data/<name>/negatives/<ratings>/<folder>

Making them: negatives/stage.py, which main.py calls for HNLMRec.
"""

import argparse
import sys
from pathlib import Path

from shell import fail
from utils import InputError


def main(argv=None):
    options = parse(argv)
    # Only now what takes seconds to import: --help and a typo are answered at once.
    from negatives.report import report_lines
    from negatives.stage import read_card

    try:
        print(*report_lines(read_card(options.path)), sep="\n")
    except InputError as error:
        return fail(error)
    return 0


def parse(argv):
    about, _, examples = __doc__.partition("\n\n")
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=about, epilog=examples, formatter_class=style, allow_abbrev=False)
    parser.error = lambda message: sys.exit(fail(f"{message} (--help lists what there is)"))
    parser.add_argument("command", choices=["report"], help="print a report card")
    parser.add_argument("path", type=Path, help="a finished folder of vectors")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
