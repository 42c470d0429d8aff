"""Semantic IDs: a residual-quantised autoencoder of item texts' vectors (RQ-VAE), and unique codes.

    catalog folder: sids.csv (item, a, b, c, title), rqvae.safetensors, report.json

RQ-VAE (Lee et al., 2022; for IDs of items: Rajput et al., TIGER, 2023):  z = enc(x), R_1 = z, Z_k the code nearest to
R_k in codebook k, R_{k+1} = R_k - Z_k, z_q = sum Z_k;

    loss = |x - dec(z_q)|^2 + 0.25 sum_k |R_k - sg[Z_k]|^2,  gradients straight through from z_q to z

The codes are running means (EMA) of the residuals nearest to them, so no term of the loss moves them.
"""

import itertools
import warnings
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from tqdm import tqdm

from conrec.data.item_vectors import unit
from conrec.data.trie import LEVELS
from utils import InputError, write_atomically, write_json

WIDTHS = (256, 128, 32)  # of the encoder, after the vectors' own
COMMITMENT, DECAY, DEAD = 0.25, 0.95, 0.05
RATE, WEIGHT_DECAY = 1e-3, 1e-4
BATCH = 256  # with 1,024 ML-100K's error after 200 epochs is .61 instead of .55: too few steps
NEAREST, COMPARED = 10, 3000  # of the report: neighbours of an item; at most so many items are compared


class Catalog(NamedTuple):
    codes: np.ndarray  # (I, 3) int64, rows distinct
    E: np.ndarray  # (I, d) float32: decoded, less the catalog's mean, normalised
    titles: list  # (I,) str
    K: int  # codes a level
    item_ids: np.ndarray  # (I,) str


class RQVAE(nn.Module):
    """Encoder and decoder (MLPs), 3 codebooks of K codes of 32 numbers."""

    def __init__(self, d, K):
        super().__init__()
        self.encoder, self.decoder = mlp([d, *WIDTHS]), mlp([*WIDTHS[::-1], d])
        self.register_buffer("codebooks", torch.zeros(LEVELS, K, WIDTHS[-1]))
        self.register_buffer("mean", torch.zeros(d))  # of the decoded catalog
        # what the running means are made of; not kept
        self.register_buffer("counts", torch.ones(LEVELS, K), persistent=False)
        self.register_buffer("sums", torch.zeros(LEVELS, K, WIDTHS[-1]), persistent=False)

    def quantise(self, z):
        """(n, e) -> codes (n, 3), z_q (n, e), residuals (3, n, e) before each level."""
        codes, residuals, rest = [], [], z
        for codebook in self.codebooks:
            nearest = distances(rest, codebook).argmin(1)
            residuals.append(rest)
            codes.append(nearest)
            rest = rest - codebook[nearest]
        return torch.stack(codes, 1), z - rest, torch.stack(residuals)

    def losses(self, x):
        """(reconstruction, commitment), means over the rows of x (n, d), the codes (n, 3) and residuals (3, n, e)."""
        z = self.encoder(x)
        codes, _, residuals = self.quantise(z)
        chosen = torch.stack([book[codes[:, level]] for level, book in enumerate(self.codebooks)])  # (3, n, e)
        straight_through = z + (chosen.sum(0) - z).detach()
        reconstruction = (x - self.decoder(straight_through)).square().sum(1).mean()
        commitment = (residuals - chosen.detach()).square().sum((0, 2)).mean()
        return reconstruction, commitment, codes, residuals.detach()

    @torch.no_grad()
    def start_codebooks(self, x, seed):
        """k-means on the encoded catalog's residuals, level by level."""
        rest = self.encoder(x)
        for level in range(LEVELS):
            centres, members = k_means(rest.numpy(), self.codebooks.shape[1], seed + level)
            self.codebooks[level] = torch.from_numpy(centres)
            share = torch.from_numpy(members / len(x)) * min(BATCH, len(x))  # members in a batch
            self.counts[level] = share.clamp(min=DEAD)
            self.sums[level] = self.codebooks[level] * self.counts[level].unsqueeze(1)
            rest = rest - self.codebooks[level][distances(rest, self.codebooks[level]).argmin(1)]

    @torch.no_grad()
    def move_codes(self, codes, residuals, generator):
        """Running means of counts and sums; a code that is hardly used any more is put on a residual of the batch."""
        for level in range(LEVELS):
            members = nn.functional.one_hot(codes[:, level], self.counts.shape[1]).to(residuals.dtype)  # (n, K)
            self.counts[level] = DECAY * self.counts[level] + (1 - DECAY) * members.sum(0)
            self.sums[level] = DECAY * self.sums[level] + (1 - DECAY) * (members.T @ residuals[level])
            dead = (self.counts[level] < DEAD).nonzero().squeeze(1)
            drawn = torch.randint(len(codes), (len(dead),), generator=generator)
            self.counts[level, dead] = 1.0
            self.sums[level, dead] = residuals[level, drawn]
            self.codebooks[level] = self.sums[level] / self.counts[level].unsqueeze(1)

    @torch.no_grad()
    def decoded(self, codes):
        """(n, 3) codes -> (n, d) decoded sums of their vectors."""
        return self.decoder(sum(book[codes[:, level]] for level, book in enumerate(self.codebooks)))


