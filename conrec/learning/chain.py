"""The trained stages of a run, each made once, and its evaluation."""

from functools import cached_property

import numpy as np
import pandas as pd

from conrec.data.events import LIKE, PARTS
from conrec.data.instances import MOMENTS, as_of, everybody
from conrec.decoder.backbone import DROPOUT
from conrec.decoder.prompts import PROMPT_VERSION
from conrec.learning import steps, tasks
from conrec.learning.stage_folders import read_rows
from conrec.results import evaluation, metrics, recommending
from conrec.results.evaluation import EVALUATION_VERSION
from conrec.results.filter import FILTER_VERSION, odds_of
from options.conrec import GRPO, SFT, STAGES
from utils import read_json


class Known:
    """What all systems share of the events: the instances asked about, and what came true of them."""

    def __init__(self, events):
        self.events = events

    @cached_property
    def validation(self):
        return metrics.drawn(self.events, "validation")

    @cached_property
    def test(self):
        return metrics.truth(self.events, "test")

    @cached_property
    def every(self):
        """All test instances."""
        return metrics.every(self.events, "test")


class Chain:
    """Makes the stages one after the other."""

    def __init__(self, known, catalog, policy, stages, after, settings, options, top_k, log):
        """after: the Stage that made the catalog.  settings: what the backbone depends on.  top_k: cut-offs."""
        self.known, self.catalog, self.policy, self.stages = known, catalog, policy, stages
        self.options, self.top_k, self.log = options, top_k, log
        self.settings = settings | {"prompts": PROMPT_VERSION, "dropout": DROPOUT}
        self.decoding = {"beams": policy.n_beams, "shown": options.conrec_history}
        self.initial = policy.backbone.state()
        self.catalog_stage = self.last = after
        self.loaded = None  # the trained Stage whose weights the backbone has
        self.contexts = []  # trained so far
        self.rows, self.reports, self.figures = [], {}, []  # of metrics.csv, stage.json and stages.csv

    def run(self):
        for name in self.options.conrec_stages:
            self.train(name)
            self.evaluate()

    def train(self, name):
        context = context_of(name)
        if context and context not in self.contexts:
            self.contexts.append(context)
        before = self.last

        def build(folder):
            self.load(before)
            task = self.task(name)
            steps.train(self.policy.backbone, task, self.plan(name), folder, self.log)
            self.loaded = None  # known by its folder, once it is finished

        self.last = self.stages.make(name, before, self.settings_of(name), tasks.TASKS_VERSION, build)
        self.rows += read_rows(self.last.folder / "metrics.csv")
        self.reports[name] = read_json(self.last.folder / "stage.json")

    def load(self, stage):
        """Give the backbone the weights of a trained stage, or its first ones."""
        if stage == self.catalog_stage:
            self.policy.backbone.restore(self.initial)
        elif stage != self.loaded:
            self.policy.backbone.read_weights(stage.folder / "model")
        self.loaded = stage
        self.policy.backbone.model.eval()

    def plan(self, name):
        options = self.options
        if name in SFT:
            n_steps, rate = options.conrec_sft_steps[SFT.index(name)], options.conrec_rates[0]
        else:
            n_steps, rate = options.conrec_steps, options.conrec_rates[1]
        return steps.Plan(name, STAGES.index(name), n_steps, rate, options.random_seed, options.llm_batch_tokens)

    def settings_of(self, name):
        """What the stage depends on besides the one before it."""
        options, plan = self.options, self.plan(name)
        settings = self.settings | {"steps": plan.steps, "rate": plan.rate}
        if name in ("translation", "alignment"):
            return settings
        settings |= self.decoding  # of the validation
        if name == "stream":
            settings["thinned"] = tasks.THINNED
        if name in GRPO:
            settings |= {"reward": options.conrec_reward, "beta": options.conrec_beta}
            settings |= {"prompts_of_step": options.conrec_prompts, "group": options.conrec_group}
            if options.conrec_reward in ("c", "d"):
                settings["gamma"] = options.conrec_gamma
        return settings

    def task(self, name):
        policy, catalog = self.policy, self.catalog
        if name == "translation":
            return tasks.Translation(policy, catalog)
        if name == "alignment":
            return tasks.Alignment(policy, catalog, self.log)
        validation = tasks.Validation(policy, self.known.validation)
        if name == "stream" and policy.backbone.words:
            return tasks.StreamInWords(policy, validation)
        if name == "stream":
            return tasks.Stream(policy, validation)
        if name == "warmup":
            return tasks.Warmup(policy, validation)
        return tasks.Grpo(policy, catalog, context_of(name), validation, self.options)

    @property
    def context(self):
        """What the last stage was shown of a user: how the run predicts."""
        return context_of(self.last.name)

    @property
    def knows_likes(self):
        return "stream" in self.options.conrec_stages

    def make(self, name, settings, version, doing, write):
        """The Stage `name` of the last trained one: write(folder), with its weights in place.

        doing: a line for the log.  settings: what the files depend on besides these weights.
        """
        trained = self.last

        def build(folder):
            self.load(trained)
            self.log(doing)
            write(folder)

        return self.stages.make(name, trained, settings | self.decoding, version, build)

    def evaluate(self):
        """A row of stages.csv for each context trained so far, or one with what earlier stages taught."""
        stage, contexts = self.last.name, list(self.contexts)

        def write(folder):
            evaluation.evaluate_stage(
                self.policy, self.known.test, contexts, self.catalog, self.top_k, self.knows_likes, folder
            )

        settings = {"contexts": contexts, "top_k": self.top_k}
        self.evaluated = self.make("evaluate", settings, EVALUATION_VERSION, f"{stage}: evaluating", write)
        found = read_json(self.evaluated.folder / "figures.json")
        for row in found["rows"] or [{"context": ""}]:
            row = {"stage": stage} | row | {"ila": found["ila"], "translation": found["translation"]}
            self.figures.append(row | {"seconds": self.reports[stage]["seconds"]})

    def evaluate_every(self):
        """The Stage of per_user.csv: the last stage's figures of all test instances, in its last context."""
        context, every = self.context, self.known.every

        def write(folder):
            lists, _ = self.policy.predict(every.users, every.positions, context)
            table = pd.DataFrame(metrics.measure_every(lists, every, self.top_k)).round(6)
            evaluation.write_csv(folder / "per_user.csv", table)

        doing = f"{self.last.name}: evaluating all {len(every.users)} test instances"
        return self.make("every", {"context": context, "top_k": self.top_k}, EVALUATION_VERSION, doing, write)

    def judge(self):
        """The Stage of odds.csv, or None without a stream.

        Of each validation and test event: how much rather it follows <dislike> than <like>, as of
        the beginning of its part.
        """
        if not self.knows_likes:
            return None

        def write(folder):
            events, tables = self.policy.events, []
            for part in ("validation", "test"):
                rows = np.flatnonzero(events.parts == PARTS.index(part))
                users, items = events.users[rows], events.items[rows]
                table = pd.DataFrame({"user": events.user_ids[users], "item": events.item_ids[items], "part": part})
                tables.append(table.assign(odds=odds_of(self.policy, part, users, items).round(6)))
            evaluation.write_csv(folder / "odds.csv", pd.concat(tables))

        doing = "judging the events of validation and test: dislike or like?"
        return self.make("judge", {}, FILTER_VERSION, doing, write)

    def recommend(self):
        """The Stage of per_user.csv, or None without a stream: likes and dislikes among what follows <like>."""
        if not self.knows_likes:
            return None

        def write(folder):
            events, lists = self.policy.events, {}
            for moment in recommending.MOMENTS:
                lists[moment], _ = self.policy.predict(*everybody(events, moment), "both", LIKE)
            table = recommending.measure_recommended(events, lists, self.top_k)
            evaluation.write_csv(folder / "per_user.csv", table)

        doing = "recommending: what is asked for after <like>"
        return self.make("recommend", {"top_k": self.top_k}, recommending.RECOMMENDING_VERSION, doing, write)

    def predict(self):
        """The Stage of predictions.csv: for every user with a negative, as of validation, test and now."""
        context, events = self.context, self.policy.events

        def write(folder):
            tables = []
            for moment in MOMENTS:
                users, positions = as_of(events, moment)
                items, logprobs = self.policy.predict(users, positions, context)
                k = items.shape[1]
                table = pd.DataFrame({"user": events.user_ids[users].repeat(k), "as_of": moment})
                table["rank"] = list(range(1, k + 1)) * len(users)
                table["item"] = events.item_ids[items.ravel()]
                table["title"] = events.titles[items.ravel()]
                table["logprob"] = logprobs.ravel().round(6)
                tables.append(table)
            evaluation.write_csv(folder / "predictions.csv", pd.concat(tables))

        doing = "predicting as of validation, test and now"
        return self.make("predict", {"context": context, "k": self.policy.k}, EVALUATION_VERSION, doing, write)


def context_of(stage):
    """What a stage is shown of a user; None where it is shown none."""
    if stage == "stream":
        return "both"
    if stage == "warmup":
        return "negatives"
    return stage if stage in GRPO else None
