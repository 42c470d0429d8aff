"""study.py: what it runs, and does not run again, how it chooses, what is seen of it, its table."""

import contextlib
import dataclasses
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import synthetic
import torch

import main
import runs.finished
import study
import utils
from machine import shell
from options import command_line as flags_of_main
from preparation.sources import DATASETS
from runs import jobs
from utils import InputError, write_json

FAST = "--epochs 2 --embedding_dim 4 --batch_size 500"


pytestmark = pytest.mark.xdist_group("study")  # all on one worker: the whole study is run once


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    base = tmp_path_factory.mktemp("study")
    synthetic.write_data_set(base / "blocks")
    return base


def flags(base, *more):
    paths = ["--datasets", base / "blocks", "--data_dir", base / "data", "--result_dir", base / "result"]
    return [str(part) for part in (*paths, *more)]


MODELS = ["Popularity", f"LightGCN {FAST} --learning_rate .001,.05"]
GRID = {  # the first is the default
    ".001": "LightGCN_embedding_dim_4_batch_size_500_epochs_2",
    ".05": "LightGCN_embedding_dim_4_learning_rate_0.05_batch_size_500_epochs_2",
}


@pytest.fixture(scope="module")
def whole_study(base):
    """(result folder, lines on stderr, no terminal) of two rows, one of them a grid, with two seeds."""
    with contextlib.redirect_stderr(io.StringIO()) as said:
        study.study(flags(base, "--seeds", 1, 2, "--jobs", 2, "--models", *MODELS))
    return base / "result", said.getvalue().splitlines()


@pytest.fixture(scope="module")
def finished(whole_study):
    return whole_study[0]


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


def test_each_run_has_a_folder_a_grid_one_seed_and_its_winner_all(finished):
    runs = sorted(path.name for path in (finished / "blocks").iterdir() if path.is_dir())
    grid = list(GRID.values())
    better = max(grid, key=lambda name: summary(finished / "blocks" / f"{name}_1")["validation"]["recall@20"])
    expected = {"Popularity_1", *(f"{name}_1" for name in grid), f"{better}_2"}
    assert set(runs) == expected  # nothing in Popularity is random: one seed is enough
    for name in expected:
        assert summary(finished / "blocks" / name)["random_seed"] == int(name[-1])


def test_in_a_pipe_each_run_gets_a_line_when_it_has_ended(whole_study):
    folder, (note, *lines) = whole_study
    assert note == "Popularity: in closed form, nothing is random, so one seed (1)."
    assert note in (folder / "study.md").read_text()
    found = []
    for line in lines:
        pattern = r"(\d) of (\d): blocks (.*), seed (\d): test Recall@20 (\S+), \d+ s"
        count, of, model, seed, recall = re.fullmatch(pattern, line).groups()
        found.append((count, of))
        rate = model.partition("--learning_rate ")[2]
        name = f"{GRID[rate] if rate else model}_{seed}"
        assert recall == f"{summary(folder / 'blocks' / name)['test']['recall@20']:.4f}"
    assert found == [("1", "2"), ("2", "2"), ("1", "2"), ("2", "2")]  # the grid, then its winner and the other model
    text = (folder / "blocks" / "Popularity_1.out").read_text()  # what the run prints
    log = (folder / "blocks" / "Popularity_1" / "log.txt").read_text()
    assert text.startswith("Popularity on blocks, run folder ") and log in text


