"""Several models on several data sets with several seeds, and one table of them.

    python study.py --models Popularity EASE LightGCN ReFINe++ --datasets ML-100K --seeds 2024 2025 2026
    python study.py --models ReFINe++ "ReFINe++ --no_autoencoder" "LightGCN --dataset_augment augment" ...
    python study.py --models "SiReN --lambda_reg .01,.05,.1 --learning_rate 1e-3,5e-3" ...
    python study.py ... --jobs 2        two runs at a time
    python study.py ... --list          print the commands that are left to run, for a scheduler

A model may be followed by flags of main.py.  Where a flag has several values with commas between
them, all combinations are run with the first seed, and the one with the best validation Recall@20
(or what --dislike_cost says) with the other seeds.

Every run is a process of main.py with a run folder of its own, and what it prints goes to a file
beside that, <run folder>.out.  A finished run is not run again, an interrupted one goes on.  The table
is left in <result_dir>/<name>.md, and printed: on a narrow terminal in blocks of columns.
"""

import argparse
import itertools
import shlex
import shutil
import sys
from pathlib import Path

import utils
from machine import shell

# pandas and results4comparison, which take seconds to import, are imported where they are needed.
from options import command_line
from options.run_name import run_name
from preparation.locate import locate
from runs import finished, jobs
from utils import InputError

MAIN = Path(__file__).with_name("main.py")
OF_THE_STUDY = (  # flags of main.py that this program gives
    *("--dataset", "--random_seed", "--path_name"),
    *("--data_dir", "--result_dir", "--resume", "--model"),
)


def parse(argv=None):
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=style)
    parser.error = lambda message: sys.exit(shell.fail(f"{message} (--help lists the flags)"))
    add = parser.add_argument
    add("--models", nargs="+", required=True,
        help="models, each with flags of main.py in one argument")
    add("--datasets", nargs="+", default=["ML-100K"],
        help="as --dataset of main.py; default: ML-100K")
    add("--seeds", nargs="+", type=int, default=[2024], help="random seeds; default: 2024")
    add("--jobs", type=int, default=1, help="runs at a time; they share the cores; default: 1")
    add("--list", action="store_true",
        help="print the commands that are left, one a line, run nothing")
    add("--name", default="study", help="of the table's file; default: study")
    add("--data_dir", type=Path, default=Path("data"))
    add("--result_dir", type=Path, default=Path("result"))
    options = parser.parse_args(argv)
    if options.jobs < 1:
        raise InputError(f"--jobs {options.jobs}: must be at least 1")
    return options


# ------------------------------------------------------------------------------------------- runs


class Trial:
    """One run of main.py: its arguments and its run folder."""

    def __init__(self, model, dataset, seed, options):
        """model: list of words, the model's name and flags of main.py."""
        for flag in OF_THE_STUDY:
            if flag in {word.split("=")[0] for word in model}:
                raise InputError(f"--models {shlex.join(model)}: {flag} is for the whole study, not for a model")
        self.seed, self.model = seed, model
        self.arguments = [
            *("--dataset", dataset),
            *("--random_seed", str(seed)),
            *("--data_dir", str(options.data_dir)),
            *("--result_dir", str(options.result_dir)),
            *("--model", *model),
        ]
        run = command_line.parse(self.arguments)  # raises InputError before anything runs
        name, raw, folder = locate(dataset, options.data_dir)
        run.fill_in_of_data_set(name)
        self.options, self.where = run, (name, raw, folder)
        self.folder = options.result_dir / name / run_name(run, name, folder)
        self.arguments += ["--path_name", self.folder.name]  # also where labels come into the data folder later

    @property
    def is_closed(self):
        """Whether nothing in it is random, so that one seed says it all."""
        return self.options.row.closed_form and not self.options.row.chance

    @property
    def finished(self):
        """Raises InputError where the folder holds a finished run of other settings or files."""
        return finished.is_finished(self.folder, self.options, self.where)

    @property
    def command(self):
        command = [sys.executable, str(MAIN), *self.arguments]
        if (self.folder / "config.json").exists():  # it has been started
            command.append("--resume")
        return command

    @property
    def summary(self):
        return utils.read_json(self.folder / "summary.json")


def refuse_other_runs(trials):
    """Raises InputError where a finished run that is none of these lies in its folder."""
    for trial in trials:
        finished.is_finished(trial.folder, trial.options, trial.where)


def list_data_sets(options):
    """--datasets without repetitions.  Raises InputError for two of one name, whose runs would share their folders."""
    first = {}  # name: (dataset, folder of its files)
    for dataset in options.datasets:
        name, raw, _ = locate(dataset, options.data_dir)
        other, its_raw = first.setdefault(name, (dataset, raw))
        if its_raw.resolve() != raw.resolve():
            both = f"are both called {name}, and so would their runs be"
            raise InputError(f"--datasets {other} {dataset}: {both}; rename one of the folders")
    return [dataset for dataset, _ in first.values()]


