"""The vectors of one folder.

    route_a     of written titles
    route_b     of queries, by the encoder as it is or tuned; or noise

P pairs, I items, D width.  Every array is first filled with raw states, from which mean and norm are then taken out.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np

from negatives import mining, tuning
from negatives.arrays import ROWS_AT_ONCE, Progress, fill, in_batches, mean_row, unit_rows, write_array
from negatives.encoder import BATCH_SIZE, Encoder
from negatives.inputs import Inputs
from negatives.mining import Scores
from negatives.profiles import Known
from negatives.report import Found
from negatives.vectors import KEPT, load_array


@dataclass
class Work:
    """What both routes need."""

    progress: Progress  # of the folder
    known: Known
    inputs: Inputs
    scores: Scores
    pairs: np.ndarray  # (P, 2)
    source: str
    weights: object  # folder of the encoder
    options: object
    device: object

    def encoder(self):
        return Encoder(self.weights, self.inputs, self.options, self.device)

    @property
    def encoded(self):
        return self.progress.finished.get("encoded", False)


def route_a(work, titles):
    """The vector of a pair is that of its title, with year and genres where it is in the catalogue.

    titles: (() -> text vectors (I, D)) -> titles and the items they are known to mean, "" and -1 where there is none.
    """
    documents, encoder = None, None
    if not work.encoded:
        encoder = work.encoder()
        raw = encoder.encode_all([work.inputs.text(text) for text in work.known.texts])  # (I, D)
        mean = raw.mean(0)
        documents = unit_rows(raw - mean)
    said, means = titles(documents)
    full = [work.known.texts[item] if item >= 0 else title for title, item in zip(said, means, strict=True)]
    distinct = sorted({text for text in full if text})
    number = {text: place for place, text in enumerate(distinct)}
    place = np.array([number.get(text, -1) for text in full])  # (P,) in distinct, -1 without a title
    if not work.encoded:
        rows = [work.inputs.text(text) for text in distinct]
        lengths = [len(row.ids) for row in rows]
        raw = encoded(work, encoder, lengths, lambda number: rows[number])
        finish(work, raw, np.stack((mean, mean)), documents, place)

    array, documents = arrays(work)
    nearest, cosines = mining.nearest_documents(array, documents)
    exact = means >= 0
    mapped, cosines = np.where(exact, means, nearest), np.where(exact, 1, cosines)
    status = mining.judge(work.known, work.pairs, work.scores, mapped, place >= 0, cosines, array, documents)
    return Found(work.pairs, array, documents, mapped, status, exact=exact, cosines=cosines)


def route_b(work):
    """The vector of a pair is the encoder's for its query, or noise."""
    if not work.encoded:
        encode_queries(work)
    array, documents = arrays(work)
    mapped, _ = mining.nearest_documents(array, documents, work.pairs)
    if work.source == "gauss":
        status = np.full(len(work.pairs), KEPT, np.uint8)  # noise means no item, so there is nothing to filter
    else:
        status = mining.judge(work.known, work.pairs, work.scores, mapped, np.ones(len(work.pairs), bool))
    triplets = None
    if work.source == "tuned":
        triplets = load_array(work.progress.folder / "triplets.npy", np.int32, (None, 3))
    return Found(work.pairs, array, documents, mapped, status, triplets)


def encode_queries(work):
    """Make vectors.npy, items.npy and mean.npy; of a tuned encoder, tune it first."""
    encoder, inputs, pairs = work.encoder(), work.inputs, work.pairs
    if work.source == "tuned":
        tuned(work, encoder)
    documents = encoder.encode_all([inputs.document(item) for item in range(len(work.known.item_ids))])
    if work.source == "gauss":
        raw = noise(work, encoder.width)
    else:
        raw = encoded(work, encoder, inputs.query_lengths(pairs), lambda number: inputs.query(*pairs[number]))
    mean = np.zeros((2, encoder.width), np.float32)  # of pairs and documents
    if work.source == "untuned":  # untuned states share most of their direction
        mean[0] = mean_row(raw)
    if work.source != "tuned":
        mean[1] = documents.mean(0)
    finish(work, raw, mean, unit_rows(documents - mean[1]))


