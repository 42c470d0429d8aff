"""Training: the loop over epochs, and the one over the solutions of a closed-form model.

train        by gradient, until early stopping
run_epoch    the steps of one epoch
solve        a closed-form model, one solution for each setting of its grid
measure      the metrics of the model's present weights
"""

import sys
import time
from dataclasses import dataclass, field
from itertools import islice

import torch
from tqdm import tqdm

from machine import processes
from machine.shell import Stopped, deferred_signals
from training import evaluation
from training.checkpoint import TrainingState
from training.recommender import penalty
from utils import InputError


@dataclass
class Outcome:
    """How training went."""

    best_epoch: int  # of a closed-form model: which of its solutions
    best_score: float  # on validation, of RunSettings.score_of
    epochs_run: int
    seconds: float  # of a closed-form model: of this start of the command only
    ended: str  # why, in words
    chosen: dict = field(default_factory=dict)  # of a closed-form model: the best setting of its grid
    can_go_on: bool = False  # all --epochs were done before early stopping, so that more would train on
    unit: str = "epoch"  # what is counted

    def figures(self):
        """For summary.json."""
        return {
            "best_epoch": self.best_epoch,
            "epochs_run": self.epochs_run,
            "ended": self.ended,
            "chosen": self.chosen,
            "train_seconds": round(self.seconds, 1),
            "seconds_per_epoch": round(self.seconds / self.epochs_run, 3),
        }


def train(model, data, settings, run):
    """Train by gradient until early stopping.  Returns Outcome; the model has the weights of its best epoch.

    settings: TrainingSettings.  Each epoch logs what the published logs hold.  last.pt is written now and then,
    and between two steps when a signal asks to stop: --resume goes on from there.  A loss that is not finite
    ends training.
    """
    state = TrainingState(model, settings, run.folder / "last.pt")
    stopping = state.stopping
    if settings.resume:
        state.load(run)

    shown = {"unit": "epoch", "leave": False, "disable": None, "dynamic_ncols": True}
    with deferred_signals() as signals, tqdm(total=settings.epochs, initial=state.epoch, **shown) as bar:
        ended = why_over(state, settings)
        while not ended:
            epoch = state.epoch + 1
            run_epoch(state, data, settings, run, signals)

            # a loss that is not finite: go back to the best epoch, if there was one
            bad_step = state.first_bad_step()
            if bad_step:
                where = f"epoch {epoch}, step {bad_step} of {state.step}"
                if not stopping.best_epoch:
                    raise InputError(
                        f"{where}: the loss is not finite, and there is no better epoch to go back to; "
                        "try a smaller --learning_rate"
                    )
                ended = f"diverged in {where}: the loss is not finite; the best epoch before is kept"
                break

            row = {"epoch": epoch, "loss": float(state.loss_sum) / state.step}
            lines = ["", f"Epoch: {epoch:03d}, Loss: {row['loss']:.4f}"]
            if state.note:
                lines.append(state.note)

            # once in a while: evaluate on validation, and keep the weights if they are the best so far
            if epoch % settings.evaluation_step == 0 or epoch == settings.epochs:
                with state.average.in_place():
                    metrics = evaluation.means(measure(model, data, "validation", settings))
                    score = settings.score_of(metrics)
                    best = stopping.update(score, epoch, model.state_dict())
                row |= metrics
                lines += evaluation.metric_lines(metrics, settings.top_k)
                if best:
                    lines.append(f"Best so far: validation {settings.chosen_by} {stopping.best_score:.4f}")
                else:
                    lines.append(f"EarlyStopping counter: {stopping.counter} out of {stopping.patience}")
                now = f"{settings.chosen_by} {score:.4f}, best {stopping.best_score:.4f}"
                patience = f"patience {stopping.counter}/{stopping.patience}"
                bar.set_postfix_str(f"{now}, {patience}", refresh=False)
            run.log(*lines, shown=not on_terminal(bar))
            run.add_epoch(row)
            bar.update()

            state.epoch = epoch
            state.start_epoch()
            ended = why_over(state, settings)
            if ended:
                state.save(run)
            else:
                state.save_if_due(run, signals)
        (signal,) = processes.largest(next(iter(signals), 0))
        if signal:
            raise Stopped(signal, "stopped after the last epoch; the same command with --resume goes on to the test")

    model.load_state_dict(stopping.best_state)
    can_go_on = state.epoch == settings.epochs and not stopping.over
    return Outcome(stopping.best_epoch, stopping.best_score, state.epoch, state.seconds, ended, can_go_on=can_go_on)


