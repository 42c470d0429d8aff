"""ReFINe++: a recommender that models negative feedback refined by a language model.

    python main.py --dataset ML-100K                              fetch, prepare, refine, train, test, compare
    python main.py --dataset ML-100K --dataset_augment original   the same without refinement
    python main.py --dataset ML-100K --model LightGCN             a system it is compared with (baselines/)
    python main.py --dataset path/to/folder                       your own .inter and .item
    python main.py --dataset ML-100K --resume                     go on with a run that was interrupted
    python main.py --recommend 42 --run result/ML-100K/NAME       what a finished run recommends to user 42

Three stages: prepare (atomic_files/) and refine (llm_feedback.py), each skipped when its result is already on disk and
belongs to the same input, and train (here, model.py, utils.py), which never overwrites a run folder.
"""

import sys
import time
from itertools import islice

import numpy as np
import torch
from torch_geometric import seed_everything
from tqdm import tqdm

import dataloader
import flags
import llm_feedback
import run_folder
import shell
import utils
from atomic_files import preparation
from baselines import MODELS
from model import penalty
from recommend import recommend
from results4comparison import compare
from shell import Stopped
from utils import InputError

CHECKPOINT_SECONDS = 20  # between two last.pt: a kill costs at most this much work, and the epoch in flight
RULE = "#" * 77