def tuned(work, encoder):
    """Give the encoder slots and LoRA weights, tuned on supervising negatives unless that has been done."""
    progress, options, known = work.progress, work.options, work.known
    path = progress.folder / "triplets.npy"
    if not path.exists():
        texts = encoder.encode_all([work.inputs.text(text) for text in known.texts])  # (I, D)
        texts = unit_rows(texts - texts.mean(0))
        triplets = mining.supervising_triplets(known, work.scores, texts, options.hn_triplets, options.llm_seed)
        write_array(path, triplets)
    triplets = np.load(path, allow_pickle=False)
    tune_on, held_out = tuning.split(triplets, known, options.llm_seed)
    encoder.add_slots(work.scores.users, work.scores.items, options.llm_seed)
    if "tuning" in progress.finished:
        return encoder.load(progress.folder, options.hn_lora_rank)
    run = tuning.Tuning(encoder, work.inputs, known, tune_on, options, progress.folder)
    run.run()
    figures = run.figures() | tuning.card(encoder, work.inputs, known, held_out, options.llm_seed)
    progress.note("tuning", figures)
    run.path.unlink(missing_ok=True)  # what it holds is in the adapter now
    return None


def encoded(work, encoder, lengths, row_of):
    """raw.npy, (n, D) float16: the states of row_of(0), ..., row_of(n - 1), in batches of like length."""

    def states(chunk):
        return encoder.encode([row_of(number) for number in chunk])

    batches = in_batches(np.argsort(lengths, kind="stable"), BATCH_SIZE)
    batches = [(chunk, partial(states, chunk)) for chunk in batches]
    return fill(work.progress, "raw", (len(lengths), encoder.width), np.float16, batches, "encoding")


def noise(work, width):
    """raw.npy of Gaussian vectors."""

    def normal(chunk):
        generator = np.random.default_rng([work.options.llm_seed, 7, chunk[0]])
        return generator.standard_normal((len(chunk), width), np.float32)

    batches = in_batches(np.arange(len(work.pairs)), ROWS_AT_ONCE)
    batches = [(chunk, partial(normal, chunk)) for chunk in batches]
    return fill(work.progress, "raw", (len(work.pairs), width), np.float16, batches, "noise")


def finish(work, raw, mean, documents, place=None):
    """Write vectors.npy, items.npy, mean.npy and pairs.npy from the raw states, which are not needed any more.

    mean: (2, D) to take out of pairs and documents.  place: (P,) row of each pair in raw, -1 for none.
    """
    folder, n = work.progress.folder, len(work.pairs)
    place = np.arange(n) if place is None else place

    def finished(chunk):
        rows = place[chunk]  # (block,)
        vectors = unit_rows(raw[rows].astype(np.float32) - mean[0])  # (block, D)
        return vectors * (rows >= 0)[:, None]

    batches = [(chunk, partial(finished, chunk)) for chunk in in_batches(np.arange(n), ROWS_AT_ONCE)]
    fill(work.progress, "vectors", (n, raw.shape[1]), np.float16, batches, "normalising")
    write_array(folder / "items.npy", documents.astype(np.float16))
    write_array(folder / "mean.npy", mean)
    write_array(folder / "pairs.npy", work.pairs)
    work.progress.note("encoded")


def arrays(work):
    """vectors (P, D) and documents (I, D), mapped."""
    folder = work.progress.folder
    (folder / "raw.npy").unlink(missing_ok=True)
    array = load_array(folder / "vectors.npy", np.float16, (len(work.pairs), None))
    return array, load_array(folder / "items.npy", np.float16, (len(work.known.item_ids), array.shape[1]))
