"""The whole command on a constructed data set: what it leaves behind, that every flag does something, resuming,
bad input.  In one process, since importing torch takes longer than training here."""

import csv
import itertools
import json
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import hard_negatives
import numpy as np
import pandas as pd
import pytest
import synthetic
import torch

import dataloader
import main
import utils
from feedback import endpoint
from llm import answers as answers_file
from machine import version
from options.command_line import FLAGS, help_on
from options.conrec import ConrecSettings
from options.flag import names_of, own_names_of
from options.models import MODELS, LightGCNSettings
from options.negatives import StageSettings
from options.refinement import RefinementSettings
from options.run import Looking, RunSettings
from recommend import load_run
from training import evaluation

ROOT = Path(main.__file__).parent


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """(data set folder, encoder folder)"""
    base = tmp_path_factory.mktemp("world")
    return synthetic.write_data_set(base / "blocks"), synthetic.write_encoder(base / "encoder")


@pytest.fixture(scope="module")
def vectors(world, tmp_path_factory):
    """A finished folder of hard negatives of the world's ratings; a fifth of the pairs is rejected."""
    base = tmp_path_factory.mktemp("vectors")
    main.main([*flags_for(world, base, "Popularity"), "--path_name", "a"])
    folder = base / "data" / "blocks"
    data = dataloader.load(folder, "blocks", folder / "blocks_train_original.csv", "cpu")
    rejected = np.arange(len(data.edges("positive"))) % 5 == 0
    return hard_negatives.write_folder(base / "made", data, status=4 * rejected)


SMALL = "--top_k 5 20 --device cpu"
STAGE = "--hn_triplets 60 --hn_tune_batch 8 --hn_tune_epochs 1 --hn_pairs 3"  # of HNLMRec, kept short


def flags_for(world, base, model="ReFINe++", more=()):
    paths = {"--dataset": world[0], "--data_dir": base / "data", "--result_dir": base / "result"}
    ratings = dict(itertools.pairwise(more)).get("--dataset_augment", MODELS[model].defaults.get("dataset_augment"))
    if ratings == "augment":
        paths["--llm"] = world[1]
    sizes = {"epochs": "3", "batch_size": "200", "embedding_dim": "8", "hidden_dim": "12"}
    used = synthetic.flags_of(model) - ({"hidden_dim"} if "--no_autoencoder" in more else set())
    own = [word for flag, size in sizes.items() if flag in used for word in (f"--{flag}", size)]
    if model == "HNLMRec" and "--hn_folder" not in more:
        own += ["--hn_encoder", str(world[1]), *STAGE.split()]
    return [*(str(part) for pair in paths.items() for part in pair), *SMALL.split(), "--model", model, *own]


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
    """metrics.csv with figures rounded: what a run computed."""
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


def test_what_all_lists_recommend_is_in_the_summary_and_that_of_recommendations_csv(finished):
    table = pd.read_csv(finished / "recommendations.csv")
    (train,) = (finished.parents[2] / "data" / "blocks").glob("feedback/*/blocks_train_augment.csv")
    train = pd.read_csv(train).set_axis(["user", "item", "rating"], axis=1)
    positives = train[train.rating >= 4].groupby("item").size()
    found, n_items = summary(finished)["lists"], summary(finished)["data"]["items"]
    assert found["coverage@20"] == pytest.approx(table.item.nunique() / n_items)
    of_users = table.item.map(positives).fillna(0).groupby(table.user).mean()
    assert found["popularity@20"] == pytest.approx(of_users.mean())
    counts = np.sort(np.pad(table.item.value_counts(), (0, n_items - table.item.nunique())))
    lorenz = np.cumsum(counts) / counts.sum()
    assert found["gini@20"] == pytest.approx((n_items + 1 - 2 * lorenz.sum()) / (n_items - 1))
    line = "Coverage@20: {coverage@20:.4f}, Gini@20: {gini@20:.4f}, Popularity@20: {popularity@20:.1f}"
    assert line.format(**found) in (finished / "log.txt").read_text().splitlines()


