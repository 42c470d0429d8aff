"""ReFINe++: a recommender that models negative feedback refined by a language model.

    python main.py --dataset ML-100K                              fetch, prepare, refine, train, test, compare
    python main.py --dataset ML-100K --dataset_augment original   the same without refinement
    python main.py --dataset ML-100K --model LightGCN             a system it is compared with (baselines/)
    python main.py --dataset path/to/folder                       your own .inter and .item
    python main.py --dataset ML-100K --resume                     go on with a run that was interrupted
    python main.py --recommend 42 --run result/ML-100K/NAME       what a finished run recommends to user 42

Three stages: prepare (atomic_files/) and refine (llm_feedback.py), each skipped when its result is already on disk and
belongs to the same input, and train (training.py, model.py), which never overwrites a run folder.
"""

import sys
from functools import partial

import numpy as np
import torch
from torch_geometric import seed_everything

import dataloader
import flags
import llm_feedback
import llm_negatives
import run_folder
import shell
import training
import utils
from atomic_files import preparation
from baselines import MODELS
from baselines.hnlmrec import wants_vectors
from recommend import load_model, recommend
from results4comparison import compare
from shell import AGAIN, Stopped
from utils import InputError

RULE = "#" * 77


def main(argv=None):
    options = flags.parse(argv)
    if "recommend" in options:
        return recommend(options)

    # the machine
    torch.set_flush_denormal(True)  # Adam's moments decay below 1e-38, where an Intel core computes 8 times slower
    device = utils.pick_device(options.device)
    utils.be_deterministic(device, options.deterministic)
    options.device = str(device)

    # the data set and the run folder
    name, raw, folder = preparation.locate(options.dataset, options.data_dir)
    flags.of_data_set(options, name)
    options.path_name = options.path_name or f"{options.model}_{options.dataset_augment}_{options.random_seed}"
    with run_folder.Run(options.result_dir / name / options.path_name) as run:
        fit(name, raw, folder, options, device, run)


def fit(name, raw, folder, options, device, run):
    """The three stages on one data set: prepare, refine, train and test."""
    settings = flags.settings(options)
    run.check(settings, options.resume)

    # prepare and refine: files in, CSVs out
    with utils.locked(folder, run.log):
        preparation.prepare(name, raw, folder, run.log)
        splits = hashes_of_splits(name, folder)
    items = preparation.item_table(raw)
    if options.dataset_augment == "augment":
        train_csv, labels = llm_feedback.refine(name, folder, items, options, device, run.log)
    else:
        train_csv, labels = folder / f"{name}_train_original.csv", {"llm": None, "llm_mode": None}

    # load; once the input is known to be usable, the run folder is taken
    train_hash = utils.sha256(train_csv)
    data = dataloader.load(folder, name, train_csv, device)
    if (utils.sha256(train_csv), hashes_of_splits(name, folder)) != (train_hash, splits):
        raise InputError(f"{folder}: its CSVs changed while this run was reading them; start it again")
    if training.cut_offs(options)[-1] > data.n_items:
        raise InputError(f"--top_k {options.top_k[-1]}: {name} has only {data.n_items} items to rank (and needs 20)")
    columns = [*MODELS[options.model].columns, *utils.metric_names(training.cut_offs(options))]
    made_from = {"train_csv": train_csv.name, "sha256": train_hash, "llm": labels["llm"]}
    made_from |= {"validation": splits["validation"], "test": splits["test"]}

    # hard negatives, for the model that has a use for them
    negatives = None
    if options.model == "HNLMRec" and wants_vectors(options):
        cf = partial(cf_vectors, name, raw, folder, train_csv, data, options, device)
        found = llm_negatives.prepare(name, folder, items, train_csv, data, cf, options, device, run.log)
        data.hard, negatives, made_from["negatives"] = found
    run.open(settings, made_from, options.resume, columns)
    counts = count(data, MODELS[options.model])
    log_header(run, settings, train_csv, counts, data)

    # train: the model is left with the weights that were best on validation
    model, outcome = learn(data, options, device, run)
    run.log("", f"Training completed in {outcome.seconds:.1f} seconds ({outcome.ended}).")
    best = f"solution {outcome.best_epoch}" if model.closed_form else f"epoch {outcome.best_epoch}"
    run.log(f"Best {best}, validation Recall@20 {outcome.best_score:.4f}")

    # test
    validation = utils.means(training.measure(model, data, data.validation, options))
    per_user = training.measure(model, data, data.test, options)
    test = utils.means(per_user)
    run.log("", RULE, "Final Test Results", *utils.metric_lines(test, options.top_k), RULE)

    # what is left behind
    leave_behind(model, data, items, outcome, per_user, options, run)
    summary = {"dataset": name, "model": options.model, "random_seed": options.random_seed, "data": counts}
    summary |= outcome.figures()
    summary |= {"validation": validation, "test": test}
    summary |= {"peak_memory_mb": utils.peak_memory_mb(device), "device": utils.device_name(device)}
    summary |= {"dataset_augment": options.dataset_augment, **labels, "negatives": negatives}
    summary |= {"flags": flags.changed(options, name), "commit": run_folder.commit()}
    published = compare.published(name, options.model)
    run_folder.plot_curves(run.folder / "curves.png", run.epochs, published)
    run.log("", *compare.table(summary, published), "", f"Run folder: {run.folder}")
    utils.write_json(run.folder / "summary.json", summary)  # last: a run with a summary is a finished one


