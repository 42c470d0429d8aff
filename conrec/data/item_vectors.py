"""What the semantic IDs are made of: a unit vector for each item of the catalog.

It tells what the item's text says (or is the user's own), and which items are rated near this one.
IDs of texts alone put films together that read alike; users go from film to film in other ways.
That codes should tell of both is the idea of LETTER (Wang et al., 2024, arXiv 2405.07314); the way
here is the older one of word vectors.
"""

import zipfile

import numpy as np
from scipy.sparse import csr_matrix

from llm.encoder import encode_texts, unit_rows
from llm.weights import is_causal, model_folder, revision
from preparation.rules import TRAIN
from utils import InputError, sha256

REACH, NEAR = 30, 10.0  # events of a user that are neighbours; how far apart they are when they count 1/e
SMOOTHED = 0.75  # power of an item's neighbours in the chance of being one: rare ones are not overrated
WIDTH = 64  # numbers of a neighbours' vector
NEIGHBOURS_VERSION = 1  # raise it when the same events would give other vectors


class ItemVectors:
    """.settings: what the vectors depend on.

    Beside the vector of an item's text, or the user's own, stands one of its neighbours, unless
    --conrec_ids says otherwise.  Both have length 1: they weigh alike.
    """

    def __init__(self, texts, events, options):
        """texts: (I,) what an encoder reads, later.  Raises InputError for what makes no vectors."""
        self.texts, self.events, self.own = texts, events, None
        self.with_neighbours = options.conrec_ids == "both"
        if options.conrec_embeddings:
            self.own = read_vectors(options.conrec_embeddings, events.item_ids)
            self.settings = {"embeddings": sha256(options.conrec_embeddings)}
        else:
            flag = "--conrec_encoder"
            self.weights = model_folder(options.conrec_encoder, options.data_dir, flag)
            if is_causal(self.weights, flag):
                raise InputError(f"{flag} {options.conrec_encoder}: is a causal language model; give an encoder")
            self.settings = {"encoder": revision(self.weights)}
        if self.with_neighbours:
            self.settings["neighbours"] = NEIGHBOURS_VERSION

    def make(self, device):
        """(I, d) float32, centred, of length 1."""
        if self.own is None:
            vectors = encode_texts(self.texts, self.weights, device, "--conrec_encoder")
        else:
            vectors = unit(self.own)
        if self.with_neighbours:
            vectors = unit(np.concatenate([vectors, neighbour_vectors(self.events)], 1))
        return vectors


def read_vectors(path, item_ids):
    """(I, d) float32 vectors of the user's own, of an .npz with the arrays item_id (n,) and embedding (n, d).

    Raises InputError where an item lacks a vector of numbers.
    """
    flag = f"--conrec_embeddings {path}"
    try:
        with np.load(path, allow_pickle=False) as arrays:
            ids, vectors = arrays["item_id"].astype(str), np.asarray(arrays["embedding"], np.float32)
    except (OSError, ValueError, KeyError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())[:100]
        raise InputError(
            f"{flag}: is no .npz with the arrays item_id and embedding, without pickled objects ({reason})"
        ) from None
    if vectors.ndim != 2 or ids.shape != vectors.shape[:1] or not vectors.shape[1]:
        shapes = f"item_id {ids.shape} and embedding {vectors.shape}"
        raise InputError(f"{flag}: has {shapes}, expected (n,) and (n, d)")
    row_of = {item: row for row, item in enumerate(ids)}
    missing = [item for item in item_ids if str(item) not in row_of]
    if missing:
        few = f"{len(missing)} of the {len(item_ids)} items, such as {missing[0]}"
        raise InputError(f"{flag}: has no vector for {few}")
    found = vectors[[row_of[str(item)] for item in item_ids]]
    bad = ~np.isfinite(found).all(1)
    if bad.any():
        raise InputError(f"{flag}: the vector of item {item_ids[bad.argmax()]} holds what is no finite number")
    return found


def neighbour_vectors(events):
    """(I, WIDTH) float32 of length 1: items are alike that have like neighbours among the users' train events.

    Positive pointwise mutual information of items and their neighbours, factored (Levy and Goldberg, 2014; with the
    smoothing of Levy, Goldberg and Dagan, 2015): of its truncated U S V', U S^(1/2).  An item without a train event has
    zeros; so has each further column where there are fewer items than columns.
    """
    from sklearn.preprocessing import normalize  # takes a second
    from sklearn.utils.extmath import randomized_svd

    information = mutual_information(neighbours(events))
    U, S, _ = randomized_svd(information, min(WIDTH, events.n_items), random_state=0)
    vectors = np.zeros((events.n_items, WIDTH), np.float32)
    vectors[:, : len(S)] = normalize(U * np.sqrt(S))
    vectors[np.asarray(information.sum(1))[:, 0] == 0] = 0  # what was normalised there is rounding
    return vectors


def neighbours(events):
    """(I, I) symmetric CSR: how often two items are rated near each other in train, the nearer the more.

    Two events of a user that lie k <= REACH apart count exp(-k / NEAR).
    """
    train = np.flatnonzero(events.parts == TRAIN)
    users, items = events.users[train], events.items[train]
    shape = (events.n_items, events.n_items)
    near = csr_matrix(shape)
    for apart in range(1, REACH + 1):
        same = users[apart:] == users[:-apart]
        one, other = items[:-apart][same], items[apart:][same]
        near = near + csr_matrix((np.full(len(one), np.exp(-apart / NEAR)), (one, other)), shape)
    return (near + near.T).tocsr()


def mutual_information(near):
    """The positive ones of log p(neighbour | item) / p(neighbour), (I, I) CSR.  near: of neighbours()."""
    counts = np.asarray(near.sum(1))[:, 0]  # (I,)
    share = counts**SMOOTHED / (counts**SMOOTHED).sum()
    found = near.tocoo()
    values = np.log(found.data / (counts[found.row] * share[found.col]))
    return csr_matrix((values.clip(min=0), (found.row, found.col)), near.shape)


def unit(rows):
    """Rows less their mean, normalised."""
    return unit_rows(rows - rows.mean(0))
