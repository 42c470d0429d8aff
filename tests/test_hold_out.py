"""--hold_out dislikes, the whole command: nothing of what is held out is learned, and the protocols are kept apart."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import synthetic
import torch

import blend
import main
import study
from baselines.blend import by_experiment
from machine import shell
from options import command_line
from preparation import dislikes
from recommend import load_run
from runs import finished
from utils import InputError, sha256

SMALL = ["--epochs", "3", "--batch_size", "200", "--embedding_dim", "8", "--hidden_dim", "12", "--device", "cpu"]


def paths(base, raw):
    return ["--dataset", str(raw), "--data_dir", str(base / "data"), "--result_dir", str(base / "result")]


def run(base, raw, name, *flags):
    main.main([*paths(base, raw), "--path_name", name, "--hold_out", "dislikes", *map(str, flags)])
    return base / "result" / raw.name / name


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return synthetic.write_encoder(tmp_path_factory.mktemp("encoder") / "encoder")


def contents(folder):
    """{path: SHA-256} of what lies below a folder, but for locks and pictures."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".lock", ".png")]
    return {str(path.relative_to(folder)): sha256(path) for path in files}


# ------------------------------ no leak


def without_held_out(source, target):
    """A copy of the raw files in which the dislikes that are held out carry other stars: 1 for 2 and 2 for 1."""
    shutil.copytree(source, target)
    path = target / f"{source.name}.inter"
    lines = path.read_text().splitlines()
    changed = 0
    for number, line in enumerate(lines[1:], 1):
        user, item, stars = line.split("\t")
        if stars in "12" and dislikes.place_in_draw(user, item) < 0.3:
            lines[number] = f"{user}\t{item}\t{3 - int(stars)}"
            changed += 1
    assert changed > 100
    path.write_text("\n".join(lines) + "\n")
    return target


WAYS = {
    "original": ["--dataset_augment", "original"],
    "rule": ["--llm", "rule"],
    "twos": ["--llm", "twos", "--kappa", "1"],
    "encoder": ["--llm", "{encoder}"],
    "shuffled": ["--llm", "shuffled", "--llm_labels", "{base}/data/blocks/hold_out_dislikes/feedback/encoder-embed"],
}


@pytest.fixture(scope="module")
def two_worlds(tmp_path_factory, encoder):
    """The folders of two data sets that differ in the stars of held-out dislikes alone, with runs by each of WAYS."""
    bases = []
    raw = synthetic.write_data_set(tmp_path_factory.mktemp("raw") / "blocks")
    for name in "ab":
        base = tmp_path_factory.mktemp(name)
        own = shutil.copytree(raw, base / "blocks") if name == "a" else without_held_out(raw, base / "blocks")
        for way, flags in WAYS.items():
            run(base, own, way, *SMALL, *(flag.format(encoder=encoder, base=base) for flag in flags))
        bases.append(base)
    return bases


def test_not_one_byte_that_is_learned_from_knows_the_held_out_dislikes(two_worlds):
    """Training data, questions, profiles, answers and refined ratings; only the held-out files and stamps differ."""
    first, second = (contents(base / "data" / "blocks" / "hold_out_dislikes") for base in two_worlds)
    assert first.keys() == second.keys() and any("answers.jsonl" in path for path in first)
    differing = {path for path in first if first[path] != second[path]}
    assert differing == {"prepared.json", "blocks_validation_dislikes.csv", "blocks_test_dislikes.csv"}


