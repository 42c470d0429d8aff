"""CoNRec as a whole command: what it leaves behind, kills, shared and damaged stages, SASRec."""

import json
import re
import shlex
import shutil
import signal

import conrec_models
import numpy as np
import pandas as pd
import pytest
import synthetic
import torch

import main
import study
from conrec.learning import steps
from conrec.learning.stage_folders import DONE
from conrec.results import closed_forms, filter_lists, run_files
from conrec.results.filter import odds_of
from machine import shell
from machine.shell import Stopped
from options import command_line
from options.conrec import STAGES
from results4comparison import conrec_tables, table
from utils import InputError

SMALL = f"""
--device cpu --top_k 5 20 --conrec_rq_epochs 3 --conrec_codes 16 --conrec_stages {" ".join(STAGES)}
--conrec_sft_steps 3 4 5 5 --conrec_history 5 5 --conrec_beams 20
--conrec_steps 3 --conrec_prompts 4 --conrec_group 4
"""
FILES = """
log.txt config.json metrics.csv stages.csv per_user.csv predictions.csv sids.csv rqvae.safetensors odds.csv
recommended_per_user.csv filter.json curves.png model summary.json
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The folder of a small planted world, the .npz of its items beside it."""
    base = tmp_path_factory.mktemp("planted")
    return synthetic.write_planted(base, n_users=30, n_items=80, n_events=40)


def arguments(world, base, *more):
    words = [
        "--dataset", world, "--data_dir", base / "data", "--result_dir", base / "result", "--model", "CoNRec",
        "--conrec_embeddings", world.parent / "vectors.npz", *SMALL.split(), *more,
    ]  # fmt: skip
    return list(map(str, words))


@pytest.fixture(scope="module")
def finished(world, tmp_path_factory):
    """The base folder of a finished run, result/world/a, which the tests may only read."""
    base = tmp_path_factory.mktemp("finished")
    main.main(arguments(world, base, "--path_name", "a"))
    return base


def folder_of(base, name="a"):
    return base / "result" / "world" / name


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


def figures(folder):
    """metrics.csv without the seconds: what a run computed, as text."""
    return pd.read_csv(folder / "metrics.csv", dtype=str).drop(columns="seconds").to_csv()


# ------------------------------------------------------------------------------------------- what is left behind


def test_run_folder_and_summary_hold_what_the_page_promises(finished):
    folder = folder_of(finished)
    assert {path.name for path in folder.iterdir()} == set(FILES.split())
    found = summary(folder)
    assert (found["task"], found["primary"], found["system"]) == ("negative", "fhr@20", "conrec")
    agreed = "dataset model random_seed data test validation intervals sids stages baselines filter flags"
    assert set(agreed.split()) <= set(found)
    per_user = pd.read_csv(folder / "per_user.csv")
    for name in ("hr@5", "fhr@20", "fhr-every@20", "frecall@20", "cand_ll", "auc", "auc-odds"):
        assert found["test"][name] == pytest.approx(per_user[name].mean(), abs=1e-6)
    for name in ("hr@20", "frecall@20"):
        assert (per_user[name] <= per_user["fhr@20"]).all()
    assert list(found["stages"]) == list(STAGES)
    assert list(found["baselines"]) == list(closed_forms.SYSTEMS)
    recommended = pd.read_csv(folder / "recommended_per_user.csv").groupby("moment")
    assert recommended.user.nunique().to_dict() == {"test": 30, "validation": 30}
    for name in ("dislikes@20", "recall@20"):
        means = {moment: figures[name] for moment, figures in found["recommends"].items()}
        assert means == pytest.approx(recommended[name].mean().to_dict()) and means["test"] > 0


