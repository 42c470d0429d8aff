"""--recommend, --stars, --similar, --out: what a finished run says about one user, all, and somebody new."""

import json
import shutil
from pathlib import Path

import hard_negatives
import numpy as np
import pandas as pd
import pytest
import synthetic

import dataloader
import main
import utils
from conrec.results import show_user
from options.run import LookingSettings
from preparation import splits
from recommend import load_run
from utils import InputError


def words_of(given):
    return [str(part) for pair in given.items() for part in pair]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    base = tmp_path_factory.mktemp("recommend")
    world = synthetic.write_data_set(base / "blocks"), synthetic.write_encoder(base / "encoder")
    paths = {"--dataset": world[0], "--llm": world[1], "--data_dir": base / "data", "--result_dir": base / "result"}
    main.main([*words_of(paths), "--epochs", "2", "--embedding_dim", "8"])
    (folder,) = (base / "result" / "blocks").glob("[!.]*")
    return folder


def test_it_prints_what_the_run_recommends_and_knows(finished, capsys):
    main.main(["--recommend", "u7", "--run", str(finished), "--top_k", "5", "20"])
    head, likes, negatives, recommended = capsys.readouterr().out.strip().split("\n\n")
    folder = finished.parents[2] / "data" / "blocks"
    train = pd.read_csv(folder / "feedback" / "encoder-embed" / "blocks_train_augment.csv")
    own = train[train["user_id:token"] == "u7"].set_index("item_id:token")["rating:float"]
    assert head.startswith(f"User u7, {len(own)} train ratings; ReFINe++")
    for text, known in ((likes, own[own >= 4]), (negatives, own[own <= 1])):
        lines = text.splitlines()[1:]
        assert text.splitlines()[0].partition(",")[0].endswith(f": {len(known)}")
        assert {line.split()[0] for line in lines if line.split()[0] != "and"} <= set(known.index)
        assert len(lines) == (len(known) if len(known) <= 20 else 21)
    table = pd.read_csv(finished / "recommendations.csv").query("user == 'u7'")
    lines = [line.replace("*", " ").split(maxsplit=2) for line in recommended.splitlines()[1:]]
    assert [line[1] for line in lines] == table.item.tolist() and [line[2] for line in lines] == table.title.tolist()
    assert [float(line[0]) for line in lines] == pytest.approx(table.score.tolist(), abs=1e-3)
    withheld = {row for part in ("validation", "test") for row in own_rows(folder / f"blocks_{part}.csv")}
    assert [line[9] == "*" for line in recommended.splitlines()[1:]] == [item in withheld for item in table.item]


def own_rows(path):
    table = pd.read_csv(path)
    return table[table["user_id:token"] == "u7"]["item_id:token"]


def test_data_moved_elsewhere_is_named_by_flag_and_stars_that_are_gone_are_said(finished, tmp_path, capsys):
    shutil.copytree(finished.parents[2] / "data", tmp_path / "moved")
    words = ["--recommend", "u7", "--run", str(finished), "--data_dir", str(tmp_path / "moved")]
    main.main(words)
    said = capsys.readouterr().out
    assert "Likes" in said and "not known" not in said
    (tmp_path / "moved" / "blocks" / "blocks_train_original.csv").unlink()
    main.main(words)
    assert "Which ratings were refined is not known" in capsys.readouterr().out.splitlines()[1]


def test_the_lists_of_all_users_are_those_of_each(finished):
    run = load_run(finished)
    for k in (10, 1000):  # 1000: more than there are, so users' lists are of different lengths
        table = run.recommend_all(k)
        assert table.user.unique().tolist() == run.data.user_ids.tolist()
        for user in ("u0", "u7", "u39"):
            own = table[table.user == user]
            assert own["rank"].tolist() == list(range(1, len(own) + 1))
            own = own[["item", "title", "score"]].reset_index(drop=True)
            pd.testing.assert_frame_equal(own, run.recommend(user, k))
    few = run.recommend_all(5, users=["u7", "u0"])
    assert few.user.tolist() == 5 * ["u7"] + 5 * ["u0"]
    with pytest.raises(InputError, match="users: names nobody"):
        run.recommend_all(5, users=[])
    with pytest.raises(InputError, match="user nobody"):
        run.recommend_all(5, users=["u7", "nobody"])
    with pytest.raises(InputError, match="k 0: a list has at least one item"):
        run.recommend_all(0)


