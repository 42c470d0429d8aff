"""The stage that makes hard negatives in use: spoilt files, full disks, the whole command, servers and decoders."""

# ruff: noqa: F811  fixtures of stage.py are arguments here

import json
import os
import re
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import fake_server
import numpy as np
import pytest
import tiny_llm
from fake_server import serve  # noqa: F401  a fixture
from interrupts import count_steps, signal_at
from stage import PAIRS, TRIPLETS, run_stage, whole, world  # noqa: F401  fixtures among them

import main
from llm.answers import read
from machine import shell
from negatives import vectors, writing
from negatives.inputs import FRAME
from options import command_line
from utils import InputError, locked, write_json

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
    with pytest.raises(InputError, match=r"-tuned: are not the hard negatives that the run in \S+ began with"):
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
