"""Semantic IDs: residual quantisation, running means, unique codes, what their folder holds and reports."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from conrec.data import semantic_ids
from utils import InputError

# section 4's example: three codebooks of two codes in the plane
BOOKS = np.array([[[1, 0], [0, 1]], [[0.2, 0], [0, 0.2]], [[0.05, 0], [0, -0.05]]])


def plane(books=BOOKS):
    """An RQVAE whose codebooks are these; quantise() is all that is asked of it."""
    model = semantic_ids.RQVAE(4, books.shape[1]).requires_grad_(False)
    model.codebooks = torch.from_numpy(books)
    return model


def clusters(n=300, d=24, seed=0):
    """Unit vectors around twelve centres, less their mean."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(12, d))[random.integers(12, size=n)] + 0.5 * random.normal(size=(n, d))
    rows -= rows.mean(0)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def make(folder, n=300, K=8, seed=0, epochs=30):
    ids, titles = ([f"{letter}{item}" for item in range(n)] for letter in ("i", "Film "))
    return semantic_ids.make(clusters(n), K, seed, epochs, folder, item_ids=ids, titles=titles)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sids")
    return folder, *make(folder)


def test_residual_quantisation_is_the_golden_one():
    z = torch.tensor([[0.9, 0.4], [0.1, 0.8]], dtype=torch.float64)
    codes, z_q, residuals = plane().quantise(z)
    assert codes.tolist() == [[0, 1, 0], [1, 0, 1]]
    assert (z - z_q).flatten().tolist() == pytest.approx([-0.15, 0.2, -0.1, -0.15])
    rest = torch.tensor([[-0.1, 0.4], [0.1, -0.2]], dtype=torch.float64)
    assert torch.equal(residuals[0], z) and torch.allclose(residuals[1], rest)


def test_the_loss_is_that_of_the_formula_and_its_gradient_goes_straight_through():
    torch.manual_seed(0)
    model = semantic_ids.RQVAE(6, 4)
    model.codebooks.normal_(0, 0.1)
    x = torch.randn(5, 6)
    reconstruction, commitment, codes, _ = model.losses(x)
    z = model.encoder(x)
    chosen = [model.codebooks[level][codes[:, level]] for level in range(3)]
    assert torch.allclose(reconstruction, (x - model.decoder(sum(chosen))).square().sum(1).mean(), rtol=1e-5)
    rests = [z, z - chosen[0], z - chosen[0] - chosen[1]]
    expected = sum((rest - code).square().sum(1).mean() for rest, code in zip(rests, chosen, strict=True))
    assert torch.allclose(commitment, expected, rtol=1e-5)
    # the decoder's gradient at z_q reaches the encoder as if z were z_q
    z_q = sum(chosen).detach().requires_grad_(True)
    (x - model.decoder(z_q)).square().sum(1).mean().backward()
    through = torch.autograd.grad(reconstruction, list(model.encoder.parameters()), retain_graph=True)
    expected = torch.autograd.grad(z, list(model.encoder.parameters()), z_q.grad)
    for found, wanted in zip(through, expected, strict=True):
        assert torch.allclose(found, wanted, atol=1e-6)


def test_codes_are_the_running_means_of_their_residuals():
    random = np.random.default_rng(0)
    model = semantic_ids.RQVAE(4, 3)
    counts, sums = np.full((3, 3), 2.0), random.normal(size=(3, 3, 32))
    model.counts, model.sums = torch.from_numpy(counts.copy()), torch.from_numpy(sums.copy())
    model.codebooks = model.sums / 2
    generator = torch.Generator().manual_seed(0)
    for _ in range(4):
        codes = torch.from_numpy(random.integers(3, size=(20, 3)))
        residuals = torch.from_numpy(random.normal(size=(3, 20, 32)))
        model.move_codes(codes, residuals, generator)
        for level in range(3):
            for code in range(3):
                members = residuals[level][codes[:, level] == code].numpy()
                counts[level, code] = 0.95 * counts[level, code] + 0.05 * len(members)
                sums[level, code] = 0.95 * sums[level, code] + 0.05 * members.sum(0)
    assert np.allclose(model.codebooks, sums / counts[..., None])


