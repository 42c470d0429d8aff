"""The report card of hard negatives: what the vectors of a folder are worth.

    python llm_negatives.py report PATH       of a finished folder data/<name>/negatives/<ratings>/<folder>

Making them: negatives/stage.py, which main.py calls for HNLMRec.
"""

import sys

from machine.shell import report_command


def main(argv=None):
    return report_command(argv, __doc__, "a finished folder of vectors", lines)


def lines(options):
    from negatives.report import report_lines
    from negatives.stage import read_card

    return report_lines(read_card(options.path))


if __name__ == "__main__":
    sys.exit(main())
