"""CoNRec as a whole command: what it leaves behind, kills, shared stages, damaged stages, the other systems."""

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
from conrec.results import filter_lists, run_files
from conrec.results.filter import odds_of
from machine import shell
from machine.shell import Stopped
from options import command_line
from options.conrec import STAGES
from preparation.splits import PARTS
from results4comparison import conrec_tables, table
from utils import InputError

SMALL = "--conrec_rq_epochs 3 --conrec_codes 16 --conrec_sft_steps 3 4 5 5 --conrec_steps 3 --conrec_prompts 4"
SMALL += " --conrec_group 4 --conrec_beams 20 --conrec_history 5 5 --device cpu --top_k 5 20"
SMALL += f" --conrec_stages {' '.join(STAGES)}"
FILES = """
log.txt config.json metrics.csv stages.csv per_user.csv predictions.csv sids.csv rqvae.safetensors odds.csv
recommended_per_user.csv filter.json coverage.json baselines.csv curves.png model summary.json
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The folder of a small planted world, the .npz of its items beside it."""
    return synthetic.write_planted(tmp_path_factory.mktemp("planted"), n_users=30, n_items=80, n_events=40)


def arguments(world, base, *more):
    paths = ["--dataset", world, "--data_dir", base / "data", "--result_dir", base / "result", "--model", "CoNRec"]
    return list(map(str, [*paths, "--conrec_embeddings", world.parent / "vectors.npz", *SMALL.split(), *more]))


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
    agreed = "dataset model random_seed data test validation intervals sids stages baselines filter against flags"
    assert set(agreed.split()) <= set(found)
    per_user = pd.read_csv(folder / "per_user.csv")
    for name in ("hr@5", "fhr@20", "frecall@20", "candidates", "cand_ll", "auc"):
        assert found["test"][name] == pytest.approx(per_user[name].mean(), abs=1e-6)
    assert (per_user["hr@20"] <= per_user["fhr@20"]).all() and (per_user["frecall@20"] <= per_user["fhr@20"]).all()
    assert list(found["stages"]) == list(STAGES)
    assert len(found["baselines"]) == 13


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
    contexts = {stage: rows.context.tolist() for stage, rows in table.groupby("stage", sort=False)}
    one, two = ["both"], ["both", "negatives"]
    assert contexts == {
        "translation": [""], "alignment": [""], "stream": one, "warmup": two, "recent": [*two, "recent"],
        "negatives": [*two, "recent"], "both": [*two, "recent"],
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


def test_what_is_recommended_is_judged_as_on_the_split_in_time(finished, world):
    """Recall@20 and dislikes@20, counted again from the files."""
    table = pd.read_csv(folder_of(finished) / "recommended_per_user.csv")
    assert table.groupby("moment").user.nunique().to_dict() == {"test": 30, "validation": 30}
    found = summary(folder_of(finished))["recommends"]
    for moment, rows in table.groupby("moment"):
        assert found[moment]["dislikes@20"] == pytest.approx(rows["dislikes@20"].mean())
        assert found[moment]["recall@20"] == pytest.approx(rows["recall@20"].mean())
        assert 0 < found[moment]["recall@20"] < 1


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
    for name in ("predictions.csv", "per_user.csv", "sids.csv", "filter.json", "baselines.csv"):
        assert (ours / name).read_bytes() == (theirs / name).read_bytes(), name
    assert figures(ours) == figures(theirs)
    assert not list(tmp_path.rglob("last.pt"))


def test_runs_that_begin_alike_share_the_stages_of_their_beginning(world, finished, tmp_path):
    shutil.copytree(finished / "data", tmp_path / "data")
    before = {path.name for path in (tmp_path / "data" / "world" / "conrec").glob("*-*")}
    main.main(arguments(world, tmp_path, "--path_name", "b", "--conrec_reward", "a"))
    new = {path.name for path in (tmp_path / "data" / "world" / "conrec").glob("*-*")} - before
    made = sorted(name.split("-")[0] for name in new if not name.startswith("."))
    assert made == sorted(
        ["both", "negatives", "recent", *["evaluate"] * 3, "every", "judge", "predict", "recommend"]
    )
    runs = folder_of(tmp_path, "b"), folder_of(finished)
    ours, theirs = (pd.read_csv(run / "metrics.csv") for run in runs)
    first = ours.stage.isin(["translation", "alignment", "stream", "warmup"])
    assert ours[first].equals(theirs[first]) and not ours[~first].equals(theirs[~first])


def test_a_finished_run_is_not_begun_anew(world, finished):
    with pytest.raises(InputError, match="holds a finished run"):
        main.main(arguments(world, finished, "--path_name", "a"))


@pytest.mark.parametrize("file", ["events.csv", "sids.csv"])
def test_an_edited_stage_is_refused_by_name(world, finished, tmp_path, file):
    shutil.copytree(finished / "data", tmp_path / "data")
    (path,) = (tmp_path / "data").rglob(f"*-*/{file}")
    path.write_text(path.read_text().replace("i1", "i2", 1))
    with pytest.raises(InputError, match=rf"{file}: was changed after the stage was finished; .* delete .* made anew"):
        main.main(arguments(world, tmp_path, "--path_name", "b"))


def test_a_stage_that_was_half_deleted_is_refused_or_made_anew(world, finished, tmp_path):
    shutil.copytree(finished / "data", tmp_path / "data")
    (warmup,) = (tmp_path / "data").rglob("warmup-*/")
    (warmup / "model" / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"model\.safetensors: is gone, which a finished stage must have; delete"):
        main.main(arguments(world, tmp_path, "--path_name", "b"))
    (warmup / DONE).unlink()
    main.main(arguments(world, tmp_path, "--path_name", "b", "--resume"))
    assert (folder_of(tmp_path, "b") / "predictions.csv").read_bytes() == (
        folder_of(finished) / "predictions.csv"
    ).read_bytes()


def test_a_stage_whose_loss_is_no_number_is_not_finished_and_other_rates_are_not_affected(world, tmp_path, monkeypatch):
    gradients = steps.Loop.gradients

    def spoil(loop, examples):
        figures = gradients(loop, examples)
        spoilt = loop.plan.rate == 1e-3 and (loop.plan.name, loop.step) == ("warmup", 2)
        return figures | {"loss": float("nan")} if spoilt else figures

    monkeypatch.setattr(steps.Loop, "gradients", spoil)
    stages = ["--conrec_stages", "warmup", "both"]
    for resume in ([], ["--resume"]):
        words = r"warmup: the loss of step 3 is not finite; try lower --conrec_rates \(it learns at 0\.001\)"
        with pytest.raises(InputError, match=words):
            main.main(arguments(world, tmp_path, "--path_name", "a", *stages, *resume))
    (left,) = tmp_path.rglob("warmup-*")
    assert not (left / DONE).exists() and not (folder_of(tmp_path) / "summary.json").exists()
    main.main(arguments(world, tmp_path, "--path_name", "b", *stages, "--conrec_rates", "5e-4", "1e-4"))
    found = summary(folder_of(tmp_path, "b"))["stages"]["warmup"]
    assert (found["steps"], found["ended"].split(",")[0]) == (5, "all steps done")


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
    for stage in ("warmup", "both"):
        with pytest.raises(Stopped, match=f"stopped and saved in {stage}, step 2"):
            main.main(arguments(world, tmp_path / "again", *flags, *(["--resume"] if stage == "both" else [])))
    main.main(arguments(world, tmp_path / "again", *flags, "--resume"))
    ours, theirs = folder_of(tmp_path / "again"), folder_of(tmp_path / "whole")
    assert figures(ours) == figures(theirs) and kept == {torch.float32}
    assert (ours / "model" / "model.safetensors").read_bytes() == (theirs / "model" / "model.safetensors").read_bytes()


# ---------------------------------------------------------------------------------------------- the other systems


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


def test_a_reversed_run_is_one_that_was_tested_on_the_likes_of_these_events(world, tmp_path):
    paths = ["--data_dir", str(tmp_path / "data"), "--result_dir", str(tmp_path / "result"), "--device", "cpu"]
    runs = tmp_path / "result" / "world"
    in_time = ["--hold_out", "dislikes", "--split", "time", "--path_name", "held"]
    main.main(["--dataset", str(world), *paths, "--model", "EASE", *in_time])
    reverse = ["--dataset", str(world), *paths, "--model", "CoNRec", "--conrec_reversed"]
    main.main([*reverse, str(runs / "held"), "--path_name", "r"])
    found = summary(runs / "r")
    assert found["system"] == "reversed EASE" and found["test"]["auc"] > 0.6  # its likes are foretold
    assert found["flags"] == {"conrec_reversed": "held"}  # no path of this machine in what is kept
    assert [path.name for path in (tmp_path / "data").glob("[!.]*")] == ["world"]  # no data set beside it

    # the CSVs under a name of their own, as older versions left them, and one of their rows less
    for name, cut in (("world-time", None), ("less", -1)):
        (tmp_path / "data" / name).mkdir()
        for part in PARTS:
            lines = (tmp_path / "data" / "world" / "hold_out_dislikes_time" / f"world_{part}.csv").read_text()
            text = "".join(lines.splitlines(keepends=True)[:cut])
            (tmp_path / "data" / name / f"{name}_{part}.csv").write_text(text)
        main.main(["--dataset", str(tmp_path / "data" / name), *paths, "--model", "EASE", "--path_name", "e"])
    main.main([*reverse, str(tmp_path / "result" / "world-time" / "e"), "--path_name", "r3"])
    assert summary(runs / "r3")["test"] == found["test"]
    with pytest.raises(InputError, match="e: was not tested on the likes of CoNRec's validation part of world; take"):
        main.main([*reverse, str(tmp_path / "result" / "less" / "e"), "--path_name", "r4"])
    assert not (runs / "r4").exists()


# ------------------------------------------------------------------------------------------------------- the flags


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--epochs 5", "--epochs: CoNRec has no use for it"),
        ("--dataset_augment original", "--dataset_augment: CoNRec has no use for it"),
        ("--unasked_twos ask", "--unasked_twos: CoNRec refines no ratings"),
        ("--llm_mode score", "--llm_mode: CoNRec refines no ratings"),
        ("--llm_dtype float16", "--llm_dtype: the tiny decoder has no use for it; add --llm NAME"),
        ("--conrec_lora_rank 4", "--conrec_lora_rank: the tiny decoder has no use for it"),
        ("--llm rule", "--llm rule: CoNRec needs a causal language model"),
        ("--conrec_stages stream both --conrec_reward a --conrec_gamma 1", "--conrec_gamma: --conrec_reward a leaves"),
        ("--conrec_reward a", "--conrec_reward: --conrec_stages stream leaves it"),
        ("--conrec_stages warmup --conrec_budget .1", "--conrec_budget: --conrec_stages warmup leaves it"),
        ("--conrec_stages warmup --conrec_steps 3", "--conrec_steps: --conrec_stages warmup leaves it"),
        ("--conrec_stages recent", "--conrec_stages recent: nothing is predicted, .* without stream or warmup; add"),
        ("--conrec_stages warmup translation", "--conrec_stages warmup translation: must keep the order"),
        ("--conrec_stages warmup warmup", "--conrec_stages warmup warmup: names a stage twice"),
        ("--conrec_embeddings x --conrec_encoder y", "--conrec_encoder: --conrec_embeddings leaves it"),
        ("--conrec_system sasrec --conrec_codes 8", "--conrec_codes: --conrec_system sasrec leaves it"),
        ("--conrec_reversed x --conrec_beams 30", "--conrec_beams: --conrec_reversed leaves it"),
        ("--conrec_negative 3", "--conrec_negative 3: must be at most 2"),
        ("--filter_pool 30", "--filter_pool: has no use without --filter"),
        ("--conrec_rates 0 1", "--conrec_rates: must be above 0"),
    ],
)
def test_a_flag_that_would_change_nothing_is_refused(words, message):
    with pytest.raises(InputError, match=message):
        command_line.parse(["--dataset", "x", "--model", "CoNRec", *words.split()])


