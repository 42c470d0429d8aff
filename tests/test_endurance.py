"""What can happen to a run that takes long: signals, kills, full disks, broken checkpoints, divergence."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import hard_negatives
import pandas as pd
import pytest
import synthetic
import torch
from interrupts import count_steps, signal_at
from same import assert_same_end, summary

import dataloader
import experiment
import main
import utils
from machine import hardware, shell
from options.models import MODELS, model_class
from preparation import splits
from runs import run_folder
from training import checkpoint
from training.checkpoint import TrainingState

ROOT = Path(main.__file__).parent


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return synthetic.write_data_set(tmp_path_factory.mktemp("world") / "blocks")


@pytest.fixture(scope="module")
def vectors(world, tmp_path_factory):
    """A finished folder of hard negatives of the world's ratings."""
    folder = tmp_path_factory.mktemp("vectors") / "blocks"
    splits.prepare("blocks", world, folder)
    data = dataloader.load(folder, "blocks", folder / "blocks_train_original.csv", "cpu")
    return hard_negatives.write_folder(folder / "made", data)


@pytest.fixture
def flags(world, vectors, tmp_path):
    """(model, more flags) -> a command line of a run of four epochs."""

    def flags(model="ReFINe++", *more):
        sizes = {"epochs": 4, "batch_size": 80, "embedding_dim": 8, "hidden_dim": 12, "t": 2, "r": 3}
        words = [*synthetic.paths_of(world, tmp_path), "--model", model, "--device", "cpu"]
        if MODELS[model].defaults.get("dataset_augment"):
            words += ["--llm", "rule"]
        if model == "HNLMRec":
            words += ["--hn_folder", str(vectors)]
        return [*words, *synthetic.words_of(model, sizes), *more]

    return flags


def test_averaged_weights_are_a_plain_mean_and_then_an_exponential_one():
    """With a decay of .75: the mean of the first four steps' weights, then three quarters of it and a quarter new."""
    model = torch.nn.Linear(1, 1, bias=False)
    average = checkpoint.AveragedWeights(model, 0.75)
    expected, seen = None, []
    for value in (8.0, 4.0, 6.0, 2.0, 9.0):
        model.weight.data.fill_(value)
        average.update()
        seen.append(value)
        expected = sum(seen) / len(seen) if len(seen) <= 4 else 0.75 * expected + 0.25 * value
        with average.in_place():
            assert model.weight.item() == pytest.approx(expected)
        assert model.weight.item() == value


def test_averaging_changes_what_is_evaluated_and_not_what_is_trained(flags, tmp_path):
    for name, more in (("plain", []), ("averaged", ["--average_decay", "0.9"])):
        main.main(flags("LightGCN", "--path_name", name, *more))
    plain, averaged = (pd.read_csv(tmp_path / "result" / "blocks" / n / "metrics.csv") for n in ("plain", "averaged"))
    assert plain.loss.equals(averaged.loss)
    assert not plain["ndcg@20"].equals(averaged["ndcg@20"])


CASES = [
    ("ReFINe++",), ("ReFINe++", "--loss", "bpr"), ("LightGCN",), ("LightGCN", "--average_decay", "0.9"), ("ReFINe",),
    ("SiReN",), ("MF", "--sampler", "mixgcf"), ("HNLMRec",),
]  # fmt: skip
NOTE = r"^(?:Hard negatives|similar items).*$"  # what a model says at the start of an epoch, of those that do


@pytest.mark.parametrize("case", CASES, ids=" ".join)
def test_a_run_stopped_by_signals_between_steps_ends_as_one_that_was_not(flags, tmp_path, capsys, monkeypatch, case):
    """Stopped in epoch 1, in the middle of epoch 2, and after the last step of epoch 2."""
    with monkeypatch.context() as patch:
        steps = count_steps(patch, case[0])
        main.main(flags(*case, "--path_name", "whole"))
    epoch, again = len(steps) // 4, []
    stops = ((3, signal.SIGTERM, (1, 3)), (epoch, signal.SIGINT, (2, 3)), (epoch - 3, signal.SIGTERM, (2, epoch)))
    capsys.readouterr()
    for at, number, where in stops:
        with monkeypatch.context() as patch:
            count_steps(patch, case[0], signal_at(at, number))
            assert shell.cli(main.main, flags(*case, "--path_name", "stopped", *again)) == 128 + number
        again = ["--resume"]
        error = capsys.readouterr().err
        expected = "stopped and saved in epoch {}, step {}; the same command with --resume goes on there\n"
        assert error == expected.format(*where)
    assert shell.cli(main.main, flags(*case, "--path_name", "stopped", "--resume")) == 0
    folders = [tmp_path / "result" / "blocks" / name for name in ("whole", "stopped")]
    assert_same_end(*folders)
    notes = [re.findall(NOTE, (folder / "log.txt").read_text(), re.MULTILINE) for folder in folders]
    assert notes[0] == notes[1] and bool(notes[0]) == (case[0] in ("ReFINe", "HNLMRec"))


