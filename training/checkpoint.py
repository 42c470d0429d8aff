"""last.pt: all that training needs to go on as if it had never stopped, plain tensors and JSON values.

It is the same file for any number of processes: they put their parts together to save, and cut them out when loading.
"""

import io
import pickle
import time
from contextlib import contextmanager

import torch

from machine import hardware, processes
from machine.shell import Stopped
from training import evaluation
from utils import InputError, write_atomically

SAVE_SECONDS = 20  # between two last.pt: a kill costs at most this much work
SAVE_SHARE = 20  # and at most one part in so many of the time goes into saving
BROKEN = (
    RuntimeError, ValueError, LookupError, TypeError, AttributeError, EOFError, pickle.UnpicklingError,
)  # fmt: skip


def save(path, state):
    content = io.BytesIO()
    torch.save(state, content)  # to memory: its own writing to a full disk ends in an error without a file name
    write_atomically(path, lambda temporary: temporary.write_bytes(content.getbuffer()))


def map_weights(change, model, weights):
    """A state_dict of the model, {name: change(tensor, how it is cut)}.  change: processes.whole or processes.own."""
    cuts = {name: processes.cut_of(weight) for name, weight in model.named_parameters()}
    return {name: change(tensor, cuts.get(name)) for name, tensor in weights.items()}


def map_moments(change, optimizer, state):
    """The same for a state_dict of the optimiser."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    moments = {}
    for place, values in state["state"].items():
        cut = processes.cut_of(weights[place])
        moments[place] = {name: change(value, cut if value.ndim else None) for name, value in values.items()}
    return state | {"state": moments}


class AveragedWeights:
    """The running mean of a model's weights over the steps of training, which smooths the noise between them.

    A plain mean (Polyak and Juditsky, 1992) of the first 1 / (1 - decay) steps, an exponential one from then on.
    Training itself does not know of it.
    """

    def __init__(self, model, decay):
        """decay: 0 leaves the weights as they are."""
        self.decay, self.steps = decay, 0
        self.weights = list(model.parameters()) if decay else []
        self.means = [weight.detach().clone() for weight in self.weights]

    @torch.no_grad()
    def update(self):
        if not self.weights:
            return
        self.steps += 1
        share = max(1 - self.decay, 1 / self.steps)
        for mean, weight in zip(self.means, self.weights, strict=True):
            mean.lerp_(weight, share)

    def state(self):
        """For last.pt: (steps, whole means)."""
        pairs = zip(self.means, self.weights, strict=True)
        return self.steps, [processes.whole(mean, processes.cut_of(weight)) for mean, weight in pairs]

    def load(self, state):
        self.steps, means = state
        for mean, weight, saved in zip(self.means, self.weights, means, strict=True):
            mean.copy_(processes.own(saved, processes.cut_of(weight)))

    @contextmanager
    def in_place(self):
        """Inside, the model has the mean weights."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def _exchange(self):
        for place, weight in enumerate(self.weights):
            weight.data, self.means[place] = self.means[place], weight.data


