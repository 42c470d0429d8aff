"""CoNRec from files to a test result: events, semantic IDs, trained stages, evaluation, predictions, filter.

main.py hands over to it once the command line and the run folder have been looked at.  Each stage has a folder of its
own (learning/stage_folders.py), so that a run goes on where it was, and shares what another one made.  Systems that
are not trained in stages (SASRec, a reversed run) are in systems.py.
"""

from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np

import utils
from conrec import systems
from conrec.data import events as events_of
from conrec.data import semantic_ids
from conrec.data.item_vectors import ItemVectors
from conrec.decoder.policy import find_weights, load_policy
from conrec.learning.chain import Chain, Known
from conrec.learning.stage_folders import COLUMNS, Stages
from conrec.results import closed_forms, evaluation, run_files
from conrec.results.run_files import Made
from llm.weights import dtype_of, revision
from machine import hardware, processes
from preparation import splits, titles
from preparation.locate import folder_of_atomic
from preparation.sources import DATASETS
from preparation.titles import domain_of, item_texts
from runs.run_folder import RULE
from utils import InputError, hash_of

EVENTS_VERSION, SIDS_VERSION = 1, 1  # raise one when the same files would give others


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
    job = SimpleNamespace(name=name, raw=raw, folder=folder, options=options, run=run, device=device)
    job.settings = settings = options.recommender  # ConrecSettings
    job.log, job.top_k = run.log, options.run.cut_offs

    # files in, events and item texts out; what will not do shows here, before anything is written
    with utils.locked(folder, job.log) if utils.is_first() else nullcontext():
        origin = find_files(job)
    job.log(*read_events(job, job.atomic, job.rated))
    processes.by_first(closed_forms.refuse_what_does_not_fit, job.events)  # it alone makes the closed forms
    if settings.conrec_reversed or settings.conrec_system == "sasrec":
        return systems.fit(job, origin, make_events, open_run)
    job.K = codes_for(job)
    vectors = ItemVectors(texts_of(job), job.events, settings)
    origin |= {"vectors": vectors.settings, **of_backbone(job)}
    hardware.reset_peak_memory(device)
    open_run(job, origin)

    # the stages
    stages = Stages(folder / "conrec", settings.random_seed, device, job.log)
    ids = make_ids(job, stages, make_events(job, stages, origin), vectors)
    job.catalog = semantic_ids.read(ids.folder)
    job.policy = load_policy(name, job.events, job.catalog, settings, device, max(job.top_k), job.log)
    chain = Chain(job.known, job.catalog, job.policy, stages, ids, of_backbone(job), settings, job.top_k, job.log)
    chain.run()
    made = Made(ids, chain.evaluate_every(), chain.predict(), chain.recommend(), chain.judge())

    # what is left behind
    if utils.is_first():
        baselines = closed_forms.evaluate(job.known, job.top_k, log=job.log)
        run_files.leave_behind(job, chain, made, baselines)


# ------------------------------------------------------------------------------------------------- what is given


def find_files(job):
    """Fetch what a known data set lacks, or take in one's own; {"train_csv", "sha256", "item_file", "items"} of it."""
    splits.refuse_reading_of_known(job.name, job.options.run.reading)
    files, rated = processes.by_first(bring_files, job)
    job.atomic, job.rated = folder_of_atomic(job.raw, job.folder), rated
    (train_csv, sha256), (item_file, items) = [*files.items(), (None, None)][:2]
    return {"train_csv": train_csv, "sha256": sha256, "item_file": item_file, "items": items}


def bring_files(job):
    """(digests of the raw files, the file of ratings that the user knows)."""
    with splits.brought(job.name, job.raw, job.folder, job.options.run.reading, job.log) as atomic:
        if job.name not in DATASETS:  # one's own files stay where they are usable alone
            read_events(job, atomic.folder, atomic.rated)
        return atomic.files, atomic.rated


def read_events(job, folder, rated):
    """Fill in job.events and job.known; returns lines for the log.  Raises InputError for ratings that will not do."""
    job.events, notes = events_of.read(folder, job.name, job.settings.conrec_negative, rated)
    check_lists(job)
    job.known = Known(job.events)
    check_instances(job)
    return notes


def check_lists(job):
    """Raises InputError where a user leaves fewer items to predict than --top_k asks for."""
    most, k = int(np.diff(job.events.first).max()), max(job.top_k)
    if job.events.n_items - most < k:
        raise InputError(
            f"--top_k {k}: {job.name} has {job.events.n_items} items with a title, and a user has rated {most} of "
            "them, so fewer are left to predict (and CoNRec needs 20)"
        )


def check_instances(job):
    """Raises InputError where nothing could be chosen or tested."""
    for part in ("validation", "test"):
        if not len(getattr(job.known, part).users):
            raise InputError(
                f"{job.name}: no user has a dislike in the {part} part and one before it, so nothing can be "
                f"{'chosen' if part == 'validation' else 'tested'}; CoNRec needs more ratings up to "
                f"{job.events.negative} (--conrec_negative)"
            )


def codes_for(job):
    """K, the codes of a level.  Raises InputError where there are fewer IDs than items."""
    n_items, K = job.events.n_items, job.settings.conrec_codes
    if K and n_items > K**3:
        few = f"make {K**3:,} IDs, too few for {n_items} items"
        raise InputError(f"--conrec_codes {K}: {few}; take more, or leave it out")
    return K or semantic_ids.codes_for(n_items)


def texts_of(job):
    """What an encoder reads of each item of the catalog: "Toy Story (1995), Animation, Comedy"."""
    return item_texts(titles.item_table(job.atomic), job.events.item_ids, genres=True)


def of_backbone(job):
    """What the trained stages depend on besides their own settings."""
    options, weights = job.settings, find_weights(job.settings)
    if weights is None:
        return {"backbone": "tiny"}
    return {
        "backbone": revision(weights), "rank": options.conrec_lora_rank, "dtype": dtype_of(options, job.device),
        "domain": domain_of(job.name, options),
    }  # fmt: skip


def open_run(job, origin):
    """Take the run folder, once the input is known to be usable."""
    settings = job.options.effective()
    job.run.open(settings, origin, job.options.run.resume, COLUMNS)
    job.log(RULE, *(f"{key}: {value}" for key, value in settings.items()), RULE)


# --------------------------------------------------------------------------------------------- events and IDs


def make_events(job, stages, origin):
    """The Stage of events.csv."""

    def build(folder):
        evaluation.write_csv(folder / "events.csv", events_of.to_frame(job.events))

    settings = {name: origin[name] for name in ("sha256", "items")}
    settings["negative"] = job.settings.conrec_negative
    return stages.make("events", None, settings, EVENTS_VERSION, build)


def make_ids(job, stages, after, vectors):
    """The Stage of the catalog."""
    options, events = job.settings, job.events
    texts, K = texts_of(job), job.K

    def build(folder):
        if not utils.is_first():
            return
        job.log(f"semantic IDs: {events.n_items} items, {K} codes a level")
        semantic_ids.make(
            vectors.make(job.device), K, options.random_seed, options.conrec_rq_epochs, folder,
            item_ids=events.item_ids, titles=events.titles,
        )  # fmt: skip

    settings = {"texts": hash_of(texts), "K": K, "epochs": options.conrec_rq_epochs} | vectors.settings
    return stages.make("sids", after, settings, SIDS_VERSION, build)