@pytest.mark.parametrize("model", ["EASE", "SiReN"])
@pytest.mark.parametrize("at", [2, "last"])
def test_a_signal_between_two_epochs_and_after_the_last_is_not_lost(flags, tmp_path, capsys, monkeypatch, model, at):
    main.main(flags(model, "--path_name", "whole"))
    last = summary(tmp_path / "result" / "blocks" / "whole")["epochs_run"]
    add_epoch = run_folder.Run.add_epoch

    def signalled(run, row):
        add_epoch(run, row)
        if len(run.epochs) == (last if at == "last" else at):
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(run_folder.Run, "add_epoch", signalled)
        assert shell.cli(main.main, flags(model, "--path_name", "stopped")) == 143
    assert not (tmp_path / "result" / "blocks" / "stopped" / "summary.json").exists()
    assert shell.cli(main.main, flags(model, "--path_name", "stopped", "--resume")) == 0
    assert_same_end(*(tmp_path / "result" / "blocks" / name for name in ("whole", "stopped")))


def test_saving_takes_a_small_share_of_the_time_however_large_the_model(flags, monkeypatch):
    """A save that took 100 seconds is not due again for 2,000."""
    saves, save = [], TrainingState.save

    def slow(state, run):
        save(state, run)
        saves.append(state.step)
        state.saving_took = 100.0

    monkeypatch.setattr(checkpoint, "SAVE_SECONDS", 0)
    monkeypatch.setattr(TrainingState, "save", slow)
    main.main(flags("LightGCN"))
    assert len(saves) == 2  # the first step, and the end


def test_a_killed_run_resumed_ends_as_one_that_was_never_interrupted(flags, tmp_path, monkeypatch):
    """Killed after epoch 3 is in metrics.csv, before its checkpoint."""
    main.main(flags("ReFINe++", "--path_name", "whole"))
    monkeypatch.setattr(checkpoint, "SAVE_SECONDS", 0)
    add_epoch, killed = run_folder.Run.add_epoch, []

    def killer(run, row):
        add_epoch(run, row)
        if row["epoch"] == 3 and not killed:
            killed.append(True)
            raise KeyboardInterrupt

    monkeypatch.setattr(run_folder.Run, "add_epoch", killer)
    assert shell.cli(main.main, flags("ReFINe++", "--path_name", "killed")) == 130
    main.main(flags("ReFINe++", "--path_name", "killed", "--resume"))
    assert_same_end(*(tmp_path / "result" / "blocks" / name for name in ("whole", "killed")))


def test_a_second_signal_does_not_wait(flags, monkeypatch, capsys):
    def impatient(self, batch):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("the second signal should have ended this")

    monkeypatch.setattr(model_class("LightGCN"), "loss", impatient)
    assert shell.cli(main.main, flags("LightGCN")) == 130
    assert "interrupted at once" in capsys.readouterr().err


# ------------------------------------------------------------------------------------- what is refused


@pytest.fixture
def unfinished(flags, tmp_path):
    """A run a without its summary, and the whole run beside it."""
    main.main(flags("LightGCN", "--path_name", "a"))
    folder = tmp_path / "result" / "blocks" / "a"
    shutil.copytree(folder, folder.with_name("whole"))
    (folder / "summary.json").unlink()
    return folder


def test_a_run_killed_before_its_first_checkpoint_starts_over_cleanly(flags, unfinished):
    (unfinished / "last.pt").unlink()
    main.main(flags("LightGCN", "--path_name", "a", "--resume"))
    assert_same_end(unfinished.with_name("whole"), unfinished)


def test_going_on_with_other_code_or_another_number_of_threads_is_said(flags, unfinished):
    config = json.loads((unfinished / "config.json").read_text())
    (unfinished / "config.json").write_text(json.dumps(config | {"commit": "0123456789ab", "threads": 99}))
    main.main(flags("LightGCN", "--path_name", "a", "--resume"))
    log = (unfinished / "log.txt").read_text()
    assert "this run began with other code, commit 0123456789ab; now " in log and "began with 99 threads, now " in log


def test_splits_that_change_while_a_run_reads_them_are_refused(flags, tmp_path, monkeypatch):
    load = experiment.dataloader.load

    def changed_meanwhile(folder, name, *more):
        data = load(folder, name, *more)
        with open(folder / f"{name}_test.csv", "a") as f:
            f.write("u1,i1,5\n")
        return data

    monkeypatch.setattr(experiment.dataloader, "load", changed_meanwhile)
    with pytest.raises(utils.InputError, match="changed while this run was reading them"):
        main.main(flags("Popularity"))
    assert not (tmp_path / "result").exists()


