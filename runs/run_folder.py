"""The run folder: what a run leaves behind."""

import csv
import json
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path

from tqdm import tqdm

from machine import shell
from machine.version import commit
from options.command_line import names_that_are
from options.run_name import without_commas
from utils import InputError, lock_of, named, read_json, take, write_atomically, write_json

FREE = names_that_are("free")  # the settings that a run may be resumed with other values of
OF_ORIGINS = ("raw", "train_original", "labels", "blended")  # of made_from: what the run reads of them has other hashes
IN_WORDS = {"sha256": "the train file", "texts": "the titles and genres", "negatives": "the hard negatives"}
RULE = "#" * 77  # a line across the log


class Run:
    """The run folder: log.txt (all that is printed), metrics.csv (one row an epoch), and the rest by name.

    Nothing is written before open(): a run that fails on its input leaves no folder behind.
    """

    def __init__(self, folder, json=False, tensorboard=False):
        """json, tensorboard: the flags of these names."""
        self.folder, self.metrics = Path(folder), Path(folder) / "metrics.csv"
        self.ends_in_json, self.for_tensorboard, self.scalars = json, tensorboard, None
        self.epochs = []  # the rows of metrics.csv; without evaluation only epoch and loss
        self.unwritten = []  # log lines printed before open()
        self.lock = lock_of(self.folder)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self.scalars:
            self.scalars.close()
        self.lock.release()

    def check(self, resume, epochs=None):
        """Raises InputError where the folder holds a run that must not, or cannot, be gone on with.

        epochs: of a model trained by gradient, at most.  A finished run that ended because it had done them all has
        left last.pt, and goes on where more are asked for.
        """
        if not (self.folder / "config.json").exists():
            if resume:
                raise InputError(f"{self.folder}: holds no run to resume; leave out --resume to start one")
            return
        another = "--path_name NAME starts another"
        if (self.folder / "summary.json").exists():
            try:
                done = int(read_json(self.folder / "summary.json")["epochs_run"])
            except (ValueError, LookupError, TypeError):
                done = None
            if done is None or not (self.folder / "last.pt").exists():
                raise InputError(f"{self.folder}: holds a finished run; {another}")
            if not resume or (epochs or 0) <= done:
                more = f"--path_name {self.folder.name} --resume with --epochs above {done} goes on with it"
                raise InputError(f"{self.folder}: holds a finished run; {another}, {more}")
        elif not resume:
            raise InputError(f"{self.folder}: holds a run; --resume goes on with it, {another}")

    def check_settings(self, settings, settled=True):
        """Raises InputError where the folder holds a run with other settings.

        settled: whether these are all, as the run would use them.  Else what is still left open is not looked at.
        """
        if not (self.folder / "config.json").exists():
            return
        before = read_config(self.folder)["settings"]
        self._check_epochs(settings, before)
        for key, value in settings.items():
            left_open = not settled and value in (None, "auto")
            if key in before and key not in FREE | {"epochs"} and not left_open and value != before[key]:
                raise InputError(f"--{key} {value}: the run to resume in {self.folder} has {before[key]}")
        unknown = sorted((settings.keys() ^ before.keys()) - FREE)
        if settled and unknown:
            raise InputError(
                f"{self.folder}: the run to resume knows other flags (--{unknown[0]}), so it was begun in another way "
                "or by another version of this program; --path_name NAME starts another"
            )

    def _check_epochs(self, settings, before):
        epochs, had = settings.get("epochs"), before.get("epochs")
        if None in (epochs, had) or epochs == had:  # a closed form has none
            return
        if epochs < had:
            raise InputError(f"--epochs {epochs}: the run to resume in {self.folder} has {had}; only more are possible")
        if had % settings["evaluation_step"]:
            raise InputError(
                f"--epochs {epochs}: the run in {self.folder} was to evaluate after its last epoch, {had}, which is no "
                f"multiple of --evaluation_step {settings['evaluation_step']}, so a longer run is another; "
                "--path_name NAME starts it"
            )

    def threads_of_resumed(self, resume):
        """The number of threads that the run to resume began with, None where there is none or it does not say."""
        if resume and (self.folder / "config.json").exists():
            return read_config(self.folder).get("threads")
        return None

    def open(self, settings, made_from, resume, columns):
        """Take the folder for this process alone; write config.json and the log so far.

        made_from: {"train_csv", "sha256", "llm", ...}.  columns: of metrics.csv.  Raises InputError where the run to
        resume began with other files or settings, or another process has the folder.
        """
        self.columns = list(columns)
        self.folder.mkdir(parents=True, exist_ok=True)
        if not take(self.lock, self.log):
            raise InputError(f"{self.folder}: another process is at it; --path_name NAME starts another")
        self.check(resume, settings.get("epochs"))  # once more: another process may have been at it until now
        self.check_settings(settings)
        path = self.folder / "config.json"
        if path.exists():
            config = read_config(self.folder)
            self._check_origin(config, made_from)
            if "epochs" in settings:  # there may be more of them now
                config["settings"]["epochs"] = settings["epochs"]
                write_json(path, config)
        else:
            write_json(path, {"settings": settings, "made_from": made_from, **environment()})
        lines, self.unwritten = self.unwritten, None
        self._write(lines)

    def _check_origin(self, config, made_from):
        """The run to resume must have begun with the same files; that it began with other code is only said."""
        now, (threads, processes) = commit(), count_threads_and_processes()
        if config.get("commit") != now:
            self.log(f"this run began with other code, commit {config.get('commit')}; now {now}")
        if config.get("threads", threads) != threads:
            self.log(f"this run began with {config['threads']} threads, now {threads}: its last digits may differ")
        if config.get("processes", 1) != processes:
            self.log(f"this run began with {config.get('processes', 1)} processes, now {processes}: so may these")
        before = config["made_from"]
        for key in sorted((before.keys() | made_from.keys()) - set(OF_ORIGINS)):
            had, has = before.get(key), made_from.get(key)
            if isinstance(had, dict) and isinstance(has, dict):  # the folder they lie in may be another
                had, has = had | {"folder": None}, has | {"folder": None}
            if had != has:
                what = IN_WORDS.get(key, f"the {key.replace('_', ' ')} file")
                raise InputError(
                    f"{what}: not what the run in {self.folder} began with (train file {before['train_csv']}); "
                    "put that back, or use another --path_name"
                )

    def log(self, *lines, shown=True):
        """Into log.txt and, where shown, to stdout."""
        if shown:
            self._show(lines)
        if self.unwritten is None:
            self._write(lines)
        else:
            self.unwritten += lines

    def _show(self, lines):
        try:
            tqdm.write("\n".join(lines))  # print() would break a progress bar on the terminal
            sys.stdout.flush()  # whoever pipes the output wants to see it grow
        except OSError:  # they have gone, or the terminal has: hours of training do not end with a pager
            shell.lead_nowhere(sys.stdout)
            shell.say(f"nobody reads stdout any more; the run goes on, and all is in {self.folder / 'log.txt'}")

    def _write(self, lines):
        path = self.folder / "log.txt"
        with named(path), open(path, "a", encoding="utf-8", errors="backslashreplace") as f:
            f.writelines(f"{line}\n" for line in lines)

    def add_epoch(self, row):
        self.epochs.append(row)
        with named(self.metrics), open(self.metrics, "a", newline="", encoding="utf-8") as f:
            self._write_rows(f, [row], header=len(self.epochs) == 1)
        if self.for_tensorboard:
            self._add_scalars(row)

    def _add_scalars(self, row):
        """Every figure of a row of metrics.csv as a scalar of its step: the epoch, of a closed form the solution.

        The first row of this start brings those before it: purge_step has TensorBoard forget what earlier starts wrote.
        """
        rows = enumerate([row], len(self.epochs))
        if self.scalars is None:
            from torch.utils.tensorboard import SummaryWriter  # a second, and not everybody has it

            self.scalars = SummaryWriter(self.folder, purge_step=1)
            rows = enumerate(self.epochs, 1)
        for number, figures in rows:
            for name in figures.keys() - {"epoch"}:
                self.scalars.add_scalar(name, figures[name], figures.get("epoch", number))

    def restore_epochs(self, rows):
        """Put metrics.csv back to the rows that a checkpoint knew of; a killed run may have written more."""

        def write(path):
            with open(path, "w", newline="", encoding="utf-8") as f:
                self._write_rows(f, rows, header=bool(rows))

        self.epochs = list(rows)
        write_atomically(self.metrics, write)

    def _write_rows(self, f, rows, header):
        writer = csv.DictWriter(f, self.columns, lineterminator="\n")
        if header:
            writer.writeheader()
        writer.writerows(rows)

    def read_epochs(self):
        """The rows of a metrics.csv that has all figures in every row; one that a kill cut short is left out."""
        if not self.metrics.exists():
            return []
        epochs = []
        try:
            whole = self.metrics.read_text(encoding="utf-8").rpartition("\n")[0]
            header, *lines = csv.reader(whole.splitlines() or [""])
            if header and [without_commas(name) for name in header] != self.columns:  # older blends' names have some
                raise ValueError
            for line in lines:
                epochs.append(dict(zip(self.columns, map(float, line), strict=True)))
        except ValueError:
            raise InputError(f"{self.metrics}: is not of this run; delete it to start over") from None
        return epochs

    def finish(self, summary, can_go_on):
        """Write summary.json, last of all: a run with a summary is a finished one.  With --json it is printed, too.

        can_go_on: whether it may be resumed with more epochs.  Else last.pt, most of the folder's size, is not needed.
        """
        write_json(self.folder / "summary.json", summary)
        if not can_go_on:
            (self.folder / "last.pt").unlink(missing_ok=True)
        if self.ends_in_json:
            self._show([json.dumps(summary | {"run_folder": str(self.folder)})])


