"""The one loop of steps: of the stages by supervision, of GRPO and of SASRec.

    train        until all steps are done or patience ends; the best weights are kept

What step s does is decided by (seed, stage, s) alone, so that last.pt needs no generator's state and a resumed stage is
bit for bit the undisturbed one.  What a task must have:

    every, patience     steps between two rows of metrics.csv; validations without a better one that end it, or None
    batch(rng)          the examples of a step, a list
    weight(example)     its share of the loss is its part of the batch's sum of weights
    size(example)       tokens, for the memory of a micro-batch
    loss(examples)      (mean loss with gradient, {figure: mean})
    validate()          ({figure: value}, score, higher is better), or (figures, None) where nothing is chosen by it; a
                        figure "confirm" is of users who have no part in the score: there, too, the best step must win
"""

import math
import time
from typing import NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from conrec.learning.stage_folders import LAST, write_rows
from llm.batches import batches
from machine import hardware, processes
from machine.shell import Stopped, deferred_signals
from training import checkpoint
from utils import InputError, is_first, write_json

WEIGHT_DECAY, CLIP, WARM = 0.05, 1.0, 0.01  # AdamW; gradient norm; share of the steps in which the rate rises

KEPT = ("step", "rows", "sums", "best_step", "best_score", "best", "waited", "ended")  # of a Loop, in last.pt


class Plan(NamedTuple):
    """What a stage does."""

    name: str
    number: int  # of the stage, for its random numbers
    steps: int
    rate: float  # AdamW's highest learning rate
    seed: int
    budget: int  # tokens of a micro-batch: bounds memory


