"""Looks at what a language model made: report cards of refined ratings and of hard negatives, decisions user by user.

The stages themselves are in feedback/ and negatives/; main.py calls them.
"""

import argparse
import sys
from pathlib import Path

from machine import shell
from options.refinement import UNASKED
from utils import InputError

ABOUT = "What a language model made, to be looked at: refined ratings, or hard negatives."
EXAMPLES = """\
examples:
  python llm_feedback.py report data/ML-100K/feedback/NAME                refined ratings, by their answers.jsonl
  python llm_feedback.py report data/ML-100K/ML-100K_train_augment.csv    refined ratings as a file
  python llm_feedback.py report data/ML-100K/negatives/RATINGS/NAME       hard negatives, a folder of vectors
  python llm_feedback.py show 42 data/ML-100K/feedback/NAME               what was decided about user 42, and why"""
NEWEST = Path("data")  # below it `show` looks for the newest refinement where no folder is given


class Parser(argparse.ArgumentParser):
    def error(self, message):
        sys.exit(shell.fail(f"{message} (--help lists what there is)"))


def main(argv=None):
    return shell.cli(look, argv)


def look(argv):
    style = argparse.RawDescriptionHelpFormatter
    parser = Parser(description=ABOUT, epilog=EXAMPLES, formatter_class=style, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="report | show")

    command = commands.add_parser("report", help="print a report card", allow_abbrev=False)
    command.add_argument("path", type=Path, help="a file or folder, as in the examples")
    command.add_argument(
        "--unasked_twos", default="confirmed", choices=UNASKED, help="as in main.py; default: confirmed"
    )

    command = commands.add_parser("show", help="print what was decided about one user", allow_abbrev=False)
    command.add_argument("user", metavar="USER", help="a user id")
    command.add_argument(
        "folders", type=Path, nargs="*", metavar="FOLDER",
        help=f"of a refinement, or two to compare; left out: the newest below {NEWEST}/",
    )  # fmt: skip
    add_dataset(command)

    options = parser.parse_args(argv)
    jobs = {"report": print_report, "show": print_user}
    jobs[options.command](options)


def add_dataset(command):
    command.add_argument(
        "--dataset", type=Path, metavar="FOLDER", help="as in main.py, where the .item file is not in the data folder"
    )


def print_report(options):
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


def print_user(options):
    from feedback.decisions import refinements_below
    from feedback.decisions_text import show_lines

    folders = options.folders
    if not folders:
        found = refinements_below(NEWEST)
        if not found:
            raise InputError(f"show {options.user}: no refinement lies below {NEWEST}/; name its folder")
        folders = found[:1]
        print(f"{found[0]}: the newest of {len(found)} refinement(s) below {NEWEST}/")
        print(*(f"another: {folder}" for folder in found[1:]), "", sep="\n")
    refinements, runs = sort_folders(folders)
    if runs:
        raise InputError(f"{runs[0]}: is a run; main.py --recommend {options.user} --run {runs[0]} looks at it")
    train, refinements = read_all(refinements, options.dataset)
    print(*show_lines(train, refinements, options.user), sep="\n")


def sort_folders(folders):
    """([folders of refinements], [run folders]).  Raises InputError for a folder that is neither."""
    from feedback.decisions import is_refinement

    refinements, runs = [], []
    for folder in folders:
        if is_refinement(folder):
            refinements.append(folder)
        elif (folder / "config.json").is_file():
            runs.append(folder)
        else:
            what = "holds neither labels (answers.jsonl, ..._train_augment.csv) nor a finished run (config.json)"
            raise InputError(f"{folder}: {what if folder.is_dir() else 'is no folder'}")
    return refinements, runs


def read_all(folders, raw):
    """(Train, [Refinement]) of one or two folders.  raw: the folder of the .item file, None: the data set's own."""
    from feedback.decisions import read_refinement, read_train, require_same_ratings
    from preparation.titles import item_files

    if not 1 <= len(folders) <= 2:
        raise InputError(f"give one or two folders of refinements, such as {NEWEST}/ML-100K/feedback/NAME")
    if raw and not item_files(raw):
        raise InputError(f"--dataset {raw}: no .item file and no movies.csv lies there")
    train = read_train(folders[0], raw)
    for folder in folders[1:]:
        require_same_ratings(folder, folder / "answers.jsonl", train)
    return train, [read_refinement(folder, train) for folder in folders]


if __name__ == "__main__":
    sys.exit(main())
