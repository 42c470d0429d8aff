"""The whole command on a constructed data set: what it leaves behind, that every flag does something, resuming,
bad input.  In one process, since importing torch takes longer than training here."""

import csv
import itertools
import json
import re
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic
import torch

import main
import utils
from llm import answers as answers_file
from machine import version
from options.models import MODELS
from recommend import load_run

ROOT = Path(main.__file__).parent


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """(data set folder, encoder folder)"""
    base = tmp_path_factory.mktemp("world")
    return synthetic.write_data_set(base / "blocks"), synthetic.write_encoder(base / "encoder")


SMALL = "--top_k 5 20 --device cpu"
STAGE = "--hn_triplets 60 --hn_pairs 3"  # of HNLMRec, kept short


def flags_for(world, base, model="ReFINe++", more=()):
    words = [*synthetic.paths_of(world[0], base), *SMALL.split(), "--model", model]
    words += synthetic.words_of(model, {"epochs": 3, "batch_size": 200, "embedding_dim": 8, "hidden_dim": 12})
    ratings = dict(itertools.pairwise(more)).get("--dataset_augment", MODELS[model].defaults.get("dataset_augment"))
    if ratings == "augment":
        words += ["--llm", str(world[1])]
    if model == "HNLMRec":
        words += ["--hn_encoder", str(world[1]), *STAGE.split()]
    return words


@pytest.fixture
def command(world, tmp_path):
    """run(flag, ...) -> run folder, with small defaults that later flags override."""

    def run(*flags, model="ReFINe++"):
        name = str(len(list((tmp_path / "result").glob("*/*"))))
        main.main([*flags_for(world, tmp_path, model, flags), "--path_name", name, *map(str, flags)])
        return max((tmp_path / "result").glob("*/*/summary.json"), key=lambda p: p.stat().st_mtime_ns).parent

    return run


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


def numbers(folder):
    """metrics.csv with figures rounded: what a run computed; an epoch without evaluation has only epoch and loss."""
    with open(folder / "metrics.csv") as f:
        return [{k: round(float(v), 6) for k, v in row.items() if v} for row in csv.DictReader(f)]


@pytest.fixture(scope="module")
def finished(world, tmp_path_factory):
    """The run folder of a default run that the tests may only read."""
    base = tmp_path_factory.mktemp("finished")
    main.main(flags_for(world, base))
    (folder,) = (base / "result" / "blocks").glob("[!.]*")  # the lock lies beside it
    return folder


# ---------------------------------------------------------------------------------- what is left behind


def test_run_folder_holds_what_the_readme_promises(finished):
    names = "log.txt metrics.csv config.json summary.json best.pt last.pt curves.png recommendations.csv per_user.csv"
    assert {path.name for path in finished.iterdir()} == set(names.split())
    assert (finished / "curves.png").read_bytes().startswith(b"\x89PNG")
    config = json.loads((finished / "config.json").read_text())
    assert config["settings"]["layers"] == 4 and config["packages"]["torch"] == torch.__version__


def test_summary_has_the_agreed_keys_and_agrees_with_the_other_files(finished):
    content = summary(finished)
    agreed = "dataset model random_seed data best_epoch epochs_run validation test train_seconds seconds_per_epoch"
    agreed += " peak_memory_mb device llm llm_mode commit"
    assert set(agreed.split()) <= set(content)
    assert set(content["data"]) == {"users", "items", "train", "validation", "test"}
    rows = numbers(finished)
    best = max(rows, key=lambda row: (row["recall@20"], row["epoch"]))
    assert content["best_epoch"] == best["epoch"] and content["epochs_run"] == len(rows) == 3
    assert content["validation"]["recall@20"] == pytest.approx(best["recall@20"], abs=1e-6)
    log = (finished / "log.txt").read_text()
    assert f"Recall@20: {content['test']['recall@20']:.4f}" in log.split("Final Test Results")[1]
    assert "Epoch: 001, Loss: " in log and "layers: 4" in log