def hashes_of_splits(name, folder):
    """{part: SHA-256}: a run that is resumed, or that waited for a language model, must find the same CSVs again."""
    return {part: utils.sha256(folder / f"{name}_{part}.csv") for part in preparation.PARTS}


def cf_vectors(name, raw, folder, train_csv, data, options, device):
    """(U + I, d): the rows of a LightGCN on the same ratings, propagated, of its best epoch.

    It is a run of its own, at the defaults and with --llm_seed, so that one set of vectors serves every training seed
    and backbone.  Made, resumed, or found finished.  Of validation it knows only the epoch to stop at.
    """
    ratings = llm_negatives.ratings_name(folder, train_csv)
    own = flags.parse(["--dataset", options.dataset, "--model", "LightGCN"])
    for flag, value in vars(options).items():
        if flag in flags.OF_RATINGS:
            setattr(own, flag, value)
    flags.of_data_set(own, name)
    own.random_seed, own.path_name = options.llm_seed, f"cf_{ratings}_{options.llm_seed}"
    with run_folder.Run(options.result_dir / name / own.path_name) as run:
        if not (run.folder / "summary.json").exists():
            own.resume = (run.folder / "config.json").exists()
            try:
                fit(name, raw, folder, own, device, run)
            except Stopped as stop:  # its own message says --resume, which is not for the run that wants these vectors
                raise Stopped(stop.number, AGAIN) from None
        config = run_folder.read_config(run.folder)
        if config["made_from"]["sha256"] != utils.sha256(train_csv):
            raise InputError(f"{run.folder}: was trained on another {train_csv.name}; delete it to train it anew")
        model = load_model(run.folder, config, data, device)
    with torch.no_grad():
        return torch.cat(model.embeddings()).cpu().numpy()


def count(data, model_class):
    """The header counts of the published logs; train counts the interactions that the model learns from."""
    return {
        "users": data.n_users,
        "items": data.n_items,
        "train": len(data.edges(model_class.trains_on)),
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
    run.log(
        RULE,
        f"train set: {train_csv}",
        f"user: {counts['users']},  item: {counts['items']}",
        f"train interactions: {counts['train']}  (confirmed negatives: {len(data.confirmed_negatives.cols)})",
        f"valid interactions: {counts['validation']}",
        f"test interactions: {counts['test']}",
        RULE,
    )


def learn(data, options, device, run):
    """(model, training.Outcome).  Raises InputError where the memory does not suffice."""
    seed_everything(options.random_seed)  # only now: loading a language model may draw random numbers
    utils.reset_peak_memory(device)
    generator = torch.Generator(device).manual_seed(options.random_seed)
    try:
        model = MODELS[options.model](data, options, generator).to(device)
        run.log(f"{options.model}: {', '.join(model.terms())}")
        if model.closed_form:
            return model, training.solve(model, data, options, run)
        return model, training.train(model, data, options, run)
    except RuntimeError as error:
        if not utils.out_of_memory(error):
            raise
        cure = f"a --test_batch_size below {options.test_batch_size} takes less"
        if "batch_size" in options:
            cure = f"a --batch_size below {options.batch_size} takes less, or {cure}"
        raise InputError(f"training does not fit into the memory of {utils.device_name(device)}; {cure}") from None


def leave_behind(model, data, items, outcome, per_user, options, run):
    """The best weights, the metrics of each user, and what is recommended to whom."""
    utils.save(run.folder / "best.pt", {"epoch": outcome.best_epoch, "model": model.state_dict()})
    run_folder.write_per_user(run.folder / "per_user.csv", per_user, data)
    users = np.arange(data.n_users)
    with torch.no_grad():
        ranked = utils.rank(*model.embeddings(), data.seen, users, 20, options.test_batch_size)
        run_folder.write_recommendations(run.folder / "recommendations.csv", ranked, data, items)


if __name__ == "__main__":
    sys.exit(shell.cli(main))
