"""One experiment from files to a test result: prepare, refine, train, test, leave behind.

main.py hands over to it once the command line and the run folder have been looked at.
"""

from collections import deque
from contextlib import contextmanager
from copy import copy
from functools import partial

import numpy as np
import torch
from torch_geometric import seed_everything

import dataloader
import recommend
import utils
from feedback import refinement
from machine import hardware, processes
from machine.shell import AGAIN, Stopped
from negatives import stage
from options import command_line
from options.models import MODELS, model_class
from options.negatives import wants_vectors
from options.refinement import REFINEMENT
from preparation.splits import PARTS, prepare
from preparation.titles import item_texts, rated_items
from results4comparison import compare
from runs import artefacts, run_folder
from runs.run_folder import RULE
from training import evaluation, loop
from training.checkpoint import of_weights, save
from utils import InputError, hash_of

OF_RATINGS = {  # flags that the run of cf_vectors has from the run that it is made for
    "dataset_augment", "half_stars", "data_dir", "result_dir", "device", "deterministic", "test_batch_size",
} | REFINEMENT  # fmt: skip


@processes.together()
def fit(name, raw, folder, options, run):
    """The three stages on one data set.

    name, raw, folder: of locate.  options: of command_line.parse and of_data_set; what is left open in them is filled
    in here.  run: run_folder.Run.

    All processes of a run go through it (machine/processes.py).  Prepare, refine and a closed form are the first one's
    alone.
    """
    closed_form = MODELS[options.model].closed_form
    if closed_form and not utils.is_first():
        return
    device = hardware.set_up(options)
    if not closed_form:
        processes.join(device)  # from here on several processes know of each other
        processes.refuse_what_is_not_shared(model_class(options.model), options)
    asked = copy(options)
    run.check_settings(command_line.settings(options), settled=False)

    # prepare and refine: files in, CSVs out
    splits, items, train_csv, labels = processes.by_first(make_csvs, name, raw, folder, options, device, run)

    # load and build; once the input is known to be usable, the run folder is taken
    train_hash = utils.sha256(train_csv)
    data = dataloader.load(folder, name, train_csv, device)
    if (utils.sha256(train_csv), hashes_of_splits(name, folder)) != (train_hash, splits):
        raise InputError(f"{folder}: its CSVs changed while this run was reading them; start it again")
    if loop.cut_offs(options)[-1] > data.n_items:
        raise InputError(f"--top_k {options.top_k[-1]}: {name} has only {data.n_items} items to rank (and needs 20)")
    made_from = {"train_csv": train_csv.name, "sha256": train_hash, "llm": labels.get("llm")}
    made_from |= {"validation": splits["validation"], "test": splits["test"]}
    if options.model == "EASE" and any(options.ease_words):
        data.texts = item_texts(items, data.item_ids, genres=True)
        made_from["texts"] = hash_of(data.texts)
    processes.agree("flags and files", repr((sorted(command_line.settings(asked).items()), made_from)).encode())
    if options.model == "HNLMRec" and wants_vectors(options):
        cf = partial(cf_vectors, name, raw, folder, train_csv, data, asked, device)
        found = stage.prepare(name, folder, items, train_csv, data, cf, options, device, run.log)
        data.hard, labels["negatives"], made_from["negatives"] = found
    with memory_that_may_not_suffice(options, device):
        model = build(data, options, device)
    settings = command_line.settings(options) | model.settled()
    columns = [*model.columns, *evaluation.metric_names(loop.cut_offs(options))]
    run.open(settings, made_from, options.resume, columns)
    counts = count(data, model)
    log_header(run, settings, train_csv, counts, data)
    run.log(f"{options.model}: {', '.join(model.terms())}")

    # train: the model is left with the weights that were best on validation
    learn = loop.solve if closed_form else loop.train
    with memory_that_may_not_suffice(options, device):
        outcome = learn(model, data, options, run)
    run.log("", f"Training completed in {outcome.seconds:.1f} seconds ({outcome.ended}).")
    run.log(f"Best {outcome.unit} {outcome.best_epoch}, validation Recall@20 {outcome.best_score:.4f}")

    # test
    validation = evaluation.means(loop.measure(model, data, data.validation, options))
    per_user = loop.measure(model, data, data.test, options)
    test = evaluation.means(per_user)
    run.log("", RULE, "Final Test Results", *evaluation.metric_lines(test, options.top_k), RULE)

    # what is left behind
    leave_behind(model, data, items, outcome, per_user, options, run)
    (peak_memory_mb,) = processes.largest(hardware.peak_memory_mb(device))
    if not utils.is_first():
        return
    summary = {"dataset": name, "model": options.model, "random_seed": options.random_seed, "data": counts}
    summary |= outcome.figures()
    summary |= {"validation": validation, "test": test}
    summary |= {"peak_memory_mb": peak_memory_mb, "device": processes.in_words(device)}
    summary |= {"dataset_augment": options.dataset_augment, **labels}
    changed = command_line.ablation(options, name)
    if options.model == "Blend":
        changed["blend"] = model.terms()  # of which runs and seeds: config.json
    summary |= {"flags": changed, "commit": run_folder.commit()}
    published = compare.published(name, options.model)
    artefacts.plot_curves(run.folder / "curves.png", run.epochs, summary, published)
    run.log("", *compare.table(summary, published), "", f"Run folder: {run.folder}")
    run.finish(summary, outcome.can_go_on)