def test_a_code_that_is_not_used_comes_back_as_a_residual():
    model = semantic_ids.RQVAE(4, 2)
    codes = torch.zeros(9, 3, dtype=torch.long)  # code 1 is never the nearest
    residuals = torch.randn(3, 9, 32, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(0)
    model.move_codes(codes, residuals, generator)
    assert (model.counts[:, 1] == 0.95).all()
    for _ in range(100):
        model.move_codes(codes, residuals, generator)
    assert (model.counts[:, 1] > 0.049).all()
    for level in range(3):
        gaps = (model.codebooks[level, 1] - residuals[level]).abs().amax(1)
        assert gaps.min() < 1e-6


def test_k_means_starts_the_codebooks():
    vectors = torch.from_numpy(clusters())
    torch.manual_seed(0)
    model = semantic_ids.RQVAE(24, 8).requires_grad_(False)
    model.start_codebooks(vectors, 0)
    z = model.encoder(vectors)
    for _ in range(2):
        codes, _, residuals = model.quantise(z)
        for level in range(3):
            for code in range(8):  # a centre of k-means is the mean of its members
                members = residuals[level][codes[:, level] == code]
                assert torch.allclose(members.mean(0), model.codebooks[level, code], atol=1e-4)
    few = semantic_ids.RQVAE(24, 8)
    few.start_codebooks(vectors[:5], 0)  # fewer items than codes
    assert torch.isfinite(few.codebooks).all()


def test_of_items_with_one_triple_the_nearest_keeps_it():
    z = np.array([[0.9, 0.4], [1.05, 0.2], [1.05, 0.2], [0.1, 0.8]])
    plain = plane().quantise(torch.from_numpy(z))[0].numpy()
    assert plain.tolist() == [[0, 1, 0], [0, 1, 0], [0, 1, 0], [1, 0, 1]]
    codes = semantic_ids.make_unique(plain, z, BOOKS)
    # item 1 lies on the code; of the others item 0 goes first, to the other level-3 code; for item 2 nothing is left
    # below level-2 code 1, so it takes code 0 there, and the nearer one below it
    assert codes.tolist() == [[0, 1, 1], [0, 1, 0], [0, 0, 0], [1, 0, 1]]


def test_unique_ids_are_unique_honest_and_those_of_the_plain_codes_where_there_is_no_collision():
    random = np.random.default_rng(0)
    books = random.normal(size=(3, 4, 5)) / np.array([1, 2, 4]).reshape(3, 1, 1)
    z = random.normal(size=(30, 5))
    plain = plane(books).quantise(torch.from_numpy(z))[0].numpy()
    codes = semantic_ids.make_unique(plain, z, books)
    assert len(np.unique(codes, axis=0)) == 30 and (codes[:, 0] == plain[:, 0]).all()
    found, inverse = np.unique(plain, axis=0, return_inverse=True)
    assert len(found) < 30  # one of each group keeps its codes, also where it is alone
    assert np.bincount(inverse[(codes == plain).all(1)]).tolist() == [1] * len(found)


def test_too_few_codes_are_refused(tmp_path):
    with pytest.raises(InputError, match="--conrec_codes 2: too small for unique IDs"):
        make(tmp_path, n=40, K=2, epochs=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("n, K", [(20, 8), (1682, 64), (3883, 128), (1, 2)])
def test_codes_for_a_catalog(n, K):
    assert semantic_ids.codes_for(n) == K


# --------------------------------------------------------------------------------------- the folder


def test_what_is_read_is_what_was_made_unique_and_in_centred_units(made):
    folder, catalog, report = made
    again = semantic_ids.read(folder)
    assert (again.codes == catalog.codes).all() and again.K == catalog.K == 8
    assert again.titles == catalog.titles and again.item_ids.tolist() == catalog.item_ids.tolist()
    assert np.allclose(again.E, catalog.E, atol=1e-6) and catalog.E.dtype == np.float32
    assert json.loads((folder / "report.json").read_text()) == report
    table = pd.read_csv(folder / "sids.csv")
    assert table.columns.tolist() == ["item", "a", "b", "c", "title"]
    assert (table[["a", "b", "c"]].to_numpy() == catalog.codes).all()
    assert len(np.unique(catalog.codes, axis=0)) == 300 and catalog.codes.max() < 8

    model = semantic_ids.RQVAE(24, 8).requires_grad_(False)
    model.load_state_dict(load_file(folder / "rqvae.safetensors"))
    decoded = model.decoded(torch.from_numpy(catalog.codes)).numpy()
    centred = decoded - decoded.mean(0)
    expected = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    assert np.allclose(catalog.E, expected, atol=1e-5)
    vectors = clusters()
    similar = np.corrcoef((vectors @ vectors.T).ravel(), (catalog.E @ catalog.E.T).ravel())[0, 1]
    assert similar > 0.6  # .73 found


def test_the_seed_decides_and_training_pays(made, tmp_path):
    _, catalog, report = made
    assert (make(tmp_path)[0].codes == catalog.codes).all()
    other, untrained = make(tmp_path, seed=1, epochs=0)
    assert (other.codes != catalog.codes).any()
    assert report["relative_error"] < 0.85 * untrained["relative_error"]


def test_the_report_counts_what_there_is(made):
    report = made[2]
    assert (report["items"], report["codes"], report["used_codes"]) == (300, 8, [8, 8, 8])
    assert all(0 < report[name] < 1 for name in ("collisions", "relative_error", "neighbours_in_common"))
    one = clusters(n=60)
    assert semantic_ids.neighbours_in_common(one, one, 0) == 1
    shuffled = one[np.random.default_rng(0).permutation(60)]
    assert semantic_ids.neighbours_in_common(one, shuffled, 0) == pytest.approx(10 / 59, abs=0.06)


@pytest.mark.parametrize("broken", ["sids.csv", "rqvae.safetensors"])
def test_a_folder_that_is_not_its_own_is_refused(tmp_path, made, broken):
    shutil.copytree(made[0], tmp_path / "of")
    (tmp_path / "of" / broken).write_text("item,a,b\n1,2,3\n")
    with pytest.raises(InputError, match=r"its semantic IDs cannot be read \(.*\); delete the folder"):
        semantic_ids.read(tmp_path / "of")
    (tmp_path / "of" / broken).unlink()
    with pytest.raises(InputError, match="its semantic IDs cannot be read"):
        semantic_ids.read(tmp_path / "of")
