"""What one process and several must make alike, and the processes that make it (tests/machine/test_processes.py).

    python tests/helpers/several.py part W FOLDER       take_part in W processes
    python tests/helpers/several.py main W FLAGS        main.py in W processes
    python tests/helpers/several.py stopped W FLAGS     the same of CoNRec, the last told to stop in its second step
    torchrun --nproc-per-node W tests/helpers/several.py FLAGS
                                                      main.py, of which the last process is killed in step 12

All but the last import everything once and then fork.
"""

import os
import shutil
import signal
import socket
import sys
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import numpy as np
import torch
from synthetic import Silent, made, train_data, words_of

import experiment  # noqa: F401, before the processes fork
import main
from machine import processes, shell
from model import ReFINePlusPlus
from training import checkpoint, loop
from training.checkpoint import TrainingState, map_weights
from training.recommender import penalty
from utils import InputError

USERS, ITEMS = 31, 50  # no multiples of 2 and 3
CASES = (
    "ReFINe++", "ReFINe++ --negatives per_user --star_weights 1 2 3 --no_alignment",
    "ReFINe++ --loss bpr --graph positive --no_autoencoder", "LightGCN --sampler mixgcf", "MF --sampler ahns", "ReFINe",
)  # fmt: skip
STOP = 9  # a signal to one process in this step, in the middle of an epoch
KILL = 12


def ratings(sign=None):
    """400 train rows of 1 to 5 stars, or those of one sign alone, and 60 validation rows."""
    pairs = np.random.RandomState(0).permutation(USERS * ITEMS)
    users, items = np.divmod(pairs[:400], ITEMS)
    stars = np.array([5.0, 4.0, 3.0, 2.0, 1.0])[np.arange(400) % 5]
    kept = slice(None) if sign is None else (stars >= 4) == sign
    held = np.divmod(pairs[400:460], ITEMS)
    return train_data(USERS, ITEMS, users[kept], items[kept], stars[kept], held, held)


def build(case, data, *more):
    """The model in float64, so that what several processes add up differs from one's sums by next to nothing."""
    name, *words = case.split()
    sizes = {"embedding_dim": 12, "hidden_dim": 7, "batch_size": 60, "t": 2, "r": 3, "lambda_ae": 0.1}
    model, settings = made(name, data, *words, *words_of(name, sizes, words), *more)
    return processes.cut(model.double()), settings