@pytest.mark.parametrize("way", WAYS)
def test_not_one_bit_of_the_weights_knows_them(two_worlds, way):
    folders = [base / "result" / "blocks" / way for base in two_worlds]
    first, second = (torch.load(folder / "best.pt", weights_only=True) for folder in folders)
    assert first["epoch"] == second["epoch"]
    assert all(torch.equal(tensor, second["model"][name]) for name, tensor in first["model"].items())
    # stars 1 and 2 are both dislikes, so that the metrics are the same, too
    for file in ("metrics.csv", "per_user.csv", "recommendations.csv"):
        assert sha256(folders[0] / file) == sha256(folders[1] / file), file

    # held-out dislikes are no edges, no confirmed negatives, and not masked
    data = load_run(folders[0]).data
    held_out = set(zip(*map(torch.Tensor.tolist, data.test_dislikes.rows.all_entries()), strict=True))
    for known in (data.seen, data.confirmed_negatives, data.positives):
        assert not held_out & set(zip(*map(torch.Tensor.tolist, known.all_entries()), strict=True))
    assert len(held_out) > 50
    ranked, per_user = (pd.read_csv(folders[0] / f"{name}.csv") for name in ("recommendations", "per_user"))
    pairs = {(data.user_ids[user], data.item_ids[item]) for user, item in held_out}
    shown = pairs & set(zip(ranked.user, ranked.item, strict=True))
    assert len(shown) == per_user["dislikes@20"].sum() > 0  # so that lists do show some


# ------------------------------ what it says


@pytest.fixture(scope="module")
def finished_runs(tmp_path_factory):
    """(base, raw) with runs of both protocols."""
    base = tmp_path_factory.mktemp("runs")
    raw = synthetic.write_data_set(base / "blocks")
    main.main([*paths(base, raw), "--model", "EASE", "--path_name", "published"])
    run(base, raw, "ease", "--model", "EASE")
    run(base, raw, "stars", "--model", "Stars")
    run(base, raw, "costly", "--model", "EASE", "--dislike_cost", "5")
    return base, raw


def test_every_file_has_the_metrics_and_says_the_protocol(finished_runs):
    base, raw = finished_runs
    folder = base / "result" / raw.name / "ease"
    found = summary(folder)
    assert found["protocol"] == "hold_out_dislikes" and found["chosen_by"] == "Recall@20"
    names = ["likes@20", "dislikes@20", "dislike_recall@20", "dislikes_per_like@20", "like_auc"]
    assert all(name in found[part] for name in names for part in ("validation", "test"))
    metrics, users = pd.read_csv(folder / "metrics.csv"), pd.read_csv(folder / "per_user.csv")
    assert set(names) <= set(metrics) and set(names) - {"dislikes_per_like@20"} <= set(users)
    assert len(users) == found["data"]["users"]
    for name in ("likes@20", "dislikes@20", "recall@20"):
        assert users[name].mean() == pytest.approx(found["test"][name], abs=1e-5)
    ratio = users["dislikes@20"].sum() / users["likes@20"].sum()
    assert found["test"]["dislikes_per_like@20"] == pytest.approx(ratio)
    log = (folder / "log.txt").read_text()
    assert "Shown@20:" in log and "held-out dislikes: " in log and "published" not in log
    held_out = base / "data" / "blocks" / "hold_out_dislikes"
    rows = {part: len((held_out / f"blocks_{part}.csv").read_text().splitlines()) - 1 for part in dislikes.DISLIKES}
    assert all(found["data"][part] == n for part, n in rows.items())


def test_the_published_protocol_has_none_of_it(finished_runs):
    base, raw = finished_runs
    folder = base / "result" / raw.name / "published"
    text = "".join((folder / name).read_text() for name in ("log.txt", "config.json", "summary.json", "per_user.csv"))
    assert not any(word in text for word in ("dislike", "hold_out", "protocol", "like_auc", "split:"))


def test_a_cost_of_dislikes_chooses_another_solution_and_says_so(finished_runs):
    base, raw = finished_runs
    plain, costly = (summary(base / "result" / raw.name / name) for name in ("ease", "costly"))
    table = pd.read_csv(base / "result" / raw.name / "costly" / "metrics.csv")
    scores = table["likes@20"] - 5 * table["dislikes@20"]
    assert costly["chosen_by"] == "likes@20 less 5 x dislikes@20" and costly["flags"]["dislike_cost"] == 5
    assert table["lambda"][costly["best_epoch"] - 1] == table["lambda"][scores[::-1].idxmax()]
    assert plain["best_epoch"] != costly["best_epoch"]
    assert pd.read_csv(base / "result" / raw.name / "ease" / "metrics.csv").equals(table)  # the same were tried


