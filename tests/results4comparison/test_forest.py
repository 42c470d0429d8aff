"""The forest plots show the numbers of the tables."""

import shutil
import struct

import pytest

from results4comparison import forest, kept_runs, table


def drawn(figure):
    """{text: (difference, interval)} of what is in a figure, written as in a table; from the bottom up."""
    (axis,) = figure.axes
    shown = {}
    for label, errorbar in zip(axis.get_yticklabels(), axis.containers, strict=True):
        point, _, (interval,) = errorbar.lines
        ((low, place), (high, _)) = interval.get_segments()[0]
        assert place == label.get_position()[1] and point.get_ydata() == [place]
        words = label.get_text().replace("\n", " ")
        shown[words] = f"{point.get_xdata()[0]:+.4f}", f"{low:+.4f} to {high:+.4f}"
    return shown


def cells(lines):
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:]]


@pytest.fixture
def figures(tmp_path, monkeypatch):
    """{"labels": figure, "ablations": figure} of the real command on the kept runs of ML-100K."""
    ours = tmp_path / "ours"
    ours.mkdir()
    for path in kept_runs.OURS.glob("ML-100K_*"):
        shutil.copy(path, ours)
    monkeypatch.setattr(kept_runs, "OURS", ours)
    plot, figures = forest.plot, []
    monkeypatch.setattr(forest, "plot", lambda *arguments: figures.append(plot(*arguments)) or figures[-1])
    forest.main([str(tmp_path)])
    return dict(zip(("labels", "ablations"), figures, strict=True))


def test_ablations_are_those_of_the_table_sorted(figures):
    expected = {}
    for row in cells(table.against(table.is_ablation, (), table.ABLATION)):
        model, difference, interval = row[1], *row[-4:-2]
        if difference:  # but for the reference
            flags = model.removeprefix("ReFINe++").strip()
            expected[flags or "as published (with autoencoders)"] = difference, interval
    shown = drawn(figures["ablations"])
    assert shown == expected and len(shown) > 5
    assert [float(difference) for difference, _ in shown.values()] == sorted(float(d) for d, _ in expected.values())


def test_labels_are_those_of_the_table(figures):
    none = forest.AS_THEY_ARE["labels"]
    expected = {}
    for _, first, second, _, difference, interval, *_ in cells(table.pairs(table.is_about_labels)):
        if second == none:
            expected[first] = difference, interval
        if first == none:  # the table has the other direction
            low, high = (-float(bound) for bound in interval.split(" to "))
            expected[second] = f"{-float(difference):+.4f}", f"{high:+.4f} to {low:+.4f}"
    assert drawn(figures["labels"]) == expected and len(expected) >= 5


def test_the_pictures_are_small_and_named(figures, tmp_path, capsys):
    forest.main([str(tmp_path)])
    paths = [tmp_path / "labels.png", tmp_path / "ablations.png"]
    assert capsys.readouterr().out.split()[-2:] == [str(path) for path in paths]
    for path in paths:
        content = path.read_bytes()
        assert content.startswith(b"\x89PNG") and len(content) <= 80_000
        assert struct.unpack(">I", content[16:20]) == (800,)  # pixels wide


def test_data_sets_are_named_where_there_are_several():
    rows = [("A", "x", 1), ("B", "x", 2)]
    assert forest.named(rows, str) == [("A: x", 1), ("B: x", 2)]
    assert forest.named(rows[:1], str) == [("x", 1)]
