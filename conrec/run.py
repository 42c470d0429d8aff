"""CoNRec from files to a test result: events, semantic IDs, trained stages, evaluation, predictions, filter.

main.py hands over to it once the command line and the run folder have been looked at.  Each stage has a folder of its
own (learning/stage_folders.py), so that a run goes on where it was, and shares what another one made.  SASRec, which is
trained in one stage, is in run_sasrec.py.
"""

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import utils
from conrec import run_sasrec
from conrec.data import events as events_of
from conrec.data import semantic_ids
from conrec.data.item_vectors import ItemVectors
from conrec.decoder.policy import find_weights, load_policy
from conrec.learning.chain import Chain, Known
from conrec.learning.stage_folders import COLUMNS, Stages
from conrec.results import closed_forms, run_files
from conrec.results.evaluation import write_csv
from llm.weights import dtype_of, revision
from machine import hardware, processes
from options.command_line import Options
from options.conrec import ConrecSettings
from preparation import splits, titles
from preparation.locate import folder_of_atomic
from preparation.sources import DATASETS
from preparation.titles import domain_of, item_texts
from runs.run_folder import RULE, Run
from utils import InputError, hash_of

EVENTS_VERSION, SIDS_VERSION = 1, 1  # raise one when the same files would give others


@dataclass(frozen=True)
class Job:
    """What a run is asked for, and the events of its data set."""

    name: str  # of the data set
    folder: Path  # data/<name>
    options: Options
    run: Run
    device: torch.device
    known: Known

    @property
    def settings(self) -> ConrecSettings:
        return self.options.recommender

    @property
    def events(self):
        return self.known.events

    @property
    def top_k(self):
        return self.options.run.cut_offs


@processes.together()
def fit(name, raw, folder, options, run):
    """The whole job on one data set.

    name, raw, folder: of locate.  options: command_line.Options; what is left open in them is filled in here.
    run: run_folder.Run.
    """
    device = hardware.set_up(options.run)
    run.log(hardware.use_threads(options.run, run))
    processes.join(device)
    run.check_settings(options.effective(), settled=False)
    settings = options.recommender  # ConrecSettings

    # files in, events and item texts out; what will not do shows here, before anything is written
    with utils.locked(folder, run.log) if utils.is_first() else nullcontext():
        files, rated = processes.by_first(bring_files, name, raw, folder, options, run)
    (train_csv, sha256), (item_file, items) = [*files.items(), (None, None)][:2]
    origin = {"train_csv": train_csv, "sha256": sha256, "item_file": item_file, "items": items}
    atomic = folder_of_atomic(raw, folder)
    known, notes = read_events(name, atomic, options, rated)
    job = Job(name, folder, options, run, device, known)
    run.log(*notes)
    processes.by_first(closed_forms.refuse_what_does_not_fit, job.events)  # it alone makes the closed forms
    stages = Stages(folder / "conrec", settings.random_seed, device, run.log)
    if settings.conrec_system == "sasrec":
        run_sasrec.refuse_several_processes()
        open_run(job, origin)
        return run_sasrec.fit(job, stages, make_events(job, stages, origin))
    check_codes(job)
    texts = item_texts(titles.item_table(atomic), job.events.item_ids, genres=True)  # "Toy Story (1995), Animation"
    vectors = ItemVectors(texts, job.events, settings)
    of_backbone = describe_backbone(job)
    hardware.reset_peak_memory(device)
    open_run(job, origin | {"vectors": vectors.settings, **of_backbone})

    # the stages
    ids = make_ids(job, stages, make_events(job, stages, origin), texts, vectors)
    catalog = semantic_ids.read(ids.folder)
    policy = load_policy(name, job.events, catalog, settings, device, max(job.top_k), run.log)
    chain = Chain(known, catalog, policy, stages, ids, of_backbone, settings, job.top_k, run.log)
    chain.run()
    made = run_files.Made(ids, chain.evaluate_every(), chain.predict(), chain.recommend(), chain.judge())

    # what is left behind
    if utils.is_first():
        run_files.leave_behind(job, chain, made)


# ------------------------------------------------------------------------------------ what is given


def bring_files(name, raw, folder, options, run):
    """Fetch what a known data set lacks, or take in one's own; (digests of the raw files, the file of ratings that the
    user knows)."""
    with splits.brought(name, raw, folder, options.run.reading, run.log) as atomic:
        if name not in DATASETS:  # one's own files stay where they are usable alone
            read_events(name, atomic.folder, options, atomic.rated)
        return atomic.files, atomic.rated


def read_events(name, folder, options, rated):
    """(Known, lines for the log).  Raises InputError for ratings that will not do."""
    events, notes = events_of.read(folder, name, options.recommender.conrec_negative, rated)
    most, k = int(np.diff(events.first).max()), max(options.run.cut_offs)
    if events.n_items - most < k:
        raise InputError(
            f"--top_k {k}: {name} has {events.n_items} items with a title, and a user has rated {most} of "
            "them, so fewer are left to predict (and CoNRec needs 20)"
        )
    known = Known(events)
    for part, use in (("validation", "chosen"), ("test", "tested")):
        if not len(getattr(known, part).users):
            raise InputError(
                f"{name}: no user has a dislike in the {part} part and one before it, so nothing can be {use}; CoNRec "
                f"needs more ratings up to {events.negative} (--conrec_negative)"
            )
    return known, notes


def check_codes(job):
    """Raises InputError where there are fewer IDs than items."""
    n_items, K = job.events.n_items, job.settings.conrec_codes
    if K and n_items > K**3:
        few = f"make {K**3:,} IDs, too few for {n_items} items"
        raise InputError(f"--conrec_codes {K}: {few}; take more, or leave it out")


def describe_backbone(job):
    """What the trained stages depend on besides their own settings."""
    settings, weights = job.settings, find_weights(job.settings)
    if weights is None:
        return {"backbone": "tiny"}
    return {
        "backbone": revision(weights), "rank": settings.conrec_lora_rank, "dtype": dtype_of(settings, job.device),
        "domain": domain_of(job.name, settings),
    }  # fmt: skip


def open_run(job, origin):
    """Take the run folder, once the input is known to be usable."""
    settings = job.options.effective()
    job.run.open(settings, origin, job.options.run.resume, COLUMNS)
    job.run.log(RULE, *(f"{key}: {value}" for key, value in settings.items()), RULE)


# ----------------------------------------------------------------------------------- events and IDs


def make_events(job, stages, origin):
    """The Stage of events.csv."""

    def build(folder):
        write_csv(folder / "events.csv", events_of.to_frame(job.events))

    settings = {name: origin[name] for name in ("sha256", "items")}
    settings["negative"] = job.settings.conrec_negative
    return stages.make("events", None, settings, EVENTS_VERSION, build)


def make_ids(job, stages, after, texts, vectors):
    """The Stage of the catalog."""
    options, events = job.settings, job.events
    K = options.conrec_codes or semantic_ids.codes_for(events.n_items)

    def build(folder):
        if not utils.is_first():
            return
        job.run.log(f"semantic IDs: {events.n_items} items, {K} codes a level")
        semantic_ids.make(
            vectors.make(job.device), K, options.random_seed, options.conrec_rq_epochs, folder,
            item_ids=events.item_ids, titles=events.titles,
        )  # fmt: skip

    settings = {"texts": hash_of(texts), "K": K, "epochs": options.conrec_rq_epochs} | vectors.settings
    return stages.make("sids", after, settings, SIDS_VERSION, build)
