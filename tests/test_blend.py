"""Blends: the mean of standardised scores, weights from validation, a run folder like any other."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from same import summary

import blend
import main
from baselines.blend import STEPS, simplex
from machine import shell
from recommend import load_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """{name: run folder} of two seeds of LightGCN, of EASE, and of EASE where nobody likes or dislikes item 30."""
    base = tmp_path_factory.mktemp("blend")
    world = Path(main.__file__).parent / "examples" / "tiny"
    paths = ["--dataset", world, "--data_dir", base / "data", "--result_dir", base / "result", "--device", "cpu"]
    lightgcn = ["--model", "LightGCN", "--epochs", 2, "--embedding_dim", 8, "--learning_rate", 0.05]
    for name, flags in {
        "a_1": [*lightgcn, "--random_seed", 1],
        "a_2": [*lightgcn, "--random_seed", 2],
        "ease": ["--model", "EASE"],
    }.items():
        main.main([*map(str, paths), "--path_name", name, *map(str, flags)])

    poorer = shutil.copytree(base / "data" / "tiny", base / "poorer" / "tiny")
    (poorer / "prepared.json").unlink()  # splits laid down by hand
    ratings = pd.read_csv(poorer / "tiny_train_original.csv")
    ratings.loc[ratings["item_id:token"] == 30, "rating:float"] = 3
    ratings.to_csv(poorer / "tiny_train_original.csv", index=False)
    paths[paths.index("--data_dir") + 1] = base / "poorer"
    main.main([*map(str, paths), "--path_name", "poorer", "--model", "EASE", "--ease_lambdas", "50"])
    return {folder.name: folder for folder in (base / "result" / "tiny").iterdir()}


def blended(runs, names, *flags):
    folders = [runs[name] for name in names]
    where = ["--result_dir", str(folders[0].parents[1]), "--path_name", "_".join(names)]
    blend.blend([*map(str, folders), *where, *flags])
    return folders[0].parent / "_".join(names)


def standardised(folder):
    run = load_run(folder, device="cpu")
    with torch.no_grad():
        users, items = run.model.embeddings()
    scores = (users @ items.t()).double().numpy()
    return (scores - scores.mean(1, keepdims=True)) / scores.std(1, ddof=1, keepdims=True), run.data


def test_a_blend_is_the_weighted_mean_of_standardised_scores_and_seeds_weigh_alike(runs):
    folder = blended(runs, ("a_1", "a_2", "ease"))
    chosen = summary(folder)["chosen"]
    assert set(chosen) == {"a", "ease"} and sum(chosen.values()) == pytest.approx(1)
    assert summary(folder)["flags"]["blend"] == ["2 x a", "ease"]
    parts = {name: standardised(runs[name])[0] for name in ("a_1", "a_2", "ease")}
    expected = chosen["a"] * (parts["a_1"] + parts["a_2"]) / 2 + chosen["ease"] * parts["ease"]
    again = load_run(folder, device="cpu")
    with torch.no_grad():
        users, items = again.model.embeddings()
    np.testing.assert_allclose(users @ items.t(), expected, atol=1e-4)


def test_the_weights_with_the_best_validation_recall_are_taken(runs):
    folder = blended(runs, ("a_1", "ease"))
    tried = pd.read_csv(folder / "metrics.csv")
    assert len(tried) == 21 and tried["recall@20"].nunique() > 1
    best = tried[tried["recall@20"] == tried["recall@20"].max()].iloc[-1]
    assert summary(folder)["chosen"] == {"a": best["a"], "ease": best["ease"]}
    for weight, alone in ((0, "a_1"), (1, "ease")):
        row = tried[tried.ease == weight].iloc[0]
        assert row["recall@20"] == pytest.approx(summary(runs[alone])["validation"]["recall@20"])


def test_a_blend_leaves_what_any_run_leaves(runs, capsys):
    folder = blended(runs, ("ease", "a_1"))
    assert {path.name for path in folder.iterdir()} >= {path.name for path in runs["ease"].iterdir()} - {"curves.png"}
    assert set(summary(folder)) == set(summary(runs["ease"]))
    capsys.readouterr()
    main.main(["--recommend", "7", "--run", str(folder)])
    first = pd.read_csv(folder / "recommendations.csv").query("user == 7").iloc[0]
    assert f" {first['item']} " in capsys.readouterr().out.split("Recommended")[1].splitlines()[1]


def test_the_names_of_a_blend_hold_no_comma_and_a_blend_of_an_older_version_is_gone_on_with(runs, tmp_path, capsys):
    listed = shutil.copytree(runs["ease"], tmp_path / "EASE_ease_weights_0,1,1.2_2024")
    words = [str(runs["a_1"]), str(listed), "--result_dir", str(tmp_path / "result")]
    blend.blend(words)
    (folder,) = (tmp_path / "result" / "tiny").glob("Blend_*")
    assert "," not in folder.name and "EASE_ease_weights_0+1+1.2_2024-" in folder.name
    found, metrics = summary(folder), (folder / "metrics.csv").read_text()
    assert found["flags"]["blend"] == list(found["chosen"]) == ["a", "EASE_ease_weights_0+1+1.2"]

    # as an older version left it when it was interrupted
    (folder / "summary.json").unlink()
    older = metrics.replace("EASE_ease_weights_0+1+1.2", '"EASE_ease_weights_0,1,1.2"').splitlines(keepends=True)
    (folder / "metrics.csv").write_text("".join(older[:4]))
    blend.blend([*words, "--resume"])
    assert (folder / "metrics.csv").read_text() == metrics and summary(folder)["test"] == found["test"]


@pytest.mark.parametrize(("n", "how_many"), [(1, 1), (2, 21), (3, 66), (4, 56)])
def test_all_weights_sum_to_one(n, how_many):
    weights = list(simplex(n, STEPS[n]))
    assert len({tuple(row) for row in weights}) == how_many
    assert all(sum(row) == pytest.approx(1) and min(row) >= 0 for row in weights)


def test_runs_that_cannot_be_blended_are_refused_in_one_line(runs, tmp_path, capsys):
    other = shutil.copytree(runs["ease"], tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    config["made_from"]["test"] = "0" * 64
    (other / "config.json").write_text(json.dumps(config))
    result = ["--result_dir", str(tmp_path / "result")]
    elsewhere = shutil.copytree(runs["ease"].parents[2] / "data" / "tiny", tmp_path / "data" / "tiny")
    (elsewhere / "prepared.json").unlink()
    test = elsewhere / "tiny_test.csv"
    test.write_text("".join(test.read_text().splitlines(keepends=True)[:-1]))
    moved = shutil.copytree(runs["ease"], tmp_path / "moved")
    config["made_from"] = json.loads((runs["ease"] / "config.json").read_text())["made_from"]
    config["settings"]["data_dir"] = str(tmp_path / "data")
    (moved / "config.json").write_text(json.dumps(config))
    cases = (
        ([runs["ease"]], "give at least two folders of finished runs, each once"),
        ([runs["ease"], runs["ease"]], "give at least two folders of finished runs, each once"),
        ([runs["ease"], tmp_path / "gone"], "gone: holds no finished run (no summary.json)"),
        ([moved, runs["a_1"]], "moved: was tested on other validation or test rows than those in"),
        ([runs["ease"], other], "other: was tested on other validation or test rows than"),
    )
    for folders, words in cases:
        assert shell.cli(blend.blend, [*map(str, folders), *result]) == 2
        error = capsys.readouterr().err
        assert words in error and error.count("\n") == 1
    assert shell.cli(main.main, ["--dataset", "x", "--model", "Blend"]) == 2
    assert "--model Blend: needs --blend RUN RUN" in capsys.readouterr().err
    assert not (tmp_path / "result").exists()


def test_an_unknown_item_has_the_mean_score_and_a_run_that_knows_more_must_come_first(runs, capsys):
    folder = blended(runs, ("ease", "poorer"))
    again = load_run(folder, device="cpu")
    again.model.solve({"ease": 0.0, "poorer": 1.0})
    with torch.no_grad():
        users, items = again.model.embeddings()
    unknown = again.data.item_ids == "30"
    assert unknown.sum() == 1 and not (users @ items[unknown].t()).any()
    words = [str(runs["poorer"]), str(runs["ease"]), "--result_dir", str(folder.parents[1]), "--path_name", "x"]
    assert shell.cli(blend.blend, words) == 2
    assert "ranks users or items that" in capsys.readouterr().err
