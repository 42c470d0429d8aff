"""The picture of quality against seconds shows the numbers of the tables."""

import re
import struct

import pytest

from results4comparison import seconds, table


def rows_of(lines):
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:]]


@pytest.mark.parametrize("dataset", ["ML-100K", "ML-1M"])
def test_every_point_is_a_row_of_a_table(dataset):
    lines = table.against(table.is_system, seconds.PUBLISHED) + table.against(table.is_beyond, ())[2:]
    figures = {(re.split(r" --| \(", row[1])[0], row[4], row[-1]) for row in rows_of(lines) if row[0] == dataset}
    found = seconds.points(dataset)
    assert len(found) >= 2 and len({point.text for point in found}) == len(found)
    for point in found:
        recall = f"{point.recall:.4f}" + (f" ± {point.deviation:.4f}" if point.deviation else "")
        if "blended" not in point.text:
            assert (point.text.split(",")[0], recall, f"{point.seconds:.0f}") in figures
    for point in seconds.published_points(dataset):
        name = point.text.replace(", published", ", *published*")
        assert (name, f"{point.recall:.4f}", f"{point.seconds:.0f}") in figures


def test_a_blend_costs_its_parts_and_blending():
    alone = {point.text: point.seconds for point in seconds.points("ML-100K")}
    parts = alone["ReFINe++, a weight a star"] + alone["EASE, a weight a star"]
    assert 0 < alone["blended"] - parts < 10


def test_no_name_lies_on_another_a_point_or_the_edge():
    figure, names = seconds.picture()
    figure.draw_without_rendering()
    for (axis, texts), dataset in zip(names.items(), ("ML-100K", "ML-1M"), strict=True):
        points = seconds.points(dataset) + seconds.published_points(dataset)
        assert sorted(text.get_text() for text in texts) == sorted(point.text for point in points)
        boxes = [text.get_window_extent() for text in texts]
        marks = axis.transData.transform([point[1:3] for point in points])
        for place, box in enumerate(boxes):
            assert not any(box.overlaps(other) for other in boxes[:place]), texts[place]
            assert not any(box.contains(*mark) for mark in marks), texts[place]
            assert axis.get_window_extent().count_contains(box.corners()) == 4


def test_the_command_writes_a_picture(tmp_path, capsys):
    seconds.main([str(tmp_path)])
    content = (tmp_path / "seconds.png").read_bytes()
    assert content[1:4] == b"PNG" and struct.unpack(">II", content[16:24]) == (800, 900)
    assert str(tmp_path / "seconds.png") in capsys.readouterr().out
