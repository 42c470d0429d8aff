"""One experiment from files to a test result: prepare, refine, train, test, leave behind.

main.py hands over to it once the command line and the run folder have been looked at.
"""

from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

import dataloader
import recommend
import utils
from feedback import refinement
from machine import hardware, processes
from machine.shell import AGAIN, Stopped
from negatives import stage
from options import command_line
from options.models import model_class
from options.refinement import WITHOUT_MODEL
from options.run import TrainingSettings
from preparation.dislikes import DISLIKES, hold_out, hold_out_by_time, parts_of, tested_on
from preparation.files import STARS, read_ratings
from preparation.locate import folder_of_atomic, folder_of_splits
from preparation.sources import DATASETS
from preparation.splits import prepare
from preparation.titles import item_texts, rated_items
from results4comparison import compare
from runs import artefacts, run_folder
from runs.run_folder import RULE
from training import evaluation, loop
from training.checkpoint import map_weights, save
from utils import InputError, hash_of

OF_RATINGS = (  # flags that the run of cf_vectors has from the run that it is made for, beside the refinement's
    "dataset_augment", "columns", "scale", "hold_out", "split", "data_dir", "result_dir", "device",
    "threads", "deterministic", "test_batch_size",
)  # fmt: skip


class Csvs(NamedTuple):
    """What prepare and refine made."""

    raw_files: dict  # what prepare says of the raw files
    splits: dict  # {part: SHA-256}
    items: pd.DataFrame  # the rated items
    train: Path  # the train CSV, refined or not
    labels: dict  # what summary.json says of labels


@processes.together()
def fit(name, raw, folder, options, run):
    """The three stages on one data set.

    name, raw, folder: of locate.  run: run_folder.Run.  options: command_line.Options; what is left open in them is
    filled in here.

    All processes of a run go through it (machine/processes.py).  The first one alone prepares, refines, and does a
    closed form.
    """
    closed_form = options.row.closed_form
    if closed_form and not utils.is_first():
        return
    device = hardware.set_up(options.run)
    hardware.use_threads(options.run, run)  # for what comes before training, such as a language model
    if not closed_form:
        processes.join(device)  # from here on several processes know of each other
        kind = model_class(options.run.model)
        processes.refuse_what_is_not_shared(kind, options.run.model, options.recommender)
    asked = deepcopy(options)
    run.check_settings(options.effective(), settled=False)

    # prepare and refine: files in, CSVs out
    csvs = processes.by_first(make_csvs, name, raw, folder, options, device, run)

    # load and build; once the input is known to be usable, the run folder is taken
    data, made_from = load(name, folder, csvs, options, device)
    processes.agree("flags and files", repr((sorted(asked.effective().items()), made_from)).encode())
    if options.run.model == "HNLMRec" and options.recommender.wants_vectors:
        own = folder_of_splits(folder, options.run.protocol)
        cf = partial(cf_vectors, name, raw, folder, csvs.train, data, asked, device)
        made = stage.prepare(name, own, csvs.items, csvs.train, data, cf, options.recommender, device, run.log)
        data.hard, csvs.labels["negatives"], made_from["negatives"] = made
    work = len(data.edges("all")) * getattr(options.recommender, "embedding_dim", data.n_items)  # EASE: items x items
    threads = hardware.use_threads(options.run, run, work)
    with memory_that_may_not_suffice(options.run, device):
        model = build(data, options, device)
    if options.run.model == "Blend":
        runs = options.recommender.blend
        made_from["blended"] = [utils.sha256(Path(blended) / "summary.json") for blended in runs]
    settings = options.effective() | model.settled()
    metrics = evaluation.metric_names(options.run.cut_offs, bool(options.run.protocol))
    run.open(settings, made_from, options.run.resume, [*model.columns, *metrics])
    counts = count(data, model)
    log_header(run, settings, csvs.train, counts, data)
    run.log(threads, f"{options.run.model}: {', '.join(model.terms())}")

    # train, test, leave behind
    outcome, validation, per_user = train_and_test(model, data, options, device, run)
    lists = leave_behind(model, data, csvs.items, outcome, per_user, options.run.test_batch_size, run)
    (peak_memory_mb,) = processes.largest(hardware.peak_memory_mb(device))
    if not utils.is_first():
        return
    test = evaluation.means(per_user)
    summary = {
        "dataset": name,
        "model": options.run.model,
        "random_seed": options.run.random_seed,
        "data": counts,
        **outcome.figures(),
        "validation": in_json(validation),
        "test": in_json(test),
        "lists": lists,
        "peak_memory_mb": peak_memory_mb,
        "device": processes.in_words(device),
        "dataset_augment": options.run.dataset_augment,
        **csvs.labels,
    }
    if options.run.protocol:
        summary |= {"protocol": options.run.protocol, "chosen_by": options.run.chosen_by}
    changed = options.ablation(name)
    if options.run.model == "Blend":
        changed["blend"] = model.terms()  # of which runs and seeds: config.json
    summary |= {"flags": changed, "commit": run_folder.commit()}
    show(summary, test, options.run, run)
    run.finish(summary, outcome.can_go_on)


