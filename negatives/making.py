"""The vectors of one folder.

    route_a     of written titles
    route_b     of queries, by the encoder as it is or tuned; or noise

P pairs, I items, D width.  Every array is first filled with raw states, from which mean and norm are then taken out.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from llm.encoder import unit_rows
from negatives import mining, tuning
from negatives.arrays import ROWS_AT_ONCE, Progress, fill, in_batches, mean_row, write_array
from negatives.encoder import BATCH_SIZE, Encoder
from negatives.inputs import Inputs
from negatives.mining import Scores
from negatives.profiles import Known
from negatives.report import Found
from negatives.vectors import KEPT, load_array
from options.models import HnlmrecSettings


@dataclass
class Work:
    """What both routes need."""

    progress: Progress  # of the folder
    known: Known
    inputs: Inputs
    scores: Scores
    pairs: np.ndarray  # (P, 2)
    source: str
    weights: Path  # folder of the encoder
    settings: HnlmrecSettings
    device: torch.device

    def encoder(self):
        return Encoder(self.weights, self.inputs, self.settings, self.device)

    @property
    def is_encoded(self):
        return self.progress.finished.get("encoded", False)


def route_a(work, find_titles):
    """The vector of a pair is that of its title, with year and genres where it is in the catalogue.

    find_titles: (text vectors (I, D), None where they are not needed) -> titles and the items they are known to mean,
    "" and -1 where there is none.
    """
    known, inputs = work.known, work.inputs
    documents = None
    if not work.is_encoded:
        encoder = work.encoder()
        raw = encoder.encode_all([inputs.text(text) for text in known.texts])  # (I, D)
        mean = raw.mean(0)
        documents = unit_rows(raw - mean)
    titles, meant = find_titles(documents)
    texts = [known.texts[item] if item >= 0 else title for title, item in zip(titles, meant, strict=True)]
    distinct = sorted(set(texts) - {""})
    place = pd.Index(distinct).get_indexer(texts)  # (P,) in distinct, -1 without a title
    if not work.is_encoded:
        rows = [inputs.text(text) for text in distinct]
        raw = encode(work, encoder, [len(row.ids) for row in rows], lambda number: rows[number])
        finish(work, raw, np.stack((mean, mean)), documents, place)

    vectors, documents = load(work)
    nearest, cosines = mining.nearest_documents(vectors, documents)
    exact = meant >= 0
    mapped, cosines = np.where(exact, meant, nearest), np.where(exact, 1, cosines)
    status = mining.judge(known, work.pairs, work.scores, mapped, place >= 0, cosines, vectors, documents)
    return Found(work.pairs, vectors, documents, mapped, status, exact=exact, cosines=cosines)


def route_b(work):
    """The vector of a pair is the encoder's for its query, or noise."""
    if not work.is_encoded:
        make_vectors(work)
    vectors, documents = load(work)
    mapped, _ = mining.nearest_documents(vectors, documents, work.pairs)
    if work.source == "gauss":
        status = np.full(len(work.pairs), KEPT, np.uint8)  # noise means no item, so there is nothing to filter
    else:
        status = mining.judge(work.known, work.pairs, work.scores, mapped, np.ones(len(work.pairs), bool))
    found = Found(work.pairs, vectors, documents, mapped, status)
    if work.source == "tuned":
        found.triplets = load_array(work.progress.folder / "triplets.npy", np.int32, (None, 3))
    return found


def make_vectors(work):
    """Make vectors.npy, items.npy and mean.npy; of a tuned encoder, tune it first."""
    encoder, inputs, pairs = work.encoder(), work.inputs, work.pairs
    if work.source == "tuned":
        tune(work, encoder)
    documents = encoder.encode_all([inputs.document(item) for item in range(len(work.known.item_ids))])
    if work.source == "gauss":
        raw = draw_noise(work, encoder.width)
    else:
        raw = encode(work, encoder, inputs.query_lengths(pairs), lambda number: inputs.query(*pairs[number]))
    mean = np.zeros((2, encoder.width), np.float32)  # of pairs and documents
    if work.source == "untuned":  # untuned states share most of their direction
        mean[0] = mean_row(raw)
    if work.source != "tuned":
        mean[1] = documents.mean(0)
    finish(work, raw, mean, unit_rows(documents - mean[1]), np.arange(len(pairs)))


