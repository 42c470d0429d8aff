"""SASRec on the same instances as CoNRec: a decoder over item numbers, trained in one stage.

It scores all items; what the user has rated is left out, as everywhere.
"""

import numpy as np

from conrec.data.events import DISLIKE, LIKE
from conrec.data.instances import everybody, past, top_items
from conrec.decoder.policy import shown_before
from conrec.decoder.sasrec import DROPOUT, SASRec
from conrec.learning import steps
from conrec.learning.stage_folders import read_rows
from conrec.learning.tasks import ROWS, StreamRows
from conrec.results import metrics, recommending, run_files
from conrec.results.closed_forms import cut_into_blocks
from machine import processes
from options.conrec import PRIMARY, SFT, STAGES
from utils import InputError, read_json

THINNED = 0.5  # as in tasks.py, chosen on validation for item numbers
SASREC_VERSION = 3  # raise it when the same settings would train another model


def refuse_several_processes():
    if processes.count() > 1:
        raise InputError("torchrun: SASRec takes one process; start it with python")


def fit(job, stages, after):
    """Train it, and leave the same tables behind.  job, stages: of run.py.  after: the Stage of the events."""
    truth, every, events, folder = job.known.test, job.known.every, job.events, job.run.folder
    task, stage = train(job, stages, after)
    job.run.restore_epochs(read_rows(stage.folder / "metrics.csv"))
    run_files.copy_folder(stage.folder / "model", folder / "model")

    # what comes true of its predictions
    scores = task.scores(truth.users, truth.positions)
    lists = top_items(scores, past(events, truth.users, truth.positions), max(job.top_k))
    per_user = metrics.measure_lists(lists, truth, job.top_k)
    per_user |= metrics.measure_scores(scores, truth)
    lists = task.rank(every.users, every.positions, max(job.top_k))
    per_user |= metrics.measure_every(lists, every, job.top_k)
    odds = scores - task.scores(truth.users, truth.positions, LIKE)
    per_user["auc-odds"] = metrics.measure_scores(odds, truth)["auc"]

    lists = {}
    for moment in recommending.MOMENTS:
        lists[moment] = task.rank(*everybody(events, moment), max(job.top_k), LIKE)
    recommended = recommending.measure_recommended(events, lists, job.top_k)
    report = read_json(stage.folder / "stage.json")
    more = {"system": "sasrec", "stages": {"sasrec": report}, "train_seconds": report["seconds"]}
    more["recommends"] = run_files.leave_recommended(folder, recommended)
    run_files.finish(job, per_user, task.measure_validation(), more)


def train(job, stages, after):
    """(SasrecTask, Stage) with the best weights."""
    options = job.settings
    model = SASRec(job.events.n_items, options.random_seed, job.device)
    task = SasrecTask(job, model)
    n_steps, rate = options.conrec_sft_steps[SFT.index("stream")], options.conrec_rates[0]
    plan = steps.Plan("sasrec", len(STAGES), n_steps, rate, options.random_seed, options.llm_batch_tokens)
    settings = {"steps": n_steps, "rate": rate, "shown": task.shown[1], "dropout": DROPOUT, "thinned": THINNED}

    def build(folder):
        steps.train(model, task, plan, folder, job.run.log)

    stage = stages.make("sasrec", after, settings, SASREC_VERSION, build)
    model.read_weights(stage.folder / "model")
    model.model.eval()
    return task, stage


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

    def validate(self):
        figures = self.measure_validation()
        return figures, tuple(figures.values())

    def measure_validation(self):
        truth = self.job.known.validation
        lists = self.rank(truth.users, truth.positions, 20)
        means = metrics.means(metrics.measure_lists(lists, truth))
        return {name: means[name] for name in (PRIMARY, "frecall@20")}

    def scores(self, users, positions, asked=DISLIKE):
        """(n, I) log-probabilities of each user's next item of a sign, as of a position."""
        rows = []
        for user, p in zip(users, positions, strict=True):
            shown = shown_before(self.events, user, p, "both", self.shown)
            rows.append(self.model.row(*shown, asked))
        return self.model.scores(rows, self.job.settings.llm_batch_tokens)

    def rank(self, users, positions, k, asked=DISLIKE):
        """(n, k) items of the highest scores as of the moments (users, positions), block by block."""
        blocks = []
        for moments in cut_into_blocks(users, positions):
            blocks.append(top_items(self.scores(*moments, asked), past(self.events, *moments), k))
        return np.concatenate(blocks)