def test_the_test_results_are_the_last_thing_on_the_screen(finished):
    *_, rule, title, first, last, lists, end = (finished / "log.txt").read_text().splitlines()
    assert rule == end == "#" * 77 and title == "Final Test Results"
    assert first.startswith("Precision@5:") and last.startswith("Precision@20:") and lists.startswith("Coverage@20:")
    assert "ublished" not in (finished / "log.txt").read_text()  # of this data set nothing is


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


def test_second_run_reuses_splits_and_answers_and_gives_the_same_numbers(command, capsys):
    first = command()
    capsys.readouterr()
    second = command()
    printed = capsys.readouterr().out
    assert "prepared earlier" in printed and "users to ask about" not in printed
    assert numbers(first) == numbers(second)


def test_without_an_early_stop_the_best_epoch_is_tested_all_the_same(command):
    content = summary(command("--epochs", 2, "--early_stopping_step", 50))
    assert content["epochs_run"] == 2 and 0 < content["test"]["recall@20"] <= 1


# -------------------------------------------------------------------------------------------- the flags

DIFFERENT_NUMBERS = """
--dataset_augment original
--random_seed 7
--unasked_twos neutral
--llm rule
--embedding_dim 6
--layers 1
--hidden_dim 5
--no_autoencoder
--no_alignment
--loss bpr
--n_negatives 3
--graph positive
--negatives per_user
--real_neg_samp_prob 40
--lambda_reg 0.1
--lambda_ae 0.1
--learning_rate 0.05
--batch_size 100
--star_weights .5 1 2
--kappa 5
--rejection 2
--precision bfloat16
--average_decay .9
"""


@pytest.mark.parametrize("flag", DIFFERENT_NUMBERS.strip().splitlines())
def test_flag_changes_the_numbers(command, finished, flag):
    assert numbers(command(*flag.split())) != numbers(finished)


OF_MODELS = """
LightGCN --layers 1
LightGCN --embedding_dim 6
LightGCN --lambda_reg 10
LightGCN --dataset_augment augment
LightGCN --sampler dns
LightGCN --sampler_candidates 3 WITH --sampler dns
LightGCN --sampler_top 9 WITH --sampler dns
LightGCN --ahns 1 0 -2 WITH --sampler ahns
MF --embedding_dim 6
MF --lambda_reg 10
MF --sampler mixgcf
ReFINe --t 4
ReFINe --s 20
ReFINe --q 0
ReFINe --r 20
ReFINe --p 40
ReFINe --real_neg_samp_prob 40
SiReN --n_negatives 3
SiReN --lambda_reg 1
SiReN --siren_neg_coef -1
SiReN --siren_mlp_layers 3
SiReN --siren_dropout 0
EASE --ease_weights .2 .3 .6 1 1.2
EASE --ease_lambdas 3 4
EASE --ease_denoising 0 1
EASE --ease_alphas 0 .5
EASE --ease_words 5
EASE --ease_side user
EASE --ease_weights -1 -1 0 1 1
Stars --stars_lambda 1
LightGCN --average_decay .9
HNLMRec --embedding_dim 6 WITH --hn_folder VECTORS
HNLMRec --layers 1 WITH --hn_folder VECTORS
HNLMRec --lambda_reg 10 WITH --hn_folder VECTORS
HNLMRec --sampler dns WITH --hn_folder VECTORS
HNLMRec --backbone MF WITH --hn_folder VECTORS
HNLMRec --hard shuffled WITH --hn_folder VECTORS
HNLMRec --hn_alpha 0.9 WITH --hn_folder VECTORS
HNLMRec --hn_lambda 5 WITH --hn_folder VECTORS
HNLMRec --hn_adapter joint WITH --hn_folder VECTORS
HNLMRec --rank_loss hinge WITH --hn_folder VECTORS
HNLMRec --hn_margin 2 WITH --hn_folder VECTORS --rank_loss hinge
HNLMRec --hn_temperature 5 WITH --hn_folder VECTORS --hn_lambda 1
HNLMRec --hn_unfiltered WITH --hn_folder VECTORS
HNLMRec --hn_official WITH --hn_folder VECTORS --hard tuned
"""