def parse(argv=None):
    return flags.parse(argv, __doc__.split("\n")[0])


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
    """Train until early stopping and return (EarlyStopping, epochs run, training seconds, how it ended).

    Each epoch prints what the published logs print; an epoch of a closed-form model is one of its solutions, without
    steps.  last.pt is written now and then and when a signal asks to stop, between two steps, so that --resume goes on
    from there.  A loss that is not finite ends training; the best weights so far are kept.
    """
    closed = model.solutions is not None
    last, patience = (model.solutions, model.solutions) if closed else (options.epochs, options.early_stopping_step)
    steps = 0 if closed else -(-len(data.edges(model.trains_on)[0]) // options.batch_size)
    optimizer = torch.optim.Adam(model.parameter_groups(), lr=0.0 if closed else options.learning_rate, fused=True)
    shuffle = torch.Generator().manual_seed(options.random_seed)
    stopping = utils.EarlyStopping(patience)
    zero = torch.zeros((), device=data.device)
    at = run_folder.Progress(0, 0, zero, zero + steps, shuffle.get_state(), 0.0)
    checkpoint = run_folder.Checkpoint(run.folder / "last.pt", model, optimizer, shuffle, stopping, at)
    if options.resume:
        checkpoint.load(run)

    def save(asked):
        """Write last.pt if it is due; end here if a signal asked to.  Saving takes a twentieth of the time at most."""
        if asked or time.perf_counter() - checkpoint.saved > max(CHECKPOINT_SECONDS, 20 * checkpoint.took):
            checkpoint.save(run)
        if asked:
            where = f"epoch {at.epoch + 1}, step {at.step}"
            raise Stopped(asked[0], f"stopped and saved in {where}; the same command with --resume goes on there")

    with shell.deferred_signals() as asked:
        while at.epoch < last and not stopping.over:
            model.train()
            note = None
            if at.step == 0:
                at.shuffled, at.total, at.diverged = shuffle.get_state(), torch.zeros_like(zero), zero + steps
                note = model.start_epoch(at.epoch + 1)
            shuffle.set_state(at.shuffled)
            batches = () if closed else data.batches(options.batch_size, shuffle, model.trains_on)
            bar = {"desc": f"epoch {at.epoch + 1}", "total": steps, "initial": at.step, "unit": "step", "leave": False}
            for batch in tqdm(islice(batches, at.step, None), **bar, disable=None):
                loss = model.loss(batch)
                # Summed on the device: reading a value in each step would wait for it.
                at.total += loss.detach() + penalty(optimizer)
                at.diverged = torch.where(loss.detach().isfinite(), at.diverged, at.diverged.clamp(max=at.step))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                at.step += 1
                save(asked)
            epoch = at.epoch + 1
            if at.diverged < steps or not all(p.isfinite().all() for p in model.parameters()):
                where = f"epoch {epoch}, step {min(int(at.diverged) + 1, steps)} of {steps}"
                if not stopping.best_epoch:
                    raise InputError(f"{where}: the loss is not finite, and there is no better epoch to go back to; "
                                     "try a smaller --learning_rate")  # fmt: skip
                ended = f"diverged in {where}: the loss is not finite; the best epoch before is kept"
                break
            row = {"epoch": epoch, "loss": float(at.total) / max(steps, 1)}
            lines = ["", f"Epoch: {epoch:03d}, Loss: {row['loss']:.4f}", *([note] if note else [])]
            if closed or epoch % options.evaluation_step == 0 or epoch == last:
                metrics = utils.means(measure(model, data, data.validation, options))
                row |= metrics
                lines += utils.metric_lines(metrics, options.top_k)
                if stopping.update(metrics["recall@20"], epoch, model.state_dict()):
                    lines.append(f"Best so far: validation Recall@20 {metrics['recall@20']:.4f}")
                else:
                    lines.append(f"EarlyStopping counter: {stopping.counter} out of {stopping.patience}")
            run.log(*lines)
            run.add_epoch(row)
            at.epoch, at.step = epoch, 0
            save(asked)
        else:
            ended = f"closed form, {last} solutions" if closed else f"--epochs {last} reached before early stopping"
            ended = "early stopping" if stopping.over else ended
            checkpoint.save(run)
        if asked:
            raise Stopped(asked[0], "stopped after the last epoch; the same command with --resume goes on to the test")
    return stopping, at.epoch, checkpoint.seconds, ended


def main(argv=None):
    options = parse(argv)
    if "recommend" in options:
        return recommend(options)
    torch.set_flush_denormal(True)  # Adam's moments decay below 1e-38, where an Intel core computes 8 times slower
    device = utils.pick_device(options.device)
    utils.be_deterministic(device, options.deterministic)
    name, raw, folder = preparation.locate(options.dataset, options.data_dir)
    flags.of_data_set(options, name)
    options.device = str(device)
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
        items = preparation.item_table(raw)
        train_csv, labels = folder / f"{name}_train_original.csv", {"llm": None, "llm_mode": None}
        if options.dataset_augment == "augment":
            train_csv, labels = llm_feedback.refine(name, folder, items, options, device, run.log)
    data = dataloader.load(folder, name, train_csv, device)
    if cut_offs(options)[-1] > data.n_items:
        raise InputError(f"--top_k {options.top_k[-1]}: {name} has only {data.n_items} items to rank (and needs 20)")
    counts = {
        "users": data.n_users, "items": data.n_items, "train": len(data.edges(MODELS[options.model].trains_on)[0]),
        "validation": len(data.validation.cols), "test": len(data.test.cols),
    }  # fmt: skip
    made_from = {"train_csv": train_csv.name, "sha256": utils.sha256(train_csv), "llm": labels["llm"]}
    made_from |= {part: utils.sha256(folder / f"{name}_{part}.csv") for part in ("validation", "test")}
    run.open(settings, made_from, options.resume, utils.metric_names(cut_offs(options)))
    run.log(
        RULE,
        *(f"{key}: {value}" for key, value in settings.items()),
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
    model = MODELS[options.model](data, options, torch.Generator(device).manual_seed(options.random_seed)).to(device)
    run.log(f"{options.model}: {', '.join(model.terms)}")
    stopping, epochs_run, seconds, ended = train(model, data, options, run)
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
    run_folder.write_per_user(run.folder / "per_user.csv", per_user, data)
    with torch.no_grad():
        ranked = utils.rank(*model.embeddings(), data.seen, np.arange(data.n_users), 20, options.test_batch_size)
        run_folder.write_recommendations(run.folder / "recommendations.csv", ranked, data, items)
    summary = {
        "dataset": name, "model": options.model, "random_seed": options.random_seed, "data": counts,
        "best_epoch": stopping.best_epoch, "epochs_run": epochs_run, "ended": ended,
        "validation": validation, "test": test,
        "train_seconds": round(seconds, 1), "seconds_per_epoch": round(seconds / epochs_run, 3),
        "peak_memory_mb": utils.peak_memory_mb(device), "device": utils.device_name(device),
        "dataset_augment": options.dataset_augment, **labels, "flags": flags.changed(options, name),
        "commit": run_folder.commit(),
    }  # fmt: skip
    published = compare.published(name, options.model)
    run_folder.plot_curves(run.folder / "curves.png", run.epochs, published)
    run.log("", *compare.table(summary, published), "", f"Run folder: {run.folder}")
    utils.write_json(run.folder / "summary.json", summary)  # last: a run with a summary is a finished one


if __name__ == "__main__":
    sys.exit(shell.cli(main))