# ------------------------------ into a file


def test_the_lists_of_all_users_in_a_file_are_those_of_the_run_folder(finished, tmp_path, capsys):
    expected = pd.read_csv(finished / "recommendations.csv")
    for form, read in (("csv", pd.read_csv), ("jsonl", lambda path: pd.read_json(path, lines=True))):
        out = tmp_path / "new" / f"lists.{form}"
        main.main(["--recommend", "all", "--run", str(finished), "--out", str(out)])
        assert capsys.readouterr().out.startswith(f"{out}: {len(expected)} rows of 40 users, at most 20 items each")
        table = read(out)
        table["score"] = table.score.astype(np.float32).round(4).astype(float)
        pd.testing.assert_frame_equal(table, expected, atol=2e-4)
        assert [path.name for path in out.parent.glob(".*")] == []  # no temporary file is left


def test_the_lists_of_some_users_and_of_one(finished, tmp_path):
    (tmp_path / "users.txt").write_text("u7\n\nu0\n")
    run = load_run(finished)
    for word, users in ((str(tmp_path / "users.txt"), ["u7", "u0"]), ("u3", ["u3"])):
        out = tmp_path / "lists.csv"  # the second replaces the first
        main.main(["--recommend", word, "--run", str(finished), "--out", str(out), "--top_k", "4"])
        assert pd.read_csv(out).item.tolist() == run.recommend_all(4, users).item.tolist()


def test_parquet_is_written_where_pyarrow_is(finished, tmp_path):
    pytest.importorskip("pyarrow")
    main.main(["--recommend", "all", "--run", str(finished), "--out", str(tmp_path / "lists.parquet")])
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "lists.parquet"), load_run(finished).recommend_all())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--recommend all --out {0}/x.xlsx", r"x\.xlsx: what form is meant\? The name must end in \.csv, \.jsonl"),
        ("--recommend all --out {0}/x.parquet", r"x\.parquet: Parquet needs pyarrow"),
        ("--recommend all --out {0}/folder.csv", r"folder\.csv: is a folder"),
        ("--recommend all --out {run}/per_user.csv", r"per_user\.csv: is a file of the run itself"),
        ("--recommend all", r"--recommend all: needs --out FILE"),
        ("--recommend nobody --out {0}/x.csv", r"user nobody: not among the 40 users"),
        ("--recommend {0}/empty.txt --out {0}/x.csv", r"empty\.txt: is neither a user of the run nor a text file"),
        ("--recommend {0}/other.txt --out {0}/x.csv", r"user nobody: not among the 40 users"),
        ("--stars i3", r"--stars i3: expected ITEM=STARS, such as 50=5"),
        ("--stars i3=5 i3=4", r"--stars i3=4: item i3 is given twice"),
        ("--stars i3=6", r"stars of a new user: expected 1, 2, 3, 4 or 5"),
        ("--stars i3=5 film=4 x=1", r"item film, x: not among the 60 items .*; they look like i0, i9; leave out"),
        ("--stars i3=3", r"ReFINe\+\+ can tell nothing from them; give 4 or 5 to some item"),
        ("--similar film", r"item film: not among the 60 items"),
        ("--recommend u7 --stars i3=5", "give --dataset to train"),
        ("--filter x --out {0}/x.csv", r"--out: --filter leaves it without a use"),
    ],
)
def test_what_cannot_be_asked_or_written_is_said_in_one_line(finished, tmp_path, monkeypatch, words, message):
    monkeypatch.setattr(utils, "find_spec", lambda name: None)  # as if pyarrow were not there
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "empty.txt").touch()
    (tmp_path / "other.txt").write_text("u7\nnobody\n")
    before = sorted(path.name for path in tmp_path.iterdir())
    words = words.format(tmp_path, run=finished).split()
    with pytest.raises(InputError, match=message):
        main.main([*words, "--run", str(finished)])
    assert sorted(path.name for path in tmp_path.iterdir()) == before