# ------------------------------------------------------------------------------------------ table


def report(rows, notes):
    """Markdown lines of the table of all rows and of that of the best two, with notes below.

    rows: [(the model and its flags, its trials, one a seed), ...].
    """
    from results4comparison import conrec_tables, finished_runs
    from results4comparison.experiments import find_experiments, tabulate

    found, numbers, of_dislikes = [], [], {}
    for number, (_, trials) in enumerate(rows):
        summaries = {trial.folder: finished_runs.read_summary(trial.folder) for trial in trials}
        if conrec_tables.is_of_dislikes(summaries[trials[0].folder]):  # another task, with a table of its own
            of_dislikes |= summaries
        else:
            found += summaries.items()
            numbers += [number] * len(summaries)
    lines = []
    if found:
        runs = tabulate(found).assign(row=numbers, model=[rows[number][0] for number in numbers])
        lines = finished_runs.write_tables(find_experiments(runs))
    if any("| difference" in line for line in lines):
        notes = ["Difference: two-sided test over users and seeds; one seed of a trained model has no p.", *notes]
    lines += notes
    if of_dislikes:
        lines += ["", *conrec_tables.of_folders(of_dislikes)]
    return lines


# ------------------------------------------------------------------------------------------ study


def study(argv=None):
    options = parse(argv)

    # Every combination of a grid is run with the first seed.
    grids = {}  # a model that is given twice is run once
    for dataset, model in itertools.product(list_data_sets(options), options.models):
        grids[dataset, model] = make_grid(dataset, model, options)
    closed = {grid[0].model[0] for grid in grids.values() if grid[0].is_closed}
    notes = []
    if closed and len(options.seeds) > 1:
        words = "in closed form, nothing is random, so one seed"
        notes = [f"{', '.join(sorted(closed))}: {words} ({options.seeds[0]})."]
    refuse_other_runs(itertools.chain(*grids.values()))
    if not options.list:
        for note in notes:
            print(note, file=sys.stderr)
        to_choose_from = [grid for grid in grids.values() if len(grid) > 1]
        jobs.run(itertools.chain(*to_choose_from), options.jobs)

    # The best of each grid, and every model without one, is run with all seeds.
    rows, everything = [], []
    for (dataset, model), grid in grids.items():
        label, trials = choose(dataset, model, grid, options)
        rows.append((label, trials))
        everything += trials
    if options.list:
        left = {trial.folder: trial for trial in everything if not trial.finished}.values()  # two may be one run
        return print(*(shlex.join(trial.command) for trial in left), sep="\n")
    everything.sort(key=lambda trial: options.seeds.index(trial.seed))  # something of every model first
    jobs.run(everything, options.jobs)
    refuse_other_runs(everything)  # files may have been changed meanwhile

    lines = report(rows, notes)
    text = "\n".join(lines) + "\n"
    path = options.result_dir / f"{options.name}.md"
    utils.write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    if sys.stdout.isatty():
        from results4comparison import formatting

        lines = formatting.fit(lines, shutil.get_terminal_size().columns)
    print(*lines, sep="\n")  # last: whoever reads it may have gone


def make_grid(dataset, model, options):
    """A trial with the first seed for each combination of the model's flags."""
    seed = options.seeds[0]
    trials = [Trial(words, dataset, seed, options) for words in combine_flags(model)]
    if len({(trial.options.run.protocol, trial.options.run.chosen_by) for trial in trials}) > 1:
        words = "--hold_out, --split and --dislike_cost cannot be chosen among: what is chosen by would differ"
        raise InputError(f"--models {shlex.quote(model)}: {words}; give each as a model of its own")
    return trials


def combine_flags(model):
    """"SiReN --lambda_reg .01,.1" -> [["SiReN", "--lambda_reg", ".01"], [..., ".1"]]"""
    values = [word.split(",") for word in shlex.split(model)]
    return list(map(list, itertools.product(*values)))


def choose(dataset, model, grid, options):
    """(the model and its flags, the trials of the best combination of its grid with all seeds)."""
    best, label = grid[0], shlex.join(grid[0].model)
    if len(grid) > 1:
        if not all(trial.finished for trial in grid):
            # With --list alone: the best is not known yet, and the grid is what is left to run.
            return model, grid
        best = max(grid, key=read_score)
        label = f"{shlex.join(best.model)} (best of {len(grid)})"
    seeds = options.seeds[:1] if best.is_closed else options.seeds
    return label, [Trial(best.model, dataset, seed, options) for seed in seeds]


def read_score(trial):
    """The figure that a grid's best is chosen by."""
    figures = trial.summary["validation"]
    if "primary" in trial.summary:  # CoNRec's
        return figures[trial.summary["primary"]]
    return trial.options.run.score_of(figures)


if __name__ == "__main__":
    sys.exit(shell.cli(study))