def test_predictions_are_twenty_items_that_the_user_has_not_rated_by_then(finished, world):
    table = pd.read_csv(folder_of(finished) / "predictions.csv")
    inter = pd.read_csv(world / "world.inter", sep="\t").set_axis(["user", "item", "rating", "time"], axis=1)
    rated = {user: rows.sort_values("time").item.tolist() for user, rows in inter.groupby("user")}
    share = {"validation": 6, "test": 8, "now": 10}
    for (user, as_of), rows in table.groupby(["user", "as_of"]):
        known = rated[user][: len(rated[user]) * share[as_of] // 10]
        assert len(set(rows.item)) == 20 and not set(rows.item) & set(known)
        assert rows["rank"].tolist() == list(range(1, 21)) and rows.logprob.is_monotonic_decreasing
    assert set(table.as_of) == set(share)


def test_stages_csv_has_a_row_for_each_context_trained_so_far(finished):
    table = pd.read_csv(folder_of(finished) / "stages.csv", keep_default_na=False)
    assert table.groupby("stage").context.agg(" ".join).to_dict() == {
        "translation": "", "alignment": "", "stream": "both", "warmup": "both negatives",
        **dict.fromkeys(("recent", "negatives", "both"), "both negatives recent"),
    }  # fmt: skip
    own = table[(table.stage == "both") & (table.context == "both")].iloc[0]
    assert float(own["fhr@20"]) == pytest.approx(summary(folder_of(finished))["test"]["fhr@20"])


def test_the_odds_of_each_event_are_those_of_the_finished_weights(finished, world):
    """And the filter's policy is the run's: read from its folder alone."""
    folder = folder_of(finished)
    conrec = filter_lists.read_conrec(folder, finished / "data", "cpu")
    table, events = pd.read_csv(folder / "odds.csv"), conrec.events
    for part in ("validation", "test"):
        rows = np.flatnonzero(events.parts == ["train", "validation", "test"].index(part))
        own = table[table.part == part]
        assert own.item.tolist() == events.item_ids[events.items[rows]].tolist()
        found = odds_of(conrec.policy, part, events.users[rows], events.items[rows])
        assert np.allclose(found, own.odds, atol=1e-4) and own.odds.std() > 0.002  # it learned for few steps


# ------------------------------------------------------------------------------------------------ kills and resuming


class Killed(BaseException):
    """What a kill looks like from within: nothing is saved any more."""


def test_a_run_that_is_killed_and_stopped_again_and_again_ends_as_the_undisturbed_one(
    world, finished, tmp_path, monkeypatch
):
    random, take_step, ends = np.random.default_rng(0), steps.Loop.take_step, []

    def step_or_end(loop):
        chance = random.random()
        if chance < 0.3:
            ends.append((loop.plan.name, loop.step))
            raise Killed
        if chance < 0.6:
            ends.append((loop.plan.name, loop.step))
            signal.raise_signal(signal.SIGTERM)
        return take_step(loop)

    monkeypatch.setattr(steps.Loop, "take_step", step_or_end)
    monkeypatch.setattr(steps.checkpoint, "SAVE_SECONDS", 0)
    monkeypatch.setattr(steps.checkpoint, "SAVE_SHARE", 0)
    resume = []
    for _ in range(60):
        try:
            main.main(arguments(world, tmp_path, "--path_name", "a", *resume))
            break
        except (Killed, Stopped):
            resume = ["--resume"]
    assert len({stage for stage, _ in ends}) >= 5 and any(step for _, step in ends)
    ours, theirs = folder_of(tmp_path), folder_of(finished)
    for name in ("predictions.csv", "per_user.csv", "sids.csv", "filter.json", "recommended_per_user.csv"):
        assert (ours / name).read_bytes() == (theirs / name).read_bytes(), name
    assert figures(ours) == figures(theirs)
    assert not list(tmp_path.rglob("last.pt"))


def test_runs_that_begin_alike_share_the_stages_of_their_beginning(world, finished, tmp_path):
    shutil.copytree(finished / "data", tmp_path / "data")
    before = set((tmp_path / "data").rglob("[!.]*-*"))
    main.main(arguments(world, tmp_path, "--path_name", "b", "--conrec_reward", "a"))
    made = sorted(path.name.split("-")[0] for path in set((tmp_path / "data").rglob("[!.]*-*")) - before)
    assert " ".join(made) == "both evaluate evaluate evaluate every judge negatives predict recent recommend"
    ours, theirs = (pd.read_csv(run / "metrics.csv") for run in (folder_of(tmp_path, "b"), folder_of(finished)))
    first = ours.stage.isin(["translation", "alignment", "stream", "warmup"])
    assert ours[first].equals(theirs[first]) and not ours[~first].equals(theirs[~first])


def test_a_stage_that_was_edited_or_half_deleted_is_refused_by_name_or_made_anew(world, finished, tmp_path):
    shutil.copytree(finished / "data", tmp_path / "data")
    command = arguments(world, tmp_path, "--path_name", "b")
    (events,) = (tmp_path / "data").rglob("events-*/events.csv")
    left = events.read_text()
    events.write_text(left.replace("i1", "i2", 1))
    words = r"events\.csv: was changed after the stage was finished; .* delete .* made anew"
    with pytest.raises(InputError, match=words):
        main.main(command)
    events.write_text(left)
    (warmup,) = (tmp_path / "data").rglob("warmup-*/")
    (warmup / "model" / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"model\.safetensors: is gone, which a finished stage must have; delete"):
        main.main([*command, "--resume"])
    (warmup / DONE).unlink()
    main.main([*command, "--resume"])
    ours, theirs = (folder / "predictions.csv" for folder in (folder_of(tmp_path, "b"), folder_of(finished)))
    assert ours.read_bytes() == theirs.read_bytes()


def test_a_stage_whose_loss_is_no_number_is_not_finished(world, tmp_path, monkeypatch):
    gradients = steps.Loop.gradients

    def spoil(loop, examples):
        figures = gradients(loop, examples)
        if (loop.plan.name, loop.step) == ("warmup", 2):
            figures["loss"] = float("nan")
        return figures

    monkeypatch.setattr(steps.Loop, "gradients", spoil)
    words = r"warmup: the loss of step 3 is not finite; try lower --conrec_rates \(it learns at 0\.001\)"
    for resume in ([], ["--resume"]):
        with pytest.raises(InputError, match=words):
            main.main(arguments(world, tmp_path, "--conrec_stages", "warmup", "both", "--path_name", "a", *resume))
    (left,) = tmp_path.rglob("warmup-*")
    assert not (left / DONE).exists() and not (folder_of(tmp_path) / "summary.json").exists()


def test_a_language_model_goes_through_all_stages_and_leaves_its_adapter(world, tmp_path):
    conrec_models.write_llm(tmp_path / "llm", chat=True)
    short = "--conrec_sft_steps 1 1 2 1 --conrec_steps 1 --conrec_stages alignment stream both --conrec_prompts 2"
    main.main(arguments(world, tmp_path, "--path_name", "a", "--llm", tmp_path / "llm", *short.split()))
    found = summary(folder_of(tmp_path))
    assert found["llm"] == str(tmp_path / "llm") and found["stages"]["both"]["steps"] == 1
    assert {"adapter_model.safetensors"} <= {path.name for path in (folder_of(tmp_path) / "model").iterdir()}


def test_all_weights_of_a_language_model_go_on_bit_for_bit(world, tmp_path, monkeypatch):
    conrec_models.write_llm(tmp_path / "llm")
    flags = ["--llm", tmp_path / "llm", "--conrec_lora_rank", "0", "--llm_dtype", "bfloat16"]
    flags += ["--conrec_stages", "warmup", "both", "--conrec_steps", "2", "--path_name", "a"]
    main.main(arguments(world, tmp_path / "whole", *flags))
    take_step, kept = steps.Loop.take_step, set()

    def step_and_stop(loop):
        kept.update(weight.dtype for weight in loop.weights)
        if loop.step == 1:
            signal.raise_signal(signal.SIGTERM)
        return take_step(loop)

    monkeypatch.setattr(steps.Loop, "take_step", step_and_stop)
    for stage, resume in (("warmup", []), ("both", ["--resume"])):
        with pytest.raises(Stopped, match=f"stopped and saved in {stage}, step 2"):
            main.main(arguments(world, tmp_path / "again", *flags, *resume))
    main.main(arguments(world, tmp_path / "again", *flags, "--resume"))
    ours, theirs = folder_of(tmp_path / "again"), folder_of(tmp_path / "whole")
    assert figures(ours) == figures(theirs) and kept == {torch.float32}
    assert (ours / "model" / "model.safetensors").read_bytes() == (theirs / "model" / "model.safetensors").read_bytes()


def test_sasrec_is_evaluated_on_the_same_instances(world, finished, tmp_path):
    more = ["--conrec_system", "sasrec", "--path_name", "s"]
    paths = ["--dataset", world, "--data_dir", tmp_path / "data", "--result_dir", tmp_path / "result"]
    given = "--conrec_sft_steps 3 4 5 5 --conrec_history 5 5 --device cpu --top_k 5 20 --model CoNRec"
    main.main([*map(str, paths), *given.split(), *more])
    found, ours = summary(folder_of(tmp_path, "s")), summary(folder_of(finished))
    assert (found["task"], found["system"], found["primary"]) == ("negative", "sasrec", "fhr@20")
    assert found["baselines"] == ours["baselines"]
    assert set(found["test"]) >= {"hr@5", "fhr@20", "cand_ll", "auc", "auc-odds"}
    assert set(found["recommends"]) == {"validation", "test"}


# ------------------------------------------------------------------------------------------------------- the flags


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--llm_mode score", "--llm_mode: CoNRec refines no ratings"),
        ("--conrec_lora_rank 4", "--conrec_lora_rank: the tiny decoder has no use for it; add --llm NAME"),
        ("--llm rule", "--llm rule: CoNRec needs a causal language model"),
        ("--conrec_stages stream both --conrec_reward a --conrec_gamma 1", "--conrec_gamma: --conrec_reward a leaves"),
        ("--conrec_reward a", "--conrec_reward: --conrec_stages stream leaves it"),
        ("--conrec_stages warmup --conrec_budget .1", "--conrec_budget: --conrec_stages warmup leaves it"),
        ("--conrec_stages recent", "--conrec_stages recent: nothing is predicted, .* without stream or warmup; add"),
        ("--conrec_stages warmup warmup", "--conrec_stages warmup warmup: names a stage twice"),
        ("--conrec_embeddings x --conrec_encoder y", "--conrec_encoder: --conrec_embeddings leaves it"),
        ("--conrec_system sasrec --conrec_codes 8", "--conrec_codes: --conrec_system sasrec leaves it"),
        ("--conrec_rates 0 1", "--conrec_rates: must be above 0"),
    ],
)
def test_a_flag_that_would_change_nothing_is_refused(words, message):
    with pytest.raises(InputError, match=message):
        command_line.parse(["--dataset", "x", "--model", "CoNRec", *words.split()])


