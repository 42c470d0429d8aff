"""Several processes make what one makes (machine/processes.py).

What they do is in several.py, started here once for 2 and 3.
"""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import several
import synthetic
import torch

import main
from machine import hardware, processes
from options import command_line
from options.models import MODELS, model_class
from utils import InputError

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}


def command(program, *arguments, launcher=()):
    """The finished process of a program of tests/helpers/."""
    line = [sys.executable, *launcher, ROOT / "tests" / "helpers" / program, *arguments]
    return subprocess.run([*map(str, line)], env=ENVIRONMENT, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where one process was stopped by a signal, then 2 have worked, then 3."""
    folder = tmp_path_factory.mktemp("several")
    several.train("ReFINe++", folder / "1stopped", 4, stop=several.STOP)
    for size in (2, 3):
        ended = command("several.py", "part", size, folder)
        assert ended.returncode == 0, ended.stderr
    return folder


@pytest.fixture(scope="module")
def alone():
    return several.made_alike()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return several.train("ReFINe++", tmp_path_factory.mktemp("whole"), 4)


@pytest.fixture(scope="module", params=[2, 3])
def size(request):
    return request.param


@pytest.fixture(scope="module")
def made(folder, size):
    """What the first of so many processes made."""
    return torch.load(folder / f"{size}.0.pt", weights_only=True)


def assert_close(one, other, atol=1e-12):
    torch.testing.assert_close(one, other, rtol=1e-9, atol=atol, check_dtype=True)


ALIKE = [*several.CASES, "ReFINe++ with one sign, True", "ReFINe++ with one sign, False"]


@pytest.mark.parametrize("case", ALIKE)
def test_losses_gradients_and_tables_are_those_of_one_process(made, alone, case):
    """In float64 over two epochs.  Adam divides by the gradient's size, so a rounding in a small one grows."""
    losses, gradients, weights = made[case]
    one_losses, one_gradients, one_weights = alone[case]
    assert len(losses) > 2 and len(losses) == len(one_losses)
    assert_close(losses, one_losses)
    assert len(gradients) == len(one_gradients)
    for step, one_step in zip(gradients, one_gradients, strict=True):
        assert_close(step, one_step)
    assert_close(weights, one_weights, atol=1e-8)
    assert any(step["table"].abs().max() > 0 for step in gradients)


def test_a_training_with_averaged_weights_has_the_same_metrics_and_ends_in_the_same_weights(made, whole):
    rows, weights = made["train"]
    assert len(rows) == 4
    pd.testing.assert_frame_equal(pd.DataFrame(rows), pd.DataFrame(whole[0]), rtol=1e-9)
    assert_close(weights, whole[1], atol=1e-8)


@pytest.mark.parametrize("earlier", [1, 2])
def test_a_run_goes_on_with_another_number_of_processes(folder, whole, size, earlier):
    """Stopped in the middle of an epoch by a signal to one of them."""
    if size == earlier:
        size = 1  # one goes on with what two began
        rows, weights = several.train("ReFINe++", folder / "2stopped", 4, "--resume")
    else:
        made = torch.load(folder / f"{size}.0.pt", weights_only=True)
        rows, weights = made[f"resumed {earlier}"]
    pd.testing.assert_frame_equal(pd.DataFrame(rows), pd.DataFrame(whole[0]), rtol=1e-9)
    assert_close(weights, whole[1], atol=1e-8)


def test_each_process_holds_its_part_of_the_numbers(made, size):
    assert made["numbers held"] < 1.1 * several.numbers_held() / size


def test_the_first_does_for_all_and_the_largest_is_known_to_all(folder, size):
    for number in range(size - 1):
        made = torch.load(folder / f"{size}.{number}.pt", weights_only=True)
        assert made["first"] == "made by 0"
        assert made["largest"] == [size - 1, 0]


def test_other_random_numbers_are_refused_by_all(folder, size):
    words = f"process {size - 1} has not the random numbers of process 0; all need the same command, code, files and"
    for number in range(size - 1):
        made = torch.load(folder / f"{size}.{number}.pt", weights_only=True)
        assert made["other draws"].startswith(words)


def test_who_is_left_does_not_wait_and_one_of_them_says_so(folder, size):
    speak = []
    for number in range(size - 1):
        error, speaks = torch.load(folder / f"{size}.{number}.pt", weights_only=True)["left alone"]
        assert "another process of this run" in error and "has ended, or cannot be reached; the same command" in error
        speak.append(speaks)
    assert sum(speak) == 1


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("--model SiReN", "--model SiReN: mixes the columns of its embeddings; start it without torchrun"),
        ("--model HNLMRec --hard none", "--model HNLMRec: mixes the columns"),
        ("--embedding_dim 9", "--embedding_dim 9: must be a multiple of the 2 processes"),
    ],
)
def test_what_processes_cannot_share_is_refused_by_name(monkeypatch, words, error):
    options = command_line.parse(["--dataset", "x", *words.split()])
    given = model_class(options.run.model), options.run.model, options.recommender
    processes.refuse_what_is_not_shared(*given)  # of one process nothing
    monkeypatch.setattr(processes, "count", lambda: 2)
    with pytest.raises(InputError, match=error):
        processes.refuse_what_is_not_shared(*given)