# ------------------------------ somebody new


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """{model: run folder} on ratings as they are."""
    base = tmp_path_factory.mktemp("runs")
    world = synthetic.write_data_set(base / "blocks")
    words = words_of({"--dataset": world, "--data_dir": base / "data", "--result_dir": base / "result"})
    for model in ("EASE", "Popularity", "ItemMean", "Stars", "Random", "LightGCN"):
        own = ["--epochs", "3", "--embedding_dim", "8"] if model == "LightGCN" else []
        main.main([*words, "--model", model, "--path_name", model, *own])
    main.main([*words, "--model", "EASE", "--path_name", "by_user", "--ease_side", "user"])
    blended = [str(base / "result" / "blocks" / name) for name in ("EASE", "LightGCN")]
    main.main([*words, "--model", "Blend", "--path_name", "Blend", "--blend", *blended])
    return {folder.name: folder for folder in (base / "result" / "blocks").glob("[!.]*")}


@pytest.mark.parametrize("model", ["EASE", "Popularity", "ItemMean", "Stars"])
def test_a_closed_form_recommends_to_a_twin_of_a_train_user_what_it_recommends_to_them(runs, model):
    run, rows = load_run(runs[model]), pd.read_csv(load_run(runs[model]).train_csv).set_index("user_id:token")
    for user in ("u0", "u7"):
        stars = rows.loc[user].set_index("item_id:token")["rating:float"]
        stars = stars[stars.index.isin(run.data.item_ids)].to_dict()
        pd.testing.assert_frame_equal(run.recommend(stars, k=30), run.recommend(user, k=30))


def test_a_new_user_of_a_graph_is_a_layer_of_propagation_away_from_the_items(runs):
    """By hand: items over the square root of their number of likes in the train CSV."""
    run = load_run(runs["LightGCN"])
    items = run.model.embeddings()[1].detach().numpy()
    train = pd.read_csv(run.train_csv)
    likes = train[train["rating:float"] >= 4]["item_id:token"].value_counts()
    stars = {"i0": 5, "i2": 4, "i4": 2, "i6": 3}
    z = sum(items[run.data.item_ids.tolist().index(item)] / likes[item] ** 0.5 for item in ("i0", "i2"))
    scores = pd.Series(items @ z / 2**0.5, run.data.item_ids).drop(list(stars)).sort_values(ascending=False)
    table = run.recommend(stars, k=10)
    assert table["item"].tolist() == scores.index[:10].tolist()
    assert table.score.to_numpy() == pytest.approx(scores.to_numpy()[:10], rel=1e-4)
    whole = run.recommend(stars, k=1000)
    assert len(whole) == len(items) - len(stars) and not set(whole["item"]) & set(stars)


def test_the_command_prints_and_writes_what_a_notebook_gets(runs, tmp_path, capsys):
    run = load_run(runs["EASE"])
    expected = run.recommend({"i0": 5, "i3": 1}, k=6)
    main.main(["--stars", "i0=5", "i3=1", "--run", str(runs["EASE"]), "--top_k", "6"])
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.startswith("Recommended to somebody new with 2 ratings, by score; EASE of")
    assert [line.split()[1] for line in lines] == expected["item"].tolist()
    main.main(["--stars", "i0=5", "i3=1", "--run", str(runs["EASE"]), "--top_k", "6", "--out", f"{tmp_path}/a.csv"])
    assert pd.read_csv(tmp_path / "a.csv").item.tolist() == expected["item"].tolist()


def test_a_model_that_knows_nobody_new_says_so_and_so_do_stars_that_tell_nothing(runs):
    for model, why in (
        ("Random", "Random: a new user has no scores"),
        ("Blend", "Blend: a new user has no scores"),
        ("by_user", "EASE: with --ease_side user its weights are between users"),
    ):
        with pytest.raises(InputError, match=why):
            load_run(runs[model]).recommend({"i0": 5})
    run = load_run(runs["LightGCN"])
    for stars in ({"i0": "five"}, {"i0": np.nan}, {"i0": 0}, {"i0": None}, {"i0": 3}, {}):
        with pytest.raises(InputError, match=r"stars of a new user: (expected 1, 2, 3, 4 or 5|LightGCN can tell noth)"):
            run.recommend(stars)