def make_csvs(name, raw, folder, options, device, run):
    """Prepare and refine: (hashes_of_splits, the rated items' table, the train CSV, what summary.json says of labels).

    What was picked where options left it open is filled in there.
    """
    with utils.locked(folder, run.log):
        prepare(name, raw, folder, run.log, options.half_stars)
        splits = hashes_of_splits(name, folder)
    items = rated_items(name, raw, folder, run.log)
    if options.model == "Blend":
        train_csv, labels = recommend.ratings_of(options.blend[0])
        if recommend.held_out(options.blend[0]) != (splits["validation"], splits["test"]):
            raise InputError(f"{options.blend[0]}: was tested on other validation or test rows than those in {folder}")
    elif options.dataset_augment == "augment":
        train_csv, labels = refinement.refine(name, folder, items, options, device, run.log)
        options.llm, options.llm_mode = labels["llm"], labels["llm_mode"]  # what was picked, for the settings
    else:
        train_csv, labels = folder / f"{name}_train_original.csv", {"llm": None, "llm_mode": None}
    return splits, items, train_csv, labels


def hashes_of_splits(name, folder):
    """{part: SHA-256}: a run that is resumed, or that waited for a language model, must find the same CSVs again."""
    return {part: utils.sha256(folder / f"{name}_{part}.csv") for part in PARTS}


def cf_vectors(name, raw, folder, train_csv, data, asked, device):
    """(U + I, d): the rows of a LightGCN on the same ratings, propagated, of its best epoch.

    It is a run of its own, at the defaults and with --llm_seed, so that one set of vectors serves every training seed
    and backbone.  Made, resumed, or found finished.  Of validation it knows only the epoch to stop at.

    asked: the options of the run that wants them, as they were given.
    """
    options = command_line.parse(["--dataset", asked.dataset, "--model", "LightGCN"])
    for flag in OF_RATINGS:
        setattr(options, flag, getattr(asked, flag))
    command_line.of_data_set(options, name)
    ratings = stage.ratings_name(folder, train_csv)
    options.random_seed, options.path_name = asked.llm_seed, f"cf_{ratings}_{asked.llm_seed}"
    with run_folder.Run(options.result_dir / name / options.path_name) as run:
        if not (run.folder / "summary.json").exists():
            options.resume = (run.folder / "config.json").exists()
            try:
                fit(name, raw, folder, options, run)
            except Stopped as stop:  # its own message says --resume, which is not for the run that wants these vectors
                raise Stopped(stop.number, AGAIN) from None
        config = run_folder.read_config(run.folder)
        if config["made_from"]["sha256"] != utils.sha256(train_csv):
            raise InputError(f"{run.folder}: was trained on another {train_csv.name}; delete it to train it anew")
        model = recommend.load_model(run.folder, config, data, device)
    with torch.no_grad():
        return torch.cat(model.embeddings()).cpu().numpy()


def count(data, model):
    """The header counts of the published logs; train counts the interactions that the model learns from."""
    return {
        "users": data.n_users,
        "items": data.n_items,
        "train": len(data.edges(model.trains_on)),
        "validation": len(data.validation.cols),
        "test": len(data.test.cols),
    }


def log_header(run, settings, train_csv, counts, data):
    """The effective settings and the counts, as the published logs have them."""
    shared = dataloader.pairs_in_two_parts(data)
    if shared:
        run.log(f"WARNING: {shared} rows of the train, validation and test files repeat a user-item pair of another")
    run.log(RULE)
    for key, value in settings.items():
        run.log(f"{key}: {value}")
    if processes.count() > 1:
        run.log(f"processes: {processes.count()}, each with as many columns of the embeddings")
    run.log(
        RULE,
        f"train set: {train_csv}",
        f"user: {counts['users']},  item: {counts['items']}",
        f"train interactions: {counts['train']}  (confirmed negatives: {len(data.confirmed_negatives.cols)})",
        f"valid interactions: {counts['validation']}",
        f"test interactions: {counts['test']}",
        RULE,
    )


def build(data, options, device):
    """The model with its initial weights."""
    seed_everything(options.random_seed)  # only now: loading a language model may draw random numbers
    hardware.keep_freed_memory()
    hardware.reset_peak_memory(device)
    generator = torch.Generator(device).manual_seed(options.random_seed)
    return processes.cut(model_class(options.model)(data, options, generator)).to(device)


@contextmanager
def memory_that_may_not_suffice(options, device):
    """Raises InputError where the block does not fit into memory."""
    try:
        yield
    except RuntimeError as error:
        if not hardware.out_of_memory(error):
            raise
        cure = f"a --test_batch_size below {options.test_batch_size} takes less"
        if "batch_size" in options:
            cure = f"a --batch_size below {options.batch_size} takes less, or {cure}"
        where = hardware.device_name(device)
        raise InputError(f"training does not fit into the memory of {where}; {cure}") from None


def leave_behind(model, data, items, outcome, per_user, options, run):
    """The best weights, the metrics of each user, and what is recommended to whom."""
    weights = of_weights(processes.whole, model, model.state_dict())
    users = np.arange(data.n_users)
    with torch.no_grad():
        ranked = evaluation.rank(*model.embeddings(), data.seen, users, 20, options.test_batch_size)
        if not utils.is_first():
            deque(ranked, maxlen=0)  # its part of the first one's scores
            return
        save(run.folder / "best.pt", {"epoch": outcome.best_epoch, "model": weights})
        artefacts.write_per_user(run.folder / "per_user.csv", per_user, data)
        artefacts.write_recommendations(run.folder / "recommendations.csv", ranked, data, items)
