"""What is neither data nor model: ranking metrics, early stopping, the run folder, device and memory."""

import csv
import json
import os
import platform
import resource
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

FREE = ("resume", "test_batch_size", "data_dir", "result_dir", "llm_url", "llm_concurrency", "llm_timeout")  # to resume


class InputError(Exception):
    """Something the user gave is unusable.  main.py prints it on one line and exits with code 2."""


# ---------------------------------------------------------------------------------------------- metrics


@torch.no_grad()
def rank(z_users, z_items, seen, users, k, block):
    """Top-k items of each user by z_u . z_i, the user's train items left out.

    z_users (U, d), z_items (I, d); seen: dataloader.Rows; users: numpy array of user numbers; block: users
    scored at once, which bounds the memory at block x I floats.  Yields (users of the block, items (b, k),
    scores (b, k)), best first; a user with fewer than k items left has train items of score -inf at the end.
    """
    for first in range(0, len(users), block):
        chunk = users[first : first + block]
        scores = z_users[torch.from_numpy(chunk).to(z_users.device)] @ z_items.t()  # (b, I)
        scores[seen.entries(chunk)] = -torch.inf
        top = scores.topk(k, dim=1)
        yield chunk, top.indices, top.values


def evaluate(embeddings, data, relevant, top_k, block):
    """Precision, Recall and NDCG at every k of top_k, for every user with at least one relevant row.

    relevant: dataloader.Rows, data.validation or data.test.  P@k = hits/k, R@k = hits/|relevant|, NDCG@k
    with binary gains over the ideal list cut at k.  Returns {"recall@20": (users,) float64 array, ...};
    the printed figures are means of these, the per-user values serve paired tests.
    """
    users = np.flatnonzero(np.diff(relevant.start))
    hits = []
    for chunk, items, _ in rank(*embeddings, data.seen, users, max(top_k), block):
        is_relevant = torch.zeros(len(chunk), data.n_items, dtype=torch.bool, device=items.device)
        is_relevant[relevant.entries(chunk)] = True
        hits.append(is_relevant.gather(1, items))
    hits = torch.cat(hits).cpu().numpy()  # (users, max k)
    return ranking_metrics(hits, relevant.count(users), top_k)


def ranking_metrics(hits, n_relevant, top_k):
    """hits: (users, K) bool by rank; n_relevant: (users,) ints >= 1.  Returns {"precision@5": (users,), ...}."""
    discount = 1 / np.log2(np.arange(2, hits.shape[1] + 2))  # (K,)
    ideal = np.concatenate(([0.0], discount.cumsum()))  # best DCG of a list with n relevant items
    metrics = {}
    for k in top_k:
        found = hits[:, :k].sum(1)
        metrics[f"precision@{k}"] = found / k
        metrics[f"recall@{k}"] = found / n_relevant
        metrics[f"ndcg@{k}"] = hits[:, :k] @ discount[:k] / ideal[np.minimum(n_relevant, k)]
    return metrics


def means(per_user):
    return {name: float(values.mean()) for name, values in per_user.items()}


def metric_names(top_k):
    return [f"{name}@{k}" for k in top_k for name in ("precision", "recall", "ndcg")]


def metric_lines(metrics, top_k):
    """The figures as the published logs print them, one line a k."""
    return [
        f"Precision@{k}:{' ' * (3 - len(str(k)))}{metrics[f'precision@{k}']:.4f}, "
        f"Recall@{k}:{' ' * (3 - len(str(k)))}{metrics[f'recall@{k}']:.4f}, "
        f"NDCG@{k}:{' ' * (3 - len(str(k)))}{metrics[f'ndcg@{k}']:.4f}"
        for k in top_k
    ]


class EarlyStopping:
    """Keeps the weights of the best validation score; a tie counts as an improvement.

    Training is over once `patience` evaluations in a row have not improved.
    """

    def __init__(self, patience):
        self.patience = patience
        self.best_score, self.best_epoch, self.best_state, self.counter = -np.inf, 0, None, 0

    def update(self, score, epoch, state):
        """Returns True on an improvement.  state: a state_dict, copied."""
        if score < self.best_score or np.isnan(score):
            self.counter += 1
            return False
        self.best_score, self.best_epoch, self.counter = float(score), epoch, 0
        self.best_state = {name: tensor.detach().clone() for name, tensor in state.items()}
        return True

    @property
    def over(self):
        return self.counter >= self.patience


# ------------------------------------------------------------------------------------------- run folder