def test_training_stops_by_the_cost(tmp_path):
    raw, best = synthetic.write_data_set(tmp_path / "blocks"), {}
    for cost in (0, 50):
        flags = ["--model", "LightGCN", "--epochs", 12, "--embedding_dim", 8, "--learning_rate", 0.1]
        flags += ["--dislike_cost", cost]
        folder = run(tmp_path, raw, f"cost_{cost}", *flags)
        table = pd.read_csv(folder / "metrics.csv")
        score = table["recall@20"] if cost == 0 else table["likes@20"] - cost * table["dislikes@20"]
        assert summary(folder)["best_epoch"] == table.epoch[score[::-1].idxmax()]
        best[cost] = summary(folder)["best_epoch"], table
    assert best[0][0] != best[50][0] and best[0][1].equals(best[50][1])


# ------------------------------ kept apart


def test_runs_of_two_protocols_are_never_blended(finished_runs):
    base, raw = finished_runs
    runs = [str(base / "result" / raw.name / name) for name in ("published", "ease", "stars")]
    with pytest.raises(InputError, match="tested on other validation or test rows"):
        blend.blend([*runs[:2], "--result_dir", str(base / "result"), "--path_name", "mixed"])
    assert not (base / "result" / raw.name / "mixed").exists()
    blend.blend([*runs[1:], "--result_dir", str(base / "result"), "--path_name", "both", "--dislike_cost", "3"])
    both = summary(base / "result" / raw.name / "both")
    assert both["protocol"] == "hold_out_dislikes" and both["flags"]["dislike_cost"] == 3
    table = pd.read_csv(base / "result" / raw.name / "both" / "metrics.csv")
    scores = table["likes@20"] - 3 * table["dislikes@20"]
    assert both["best_epoch"] - 1 == scores[::-1].idxmax()


def test_a_run_is_not_resumed_in_the_other_protocol(finished_runs, tmp_path):
    base, raw = finished_runs
    begun = shutil.copytree(base / "result" / raw.name / "ease", tmp_path / "result" / raw.name / "ease")
    (begun / "summary.json").unlink()
    shutil.copytree(base / "data", tmp_path / "data")
    words = [*paths(tmp_path, raw), "--model", "EASE", "--path_name", "ease", "--resume"]
    with pytest.raises(InputError, match="knows other flags"):
        main.main(words)
    run(tmp_path, raw, "ease", "--model", "EASE", "--resume")
    assert summary(begun)["test"] == summary(base / "result" / raw.name / "ease")["test"]


def test_a_study_takes_a_finished_run_only_while_the_held_out_rows_are_the_same(tmp_path, capsys):
    raw = synthetic.write_data_set(tmp_path / "blocks")
    words = ["--models", "EASE --hold_out dislikes", "EASE", "--datasets", str(raw), "--name", "s"]
    words += ["--data_dir", str(tmp_path / "data"), "--result_dir", str(tmp_path / "result")]
    study.study(words)
    printed = capsys.readouterr().out
    assert "Dislikes held out" in printed and "dislikes shown" in printed and "| 0." in printed
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("summary.json")}
    assert len(times) == 2
    study.study(words)
    assert times == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("summary.json")}
    options = command_line.parse(["--dataset", str(raw), "--model", "EASE", "--hold_out", "dislikes"])
    where = "blocks", raw, tmp_path / "data" / "blocks"
    folder = tmp_path / "result" / "blocks" / "EASE_hold_out_dislikes_2024"
    assert finished.is_finished(folder, options, where)
    path = tmp_path / "data" / "blocks" / "hold_out_dislikes" / "blocks_test_dislikes.csv"
    path.write_text(path.read_text().rpartition("\n")[0].rpartition("\n")[0] + "\n")
    with pytest.raises(InputError, match="was made from another"):
        finished.is_finished(folder, options, where)


def test_a_run_in_time_is_finished_only_while_the_raw_files_are_the_same(tmp_path):
    raw = tmp_path / "world"
    synthetic.write_planted_world(raw, n_users=40, n_items=60, n_events=40)
    words = [*paths(tmp_path, raw), "--model", "EASE", "--hold_out", "dislikes", "--split", "time"]
    main.main(words)
    options, where = command_line.parse(words), ("world", raw, tmp_path / "data" / "world")
    (folder,) = (tmp_path / "result" / "world").glob("[!.]*")
    assert finished.is_finished(folder, options, where)
    shutil.rmtree(tmp_path / "data")  # what was made of the raw files is gone
    assert finished.is_finished(folder, options, where)
    with open(raw / "world.inter", "a") as f:
        f.write("u0\ti0\t5\t2000000\n")
    with pytest.raises(InputError, match="was made from another"):
        finished.is_finished(folder, options, where)