@pytest.mark.parametrize("words", ["--conrec_rates .1", "--conrec_sft_steps 1 2 3", "--conrec_stages x"])
def test_lists_of_another_length_are_refused(words, capsys):
    with pytest.raises(SystemExit):
        command_line.parse(["--dataset", "x", "--model", "CoNRec", *words.split()])
    assert re.search(r"error: argument --conrec_\w+: ", capsys.readouterr().err)


def test_no_other_model_takes_the_flags_of_conrec():
    with pytest.raises(InputError, match="--conrec_steps: LightGCN has no use for it"):
        command_line.parse(["--dataset", "x", "--model", "LightGCN", "--conrec_steps", "3"])


SHORT = "--conrec_stages stream warmup both --conrec_ids vectors"
DIFFERENT = """
--random_seed 7
--top_k 3 20
--conrec_negative 1
--conrec_ids both
--conrec_codes 24
--conrec_rq_epochs 4
--conrec_sft_steps 3 4 6 5
--conrec_sft_steps 3 4 5 6
--conrec_history 2 5
--conrec_history 5 2
--conrec_rates 1e-2 3e-4
--conrec_rates 1e-3 3e-3
--conrec_steps 4
--conrec_reward next
--conrec_reward d
--conrec_reward e
--conrec_gamma 0.9
--conrec_prompts 5
--conrec_group 5
--conrec_beta .5
--conrec_beams 60
--conrec_budget 0.3
"""


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