@pytest.fixture(scope="module")
def of_model(world, tmp_path_factory):
    """(model, words) -> the numbers of a run of it, with which the flag tests below compare theirs."""

    @cache
    def run(model, words):
        base = tmp_path_factory.mktemp("of_model")
        main.main([*flags_for(world, base, model, words.split()), "--path_name", "a", *words.split()])
        return numbers(base / "result" / "blocks" / "a")

    return run


REFINE = {"ReFINe": "--t 2 --r 3"}  # so that three epochs and 60 items show something


@pytest.mark.parametrize("line", OF_MODELS.strip().splitlines())
def test_flag_changes_the_numbers_of_its_model(command, of_model, vectors, line):
    """Behind WITH stands what both runs are given."""
    words, _, both = line.replace("VECTORS", str(vectors)).partition(" WITH ")
    model, *flags = words.split()
    both = both or REFINE.get(model, "")
    assert numbers(command(*both.split(), *flags, model=model)) != of_model(model, both)


@pytest.mark.parametrize("model", [name for name in MODELS if name not in ("Blend", "CoNRec")])
def test_every_model_leaves_the_same_files_and_says_what_it_is_made_of(command, finished, model):
    run = command("--dataset_augment", "augment", model=model)
    lacking = {"last.pt"} if MODELS[model].closed_form else set()
    lacking |= {"curves.png"} if model in ("Popularity", "ItemMean", "Random") else set()
    assert {path.name for path in run.iterdir()} == {path.name for path in finished.iterdir()} - lacking
    own = {"negatives"} if model == "HNLMRec" else set()
    assert set(summary(run)) == set(summary(finished)) | own and summary(run)["model"] == model
    log = (run / "log.txt").read_text()
    assert re.search(rf"^{re.escape(model)}: \w", log, re.MULTILINE)
    assert ("closed form" in log) == MODELS[model].closed_form
    assert ("Loss: " in log) == (not MODELS[model].closed_form)
    solutions = {"Popularity": 1, "ItemMean": 1, "Random": 1, "Stars": 1, "EASE": 8}
    assert summary(run)["epochs_run"] == solutions.get(model, 3)
    assert "hidden_dim" not in log or model == "ReFINe++"  # flags without a use are not echoed
    assert ("n_negatives: 6\n" in log) == (model == "ReFINe++")  # a tenth of the items, filled in
    seed = "llm_seed: 2024\nllm_dtype: auto\n" if model == "HNLMRec" else ""  # of its vectors
    picked = f"llm: {summary(run)['llm']}\nllm_mode: embed\n{seed}unasked_twos: confirmed\n"
    assert picked in log
    assert len(load_run(run).recommend("u7", k=3)) == 3  # the settings suffice to build the model anew


def test_the_train_interactions_in_the_log_are_those_the_model_learns_from(command, tmp_path):
    counts = {model: summary(command(model=model))["data"]["train"] for model in ("LightGCN", "SiReN")}
    ratings = pd.read_csv(tmp_path / "data" / "blocks" / "blocks_train_original.csv")["rating:float"]
    assert counts == {"LightGCN": (ratings >= 4).sum(), "SiReN": len(ratings)}


CAUSAL = {  # flag: arguments with which a causal model's answers come out otherwise
    "llm_mode": "--llm_mode generate",
    "llm_domain": "--llm_domain music",
    "llm_permutations": "--llm_permutations 3",
    "llm_profile": "--llm_profile 1",
    "llm_seed": "--llm_seed 1",
    "llm_dtype": "--llm_dtype bfloat16",
    "llm_batch_tokens": "--llm_batch_tokens 300",  # "batch" says how many questions were read at once
    "llm_question_size": "--llm_mode generate --llm_constrained --llm_question_size 2",
    "llm_constrained": "--llm_mode generate",  # without it
    "llm_answer_tokens": "--llm_mode generate --llm_constrained --llm_answer_tokens 1",
    "llm_users": "--llm_users 3",
    "llm_prompt": f"--llm_prompt {Path(__file__).parent / 'fixtures' / 'score.txt'}",
}


