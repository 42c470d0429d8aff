"""The picture that a finished run leaves behind."""

import pandas as pd
import pytest
from matplotlib.figure import Figure

from runs import artefacts

SUMMARY = {
    "model": "LightGCN", "dataset": "ML-100K", "dataset_augment": "augment", "llm": "rule", "random_seed": 7,
    "flags": {"layers": 2, "x": True}, "best_epoch": 2, "chosen": {}, "validation": {"recall@20": 0.3},
    "test": {"recall@20": 0.25},
}  # fmt: skip


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were written, in a list."""
    figures, write = [], Figure.savefig

    def savefig(figure, *where, **how):
        figures.append(figure)
        write(figure, *where, **how)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return figures


def lines_of(axis):
    return {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axis.get_lines()}


def test_curves_by_epoch_mark_the_best_and_the_test_result(tmp_path, drawn):
    rows = [{"epoch": 1, "loss": 2.0, "recall@20": 0.1}, {"epoch": 2, "loss": 1.0, "recall@20": 0.3}]
    published = {"epochs": pd.DataFrame({"epoch": [1, 2], "loss": [3.0, 2.0], "recall@20": [0.2, 0.4]})}
    artefacts.plot_curves(tmp_path / "curves.png", [*rows, {"epoch": 3, "loss": 0.5}], SUMMARY, published)
    (figure,) = drawn
    assert figure.get_suptitle() == "LightGCN --layers 2 --x, ML-100K, labels: rule, seed 7"
    loss, recall = map(lines_of, figure.axes)
    assert loss == {"published": ([1, 2], [3, 2]), "this run": ([1, 2, 3], [2, 1, 0.5])}
    assert recall["this run"] == ([1, 2], [0.1, 0.3]) and recall["published"] == ([1, 2], [0.2, 0.4])
    assert recall["best, epoch 2"] == ([2], [0.3])
    assert set(recall["test Recall@20, 0.2500"][1]) == {0.25}


def test_what_has_nothing_to_choose_has_no_picture(tmp_path, drawn):
    artefacts.plot_curves(tmp_path / "curves.png", [{"recall@20": 0.1}], SUMMARY | {"model": "Popularity"}, None)
    assert not (tmp_path / "curves.png").exists() and not drawn