SHORT = "--conrec_stages stream warmup both --conrec_ids vectors"
DIFFERENT = [
    "--random_seed 7", "--top_k 3 20", "--conrec_negative 1", "--conrec_ids both", "--conrec_codes 24",
    "--conrec_rq_epochs 4", "--conrec_sft_steps 3 4 6 5", "--conrec_history 2 5", "--conrec_rates 1e-2 3e-4",
    "--conrec_steps 4", "--conrec_reward next", "--conrec_gamma 0.9", "--conrec_prompts 5", "--conrec_group 5",
    "--conrec_beta .5", "--conrec_beams 60", "--conrec_budget 0.3",
]  # fmt: skip


def found_by(folder):
    """All that a run computed, as text."""
    names = ("predictions.csv", "per_user.csv", "filter.json", "sids.csv")
    return [(folder / name).read_text() for name in names] + [figures(folder)]


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """(base folder, data set) of a finished run of SHORT, to whose stages the tests add theirs."""
    base = tmp_path_factory.mktemp("short")
    world = synthetic.write_planted(base, n_users=14, n_items=80, n_events=40)
    main.main(arguments(world, base, "--path_name", "a", *SHORT.split()))
    return base, world


@pytest.mark.parametrize("words", DIFFERENT)
def test_every_flag_changes_something(short, words, monkeypatch):
    (base, world), name = short, words.strip("-").replace(" ", "_")
    monkeypatch.setattr(run_files, "plot", lambda *of: None)  # takes a second
    main.main(arguments(world, base, "--path_name", name, *SHORT.split(), *words.split()))
    assert found_by(folder_of(base, name)) != found_by(folder_of(base))