def test_a_terminal_of_80_columns_shows_a_table_that_fits(base, finished, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    study.study(flags(base, "--seeds", 1, 2, "--models", *MODELS))
    shown = capsys.readouterr().out
    assert "| data set" in (finished / "study.md").read_text() and "| data set" not in shown
    for words in ("LightGCN --epochs 2", "refined by", "test recall@20", "val recall@20", "train s"):
        assert words in shown


def test_the_table_holds_means_over_seeds_and_the_test_of_the_best_two(finished):
    text = (finished / "study.md").read_text()
    rate = re.search(r"--learning_rate (\S+) \(best of 2\)", text)[1]
    row = next(line for line in text.splitlines() if "±" in line)
    runs = list((finished / "blocks").glob(f"{GRID[rate]}_?"))
    recalls = [summary(run)["test"]["recall@20"] for run in runs]
    assert f"| 2 | {sum(recalls) / 2:.4f} ± " in row and "none: ratings as they are" in row
    pair = [sum(pd.read_csv(run / "per_user.csv")["recall@20"] for run in runs) / 2]
    pair.append(pd.read_csv(finished / "blocks" / "Popularity_1" / "per_user.csv")["recall@20"])
    pair.sort(key=lambda column: -column.mean())
    assert f"| 40 | {(pair[0] - pair[1]).mean():+.4f} " in text and "over users and seeds" in text
    assert "published" not in text and "refined by" in text  # nothing was published for this data set
    found = summary(finished / "blocks" / "Popularity_1")["lists"]
    row = "{coverage@20:.4f} | {gini@20:.4f} | {popularity@20:.1f} |".format(**found)
    assert row in text.partition("| coverage@20 | Gini@20 | popularity@20 |")[2]


def test_a_finished_run_is_not_run_again_and_an_interrupted_one_goes_on(finished, base, monkeypatch):
    (victim,) = (finished / "blocks").glob("LightGCN*_2")
    before = (victim / "metrics.csv").read_bytes()
    times = {path: path.stat().st_mtime_ns for path in finished.glob("blocks/*/summary.json")}
    (victim / "summary.json").unlink()
    commands, popen = [], subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda command, **more: commands.append(command) or popen(command, **more))
    study.study(flags(base, "--seeds", 1, 2, "--models", *MODELS))
    (command,) = (command for command in commands if "main.py" in str(command))
    assert command[-1] == "--resume" and str(victim.name) in command
    assert (victim / "metrics.csv").read_bytes() == before
    changed = {path for path, time in times.items() if path.stat().st_mtime_ns != time}
    assert changed == {victim / "summary.json"}


def test_the_list_is_of_commands_that_are_left(finished, base, capsys):
    study.study(flags(base, "--seeds", 1, 2, 3, "--models", *MODELS, "--list"))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 and all("--random_seed 3" in line and "main.py" in line for line in lines)
    study.study(flags(base, "--models", f"SiReN {FAST} --n_negatives 2,3", "--seeds", 1, 2, "--list"))
    lines = capsys.readouterr().out.splitlines()
    assert [re.search(r"--n_negatives (\d)", line)[1] for line in lines] == ["2", "3"]  # its winner is not known yet
    study.study(flags(base, "--models", "ReFINe", "Popularity", "--seeds", 7, 8, 9, "--list"))
    lines = capsys.readouterr().out.splitlines()
    words = [re.search(r"--random_seed (\d) .* --model (\S+)", line).groups() for line in lines]
    assert words == [("7", "ReFINe"), ("8", "ReFINe"), ("9", "ReFINe"), ("7", "Popularity")]
    flags_of_main.parse(lines[0].split()[2:])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--models", "LightGCN --hidden_dim 3"], "--hidden_dim: LightGCN has no use for it"),
        (["--models", "Popularity", "--jobs", "0"], "--jobs 0: must be at least 1"),
        (["--models", "Popularity", "--datasets", "nowhere"], "--dataset nowhere: is neither"),
        (["--models", "Populari"], "argument --model: invalid choice: 'Populari'"),
        (["--models", "LightGCN --random_seed 7"], "--random_seed is for the whole study"),
        (["--models", "LightGCN --path_name=x"], "--path_name is for the whole study"),
        ([], "--models"),
    ],
)
def test_bad_input_gets_one_line_before_anything_runs(tmp_path, capfd, arguments, message):
    try:
        code = shell.cli(study.study, ["--result_dir", str(tmp_path / "result"), *arguments])
    except SystemExit as stop:  # argparse's own way out
        code = stop.code
    error = capfd.readouterr().err
    assert code == 2 and error.count("\n") == 1 and message in error
    assert not (tmp_path / "result").exists()