class TrainingState:
    """A model in training: optimiser, generators, early stopping, and where it stands.

    n_steps         steps of an epoch
    epoch           epochs done
    step            steps done of the next one
    note            what the model said at its start, or None
    loss_sum        of these steps, a scalar on the device
    finite_steps    how many of them came before the first loss that was not finite, a scalar on the device
    """

    def __init__(self, model, settings, path):
        """path: of last.pt.  settings: TrainingSettings."""
        self.model, self.path = model, path
        self.device = torch.device(model.data.device)
        groups = model.parameter_groups()
        self.optimizer = torch.optim.Adam(groups, lr=settings.learning_rate, fused=True)
        self.average = AveragedWeights(model, settings.average_decay)
        self.shuffle = torch.Generator().manual_seed(settings.random_seed)
        self.stopping = evaluation.EarlyStopping(settings.early_stopping_step)
        self.n_steps = model.data.n_batches(settings.batch_size, model.trains_on)
        self.epoch = 0
        self.start_epoch()
        self.started = self.saved = time.perf_counter()
        self.earlier_seconds = 0.0  # of training, in earlier starts of the command
        self.saving_took = 0.0  # seconds

    def start_epoch(self):
        self.step, self.note = 0, None
        self.loss_sum = torch.zeros((), device=self.device)
        self.finite_steps = torch.zeros((), dtype=torch.long, device=self.device)
        self.shuffle_before = self.shuffle.get_state()  # the epoch's order is drawn from here, also when it is resumed

    def count_step(self, loss, penalty):
        """Note a step's loss.  Summed on the device: reading a value in each step would wait for it."""
        self.loss_sum += loss + penalty
        self.finite_steps += loss.isfinite() & (self.finite_steps == self.step)
        self.step += 1

    def first_bad_step(self):
        """The first step of the epoch, from 1, whose loss was not finite; the last if a weight is not; else None."""
        if self.finite_steps < self.step:
            return int(self.finite_steps) + 1
        finite = all(weight.isfinite().all() for weight in self.model.parameters())
        (bad_step,) = processes.largest(0 if finite else self.step)
        return bad_step or None

    def check_draws(self):
        """Raises InputError where another process would draw other random numbers in this epoch."""
        if processes.count() == 1:
            return
        ahead = self.model.generator.clone_state()  # cards of different kinds draw differently from one state
        drawn = torch.rand(self.model.data.n_items, generator=ahead, device=self.device)
        tensors = [self.shuffle_before, torch.get_rng_state(), drawn, *self.model.epoch_state().values()]
        progress = f"{self.epoch} {self.step} {self.stopping.best_epoch} {self.stopping.counter}"
        contents = [tensor.cpu().numpy().tobytes() for tensor in tensors]
        processes.agree("random numbers", progress.encode(), *contents)

    @property
    def seconds(self):
        """Of training, this start of the command included."""
        return self.earlier_seconds + time.perf_counter() - self.started

    def save_if_due(self, run, signals):
        """Write last.pt now and then, and when a signal asks to stop: then training ends here, by raising Stopped."""
        due = time.perf_counter() - self.saved > max(SAVE_SECONDS, SAVE_SHARE * self.saving_took)
        signal, due = processes.largest(next(iter(signals), 0), due)  # one process' clock or signal is everybody's
        if signal or due:
            self.save(run)
        if signal:
            where = f"epoch {self.epoch + 1}, step {self.step}"
            raise Stopped(signal, f"stopped and saved in {where}; the same command with --resume goes on there")

    def save(self, run):
        began = time.perf_counter()
        generators = {
            "shuffle": self.shuffle.get_state(),
            "shuffle_before": self.shuffle_before,
            "model": self.model.generator.get_state(),
            "torch": torch.get_rng_state(),  # of dropout
        }
        if self.device.type == "cuda":
            generators["cuda"] = torch.cuda.get_rng_state(self.device)
        best = self.stopping.best_state
        state = {
            "model": map_weights(processes.whole, self.model, self.model.state_dict()),
            "epoch_state": self.model.epoch_state(),
            "optimizer": map_moments(processes.whole, self.optimizer, self.optimizer.state_dict()),
            "average": self.average.state(),
            "stopping": vars(self.stopping) | {"best_state": best and map_weights(processes.whole, self.model, best)},
            "generators": generators,
            "epoch": self.epoch,
            "step": self.step,
            "note": self.note,
            "loss_sum": self.loss_sum,
            "finite_steps": self.finite_steps,
            "seconds": self.seconds,
            "epochs": run.epochs,
        }
        if processes.number() == 0:
            save(self.path, state)
        self.saved = time.perf_counter()
        self.saving_took = self.saved - began

    def load(self, run):
        """Put everything back.  A run killed before its first last.pt starts over.

        Raises InputError for a file that is not whole, or not of this model.
        """
        if not processes.by_first(self.path.exists):
            run.restore_epochs([])
            return run.log("nothing had been saved yet: starting over")
        try:
            parts_only = processes.count() > 1  # of a file that all processes read: each maps it, and copies its part
            state = torch.load(self.path, weights_only=True, map_location="cpu", mmap=parts_only)
            epochs = self._restore(state)
        except BROKEN as error:
            if hardware.out_of_memory(error):  # the file is whole
                raise
            why = f"is no whole checkpoint of this run ({' '.join(str(error).split())[:100]})"
            raise InputError(f"{self.path}: {why}; delete it to start over") from None
        run.restore_epochs(epochs)
        step = f", step {self.step} of the next" if self.step else ""
        run.log(f"going on after epoch {self.epoch}{step}")

    def _restore(self, state):
        self.model.load_state_dict(map_weights(processes.own, self.model, state["model"]))
        self.model.load_epoch_state(state["epoch_state"])
        self.optimizer.load_state_dict(map_moments(processes.own, self.optimizer, state["optimizer"]))
        self.average.load(state["average"])
        stopping = state["stopping"]
        self.stopping.best_score = stopping["best_score"]
        self.stopping.best_epoch = stopping["best_epoch"]
        self.stopping.counter = stopping["counter"]
        if stopping["best_state"]:
            self.stopping.best_state = map_weights(processes.own, self.model, stopping["best_state"])

        generators = state["generators"]
        self.shuffle.set_state(generators["shuffle"])
        self.shuffle_before = generators["shuffle_before"]
        self.model.generator.set_state(generators["model"])
        torch.set_rng_state(generators["torch"])
        if "cuda" in generators:
            torch.cuda.set_rng_state(generators["cuda"], self.device)

        self.epoch, self.step = state["epoch"], state["step"]
        self.note = state["note"]
        self.loss_sum = state["loss_sum"].to(self.device)
        self.finite_steps = state["finite_steps"].to(self.device)
        self.earlier_seconds = state["seconds"]
        return state["epochs"]
