"""What a terminal sees of a run, and what a pipe and log.txt do."""

import fcntl
import os
import pty
import re
import struct
import sys
import termios
import threading

import pytest
import synthetic

import main


@pytest.fixture
def arguments(tmp_path):
    """(name, flag, ...) -> the command line of a run with six epochs."""
    paths = synthetic.paths_of(synthetic.write_data_set(tmp_path / "x"), tmp_path)
    sizes = ["--model", "LightGCN", "--embedding_dim", "8", "--epochs", "6", "--early_stopping_step", "40"]
    return lambda name, *flags: [*paths, *sizes, "--path_name", name, *flags]


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
            patch.setattr(sys, "stdout", terminal)
            patch.setattr(sys, "stderr", terminal)
            main.main(arguments)
    finally:
        reader.join(10)
        os.close(ours)
    return b"".join(sent).decode().replace("\r\n", "\n")


def test_a_terminal_shows_one_bar_and_the_log_every_epoch(arguments, tmp_path, monkeypatch, capsys):
    text = on_a_terminal(monkeypatch, arguments("terminal"))
    lines = text.split("\n")
    assert not any(line.startswith("Epoch: ") for line in lines)
    assert {"Final Test Results", "learning_rate: 0.001"} <= set(lines)
    assert re.search(r"0/6 \[", text)
    log = (tmp_path / "result" / "x" / "terminal" / "log.txt").read_text()
    assert log.count("\nEpoch: ") == 6 and len(lines) == len(log.split("\n")) - 6 * 7  # an epoch has seven lines

    main.main(arguments("pipe"))
    piped = capsys.readouterr().out
    epochs = [part[part.index("\nEpoch: 001") : part.index("\nTraining completed")] for part in (log, piped)]
    assert epochs[0] == epochs[1]


def test_a_closed_form_shows_its_solutions_in_the_log_only(arguments, tmp_path, monkeypatch):
    words = [word for word in arguments("a") if word != "LightGCN"]
    words[words.index("--model") + 1 : words.index("--path_name")] = ["EASE"]
    text = on_a_terminal(monkeypatch, words)
    assert "Solution 8 of 8" not in text and "solving" in text
    assert "Solution 8 of 8" in (tmp_path / "result" / "x" / "a" / "log.txt").read_text()