class Loop:
    """A stage under way: what last.pt keeps, and what a row of metrics.csv is made of."""

    def __init__(self, model, task, plan):
        """model: a Backbone or SASRec."""
        self.model, self.task, self.plan = model, task, plan
        self.weights = list(model.trainable().values())
        self.optimizer = torch.optim.AdamW(self.weights, lr=plan.rate, weight_decay=WEIGHT_DECAY)
        self.step, self.rows, self.sums = 0, [], {}
        self.best_step, self.best_score, self.best = 0, None, model.state()
        self.begun_with = self.best  # of a stage that goes on, too: its weights are loaded later
        self.waited = 0  # validations without a better one
        self.ended = None  # why, in words
        self.earlier_seconds, self.started = 0.0, time.perf_counter()
        self.saved, self.saving_took = self.started, 0.0

    @property
    def seconds(self):
        return self.earlier_seconds + time.perf_counter() - self.started

    def rng(self):
        return np.random.default_rng([self.plan.seed, self.plan.number, self.step])

    def take_step(self):
        """False where the loss or the gradient is no number: then no weight has moved."""
        examples = self.task.batch(self.rng())
        torch.manual_seed(int(self.rng().integers(2**63)) + processes.number())  # of dropout
        figures = self.gradients(examples)
        norm = torch.nn.utils.clip_grad_norm_(self.weights, CLIP)
        if not (math.isfinite(figures["loss"]) and norm.isfinite()):
            return False
        for group in self.optimizer.param_groups:
            group["lr"] = self.plan.rate * schedule(self.step, self.plan.steps)
        self.optimizer.step()
        self.step += 1
        for name, value in figures.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        return True

    def gradients(self, examples):
        """Leave the batch's gradients in the weights; returns {"loss": ..., other figures} of the batch."""
        self.optimizer.zero_grad()
        total, figures = sum(map(self.task.weight, examples)), {"loss": 0.0}
        own = processes.share(examples)
        for chunk in batches(own, lambda example: (1, self.task.size(example)), lambda: self.plan.budget):
            part = sum(map(self.task.weight, chunk)) / total
            loss, found = self.task.loss(chunk)
            if loss.requires_grad:
                (loss * part).backward()
            for name, value in (found | {"loss": loss.item()}).items():
                figures[name] = figures.get(name, 0.0) + part * value
        processes.add_gradients(self.weights)
        return processes.sums(figures)

    def note(self):
        """Validate, add a row of metrics.csv, and keep the weights where none were better."""
        self.model.model.eval()
        figures, score = self.task.validate()
        steps = self.step - (self.rows[-1]["step"] if self.rows else 0)
        row = {"stage": self.plan.name, "step": self.step}
        row |= {name: value / max(steps, 1) for name, value in self.sums.items()}
        row |= figures | {"seconds": round(self.seconds, 1)}
        self.rows.append(row)
        self.sums = {}
        if score is None or self.best_score is None or score > self.best_score:
            self.best_step, self.best_score, self.best = self.step, score, self.model.state()
            self.waited = 0
        else:
            self.waited += 1
        if self.task.patience is not None and self.waited >= self.task.patience:
            self.ended = f"no better in {self.waited} validations"

    def save(self, path):
        began = time.perf_counter()
        state = {name: getattr(self, name) for name in KEPT}
        state |= {"model": self.model.state(), "optimizer": self.optimizer.state_dict(), "seconds": self.seconds}
        checkpoint.save(path, state)
        self.saved = time.perf_counter()
        self.saving_took = self.saved - began

    def load(self, path):
        """Raises InputError for a file that is not whole, or not of this stage."""
        try:
            state = torch.load(path, weights_only=True, map_location="cpu")
            self.model.restore(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.earlier_seconds = state["seconds"]
            for name in KEPT:
                setattr(self, name, state[name])
        except checkpoint.BROKEN as error:
            if hardware.out_of_memory(error):
                raise
            why = f"is no whole checkpoint of this stage ({' '.join(str(error).split())[:100]})"
            raise InputError(f"{path}: {why}; delete it to start the stage over") from None

    def save_if_due(self, path, signals):
        """Write last.pt now and then, and when a signal asks to stop: then training ends here, by raising Stopped.

        A signal to one of several processes ends all in the same step, once the first has saved.
        """
        wait = max(checkpoint.SAVE_SECONDS, checkpoint.SAVE_SHARE * self.saving_took)
        due = is_first() and time.perf_counter() - self.saved > wait
        signal, due = processes.largest(next(iter(signals), 0), due)
        if signal or due:
            processes.by_first(self.save, path)
        if signal:
            where = f"{self.plan.name}, step {self.step}"
            raise Stopped(signal, f"stopped and saved in {where}; the same command with --resume goes on there")


def train(model, task, plan, folder, log=print):
    """Train a stage; the model is left with its best weights, the folder with the model, metrics.csv and stage.json.

    A last.pt in the folder is gone on from.  Returns what stage.json holds.  Raises InputError where the loss is not
    finite: a stage that ended so is not finished, since other runs would share it.
    """
    loop, path = Loop(model, task, plan), folder / LAST
    if processes.by_first(path.exists):
        loop.load(path)
        log(f"{plan.name}: going on after step {loop.step}")
    hidden = None if is_first() else True  # None: hidden where nobody looks
    bar = tqdm(total=plan.steps, initial=loop.step, desc=plan.name, unit="step", leave=False, disable=hidden)
    with deferred_signals() as signals, bar:
        if not loop.rows:
            loop.note()  # step 0: a stage that helps nothing keeps the weights it began with
        while loop.step < plan.steps and not loop.ended:
            model.model.train(task.dropout)
            if not loop.take_step():
                raise InputError(
                    f"{plan.name}: the loss of step {loop.step + 1} is not finite; try lower --conrec_rates (it learns "
                    f"at {plan.rate:g})"
                )
            if loop.step % task.every == 0 or loop.step == plan.steps:
                loop.note()
            bar.update()
            bar.set_postfix_str(f"best in {loop.best_step}", refresh=False)
            loop.save_if_due(path, signals)
        loop.save_if_due(path, signals)  # of a stage that was saved at its end, too
    return leave(loop, folder, log)


def leave(loop, folder, log):
    plan, model = loop.plan, loop.model
    report = {"steps": loop.step, "best_step": loop.best_step, "ended": loop.ended or "all steps done"}
    if not is_confirmed(loop):
        report["ended"] += f", the gain of step {loop.best_step} does not show in the other users"
        report["best_step"] = 0
    if report["best_step"] == 0:
        report["ended"] += ", kept the weights it began with"
        loop.best = loop.begun_with
    model.restore(loop.best)
    model.model.eval()
    report |= {"seconds": round(loop.seconds, 1), "peak_memory_mb": hardware.peak_memory_mb(model.device)}
    if is_first():
        (folder / "model").mkdir(exist_ok=True)
        model.save(folder / "model")
        write_rows(folder / "metrics.csv", loop.rows)
        write_json(folder / "stage.json", report)
    ended, best = report["ended"], report["best_step"]
    log(f"{plan.name}: {loop.step} steps in {report['seconds']} seconds ({ended}), best {best}")
    return report


def is_confirmed(loop):
    """Whether the best step beats the first in those users, too, by whom it was not chosen, if there are any."""
    confirm = {row["step"]: row.get("confirm", math.nan) for row in loop.rows}
    return loop.best_step == 0 or math.isnan(confirm[0]) or confirm[loop.best_step] > confirm[0]


def schedule(step, steps):
    """Share of the highest rate: a rise over the first hundredth, then a cosine down to 0."""
    rise = max(1, round(WARM * steps))
    return min(1, (step + 1) / rise) * (1 + math.cos(math.pi * step / steps)) / 2