def make_csvs(name, raw, folder, options, device, run):
    """Prepare and refine: Csvs.  What was picked where options left it open is filled in there."""
    with utils.locked(folder, run.log):
        own = folder_of_splits(folder, options.run.protocol)
        if options.run.protocol and options.run.split == "time":
            raw_files = hold_out_by_time(name, raw, own, run.log, options.run.reading)
        else:
            raw_files = prepare(name, raw, folder, run.log, options.run.reading)
            if options.run.protocol:
                hold_out(name, folder, own, run.log)
        splits = hashes_of_splits(name, own, options.run.protocol)
    if name not in DATASETS:
        refuse_without_dislikes(own / f"{name}_train_original.csv", options)
    items = rated_items(name, folder_of_atomic(raw, folder), own, run.log)
    if options.run.model == "Blend":
        first = options.recommender.blend[0]
        train_csv, labels = recommend.ratings_of(first)
        if recommend.held_out(first) != tested_on(splits):
            raise InputError(f"{first}: was tested on other validation or test rows than those in {own}")
    elif options.run.dataset_augment == "augment":
        asking = options.refinement
        labels = folder / f"{name}_train_augment.csv"
        found = asking.llm == "auto" and not asking.llm_url and labels.exists()
        if options.run.split == "time" and (found or (asking.llm == "shuffled" and not asking.llm_labels)):
            # whoever made them has seen what comes after the cut
            why = "was made with ratings that come later; --llm names another way, such as rule"
            raise InputError(f"--split time: {labels} {why}")
        train_csv, labels = refinement.refine(name, own, items, asking, device, run.log, folder)
        asking.llm, asking.llm_mode = labels["llm"], labels["llm_mode"]  # what was picked, for the settings
    else:
        train_csv, labels = own / f"{name}_train_original.csv", {"llm": None, "llm_mode": None}
    return Csvs(raw_files, splits, items, train_csv, labels)


def load(name, folder, csvs, options, device):
    """(TrainData, what config.json says the run is made from)."""
    protocol = options.run.protocol
    own = folder_of_splits(folder, protocol)
    train_hash = utils.sha256(csvs.train)
    data = dataloader.load(own, name, csvs.train, device, bool(protocol))
    if (utils.sha256(csvs.train), hashes_of_splits(name, own, protocol)) != (train_hash, csvs.splits):
        raise InputError(f"{own}: its CSVs changed while this run was reading them; start it again")
    if options.run.cut_offs[-1] > data.n_items:
        few = f"{name} has only {data.n_items} items to rank (and needs 20)"
        raise InputError(f"--top_k {options.run.top_k[-1]}: {few}")
    made_from = {"train_csv": csvs.train.name, "sha256": train_hash, "llm": csvs.labels.get("llm")}
    made_from |= {**csvs.splits, "raw": csvs.raw_files}
    if csvs.train.parent.parent.name == "feedback":
        made_from["labels"] = csvs.train.parent.name
    if options.run.model == "EASE" and any(options.recommender.ease_words):
        data.texts = item_texts(csvs.items, data.item_ids, genres=True)
        made_from["texts"] = hash_of(data.texts)
    return data, made_from


def refuse_without_dislikes(original, options):
    """Raises InputError where a model or the refinement has nothing to learn from or to sort, as with clicks or thumbs.

    original: the train CSV.
    """
    refined = options.run.dataset_augment == "augment"
    learned = options.row.needs_dislikes and not getattr(options.recommender, "no_autoencoder", False)
    if not (refined or learned):
        return
    ratings = read_ratings(original, ",", STARS).rating
    if not (ratings < 4).any():
        who = "a refinement sorts" if refined else f"--model {options.run.model} learns from"
        raise InputError(
            f"{original}: holds no rating below 4, and {who} these; from likes alone learn --model LightGCN, MF, EASE, "
            "Popularity, and ReFINe++ with --dataset_augment original --no_autoencoder"
        )
    asks = refined and options.refinement.llm not in WITHOUT_MODEL and options.refinement.unasked_twos != "ask"
    if asks and not (ratings == 3).any():
        raise InputError(
            f"{original}: holds no 3s, about which a language model is asked; --unasked_twos ask asks about the 2s, "
            "--llm twos takes them for confirmed negatives"
        )


def hashes_of_splits(name, folder, protocol):
    """{part: SHA-256}: a run that is resumed, or waited for a language model, must find the same CSVs."""
    return {part: utils.sha256(folder / f"{name}_{part}.csv") for part in parts_of(protocol)}


def cf_vectors(name, raw, folder, train_csv, data, asked, device):
    """(U + I, d): the rows of a LightGCN on the same ratings, propagated, of its best epoch.

    It is a run of its own, at the defaults and with --llm_seed, so that one set of vectors serves every training seed
    and backbone.  Made, resumed, or found finished.  Of validation it knows only the epoch to stop at.

    asked: the options of the run that wants them, as they were given.
    """
    seed = asked.recommender.llm_seed
    options = command_line.make({"dataset": asked.run.dataset, "model": "LightGCN", "random_seed": seed})
    options.refinement = deepcopy(asked.refinement)
    for flag in OF_RATINGS:
        setattr(options.run, flag, getattr(asked.run, flag))
    options.fill_in_of_data_set(name)
    protocol = options.run.protocol
    ratings = stage.ratings_name(folder_of_splits(folder, protocol), train_csv)
    options.run.path_name = "_".join(filter(None, ["cf", protocol, ratings, str(seed)]))
    with run_folder.Run(options.run.result_dir / name / options.run.path_name) as run:
        if not (run.folder / "summary.json").exists():
            options.run.resume = (run.folder / "config.json").exists()
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


