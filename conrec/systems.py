"""Systems that CoNRec is set beside on the same instances: SASRec over items, and a finished run reversed.

Both score all items; what the user has rated is left out, as everywhere.
"""

from pathlib import Path

import numpy as np
import torch

from conrec.data.events import PARTS
from conrec.data.instances import numbers_of, past, top_items
from conrec.decoder.policy import shown_before
from conrec.decoder.sasrec import SASRec
from conrec.learning import stage_folders, steps
from conrec.learning.stage_folders import read_rows
from conrec.learning.tasks import ROWS, Rows
from conrec.results import closed_forms, metrics, run_files
from conrec.results.metrics import of_scores
from machine import processes
from options.conrec import STAGES
from preparation.files import STARS, read_ratings
from recommend import held_out, load_run
from utils import InputError, read_json, sha256

SASREC_VERSION = 1  # raise it when the same settings would train another model


def fit(job, origin, make_events, open_run):
    """Instead of the stages: train or load, and leave the same tables behind.  job, origin, ...: of run.py."""
    if processes.count() > 1:
        raise InputError("torchrun: SASRec and --conrec_reversed take one process; start them with python")
    if job.settings.conrec_reversed:
        scores, validation, more = reversed_run(job, origin, open_run)
    else:
        scores, validation, more = sasrec(job, origin, make_events, open_run)
    per_user = of_system(scores(job.known.test), job.known.test, job.events, job.top_k)
    baselines = closed_forms.evaluate(job.events, job.known.test, job.top_k, log=job.log)
    summary = run_files.summary_of(job, per_user, baselines) | {"validation": validation} | more
    run_files.write_per_user(job.run.folder / "per_user.csv", per_user, baselines, job)
    run_files.finish(job, summary, baselines)


def of_system(scores, truth, events, top_k):
    """{metric: (n,) float64} of scores (n, I), named as those of CoNRec."""
    lists = top_items(scores, past(events, truth.users, truth.positions), max(top_k))
    by_scores = of_scores(scores, truth)
    names = {"candidates": "cand_ll", "candidates-exposed": "cand_ll-exposed"}
    by_scores = {names.get(name, name): values for name, values in by_scores.items()}
    return metrics.of_lists(lists, truth, top_k) | by_scores


def on_validation(scores, job):
    truth = job.known.validation
    means = metrics.means(of_system(scores, truth, job.events, [20]))
    return {name: means[name] for name in ("fhr@20", "frecall@20")}


# --------------------------------------------------------------------------------------------------------- SASRec


class SasrecTask:
    """Rows of a user's train negatives from a random start; with positives, what an anchor shows."""

    every, patience, dropout = 100, 3, True

    def __init__(self, job, model):
        self.job, self.model, self.events = job, model, job.events
        self.shown, self.context = job.settings.conrec_history, job.settings.conrec_warmup_context
        self.rows = Rows(self.events, self.shown[0])

    def batch(self, random):
        rows = []
        for _ in range(ROWS):
            both = self.context == "both"
            rows.append(self.anchor(random) if both else self.model.row(self.rows.draw(random)))
        return rows

    def anchor(self, random):
        users, positions = self.job.known.anchors
        place = int(random.integers(len(users)))
        user, p = users[place], positions[place]
        negatives, positives = self.before(user, p)
        return self.model.row(np.append(negatives, self.events.items[self.events.first[user] + p]), positives)

    def before(self, user, p):
        return shown_before(self.events, user, p, self.context, self.shown)

    def weight(self, row):
        return 1

    def size(self, row):
        return len(row)

    def loss(self, rows):
        # with positives only the last: an earlier negative would see later positives
        return self.model.loss(rows, last=self.context == "both"), {}

    def scores(self, truth):
        rows = [self.model.row(*self.before(user, p)) for user, p in zip(truth.users, truth.positions, strict=True)]
        return self.model.scores(rows, self.job.settings.llm_batch_tokens)

    def validate(self):
        figures = on_validation(self.scores(self.job.known.validation), self.job)
        return figures, tuple(figures.values())


def sasrec(job, origin, make_events, open_run):
    options = job.settings
    open_run(job, origin)
    made = stage_folders.Stages(job.folder / "conrec", options.random_seed, job.device, job.log)
    model = SASRec(job.events.n_items, options.random_seed, job.device)
    task = SasrecTask(job, model)
    plan = steps.Plan(
        "sasrec", len(STAGES), options.conrec_sft_steps[-1], options.conrec_rates[0], options.random_seed,
        options.llm_batch_tokens,
    )  # fmt: skip
    settings = {"steps": plan.steps, "rate": plan.rate, "context": task.context, "shown": task.shown}

    def build(folder):
        steps.train(model, task, plan, folder, job.log)

    stage = made.make("sasrec", make_events(job, made, origin), settings, SASREC_VERSION, build)
    model.read_weights(stage.folder / "model")
    model.model.eval()
    report = read_json(stage.folder / "stage.json")
    job.run.restore_epochs(read_rows(stage.folder / "metrics.csv"))
    run_files.copy_folder(stage.folder / "model", job.run.folder / "model")
    more = {"system": "sasrec", "stages": {"sasrec": report}, "train_seconds": report["seconds"]}
    return task.scores, on_validation(task.scores(job.known.validation), job), more


# ---------------------------------------------------------------------------------------------------- a run reversed


def reversed_run(job, origin, open_run):
    """The items that a run of --split time scores lowest.  It knows a user's train part, whatever the history."""
    folder = Path(job.settings.conrec_reversed)
    run = load_run(folder, None, str(job.device))
    for part in ("validation", "test"):
        if not tested_on_likes(run, part, job.events):
            raise InputError(
                f"--conrec_reversed {folder}: was not tested on the likes of CoNRec's {part} part of {job.name}; take "
                "a run of --hold_out dislikes --split time on it (there is none where ratings of items without a title "
                "are dropped, or for --conrec_order file where the timestamps say otherwise)"
            )
    with torch.no_grad():
        users, items = (table.cpu().numpy() for table in run.model.embeddings())
    user_of = numbers_of(job.events.user_ids, run.data.user_ids)  # of ours there, -1: unknown
    item_of = numbers_of(job.events.item_ids, run.data.item_ids)

    def scores(truth):
        there = user_of[truth.users]
        found = -(users[there] @ items[item_of].T)  # (n, I)
        found[:, item_of < 0] = -np.inf
        found[there < 0] = 0
        lowest = np.where(np.isfinite(found), found, np.inf).min()
        return np.where(np.isfinite(found), found, lowest - 1).astype(np.float32)

    open_run(job, origin | {"reversed": sha256(folder / "summary.json")})
    more = {"system": f"reversed {run.name}", "stages": {}, "train_seconds": 0.0}
    return scores, on_validation(scores(job.known.validation), job), more


def tested_on_likes(run, part, events):
    """Whether the part of a recommend.FinishedRun holds just the likes of these events."""
    path = run.splits / f"{run.dataset}_{part}.csv"
    if sha256(path) != held_out(run.folder).get(part):
        return False  # another now than when it was tested
    likes = events.is_positive & (events.parts == PARTS.index(part))
    ours = zip(events.user_ids[events.users[likes]], events.item_ids[events.items[likes]], strict=True)
    theirs = read_ratings(path, ",", STARS)
    return set(ours) == set(zip(theirs.user, theirs.item, strict=True))