def mlp(widths):
    layers = []
    for inner, outer in itertools.pairwise(widths):
        layers += [nn.Linear(inner, outer), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def distances(rows, codebook):
    """Squared distances (n, K)."""
    return rows.square().sum(1, keepdim=True) - 2 * rows @ codebook.T + codebook.square().sum(1)


def k_means(rows, K, seed):
    """(centres (K, e) float32, members (K,)); of fewer rows than K some are centres again, without members."""
    from sklearn.cluster import KMeans  # takes a second
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # small catalogs: more centres than distinct rows
        found = KMeans(min(K, len(rows)), n_init=1, random_state=seed).fit(rows)
    drawn = np.random.default_rng(seed).integers(len(rows), size=max(K - len(rows), 0))
    centres = np.concatenate([found.cluster_centers_, rows[drawn]]).astype(np.float32)
    return centres, np.bincount(found.labels_, minlength=K).astype(np.float32)


def train(x, K, seed, epochs):
    """An RQVAE of vectors (I, d) float32.  On the CPU, where it is the same every time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = RQVAE(x.shape[1], K)
    generator = torch.Generator().manual_seed(seed)
    model.start_codebooks(x, seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=WEIGHT_DECAY)
    for _ in tqdm(range(epochs), unit="epoch", desc="semantic IDs", disable=None):
        for rows in torch.randperm(len(x), generator=generator).split(BATCH):
            reconstruction, commitment, codes, residuals = model.losses(x[rows])
            optimizer.zero_grad()
            (reconstruction + COMMITMENT * commitment).backward()
            optimizer.step()
            model.move_codes(codes, residuals, generator)
    return model.requires_grad_(False)


def make_unique(codes, z, codebooks):
    """(I, 3) distinct codes.  Of items with one triple the one nearest to its level-3 code keeps it (ties by number);
    each other, in order of number, takes the nearest level-3 code whose triple is free, else with the next nearest
    level-2 code.  codes (I, 3), z (I, e), codebooks (3, K, e): arrays.  Raises InputError where all are taken.
    """
    codes, codebooks = codes.copy(), codebooks.astype(np.float64)
    rest = z - codebooks[0][codes[:, 0]]  # before level 2
    last = rest - codebooks[1][codes[:, 1]]  # before level 3
    distance = np.square(last - codebooks[2][codes[:, 2]]).sum(1)
    order = np.lexsort((np.arange(len(codes)), distance))
    _, first = np.unique(codes[order], axis=0, return_index=True)
    keepers = order[first]
    taken = set(map(tuple, codes[keepers].tolist()))
    for item in np.setdiff1d(np.arange(len(codes)), keepers):
        codes[item] = find_free_code(rest[item], codes[item], codebooks, taken)
        taken.add(tuple(codes[item].tolist()))
    return codes


def find_free_code(rest, code, codebooks, taken):
    """The nearest triple with this first code that is not taken.  rest (e,): the residual before level 2."""
    by_distance = np.argsort(np.square(rest - codebooks[1]).sum(1), kind="stable")
    own = code[1]
    for b in [own, *by_distance[by_distance != own]]:
        for c in np.argsort(np.square(rest - codebooks[1][b] - codebooks[2]).sum(1), kind="stable"):
            if (int(code[0]), int(b), int(c)) not in taken:
                return code[0], b, c
    # never with K of codes_for(): there are more pairs of codes below a first one than items
    K = codebooks.shape[1]
    raise InputError(f"--conrec_codes {K}: too small for unique IDs of all items; give a larger one")


def codes_for(n_items):
    """K: the power of two from 1.5 sqrt(items) up."""
    return 1 << max(int(np.ceil(np.log2(1.5 * np.sqrt(n_items)))), 1)


def make(vectors, K, seed, epochs, folder, *, item_ids, titles):
    """(Catalog, report dict), written into the folder, which exists.

    vectors: (I, d) float32 unit vectors, centred (item_vectors).
    Raises InputError where K is too small for unique IDs.
    """
    x = torch.from_numpy(np.ascontiguousarray(vectors, np.float32))
    model = train(x, K, seed, epochs)
    z = model.encoder(x)
    plain, z_q, _ = model.quantise(z)
    codes = make_unique(plain.numpy(), z.numpy().astype(np.float64), model.codebooks.numpy())
    model.mean = model.decoded(torch.from_numpy(codes)).mean(0)
    catalog = Catalog(codes, vectors_of(model, codes), list(titles), K, np.asarray(item_ids))
    error = (x - model.decoder(z_q)).norm(dim=1) / x.norm(dim=1).clamp(min=1e-12)
    report = {
        "items": len(codes),
        "codes": K,
        "used_codes": [len(plain[:, level].unique()) for level in range(LEVELS)],
        "relative_error": round(float(error.mean()), 4),
        "collisions": round(1 - len(plain.unique(dim=0)) / len(codes), 4),  # before the codes were made unique
        "neighbours_in_common": neighbours_in_common(unit(vectors), catalog.E, seed),
    }
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    write_atomically(folder / "rqvae.safetensors", lambda path: save_file(state, path))
    table = pd.DataFrame(codes, columns=["a", "b", "c"])
    table.insert(0, "item", catalog.item_ids)
    table["title"] = catalog.titles
    write_atomically(folder / "sids.csv", lambda path: table.to_csv(path, index=False))
    write_json(folder / "report.json", report)
    return catalog, report


def neighbours_in_common(one, other, seed):
    """Mean share of an item's ten nearest in one space that are among its ten nearest in the other.

    one, other: (I, d) unit vectors.
    """
    rows = np.arange(len(one))
    if len(one) > COMPARED:
        rows = np.sort(np.random.default_rng(seed).choice(len(one), COMPARED, replace=False))
    k = min(NEAREST, len(rows) - 1)
    nearest = []
    for side in (one[rows], other[rows]):
        similarity = side @ side.T
        np.fill_diagonal(similarity, -np.inf)
        nearest.append(np.argsort(-similarity, axis=1, kind="stable")[:, :k])
    shared = [len(np.intersect1d(*pair)) for pair in zip(*nearest, strict=True)]
    return round(float(np.mean(shared)) / k, 4)


def vectors_of(model, codes):
    """E (n, d) float32 of any codes (n, 3): decoded, less the catalog's mean, normalised."""
    decoded = model.decoded(torch.as_tensor(codes)) - model.mean
    return nn.functional.normalize(decoded, dim=1).numpy()


def read(folder):
    """The Catalog of a folder that make() wrote.  Raises InputError for files that are not its own."""
    try:
        table = pd.read_csv(folder / "sids.csv", dtype={"item": str, "title": str}, keep_default_na=False)
        codes = table[["a", "b", "c"]].to_numpy(np.int64)
        state = load_file(folder / "rqvae.safetensors")
        K, d = state["codebooks"].shape[1], len(state["mean"])
        model = RQVAE(d, K)
        model.load_state_dict(state)
        E = vectors_of(model.requires_grad_(False), codes)
    except (OSError, ValueError, KeyError, IndexError, RuntimeError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{folder}: its semantic IDs cannot be read ({reason}); delete the folder") from None
    return Catalog(codes, E, table.title.tolist(), K, table.item.to_numpy(str))
