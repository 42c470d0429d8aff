"""--tensorboard: metrics.csv as scalars, one point an epoch whatever happened, and one line where it cannot be."""

import csv
import sys
from types import SimpleNamespace

import pytest
import synthetic

import main
from machine import shell
from options import run as options_of_runs


@pytest.fixture
def arguments(tmp_path):
    """(flag, ...) -> the command line of a run of LightGCN."""
    paths = synthetic.paths_of(synthetic.write_data_set(tmp_path / "x"), tmp_path)
    sizes = ["--model", "LightGCN", "--embedding_dim", "8", "--path_name", "a", "--tensorboard"]
    return lambda *flags: [*paths, *sizes, *flags]


def rows_of(folder):
    """{(name, step): figure} of metrics.csv."""
    with open(folder / "metrics.csv") as f:
        rows = list(csv.DictReader(f))
    figures = [(name, int(row["epoch"]), row[name]) for row in rows for name in row if name != "epoch" and row[name]]
    return {(name, epoch): float(figure) for name, epoch, figure in figures}


class Writer:
    """Stands for SummaryWriter, and knows what TensorBoard would show."""

    shown, closed = {}, 0

    def __init__(self, folder, purge_step):
        Writer.shown = {(name, step): n for (name, step), n in Writer.shown.items() if step < purge_step}

    def add_scalar(self, name, figure, step):
        assert (name, step) not in Writer.shown
        Writer.shown[name, step] = figure

    def close(self):
        Writer.closed += 1


@pytest.fixture
def installed(monkeypatch):
    monkeypatch.setattr(options_of_runs, "find_spec", lambda name: name == "tensorboard")
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=Writer))
    monkeypatch.setattr(Writer, "shown", {})
    monkeypatch.setattr(Writer, "closed", 0)


def test_every_figure_of_metrics_csv_is_a_scalar_also_of_a_run_that_goes_on(arguments, tmp_path, installed):
    main.main(arguments("--epochs", "3", "--evaluation_step", "3"))
    folder = tmp_path / "result" / "x" / "a"
    assert Writer.shown == rows_of(folder) and {("loss", 1), ("loss", 3), ("recall@20", 3)} <= Writer.shown.keys()
    Writer.shown["loss", 4] = 99.0  # of an epoch that a kill lost
    main.main(arguments("--epochs", "6", "--evaluation_step", "3", "--resume"))
    assert Writer.shown == rows_of(folder) and ("loss", 6) in Writer.shown and Writer.closed == 2


def test_where_it_is_not_installed_that_is_said_before_anything_is_read(monkeypatch, capsys):
    monkeypatch.setattr(options_of_runs, "find_spec", lambda name: None)
    assert shell.cli(main.main, ["--dataset", "no/such/folder", "--tensorboard"]) == 2
    said = capsys.readouterr()
    assert said.err == "error: --tensorboard: needs a package that is not installed; pip install tensorboard\n"
    assert not said.out
