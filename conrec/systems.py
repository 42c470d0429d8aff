"""Systems that CoNRec is set beside on the same instances: SASRec over items, and a finished run reversed.

Both score all items; what the user has rated is left out, as everywhere.
"""

from pathlib import Path

import numpy as np
import torch

from conrec.data.events import DISLIKE, LIKE, PARTS
from conrec.data.instances import everybody, numbers_of, past, top_items
from conrec.decoder.policy import shown_before
from conrec.decoder.sasrec import DROPOUT, SASRec
from conrec.learning import stage_folders, steps
from conrec.learning.stage_folders import read_rows
from conrec.learning.tasks import ROWS, StreamRows
from conrec.results import closed_forms, metrics, recommending, run_files
from conrec.results.closed_forms import AT_ONCE
from conrec.results.metrics import of_scores
from machine import processes
from options.conrec import SFT, STAGES
from preparation.files import STARS, read_ratings
from recommend import held_out, load_run
from utils import InputError, read_json, sha256

THINNED = 0.5  # as in tasks.py, chosen on validation for item numbers
SASREC_VERSION = 3  # raise it when the same settings would train another model


def fit(job, origin, make_events, open_run):
    """Instead of the stages: train or load, and leave the same tables behind.  job, origin, ...: of run.py."""
    if processes.count() > 1:
        raise InputError("torchrun: SASRec and --conrec_reversed take one process; start them with python")
    truth, every, events, folder = job.known.test, job.known.every, job.events, job.run.folder
    if job.settings.conrec_reversed:
        scores, more = reversed_run(job, origin, open_run)
    else:
        scores, more = sasrec(job, origin, make_events, open_run)
    of_items = scores(truth.users, truth.positions)
    per_user = of_system(of_items, truth, events, job.top_k)
    per_user |= metrics.of_every(lists_of(scores, every.users, every.positions, events, job.top_k), every, job.top_k)
    if not job.settings.conrec_reversed:
        odds = of_items - scores(truth.users, truth.positions, LIKE)
        per_user["auc-odds"] = of_scores(odds, truth)["auc"]
        lists = {}
        for moment in recommending.MOMENTS:
            lists[moment] = lists_of(scores, *everybody(events, moment), events, job.top_k, LIKE)
        more["recommends"] = run_files.leave_recommended(folder, recommending.figures_of(events, lists, job.top_k))
    baselines = closed_forms.evaluate(job.known, job.top_k, log=job.log)
    validation = on_validation(scores, job)
    summary = run_files.summary_of(job, per_user, baselines) | {"validation": validation} | more
    run_files.write_per_user(folder / "per_user.csv", per_user, baselines, job)
    run_files.finish(job, summary, baselines)


def of_system(of_items, truth, events, top_k):
    """{metric: (n,) float64} of scores (n, I), named as those of CoNRec."""
    lists = top_items(of_items, past(events, truth.users, truth.positions), max(top_k))
    names = {"candidates": "cand_ll", "candidates-exposed": "cand_ll-exposed"}
    by_scores = {names.get(name, name): values for name, values in of_scores(of_items, truth).items()}
    return metrics.of_lists(lists, truth, top_k) | by_scores


def lists_of(scores, users, positions, events, top_k, *asked):
    """(n, max(top_k)) items of the highest scores as of the moments (users, positions), block by block."""
    blocks = []
    for rows in np.split(np.arange(len(users)), range(AT_ONCE, len(users), AT_ONCE)):
        moments = users[rows], positions[rows]
        blocks.append(top_items(scores(*moments, *asked), past(events, *moments), max(top_k)))
    return np.concatenate(blocks)


def on_validation(scores, job):
    truth = job.known.validation
    lists = lists_of(scores, truth.users, truth.positions, job.events, [20])
    means = metrics.means(metrics.of_lists(lists, truth, (20,)))
    return {name: means[name] for name in ("fhr@20", "frecall@20")}