@pytest.fixture(scope="module")
def causal(films, tmp_path_factory):
    """answers(flag, ...) -> lines of answers.jsonl of the whole command with a causal model, in a folder of its own."""
    world = synthetic.write_data_set(tmp_path_factory.mktemp("causal") / "blocks"), films.llm / "untrained"

    def answers(*flags):
        base = tmp_path_factory.mktemp("base")
        try:
            main.main([*flags_for(world, base), "--epochs", "1", *flags])
        except utils.InputError as error:  # a model that knows nothing says little that can be read
            assert "items are answered, too few to train on" in str(error) and "--llm_mode" in flags
        (path,) = base.glob("data/blocks/feedback/*/answers.jsonl")
        return path.read_text().splitlines()[1:]

    return answers


@pytest.fixture(scope="module")
def plain_answers(causal):
    return {"score": causal(), "generate": causal("--llm_mode", "generate", "--llm_constrained")}


@pytest.mark.parametrize("flag", CAUSAL)
def test_flag_changes_what_a_causal_model_answers(causal, plain_answers, flag):
    arguments = CAUSAL[flag]
    before = plain_answers["generate" if "generate" in arguments and flag != "llm_mode" else "score"]
    assert sorted(causal(*arguments.split())) != sorted(before)


def test_a_causal_model_is_asked_for_scores_by_default_and_gives_the_same_again(causal, plain_answers):
    assert causal() == plain_answers["score"]


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


@pytest.mark.parametrize(
    ("flags", "folder"),
    [
        ("--unasked_twos neutral", "trained-score-neutral"),
        ("--llm_permutations 2", "trained-score-2_orders"),
        ("--unasked_twos neutral --llm_permutations 2", "trained-score-neutral-2_orders"),
    ],
)
def test_runs_that_make_other_labels_of_the_same_answers_leave_each_other_alone(films, tmp_path, flags, folder):
    """Before, the second overwrote what the first was trained on."""
    world = synthetic.write_data_set(tmp_path / "blocks"), films.llm / "trained"
    flags_of = {"first": [], "second": flags.split()}
    for name, own in flags_of.items():
        main.main([*flags_for(world, tmp_path), "--epochs", "1", "--path_name", name, *own])
    feedback = tmp_path / "data" / "blocks" / "feedback"
    assert [path.parent.name for path in feedback.rglob("answers.jsonl")] == ["trained-score"]
    for name, its in zip(flags_of, ("trained-score", folder), strict=True):
        config = json.loads((tmp_path / "result" / "blocks" / name / "config.json").read_text())
        assert utils.sha256(feedback / its / "blocks_train_augment.csv") == config["made_from"]["sha256"]
        assert (feedback / its / "report.json").exists()


@pytest.mark.parametrize("control", ["rule", "random"])
def test_controls_run_without_titles_or_a_model(command, world, tmp_path, control):
    (world[0] / "blocks.item").rename(tmp_path / "hidden")
    try:
        content = summary(command("--llm", control))
    finally:
        (tmp_path / "hidden").rename(world[0] / "blocks.item")
    assert content["llm"] == control and content["llm_mode"] is None
    assert content["refinement"]["answered"] == content["refinement"]["candidates"] > 0


def test_half_stars_are_rounded_by_flag(world, tmp_path):
    folder = shutil.copytree(world[0], tmp_path / "halves")
    path = folder / "blocks.inter"
    path.write_text(path.read_text().replace("\t3\n", "\t3.5\n"))
    likes = []
    for way in ("up", "down"):
        main.main([*flags_for((folder,), tmp_path, "Popularity"), "--half_stars", way, "--path_name", way])
        likes.append(summary(tmp_path / "result" / "halves" / way)["data"]["train"])
    assert likes[0] > likes[1]  # 3.5 is a 4, or a 3


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


