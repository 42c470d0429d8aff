"""refinepp: finished runs and refinement from a notebook in another folder, whatever its own modules are called."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import synthetic

import main
from feedback.labels import refine
from recommend import load_run

ROOT = Path(main.__file__).parent

# What the documents say, and what a notebook may have: an own utils and options, an own main that must not run.
NOTEBOOK = """
import sys; sys.path.append({root!r})
{first}
from refinepp import InputError, load_run, refine

import options
import utils
import pandas as pd

run = load_run({run!r}, device="cpu")
run.recommend("u7", k=5).to_csv("known.csv", index=False)
run.recommend({{"i0": 5}}, k=5).to_csv("new.csv", index=False)
run.recommend_all(3).to_csv("all.csv", index=False)
run.similar("i0", k=3).to_csv("similar.csv", index=False)
run.export("vectors.npz")
refine(pd.read_csv("ratings.csv"), llm="rule", log=lambda *lines: None).to_csv("refined.csv", index=False)
for call in (lambda: load_run("nowhere"), lambda: run.recommend("nobody"), lambda: refine(pd.DataFrame())):
    try:
        call()
        sys.exit("no error")
    except InputError as error:
        print(error)
assert sys.modules["utils"] is utils and sys.modules["options"] is options  # not imported anew: they may have a state
assert (utils.WHOSE, options.WHOSE) == ("the notebook's", "the notebook's")
assert "recommend" not in sys.modules and not any(name.startswith("feedback") for name in sys.modules)
assert sys.path[0] != {root!r}
"""
RATINGS = pd.DataFrame({"user": [1, 1, 1, 2, 2], "item": [10, 11, 12, 10, 11], "rating": [5, 3, 2, 4, 1]})


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """(folder in which a run was begun with relative paths, its run folder)"""
    base = tmp_path_factory.mktemp("begun")
    synthetic.write_data_set(base / "blocks")
    words = ["--dataset", "blocks", "--model", "LightGCN", "--epochs", "2", "--embedding_dim", "8", "--path_name", "a"]
    done = subprocess.run([sys.executable, ROOT / "main.py", *words], cwd=base, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return base, base / "result" / "blocks" / "a"


@pytest.mark.parametrize("first", ["", "import utils, options"])
def test_a_notebook_elsewhere_has_it_all_beside_modules_of_its_own(begun, tmp_path, monkeypatch, first):
    """first: whether the notebook's own modules are imported before ours."""
    (tmp_path / "options").mkdir()
    for path in (tmp_path / "utils.py", tmp_path / "options" / "__init__.py"):
        path.write_text("WHOSE = \"the notebook's\"\n")
    for name in ("main", "model", "recommend", "dataloader"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('somebody else imports me')\n")
    RATINGS.to_csv(tmp_path / "ratings.csv", index=False)
    (tmp_path / "notebook.py").write_text(NOTEBOOK.format(root=str(ROOT), run=str(begun[1]), first=first))
    done = subprocess.run([sys.executable, "notebook.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == ["nowhere", "user nobody", "ratings"]

    monkeypatch.chdir(begun[0])
    run = load_run(begun[1], device="cpu")
    expected = {
        "known": run.recommend("u7", k=5), "new": run.recommend({"i0": 5}, k=5), "all": run.recommend_all(3),
        "similar": run.similar("i0", k=3), "refined": refine(RATINGS, llm="rule"),
    }  # fmt: skip
    for name, table in expected.items():
        found = pd.read_csv(tmp_path / f"{name}.csv", keep_default_na=False)
        pd.testing.assert_frame_equal(found, table, check_dtype=False, rtol=1e-5)
    assert (tmp_path / "vectors.npz").exists()
    assert not (tmp_path / "data").exists() and not (tmp_path / "result").exists()  # nothing is written unasked