def in_json(figures):
    """{metric: mean} with null for what no user says anything of: JSON knows no NaN."""
    return {name: None if figure != figure else figure for name, figure in figures.items()}


def count(data, model):
    """The header counts of the published logs; train: the interactions that the model learns from."""
    counts = {
        "users": data.n_users,
        "items": data.n_items,
        "train": len(data.edges(model.trains_on)),
        "validation": len(data.validation.cols),
        "test": len(data.test.cols),
    }
    if data.test_dislikes:
        for part in DISLIKES:
            dislikes = getattr(data, part)
            counts[part] = len(dislikes.rows.cols) + int(dislikes.unranked.sum())
    return counts


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
    )
    if data.test_dislikes:
        run.log(f"held-out dislikes: {counts['validation_dislikes']} for validation, {counts['test_dislikes']} to test")
    run.log(RULE)


def build(data, options, device):
    """The model with its initial weights."""
    if not options.row.closed_form:  # which draws nothing at random, or from the generator below
        from torch_geometric import seed_everything  # takes seconds

        seed_everything(options.run.random_seed)  # only now: loading a language model may draw random numbers
    hardware.keep_freed_memory()
    hardware.reset_peak_memory(device)
    generator = torch.Generator(device).manual_seed(options.run.random_seed)
    return processes.cut(model_class(options.run.model)(data, options.recommender, generator)).to(device)


@contextmanager
def memory_that_may_not_suffice(settings, device):
    """Raises InputError where the block does not fit into memory.  settings: RunSettings."""
    try:
        yield
    except RuntimeError as error:
        if not hardware.out_of_memory(error):
            raise
        cure = f"a --test_batch_size below {settings.test_batch_size} takes less"
        if isinstance(settings, TrainingSettings):
            cure = f"a --batch_size below {settings.batch_size} takes less, or {cure}"
        where = hardware.device_name(device)
        raise InputError(f"training does not fit into the memory of {where}; {cure}") from None


def train_and_test(model, data, options, device, run):
    """(Outcome, {metric: mean} on validation, {metric: (users,)} on test), both of the best weights."""
    learn = loop.solve if options.row.closed_form else loop.train
    with memory_that_may_not_suffice(options.run, device):
        outcome = learn(model, data, options.run, run)
    run.log("", f"Training completed in {outcome.seconds:.1f} seconds ({outcome.ended}).")
    run.log(f"Best {outcome.unit} {outcome.best_epoch}, validation {options.run.chosen_by} {outcome.best_score:.4f}")
    validation = evaluation.means(loop.measure(model, data, "validation", options.run))
    return outcome, validation, loop.measure(model, data, "test", options.run)


def leave_behind(model, data, items, outcome, per_user, block, run):
    """The best weights, the metrics of each user, and what is recommended to whom.  block: users ranked at once.

    Returns evaluation.beyond_accuracy of what is recommended, None in a process beside the first.
    """
    weights = map_weights(processes.whole, model, model.state_dict())
    users = np.arange(data.n_users)
    with torch.no_grad():
        ranked = list(evaluation.rank(*model.embeddings(), data.seen, users, 20, block))  # all processes have a part
    if not utils.is_first():
        return None
    listed = torch.cat([numbers for _, numbers, _ in ranked]).cpu().numpy()  # (U, 20)
    scores = torch.cat([scores for *_, scores in ranked]).cpu().numpy()
    save(run.folder / "best.pt", {"epoch": outcome.best_epoch, "model": weights})
    artefacts.write_per_user(run.folder / "per_user.csv", per_user, data)
    artefacts.write_recommendations(run.folder / "recommendations.csv", ranked, data, items)
    n_positives = np.bincount(data.positives.cols, minlength=data.n_items)
    return evaluation.beyond_accuracy(listed, scores > -np.inf, n_positives)


def show(summary, test, settings, run):
    """Draw the curves; print the comparison with published figures, and the test results."""
    published = None if settings.protocol else compare.published(summary["dataset"], settings.model)
    artefacts.plot_curves(run.folder / "curves.png", run.epochs, summary, published)
    run.log("", f"Run folder: {run.folder}", "")
    comparison = compare.write_table(summary, published)
    if comparison:
        run.log(*comparison, "")
    results = evaluation.metric_lines(test, settings.top_k)
    lists = "Coverage@20: {coverage@20:.4f}, Gini@20: {gini@20:.4f}, Popularity@20: {popularity@20:.1f}"
    lists = lists.format(**summary["lists"])
    run.log(RULE, "Final Test Results", *results, lists, RULE)  # what people look for, last