@pytest.mark.parametrize("asked", [{"stars": ["i0=5"]}, {"similar": "i0"}, {"recommend": "u7", "out": Path("x.csv")}])
def test_a_run_of_conrec_has_neither_lists_nor_likeness(asked):
    with pytest.raises(InputError, match="r: is a run of CoNRec, which predicts dislikes; --recommend USER alone"):
        show_user.recommend(LookingSettings(run=Path("r"), **asked))


# ------------------------------ items and vectors


def test_similar_items_are_those_of_the_smallest_angle_and_of_the_largest_weights(runs, capsys):
    run = load_run(runs["LightGCN"])
    _, items = (part.detach().numpy() for part in run.model.embeddings())
    cosine = (items @ items[5]) / (np.linalg.norm(items, axis=1) * np.linalg.norm(items[5]))
    cosine = pd.Series(cosine, run.data.item_ids).drop(run.data.item_ids[5]).sort_values(ascending=False)
    table = run.similar(run.data.item_ids[5], k=7)
    assert table.columns.tolist() == ["item", "title", "score"]
    assert table["item"].tolist() == cosine.index[:7].tolist()
    assert table.score.to_numpy() == pytest.approx(cosine.to_numpy()[:7], abs=1e-5)
    assert len(run.similar("i5", k=1000)) == len(items) - 1

    run = load_run(runs["EASE"])
    main.main(["--similar", "i5", "--run", str(runs["EASE"]), "--top_k", "3"])
    printed = [line.split()[1] for line in capsys.readouterr().out.splitlines()[1:]]
    # who has given 5 stars to this item alone is recommended what it weighs most for
    assert printed == run.similar("i5", k=3)["item"].tolist() == run.recommend({"i5": 5}, k=3)["item"].tolist()
    for model in ("Popularity", "ItemMean", "Random"):
        with pytest.raises(InputError, match=f"{model}: it knows no likeness of items"):
            load_run(runs[model]).similar("i5")
    with pytest.raises(InputError, match="Blend: items are alike in the runs that it blends"):
        load_run(runs["Blend"]).similar("i5")


@pytest.mark.parametrize("model", ["LightGCN", "EASE"])
def test_exported_vectors_rank_in_plain_numpy_as_the_run_does(runs, tmp_path, model):
    run = load_run(runs[model])
    run.export(tmp_path / "new" / "vectors.npz")
    found = np.load(tmp_path / "new" / "vectors.npz")  # without pickle
    for number, user in enumerate(found["user_ids"]):
        scores = found["users"][number] @ found["items"].T
        rated = found["rated_items"][found["rated_start"][number] : found["rated_start"][number + 1]]
        scores[rated] = -np.inf
        best = run.recommend(user, k=20)
        assert scores[np.argsort(-scores, kind="stable")[: len(best)]] == pytest.approx(best.score.to_numpy(), rel=1e-4)
        place = pd.Index(found["item_ids"]).get_indexer(best["item"])
        assert scores[place] == pytest.approx(best.score.to_numpy(), rel=1e-4)
    with pytest.raises(InputError, match=r"vectors\.npy: the name must end in \.npz"):
        run.export(tmp_path / "vectors.npy")


# ------------------------------ other folders


def test_a_run_begun_with_relative_paths_is_found_from_another_folder(tmp_path, monkeypatch):
    synthetic.write_data_set(tmp_path / "here" / "own" / "blocks")
    monkeypatch.chdir(tmp_path / "here")
    main.main(["--dataset", "own/blocks", "--model", "Popularity", "--path_name", "a"])
    expected = load_run("result/blocks/a").recommend("u7")
    assert json.loads(Path("result/blocks/a/config.json").read_text())["settings"]["data_dir"] == "data"
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "there")
    pd.testing.assert_frame_equal(load_run("../here/result/blocks/a").recommend("u7"), expected)
    shutil.move(tmp_path / "here" / "result", tmp_path / "elsewhere")  # the run no longer tells where its data are
    with pytest.raises(InputError, match="neither one of"):
        load_run(tmp_path / "elsewhere" / "blocks" / "a")
    monkeypatch.chdir(tmp_path / "here")
    pd.testing.assert_frame_equal(load_run(tmp_path / "elsewhere" / "blocks" / "a").recommend("u7"), expected)