def test_resuming_with_other_vectors_is_refused_by_folder(flags, vectors, tmp_path):
    """Of another width, and of the same; the folder may have moved, and be gone once the run is finished."""
    main.main(flags("HNLMRec", "--path_name", "a"))
    run = tmp_path / "result" / "blocks" / "a"
    (run / "summary.json").unlink()
    data = dataloader.load(vectors.parent, "blocks", vectors.parent / "blocks_train_original.csv", "cpu")
    for name, width in (("wide", 10), ("other", 8)):
        codes = hard_negatives.random_vectors(len(data.edges("positive")), width, seed=5)
        folder = hard_negatives.write_folder(tmp_path / name, data, codes=codes)
        with pytest.raises(utils.InputError, match=r"the hard negatives: not what the run in .*a began"):
            main.main(flags("HNLMRec", "--path_name", "a", "--resume", "--hn_folder", str(folder)))
    shutil.copytree(vectors, tmp_path / "moved")
    main.main(flags("HNLMRec", "--path_name", "a", "--resume", "--hn_folder", str(tmp_path / "moved")))


@pytest.mark.parametrize("rows", ["99.0", "10.0\n20.0\n50.0"])
def test_solutions_of_another_grid_are_refused(flags, tmp_path, rows):
    def command(*more):
        return flags("EASE", "--path_name", "a", "--ease_lambdas", "10", "20", *more)

    main.main(command())
    folder = tmp_path / "result" / "blocks" / "a"
    (folder / "summary.json").unlink()
    header, first, *_ = (folder / "metrics.csv").read_text().splitlines()
    lines = [f"{ridge},{first.partition(',')[2]}" for ridge in rows.split("\n")]
    (folder / "metrics.csv").write_text("\n".join([header, *lines]) + "\n")
    with pytest.raises(utils.InputError, match=r"metrics\.csv: is not of this run"):
        main.main(command("--resume"))


def test_resuming_with_other_titles_is_refused(flags, tmp_path, monkeypatch):
    main.main(flags("EASE", "--path_name", "a", "--ease_words", "1"))
    (tmp_path / "result" / "blocks" / "a" / "summary.json").unlink()
    said = experiment.item_texts
    monkeypatch.setattr(experiment, "item_texts", lambda *a, **k: [text + " again" for text in said(*a, **k)])
    with pytest.raises(utils.InputError, match=r"the titles and genres: not what the run in .*a began with"):
        main.main(flags("EASE", "--path_name", "a", "--ease_words", "1", "--resume"))


@pytest.mark.parametrize("words", ["CUDA out of memory. Tried to", "[enforce fail] can't allocate memory: you"])
def test_training_that_does_not_fit_into_memory_is_one_line(flags, monkeypatch, capsys, words):
    def too_large(*_):
        raise (torch.OutOfMemoryError if "CUDA" in words else RuntimeError)(words)

    monkeypatch.setattr(model_class("LightGCN"), "loss", too_large)
    assert shell.cli(main.main, flags("LightGCN")) == 2
    error = capsys.readouterr().err
    assert re.fullmatch(r"error: training does not fit into the memory of cpu .*; a --batch_size below 80 .*\n", error)


@pytest.mark.parametrize("part", ["train_original", "validation", "test"])
def test_resuming_on_other_files_is_refused(flags, unfinished, tmp_path, part):
    path = tmp_path / "data" / "blocks" / f"blocks_{part}.csv"
    (path.parent / "prepared.json").unlink()  # so that preparation takes the files as they are
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(utils.InputError, match=r"not what the run in .*a began with"):
        main.main(flags("LightGCN", "--path_name", "a", "--resume"))


def cut_off(path):
    path.write_bytes(path.read_bytes()[:1000])


def nonsense(path):
    path.write_text("nonsense")


def of_another_model(path):
    state = torch.load(path, weights_only=True)
    torch.save(state | {"model": {"table": torch.zeros(3, 3)}}, path)


@pytest.mark.parametrize("spoil", [cut_off, nonsense, of_another_model])
def test_a_broken_checkpoint_is_refused_in_one_line_and_nothing_is_overwritten(flags, unfinished, capsys, spoil):
    spoil(unfinished / "last.pt")
    before = {path.name: path.read_bytes() for path in unfinished.iterdir() if path.name != "log.txt"}
    assert shell.cli(main.main, flags("LightGCN", "--path_name", "a", "--resume")) == 2
    error = capsys.readouterr().err
    assert re.fullmatch(r"error: \S*a/last\.pt: is no whole checkpoint .*; delete it to start over\n", error)
    after = {path.name: path.read_bytes() for path in unfinished.iterdir() if path.name != "log.txt"}
    assert before == after