@pytest.mark.parametrize("words", DIFFERENT.strip().splitlines())
def test_every_flag_changes_something(short, words, monkeypatch):
    (base, world), name = short, words.strip("-").replace(" ", "_")
    monkeypatch.setattr(run_files, "plot", lambda *of: None)  # takes a second
    main.main(arguments(world, base, "--path_name", name, *SHORT.split(), *words.split()))
    assert found_by(folder_of(base, name)) != found_by(folder_of(base))


def test_a_list_longer_than_the_beams_makes_more_beams_and_stages_of_its_own(short, monkeypatch):
    base, world = short
    monkeypatch.setattr(run_files, "plot", lambda *of: None)
    made = []
    for number, words in enumerate(["--top_k 5 20", "--top_k 5 20 30", "--top_k 5 20 30 --conrec_beams 30"]):
        main.main(arguments(world, base, "--path_name", f"beams{number}", *SHORT.split(), *words.split()))
        made.append({path.name for path in (base / "data" / "world" / "conrec").glob("[!.]*")})
    assert {name.split("-")[0] for name in made[1] - made[0]} >= {"warmup", "both", "evaluate", "predict"}
    assert made[2] == made[1]  # 30 beams either way


def test_micro_batches_change_no_result_here(short, tmp_path):
    """They change a loss to rounding, where no dropout is drawn."""
    base, world = short
    main.main(arguments(world, tmp_path, "--path_name", "b", *SHORT.split(), "--llm_batch_tokens", "200"))
    assert (folder_of(tmp_path, "b") / "sids.csv").read_bytes() == (folder_of(base) / "sids.csv").read_bytes()
    ours, theirs = (pd.read_csv(folder / "metrics.csv") for folder in (folder_of(tmp_path, "b"), folder_of(base)))
    assert ours.step.tolist() == theirs.step.tolist()


