"""Looks at what a language model made, or exports it: report cards, decisions, labels for other libraries.

The stages themselves are in feedback/ and negatives/; main.py calls them.
"""

import argparse
import sys
from pathlib import Path

from machine import shell
from utils import InputError, read_json, write_atomically

ABOUT = "What a language model made, to be looked at or taken elsewhere: refined ratings, or hard negatives."
EXAMPLES = """\
examples:
  python llm_feedback.py report data/ML-100K/feedback/NAME                refined ratings, a folder
  python llm_feedback.py report data/ML-100K/ML-100K_train_augment.csv    refined ratings as a file
  python llm_feedback.py report data/ML-100K/negatives/RATINGS/NAME       hard negatives, a folder of vectors
  python llm_feedback.py show 42 data/ML-100K/feedback/NAME               what was decided about user 42, and why
  python llm_feedback.py page data/ML-100K/feedback/NAME RUN_FOLDER       all users as one page for a browser
  python llm_feedback.py export data/ML-100K/feedback/NAME --format csv --out labels.csv"""


class Parser(argparse.ArgumentParser):
    def error(self, message):
        sys.exit(shell.fail(f"{message} (--help lists what there is)"))


def main(argv=None):
    return shell.cli(look, argv)


def look(argv):
    style = argparse.RawDescriptionHelpFormatter
    parser = Parser(description=ABOUT, epilog=EXAMPLES, formatter_class=style, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="report | show | page | export")

    command = commands.add_parser("report", help="print a report card", allow_abbrev=False)
    command.add_argument("path", type=Path, help="a file or folder, as in the examples")

    command = commands.add_parser("show", help="print what was decided about one user", allow_abbrev=False)
    command.add_argument("user", metavar="USER", help="a user id")
    command.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help="of a refinement, or two to compare")

    command = commands.add_parser("page", help="write a page for a browser", allow_abbrev=False)
    command.add_argument(
        "folders", type=Path, nargs="+", metavar="FOLDER",
        help="one or two of refinements, and of up to two finished runs of main.py, whose lists are shown beside them",
    )  # fmt: skip
    command.add_argument("--out", type=Path, help="where to write it; default: report.html in the first FOLDER")

    command = commands.add_parser("export", help="write refined ratings for other libraries", allow_abbrev=False)
    command.add_argument("folder", type=Path, metavar="FOLDER", help="of a refinement")
    command.add_argument(
        "--format", required=True, choices=["csv", "recbole", "implicit"],
        help="a table with every decision (.csv, .jsonl, .parquet), RecBole's .inter, or a signed sparse matrix (.npz)",
    )  # fmt: skip
    command.add_argument("--out", type=Path, required=True, help="a file; of recbole a folder, named as the data set")
    for name in ("show", "page", "export"):
        where = "the folder of the .item file, where none is in the data folder"
        commands.choices[name].add_argument("--dataset", type=Path, metavar="FOLDER", help=where)

    options = parser.parse_args(argv)
    jobs = {"report": print_report, "show": print_user, "page": write_page, "export": export}
    jobs[options.command](options)


def print_report(options):
    # What takes long to import is imported in functions, so that --help and a typo are answered at once.
    path = options.path
    if (path / "status.npy").exists():
        from negatives.report import report_lines
        from negatives.stage import read_card

        card = read_card(path)
    else:
        from feedback.report_text import report_lines
        from feedback.verdicts import report_on

        card = read_json(path / "report.json") if (path / "report.json").exists() else report_on(path)
    print(*report_lines(card), sep="\n")


def print_user(options):
    from feedback.decisions_text import show_lines

    refinements, runs = sort_folders(options.folders)
    if runs:
        raise InputError(f"{runs[0]}: is a run; main.py --recommend {options.user} --run {runs[0]} looks at it")
    train, refinements = read_all(refinements, options.dataset)
    print(*show_lines(train, refinements, options.user), sep="\n")


def write_page(options):
    from feedback.page import page_of

    folders, run_folders = sort_folders(options.folders)
    if len(run_folders) > 2:
        raise InputError(f"{run_folders[2]}: is a third run; the page shows two")
    runs, raw = [], options.dataset
    if run_folders:
        from recommend import load_run, locate_splits
        from runs.run_folder import read_config

        runs = [load_run(folder, device="cpu") for folder in run_folders]
        raw = raw or locate_splits(run_folders[0], read_config(run_folders[0])["settings"])[1]
    train, refinements = read_all(folders, raw)
    path = options.out or options.folders[0] / "report.html"
    page = page_of(train, refinements, runs)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda p: p.write_text(page, encoding="utf-8"))
    size = path.stat().st_size / 1e6
    print(f"{path}: {len(refinements[0].train.user_ids)} users, {size:.1f} MB; open it in a browser")


def export(options):
    from feedback.export import FORMATS, require_path
    from feedback.labels import table_of

    require_path(options.format, options.out)
    refinements, runs = sort_folders([options.folder])
    if runs:
        raise InputError(f"{runs[0]}: is a run; main.py --recommend all --run {runs[0]} --out FILE writes its lists")
    train, (refined,) = read_all(refinements, options.dataset)
    print(*FORMATS[options.format](table_of(refined, train), options.out, train.raw), sep="\n")


def sort_folders(folders):
    """([folders of refinements], [run folders])"""
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
    """(Train, [Refinement]) of one or two folders.  raw: the folder of the .item file, if not the data set's."""
    from feedback.decisions import read_refinement, read_train, require_same_ratings
    from preparation.titles import item_files

    if not 1 <= len(folders) <= 2:
        raise InputError("give one or two folders of refinements, such as data/ML-100K/feedback/NAME")
    if raw and not item_files(raw):
        raise InputError(f"--dataset {raw}: no .item file lies there")
    train = read_train(folders[0], raw)
    for folder in folders[1:]:
        require_same_ratings(folder, folder / "answers.jsonl", train)
    return train, [read_refinement(folder, train) for folder in folders]


if __name__ == "__main__":
    sys.exit(main())
