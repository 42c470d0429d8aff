"""--recommend: what a finished run says about one user."""

import json
import shutil

import hard_negatives
import pandas as pd
import pytest
import synthetic

import dataloader
import main
from options.command_line import parse
from preparation import splits
from recommend import load_run
from utils import InputError


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    base = tmp_path_factory.mktemp("recommend")
    world = synthetic.write_data_set(base / "blocks"), synthetic.write_encoder(base / "encoder")
    paths = {"--dataset": world[0], "--llm": world[1], "--data_dir": base / "data", "--result_dir": base / "result"}
    main.main([*(str(part) for pair in paths.items() for part in pair), "--epochs", "2", "--embedding_dim", "8"])
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


def test_data_moved_elsewhere_is_named_by_flag(finished, tmp_path, capsys):
    shutil.copytree(finished.parents[2] / "data", tmp_path / "moved")
    main.main(["--recommend", "u7", "--run", str(finished), "--data_dir", str(tmp_path / "moved")])
    assert "Likes" in capsys.readouterr().out


def test_where_the_stars_as_given_are_gone_that_is_said(finished, tmp_path, capsys):
    shutil.copytree(finished.parents[2] / "data", tmp_path / "moved")
    (tmp_path / "moved" / "blocks" / "blocks_train_original.csv").unlink()
    main.main(["--recommend", "u7", "--run", str(finished), "--data_dir", str(tmp_path / "moved")])
    assert "Which ratings were refined is not known" in capsys.readouterr().out.splitlines()[1]
    main.main(["--recommend", "u7", "--run", str(finished)])
    assert "not known" not in capsys.readouterr().out


def test_the_lists_of_all_users_are_those_of_each(finished):
    run = load_run(finished)
    lists = run.lists(k=10)
    assert list(lists) == run.data.user_ids.tolist()
    assert all(lists[user] == run.recommend(user, k=10)["item"].tolist() for user in ("u0", "u7", "u39"))
    shorter = run.lists(k=1000)
    assert all(shorter[user] == run.recommend(user, k=1000)["item"].tolist() for user in ("u0", "u7"))


def test_a_run_of_hnlmrec_is_looked_at_without_its_vectors(tmp_path, capsys):
    """The folder they were read from is gone; the adapter has the width that the run noted."""
    world = synthetic.write_data_set(tmp_path / "blocks")
    folder = tmp_path / "data" / "blocks"
    splits.prepare("blocks", world, folder)
    data = dataloader.load(folder, "blocks", folder / "blocks_train_original.csv", "cpu")
    made = hard_negatives.write_folder(tmp_path / "made", data, width=12)
    paths = {"--dataset": world, "--hn_folder": made, "--data_dir": folder.parent, "--result_dir": tmp_path / "result"}
    words = [str(part) for pair in paths.items() for part in pair]
    main.main([*words, "--model", "HNLMRec", "--epochs", "2", "--embedding_dim", "8", "--path_name", "a"])
    run = tmp_path / "result" / "blocks" / "a"
    shutil.rmtree(made)
    capsys.readouterr()
    main.main(["--recommend", "u7", "--run", str(run)])
    lines = capsys.readouterr().out.strip().split("\n\n")[3].splitlines()[1:]
    table = pd.read_csv(run / "recommendations.csv").query("user == 'u7'")
    assert [line.replace("*", " ").split()[1] for line in lines] == table.item.tolist()


def test_a_run_from_before_a_flag_is_looked_at_with_its_default(tmp_path, capsys):
    world = synthetic.write_data_set(tmp_path / "blocks")
    paths = {"--dataset": world, "--data_dir": tmp_path / "data", "--result_dir": tmp_path / "result"}
    words = [str(part) for pair in paths.items() for part in pair]
    main.main([*words, "--model", "LightGCN", "--epochs", "1", "--embedding_dim", "8", "--path_name", "a"])
    run = tmp_path / "result" / "blocks" / "a"
    config = json.loads((run / "config.json").read_text())
    assert config["settings"].pop("sampler") == "uniform"
    (run / "config.json").write_text(json.dumps(config))
    main.main(["--recommend", "u7", "--run", str(run)])
    assert "Recommended" in capsys.readouterr().out


@pytest.mark.parametrize("model", ["Tomorrow", None])
def test_a_run_of_an_unknown_model_is_refused(finished, tmp_path, model):
    run = shutil.copytree(finished, tmp_path / "other")
    config = json.loads((run / "config.json").read_text())
    del config["settings"]["model"]
    config["settings"] |= {"model": model} if model else {}
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=f"other: is a run of {model}, a model that this version does not have"):
        main.main(["--recommend", "u7", "--run", str(run)])


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


@pytest.mark.parametrize("flags", [[], ["--recommend", "u7"], ["--run", "x"], ["--dataset", "x", "--run", "x"]])
def test_either_train_or_look(flags):
    with pytest.raises(InputError, match="give --dataset to train, --recommend USER with --run PATH to look"):
        parse(flags)


def test_a_notebook_gets_what_the_command_prints(finished, capsys):
    run = load_run(finished)
    table = run.recommend("u7", k=10)
    assert table.columns.tolist() == ["item", "title", "score"] and len(table) == 10
    main.main(["--recommend", "u7", "--run", str(finished), "--top_k", "10"])
    printed = capsys.readouterr().out.split("Recommended")[1].splitlines()[1:]
    assert [line.replace("*", " ").split()[1] for line in printed] == table.item.tolist()
    kept = pd.read_csv(finished / "recommendations.csv").query("user == 'u7'")
    assert kept.item.tolist()[:10] == table.item.tolist()
    train = pd.read_csv(run.train_csv)
    seen = train[train["user_id:token"] == "u7"]["item_id:token"]
    everything = run.recommend("u7", k=1000)  # more than there are
    assert set(everything.item) == set(run.data.item_ids) - set(seen)
    with pytest.raises(InputError, match=r"user nobody: not among the 40 users of .*csv; they look like u0, u9"):
        run.recommend("nobody")


def test_a_model_is_built_anew_without_the_flags_that_its_run_had_no_use_for(finished, tmp_path):
    base = finished.parents[2]
    words = ["--dataset", base / "blocks", "--data_dir", base / "data", "--result_dir", tmp_path, "--llm", "rule"]
    main.main([*map(str, words), "--epochs", "1", "--embedding_dim", "8", "--no_autoencoder", "--loss", "bpr"])
    (folder,) = (tmp_path / "blocks").glob("[!.]*")
    assert folder.name == "ReFINe++_rule_embedding_dim_8_loss_bpr_no_autoencoder_epochs_1_2024"
    assert len(load_run(folder).recommend("u7", k=3)) == 3


def test_user_ids_that_are_numbers_may_be_given_as_numbers(finished):
    run = load_run(finished)
    run.data.user_ids = run.data.user_ids.copy()
    run.data.user_ids[3] = "42"
    assert run.number_of(42).tolist() == [3]
