"""The stage that makes hard negatives, run on a small data set with a tiny encoder and made-up CF vectors."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import synthetic
import torch

import dataloader
from negatives.stage import prepare
from options import command_line
from preparation import splits, titles

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
    """(HardNegatives, card, origin) of the stage with base/data for its folder, which is copied there."""
    if not (base / "data").exists():
        shutil.copytree(world / "data", base / "data")
    given = ["--dataset", str(world / "x"), "--model", "HNLMRec", "--hard", hard, "--data_dir", str(base / "data")]
    if "--hn_folder" not in more:
        given += ["--hn_encoder", str(encoder or world / "encoder"), *PAIRS]
        given += TRIPLETS if hard in ("tuned", "shuffled") else []
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
