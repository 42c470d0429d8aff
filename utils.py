"""What is neither data nor model: ranking metrics, early stopping, files, device and memory."""

import hashlib
import io
import json
import os
import platform
import resource
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout

PROCESS = Path("/proc/self")  # of Linux


class InputError(Exception):
    """Something the user gave is unusable.  shell.cli prints it on one line and exits with code 2."""


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
        (numbers,) = upload([chunk], z_users.device)  # (b,)
        scores = z_users[numbers] @ z_items.t()  # (b, I)
        scores.view(-1).index_fill_(0, seen.flat_entries(chunk), -torch.inf)
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
        is_relevant.view(-1).index_fill_(0, relevant.flat_entries(chunk), True)
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


# ---------------------------------------------------------------------------------------- files, device


@contextmanager
def named(path):
    """An OSError in the block gets the path's name: one of a full disk comes without, or with a temporary file's."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def write_atomically(path, write):
    """Call write(temporary path), then rename: the file at `path` is whole or absent, never half-written."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with named(path):
            write(temporary)
            with open(temporary, "rb+") as f:
                os.fsync(f.fileno())
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def lock_of(path):
    """The lock of a file or folder, not taken yet: .NAME.lock beside it, an empty file that stays.

    The operating system gives the lock back when the process ends, however it ends.
    """
    # Not filelock's substitute for file systems without locks, which a killed process would leave taken.
    return FileLock(path.parent / f".{path.name}.lock", fallback_to_soft=False)


def take(lock, log=print):
    """Take a lock without waiting: False where another process has it.  Where there are no locks, this is said."""
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    except OSError as error:  # some network file systems
        log(f"{lock.lock_file}: cannot be locked ({error.strerror}); start no other run that writes here meanwhile")
    return True


@contextmanager
def locked(folder, log=print):
    """Hold the folder's lock, waiting for the process that has it: two runs never write one folder at a time.

    The folder need not be there yet: input that turns out unusable leaves none.  Where nothing may be written, nothing
    needs a lock.
    """
    lock = lock_of(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        Path(lock.lock_file).touch()
    except OSError:
        yield
        return
    if not take(lock, log):
        log(f"waiting for another run that prepares or refines {folder}")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def save(path, state):
    content = io.BytesIO()
    torch.save(state, content)  # to memory: its own writing to a full disk ends in an error without a file name
    write_atomically(path, lambda temporary: temporary.write_bytes(content.getbuffer()))


def write_json(path, content):
    write_atomically(Path(path), lambda p: p.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8"))


def sha256(path):
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def remembered_sha256(path):
    """sha256(path) of a large file, worked out once: .hashes beside it remembers it by size and time of change.

    That file may be deleted at any time.
    """
    stat = path.stat()
    mark = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]  # a copy may keep the first two
    memory = path.parent / ".hashes"  # not .json: a model folder's .json files are hashed, too
    try:
        known = dict(json.loads(memory.read_text(encoding="utf-8")))
        *before, digest = known.get(path.name, [None])
    except (OSError, ValueError, TypeError):
        known, before, digest = {}, [], None
    if before == mark and digest:
        return digest
    digest = sha256(path)
    with suppress(OSError):  # a folder that may not be written to: worked out anew each time
        write_json(memory, known | {path.name: [*mark, digest]})
    return digest


def git_blob_id(path):
    """What `git hash-object` prints: the form in which the published splits are pinned."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def upload(arrays, device):
    """Integer arrays -> int64 tensors on the device in one transfer that the host does not wait for."""
    flat = torch.from_numpy(np.concatenate(arrays).astype(np.int64, copy=False))
    if torch.device(device).type == "cuda":
        flat = flat.pin_memory().to(device, non_blocking=True)
    return flat.split([len(array) for array in arrays])


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
    device = torch.device(name)
    if device.index is not None and device.type == "cuda":
        torch.cuda.set_device(device)  # for the streams and generators that name no device
    return device


def be_deterministic(device, asked):
    """The same numbers every time: always on a CPU, where only the threads that add up gradients of fetched rows would
    race, at no cost worth a flag; on CUDA where asked for, since it is slower there."""
    if asked:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS wants it before its first use
    torch.use_deterministic_algorithms(asked or device.type == "cpu")
    torch.utils.deterministic.fill_uninitialized_memory = False  # a pass over every new tensor, for finding bugs


def device_name(device):
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu ({torch.get_num_threads()} threads)"


def reset_peak_memory(device):
    """Start measuring anew, where the system lets us: with CUDA, and on Linux."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with suppress(OSError):  # not Linux, or a container that may not
            (PROCESS / "clear_refs").write_text("5")


def peak_memory_mb(device):
    """Peak since reset_peak_memory, in MB: allocated on the card with CUDA, resident in the process otherwise."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20)
    kilobytes = figure_in(PROCESS / "status", "VmHWM:")
    if kilobytes is None:
        kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # since the process began
        kilobytes /= 2**10 if platform.system() == "Darwin" else 1  # which counts bytes
    return round(kilobytes / 2**10)


def figure_in(path, name):
    """The number behind a name in one of Linux's own files, None where there is none."""
    try:
        return int(path.read_text().split(name)[1].split()[0])
    except (OSError, IndexError, ValueError):
        return None


def available_memory(device):
    """Free bytes of the card or the machine; None where the system does not say (macOS)."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    kilobytes = figure_in(Path("/proc/meminfo"), "MemAvailable:")
    return None if kilobytes is None else kilobytes * 2**10


def out_of_memory(error):
    """Whether an error of torch says that the memory of a device, or of this machine, does not suffice."""
    return isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error)
