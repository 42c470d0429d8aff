"""SASRec: its rows, its loss against a plain sum, and a rule of order that it learns."""

import numpy as np
import pytest
import torch

from conrec.data.events import DISLIKE, LIKE, NEUTRAL
from conrec.decoder.sasrec import BOS, FIRST, PAD, SIGN, SASRec

ITEMS = 12
ROWS = [([3], [DISLIKE]), ([1, 2, 5], [LIKE, DISLIKE, NEUTRAL]), ([4, 4, 0], [DISLIKE] * 3), ([9, 11], [LIKE] * 2)]


@pytest.fixture(scope="module")
def model():
    made = SASRec(ITEMS, seed=0)
    with torch.no_grad():
        weight = made.model.get_input_embeddings().weight
        weight += 0.2 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    return made


def test_rows(model):
    assert model.row([3], [DISLIKE]) == [BOS, SIGN + DISLIKE, FIRST + 3]
    row = [BOS, SIGN + LIKE, FIRST + 7, SIGN + NEUTRAL, FIRST]
    assert model.row([7, 0], [LIKE, NEUTRAL]) == row
    assert model.row([7, 0], [LIKE, NEUTRAL], DISLIKE) == [*row, SIGN + DISLIKE]
    assert model.row([], [], LIKE) == [BOS, SIGN + LIKE]
    assert len({PAD, BOS, *(SIGN + sign for sign in (DISLIKE, NEUTRAL, LIKE)), FIRST}) == 6
    row = model.row([1, 2, 3] + [5] * 509, [LIKE] * 512, DISLIKE)  # the oldest events go where there is no room
    assert len(row) == model.context and row[:3] == [BOS, SIGN + LIKE, FIRST + 2] and row[-1] == SIGN + DISLIKE


def log_chances(model, row):
    """(tokens, I) log-probabilities of the items after each token of one row."""
    return model.model(input_ids=torch.tensor([row])).logits[0, :, FIRST:].log_softmax(1)


def test_the_loss_is_the_mean_over_all_items(model):
    terms = []
    for items, signs in ROWS:
        chances = log_chances(model, model.row(items, signs))
        terms += [-chances[1 + 2 * place, item] for place, item in enumerate(items)]  # after its sign
    assert torch.allclose(model.loss([model.row(*row) for row in ROWS]), torch.stack(terms).mean(), atol=1e-5)


def test_scores_are_those_of_each_row(model):
    rows = [model.row(*row, DISLIKE) for row in ROWS]
    scores = model.scores(rows)
    assert scores.shape == (4, ITEMS) and np.allclose(np.exp(scores).sum(1), 1, atol=1e-5)
    for row, score in zip(rows, scores, strict=True):
        assert np.allclose(score, log_chances(model, row)[-1].detach().numpy(), atol=1e-5)
    assert np.allclose(model.scores(rows, budget=1), scores, atol=1e-5)


def test_it_learns_which_item_follows_and_what_the_sign_asks_for():
    made, random = SASRec(ITEMS, seed=0), np.random.default_rng(0)
    optimizer = torch.optim.AdamW(made.trainable().values(), lr=5e-3)
    for _ in range(70):  # after item i comes i + 1 where it is liked, i + 2 where it is disliked
        rows = []
        for item in random.integers(ITEMS, size=16):
            signs = random.choice([DISLIKE, LIKE], size=5)
            steps = np.where(signs == LIKE, 1, 2)
            rows.append(made.row((item + np.cumsum(steps)) % ITEMS, signs))
        loss = made.loss(rows)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    made.model.eval()
    for asked, step in ((LIKE, 1), (DISLIKE, 2)):
        scores = made.scores([made.row([item], [LIKE], asked) for item in range(ITEMS)])
        assert (scores.argmax(1) == (np.arange(ITEMS) + step) % ITEMS).sum() > 10  # of 12