def write_atomically(path, write):
    """Call write(temporary path), then rename: the file at `path` is whole or absent, never half-written."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        with open(temporary, "rb+") as f:
            os.fsync(f.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def save(path, state):
    write_atomically(path, lambda temporary: torch.save(state, temporary))


def write_json(path, content):
    write_atomically(Path(path), lambda p: p.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8"))


class Run:
    """The run folder: log.txt (all that is printed), metrics.csv (one row an epoch), and the rest by name.

    Nothing is written before open(): a run that fails on its input leaves no folder behind.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        self.epochs = []  # the rows of metrics.csv; an epoch without evaluation has only epoch and loss
        self.unwritten = []  # log lines printed before open()

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
        before = json.loads(config.read_text(encoding="utf-8"))["settings"]
        for key, value in settings.items():
            if key not in FREE and value != before.get(key):
                raise InputError(f"--{key} {value}: the run to resume in {self.folder} has {before.get(key)}")

    def open(self, settings, made_from, metrics):
        """Write config.json and the log so far.  made_from: {"train_csv", "sha256", "llm"}; metrics: the names of the
        metric columns of metrics.csv.

        Raises InputError where the run to resume was trained on another train file.
        """
        self.columns = ["epoch", "loss", *metrics]
        path = self.folder / "config.json"
        before = json.loads(path.read_text(encoding="utf-8"))["made_from"] if path.exists() else made_from
        if before != made_from:
            raise InputError(
                f"{made_from['train_csv']}: is not the train file that the run in {self.folder} began with "
                f"({before['train_csv']}, or what it held then); put that back, or use another --path_name"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(path, {"settings": settings, "made_from": made_from, **environment()})
        lines, self.unwritten = self.unwritten, None
        self._write(lines)

    def log(self, *lines):
        tqdm.write("\n".join(lines))  # print() would break a progress bar on the terminal
        sys.stdout.flush()  # whoever pipes the output wants to see it grow
        if self.unwritten is None:
            self._write(lines)
        else:
            self.unwritten += lines

    def _write(self, lines):
        with open(self.folder / "log.txt", "a", encoding="utf-8") as f:
            f.writelines(f"{line}\n" for line in lines)

    def add_epoch(self, row):
        self.epochs.append(row)
        with open(self.folder / "metrics.csv", "a", newline="", encoding="utf-8") as f:
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


def environment():
    """Versions, commit and machine, for config.json: what a figure needs beside it."""
    packages = ("torch", "torch_geometric", "numpy", "pandas", "scikit-learn", "transformers")
    return {
        "commit": commit(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in packages},
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


def pick_device(name):
    """`auto` is CUDA when there is one.  Raises InputError for a device that is neither, or that this machine lacks."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.split(":")[0] not in ("cpu", "cuda"):
        raise InputError(f"--device {name}: must be auto, cpu, cuda or cuda:NUMBER")
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"--device {name}: not usable on this machine ({str(error).splitlines()[0]})") from None
    return torch.device(name)


def fail(message):
    """One line on stderr; returns the exit code of unusable input."""
    print("error:", " ".join(str(message).split()), file=sys.stderr)
    return 2


def device_name(device):
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu ({torch.get_num_threads()} threads)"


def peak_memory_mb(device):
    """Peak memory of the run in MB: allocated on the card with CUDA, resident in the process otherwise."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if platform.system() == "Darwin" else 2**10))


class Checkpoint:
    """last.pt: all that a run needs to go on as if it had never stopped, plain tensors and JSON values."""

    def __init__(self, path, model, optimizer, shuffle, stopping):
        self.path, self.model, self.optimizer = path, model, optimizer
        self.shuffle, self.stopping = shuffle, stopping

    def save(self, epoch, seconds, run):
        state = {
            "epoch": epoch,
            "seconds": seconds,
            "epochs": run.epochs,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "stopping": vars(self.stopping),
            "generators": [self.shuffle.get_state(), self.model.generator.get_state(), torch.get_rng_state()],
        }
        save(self.path, state)

    def load(self, run):
        """Put everything back and return (epoch, seconds); (0, 0.0) for a run killed before its first last.pt."""
        if not self.path.exists():
            run.restore_epochs([])
            run.log("no epoch had been saved yet: starting over")
            return 0, 0.0
        state = torch.load(self.path, weights_only=True, map_location="cpu")
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        vars(self.stopping).update(state["stopping"])
        self.shuffle.set_state(state["generators"][0])
        self.model.generator.set_state(state["generators"][1])
        torch.set_rng_state(state["generators"][2])
        run.restore_epochs(state["epochs"])
        run.log(f"going on after epoch {state['epoch']}")
        return state["epoch"], state["seconds"]


def write_recommendations(path, ranked, data, item_table):
    """recommendations.csv: user, rank, item, title, score; `ranked` is what rank() yields."""
    titles = item_table.title.reindex(data.item_ids, fill_value="").to_numpy()
    parts = []
    for users, items, scores in ranked:
        k = items.shape[1]
        numbers = items.cpu().numpy().ravel()
        parts.append(
            pd.DataFrame(
                {
                    "user": np.repeat(data.user_ids[users], k),
                    "rank": np.tile(np.arange(1, k + 1), len(users)),
                    "item": data.item_ids[numbers],
                    "title": titles[numbers],
                    "score": scores.cpu().numpy().ravel().round(4),
                }
            )
        )
    table = pd.concat(parts)
    table = table[table.score > -np.inf]  # a user who has rated nearly everything gets a shorter list
    write_atomically(path, lambda p: table.to_csv(p, index=False, lineterminator="\n"))


def write_per_user(path, per_user, data):
    """per_user.csv: the test metrics of every user with a test row, for paired tests between runs."""
    users = data.user_ids[np.flatnonzero(np.diff(data.test.start))]
    table = pd.DataFrame({"user": users, **{name: values.round(6) for name, values in per_user.items()}})
    write_atomically(path, lambda p: table.to_csv(p, index=False, lineterminator="\n"))


def plot_curves(path, epochs, published):
    """curves.png: training loss and validation Recall@20 by epoch, the published curve in grey behind ours."""
    import matplotlib

    matplotlib.use("Agg")  # a file, on machines without a screen
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for axis, name, title in zip(axes, ("loss", "recall@20"), ("Training loss", "Validation Recall@20"), strict=True):
        if published:
            axis.plot(published["epochs"]["epoch"], published["epochs"][name], color="0.7", lw=3, label="published")
        rows = [row for row in epochs if name in row]
        axis.plot([row["epoch"] for row in rows], [row[name] for row in rows], color="tab:blue", label="this run")
        axis.set(title=title, xlabel="epoch")
        axis.grid(alpha=0.3)
        axis.legend()
    write_atomically(path, lambda p: figure.savefig(p, format="png", dpi=120))
    plt.close(figure)
