"""A finished run that goes on with more epochs, and what of it is kept or refused."""

import json
import os
import signal

import interrupts
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
    paths = synthetic.paths_of(synthetic.write_data_set(tmp_path / "x"), tmp_path)

    def run(name, *flags):
        sizes = ["--embedding_dim", "8", "--batch_size", "200"]
        main.main([*paths, "--model", "LightGCN", *sizes, "--path_name", name, *map(str, flags)])
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


def test_a_finished_run_says_how_it_goes_on(run):
    run("a", "--epochs", 2)
    words = "--path_name NAME starts another, --path_name a --resume with --epochs above 2 goes on with it"
    for flags in (("--epochs", 2), ("--epochs", 2, "--resume"), ("--epochs", 1, "--resume")):
        with pytest.raises(InputError, match=words):
            run("a", *flags)


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


# ------------------------------------------------------------- --resume with flags that name no run


@pytest.fixture
def interrupted(tmp_path, monkeypatch):
    """refused(flag, ...) of a resumed run -> the message, beside a run of LightGCN that was stopped in its step 3."""
    words = [*synthetic.paths_of(synthetic.write_data_set(tmp_path / "x"), tmp_path), "--batch_size", "200"]
    with monkeypatch.context() as patch:
        interrupts.count_steps(patch, "LightGCN", interrupts.signal_at(3, signal.SIGTERM))
        with pytest.raises(shell.Stopped):
            main.main([*words, "--model", "LightGCN", "--epochs", "4", "--layers", "2"])

    def refused(*flags):
        with pytest.raises(InputError) as refusal:
            main.main([*words, *flags, "--resume"])
        return str(refusal.value)

    return refused


@pytest.mark.parametrize(
    ("flags", "differing"),
    [
        ("--layers 2", " with --epochs 4, not 1000"),
        ("--epochs 4 --random_seed 7", " with --layers 2, not 4; --random_seed 2024, not 7"),
        ("--epochs 4 --layers 2 --path_name other", ""),
    ],
)
def test_resume_names_the_interrupted_run_beside_it_and_what_differs(interrupted, tmp_path, flags, differing):
    said = interrupted("--model", "LightGCN", *flags.split())
    folder = tmp_path / "result" / "x" / "LightGCN_layers_2_batch_size_200_epochs_4_2024"
    hint = f"its flags and --path_name {folder.name} --resume go on with it"
    assert said.endswith(f"holds no run to resume; {folder} does{differing}; {hint}")
    assert [path for path in folder.parent.iterdir() if path.is_dir()] == [folder]


def test_a_run_of_another_model_or_that_differs_in_much_is_not_meant(interrupted):
    others = "--model LightGCN --learning_rate .1 --embedding_dim 8 --top_k 3"
    for flags in ("--model ReFINe --llm rule --layers 2 --epochs 4", others):
        assert "holds no run to resume; leave out --resume to start one" in interrupted(*flags.split())


def test_a_finished_run_that_more_epochs_can_go_on_with_is_named_too(run, tmp_path):
    run("LightGCN_2024", "--epochs", 2)
    with pytest.raises(InputError, match=r"LightGCN_2024 does with --epochs 2, not 3; "):
        run("longer", "--epochs", 3, "--resume")
    with pytest.raises(InputError, match="leave out --resume to start one"):
        run("shorter", "--epochs", 1, "--resume")
