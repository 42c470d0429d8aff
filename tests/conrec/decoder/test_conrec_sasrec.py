"""SASRec: its rows, its loss against a plain sum, and a rule of order that it learns."""

import numpy as np
import pytest
import torch

from conrec.decoder.sasrec import BOS, FIRST, NEGATIVES, PAD, POSITIVES, SASRec

ITEMS = 12
ROWS = [([3], None), ([1, 2, 5], None), ([4, 4, 0], [7, 8]), ([9, 11], [6])]


@pytest.fixture(scope="module")
def model():
    made = SASRec(ITEMS, seed=0)
    with torch.no_grad():
        weight = made.model.get_input_embeddings().weight
        weight += 0.2 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    return made


def test_rows(model):
    assert model.row([3]) == [BOS, NEGATIVES, FIRST + 3]
    assert model.row([3, 0], [7]) == [BOS, POSITIVES, FIRST + 7, NEGATIVES, FIRST + 3, FIRST]
    assert model.row([3], []) == model.row([3])
    assert PAD not in model.row(range(12))


def test_what_has_no_room_goes_the_oldest_positives_first(model):
    room = model.context
    row = model.row([5] * (room - 5), [1, 2, 3])
    assert len(row) == room and row[:4] == [BOS, POSITIVES, FIRST + 2, FIRST + 3] and row[4] == NEGATIVES
    row = model.row([4] + [5] * (room - 2), [1, 2, 3])
    assert len(row) == room and row[:3] == [BOS, NEGATIVES, FIRST + 5]


def log_chances(model, row):
    """(tokens, I) log-probabilities of the items after each token of one row."""
    return model.model(input_ids=torch.tensor([row])).logits[0, :, FIRST:].log_softmax(1)


@pytest.mark.parametrize("last", [False, True])
def test_the_loss_is_the_mean_over_negatives(model, last):
    rows = [model.row(*row) for row in ROWS]
    terms = []
    for row, (negatives, _) in zip(rows, ROWS, strict=True):
        start = row.index(NEGATIVES)
        found = [-log_chances(model, row)[start + place, item] for place, item in enumerate(negatives)]
        terms += found[-1:] if last else found
    assert torch.allclose(model.loss(rows, last), torch.stack(terms).mean(), atol=1e-5)


def test_scores_are_those_of_each_row(model):
    rows = [model.row(*row) for row in ROWS]
    scores = model.scores(rows)
    assert scores.shape == (4, ITEMS) and np.allclose(np.exp(scores).sum(1), 1, atol=1e-5)
    for row, score in zip(rows, scores, strict=True):
        assert np.allclose(score, log_chances(model, row)[-1].detach().numpy(), atol=1e-5)
    assert np.allclose(model.scores(rows, budget=1), scores, atol=1e-5)


def test_it_learns_which_item_follows():
    made, random = SASRec(ITEMS, seed=0), np.random.default_rng(0)
    optimizer = torch.optim.AdamW(made.trainable().values(), lr=1e-3)
    for _ in range(60):  # after item i comes i + 1
        rows = [made.row((first + np.arange(5)) % ITEMS) for first in random.integers(ITEMS, size=16)]
        loss = made.loss(rows)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    scores = made.scores([made.row([item]) for item in range(ITEMS)])
    assert (scores.argmax(1) == (np.arange(ITEMS) + 1) % ITEMS).all()
    assert np.exp(scores.max(1)).min() > 0.5


def test_saved_and_read_again(model, tmp_path):
    model.save(tmp_path)
    other = SASRec(ITEMS, seed=5)
    rows = [model.row(*row) for row in ROWS]
    assert not np.allclose(other.scores(rows), model.scores(rows))
    other.read_weights(tmp_path)
    assert np.array_equal(other.scores(rows), model.scores(rows))
