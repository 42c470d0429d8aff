"""ReFINe++: a recommender that models negative feedback refined by a language model.

    python main.py --dataset ML-100K                              fetch, prepare, refine, train, test, compare
    python main.py --dataset ML-100K --dataset_augment original   the same without refinement
    python main.py --dataset ML-100K --model LightGCN             a system it is compared with (baselines/)
    python main.py --dataset path/to/folder                       your own .inter and .item
    python main.py --dataset ML-100K --resume                     go on with a run that was interrupted
    python main.py --recommend 42 --run result/ML-100K/NAME       what a finished run recommends to user 42

Three stages: prepare (dataloader.py) and refine (llm_feedback.py), each skipped when its result is already on disk and
belongs to the same input, and train (here, model.py, utils.py), which never overwrites a run folder.
"""

import sys
import time

import numpy as np
import torch
from torch_geometric import seed_everything
from tqdm import tqdm

import dataloader
import flags
import llm_feedback
import run_folder
import utils
from baselines import MODELS
from model import penalty
from recommend import recommend
from results4comparison import compare
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
    """Train until early stopping and return (EarlyStopping, epochs run, training seconds).  Each epoch prints what the
    published logs print; last.pt is written now and then, so that a killed run can go on.  An epoch of a closed-form
    model is one of its solutions, without steps."""
    optimizer = torch.optim.Adam(model.parameter_groups(), lr=options.learning_rate, fused=True)
    shuffle = torch.Generator().manual_seed(options.random_seed)
    stopping = utils.EarlyStopping(options.early_stopping_step)
    checkpoint = run_folder.Checkpoint(run.folder / "last.pt", model, optimizer, shuffle, stopping)
    epoch, seconds = checkpoint.load(run) if options.resume else (0, 0.0)
    started, saved = time.perf_counter(), -float("inf")
    closed, last = model.solutions is not None, min(options.epochs, model.solutions or options.epochs)
    steps = 0 if closed else -(-len(data.edges(model.trains_on)[0]) // options.batch_size)
    while epoch < last and not stopping.over:
        epoch += 1
        model.train()
        note = model.start_epoch(epoch)
        total = torch.zeros((), device=data.device)  # summed there: reading it each step would wait for the device
        batches = () if closed else data.batches(options.batch_size, shuffle, model.trains_on)
        for batch in tqdm(batches, f"epoch {epoch}", steps, unit="step", leave=False, disable=None):
            loss = model.loss(batch)
            total += loss.detach() + penalty(optimizer)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        row = {"epoch": epoch, "loss": float(total) / max(steps, 1)}
        if not np.isfinite(row["loss"]):
            raise InputError(f"epoch {epoch}: the loss is {row['loss']}; try a smaller --learning_rate")
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
        if time.perf_counter() - saved > CHECKPOINT_SECONDS:
            checkpoint.save(epoch, seconds + time.perf_counter() - started, run)
            saved = time.perf_counter()
    seconds += time.perf_counter() - started
    checkpoint.save(epoch, seconds, run)
    return stopping, epoch, seconds


def main(argv=None):
    options = parse(argv)
    if "recommend" in options:
        return recommend(options)
    torch.set_flush_denormal(True)  # Adam's moments decay below 1e-38, where an Intel core computes 8 times slower
    device = utils.pick_device(options.device)
    name, raw, folder = dataloader.locate(options.dataset, options.data_dir)
    flags.of_data_set(options, name)
    options.device = str(device)
    options.path_name = options.path_name or f"{options.model}_{options.dataset_augment}_{options.random_seed}"
    run = run_folder.Run(options.result_dir / name / options.path_name)
    settings = flags.settings(options)
    run.check(settings, options.resume)

    # prepare and refine: files in, CSVs out
    with utils.locked(folder, run.log):
        dataloader.prepare(name, raw, folder, run.log)
        items = dataloader.item_table(raw)
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
    made_from = {"train_csv": train_csv.name, "sha256": dataloader.sha256(train_csv), "llm": labels["llm"]}
    run.open(settings, made_from, utils.metric_names(cut_offs(options)))
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
    stopping, epochs_run, seconds = train(model, data, options, run)
    ended = "early stopping" if stopping.over else f"--epochs {options.epochs} reached before early stopping"
    ended = ended if model.solutions is None else f"closed form, {epochs_run} solutions"
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
        "best_epoch": stopping.best_epoch, "epochs_run": epochs_run, "validation": validation, "test": test,
        "train_seconds": round(seconds, 1), "seconds_per_epoch": round(seconds / epochs_run, 3),
        "peak_memory_mb": utils.peak_memory_mb(device), "device": utils.device_name(device),
        "dataset_augment": options.dataset_augment, **labels, "flags": flags.changed(options, name),
        "commit": run_folder.commit(),
    }  # fmt: skip
    utils.write_json(run.folder / "summary.json", summary)
    published = compare.published(name, options.model)
    run_folder.plot_curves(run.folder / "curves.png", run.epochs, published)
    run.log("", *compare.table(summary, published), "", f"Run folder: {run.folder}")


def cli(argv=None, job=main):
    """A job for the shell: exit code 0, 2 for unusable input (one line on stderr), 130 when interrupted."""
    try:
        job(argv)
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
