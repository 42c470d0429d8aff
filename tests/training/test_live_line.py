"""What a terminal sees of a run, and what a pipe and log.txt do."""

import fcntl
import os
import pty
import re
import struct
import sys
import termios
import threading
from types import SimpleNamespace

import pytest
import synthetic
from tqdm import tqdm

import main
from training import live_line
from training.live_line import epochs_left


class Eager(tqdm):
    """Shows every change, not ten a second."""

    def __init__(self, *arguments, **more):
        super().__init__(*arguments, **more, mininterval=0)


@pytest.fixture
def arguments(tmp_path):
    """(name, flag, ...) -> the command line of a run with six epochs."""
    folder = synthetic.write_data_set(tmp_path / "x")
    paths = ["--dataset", folder, "--data_dir", tmp_path / "data", "--result_dir", tmp_path / "result"]
    sizes = ["--model", "LightGCN", "--embedding_dim", "8", "--epochs", "6", "--early_stopping_step", "40"]
    return lambda name, *flags: [*map(str, paths), *sizes, "--path_name", name, *flags]


def on_a_terminal(monkeypatch, arguments, columns=200):
    """Run main.py's main with stdout and stderr on a pseudo-terminal; returns what it was sent."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    sent = []

    def read():
        try:
            while chunk := os.read(ours, 65536):
                sent.append(chunk)
        except OSError:  # the other end is closed
            pass

    reader = threading.Thread(target=read)
    reader.start()
    try:
        with monkeypatch.context() as patch, os.fdopen(theirs, "w") as terminal:
            patch.setattr(live_line, "tqdm", Eager)
            patch.setattr(sys, "stdout", terminal)
            patch.setattr(sys, "stderr", terminal)
            main.main(arguments)
    finally:
        reader.join(10)
        os.close(ours)
    return b"".join(sent).decode().replace("\r\n", "\n")


def test_a_terminal_shows_one_live_line_and_the_log_every_epoch(arguments, tmp_path, monkeypatch, capsys):
    text = on_a_terminal(monkeypatch, arguments("terminal"))
    lines = text.split("\n")
    assert not any(line.startswith("Epoch: ") for line in lines)
    assert {"Final Test Results", "learning_rate: 0.001"} <= set(lines)

    live = [part for line in lines for part in line.split("\r") if part.startswith("epoch ")]
    number = r"[01]\.\d{4}"
    pattern = (
        rf"epoch 6/6 \d+%, at most \d\d:\d\d more, \S+ s/epoch, Recall@20 {number}, best {number} in \d, "
        rf"patience \d/40, loss {number} *"
    )
    assert re.fullmatch(pattern, live[-1])
    assert "epoch 1/6 0%" in live[0]

    main.main(arguments("pipe"))
    piped = capsys.readouterr().out
    log = (tmp_path / "result" / "x" / "terminal" / "log.txt").read_text()
    assert epochs_of(log) == epochs_of(piped) and epochs_of(log).count("Epoch: ") == 6
    assert len(lines) == len(log.split("\n")) - 6 * 7  # blank line, loss, four lines of metrics, early stopping


def test_80_columns_show_the_time_left_and_the_seconds_of_an_epoch(arguments, monkeypatch):
    text = on_a_terminal(monkeypatch, arguments("narrow", "--epochs", "100"), columns=80)
    live = [part for part in re.split(r"[\r\n]", text) if part.startswith("epoch ")]
    assert max(map(len, live)) <= 80
    assert re.match(r"epoch \d+/100 \d+%, at most \d\d:\d\d more, \S+ s/epoch, Recall@20 [01]\.\d{4}", live[-1])


def epochs_of(text):
    return text[text.index("\nEpoch: 001") : text.index("\nTraining completed")]


def test_verbose_brings_the_lines_of_each_epoch_to_the_terminal(arguments, monkeypatch):
    text = on_a_terminal(monkeypatch, arguments("a", "--verbose"))
    assert len(re.findall(r"^(?:.*\r)?Epoch: 00\d, Loss", text, re.MULTILINE)) == 6
    assert "epoch 6/6" in text


def test_a_closed_form_shows_its_solutions_in_the_log_only(arguments, tmp_path, monkeypatch):
    words = [word for word in arguments("a") if word != "LightGCN"]
    words[words.index("--model") + 1 : words.index("--path_name")] = ["EASE"]
    text = on_a_terminal(monkeypatch, words)
    assert "Solution 8 of 8" not in text and "solving" in text
    assert "Solution 8 of 8" in (tmp_path / "result" / "x" / "a" / "log.txt").read_text()


@pytest.mark.parametrize(
    ("epoch", "counter", "step", "left"),
    [(10, 0, 1, 50), (10, 49, 1, 1), (10, 0, 5, 90), (11, 0, 5, 89), (12, 48, 5, 8), (98, 0, 1, 2)],
)
def test_the_latest_end_is_by_patience_or_by_epochs(epoch, counter, step, left):
    stopping = SimpleNamespace(patience=50, counter=counter)
    state = SimpleNamespace(epoch=epoch, stopping=stopping)
    assert epochs_left(state, SimpleNamespace(epochs=100, evaluation_step=step)) == left