def test_finished_runs_make_tables_of_their_own(world, finished, tmp_path, monkeypatch, capsys):
    run = folder_of(finished)
    table.main([str(run)])
    printed = capsys.readouterr().out
    for words in ("Next dislikes, world", "| **CoNRec --conrec_", "| two factors | 1 |"):
        assert words in printed
    monkeypatch.setattr(conrec_tables, "OURS", tmp_path / "ours")
    table.main(["negative"])
    assert "Not measured yet" in capsys.readouterr().out
    table.main(["keep", str(run), "default_2024"])
    (tmp_path / "ours" / "world_default_2024.json").write_text(json.dumps(summary(run) | {"flags": {}}))
    table.main(["negative"])
    printed = capsys.readouterr().out
    assert "CoNRec, *reported*" in printed and "| CoNRec | every instance |" in printed
    assert "| reversed EASE on positives | 1%" in printed
    shown = re.search(r"\| \*\*CoNRec\*\* \| 1 \| ([\d.]+) \| ([\d.]+) \| ([\d.]+)", printed)
    expected = [summary(run)["test"][name] for name in ("hr@20", "fhr@20", "fhr-every@20")]
    assert [float(cell) for cell in shown.groups()] == [round(value, 4) for value in expected]
    assert "| **CoNRec, after <like>**, train events known | 1 |" in printed