class Onlooker(Run):
    """The run folder for the processes beside the first: they leave it alone."""

    def stay_away(self, *arguments, **more):
        pass

    check = check_settings = open = log = stay_away

    def add_epoch(self, row):
        self.epochs.append(row)

    def restore_epochs(self, rows):
        self.epochs = list(rows)


def require_finished(folder):
    """Raises InputError for the folder of a run that has no result."""
    if not (folder / "summary.json").exists():
        raise InputError(f"{folder}: holds no finished run (no summary.json)")


def read_config(folder):
    """config.json of a run folder: {"settings", "made_from", ...}.  Raises InputError where it is none."""
    try:
        config = read_json(folder / "config.json")
        return config | {key: dict(config[key]) for key in ("settings", "made_from")}
    except (ValueError, LookupError, TypeError):
        raise InputError(f"{folder}/config.json: is not JSON with settings; --path_name NAME starts another") from None


def environment():
    """Versions, commit and machine, for config.json: what a figure needs beside it."""
    packages = ("torch", "torch_geometric", "numpy", "pandas", "scikit-learn", "transformers")
    threads, processes = count_threads_and_processes()
    return {
        "commit": commit(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in packages},
        "threads": threads,
        "processes": processes,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }


def count_threads_and_processes():
    import torch  # not at the top: that a folder is taken is said before this takes its seconds

    from machine import processes

    return torch.get_num_threads(), processes.count()