def tune(work, encoder):
    """Give the encoder slots and LoRA weights, tuned on supervising negatives unless that has been done."""
    progress, settings, known = work.progress, work.settings, work.known
    path = progress.folder / "triplets.npy"
    if not path.exists():
        texts = encoder.encode_all([work.inputs.text(text) for text in known.texts])  # (I, D)
        texts = unit_rows(texts - texts.mean(0))
        triplets = mining.supervising_triplets(known, work.scores, texts, settings.hn_triplets, settings.llm_seed)
        write_array(path, triplets)
    triplets = np.load(path, allow_pickle=False)
    encoder.add_slots(work.scores.users, work.scores.items, settings.llm_seed)
    if "tuning" in progress.finished:
        encoder.load(progress.folder)
        return
    # triplets of a tenth of the users measure the tuning
    held_out = mining.held_out_users(len(known.user_ids), settings.llm_seed)[triplets[:, 0]]
    run = tuning.Tuning(encoder, work.inputs, known, triplets[~held_out], settings, progress.folder)
    figures = run.run()
    card = tuning.measure(encoder, work.inputs, known, triplets[held_out], settings.llm_seed)
    progress.note("tuning", figures | card)
    run.path.unlink(missing_ok=True)  # what it holds is in the adapter now


def encode(work, encoder, lengths, row_of):
    """raw.npy, (n, D) float16: the states of row_of(0), ..., row_of(n - 1), in batches of like length."""

    def encode_batch(numbers):
        return encoder.encode([row_of(number) for number in numbers])

    batches = in_batches(np.argsort(lengths, kind="stable"), BATCH_SIZE)
    return fill(work.progress, "raw", (len(lengths), encoder.width), batches, encode_batch, "encoding")


def draw_noise(work, width):
    """raw.npy of Gaussian vectors."""

    def draw(numbers):
        generator = np.random.default_rng([work.settings.llm_seed, 7, numbers[0]])
        return generator.standard_normal((len(numbers), width), np.float32)

    batches = in_batches(np.arange(len(work.pairs)), ROWS_AT_ONCE)
    return fill(work.progress, "raw", (len(work.pairs), width), batches, draw, "noise")


def finish(work, raw, mean, documents, place):
    """Write vectors.npy, items.npy, mean.npy and pairs.npy from the raw states, which are not needed any more.

    mean: (2, D) to take out of pairs and documents.  place: (P,) row of each pair in raw, -1 for none.
    """
    folder = work.progress.folder

    def normalise(numbers):
        rows = place[numbers]  # (block,)
        vectors = unit_rows(raw[rows].astype(np.float32) - mean[0])  # (block, D)
        return vectors * (rows >= 0)[:, None]

    batches = in_batches(np.arange(len(place)), ROWS_AT_ONCE)
    fill(work.progress, "vectors", (len(place), raw.shape[1]), batches, normalise, "normalising")
    write_array(folder / "items.npy", documents.astype(np.float16))
    write_array(folder / "mean.npy", mean)
    write_array(folder / "pairs.npy", work.pairs)
    work.progress.note("encoded")


def load(work):
    """vectors (P, D) and documents (I, D), mapped."""
    folder = work.progress.folder
    (folder / "raw.npy").unlink(missing_ok=True)
    vectors = load_array(folder / "vectors.npy", np.float16, (len(work.pairs), None))
    return vectors, load_array(folder / "items.npy", np.float16, (len(work.known.item_ids), vectors.shape[1]))