def test_test_figures_come_from_the_best_weights_by_an_independent_route(finished):
    """best.pt -> dense propagation -> ranking by hand over the CSVs gives summary.json's test Recall@20."""
    data_dir = finished.parents[2] / "data" / "blocks"
    tables = [data_dir / f"blocks_{part}.csv" for part in ("validation", "test")]
    tables.append(data_dir / "feedback" / "encoder-embed" / "blocks_train_augment.csv")
    _, test, train = (pd.read_csv(path).set_axis(["user", "item", "rating"], axis=1) for path in tables)
    edges = train[(train.rating >= 4) | (train.rating <= 1)]
    users, items = sorted(edges.user.unique()), sorted(edges.item.unique())
    u, i = (torch.tensor(pd.Index(ids).get_indexer(edges[side])) for ids, side in ((users, "user"), (items, "item")))
    from oracle import dense_adjacency, dense_propagation

    table = torch.load(finished / "best.pt", weights_only=True)["model"]["table"]
    z = dense_propagation(table, dense_adjacency(u, i, len(users), len(items)), 4)
    scores = pd.DataFrame((z[: len(users)] @ z[len(users) :].t()).numpy(), users, items)
    recalls = []
    for user, rows in test.groupby("user"):
        own = scores.loc[user].drop(train[train.user == user].item, errors="ignore")
        recalls.append(len(set(own.nlargest(20).index) & set(rows.item)) / len(rows))
    assert np.mean(recalls) == pytest.approx(summary(finished)["test"]["recall@20"], abs=1e-6)


def test_recommendations_leave_out_train_items_and_carry_titles(finished):
    table = pd.read_csv(finished / "recommendations.csv")
    train = pd.read_csv(finished.parents[2] / "data" / "blocks" / "blocks_train_original.csv")
    seen = set(zip(train["user_id:token"], train["item_id:token"], strict=True))
    assert not seen & set(zip(table.user, table.item, strict=True))
    assert table.columns.tolist() == ["user", "rank", "item", "title", "score"] and table.user.nunique() == 40
    assert all(title.endswith(f" {item[1:]}") for item, title in zip(table.item, table.title, strict=True))


def test_the_last_line_of_stdout_is_the_result_as_json_where_that_is_asked_for(command, capsys):
    run = command("--json", model="Popularity")
    printed = capsys.readouterr().out.splitlines()
    assert json.loads(printed[-1]) == summary(run) | {"run_folder": str(run)}
    assert printed[-2] == "#" * 77 and "{" not in (run / "log.txt").read_text()


def test_the_version_is_that_of_the_citation_the_commit_and_torch(capsys, monkeypatch):
    with pytest.raises(SystemExit) as ended:
        main.main(["--version"])
    cited = re.search(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)[1]
    form = rf"ReFINe\+\+ {re.escape(cited)}(, commit [0-9a-f]{{12}}(-dirty)?)?, torch {re.escape(torch.__version__)}\n"
    assert not ended.value.code and re.fullmatch(form, capsys.readouterr().out)
    monkeypatch.setenv("PATH", "")  # no git
    assert ", commit" not in version.in_words()


# ---------------------------------------------------------------------- the flags; those of models: test_laws.py


@pytest.mark.parametrize("model", [name for name in MODELS if name not in ("Blend", "CoNRec")])
def test_every_model_leaves_the_same_files_and_says_what_it_is_made_of(command, finished, model):
    run = command("--dataset_augment", "augment", model=model)
    expected, keys = {path.name for path in finished.iterdir()}, set(summary(finished))
    if MODELS[model].closed_form:
        expected -= {"last.pt", "curves.png"}
    if model == "HNLMRec":
        keys |= {"negatives"}
    assert {path.name for path in run.iterdir()} == expected
    assert set(summary(run)) == keys and summary(run)["model"] == model
    log = (run / "log.txt").read_text()
    assert re.search(rf"^{re.escape(model)}: \w", log, re.MULTILINE)
    assert ("closed form" in log) == MODELS[model].closed_form
    assert ("Loss: " in log) == (not MODELS[model].closed_form)
    solutions = {"Popularity": 1, "ItemMean": 1, "Random": 1, "Stars": 1, "EASE": 8}
    assert summary(run)["epochs_run"] == solutions.get(model, 3)
    assert "hidden_dim" not in log or model == "ReFINe++"  # flags without a use are not echoed
    assert ("n_negatives: 6\n" in log) == (model == "ReFINe++")  # a tenth of the items, filled in
    assert f"llm: {summary(run)['llm']}\nllm_mode: embed\n" in log and "\nunasked_twos: confirmed\n" in log
    assert len(load_run(run).recommend("u7", k=3)) == 3  # the settings suffice to build the model anew