# --------------------------------------------------------------------------------------------------------- SASRec


class SasrecTask:
    """The stream, as CoNRec's stage of that name learns it, over item numbers."""

    every, patience, dropout = 100, None, True

    def __init__(self, job, model):
        self.job, self.model, self.events = job, model, job.events
        self.shown = job.settings.conrec_history
        self.rows = StreamRows(self.events, self.shown[1], THINNED)

    def batch(self, random):
        return [self.model.row(*self.rows.draw(random)) for _ in range(ROWS)]

    def weight(self, row):
        return len(row) // 2  # items

    def size(self, row):
        return len(row)

    def loss(self, rows):
        return self.model.loss(rows), {}

    def scores(self, users, positions, asked=DISLIKE):
        """(n, I) log-probabilities of each user's next item of a sign, as of a position."""
        rows = []
        for user, p in zip(users, positions, strict=True):
            shown = shown_before(self.events, user, p, "both", self.shown)
            rows.append(self.model.row(*shown, asked))
        return self.model.scores(rows, self.job.settings.llm_batch_tokens)

    def validate(self):
        figures = on_validation(self.scores, self.job)
        return figures, tuple(figures.values())


def sasrec(job, origin, make_events, open_run):
    options = job.settings
    open_run(job, origin)
    made = stage_folders.Stages(job.folder / "conrec", options.random_seed, job.device, job.log)
    model = SASRec(job.events.n_items, options.random_seed, job.device)
    task = SasrecTask(job, model)
    plan = steps.Plan(
        "sasrec", len(STAGES), options.conrec_sft_steps[SFT.index("stream")], options.conrec_rates[0],
        options.random_seed, options.llm_batch_tokens,
    )  # fmt: skip
    settings = {"steps": plan.steps, "rate": plan.rate, "shown": task.shown[1], "dropout": DROPOUT, "thinned": THINNED}

    def build(folder):
        steps.train(model, task, plan, folder, job.log)

    stage = made.make("sasrec", make_events(job, made, origin), settings, SASREC_VERSION, build)
    model.read_weights(stage.folder / "model")
    model.model.eval()
    report = read_json(stage.folder / "stage.json")
    job.run.restore_epochs(read_rows(stage.folder / "metrics.csv"))
    run_files.copy_folder(stage.folder / "model", job.run.folder / "model")
    return task.scores, {"system": "sasrec", "stages": {"sasrec": report}, "train_seconds": report["seconds"]}


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
                "are dropped)"
            )
    with torch.no_grad():
        users, items = (table.cpu().numpy() for table in run.model.embeddings())
    user_of = numbers_of(job.events.user_ids, run.data.user_ids)  # of ours there, -1: unknown
    item_of = numbers_of(job.events.item_ids, run.data.item_ids)

    def scores(users_asked, positions):
        there = user_of[users_asked]
        found = -(users[there] @ items[item_of].T)  # (n, I)
        found[:, item_of < 0] = -np.inf
        found[there < 0] = 0
        lowest = np.where(np.isfinite(found), found, np.inf).min()
        return np.where(np.isfinite(found), found, lowest - 1).astype(np.float32)

    open_run(job, origin | {"reversed": sha256(folder / "summary.json")})
    return scores, {"system": f"reversed {run.name}", "stages": {}, "train_seconds": 0.0}


def tested_on_likes(run, part, events):
    """Whether the part of a recommend.FinishedRun holds just the likes of these events."""
    path = run.splits / f"{run.dataset}_{part}.csv"
    if sha256(path) != held_out(run.folder).get(part):
        return False  # another now than when it was tested
    likes = events.is_positive & (events.parts == PARTS.index(part))
    ours = zip(events.user_ids[events.users[likes]], events.item_ids[events.items[likes]], strict=True)
    theirs = read_ratings(path, ",", STARS)
    return set(ours) == set(zip(theirs.user, theirs.item, strict=True))
