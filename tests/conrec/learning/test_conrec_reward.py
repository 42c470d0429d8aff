"""Swing, target sets and the rewards of sampled items."""

import numpy as np
import pytest
import synthetic
import torch
from scipy.sparse import csr_matrix

from conrec.data.events import read
from conrec.data.instances import history, instances, matrix, window
from conrec.learning.reward import NEIGHBOURS, rewards, swing, swing_values, target_sets

NEGATIVES = csr_matrix(np.array([[1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 0, 1], [1, 0, 1, 0]], float))  # (U, I)
A, B, C, D = range(4)


# -------------------------------------------------------------------------------------------- Swing


def test_golden_values_of_swing():
    values = swing_values(NEGATIVES, above=2).toarray()
    assert values[A, B] == pytest.approx(0.309297, abs=1e-6)
    assert values[B, A] == pytest.approx(0.267859, abs=1e-6)
    assert values[A, C] == 0
    assert swing_values(NEGATIVES, above=1)[A, C] == pytest.approx(0.126990, abs=1e-6)


def double_loop(x, above):
    """The formula, written out."""
    n_users, n_items = x.shape
    values = np.zeros((n_items, n_items))
    for i in range(n_items):
        for j in range(n_items):
            both = [u for u in range(n_users) if x[u, i] and x[u, j]]
            if i == j or len(both) <= above:
                continue
            for u in both:
                for v in both:
                    if u != v:
                        weight = ((x[u].sum() + 15) * (x[v].sum() + 15)) ** -0.3
                        values[i, j] += weight / (x[u] * x[v]).sum()
            values[i, j] /= np.sqrt(x[:, j].sum())
    return values


@pytest.mark.parametrize("above", [1, 3, 5])
def test_swing_is_the_double_loop(above):
    x = (np.random.RandomState(above).rand(30, 14) < np.linspace(0.1, 0.6, 14)).astype(float)
    expected = double_loop(x, above)
    assert 10 < (expected > 0).sum() < 14 * 13
    np.testing.assert_allclose(swing_values(csr_matrix(x), above).toarray(), expected, atol=1e-12)


def test_neighbours_come_by_value_then_number():
    x = (np.random.RandomState(0).rand(30, 14) < 0.5).astype(float)
    x[:, 13] = x[:, 12]  # two equal items
    values, neighbours = double_loop(x, 5), swing(csr_matrix(x))
    for item, found in enumerate(neighbours):
        expected = sorted(np.flatnonzero(values[item] > 0), key=lambda j: (-round(values[item, j], 12), j))
        assert found.tolist() == expected
    assert any({12, 13} <= set(found) for found in neighbours)
    assert [len(found) for found in swing(NEGATIVES)] == [0, 0, 0, 0]


# ------------------------------------------------------------------------------------------ targets


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted") / "world"
    synthetic.write_planted_world(folder, n_users=60, n_items=80, n_events=50)
    return read(folder)[0]


def test_targets_are_the_window_with_its_nearest_neighbours(events):
    neighbours = swing(matrix(events, "negative"), above=1)
    moments = instances(events, "train", every=True)
    gts, fps = target_sets(events, *moments, neighbours)
    n_added = n_closed = 0
    for user, p, targets_, positives in zip(*moments, gts, fps, strict=True):
        items, ratings = window(events, user, p)
        assert positives.tolist() == items[ratings >= 4].tolist()
        own = items[ratings <= 2].tolist()
        closed = {*history(events, user, p)[0], *positives}
        added = {near for item in own for near in neighbours[item][:NEIGHBOURS]}
        n_closed += len(added & closed)
        assert targets_.tolist()[: len(own)] == own and own[0] == items[0]
        assert set(targets_.tolist()) == set(own) | (added - closed) and len(set(targets_)) == len(targets_)
        n_added += len(targets_) - len(own)
    assert n_added > 100 and n_closed > 100


# ------------------------------------------------------------------------------------------ rewards

E = torch.tensor([[1, 0], [0.6, 0.8], [0, 1], [-1, 0]])
SAMPLED, GTS, FPS = torch.tensor([[0, 1, 2, 3]]), torch.tensor([[0, 2]]), torch.tensor([[1]])


@pytest.mark.parametrize(
    "kind, gts, expected",
    [
        ("a", GTS, [1, 0.8, 1, 0]), ("b", GTS, [1, 0.8, 1, 0]), ("c", GTS, [0.7, 0.3, 0.6, 0.3]),
        ("d", GTS, [1, 0.3, 0.6, 0]), ("next", GTS[:, :1], [1, 0.6, 0, -1]),
        ("b", torch.tensor([[1]]), [0, 1, 0.8, 0]),  # nearness of .6, at the threshold, does not count
    ],
)  # fmt: skip
def test_golden_values_of_the_reward(kind, gts, expected):
    found = rewards(SAMPLED, gts, FPS, E, kind, 0.5)
    assert found.p[0].tolist() == pytest.approx([0.6, 1, 0.8, -0.6], abs=1e-6)
    assert found.r[0].tolist() == pytest.approx(expected, abs=1e-6)


def test_without_future_positives_there_is_no_penalty():
    found = rewards(SAMPLED, GTS, torch.tensor([[-1, -1]]), E, "c", 0.5)
    assert found.p[0].tolist() == [0, 0, 0, 0] and torch.equal(found.r, found.n)
    assert found.n[0].tolist() == pytest.approx([1, 0.8, 1, 0], abs=1e-6)


def test_leading_codes_in_common():
    codes = torch.tensor([[1, 2, 3], [1, 2, 4], [1, 5, 3], [6, 2, 3], [1, 2, 3]])
    vectors = torch.nn.functional.normalize(torch.ones(5, 2), dim=1)
    sampled = torch.tensor([[0, 1, 2, 3]])
    assert rewards(sampled, torch.tensor([[4, -1]]), FPS, vectors, "e", codes=codes).r[0].tolist() == pytest.approx(
        [1, 0.1, 0.01, 0]
    )
    found = rewards(sampled, torch.tensor([[2, 3]]), FPS, vectors, "e", codes=codes).r[0]
    assert found.tolist() == pytest.approx([0.01, 0.01, 1, 1])  # the best of both


def test_laws_of_the_reward():
    generator = torch.Generator().manual_seed(0)
    vectors = torch.nn.functional.normalize(torch.randn(50, 8, generator=generator), dim=1)
    sampled = torch.randint(50, (6, 5), generator=generator)
    gts, fps = torch.randint(50, (6, 4), generator=generator), torch.randint(50, (6, 3), generator=generator)
    codes = torch.randint(3, (50, 3), generator=generator)
    assert torch.equal(rewards(sampled, gts, fps, vectors, "c", 0).r, rewards(sampled, gts, fps, vectors, "a").r)

    # neither padding nor the order of a set changes anything
    wider = torch.nn.functional.pad(gts, (0, 3), value=-1), torch.nn.functional.pad(fps, (2, 1), value=-1)
    for kind in ("next", "a", "b", "c", "d", "e"):
        plain = rewards(sampled, gts, fps, vectors, kind, codes=codes)
        for ours, theirs in zip(plain, rewards(sampled, *wider, vectors, kind, codes=codes), strict=True):
            torch.testing.assert_close(ours, theirs)
        flipped = rewards(sampled, gts.flip(1), fps.flip(1), vectors, kind, codes=codes)
        torch.testing.assert_close(plain.r, flipped.r)
        assert plain.r.std() > 0.01