def test_the_train_interactions_in_the_log_are_those_the_model_learns_from(command, tmp_path):
    counts = {model: summary(command(model=model))["data"]["train"] for model in ("LightGCN", "SiReN")}
    ratings = pd.read_csv(tmp_path / "data" / "blocks" / "blocks_train_original.csv")["rating:float"]
    assert counts == {"LightGCN": (ratings >= 4).sum(), "SiReN": len(ratings)}


ASKED = """--llm_mode score
--llm_mode generate
--llm_mode generate --llm_constrained
--llm_mode generate --llm_constrained --llm_answer_tokens 1
--llm_domain music
--llm_permutations 3
--llm_profile 1
--llm_seed 1
--llm_dtype bfloat16
--llm_users 5"""


def test_each_flag_changes_what_a_causal_model_answers(films, tmp_path):
    world = synthetic.write_data_set(tmp_path / "blocks"), films.llm / "untrained"
    answers = {}
    for number, words in enumerate(ASKED.splitlines()):
        base = tmp_path / str(number)
        users = [] if "--llm_users" in words else ["--llm_users", "8"]
        with suppress(utils.InputError):  # a model that knows nothing says little that can be read
            main.main([*flags_for(world, base), *users, *words.split()])
        (path,) = base.glob("data/blocks/feedback/*/answers.jsonl")
        answers[words] = tuple(sorted(path.read_text().splitlines()[1:]))
    assert len(set(answers.values())) == len(answers)


def test_answers_interrupted_and_resumed_are_those_of_one_go(films, tmp_path, monkeypatch):
    world = synthetic.write_data_set(tmp_path / "blocks"), films.llm / "untrained"
    flags = ["--epochs", "1", "--llm_batch_tokens", "1"]  # "batch" is then 1 for all
    main.main([*flags_for(world, tmp_path / "whole"), *flags])
    add, count = answers_file.Answers.add, []

    def killed(answers, record):
        add(answers, record)
        count.append(record)
        if len(count) % 10 == 0:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(answers_file.Answers, "add", killed)
        for _ in range(3):
            with pytest.raises(KeyboardInterrupt):
                main.main([*flags_for(world, tmp_path / "parts"), *flags])
    main.main([*flags_for(world, tmp_path / "parts"), *flags])
    folder = "data/blocks/feedback/untrained-score"
    lines = [sorted((tmp_path / part / folder / "answers.jsonl").open()) for part in ("whole", "parts")]
    assert lines[0] == lines[1] and len(lines[0]) > 35
    for name in ("blocks_train_augment.csv", "report.json"):
        assert len({(tmp_path / part / folder / name).read_bytes() for part in ("whole", "parts")}) == 1


def test_more_orders_ask_only_what_is_new_and_fewer_use_only_theirs(films, tmp_path):
    world = synthetic.write_data_set(tmp_path / "blocks"), films.llm / "trained"
    feedback = tmp_path / "data" / "blocks" / "feedback"
    labels, lines = [], []
    for n, orders in enumerate("131"):
        flags = ["--epochs", "1", "--path_name", str(n), "--llm_permutations", orders]
        main.main([*flags_for(world, tmp_path), *flags])
        lines.append((feedback / "trained-score" / "answers.jsonl").read_text().splitlines())
        folder = "trained-score" if orders == "1" else "trained-score-3_orders"
        labels.append((feedback / folder / "blocks_train_augment.csv").read_bytes())
    assert lines[1][: len(lines[0])] == lines[0] and len(lines[1]) - 1 == 3 * (len(lines[0]) - 1)
    assert lines[2] == lines[1] and labels[2] == labels[0] != labels[1]