def test_dislikes_held_out_by_other_rules_are_others(finished_runs, monkeypatch):
    base, raw = finished_runs
    options = command_line.parse([*paths(base, raw), "--model", "EASE", "--hold_out", "dislikes"])
    folder, where = base / "result" / raw.name / "ease", (raw.name, raw, base / "data" / raw.name)
    assert finished.is_finished(folder, options, where)
    monkeypatch.setattr(dislikes, "RULES_VERSION", 99)
    with pytest.raises(InputError, match="by other rules"):
        finished.is_finished(folder, options, where)


@pytest.mark.parametrize("flags", ["--dislike_cost 0,1", "--split random,time"])
def test_a_grid_chooses_among_figures_of_one_kind_only(tmp_path, flags):
    raw = synthetic.write_data_set(tmp_path / "blocks")
    with pytest.raises(InputError, match="cannot be chosen among"):
        study.study(["--models", f"EASE --hold_out dislikes {flags}", "--datasets", str(raw), "--list"])


def test_seeds_of_an_experiment_are_one_also_where_an_older_version_knew_fewer_flags(tmp_path):
    raw = synthetic.write_data_set(tmp_path / "blocks")
    folders = []
    for seed in "12":
        flags = ["--llm", "rule", "--random_seed", seed, *SMALL]
        main.main([*paths(tmp_path, raw), "--path_name", f"a_{seed}", *flags])
        folders.append(str(tmp_path / "result" / "blocks" / f"a_{seed}"))
    path = tmp_path / "result" / "blocks" / "a_1" / "config.json"
    config = json.loads(path.read_text())
    for flag in ("kappa", "rejection"):
        del config["settings"][flag]
    path.write_text(json.dumps(config))
    assert list(map(len, by_experiment(folders).values())) == [2]


def test_labels_in_the_data_folder_lose_what_is_held_out_and_their_runs_say_that_they_saw_it(finished_runs, tmp_path):
    base, raw = finished_runs
    shutil.copytree(base / "data", tmp_path / "data")
    original = pd.read_csv(tmp_path / "data" / "blocks" / "blocks_train_original.csv", dtype=str)
    original["rating:float"] = original["rating:float"].replace({"2": "0.5", "3": "4.5"})
    labels = tmp_path / "data" / "blocks" / "blocks_train_augment.csv"
    original.to_csv(labels, index=False)
    found = run(tmp_path, raw, "found", *SMALL)
    shuffled = run(tmp_path, raw, "shuffled", *SMALL, "--llm", "shuffled", "--llm_shuffle", "user")
    assert summary(found)["llm"] == "file" and summary(found)["labels_saw_dislikes"]
    assert summary(shuffled)["labels_saw_dislikes"] and summary(shuffled)["llm_shuffle"] == "user"
    made_from = json.loads((found / "config.json").read_text())["made_from"]
    assert made_from["labels"].startswith("found-")
    # what was brought into the split's own folder does not forget where it came from
    own = tmp_path / "data" / "blocks" / "hold_out_dislikes" / "feedback" / made_from["labels"]
    again = run(tmp_path, raw, "again", *SMALL, "--llm", "shuffled", "--llm_labels", own)
    assert summary(again)["labels_saw_dislikes"] and summary(again)["shuffled"] == made_from["labels"]
    # and in the published protocol nothing is held out, whatever labels are shuffled
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(labels, elsewhere)
    words = ["--llm", "shuffled", "--llm_labels", str(elsewhere), "--path_name", "published", *SMALL]
    main.main([*paths(tmp_path, raw), *words])
    assert "labels_saw_dislikes" not in summary(found.with_name("published"))
    used = pd.read_csv(next(tmp_path.rglob(f"feedback/{made_from['labels']}/*.csv")))
    train = pd.read_csv(tmp_path / "data" / "blocks" / "hold_out_dislikes" / "blocks_train_original.csv")
    assert len(used) == len(train) < len(original)
    options = command_line.parse([*paths(tmp_path, raw), "--hold_out", "dislikes", *SMALL])
    where = "blocks", raw, tmp_path / "data" / "blocks"
    assert finished.is_finished(found, options, where)
    with open(labels, "a") as f:
        f.write("u0,i0,5\n")
    with pytest.raises(InputError, match="was made from another"):
        finished.is_finished(found, options, where)
    shutil.copy(labels, tmp_path / "data" / "blocks" / "hold_out_dislikes")  # where nobody looks
    with pytest.raises(InputError, match=r"hold_out_dislikes/blocks_train_augment\.csv: is not read; labels for all"):
        run(tmp_path, raw, "unread", *SMALL)


