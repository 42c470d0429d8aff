"""Vectors of hard negatives for tests: in memory, and as the folder that the stage would leave; small HNLMRecs."""

import numpy as np
import torch
from synthetic import Silent, built, made, options_of, train_data

from negatives import vectors
from negatives.vectors import HardNegatives
from training import loop
from utils import write_json


def unit(rows):
    """rows as float16 of unit norm"""
    rows = np.asarray(rows, np.float32)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


def random_vectors(n, width, seed=0):
    return unit(np.random.default_rng(seed).normal(size=(n, width)))


def in_memory(data, codes=None, documents=None, width=8, constant=False):
    """HardNegatives with a vector for every positive.  codes: (E, D); documents: (I, D); random where left out."""
    n = len(data.edges("positive"))
    codes = random_vectors(n, width) if codes is None else unit(codes)
    documents = random_vectors(data.n_items, codes.shape[1], seed=1) if documents is None else unit(documents)
    return HardNegatives(np.arange(n), np.ones(n, bool), codes, documents, data.device, constant)


def write_folder(folder, data, source="tuned", codes=None, status=None, width=8):
    """A finished folder of these ratings; pairs in the order of the positives.  Returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    edges = data.edges("positive")
    codes = random_vectors(len(edges), width) if codes is None else unit(codes)
    arrays = {
        "pairs": np.stack((edges.users, edges.items), 1).astype(np.int32),
        "vectors": codes,
        "items": random_vectors(data.n_items, codes.shape[1], seed=1),
        "status": np.zeros(len(edges), np.uint8) if status is None else np.asarray(status, np.uint8),
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    ids = {"users": data.user_ids, "items": data.item_ids}
    write_json(folder / "ids.json", {side: list(map(str, tokens)) for side, tokens in ids.items()})
    write_json(folder / "settings.json", {"source": vectors.SOURCES[source]})
    write_json(folder / "report.json", {})
    return folder


# ------------------------------------------------------------------------------------------ small models


def random_data():
    """150 random train rows with 1 to 5 stars, 20 held out, a random vector for every positive."""
    pairs = np.random.RandomState(0).permutation(12 * 40)
    stars = np.array([5.0, 4.0, 3.0, 2.0, 1.0])[np.arange(150) % 5]
    held = pairs[150:170] // 40, pairs[150:170] % 40
    data = train_data(12, 40, pairs[:150] // 40, pairs[:150] % 40, stars, held, held)
    data.hard = in_memory(data)
    return data


SMALL = ("--embedding_dim", "6", "--batch_size", "40")


def small_options(model, *given):
    return options_of(model, *SMALL, *given)


def build(data, *given, model="HNLMRec"):
    return built(model, data, *SMALL, *given)


def trained(data, folder, *given, model="HNLMRec"):
    """The model after training, and the rows of its metrics.csv."""
    (model, settings), run = made(model, data, *SMALL, *given), Silent(folder)
    loop.train(model, data, settings, run)
    return model, run.epochs


def first_batch(model):
    model.start_epoch(1)
    return next(model.data.batches(60, torch.Generator().manual_seed(0), model.trains_on))
