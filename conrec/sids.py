"""Semantic IDs: a residual-quantised autoencoder of item texts' vectors (RQ-VAE), and unique codes.

    catalog folder: sids.csv (item, a, b, c, title), rqvae.safetensors, report.json
"""

from typing import NamedTuple

import numpy as np


class Catalog(NamedTuple):
    codes: np.ndarray  # (I, 3) int64, rows distinct
    E: np.ndarray  # (I, d) float32: decoded, less the catalog's mean, normalised
    titles: list  # (I,) str
    K: int  # codes a level
    item_ids: np.ndarray  # (I,) str


def codes_for(n_items):
    """K: the power of two from 1.5 sqrt(items) up."""
    raise NotImplementedError


def make(texts, vectors, K, seed, epochs, folder, *, item_ids, titles, popular=(), device="cpu"):
    """(Catalog, report dict), written into the folder, which exists.

    texts: (I,) what was encoded; vectors: (I, d) float32 unit vectors, centred (embed.encode_texts); popular: item
    numbers whose codes the report shows.  Raises InputError where K is too small for unique IDs.
    """
    raise NotImplementedError


def read(folder):
    """The Catalog of a folder that make() wrote.  Raises InputError for files that are not its own."""
    raise NotImplementedError
