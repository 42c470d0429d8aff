"""The stage that makes hard negatives, run on a small data set with a tiny encoder and made-up CF vectors: what it
leaves, no leak, kills anywhere, its report, spoilt files, full disks, the whole command, servers and decoders."""

# ruff: noqa: F811  a fixture of fake_server.py is an argument here

import json
import os
import re
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import fake_server
import numpy as np
import pytest
import synthetic
import tiny_llm
import torch
from fake_server import serve  # noqa: F401  a fixture
from interrupts import count_steps, signal_at

import dataloader
import llm_feedback
import main
from llm.answers import Answers, read
from machine import shell
from negatives import arrays, making, report, vectors, writing
from negatives.inputs import FRAME
from negatives.profiles import Known
from negatives.stage import prepare
from options import command_line
from preparation import splits, titles
from utils import InputError, locked, write_json

CPU = torch.device("cpu")
TRIPLETS, PAIRS = ["--hn_triplets", "60"], ["--hn_pairs", "6"]
SOURCES = ["tuned", "untuned", "text", "noise_gauss"]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A prepared data set, an encoder, and CF vectors that a run might have had."""
    base = tmp_path_factory.mktemp("world")
    raw = synthetic.write_data_set(base / "x")
    synthetic.write_encoder(base / "encoder")
    splits.prepare("x", raw, base / "data" / "x")
    return base


def cf_vectors(data):
    return np.random.default_rng(0).normal(size=(data.n_users + data.n_items, 4))


def run_stage(world, base, hard="tuned", *more, log=lambda *lines: None, cf=cf_vectors, encoder=None):
    """(HardNegatives, card, origin) of the stage in base/data, which is copied there."""
    if not (base / "data").exists():
        shutil.copytree(world / "data", base / "data")
    given = ["--dataset", str(world / "x"), "--model", "HNLMRec", "--hard", hard, "--data_dir", str(base / "data")]
    if "--hn_folder" not in more:
        given += ["--hn_encoder", str(encoder or world / "encoder"), *PAIRS]
        if hard in ("tuned", "shuffled"):
            given += TRIPLETS
    settings = command_line.parse([*given, *more]).recommender
    folder = base / "data" / "x"
    train_csv = folder / "x_train_original.csv"
    data = dataloader.load(folder, "x", train_csv, CPU)
    items = titles.item_table(world / "x")
    return prepare("x", folder, items, train_csv, data, lambda: cf(data), settings, CPU, log)


def made(base):
    """{path: bytes} of what the stage left, but for seconds."""
    files = {}
    for path in sorted((base / "data" / "x" / "negatives").rglob("*")):
        if path.is_file() and path.name != ".hashes":
            content = path.read_bytes()
            if path.name in ("settings.json", "report.json"):
                content = json.loads(content)
                (content.get("finished", content).get("tuning") or {}).pop("seconds_per_step", None)
            files[str(path.relative_to(base))] = content
    return files


@pytest.fixture(scope="module")
def whole(world, tmp_path_factory):
    """Every source made once."""
    base = tmp_path_factory.mktemp("whole")
    results = {hard: run_stage(world, base, hard) for hard in SOURCES}
    return SimpleNamespace(base=base, results=results, files=made(base))


@pytest.mark.parametrize("hard", SOURCES)
def test_what_the_stage_leaves(world, whole, hard):
    hard_negatives, card, origin = whole.results[hard]
    folder = whole.base / "data" / "x" / "negatives" / "original" / f"template-encoder-{vectors.SOURCES[hard]}"
    assert origin["folder"] == str(folder) and origin["width"] == 16 == hard_negatives.width
    names = {path.name for path in folder.iterdir()} - {".hashes"}
    expected = {f"{name}.npy" for name in ("pairs", "vectors", "items", "mean", "status")}
    expected |= {f"{name}.json" for name in ("settings", "ids", "report")}
    if hard == "tuned":
        expected |= {"triplets.npy", "adapter_model.safetensors", "adapter_config.json", "projectors.safetensors"}
        expected |= {"tuning.jsonl"}
    assert names == expected  # neither raw states nor a checkpoint are left
    pairs, status = np.load(folder / "pairs.npy"), np.load(folder / "status.npy")
    assert np.bincount(pairs[:, 0]).max() == 6 and card["pairs"] == len(pairs) == len(status)
    assert card["status"]["kept"] == (status == 0).sum() == int(hard_negatives.kept.sum())
    assert card["written"]["items"] == {"ok": 60} and (card["tuning"] is not None) == (hard == "tuned")
    lines = report.report_lines(card)
    assert lines[0] == f"Hard negatives of template, encoder, {vectors.SOURCES[hard]}" and len(lines) >= 9


def test_the_settings_hold_what_the_vectors_depend_on(world, whole):
    settings = json.loads((whole.base / "data/x/negatives/original/template-encoder-tuned/settings.json").read_text())
    assert settings["pooling"] == "mean" and settings["rank"] == 32 and settings["revision"]["config.json"]
    with pytest.raises(InputError, match=r"settings\.json: was made with other triplets \(60 there, 40 now\); del"):
        run_stage(world, whole.base, "tuned", "--hn_triplets", "40")
    assert made(whole.base) == whole.files


def test_a_second_start_makes_nothing_anew(world, whole, monkeypatch):
    monkeypatch.setattr("negatives.stage.Inputs", None)  # not even a tokenizer is loaded
    for hard in SOURCES:
        run_stage(world, whole.base, hard, cf=None)
    assert made(whole.base) == whole.files
    shuffled, _, _ = run_stage(world, whole.base, "shuffled")
    assert sorted(shuffled.rows) == sorted(whole.results["tuned"][0].rows)
    assert (shuffled.rows != whole.results["tuned"][0].rows).any()


def test_text_vectors_are_the_documents_of_the_titles(whole):
    """Templates name items of the catalogue, which users have not rated."""
    folder = whole.base / "data/x/negatives/original/template-encoder-text"
    _, records, _ = read(folder.parent / "template" / "titles.jsonl", ("user", "item", "hard_negative"))
    ids = json.loads((folder / "ids.json").read_text())
    number = {token: place for place, token in enumerate(ids["items"])}
    named = np.array([number[record["id"]] for record in records])
    array, documents = np.load(folder / "vectors.npy"), np.load(folder / "items.npy")
    np.testing.assert_allclose(array.astype(float), documents[named].astype(float), atol=2e-3)
    assert whole.results["text"][1]["catalogue"] == {"equal": 1.0, "near": 1.0}
    assert all(record["backend"] == "template" for record in records)


def test_validation_and_test_leak_into_nothing_but_the_report(world, whole, tmp_path):
    shutil.copytree(whole.base / "data", tmp_path / "data")
    folder = tmp_path / "data" / "x"
    for old in ("original/template-encoder-tuned", "original/template-encoder-text", "original/template"):
        shutil.rmtree(folder / "negatives" / old)
    one, other = folder / "x_validation.csv", folder / "x_test.csv"
    content = one.read_bytes()
    one.write_bytes(other.read_bytes()[: len(other.read_bytes()) // 2].rpartition(b"\n")[0] + b"\n")
    other.write_bytes(content)
    for hard in ("tuned", "text"):
        run_stage(world, tmp_path, hard, cf=None)
    now = made(tmp_path)
    assert now.keys() == whole.files.keys()
    differing = {path for path in now if now[path] != whole.files[path]}
    reports = {f"data/x/negatives/original/template-encoder-{source}/report.json" for source in ("tuned", "text")}
    settings = {path.replace("report", "settings") for path in reports}  # which hold the version of the report
    assert differing == reports | settings
    for path in settings:
        for files in (now, whole.files):
            files[path] = json.loads(json.dumps(files[path]))
            files[path]["finished"].pop("report")
        assert now[path] == whole.files[path]


class Killed(BaseException):
    pass


@pytest.mark.parametrize("hard", ["tuned", "text", "untuned"])
def test_a_stage_that_is_killed_anywhere_ends_as_one_left_alone(world, whole, tmp_path, monkeypatch, hard):
    """Killed at random places: between answers, in tuning, between batches of vectors, before notes of progress."""
    random = np.random.default_rng(len(hard))
    monkeypatch.setattr(arrays, "NOTE_SECONDS", 0)
    monkeypatch.setattr(making.tuning, "SAVE_STEPS", 2)
    monkeypatch.setattr(making, "ROWS_AT_ONCE", 50)
    places = [(arrays.Progress, "note"), (making.tuning.Tuning, "one_step"), (making.Encoder, "encode")]
    places += [(Answers, "add"), (arrays, "open_array")]
    kills, left = 0, random.integers(1, 120)
    for owner, name in places:
        whole_function = getattr(owner, name)

        def killer(*args, whole_function=whole_function, **more):
            nonlocal left, kills
            left -= 1
            if left == 0:
                kills += 1
                left = random.integers(1, 300)
                raise Killed
            return whole_function(*args, **more)

        monkeypatch.setattr(owner, name, killer)
    for _ in range(60):
        try:
            run_stage(world, tmp_path, hard)
            break
        except Killed:
            pass
    assert kills > 0
    out = f"data/x/negatives/original/template-encoder-{hard}/"
    now = {path: content for path, content in made(tmp_path).items() if path.startswith(out)}
    before = {path: content for path, content in whole.files.items() if path.startswith(out)}
    assert now.keys() == before.keys()
    for path in now:
        if not path.endswith("settings.json"):
            assert now[path] == before[path], path


def test_a_killed_array_goes_on_where_it_was_noted_and_one_that_does_not_fit_is_begun_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(arrays, "NOTE_SECONDS", 0)
    batches, asked = np.arange(8).reshape(4, 2), []

    def fill(stop=None, width=3):
        def make(rows):
            if rows[0] == stop:
                raise Killed
            asked.append(int(rows[0]))
            return np.repeat(rows[:, None], width, 1)

        return arrays.fill(arrays.Progress(tmp_path, {"source": "x"}), "a", (8, width), batches, make, "x")

    with pytest.raises(Killed):
        fill(stop=4)
    path = tmp_path / "a.npy"
    assert path.stat().st_blocks * 512 >= 8 * 3 * 2  # allocated whole, no hole
    assert asked == [0, 2] and arrays.Progress(tmp_path, {"source": "x"}).finished == {"a": 2}
    assert fill()[:, 0].tolist() == [*range(8)] and asked == [0, 2, 4, 6]
    path.write_bytes(path.read_bytes()[:-8])  # cut short
    fill()
    fill(width=4)
    assert asked[4:] == [0, 2, 4, 6] * 2


# ---------------------------------------------------------------------------------------------------------- report


def test_the_figures_of_the_report_against_brute_force(world, whole):
    folder = whole.base / "data" / "x"
    data = dataloader.load(folder, "x", folder / "x_train_original.csv", CPU)
    known = Known(data, titles.item_table(world / "x"))
    out = folder / "negatives/original/template-encoder-untuned"
    card = whole.results["untuned"][1]
    pairs, array, items = np.load(out / "pairs.npy"), np.load(out / "vectors.npy"), np.load(out / "items.npy")
    cf = np.load(out.parent / "cf.npy")
    status = np.load(out / "status.npy")
    likes = {user: {*data.validation.entries([user])[1].tolist(), *data.test.entries([user])[1].tolist()}
             for user in range(data.n_users)}  # fmt: skip
    false, disliked, lead = [], [], []
    for (user, item), vector in zip(pairs, array.astype(np.float32), strict=True):
        nearest = max((j for j in range(60) if j != item), key=lambda j: vector @ items[j].astype(np.float32))
        false.append(nearest in likes[user])
        disliked.append(nearest in known.disliked(user))
        lead.append(cf[user] @ (cf[40 + nearest] - cf[40 + item]))
    kept = status == 0
    assert card["fhns"] == pytest.approx(np.mean(false), abs=1e-4)
    assert card["fhns_kept"] == pytest.approx(np.array(false)[kept].mean(), abs=1e-4)
    assert card["dislike"] == pytest.approx(np.mean(disliked), abs=1e-4)
    assert card["hardness"] == pytest.approx(np.mean(lead), abs=1e-3)
    assert card["outscoring"] == pytest.approx(np.mean(np.array(lead) > 0), abs=1e-4)
    uniform = [np.isin(known.unrated(user), [*likes[user]]).mean() for user, _ in pairs]
    assert card["yardsticks"]["fhns_uniform"] == pytest.approx(np.mean(uniform), abs=1e-4)
    of_users = []
    for user in range(data.n_users):
        mean = array[pairs[:, 0] == user].astype(np.float32).mean(0)
        score = items.astype(np.float32) @ mean
        if len(known.disliked(user)) and likes[user]:
            lead = score[known.disliked(user)][:, None] - score[[*likes[user]]]
            of_users.append(np.mean((lead > 0) + (lead == 0) / 2))
    assert card["auc"]["vectors"] == pytest.approx(np.mean(of_users), abs=1e-4)
    assert card["auc"]["users"] == len(of_users)


def test_the_report_command(whole, capsys):
    folder = whole.base / "data/x/negatives/original/template-encoder-tuned"
    assert llm_feedback.main(["report", str(folder)]) == 0
    assert "tuning" in capsys.readouterr().out
    assert llm_feedback.main(["report", str(whole.base)]) == 2
    assert "is neither a train_augment CSV nor a finished folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--hn_tokens", "40"), ("--hn_triplets", "48"), ("--hn_tune_rate", "1e-3"), ("--llm_seed", "7"),
        ("--hn_pairs", "5"),
    ],
)  # fmt: skip
def test_each_flag_changes_the_vectors(world, whole, tmp_path, flag, value):
    changed, _, _ = run_stage(world, tmp_path, "tuned", flag, value)
    before = whole.results["tuned"][0].vectors
    assert changed.vectors.shape != before.shape or (np.asarray(changed.vectors) != np.asarray(before)).any()


# ------------------------------------------------------------------------------------------- folders and bad input


def test_a_finished_folder_is_used_as_it_is(world, whole, tmp_path):
    shutil.copytree(whole.base / "data/x/negatives/original/template-encoder-text", tmp_path / "elsewhere")
    hard, card, origin = run_stage(world, tmp_path, "text", "--hn_folder", str(tmp_path / "elsewhere"), cf=None)
    assert card == whole.results["text"][1] and origin["folder"] == str(tmp_path / "elsewhere")
    np.testing.assert_array_equal(hard.rows, whole.results["text"][0].rows)
    assert origin["sha256"] == whole.results["text"][2]["sha256"]
    assert not (tmp_path / "data" / "x" / "negatives").exists()


OF_TUNED = "template-encoder-tuned/settings.json"


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (OF_TUNED, r"settings\.json: is no JSON object; delete its folder to make it anew"),
        ("cf.npy", r"cf\.npy: is no whole array of numbers"),
        ("template/profiles.jsonl", r"profiles\.jsonl, line 1: is no answer; delete the line"),
        ("../../x_train_original.csv", r"profiles\.jsonl: was made with other ratings .*delete its folder"),
    ],
)
def test_spoilt_files_are_one_line_and_stay(world, whole, tmp_path, file, message):
    shutil.copytree(whole.base / "data", tmp_path / "data")
    path = tmp_path / "data/x/negatives/original" / file
    if path.suffix == ".csv":
        path.write_text(path.read_text().replace(",5\n", ",4\n", 1))
    else:
        path.write_bytes(b"{\n" + path.read_bytes()[:500])
    before = made_raw(tmp_path)
    with pytest.raises(InputError, match=message):
        run_stage(world, tmp_path)
    assert made_raw(tmp_path) == before


def made_raw(base):
    return {path: path.read_bytes() for path in (base / "data").rglob("*") if path.is_file() and path.name[0] != "."}


def test_a_full_disk_while_vectors_are_written_is_an_error_with_a_name(world, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match=r"raw\.npy") as caught:
        run_stage(world, tmp_path, "untuned")
    assert caught.value.errno == 28
    monkeypatch.undo()
    run_stage(world, tmp_path, "untuned")


# ------------------------------------------------------------------------------------------------ the whole command


def command(world, tmp_path, *more):
    given = {"--dataset": world / "x", "--data_dir": tmp_path / "data", "--result_dir": tmp_path / "result"}
    given |= {"--model": "HNLMRec", "--epochs": 2, "--embedding_dim": 8, "--path_name": "a", "--device": "cpu"}
    stage = ["--hn_encoder", str(world / "encoder"), *TRIPLETS, *PAIRS]
    return [*(str(part) for pair in given.items() for part in pair), *stage, *more]


def test_the_whole_command_says_what_it_was_made_with(world, tmp_path, monkeypatch):
    few = {"epochs": 2, "embedding_dim": 8}
    make = command_line.make

    def quick(given):
        return make(given | few if given["model"] == "LightGCN" else given)  # of the CF run

    monkeypatch.setattr(command_line, "make", quick)
    main.main(command(world, tmp_path))
    run, cf_run = tmp_path / "result" / "x" / "a", tmp_path / "result" / "x" / "cf_original_2024"
    summary = json.loads((run / "summary.json").read_text())
    negatives = summary["negatives"]
    assert (negatives["writer"], negatives["encoder"], negatives["source"]) == ("template", "encoder", "tuned")
    assert negatives["status"]["kept"] > 0 and summary["model"] == "HNLMRec"
    made_from = json.loads((run / "config.json").read_text())["made_from"]["negatives"]
    assert made_from["width"] == 16 and set(made_from["sha256"]) == {"vectors.npy", "status.npy"}
    assert "negatives" not in json.loads((cf_run / "summary.json").read_text())
    cf = np.load(tmp_path / "data/x/negatives/original/cf.npy")
    assert cf.shape == (100, 8) and cf.dtype == np.float32

    # an interrupted CF run is gone on with by the same command, without --resume
    shutil.rmtree(tmp_path / "data" / "x" / "negatives")
    (cf_run / "summary.json").unlink()
    main.main(command(world, tmp_path, "--path_name", "b"))
    np.testing.assert_array_equal(np.load(tmp_path / "data/x/negatives/original/cf.npy"), cf)
    assert (run / "metrics.csv").read_bytes() == (run.parent / "b" / "metrics.csv").read_bytes()

    # a run is gone on with on the same vectors only
    (run / "summary.json").unlink()
    out = tmp_path / "data/x/negatives/original/template-encoder-tuned"
    array = np.load(out / "vectors.npy")
    np.save(out / "vectors.npy", array[::-1])
    with pytest.raises(InputError, match=r"the hard negatives: not what the run in \S+ began with"):
        main.main(command(world, tmp_path, "--resume"))
    np.save(out / "vectors.npy", array)
    main.main(command(world, tmp_path, "--resume"))

    # one on other ratings is not used
    config = json.loads((cf_run / "config.json").read_text())
    config["made_from"]["sha256"] = "0"
    write_json(cf_run / "config.json", config)
    shutil.rmtree(tmp_path / "data" / "x" / "negatives")
    with pytest.raises(InputError, match=r"cf_original_2024: was trained on another x_train_original\.csv; delete it"):
        main.main(command(world, tmp_path, "--path_name", "c"))


def test_a_signal_in_the_cf_run_says_how_the_whole_goes_on(world, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        count_steps(patch, "LightGCN", signal_at(3, 15))
        assert shell.cli(main.main, command(world, tmp_path)) == 143
    error = capsys.readouterr().err
    assert error == shell.AGAIN + "\n" and not (tmp_path / "result" / "x" / "a").exists()


def test_of_two_runs_the_second_waits_and_finds_everything_made(world, whole, tmp_path):
    shutil.copytree(whole.base / "data", tmp_path / "data")
    waiting, said = threading.Event(), []

    def log(*lines):
        said.extend(lines)
        waiting.set()

    with ThreadPoolExecutor(1) as pool:
        with locked(tmp_path / "data" / "x" / "negatives"):
            second = pool.submit(run_stage, world, tmp_path, "text", log=log, cf=None)
            assert waiting.wait(60) and not second.done()
        assert second.result()[1] == whole.results["text"][1]
    assert said[0].startswith("waiting for another run") and not any("making" in line for line in said)


# -------------------------------------------------------------------------------------------- decoders and servers


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    """A TEST MODEL of random weights: a decoder whose states are the vectors, and a writer of nonsense."""
    folder = tmp_path_factory.mktemp("llama") / "llama"
    tokenizer = tiny_llm.train_tokenizer(["Film even odd Drama War", FRAME * 2, *map(chr, range(32, 127))])
    tiny_llm.new_model(tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def written(path, body):
    """A server's reply: a profile that says what it is about, or a title: of the catalogue, made up, or none."""
    prompt = body["messages"][0]["content"]
    if "hard_negative_item" not in prompt:
        about = re.search(r"(Film \w+ \d+)", prompt)[1]
        return fake_server.said(json.dumps({"summarization": f"for who likes {about}", "reasoning": "x"}))
    number = int(re.search(r"They like the item Film \w+ (\d+)", prompt)[1])
    titles = [f"film {'odd' if (number + 2) % 2 else 'even'} {(number + 2) % 60}", "Film War Drama", None, "word " * 21]
    return fake_server.said(json.dumps({"hard_negative_item": titles[number % 4], "reasoning": "y"}))


