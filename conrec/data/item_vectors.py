"""What the semantic IDs are made of: a unit vector for each item of the catalog."""

import zipfile

import numpy as np

from llm.encoder import encode_texts
from llm.weights import is_causal, model_folder, revision
from utils import InputError, sha256


class OfTexts:
    """The item texts through an encoder."""

    def __init__(self, texts, options):
        flag, self.texts = "--conrec_encoder", texts
        self.weights = model_folder(options.conrec_encoder, options.data_dir, flag)
        if is_causal(self.weights, flag):
            raise InputError(f"{flag} {options.conrec_encoder}: is a causal language model; give an encoder")
        self.settings = {"encoder": revision(self.weights)}

    def make(self, device):
        return encode_texts(self.texts, self.weights, device, "--conrec_encoder")


class OfFile:
    """Vectors of the user's own, of an .npz with the arrays item_id (n,) and embedding (n, d)."""

    def __init__(self, item_ids, path):
        self.path, self.flag = path, f"--conrec_embeddings {path}"
        try:
            with np.load(path, allow_pickle=False) as arrays:
                ids, vectors = arrays["item_id"].astype(str), np.asarray(arrays["embedding"], np.float32)
        except (OSError, ValueError, KeyError, AttributeError, TypeError, zipfile.BadZipFile) as error:
            reason = " ".join(str(error).split())[:100]
            raise InputError(
                f"{self.flag}: is no .npz with the arrays item_id and embedding, without pickled objects ({reason})"
            ) from None
        self.vectors = self.of_catalog(ids, vectors, item_ids)
        self.settings = {"embeddings": sha256(path)}

    def of_catalog(self, ids, vectors, item_ids):
        """(I, d) in the catalog's order.  Raises InputError where an item lacks a vector of numbers."""
        if vectors.ndim != 2 or ids.shape != vectors.shape[:1] or not vectors.shape[1]:
            shapes = f"item_id {ids.shape} and embedding {vectors.shape}"
            raise InputError(f"{self.flag}: has {shapes}, expected (n,) and (n, d)")
        row_of = {item: row for row, item in enumerate(ids)}
        missing = [item for item in item_ids if str(item) not in row_of]
        if missing:
            raise InputError(
                f"{self.flag}: has no vector for {len(missing)} of the {len(item_ids)} items, such as {missing[0]}"
            )
        found = vectors[[row_of[str(item)] for item in item_ids]]
        bad = ~np.isfinite(found).all(1)
        if bad.any():
            raise InputError(f"{self.flag}: the vector of item {item_ids[bad.argmax()]} holds what is no finite number")
        return found

    def make(self, device):
        return unit(self.vectors)


def unit(rows):
    """Rows less their mean, normalised."""
    rows = rows - rows.mean(0)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def item_vectors(texts, item_ids, options):
    """OfTexts or OfFile: .settings, what the vectors depend on; .make(device) -> (I, d) float32, centred, of length 1.

    Raises InputError for what holds no such vectors; nothing is encoded yet.
    """
    if options.conrec_embeddings:
        return OfFile(item_ids, options.conrec_embeddings)
    return OfTexts(texts, options)