def test_labels_that_know_what_comes_later_have_no_place_in_the_split_in_time(tmp_path, capsys):
    raw = tmp_path / "world"
    synthetic.write_planted_world(raw, n_users=60, n_items=60, n_events=40)
    (tmp_path / "data" / "world").mkdir(parents=True)
    (tmp_path / "data" / "world" / "world_train_augment.csv").write_text("user_id:token,item_id:token,rating:float\n")
    words = [*paths(tmp_path, raw), "--hold_out", "dislikes", "--split", "time", *SMALL]
    assert shell.cli(main.main, words) == 2
    assert "was made with ratings that come later; --llm names another way" in capsys.readouterr().err
    assert not (tmp_path / "result").exists()
    main.main([*words, "--llm", "rule"])
    (folder,) = (tmp_path / "result" / "world").glob("[!.]*")
    assert folder.name.startswith("ReFINe++_rule_hold_out_dislikes_split_time_")
    assert summary(folder)["protocol"] == "hold_out_dislikes_time"


def test_recommending_marks_held_out_dislikes_and_whose_word_a_like_is(two_worlds, capsys):
    folder = two_worlds[0] / "result" / "blocks" / "rule"
    users = pd.read_csv(folder / "per_user.csv").query("`dislikes@20` > 0 and `likes@20` > 0").user
    user = users.iloc[0]
    main.main(["--recommend", user, "--run", str(folder)])
    _, likes, negatives, recommended = capsys.readouterr().out.strip().split("\n\n")
    own = pd.read_csv(two_worlds[0] / "data" / "blocks" / "hold_out_dislikes" / "blocks_train_original.csv")
    stars = own[own["user_id:token"] == user]["rating:float"]
    assert f", of which {(stars == 3).sum()} by rule ({(stars == 3).sum()} were rated 3; marked)" in likes
    assert f"({(stars == 2).sum()} were rated 2; marked)" in negatives and "(2 stars)" in negatives
    marks = [line[9] for line in recommended.splitlines()[1:]]
    figures = pd.read_csv(folder / "per_user.csv").set_index("user").loc[user]
    validation = pd.read_csv(two_worlds[0] / "data" / "blocks" / "hold_out_dislikes" / "blocks_validation_dislikes.csv")
    table = pd.read_csv(folder / "recommendations.csv").query("user == @user")
    extra = table.item.isin(validation[validation["user_id:token"] == user]["item_id:token"]).sum()
    assert marks.count("-") == figures["dislikes@20"] + extra and marks.count("*") >= figures["likes@20"]
    assert "- disliked" in recommended


def test_shuffling_within_users_keeps_what_each_user_has():
    from feedback import controls

    random = np.random.default_rng(0)
    ratings, users = random.integers(1, 6, 500).astype(float), random.integers(0, 9, 500)
    labels = np.where(ratings == 3, random.choice([0.5, 3, 4.5], 500), np.where(ratings == 2, 0.5, ratings))
    shuffled = controls.shuffle(ratings, labels, 1, users)
    for user in range(9):
        own = (users == user) & (ratings == 3)
        assert sorted(shuffled[own]) == sorted(labels[own])
    assert ((shuffled != ratings) == (labels != ratings)).all() and (shuffled != labels).any()