def test_the_url_flag_asks_a_server_and_bounds_time_and_requests(command, monkeypatch):
    seen = []

    class Server:
        llm, mode, template = "org/served", "generate", None

        def __init__(self, options, mode, domain):
            seen.append((options.llm_url, options.llm_concurrency, options.llm_timeout, mode, domain))

        def answers(self, questions, asked, texts):
            for question in questions:
                yield question.record(asked, verdicts=["liked"] * len(question.items), raw=["all"])

        show = answers

    monkeypatch.setattr(endpoint, "Endpoint", Server)
    run = command("--llm_url", "http://localhost:1/v1", "--llm_concurrency", 3, "--llm_timeout", 9)
    assert seen == [("http://localhost:1/v1", 3, 9.0, "auto", "items")]
    assert summary(run)["llm"] == "org/served" and summary(run)["refinement"]["changed"]["3->0.5"] == 0


OTHER_EFFECT = {  # flag: (arguments, what must hold of the run folder and the default run's)
    "epochs": ("--epochs 2", lambda run, default: len(numbers(run)) == 2),
    "evaluation_step": (
        "--evaluation_step 2",
        lambda run, default: ["recall@20" in row for row in numbers(run)] == [False, True, True],
    ),
    "early_stopping_step": (
        "--learning_rate 0.5 --early_stopping_step 1 --epochs 40",
        lambda run, default: summary(run)["epochs_run"] < 40,
    ),
    "test_batch_size": ("--test_batch_size 3", lambda run, default: numbers(run) == numbers(default)),
    "top_k": ("--top_k 3", lambda run, default: "recall@3" in summary(run)["test"]),
    "path_name": ("--path_name mine", lambda run, default: run.name == "mine"),
    "device": ("--device cpu", lambda run, default: summary(run)["device"].startswith("cpu")),
}


@pytest.mark.parametrize("flag", OTHER_EFFECT)
def test_flag_has_its_effect(command, finished, flag):
    arguments, holds = OTHER_EFFECT[flag]
    assert holds(command(*arguments.split()), finished)


def test_test_batch_size_bounds_the_users_ranked_at_once(command, monkeypatch):
    blocks, scores = [], evaluation.score_blocks
    monkeypatch.setattr(evaluation, "score_blocks", lambda *a: (blocks.append(len(b[0])) or b for b in scores(*a)))
    command("--test_batch_size", 3, "--epochs", 1)
    assert max(blocks) == 3


def test_an_llm_is_asked_although_labels_lie_in_the_data_folder_and_auto_takes_the_labels(command, tmp_path, capsys):
    labels = command().parents[2] / "data" / "blocks" / "blocks_train_augment.csv"
    original = labels.with_name("blocks_train_original.csv").read_text()
    labels.write_text(re.sub(",3\n", ",4.5\n", original))
    assert summary(command())["llm"].endswith("encoder")
    assert summary(command("--llm", "auto"))["llm"] == "file"
    assert "as found; no language model asked" in capsys.readouterr().out


def test_shuffled_labels_need_labels_and_are_used(command, tmp_path):
    with pytest.raises(utils.InputError, match=r"--llm shuffled: needs .*blocks_train_augment\.csv"):
        command("--llm", "shuffled")
    data = tmp_path / "data" / "blocks"
    command("--llm", "random")
    labels = data / "feedback" / "random-2024" / "blocks_train_augment.csv"
    shutil.copy(labels, data)
    before, after = summary(command("--llm", "auto")), summary(command("--llm", "shuffled"))
    assert after["llm"] == "shuffled" and after["data"] == before["data"]
    assert after["refinement"]["changed"] == before["refinement"]["changed"]
    assert after["validation"] != before["validation"]