def test_processes_that_cannot_reach_each_other_are_told_in_one_line(monkeypatch):
    def unreachable(*_, **__):
        raise RuntimeError("Gloo connectFullMesh failed with Connection refused\nmany lines")

    monkeypatch.setattr(processes.dist, "rendezvous", lambda url, timeout: iter([(None, 1, 2)]))
    monkeypatch.setattr(processes.dist, "init_process_group", unreachable)
    with pytest.raises(InputError, match=r"process 1 of 2: cannot reach .*refused\); GLOO_SOCKET_IFNAME=CARD"):
        processes.join(torch.device("cpu"), "file://nowhere")


def test_every_model_that_can_be_shared_is_tested():
    able = {name for name, row in MODELS.items() if row.by_epochs and model_class(name).cut_along is not None}
    assert able == {case.split()[0] for case in several.CASES}


def test_a_card_belongs_to_one_process(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(InputError, match="no card for process 2 here, of 1; start fewer"):
        hardware.pick_device("cuda")
    with pytest.raises(InputError, match="--device cuda:0: each process takes a card of its own"):
        hardware.pick_device("cuda:0")
    assert hardware.pick_device("cpu") == torch.device("cpu")


# ------------------------------------------------------------------------------------------- the command


def test_a_dead_process_ends_all_with_one_line_and_another_number_goes_on(tmp_path):
    world = synthetic.write_data_set(tmp_path / "x")
    flags = [*synthetic.paths_of(world, tmp_path), "--llm", "rule", "--epochs", "3", "--embedding_dim", "12"]
    flags += ["--hidden_dim", "9", "--batch_size", "80", "--device", "cpu", "--path_name"]
    main.main([*flags, "whole"])
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    launcher += ["--monitor-interval", "5"]  # s: time for the one left to speak before it is ended
    ended = command("several.py", *flags, "shared", launcher=launcher)
    assert ended.returncode != 0
    said = [line for line in ended.stderr.splitlines() if line.startswith("error:")]
    assert len(said) == 1 and "another process of this run: has ended" in said[0], ended.stderr
    folder = tmp_path / "result" / "x" / "shared"
    assert not (folder / "summary.json").exists()

    ended = command("several.py", "main", 3, *flags, "shared", "--resume")
    assert ended.returncode == 0 and not ended.stderr, ended.stderr
    assert ended.stdout.count("Final Test Results") == 1
    log = (folder / "log.txt").read_text()
    assert "this run began with 2 processes, now 3" in log and "going on after epoch" in log
    rows, whole = (pd.read_csv(tmp_path / "result" / "x" / name / "metrics.csv") for name in ("shared", "whole"))
    pd.testing.assert_frame_equal(rows, whole, atol=0.02)
    weights = [torch.load(tmp_path / "result" / "x" / name / "best.pt") for name in ("shared", "whole")]
    torch.testing.assert_close(weights[0]["model"], weights[1]["model"], atol=1e-3, rtol=1e-3)
