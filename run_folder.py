"""The run folder: what a run leaves behind."""

import csv
import fcntl
import json
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from utils import InputError, named, write_atomically, write_json

# the settings that a run may be resumed with other values of
FREE = (
    "resume", "test_batch_size", "data_dir", "result_dir", "llm_url", "llm_concurrency", "llm_timeout", "hn_url",
    "hn_folder",
)  # fmt: skip


class Run:
    """The run folder: log.txt (all that is printed), metrics.csv (one row an epoch), and the rest by name.

    Nothing is written before open(): a run that fails on its input leaves no folder behind.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        self.epochs = []  # the rows of metrics.csv; an epoch without evaluation has only epoch and loss
        self.unwritten = []  # log lines printed before open()
        self.lock = None  # file descriptor of the folder, once it is open

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self.lock is not None:
            os.close(self.lock)

    def check(self, settings, resume):
        """Raises InputError where the folder holds a run that these settings must not, or cannot, go on with."""
        config = self.folder / "config.json"
        if not config.exists():
            if resume:
                raise InputError(f"{self.folder}: holds no run to resume; leave out --resume to start one")
            return
        if (self.folder / "summary.json").exists():
            raise InputError(f"{self.folder}: holds a finished run; --path_name NAME starts another")
        if not resume:
            raise InputError(f"{self.folder}: holds a run; --resume goes on with it, --path_name NAME starts another")
        before = read_config(self.folder)["settings"]
        for key, value in settings.items():
            if key not in FREE and value != before.get(key):
                raise InputError(f"--{key} {value}: the run to resume in {self.folder} has {before.get(key)}")

    def open(self, settings, made_from, resume, columns):
        """Take the folder for this process alone; write config.json and the log so far.

        made_from: {"train_csv", "sha256", "llm", ...}.  columns: of metrics.csv.  Raises InputError where the run to
        resume began with other files, or another process has the folder.
        """
        self.columns = list(columns)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._take()
        self.check(settings, resume)  # once more: another process may have been at it until now
        path = self.folder / "config.json"
        if path.exists():
            self._check_origin(read_config(self.folder), made_from)
        else:
            write_json(path, {"settings": settings, "made_from": made_from, **environment()})
        lines, self.unwritten = self.unwritten, None
        self._write(lines)

    def _take(self):
        self.lock = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{self.folder}: another process is at it; --path_name NAME starts another") from None
        except OSError:  # a network file system that locks no folders
            self.log(f"{self.folder} cannot be locked here: see to it that no other process writes to it")

    def _check_origin(self, config, made_from):
        """The run to resume must have begun with the same files; that it began with other code is only said."""
        now = commit()
        if config.get("commit") != now:
            self.log(f"this run began with other code, commit {config.get('commit')}; now {now}")
        threads = torch.get_num_threads()
        if config.get("threads", threads) != threads:
            self.log(f"this run began with {config['threads']} threads, now {threads}: its last digits may differ")
        before, made_from = dict(config["made_from"]), dict(made_from)
        hard, hard_now = before.pop("negatives", None), made_from.pop("negatives", None)
        if hard and hard_now and (hard["sha256"], hard["width"]) != (hard_now["sha256"], hard_now["width"]):
            raise InputError(
                f"{hard_now['folder']}: are not the hard negatives that the run in {self.folder} began with (width "
                f"{hard['width']}, now {hard_now['width']}); put them back, or use another --path_name"
            )
        if before != made_from:
            raise InputError(
                f"{made_from['train_csv']} or the validation or test file beside it: not what the run in {self.folder} "
                f"began with ({before['train_csv']}, or what they held then); put that back, or use another --path_name"
            )

    def log(self, *lines):
        tqdm.write("\n".join(lines))  # print() would break a progress bar on the terminal
        sys.stdout.flush()  # whoever pipes the output wants to see it grow
        if self.unwritten is None:
            self._write(lines)
        else:
            self.unwritten += lines

    def _write(self, lines):
        with named(self.folder / "log.txt"), open(self.folder / "log.txt", "a", encoding="utf-8") as f:
            f.writelines(f"{line}\n" for line in lines)

    def add_epoch(self, row):
        self.epochs.append(row)
        path = self.folder / "metrics.csv"
        with named(path), open(path, "a", newline="", encoding="utf-8") as f:
            writer = csv.DictWriter(f, self.columns, lineterminator="\n")
            if len(self.epochs) == 1:
                writer.writeheader()
            writer.writerow(row)

    def restore_epochs(self, rows):
        """Start metrics.csv over with the rows a checkpoint knew of; a killed run may have written more."""
        (self.folder / "metrics.csv").unlink(missing_ok=True)
        self.epochs = []
        for row in rows:
            self.add_epoch(row)

    def read_epochs(self):
        """The rows of a metrics.csv that has all figures in every row; one that a kill cut short is left out."""
        path = self.folder / "metrics.csv"
        if not path.exists():
            return []
        epochs = []
        try:
            whole = path.read_text(encoding="utf-8").rpartition("\n")[0]
            header, *lines = csv.reader(whole.splitlines() or [""])
            if header and header != self.columns:
                raise ValueError
            for line in lines:
                epochs.append(dict(zip(self.columns, map(float, line), strict=True)))
        except ValueError:
            raise InputError(f"{path}: is not of this run; delete it to start over") from None
        return epochs


def read_config(folder):
    """config.json of a run folder: {"settings", "made_from", ...}.  Raises InputError where it is none."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return config | {key: dict(config[key]) for key in ("settings", "made_from")}
    except (ValueError, LookupError, TypeError):
        raise InputError(f"{folder}/config.json: is not JSON with settings; --path_name NAME starts another") from None


