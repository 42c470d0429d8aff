"""The data set to try the program on, examples/tiny."""

import json
import sys
from pathlib import Path

import pytest

import main

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