def test_every_flag_is_covered_here_and_has_a_help_line():
    elsewhere = {"dataset", "llm", "resume", "data_dir", "result_dir", "llm_url", "llm_concurrency", "llm_timeout"}
    elsewhere |= {"model", "deterministic", "verbose", "blend", "half_stars", "threads"}
    elsewhere |= {"columns", "scale"}  # tests/preparation/test_own.py, tests/test_own_data.py
    elsewhere |= {"hold_out", "split", "dislike_cost", "llm_labels", "llm_shuffle"}  # tests/test_hold_out.py
    elsewhere |= {"llm_temperature", "llm_dry_run"}  # tests/feedback/test_asking.py
    elsewhere |= {"json", "tensorboard"}  # above, and tests/test_tensorboard.py
    of_stage, of_conrec = (set(own_names_of(cls)) for cls in (StageSettings, ConrecSettings))
    elsewhere |= of_stage  # tests/negatives/test_stage.py
    elsewhere |= of_conrec  # tests/conrec/test_conrec.py
    elsewhere |= set(own_names_of(Looking))  # tests/test_recommend.py, tests/conrec/results/test_conrec_filter.py
    flags = FLAGS.keys()
    here = {line.split()[0].lstrip("-") for line in DIFFERENT_NUMBERS.strip().splitlines()}
    own = {(line.split()[0], line.split()[1].lstrip("-")) for line in OF_MODELS.strip().splitlines()}
    assert flags == here | {flag for _, flag in own} | set(OTHER_EFFECT) | set(CAUSAL) | elsewhere
    as_lightgcn = {(name, flag) for name in ("ReFINe", "MF", "HNLMRec") for flag in names_of(LightGCNSettings)}
    as_lightgcn |= {("SiReN", "embedding_dim"), ("SiReN", "layers")}
    of_every_run = {*names_of(RunSettings), *own_names_of(RefinementSettings)}
    of_models = set()
    for name, row in MODELS.items():
        of_models |= {(name, flag) for flag in set(names_of(row.settings)) - of_every_run - of_stage - of_conrec}
    of_refine = {flag for name, flag in of_models if name == "ReFINe++"}
    of_models = {(name, flag) for name, flag in of_models if name != "ReFINe++"}
    assert of_models - as_lightgcn - {("Blend", "blend")} <= own and of_refine <= here
    text = "\n\n".join(help_on(model) for model in ("ReFINe++", *MODELS))
    switches = {"no_autoencoder", "no_alignment", "llm_constrained", "deterministic", "verbose", "resume"}
    switches |= {"json", "tensorboard", "llm_dry_run", "hn_official", "hn_unfiltered"}
    none_given = {"dataset", "llm_url", "columns", "scale", "half_stars", "blend", "hn_url", "hn_folder"}
    none_given |= {"llm_prompt", "llm_users"}
    none_given |= {"hold_out", "llm_labels", "conrec_embeddings", "recommend", "filter", "run"}
    none_given |= {"stars", "similar", "out"}
    for flag in flags:
        own = re.search(rf"\n  --{flag}\b(.*?)(?=\n  --|\n\n|$)", text, re.DOTALL)[1]
        assert len(own.split()) > 3, f"--{flag} has no help line"
        has_default = flag not in switches | none_given
        assert bool(re.search(r"\(default:\s", own)) == has_default, f"--{flag}: {own}"
        assert f" {flag.upper()} " not in own.partition("(default")[0]
    assert "None" not in text


# -------------------------------------------------------------------------------------------- bad input


def test_a_wrong_checksum_is_refused_by_the_real_command(tmp_path):
    folder = synthetic.write_data_set(tmp_path / "data" / "ML-100K")
    for suffix in (".inter", ".item"):
        (folder / f"ML-100K{suffix}").rename(folder / f"ml-100k{suffix}")
    command = [sys.executable, "main.py", "--dataset", "ML-100K", "--data_dir", str(tmp_path / "data")]
    done = subprocess.run([*command, "--result_dir", str(tmp_path / "r")], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
    assert re.search(r"ml-100k\.inter: SHA-256 is \w{64}, expected 4edb74e2", done.stderr)
    assert not (tmp_path / "r").exists()
