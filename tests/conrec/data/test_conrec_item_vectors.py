"""What IDs are made of: which items are rated near each other in train, beside vectors of texts or of one's own."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import synthetic

from conrec.data import item_vectors
from conrec.data.events import read
from preparation.rules import TRAIN


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return synthetic.write_planted(tmp_path_factory.mktemp("vectors"), n_users=40, n_items=90, n_events=70)


@pytest.fixture(scope="module")
def events(world):
    return read(world)[0]


def test_neighbours_and_their_information_are_those_of_plain_loops(events):
    near = np.zeros((events.n_items, events.n_items))
    for user in range(events.n_users):
        items = events.items[events.first[user] :][: events.cuts[user, 0]]
        for one, other in itertools.permutations(range(len(items)), 2):
            if abs(one - other) <= 30:
                near[items[one], items[other]] += np.exp(-abs(one - other) / 10)
    found = item_vectors.neighbours(events)
    assert max(events.cuts[:, 0]) > 31  # some lie too far apart
    np.testing.assert_allclose(found.toarray(), near, atol=1e-12)
    information = np.zeros_like(near)
    share = near.sum(1) ** 0.75 / (near.sum(1) ** 0.75).sum()
    for item, neighbour in zip(*near.nonzero(), strict=True):
        ratio = near[item, neighbour] / near[item].sum() / share[neighbour]
        information[item, neighbour] = max(np.log(ratio), 0)
    np.testing.assert_allclose(item_vectors.mutual_information(found).toarray(), information, atol=1e-12)


def test_vectors_of_neighbours_are_those_of_the_plain_factors(events):
    information = item_vectors.mutual_information(item_vectors.neighbours(events)).toarray()
    U, S, _ = np.linalg.svd(information)
    expected = U[:, :64] * np.sqrt(S[:64])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True).clip(1e-12)
    vectors = item_vectors.neighbour_vectors(events)
    assert vectors.shape == (90, 64) and vectors.dtype == np.float32
    np.testing.assert_allclose(vectors @ vectors.T, expected @ expected.T, atol=0.02)  # signs are free
    assert np.array_equal(vectors, item_vectors.neighbour_vectors(events))


def test_neighbours_know_nothing_of_validation_and_test(events):
    """Other items there leave the vectors as they are; an item that is only there has none."""
    others, later = events.items.copy(), np.flatnonzero(events.parts != TRAIN)
    others[later] = np.random.default_rng(0).permutation(others[later])
    others[others == 7] = np.where(events.parts[others == 7] == TRAIN, 8, 7)
    changed, before = events._replace(items=others), events._replace(items=np.where(events.items == 7, 8, events.items))
    vectors = item_vectors.neighbour_vectors(changed)
    assert np.array_equal(vectors, item_vectors.neighbour_vectors(before)) and not vectors[7].any()
    train = np.unique(others[events.parts == TRAIN])
    assert np.linalg.norm(vectors[train], axis=1) == pytest.approx(1, abs=1e-5)


def test_few_items_have_vectors_as_wide(tmp_path):
    synthetic.write_planted_world(tmp_path / "few", n_users=10, n_items=40, n_events=20)
    vectors = item_vectors.neighbour_vectors(read(tmp_path / "few")[0])
    assert vectors.shape == (40, 64) and np.isfinite(vectors).all() and not vectors[:, 40:].any()


def test_both_weigh_alike_and_one_can_be_had_alone(world, events):
    path = world.parent / "vectors.npz"
    options = SimpleNamespace(conrec_embeddings=path, conrec_ids="both")
    both = item_vectors.ItemVectors([], events, options)
    options.conrec_ids = "vectors"
    alone = item_vectors.ItemVectors([], events, options)
    assert both.settings == alone.settings | {"neighbours": item_vectors.NEIGHBOURS_VERSION}
    given, vectors = alone.make("cpu"), both.make("cpu")
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(vectors.mean(0), 0, atol=0.02)
    parts = np.concatenate([given, item_vectors.neighbour_vectors(events)], 1)
    parts -= parts.mean(0)
    similar = parts @ parts.T / np.linalg.norm(parts, axis=1) / np.linalg.norm(parts, axis=1)[:, None]
    np.testing.assert_allclose(vectors @ vectors.T, similar, atol=1e-5)