def whole_gradients(model):
    gradients = {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
    return map_weights(processes.whole, model, gradients)


def steps(case, data):
    """Two epochs: (loss and norms of each step, its gradients, the weights at the end)."""
    model, settings = build(case, data)
    optimizer = torch.optim.Adam(model.parameter_groups(), lr=0.01)
    shuffle = torch.Generator().manual_seed(0)
    losses, gradients = [], []
    for epoch in (1, 2):
        model.start_epoch(epoch)
        for batch in data.batches(settings.batch_size, shuffle, model.trains_on):
            loss = model.loss(batch)
            losses.append(loss.detach() + penalty(optimizer))
            if loss.requires_grad:
                optimizer.zero_grad()
                loss.backward()
                gradients.append(whole_gradients(model))
                optimizer.step()
    return losses, gradients, map_weights(processes.whole, model, model.state_dict())


def train(case, folder, epochs, *more, stop=None):
    """(rows of metrics.csv, weights of the best epoch) of whole training; ([], {}) where a signal ends it."""
    folder.mkdir(exist_ok=True)
    data, run = ratings(), Recorded(folder)
    model, settings = build(case, data, "--epochs", str(epochs), "--average_decay", "0.9")
    settings.resume = "--resume" in more
    if stop:
        model.loss = interrupted(model.loss, stop)
    try:
        loop.train(model, data, settings, run)
    except shell.Stopped:
        return [], {}
    return run.epochs, map_weights(processes.whole, model, model.state_dict())


class Recorded(Silent):
    def restore_epochs(self, rows):
        self.epochs = list(rows)


def interrupted(loss, stop, number=signal.SIGTERM):
    """The loss, which sends the last process a signal in one step."""
    done = []

    def counted(*arguments):
        done.append(arguments)
        if len(done) == stop and processes.number() == processes.count() - 1:
            os.kill(os.getpid(), number)
        return loss(*arguments)

    return counted


def made_alike():
    """{name: what must be the same for any number of processes}"""
    made = {case: steps(case, ratings()) for case in CASES}
    for sign in (True, False):
        made[f"ReFINe++ with one sign, {sign}"] = steps("ReFINe++", ratings(sign))
    return made


def other_draws(folder):
    """What is said where the last process' generator is ahead of the others'."""
    model, settings = build("ReFINe++", ratings())
    state = TrainingState(model, settings, folder / "last.pt")
    state.check_draws()
    if processes.number() == processes.count() - 1:
        torch.rand(1, generator=model.generator)
    try:
        state.check_draws()
    except InputError as error:
        return str(error)


def left_alone():
    """Of a process that ends without a word: (what the others hear of it, whether this one is to say so)."""
    if processes.number() == processes.count() - 1:
        os._exit(0)
    try:
        with processes.together():
            processes.summed(torch.ones(1))
    except ConnectionError as error:
        return str(error), sys.stderr is sys.__stderr__


def take_part(folder, size, number):
    """Everything that several processes do, into FOLDER/W.NUMBER.pt."""
    processes.join(torch.device("cpu"), f"file://{folder}/meet{size}?rank={number}&world_size={size}")
    made = made_alike()
    checkpoint.SAVE_SECONDS = 1000  # saved at the end, and when a signal says so
    made["train"] = train("ReFINe++", folder / f"{size}whole", 4)
    for earlier in range(1, size):  # by fewer processes
        copy = folder / f"{size}after{earlier}"
        processes.by_first(shutil.copytree, folder / f"{earlier}stopped", copy)
        made[f"resumed {earlier}"] = train("ReFINe++", copy, 4, "--resume")
    train("ReFINe++", folder / f"{size}stopped", 4, stop=STOP)
    made["first"] = processes.by_first(lambda: f"made by {number}")
    made["largest"] = processes.largest(number, -number)
    made["other draws"] = other_draws(folder)
    made["numbers held"] = numbers_held()
    made["left alone"] = left_alone()
    torch.save(made, folder / f"{size}.{number}.pt")


def numbers_held():
    """How many numbers the parameters of this process have."""
    model, _ = build("ReFINe++", ratings())
    return sum(weight.numel() for weight in model.parameters())


def forked(size, job):
    """Runs job(number) in so many processes that have torchrun's environment; returns the largest exit code."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = []
    for number in range(size):
        child = os.fork()
        if not child:
            os.environ |= {"RANK": str(number), "LOCAL_RANK": str(number), "WORLD_SIZE": str(size)}
            os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
            torch.set_num_threads(1)
            try:
                code = job(number)
            except BaseException:
                traceback.print_exc()
                code = 1
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code or 0)
        children.append(child)
    return max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children)


if __name__ == "__main__":
    if "RANK" in os.environ:
        checkpoint.SAVE_SECONDS = checkpoint.SAVE_SHARE = 0  # last.pt in every step
        ReFINePlusPlus.loss = interrupted(ReFINePlusPlus.loss, KILL, signal.SIGKILL)
        sys.exit(shell.cli(main.main))
    what, size, *rest = sys.argv[1:]
    if what == "part":
        sys.exit(forked(int(size), lambda number: take_part(Path(rest[0]), int(size), number)))
    if what == "stopped":
        from conrec.learning import steps  # which the others have no use for

        steps.Loop.take_step = interrupted(steps.Loop.take_step, 2)
    sys.exit(forked(int(size), lambda number: shell.cli(main.main, rest)))
