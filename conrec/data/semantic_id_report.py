"""What semantic IDs are worth: report.json of their folder."""

import numpy as np
import torch

from conrec.data.item_vectors import unit

NOISE = (0.01, 0.05, 0.10)  # of a vector's length
SAMPLE = 3000  # items among which pairs are compared
NEIGHBOURS = 10


def report(model, catalog, plain, vectors, texts, popular, seed):
    """The figures as a dict.

    model: sids.RQVAE; plain: (I, 3) nearest codes, before they were made unique; vectors: (I, d) what was encoded.
    Errors and stability are those of the plain codes.
    """
    x = torch.from_numpy(np.ascontiguousarray(vectors, np.float32))
    z_q = model.quantise(model.encoder(x))[1]
    error = (x - model.decoder(z_q)).norm(dim=1) / x.norm(dim=1).clamp(min=1e-12)
    _, sizes = np.unique(plain, axis=0, return_counts=True)
    own = unit(sum(book[catalog.codes[:, level]] for level, book in enumerate(model.codebooks.numpy())))
    given = unit(vectors)
    return {
        "items": len(plain),
        "codes": catalog.K,
        "relative_error": round(float(error.mean()), 4),
        "relative_squared_error": round(float(error.square().mean()), 4),
        "collisions": round(1 - len(sizes) / len(plain), 4),
        "largest_group": int(sizes.max()),
        "same_text": round(1 - len(set(texts)) / len(texts), 4),
        "moved": int((plain != catalog.codes).any(1).sum()),
        "used_codes": [len(np.unique(plain[:, level])) for level in range(plain.shape[1])],
        "correlation_with_vectors": {
            "latent": correlation(given, own, seed),
            "decoded": correlation(given, catalog.E, seed),
        },
        "neighbours_in_common": neighbours_in_common(given, catalog.E, seed),
        "stability": {f"{noise:.2f}": stability(model, plain, x, noise, seed) for noise in NOISE},
        "popular": {catalog.titles[item]: catalog.codes[item].tolist() for item in map(int, popular)},
    }


def drawn(n, seed):
    """All items, or SAMPLE of them, in order."""
    if n <= SAMPLE:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, SAMPLE, replace=False))


def correlation(one, other, seed):
    """Pearson correlation of the pairs' similarities in two spaces of unit vectors; None where there is none."""
    rows = drawn(len(one), seed)
    pairs = np.triu_indices(len(rows), 1)
    sides = [(side[rows] @ side[rows].T)[pairs] for side in (one, other)]
    if min(len(pairs[0]) - 1, *(side.std() for side in sides)) <= 0:
        return None
    return round(float(np.corrcoef(*sides)[0, 1]), 4)


def neighbours_in_common(one, other, seed):
    """Mean share of an item's ten nearest in one space that are among its ten nearest in the other."""
    rows = drawn(len(one), seed)
    k = min(NEIGHBOURS, len(rows) - 1)
    if k < 1:
        return None
    nearest = []
    for side in (one[rows], other[rows]):
        similarity = side @ side.T
        np.fill_diagonal(similarity, -np.inf)
        nearest.append(np.argsort(-similarity, axis=1, kind="stable")[:, :k])
    shared = [len(np.intersect1d(*pair)) for pair in zip(*nearest, strict=True)]
    return round(float(np.mean(shared)) / k, 4)


def stability(model, plain, x, noise, seed):
    """Shares of items that keep code 1, codes 1 and 2, all codes, when their vectors get noise of this length."""
    generator = torch.Generator().manual_seed(seed)
    step = torch.nn.functional.normalize(torch.randn(x.shape, generator=generator), dim=1)
    moved = x + noise * x.norm(dim=1, keepdim=True) * step
    kept = np.cumprod(model.quantise(model.encoder(moved))[0].numpy() == plain, 1)  # (I, 3)
    return [round(float(share), 4) for share in kept.mean(0)]