@pytest.mark.parametrize("hard", ["text", "tuned"])
def test_a_server_writes_and_a_decoder_encodes(world, llama, tmp_path, serve, hard):
    server = serve(written)
    more = ["--hn_url", server.url, "--hn_writer", "m", "--hn_tokens", "150"]
    hard_negatives, card, _ = run_stage(world, tmp_path, hard, *more, encoder=llama)
    asked = len(server.seen)
    assert (card["writer"], card["encoder"]) == ("m", "llama") and hard_negatives.width == 64
    assert card["written"]["items"] == {"ok": 60} and card["written"]["users"] == {"ok": 40}
    assert asked == 100 + (card["pairs"] + card["written"]["titles"]["too_long"] if hard == "text" else 0)  # reminders
    out = tmp_path / "data/x/negatives/original" / f"m-llama-{hard}"
    settings = json.loads((out / "settings.json").read_text())
    assert settings["pooling"] == "last" and settings["encoder"] == "llama"
    if hard == "text":
        counts = card["written"]["titles"]
        assert set(counts) == {"ok", "none", "too_long"}
        status, pairs = np.load(out / "status.npy"), np.load(out / "pairs.npy")
        assert (status == vectors.NONE).sum() == counts["none"] + counts["too_long"]
        ids = json.loads((out / "ids.json").read_text())["items"]
        said_none = np.array([int(ids[item][1:]) % 4 >= 2 for item in pairs[:, 1]])
        np.testing.assert_array_equal(status == vectors.NONE, said_none)
        assert not np.load(out / "vectors.npy")[said_none].any()
        assert 0 < card["catalogue"]["equal"] < 1
    else:
        assert json.loads((out / "adapter_config.json").read_text())["target_modules"] == [
            "k_proj", "o_proj", "q_proj", "v_proj",
        ]  # fmt: skip
    run_stage(world, tmp_path, hard, *more, encoder=llama, cf=None)
    assert len(server.seen) == asked  # nothing is asked twice


def test_a_writer_of_nonsense_leaves_pairs_to_their_titles(world, llama, tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "ROOM", {"summarization": 4, "hard_negative_item": 4})
    _, card, _ = run_stage(world, tmp_path, "untuned", "--hn_writer", str(llama))
    assert card["written"]["items"] == {"unreadable": 60} and card["written"]["users"] == {"unreadable": 40}
    records = read(tmp_path / "data/x/negatives/original/llama/profiles.jsonl", ("kind", "backend"))[1]
    assert {record["summarization"] for record in records} == {""}  # neither raw text nor a template
    assert {record["backend"]["model"] for record in records} == {"llama"}
    with pytest.raises(InputError, match=r"titles\.jsonl: not one title in it can be read; take another --hn_writer"):
        run_stage(world, tmp_path, "text", "--hn_writer", str(llama), "--hn_pairs", "1")
