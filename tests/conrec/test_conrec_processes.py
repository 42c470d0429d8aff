"""Several processes do one job (torchrun, gloo on the CPU)."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import synthetic
import torch
import two_processes

ROOT = Path(__file__).parents[2]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
SMALL = """
--device cpu --path_name a --conrec_rq_epochs 3 --conrec_codes 16 --conrec_stages stream both
--conrec_sft_steps 1 1 3 1 --conrec_history 5 5 --conrec_beams 20
--conrec_steps 2 --conrec_prompts 3 --conrec_group 4
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return synthetic.write_planted(tmp_path_factory.mktemp("planted"), n_users=20, n_items=80, n_events=40)


def run(*command, launcher=TORCHRUN):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    words = [*launcher, *map(str, command)]
    return subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


def test_two_processes_take_the_step_and_find_the_items_of_one(world, tmp_path):
    done = run(ROOT / "tests" / "helpers" / "two_processes.py", world, tmp_path / "found.pt")
    assert done.returncode == 0, done.stderr
    two, one = torch.load(tmp_path / "found.pt"), two_processes.results(world)
    assert two.keys() == one.keys() and (two["items"] == one["items"]).all()
    assert two["grpo reward"] != 0 and one["warmup model.embed_tokens.weight"].abs().max() > 1e-3
    for name, tensor in one.items():
        assert torch.allclose(two[name], tensor, rtol=1e-4, atol=1e-6), name


def test_a_signal_to_one_process_stops_all_in_the_same_step_which_is_saved(world, tmp_path):
    found = {}
    for way in ("whole", "stopped"):
        command = [
            "--dataset", world, "--data_dir", tmp_path / way, "--result_dir", tmp_path / "result" / way,
            "--model", "CoNRec", "--conrec_embeddings", world.parent / "vectors.npz", *SMALL.split(),
        ]  # fmt: skip
        if way == "stopped":
            ended = several("stopped", 2, *command)
            assert ended.returncode == 128 + signal.SIGTERM
            words = "stopped and saved in stream, step 2; the same command with --resume goes on there"
            said = {line for line in ended.stderr.splitlines() if line.startswith(("stopped", "interrupted", "error"))}
            assert said == {words}  # by the one that ends first, or by both
            (saved,) = (tmp_path / way).rglob("last.pt")
            assert torch.load(saved, weights_only=True)["step"] == 2
            command.append("--resume")
        ended = several("main", 2, *command)
        assert ended.returncode == 0, ended.stderr
        folder = tmp_path / "result" / way / "world" / "a"
        assert ended.stdout.count("both: 2 steps") == 1  # the first alone writes
        figures = pd.read_csv(folder / "metrics.csv", dtype=str).drop(columns="seconds").to_csv()
        found[way] = figures, (folder / "predictions.csv").read_bytes()
    assert "stream: going on after step 2" in (folder / "log.txt").read_text()
    assert found["stopped"] == found["whole"]
    again = several("main", 2, *command[:-1])
    said = [line for line in again.stderr.splitlines() if line.startswith("error: ")]
    assert again.returncode != 0 and len(said) == 1 and "holds a finished run" in said[0]


def several(*words):
    return run(ROOT / "tests" / "helpers" / "several.py", *words, launcher=[sys.executable])