def test_a_run_that_fails_is_named_with_its_reason_and_the_file_of_its_output(base, tmp_path, capsys):
    more = ["--datasets", base / "blocks", "--data_dir", tmp_path / "data", "--result_dir", tmp_path / "result"]
    with pytest.raises(InputError, match=r"1 of 2 runs failed; .*main\.py.*--top_k 500: .* only 60 items") as failed:
        study.study(["--models", "Popularity --top_k 500", "Popularity", *map(str, more)])
    path = Path(re.search(r"\(its output: (.*)\)", str(failed.value))[1])
    assert "only 60 items" in path.read_text() and path.parent == tmp_path / "result" / "blocks"
    assert not path.with_suffix("").exists()  # no run folder
    lines = capsys.readouterr().err.splitlines()
    assert "1 of 2: blocks Popularity --top_k 500, seed 2024: failed: error: --top_k 500: " in lines[0]
    assert lines[1].startswith("2 of 2: blocks Popularity, seed 2024: test Recall@20 ")


def test_ctrl_c_stops_each_run_once_so_that_it_saves(base, tmp_path):
    """SIGINT to the whole group, as a terminal sends it, while the one run trains."""
    more = ["--datasets", base / "blocks", "--data_dir", tmp_path / "data", "--result_dir", tmp_path / "result"]
    endless = "LightGCN --epochs 1000000 --early_stopping_step 1000000 --embedding_dim 4"
    command = [sys.executable, study.__file__, "--models", endless, *map(str, more)]
    heard = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's "&" has it ignored  # noqa: E731
    pipe = {"stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, start_new_session=True, preexec_fn=heard, **pipe)
    try:
        until = time.monotonic() + 120
        while not list(tmp_path.glob("result/blocks/*/metrics.csv")):
            assert time.monotonic() < until
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)
        assert "interrupted; the same command goes on" in process.communicate(timeout=120)[1]
        assert process.returncode == 130
    finally:
        process.terminate()  # where it has not ended
    (checkpoint,) = tmp_path.glob("result/blocks/*/last.pt")
    assert torch.load(checkpoint, weights_only=True)["epoch"] >= 1