def test_runs_that_make_other_labels_of_the_same_answers_leave_each_other_alone(films, tmp_path):
    world = synthetic.write_data_set(tmp_path / "blocks"), films.llm / "trained"
    flags_of = {
        "trained-score": "", "trained-score-neutral": "--unasked_twos neutral",
        "trained-score-neutral-2_orders": "--unasked_twos neutral --llm_permutations 2",
    }  # fmt: skip
    for name, own in flags_of.items():
        main.main([*flags_for(world, tmp_path), "--epochs", "1", "--path_name", name, *own.split()])
    feedback = tmp_path / "data" / "blocks" / "feedback"
    assert [path.parent.name for path in feedback.rglob("answers.jsonl")] == ["trained-score"]
    for name in flags_of:
        config = json.loads((tmp_path / "result" / "blocks" / name / "config.json").read_text())
        assert utils.sha256(feedback / name / "blocks_train_augment.csv") == config["made_from"]["sha256"]
        assert (feedback / name / "report.json").exists()


def test_other_labels_and_lists_of_another_length(command, finished):
    rare = numbers(command("--evaluation_step", 2))
    assert ["recall@20" in row for row in rare] == [False, True, True]
    assert rare[1] == numbers(finished)[1]
    for words in ("--dataset_augment original", "--unasked_twos neutral", "--llm rule"):
        assert numbers(command(*words.split())) != numbers(finished)
    other_lists = command("--top_k", 3, "--test_batch_size", 3, "--path_name", "mine")
    assert other_lists.name == "mine" and "recall@3" in summary(other_lists)["test"]
    assert [row["recall@20"] for row in numbers(other_lists)] == [row["recall@20"] for row in numbers(finished)]


@pytest.mark.parametrize("control", ["rule", "random"])
def test_controls_run_without_titles_or_a_model(command, world, tmp_path, control):
    (world[0] / "blocks.item").rename(tmp_path / "hidden")
    try:
        content = summary(command("--llm", control))
    finally:
        (tmp_path / "hidden").rename(world[0] / "blocks.item")
    assert content["llm"] == control and content["llm_mode"] is None
    assert content["refinement"]["answered"] == content["refinement"]["candidates"] > 0


def test_items_without_titles_are_trained_on_and_recommended_and_unanswered(command, world, tmp_path):
    """Three quarters of the items have no title or are not in .item at all."""
    path = world[0] / "blocks.item"
    whole = path.read_text()
    header, *rows = whole.splitlines(keepends=True)
    untitled = [re.sub(r"\tFilm \w+ \d+\t", "\t\t", row) for row in rows[15:30]]
    try:
        path.write_text("".join([header, *rows[:15], *untitled]))
        run = command("--epochs", 1)
    finally:
        path.write_text(whole)
    content, log = summary(run), (run / "log.txt").read_text()
    assert content["data"]["items"] == synthetic.ITEMS
    assert "items: 45 of 60 have no title; they are trained on and recommended" in log
    refined = pd.read_csv(next((tmp_path / "data").rglob("blocks_train_augment.csv")))
    number = refined["item_id:token"].str.removeprefix("i").astype(int)
    assert (refined["rating:float"] % 1 == 0.5)[number < 15].any()
    assert refined["rating:float"][number >= 15].isin([1, 2, 3, 4, 5]).sum() > 0
    assert not (refined["rating:float"] == 4.5)[number >= 15].any()
    recommended = pd.read_csv(run / "recommendations.csv")
    titled = recommended.item.str.removeprefix("i").astype(int) < 15
    assert (recommended.title.notna() == titled).all() and (~titled).any()


def test_an_llm_is_asked_although_labels_lie_in_the_data_folder_and_auto_takes_the_labels(command, tmp_path, capsys):
    first = command()
    labels = first.parents[2] / "data" / "blocks" / "blocks_train_augment.csv"
    original = labels.with_name("blocks_train_original.csv").read_text()
    labels.write_text(re.sub(",3\n", ",4.5\n", original))
    capsys.readouterr()
    second = command()
    printed = capsys.readouterr().out
    assert summary(second)["llm"].endswith("encoder") and numbers(second) == numbers(first)
    assert "prepared earlier" in printed and "users to ask about" not in printed  # nothing is done twice
    assert summary(command("--llm", "auto"))["llm"] == "file"
    assert "as found; no language model asked" in capsys.readouterr().out