def test_a_run_of_hnlmrec_is_looked_at_without_its_vectors(tmp_path, capsys):
    """The folder they were read from is gone; the adapter has the width that the run noted."""
    world = synthetic.write_data_set(tmp_path / "blocks")
    folder = tmp_path / "data" / "blocks"
    splits.prepare("blocks", world, folder)
    data = dataloader.load(folder, "blocks", folder / "blocks_train_original.csv", "cpu")
    made = hard_negatives.write_folder(tmp_path / "made", data, width=12)
    paths = {"--dataset": world, "--hn_folder": made, "--data_dir": folder.parent, "--result_dir": tmp_path / "result"}
    main.main([*words_of(paths), "--model", "HNLMRec", "--epochs", "2", "--embedding_dim", "8", "--path_name", "a"])
    run = tmp_path / "result" / "blocks" / "a"
    shutil.rmtree(made)
    capsys.readouterr()
    main.main(["--recommend", "u7", "--run", str(run)])
    lines = capsys.readouterr().out.strip().split("\n\n")[3].splitlines()[1:]
    table = pd.read_csv(run / "recommendations.csv").query("user == 'u7'")
    assert [line.replace("*", " ").split()[1] for line in lines] == table.item.tolist()


def test_a_run_of_another_version_is_looked_at_with_defaults_or_refused(runs, tmp_path, capsys):
    folder = shutil.copytree(runs["LightGCN"], tmp_path / "other")
    config = json.loads((folder / "config.json").read_text())
    assert config["settings"].pop("sampler") == "uniform"
    (folder / "config.json").write_text(json.dumps(config))
    main.main(["--recommend", "u7", "--run", str(folder)])
    assert "Recommended" in capsys.readouterr().out
    for model in ("Tomorrow", None):
        config["settings"]["model"] = model
        (folder / "config.json").write_text(json.dumps(config))
        with pytest.raises(InputError, match=f"other: is a run of {model}, a model that this version does not have"):
            main.main(["--recommend", "u7", "--run", str(folder)])


def test_an_unknown_user_an_unfinished_run_and_changed_labels_are_refused(finished, tmp_path):
    with pytest.raises(InputError, match=r"user nobody: not among the 40 users .* u0, u9"):
        main.main(["--recommend", "nobody", "--run", str(finished)])
    with pytest.raises(InputError, match=r"holds no finished run"):
        main.main(["--recommend", "u7", "--run", str(tmp_path)])
    shutil.copytree(finished.parents[2] / "data", tmp_path / "moved")
    labels = tmp_path / "moved" / "blocks" / "feedback" / "encoder-embed" / "blocks_train_augment.csv"
    labels.write_text(labels.read_text().replace(",4.5", ",0.5", 1))
    with pytest.raises(InputError, match=r"holds no blocks_train_augment\.csv as the run was trained on"):
        main.main(["--recommend", "u7", "--run", str(finished), "--data_dir", str(tmp_path / "moved")])


def test_a_notebook_gets_as_many_as_it_asks_for(finished):
    run = load_run(finished)
    table = run.recommend("u7", k=10)
    assert table.columns.tolist() == ["item", "title", "score"] and len(table) == 10
    train = pd.read_csv(run.train_csv)
    seen = train[train["user_id:token"] == "u7"]["item_id:token"]
    everything = run.recommend("u7", k=1000)  # more than there are
    assert set(everything.item) == set(run.data.item_ids) - set(seen)
    run.data.user_ids = run.data.user_ids.copy()
    run.data.user_ids[3] = "42"
    assert run.numbers_of("user", [42]).tolist() == [3]  # ids that are numbers may be given as numbers


def test_a_model_is_built_anew_without_the_flags_that_its_run_had_no_use_for(finished, tmp_path):
    base = finished.parents[2]
    words = ["--dataset", base / "blocks", "--data_dir", base / "data", "--result_dir", tmp_path, "--llm", "rule"]
    main.main([*map(str, words), "--epochs", "1", "--embedding_dim", "8", "--no_autoencoder", "--loss", "bpr"])
    (folder,) = (tmp_path / "blocks").glob("[!.]*")
    assert folder.name == "ReFINe++_rule_embedding_dim_8_loss_bpr_no_autoencoder_epochs_1_2024"
    assert len(load_run(folder).recommend("u7", k=3)) == 3