def why_over(state, settings):
    """Why training is over, None while it is not."""
    if state.stopping.over:
        return "early stopping"
    if state.epoch == settings.epochs:
        return f"--epochs {settings.epochs} reached before early stopping"
    return None


def on_terminal(bar):
    """Whether somebody looks at this tqdm bar (stderr) and at what is printed (stdout)."""
    return not bar.disable and sys.stdout.isatty()


def run_epoch(state, data, settings, run, signals):
    """The steps of an epoch that are left: all, unless the run was resumed in the middle of it."""
    model, optimizer = state.model, state.optimizer
    model.train()
    if state.step == 0:
        state.note = model.start_epoch(state.epoch + 1)
    state.check_draws()

    state.shuffle.set_state(state.shuffle_before)
    batches = data.batches(settings.batch_size, state.shuffle, model.trains_on)
    for batch in islice(batches, state.step, None):
        loss = model.loss(batch)
        state.count_step(loss.detach(), penalty(optimizer))
        if loss.requires_grad:  # else the batch holds nothing that the model learns from
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            state.average.update()
        state.save_if_due(run, signals)


def solve(model, data, settings, run):
    """Try each setting of a closed-form model's grid.  Returns Outcome; the model has the best solution.

    settings: RunSettings.  It is chosen on validation, by Recall@20 where --dislike_cost does not say otherwise;
    a tie goes to the later one.  metrics.csv keeps what was tried, and --resume goes on with the rest.
    """
    started = time.perf_counter()
    if settings.resume:
        tried = run.read_epochs()
        tried_settings = [{name: row[name] for name in model.columns} for row in tried]
        if tried_settings != list(model.grid[: len(tried)]):
            raise InputError(f"{run.folder}/metrics.csv: is not of this run; delete it to start over")
        run.restore_epochs(tried)
    solved = None  # the setting that the model holds the solution of
    left = list(enumerate(model.grid, 1))[len(run.epochs) :]
    bar = tqdm(left, "solving", unit="solution", leave=False, disable=None)
    for number, setting in bar:
        model.solve(setting)
        solved = setting
        metrics = evaluation.means(measure(model, data, "validation", settings))
        words = ", ".join(f"{name} {value:g}" for name, value in setting.items()) or "closed form"
        lines = evaluation.metric_lines(metrics, settings.top_k)
        run.log("", f"Solution {number} of {len(model.grid)}: {words}", *lines, shown=not on_terminal(bar))
        run.add_epoch(setting | metrics)

    scores = [settings.score_of(row) for row in run.epochs]
    best = max(range(len(scores)), key=lambda place: (scores[place], place))
    if solved is not model.grid[best]:
        model.solve(model.grid[best])
    seconds = time.perf_counter() - started
    ended = f"closed form, {len(scores)} solutions"
    return Outcome(best + 1, scores[best], len(scores), seconds, ended, model.grid[best], unit="solution")


def measure(model, data, part, settings):
    """The metrics of the model's present weights, user by user, as evaluation.evaluate: {"recall@20": (users,), ...}.

    part: "validation" or "test".
    """
    model.eval()
    with torch.no_grad():
        embeddings = model.embeddings()
    relevant, dislikes = getattr(data, part), getattr(data, f"{part}_dislikes")
    block = settings.test_batch_size
    return evaluation.evaluate(embeddings, data, relevant, settings.cut_offs, block, dislikes)