def test_runs_side_by_side_share_cores_and_gpus(monkeypatch):
    monkeypatch.setattr(jobs, "usable_cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    dealt = jobs.environments_of(3, [])
    assert [environment["CUDA_VISIBLE_DEVICES"] for environment in dealt] == ["4", "5", "4"]
    assert {environment["OMP_NUM_THREADS"] for environment in dealt} == {"2"}
    named = [SimpleNamespace(model=["LightGCN", "--device", "cuda:1"])]
    assert all(environment["CUDA_VISIBLE_DEVICES"] == "4,5" for environment in jobs.environments_of(2, named))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert all("CUDA_VISIBLE_DEVICES" not in environment for environment in jobs.environments_of(2, []))
    assert jobs.environments_of(1, []) == [None]


def test_a_run_that_cannot_be_started_does_not_hold_up_the_others(base, monkeypatch):
    """The environment it had is free again: else the next run would wait for it for ever."""
    started = []

    def unable(trial, environment):
        started.append(trial)
        raise OSError("no more processes")

    monkeypatch.setattr(jobs, "start", unable)
    trials = [SimpleNamespace(finished=False, model=["LightGCN"], folder=number) for number in range(3)]
    with pytest.raises(OSError, match="no more processes"):
        jobs.run(trials, 1)
    assert started


def test_two_models_that_are_one_run_are_run_once(base, tmp_path, capsys):
    same = [f"LightGCN {FAST}", f"LightGCN {FAST} --layers 4"]  # the default
    words = ["--datasets", base / "blocks", "--data_dir", base / "data", "--result_dir", tmp_path, "--models", *same]
    study.study([str(word) for word in [*words, "--list"]])
    assert len(capsys.readouterr().out.strip().splitlines()) == 1


# ------------------------------------------------------------------- what a run was made from


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A base folder with the data set blocks and a finished study of it, which the tests copy."""
    base = tmp_path_factory.mktemp("kept")
    synthetic.write_data_set(base / "blocks")
    with contextlib.redirect_stderr(io.StringIO()):
        main.main(of_main(base, "--model", "Popularity"))
        main.main(of_main(base, "--model", "Popularity", "--dataset_augment", "augment", "--llm", "rule"))
    return base


def of_main(base, *words):
    paths = ["--dataset", base / "blocks", "--data_dir", base / "data", "--result_dir", base / "result"]
    return [str(word) for word in (*paths, *words)]


@pytest.fixture
def copied(kept, tmp_path):
    shutil.copytree(kept, tmp_path / "base")
    return tmp_path / "base"


PLAIN, RULE = "Popularity", "Popularity --dataset_augment augment --llm rule"


def more_stars(path):
    """The first 1 or 2 becomes a 3: no positive, so validation and test rows stay as they are."""
    lines = path.read_text().splitlines(keepends=True)
    place = next(place for place, line in enumerate(lines) if line.rstrip().endswith(("\t1", "\t2")))
    lines[place] = lines[place].rstrip()[:-1] + "3\n"
    path.write_text("".join(lines))


def answer(base, capfd, *models):
    """(exit code, stderr) of the study; what it would run is printed, nothing is run."""
    capfd.readouterr()
    code = shell.cli(study.study, flags(base, "--models", *models, "--list"))
    return code, capfd.readouterr()


def refused(base, capfd, *models):
    before = {path: path.read_bytes() for path in base.rglob("*") if path.is_file() and path.name != ".hashes"}
    code, said = answer(base, capfd, *models)
    after = {path: path.read_bytes() for path in base.rglob("*") if path.is_file() and path.name != ".hashes"}
    assert code == 2 and said.err.count("\n") == 1 and before == after, said
    assert "delete " in said.err and "--result_dir" in said.err
    return said.err


@pytest.mark.parametrize("model", [PLAIN, RULE])
def test_a_finished_run_of_these_files_is_taken(copied, capfd, model):
    code, said = answer(copied, capfd, model)
    assert (code, said.out.strip(), said.err) == (0, "", "")
    for path in copied.glob("result/blocks/*/config.json"):
        config = json.loads(path.read_text())
        del config["made_from"]["raw"]
        path.write_text(json.dumps(config))
    assert "of an older version" in refused(copied, capfd, model)


@pytest.mark.parametrize("model", [PLAIN, RULE])
@pytest.mark.parametrize("file", ["blocks.inter", "blocks.item"])
def test_a_run_of_raw_files_that_were_replaced_is_not_taken(copied, capfd, model, file):
    path = copied / "blocks" / file
    more_stars(path) if file == "blocks.inter" else path.write_text(path.read_text().replace("Film", "Movie", 1))
    error = refused(copied, capfd, model)
    assert str(copied / "result" / "blocks" / "Popularity_") in error
    assert str(path) in error


def test_a_run_is_taken_again_once_its_files_are_back_whatever_was_prepared_meanwhile(copied, capfd, tmp_path):
    """Splits of a namesake lie in the data folder; what the run was made from is in its config.json."""
    synthetic.write_data_set(tmp_path / "other" / "blocks")
    more_stars(tmp_path / "other" / "blocks" / "blocks.inter")
    other = ["--dataset", str(tmp_path / "other" / "blocks"), "--data_dir", str(copied / "data")]
    main.main([*other, "--result_dir", str(tmp_path / "result"), "--model", "Popularity"])
    assert answer(copied, capfd, PLAIN)[0] == 0
    shutil.rmtree(copied / "data")
    code, said = answer(copied, capfd, PLAIN)
    assert (code, said.out.strip()) == (0, "")


def test_splits_put_there_by_hand_are_known_by_what_they_hold(copied, capfd):
    stamp, test = copied / "data" / "blocks" / "prepared.json", copied / "data" / "blocks" / "blocks_test.csv"
    stamp.unlink()
    assert answer(copied, capfd, PLAIN)[0] == 0
    more_stars(copied / "blocks" / "blocks.inter")  # not read any more
    assert answer(copied, capfd, PLAIN)[0] == 0
    remove_last_line(test)
    assert str(test) in refused(copied, capfd, PLAIN)


def test_a_run_on_other_labels_is_not_taken(copied, capfd):
    (labels,) = (copied / "data" / "blocks" / "feedback").glob("*/blocks_train_augment.csv")
    found = labels.with_name("kept.csv")
    labels.rename(found)
    assert answer(copied, capfd, RULE)[0] == 0  # gone is no contradiction
    other = labels.parent.with_name("other")
    other.mkdir()
    shutil.copy(found, other / labels.name)
    assert answer(copied, capfd, RULE)[0] == 0  # other labels beside them say nothing
    labels.write_text(found.read_text().replace(",0.5", ",4.5", 1))
    (other / labels.name).unlink()
    assert str(labels) in refused(copied, capfd, RULE)


def test_a_run_on_somebodys_labels_is_told_from_one_on_others(copied, capfd):
    """The name has eight digits of the labels' hash; here the run was named by hand."""
    (rule,) = (copied / "data" / "blocks" / "feedback").glob("*/blocks_train_augment.csv")
    labels = copied / "data" / "blocks" / "blocks_train_augment.csv"
    shutil.copy(rule, labels)
    model = "Popularity --dataset_augment augment"
    (trial,) = study.make_grid(str(copied / "blocks"), model, study.parse(flags(copied, "--models", model)))
    main.main(of_main(copied, *model.split()[1:], "--model", "Popularity", "--path_name", trial.folder.name))
    assert answer(copied, capfd, model)[0] == 0
    config = json.loads((trial.folder / "config.json").read_text())
    config["made_from"]["sha256"] = "0" * 64
    (trial.folder / "config.json").write_text(json.dumps(config))
    assert str(labels) in refused(copied, capfd, model)


def remove_last_line(path):
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def add_flag(base):
    path = base / RUN / "summary.json"
    write_json(path, json.loads(path.read_text()) | {"flags": {"n_negatives": 7}})


def run_again(base):
    """Of other settings, under the name of the first run."""
    shutil.rmtree(base / RUN)
    main.main(of_main(base, "--model", "Popularity", "--path_name", "Popularity_2024", "--top_k", "3"))


RUN = "result/blocks/Popularity_2024"
TRAIN = "data/blocks/blocks_train_original.csv"
UNREADABLE = "summary.json or config.json cannot be read"


@pytest.mark.parametrize(
    ("change", "models", "words"),
    [
        (lambda base: remove_last_line(base / TRAIN), [PLAIN], TRAIN),
        (lambda base: remove_last_line(base / TRAIN), [RULE], TRAIN),  # trained on another file, made of this one
        (lambda base: (base / RUN).rename(base / "result/blocks/LightGCN_2024"), ["LightGCN"],
         "--model Popularity, not LightGCN"),  # --path_name lets anybody give a run any name
        (run_again, [PLAIN], "--top_k 3, not 5 10 15 20"),
        (add_flag, [PLAIN], "--n_negatives 7, not at its default"),
        (lambda base: (base / RUN / "summary.json").write_text("{"), [PLAIN], UNREADABLE),
        (lambda base: (base / RUN / "config.json").write_text("{"), [PLAIN], UNREADABLE),
    ],
)  # fmt: skip
def test_a_run_of_other_settings_or_files_is_not_taken(copied, capfd, change, models, words):
    change(copied)
    assert words in refused(copied, capfd, *models)


def test_a_known_data_set_need_not_be_there(copied, capfd, monkeypatch):
    """Finished runs that were copied here without the data give their table."""
    row = DATASETS["ML-100K"]
    monkeypatch.setitem(DATASETS, "blocks", dataclasses.replace(row, files={"blocks.inter": None}, labels=""))
    shutil.rmtree(copied / "data")
    words = ["--datasets", "blocks", "--data_dir", copied / "data", "--result_dir", copied / "result", "--list"]
    assert shell.cli(study.study, [str(word) for word in (*words, "--models", PLAIN)]) == 0
    assert capfd.readouterr().out.strip() == ""


def test_two_data_sets_of_one_name_are_refused_and_one_given_twice_is_one(copied, tmp_path, capfd):
    other = synthetic.write_data_set(tmp_path / "other" / "blocks")
    more_stars(other / "blocks.inter")
    code = shell.cli(study.study, flags(copied, "--models", PLAIN, "--list", "--datasets", copied / "blocks", other))
    error = capfd.readouterr().err
    assert code == 2 and error.count("\n") == 1
    assert f"--datasets {copied / 'blocks'} {other}: are both called blocks" in error
    twice = [copied / "blocks", f"{copied}/./blocks"]
    study.study(flags(copied, "--models", PLAIN, "--datasets", *twice))
    rows = [line for line in capfd.readouterr().out.splitlines() if line.startswith("| blocks | Popularity")]
    assert len(rows) == 2  # one of results, one of what the lists recommend


def test_a_blend_knows_the_runs_that_it_is_made_of(copied, capfd):
    parts = [copied / "result" / "blocks" / name for name in ("Popularity_2024", "ease")]
    main.main(of_main(copied, "--model", "EASE", "--path_name", "ease", "--ease_lambdas", "10"))
    model = shlex.join(["Blend", "--blend", *map(str, parts)])
    (trial,) = study.make_grid(str(copied / "blocks"), model, study.parse(flags(copied, "--models", model)))
    main.main(trial.arguments)
    assert answer(copied, capfd, model)[0] == 0
    summary_of = parts[1] / "summary.json"
    summary_of.write_text(json.dumps(json.loads(summary_of.read_text()) | {"train_seconds": 99}))
    assert str(summary_of) in refused(copied, capfd, model)


# ------------------------------------------------------------------- how runs end


def ended(folder, summary, code=0):
    """how_it_ended of a run that has left this summary.json."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.json").write_text(summary)
    trial = study.Trial.__new__(study.Trial)
    trial.folder, trial.model, trial.seed = folder, ["CoNRec"], 7
    return jobs.how_it_ended(trial, code, 3.2)


def test_a_run_is_judged_by_its_own_metric(tmp_path):
    summary = json.dumps({"primary": "fhr@20", "test": {"fhr@20": 0.25}})
    assert ended(tmp_path / "x" / "run", summary) == ("x CoNRec, seed 7: test FHR@20 0.2500, 3 s", None)
    # so is the best of a grid
    grid = [SimpleNamespace(summary={"primary": "fhr@20", "validation": {"fhr@20": fhr}}) for fhr in (0.2, 0.4, 0.3)]
    assert max(grid, key=study.read_score) is grid[1]


@pytest.mark.parametrize("summary", ["{", "[]", "{}", '{"test": 1}', '{"test": {"recall@20": "much"}}'])
def test_a_run_whose_summary_cannot_be_read_has_failed_and_the_others_go_on(tmp_path, summary):
    said, failure = ended(tmp_path / "x" / "run", summary)
    assert "failed: " in said and "summary.json: cannot be read" in failure and "run.out" in failure
    assert "killed by SIGKILL" in ended(tmp_path / "x" / "run", summary, -9)[0]


def test_hard_negatives_that_were_made_anew_are_noticed(tmp_path):
    (tmp_path / "vectors.npy").write_text("x")
    digests = {"vectors.npy": utils.sha256(tmp_path / "vectors.npy"), "status.npy": "0"}
    made_from = {"negatives": {"folder": str(tmp_path), "sha256": digests, "width": 3}}
    options = SimpleNamespace(hn_folder=None)
    assert runs.finished.of_vectors(made_from, options) is None
    (tmp_path / "vectors.npy").write_text("y")
    assert str(tmp_path / "vectors.npy") in runs.finished.of_vectors(made_from, options)
