"""ReFINe++: a recommender that models negative feedback refined by a language model.

    python main.py --dataset ML-100K                              fetch, prepare, refine, train, test, compare
    python main.py --dataset ML-100K --dataset_augment original   the same without refinement
    python main.py --dataset path/to/folder                       your own .inter and .item
    python main.py --dataset ML-100K --resume                     go on with a run that was interrupted

Three stages: prepare (dataloader.py) and refine (llm_feedback.py), each skipped when its result is already on disk and
belongs to the same input, and train (here, model.py, utils.py), which never overwrites a run folder.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch_geometric import seed_everything
from tqdm import tqdm

import dataloader
import llm_feedback
import utils
from data.sources import DATASETS
from model import ReFINePlusPlus, penalty
from results4comparison import compare
from utils import InputError

CHECKPOINT_SECONDS = 20  # between two last.pt: a kill costs at most this much work, and the epoch in flight
LEAST = {  # smallest value of each number
    "embedding_dim": 1, "layers": 0, "hidden_dim": 1, "real_neg_samp_prob": 0, "lambda_reg": 0, "lambda_ae": 0,
    "learning_rate": 0, "batch_size": 1, "epochs": 1, "early_stopping_step": 1, "evaluation_step": 1,
    "test_batch_size": 1, "random_seed": 0,
    "llm_seed": 0, "llm_permutations": 1, "llm_question_size": 1, "llm_profile": 0, "llm_batch_tokens": 1,
    "llm_concurrency": 1, "llm_timeout": 1,
}  # fmt: skip
RULE = "#" * 77


def parse(argv=None):
    about, style = __doc__.split("\n")[0], argparse.ArgumentDefaultsHelpFormatter
    parser = argparse.ArgumentParser(description=about, formatter_class=style, allow_abbrev=False)
    parser.error = lambda message: sys.exit(utils.fail(f"{message} (--help lists the flags)"))
    names = ", ".join(DATASETS)

    add = parser.add_argument_group("what to run").add_argument
    add("--dataset", required=True, help=f"{names}, or the path of a folder with one .inter and one .item file")
    add("--model", default="ReFINe++", choices=["ReFINe++"], help="the recommender to train")
    add("--dataset_augment", default="augment", choices=["augment", "original"],
        help="train on refined ratings, or on the ratings as they are (no refinement)")
    add("--random_seed", type=int, default=2024, help="of initial weights, shuffling and negative sampling")

    llm_feedback.add_flags(parser.add_argument_group("language model, which sorts each user's 2s and 3s").add_argument)

    add = parser.add_argument_group("model").add_argument
    add("--embedding_dim", type=int, default=64, help="dimensions of embeddings and codes")
    add("--layers", type=int, help="propagation layers of LightGCN; None: the data set's, 4 (Amazon_Books: 2)")
    add("--hidden_dim", type=int, default=600, help="hidden units of the autoencoders")
    add("--no_autoencoder", action="store_true", help="leave out the autoencoders and their alignment")
    add("--graph", default="signed", choices=["signed", "positive"],
        help="signed: confirmed negatives are ordinary edges, as in the released code; positive: they are none")

    add = parser.add_argument_group("loss").add_argument
    add("--negatives", default="shared", choices=["shared", "per_user"],
        help="shared: one set of sampled negatives a batch, as in the released code; per_user: one set a user")
    add("--real_neg_samp_prob", type=float, default=1.5, help="gamma: sampling weight of a confirmed negative (else 1)")
    add("--lambda_reg", type=float, default=1e-7, help="weight of ||E||^2 / 2")
    add("--lambda_ae", type=float, default=1e-5, help="weight of ||autoencoder parameters||^2 / 2")

    add = parser.add_argument_group("training").add_argument
    add("--learning_rate", type=float, default=1e-3, help="of Adam")
    add("--batch_size", type=int, default=1024, help="train edges of both signs a step")
    add("--epochs", type=int, default=1000, help="at most this many")
    add("--early_stopping_step", type=int, default=50, help="evaluations in a row without a better Recall@20")
    add("--evaluation_step", type=int, default=1, help="epochs between two evaluations")
    add("--test_batch_size", type=int, default=1024, help="users ranked at once: bounds memory, changes no result")
    add("--top_k", type=int, nargs="+", default=[5, 10, 15, 20], help="cut-offs of the metrics")
    add("--device", default="auto", help="auto (CUDA if there is one), cpu, cuda, cuda:1")

    add = parser.add_argument_group("files").add_argument
    add("--data_dir", type=Path, default=Path("data"), help="each data set has a folder in it")
    add("--result_dir", type=Path, default=Path("result"), help="run folders are <result_dir>/<dataset>/<path_name>")
    add("--path_name", help="name of the run folder; None: made of model, ratings and seed")
    add("--resume", action="store_true", help="go on from the run folder's last.pt")

    options = parser.parse_args(argv)
    for name, least in LEAST.items():
        if getattr(options, name) is not None and not least <= getattr(options, name) < float("inf"):
            raise InputError(f"--{name} {getattr(options, name)}: must be a number of at least {least}")
    for name, most in {"random_seed": 2**32 - 1, "llm_seed": 2**32 - 1, "llm_question_size": 10}.items():
        if getattr(options, name) > most:
            raise InputError(f"--{name} {getattr(options, name)}: must be at most {most}")
    options.top_k = sorted(set(options.top_k))
    if options.top_k[0] < 1:
        raise InputError(f"--top_k {options.top_k[0]}: cut-offs start at 1")
    return options


def cut_offs(options):
    return sorted({*options.top_k, 20})  # early stopping needs Recall@20 whatever is printed


def measure(model, data, relevant, options):
    """{"recall@20": (users,), ...} of the model's present weights on data.validation or data.test; the printed figures
    are the means."""
    model.eval()
    with torch.no_grad():
        embeddings = model.embeddings()
    return utils.evaluate(embeddings, data, relevant, cut_offs(options), options.test_batch_size)


def train(model, data, options, run):
    """Train until early stopping and return (EarlyStopping, epochs run, training seconds).  Each epoch prints what the
    published logs print; last.pt is written now and then, so that a killed run can go on."""
    optimizer = torch.optim.Adam(model.parameter_groups(), lr=options.learning_rate, fused=True)
    shuffle = torch.Generator().manual_seed(options.random_seed)
    stopping = utils.EarlyStopping(options.early_stopping_step)
    checkpoint = utils.Checkpoint(run.folder / "last.pt", model, optimizer, shuffle, stopping)
    epoch, seconds = checkpoint.load(run) if options.resume else (0, 0.0)
    started, saved = time.perf_counter(), -float("inf")
    steps = -(-len(data.users) // options.batch_size)
    while epoch < options.epochs and not stopping.over:
        epoch += 1
        model.train()
        model.start_epoch(epoch)
        total = torch.zeros((), device=data.device)  # summed there: reading it each step would wait for the device
        batches = data.batches(options.batch_size, shuffle)
        for batch in tqdm(batches, f"epoch {epoch}", steps, unit="step", leave=False, disable=None):
            loss = model.loss(batch)
            total += loss.detach() + penalty(optimizer)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        row = {"epoch": epoch, "loss": float(total) / steps}
        if not np.isfinite(row["loss"]):
            raise InputError(f"epoch {epoch}: the loss is {row['loss']}; try a smaller --learning_rate")
        lines = ["", f"Epoch: {epoch:03d}, Loss: {row['loss']:.4f}"]
        if epoch % options.evaluation_step == 0 or epoch == options.epochs:
            metrics = utils.means(measure(model, data, data.validation, options))
            row |= metrics
            lines += utils.metric_lines(metrics, options.top_k)
            if stopping.update(metrics["recall@20"], epoch, model.state_dict()):
                lines.append(f"Best so far: validation Recall@20 {metrics['recall@20']:.4f}")
            else:
                lines.append(f"EarlyStopping counter: {stopping.counter} out of {stopping.patience}")
        run.log(*lines)
        run.add_epoch(row)
        if time.perf_counter() - saved > CHECKPOINT_SECONDS:
            checkpoint.save(epoch, seconds + time.perf_counter() - started, run)
            saved = time.perf_counter()
    seconds += time.perf_counter() - started
    checkpoint.save(epoch, seconds, run)
    return stopping, epoch, seconds


def settings(options):
    """The effective settings, as plain JSON values."""
    return {key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()}


def main(argv=None):
    options = parse(argv)
    torch.set_flush_denormal(True)  # Adam's moments decay below 1e-38, where an Intel core computes 8 times slower
    device = utils.pick_device(options.device)
    name, raw, folder = dataloader.locate(options.dataset, options.data_dir)
    if options.layers is None:
        options.layers = DATASETS[name].layers if name in DATASETS else 4
    options.device = str(device)
    options.path_name = options.path_name or f"{options.model}_{options.dataset_augment}_{options.random_seed}"
    run = utils.Run(options.result_dir / name / options.path_name)
    run.check(settings(options), options.resume)

    # prepare and refine: files in, CSVs out
    dataloader.prepare(name, raw, folder, run.log)
    items = dataloader.item_table(raw)
    train_csv, labels = folder / f"{name}_train_original.csv", {"llm": None, "llm_mode": None}
    if options.dataset_augment == "augment":
        train_csv, labels = llm_feedback.refine(name, folder, items, options, device, run.log)
    data = dataloader.load(folder, name, train_csv, device)
    if cut_offs(options)[-1] > data.n_items:
        raise InputError(f"--top_k {options.top_k[-1]}: {name} has only {data.n_items} items to rank (and needs 20)")
    counts = {
        "users": data.n_users, "items": data.n_items, "train": len(data.users),
        "validation": len(data.validation.cols), "test": len(data.test.cols),
    }  # fmt: skip
    made_from = {"train_csv": train_csv.name, "sha256": dataloader.sha256(train_csv), "llm": labels["llm"]}
    run.open(settings(options), made_from, utils.metric_names(cut_offs(options)))
    run.log(
        RULE,
        *(f"{key}: {value}" for key, value in settings(options).items()),
        RULE,
        f"train set: {train_csv}",
        f"user: {counts['users']},  item: {counts['items']}",
        f"train interactions: {counts['train']}  (confirmed negatives: {len(data.confirmed_negatives.cols)})",
        f"valid interactions: {counts['validation']}",
        f"test interactions: {counts['test']}",
        RULE,
    )

    # train
    seed_everything(options.random_seed)  # only now: loading a language model may draw random numbers
    model = ReFINePlusPlus(data, options, torch.Generator(device).manual_seed(options.random_seed)).to(device)
    stopping, epochs_run, seconds = train(model, data, options, run)
    ended = "early stopping" if stopping.over else f"--epochs {options.epochs} reached before early stopping"
    run.log("", f"Training completed in {seconds:.1f} seconds ({ended}).")
    run.log(f"Best epoch {stopping.best_epoch}, validation Recall@20 {stopping.best_score:.4f}")

    # test, always with the best epoch's weights
    model.load_state_dict(stopping.best_state)
    validation = utils.means(measure(model, data, data.validation, options))
    per_user = measure(model, data, data.test, options)
    test = utils.means(per_user)
    run.log("", RULE, "Final Test Results", *utils.metric_lines(test, options.top_k), RULE)

    # what is left behind
    utils.save(run.folder / "best.pt", {"epoch": stopping.best_epoch, "model": stopping.best_state})
    utils.write_per_user(run.folder / "per_user.csv", per_user, data)
    with torch.no_grad():
        ranked = utils.rank(*model.embeddings(), data.seen, np.arange(data.n_users), 20, options.test_batch_size)
        utils.write_recommendations(run.folder / "recommendations.csv", ranked, data, items)
    summary = {
        "dataset": name, "model": options.model, "random_seed": options.random_seed, "data": counts,
        "best_epoch": stopping.best_epoch, "epochs_run": epochs_run, "validation": validation, "test": test,
        "train_seconds": round(seconds, 1), "seconds_per_epoch": round(seconds / epochs_run, 3),
        "peak_memory_mb": utils.peak_memory_mb(device), "device": utils.device_name(device),
        "dataset_augment": options.dataset_augment, **labels, "commit": utils.commit(),
    }  # fmt: skip
    utils.write_json(run.folder / "summary.json", summary)
    published = compare.published(name, options.model)
    utils.plot_curves(run.folder / "curves.png", run.epochs, published)
    run.log("", *compare.table(summary, published), "", f"Run folder: {run.folder}")


def cli(argv=None):
    """main() for the shell: exit code 0, 2 for unusable input (one line on stderr), 130 when interrupted."""
    try:
        main(argv)
    except InputError as error:
        return utils.fail(error)
    except OSError as error:  # a full disk, a folder that may not be written to
        return utils.fail(f"{error.filename or 'a file'}: {error.strerror or error}")
    except KeyboardInterrupt:
        print("interrupted; the same command with --resume goes on after the last saved epoch", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(cli())
