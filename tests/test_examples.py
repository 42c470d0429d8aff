"""The data set to try the program on, examples/tiny."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import main
from preparation.files import STARS, read_ratings
from preparation.own import taken_in

ROOT = Path(main.__file__).parent
TINY = ROOT / "examples" / "tiny"
sys.path.insert(0, str(ROOT / "examples"))

import make_tiny


def test_the_committed_files_are_what_the_script_makes_and_small(tmp_path):
    make_tiny.make(tmp_path / "tiny")
    made, committed = ({path.name: path.read_bytes() for path in f.iterdir()} for f in (tmp_path / "tiny", TINY))
    assert made == committed and set(made) == {"tiny.inter", "tiny.item"}
    assert sum(map(len, made.values())) <= 200_000


@pytest.fixture(scope="module")
def summary(tmp_path_factory):
    """summary.json of main.py on examples/tiny, given some flags."""
    base = tmp_path_factory.mktemp("tiny")

    def run(*flags):
        paths = ["--data_dir", str(base / "data"), "--result_dir", str(base / "result"), "--path_name", flags[1]]
        main.main(["--dataset", str(TINY), *paths, *flags, "--device", "cpu"])
        return json.loads((base / "result" / "tiny" / flags[1] / "summary.json").read_text())

    return run


def test_tastes_beat_popularity(summary):
    """So a broken model would show."""
    popularity = summary("--model", "Popularity")["test"]["recall@20"]
    assert summary("--model", "LightGCN", "--epochs", "20")["test"]["recall@20"] > 2 * popularity
    refine = summary("--llm", "rule", "--epochs", "20")
    assert refine["data"]["users"] == make_tiny.USERS and 100 <= refine["data"]["items"] <= make_tiny.FILMS
    assert refine["test"]["recall@20"] > 1.5 * popularity


def test_the_shapes_are_understood_as_the_first_hour_says(tmp_path):
    subprocess.run([sys.executable, "examples/make_shapes.py", str(tmp_path / "shapes")], cwd=ROOT, check=True)
    page = (ROOT / "docs" / "first_hour.md").read_text(encoding="utf-8")
    readings = {"points": {"columns": "user=who,item=film,rating=points,time=day", "scale": "1-10"}}
    readings |= {"thumbs": {"columns": "rating=thumb", "scale": "up=5,down=2"}, "plays": {}}
    for name, reading in readings.items():
        said = []
        with taken_in(name, tmp_path / "shapes" / name, tmp_path / name, reading, said.append):
            pass
        assert said[1] in page and (name == "plays" or (said[0] in page and said[2] in page))
    thumbs = read_ratings(tmp_path / "thumbs" / "atomic" / "thumbs.inter", "\t", STARS, timed=True)
    assert thumbs.timestamp.max() < 1e10  # milliseconds have become seconds