def environment():
    """Versions, commit and machine, for config.json: what a figure needs beside it."""
    packages = ("torch", "torch_geometric", "numpy", "pandas", "scikit-learn", "transformers")
    return {
        "commit": commit(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in packages},
        "threads": torch.get_num_threads(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }


def commit():
    """The commit of this code, "-dirty" behind it when files differ from it, None outside a git checkout."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True)
        dirty = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.stdout.strip() + ("-dirty" if dirty.stdout.strip() else "")


def write_recommendations(path, ranked, data, item_table):
    """recommendations.csv: user, rank, item, title, score; `ranked` is what rank() yields."""
    titles = item_table.title.reindex(data.item_ids, fill_value="").to_numpy()
    parts = []
    for users, items, scores in ranked:
        k = items.shape[1]
        numbers = items.cpu().numpy().ravel()
        columns = {
            "user": np.repeat(data.user_ids[users], k),
            "rank": np.tile(np.arange(1, k + 1), len(users)),
            "item": data.item_ids[numbers],
            "title": titles[numbers],
            "score": scores.cpu().numpy().ravel().round(4),
        }
        parts.append(pd.DataFrame(columns))
    table = pd.concat(parts)
    table = table[table.score > -np.inf]  # a user who has rated nearly everything gets a shorter list
    write_atomically(path, lambda p: table.to_csv(p, index=False, lineterminator="\n"))


def write_per_user(path, per_user, data):
    """per_user.csv: the test metrics of every user with a test row, for paired tests between runs."""
    users = data.user_ids[np.flatnonzero(np.diff(data.test.start))]
    columns = {"user": users}
    for name, values in per_user.items():
        columns[name] = values.round(6)
    table = pd.DataFrame(columns)
    write_atomically(path, lambda p: table.to_csv(p, index=False, lineterminator="\n"))


def plot_curves(path, epochs, published):
    """curves.png: training loss and validation Recall@20 by epoch, the published curve in grey behind ours.

    epochs: rows of metrics.csv.  Of a closed-form model: Recall@20 by ridge penalty; nothing where there is none.
    """
    import matplotlib

    matplotlib.use("Agg")  # a file, on machines without a screen
    from matplotlib import pyplot as plt

    if "epoch" in epochs[0]:
        figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
        plot_by_epoch(axes[0], epochs, published, "loss", "Training loss")
        plot_by_epoch(axes[1], epochs, published, "recall@20", "Validation Recall@20")
    elif "lambda" in epochs[0]:
        figure, axis = plt.subplots(figsize=(6, 4), layout="constrained")
        ridges = [row["lambda"] for row in epochs]
        axis.semilogx(ridges, [row["recall@20"] for row in epochs], color="tab:blue", marker="o")
        axis.set(title="Validation Recall@20", xlabel="lambda")
        axis.grid(alpha=0.3)
    else:
        return
    write_atomically(path, lambda p: figure.savefig(p, format="png", dpi=120))
    plt.close(figure)


def plot_by_epoch(axis, epochs, published, name, title):
    if published:
        known = published["epochs"]
        axis.plot(known["epoch"], known[name], color="0.7", lw=3, label="published")
    rows = [row for row in epochs if name in row]  # an epoch without evaluation has no Recall@20
    axis.plot([row["epoch"] for row in rows], [row[name] for row in rows], color="tab:blue", label="this run")
    axis.set(title=title, xlabel="epoch")
    axis.grid(alpha=0.3)
    axis.legend()