def test_a_full_disk_ends_in_one_line_and_the_run_can_go_on(flags, tmp_path):
    """No file may grow beyond 20 kB, which the checkpoint would: what a full disk does, to the real command."""
    main.main(flags("LightGCN", "--path_name", "whole"))
    command = [sys.executable, "main.py", *flags("LightGCN", "--path_name", "a")]
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))  # noqa: E731
    done = subprocess.run(command, cwd=ROOT, preexec_fn=limit, capture_output=True, text=True)
    folder = tmp_path / "result" / "blocks" / "a"
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
    assert re.match(r"error: .*last\.pt.*: File too large", done.stderr), done.stderr
    assert not (folder / "last.pt").exists() and not list(folder.glob(".*"))
    main.main(flags("LightGCN", "--path_name", "a", "--resume"))
    assert_same_end(tmp_path / "result" / "blocks" / "whole", folder)


# ------------------------------------------------------------------------------------------ divergence


def poison(patch, model, at):
    """Make the loss of step number `at`, counted over all epochs, not a number."""
    steps, kind = count_steps(patch, model), model_class(model)
    loss = kind.loss
    patch.setattr(kind, "loss", lambda self, batch: loss(self, batch) * (torch.nan if len(steps) == at else 1))


def test_a_diverged_run_keeps_its_best_epoch_and_tests_it(flags, tmp_path, monkeypatch, capsys):
    """The loss is not a number in step 2 of epoch 3; 7 steps an epoch."""
    main.main(flags("LightGCN", "--epochs", "2", "--path_name", "whole"))
    with monkeypatch.context() as patch:
        poison(patch, "LightGCN", 2 * 7 + 2)
        assert shell.cli(main.main, flags("LightGCN", "--path_name", "a")) == 0
    where = "diverged in epoch 3, step 2 of 7: the loss is not finite; the best epoch before is kept"
    assert where in capsys.readouterr().out
    whole, diverged = (summary(tmp_path / "result" / "blocks" / name) for name in ("whole", "a"))
    assert diverged["ended"] == where and diverged["epochs_run"] == 2
    for key in ("best_epoch", "test", "validation"):
        assert diverged[key] == whole[key]


def test_a_run_that_diverges_in_its_first_epoch_is_no_result(flags, tmp_path, capsys):
    assert shell.cli(main.main, flags("LightGCN", "--learning_rate", "1e38", "--path_name", "a")) == 2
    error = capsys.readouterr().err
    assert re.match(r"error: epoch 1, step \d of 7: the loss is not finite, .* smaller --learning_rate\n", error)
    assert not (tmp_path / "result" / "blocks" / "a" / "summary.json").exists()


# ----------------------------------------------------------------------------------------- determinism


def test_the_same_command_gives_identical_files_and_other_threads_close_ones(flags, tmp_path):
    """Two threads here and in another process, and one thread."""
    before = torch.get_num_threads()
    try:
        for threads in ("1", "2"):
            main.main(flags("ReFINe++", "--threads", threads, "--path_name", threads))
    finally:
        torch.set_num_threads(before)
    command = [sys.executable, "main.py", *flags("ReFINe++", "--threads", "2", "--path_name", "again")]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    one, two, again = (tmp_path / "result" / "blocks" / name for name in ("1", "2", "again"))
    assert_same_end(two, again)
    assert summary(one)["test"] == pytest.approx(summary(two)["test"], abs=0.01)


def test_a_lock_keeps_two_runs_from_preparing_one_folder_at_once(flags, tmp_path):
    """Two processes start together on a folder that neither has prepared; both end well, with the same numbers."""
    started, prepared = [], 0
    for name in "ab":
        command = [sys.executable, "main.py", *flags("Popularity", "--path_name", name)]
        started.append(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True))
    for process in started:
        prepared += "splits: prepared" in process.communicate()[0]
        assert process.returncode == 0
    assert prepared == 1
    assert_same_end(*(tmp_path / "result" / "blocks" / name for name in "ab"))


def test_deterministic_algorithms_are_on_with_a_cpu_and_by_flag_elsewhere(flags):
    """Without them two threads that add up gradients race; seen once in many runs, and only on a busy machine."""
    try:
        for device, asked, expected in (("cpu", False, True), ("cuda", False, False), ("cuda", True, True)):
            hardware.be_deterministic(torch.device(device), asked)
            assert torch.are_deterministic_algorithms_enabled() == expected
        hardware.be_deterministic(torch.device("cuda"), False)
        main.main(flags("Popularity"))
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
