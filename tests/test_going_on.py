"""A finished run that goes on with more epochs, and what of it is kept or refused."""

import json
import os
import re
import signal

import pytest
import synthetic
from same import assert_same_end

import main
from machine import shell
from runs import run_folder
from utils import InputError

KEPT = {"best.pt", "config.json", "curves.png", "log.txt", "metrics.csv", "per_user.csv", "recommendations.csv"}
KEPT |= {"summary.json"}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """run(name, flag, ...) trains LightGCN on a constructed data set -> run folder."""
    folder = synthetic.write_data_set(tmp_path / "x")
    paths = ["--dataset", folder, "--data_dir", tmp_path / "data", "--result_dir", tmp_path / "result"]

    def run(name, *flags, model="LightGCN"):
        sizes = [] if model == "EASE" else ["--embedding_dim", "8", "--batch_size", "200"]
        main.main([*map(str, paths), "--model", model, *sizes, "--path_name", name, *map(str, flags)])
        return tmp_path / "result" / "x" / name

    return run


def test_two_epochs_and_two_more_are_four_at_once(run):
    whole = run("whole", "--epochs", 4)
    parts = run("parts", "--epochs", 2)
    first_log = (parts / "log.txt").read_text()
    assert run("parts", "--epochs", 4, "--resume") == parts
    assert_same_end(whole, parts)
    assert json.loads((parts / "config.json").read_text())["settings"]["epochs"] == 4
    assert (parts / "log.txt").read_text().startswith(first_log)


@pytest.mark.parametrize("at", ["open", "metrics.csv", "last.pt", "best.pt", "summary.json"])
def test_a_kill_while_it_goes_on_loses_nothing(run, monkeypatch, at):
    """Killed right after each file of the finished run is replaced: it is still there, and goes on."""
    whole = run("whole", "--epochs", 4)
    parts = run("parts", "--epochs", 2)
    before = {path.name for path in parts.iterdir()}

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        replace = os.replace

        def replacing(source, target):
            replace(source, target)
            if os.path.basename(target) == ("config.json" if at == "open" else at):
                killed()

        patch.setattr(os, "replace", replacing)
        with pytest.raises(KeyboardInterrupt):
            run("parts", "--epochs", 4, "--resume")
    assert before <= {path.name for path in parts.iterdir()}
    if at == "summary.json":
        assert json.loads((parts / "summary.json").read_text())["epochs_run"] == 4
    else:
        assert json.loads((parts / "summary.json").read_text())["epochs_run"] == 2
        run("parts", "--epochs", 4, "--resume")
    assert_same_end(whole, parts)


def test_a_signal_while_it_goes_on_saves_and_goes_on(run, monkeypatch, capsys):
    whole = run("whole", "--epochs", 4)
    run("parts", "--epochs", 2)
    add_epoch = run_folder.Run.add_epoch

    def signalled(folder, row):
        add_epoch(folder, row)
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(run_folder.Run, "add_epoch", signalled)
        with pytest.raises(shell.Stopped):
            run("parts", "--epochs", 4, "--resume")
    assert_same_end(whole, run("parts", "--epochs", 4, "--resume"))


def test_only_a_run_that_can_go_on_keeps_its_checkpoint(run):
    stopped_early = run("early", "--epochs", 30, "--early_stopping_step", 1, "--learning_rate", 10)
    assert json.loads((stopped_early / "summary.json").read_text())["ended"] == "early stopping"
    assert {path.name for path in stopped_early.iterdir()} == KEPT
    assert {path.name for path in run("all", "--epochs", 2).iterdir()} == KEPT | {"last.pt"}
    with pytest.raises(InputError, match=r"early: holds a finished run; --path_name NAME starts another$"):
        run("early", "--epochs", 60, "--early_stopping_step", 1, "--learning_rate", 10, "--resume")


@pytest.mark.parametrize("flags", [("--epochs", 2), ("--epochs", 2, "--resume"), ("--epochs", 1, "--resume")])
def test_a_finished_run_says_how_it_goes_on(run, flags):
    run("a", "--epochs", 2)
    words = "--path_name NAME starts another, --path_name a --resume with --epochs above 2 goes on with it"
    with pytest.raises(InputError, match=words):
        run("a", *flags)


def test_another_model_is_refused_in_the_folder_of_a_run_that_can_go_on(run):
    run("a", "--epochs", 2)
    with pytest.raises(InputError, match="holds a finished run"):
        run("a", "--resume", model="EASE")


def test_a_run_that_evaluated_at_its_end_only_is_not_the_beginning_of_a_longer_one(run):
    folder = run("a", "--epochs", 3, "--evaluation_step", 2)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(InputError, match=r"--epochs 4: .* after its last epoch, 3, which is no multiple of --eval"):
        run("a", "--epochs", 4, "--evaluation_step", 2, "--resume")
    assert before == {path.name: path.read_bytes() for path in folder.iterdir()}


def test_fewer_epochs_than_a_run_began_with_are_refused(run):
    folder = run("a", "--epochs", 3)
    (folder / "summary.json").unlink()
    with pytest.raises(InputError, match=r"--epochs 2: the run to resume in .* has 3; only more are possible"):
        run("a", "--epochs", 2, "--resume")


def test_a_folder_with_the_settings_of_an_older_version_is_refused_in_one_line(run):
    folder = run("a", "--epochs", 2)
    config = json.loads((folder / "config.json").read_text())
    config["settings"] |= {"llm": "auto", "llm_mode": "auto", "resume": False, "n_negatives": None}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "summary.json").unlink()
    with pytest.raises(InputError) as caught:
        run("a", "--epochs", 2, "--resume")
    assert re.fullmatch(
        r"\S*a: the run to resume knows other flags \(--llm\), so it was begun in another way or by another version "
        r"of this program; --path_name NAME starts another",
        str(caught.value),
    )