def test_finished_runs_make_tables_of_their_own(world, finished, tmp_path, monkeypatch, capsys):
    run = folder_of(finished)
    table.main([str(run)])
    printed = capsys.readouterr().out
    assert "Next dislikes, world" in printed and "| **CoNRec --conrec_" in printed and "| two factors | 1 |" in printed
    monkeypatch.setattr(conrec_tables, "OURS", tmp_path / "ours")
    table.main(["negative"])
    assert "Not measured yet" in capsys.readouterr().out
    table.main(["keep", str(run), "default_2024"])
    content = json.loads((tmp_path / "ours" / "world_default_2024.json").read_text()) | {"flags": {}}
    (tmp_path / "ours" / "world_default_2024.json").write_text(json.dumps(content))
    table.main(["negative"])
    printed = capsys.readouterr().out
    assert "CoNRec, *reported*" in printed and "| both | recent |" in printed
    assert "| reversed EASE on positives | 1%" in printed
    shown = re.search(r"\| \*\*CoNRec\*\* \| 1 \| ([\d.]+) \| ([\d.]+) \| ([\d.]+)", printed)
    found = summary(run)
    expected = [found["validation"]["fhr@20"], found["test"]["hr@20"], found["test"]["fhr@20"]]
    assert [float(cell) for cell in shown.groups()] == [round(value, 4) for value in expected]
    assert "| **CoNRec, after <like>**, train events known | 1 |" in printed


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


def test_an_unknown_user_is_refused(finished):
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
    changes = {world / "world.inter": {"sha256": "0"}, world / "world.item": {"items": "0"}}
    for path, change in {**changes, model[2]: {"vectors": {"embeddings": "0"}}}.items():
        (folder / "config.json").write_text(json.dumps(config | {"made_from": config["made_from"] | change}))
        assert shell.cli(study.study, words) == 2
        error = capfd.readouterr().err
        assert error.count("\n") == 1 and f"{folder}: holds a finished run" in error and str(path) in error


def test_data_without_a_dislike_to_choose_by_are_refused(world, tmp_path):
    shutil.copytree(world.parent, tmp_path / "of")
    path = tmp_path / "of" / world.name / "world.inter"
    header = path.read_text().splitlines()[0]
    table = pd.read_csv(path, sep="\t").set_axis(["user", "item", "rating", "time"], axis=1)
    place = table.sort_values("time").groupby("user").cumcount().reindex(table.index)
    table.loc[place >= 24, "rating"] = 5  # of 40 events of a user, 24 are train
    path.write_text(header + "\n" + table.to_csv(sep="\t", index=False, header=False))
    with pytest.raises(InputError, match="world: no user has a dislike in the validation part and one before it"):
        main.main(arguments(path.parent, tmp_path, "--path_name", "a"))
    assert not (tmp_path / "result").exists()