def test_the_file_of_all_figures_is_what_the_kept_runs_give():
    path = conrec_tables.compare.HERE / "tables" / "negative.csv"
    assert path.read_text() == conrec_tables.make_wide_table().to_csv(index=False, lineterminator="\n")


# --------------------------------------------------------------------------------------------- looking at a user


def test_a_user_is_shown_what_they_dislike_and_what_is_predicted(finished, world, capsys):
    main.main(["--recommend", "u3", "--run", str(folder_of(finished)), "--top_k", "20"])
    known, now, past = re.split(r"\nPredicted [^\n]*\n", capsys.readouterr().out)
    inter = pd.read_csv(world / "world.inter", sep="\t").set_axis(["user", "item", "rating", "time"], axis=1)
    own = inter[inter.user == "u3"].sort_values("time")
    disliked = own[own.rating <= 2].item
    assert f"Disliked: {len(disliked)}" in known and all(f" {item}  " in known for item in disliked[-20:])
    table = pd.read_csv(folder_of(finished) / "predictions.csv")
    table = table[table.user == "u3"]
    for printed, as_of in ((now, "now"), (past, "test")):
        assert re.findall(r" (i\d+)  ", printed) == table[table.as_of == as_of].item.tolist()
    came_true = set(own[32:][own[32:].rating <= 2].item) & set(table[table.as_of == "test"].item)
    assert set(re.findall(r"\* +(i\d+)  ", past)) == came_true and "*" not in now
    with pytest.raises(InputError, match="user nobody: not among the 30 users"):
        main.main(["--recommend", "nobody", "--run", str(folder_of(finished))])


def test_a_study_takes_a_finished_run_and_no_run_of_other_files(finished, world, tmp_path, capfd):
    """The run made for the other tests, under the name that the study gives it."""
    model = ["CoNRec", "--conrec_embeddings", str(world.parent / "vectors.npz"), *SMALL.split()]
    where = ["--datasets", world, "--data_dir", finished / "data", "--result_dir", tmp_path]
    words = [*map(str, where), "--models", shlex.join(model)]
    folder = study.Trial(model, str(world), 2024, study.parse(words)).folder
    shutil.copytree(folder_of(finished), folder)
    study.study(words)
    assert "FHR@20" in capfd.readouterr().out
    config = json.loads((folder / "config.json").read_text())
    changes = {world / "world.inter": {"sha256": "0"}, model[2]: {"vectors": {"embeddings": "0"}}}
    for path, change in changes.items():
        (folder / "config.json").write_text(json.dumps(config | {"made_from": config["made_from"] | change}))
        assert shell.cli(study.study, words) == 2
        error = capfd.readouterr().err
        assert error.count("\n") == 1
        assert f"{folder}: holds a finished run" in error and str(path) in error
