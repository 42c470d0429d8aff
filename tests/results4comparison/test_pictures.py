"""The pictures show the numbers of the tables."""

import struct

import numpy as np
import pandas as pd
import pytest

from results4comparison import names, pictures, table


@pytest.fixture(scope="module")
def figures():
    return pictures.draw_all()


def find_drawn(figure):
    """[(difference, low, high)] of what is in a forest plot, from the bottom up."""
    (axis,) = figure.axes
    drawn = []
    for place, errorbar in enumerate(axis.containers):
        point, _, (interval,) = errorbar.lines
        (low, height), (high, _) = interval.get_segments()[0]
        assert height == place and point.get_ydata() == [place]
        drawn.append([point.get_xdata()[0], low, high])
    return drawn, [label.get_text().replace("\n", " ") for label in axis.get_yticklabels()]


@pytest.mark.parametrize(("name", "column"), [("ablations", "model"), ("labels", "labels")])
def test_forest_plots_have_the_differences_of_the_tables_sorted(figures, name, column):
    if name == "ablations":
        rows = table.TABLES[name]()[name].rows
    else:
        rows = table.compare_with(table.is_about_labels, {"labels": names.AS_THEY_ARE})
    rows = rows.dropna(subset="difference").sort_values(["data set", "difference"])
    drawn, texts = find_drawn(figures[f"{name}.png"])
    expected = rows[["difference", "difference low", "difference high"]].to_numpy()
    np.testing.assert_allclose(drawn, expected)
    assert len(rows) > 5
    for text, words in zip(texts, rows[column], strict=True):
        assert words.removeprefix("ReFINe++, ").replace("ReFINe++", "as published") in text


@pytest.mark.parametrize(("place", "dataset"), [(0, "ML-100K"), (1, "ML-1M")])
def test_each_point_against_seconds_is_named_in_the_legend_and_stands_in_a_table(figures, place, dataset):
    axis = figures["seconds.png"].axes[place]
    rows = pd.concat([table.TABLES[name]()[name].rows for name in ("systems", "beyond")])
    known = rows.assign(model=rows["model"].str.replace("*", "")).set_index(["model", "Recall@20"])["train seconds"]
    points = {}
    for errorbar in axis.containers:
        (seconds,), (recall,) = errorbar.lines[0].get_data()
        points[errorbar.get_label()] = seconds
        if "Blend" not in errorbar.get_label():  # which costs its parts, too
            assert seconds in known[[(errorbar.get_label(), recall)]].tolist()
    assert [text.get_text() for text in axis.get_legend().get_texts()] == list(points) and len(points) > 8


def test_a_blend_costs_its_parts_and_blending():
    seconds = pictures.find_costs("ML-100K").set_index("model")["train seconds"]
    parts = seconds["ReFINe++, star weights"] + seconds["EASE, star weights and words"]
    assert 0 < seconds["Blend: ReFINe++ + EASE"] - parts < 10


def test_the_front_holds_what_nothing_beats_in_both():
    points = pd.DataFrame(np.random.default_rng(0).random((60, 2)), columns=["dislikes shown", "Recall@20"])
    front = pictures.find_front(points)
    for place, (dislikes, recall) in points.iterrows():
        others = points.drop(index=place)
        beaten = ((others["dislikes shown"] <= dislikes) & (others["Recall@20"] >= recall)).any()
        assert (place in front.index) == (not beaten)
    assert front["dislikes shown"].is_monotonic_increasing


def test_recall_against_dislikes_has_a_point_for_each_experiment_by_its_kind(figures):
    (axis,) = figures["dislikes.png"].axes
    rows = table.TABLES["dislikes"]()
    rows = pd.concat([rows["dislikes"].rows, rows["dislikes_one_seed"].rows])
    rows = rows[(rows["data set"] == "ML-100K") & (rows["Recall@20"] >= 0.38)]
    drawn = [place for dots in axis.collections for place in dots.get_offsets().tolist()]
    expected = rows[["dislikes shown", "Recall@20"]].to_numpy().tolist()
    np.testing.assert_allclose(sorted(drawn), sorted(expected))
    assert len(axis.collections) == len(pictures.KINDS) == len(axis.get_legend().get_texts())


def test_the_command_writes_pictures_800_to_900_pixels_wide(figures, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(pictures, "draw_all", lambda: figures)
    pictures.main([str(tmp_path)])
    assert capsys.readouterr().out.split() == [str(tmp_path / name) for name in figures]
    for name in figures:
        content = (tmp_path / name).read_bytes()
        assert content.startswith(b"\x89PNG") and len(content) <= 120_000
        assert struct.unpack(">I", content[16:20])[0] in (800, 900)
