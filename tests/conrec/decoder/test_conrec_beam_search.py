"""Beam search and scores of items, against the exhaustive ranking."""

import conrec_models
import numpy as np
import pytest
import torch

from conrec.decoder import beam_search

RANDOM = np.random.default_rng(2)
PROMPTS = [RANDOM.integers(0, 30, length).tolist() for length in (9, 2, 25)]
CLOSED = [np.array([], np.int64), np.array([4, 7, 7, 11]), np.arange(0, 50)]


@pytest.fixture(scope="module")
def made():
    return conrec_models.tiny()


def exhaustive(model, trie, prompts, closed):
    """All open items by score, as GRPO's policy has it: [(items, scores)]."""
    everything = torch.arange(len(trie.path)).expand(len(prompts), -1)
    with torch.no_grad():
        scores = model.branch(prompts, everything, trie, trie.closed(closed)).sum(2).numpy()
    found = []
    for row, shut in zip(scores, closed, strict=True):
        open_items = np.setdiff1d(np.arange(len(row)), shut)
        order = open_items[np.argsort(-row[open_items], kind="stable")]
        found.append((order, row[order]))
    return found


def test_enough_beams_give_the_exhaustive_ranking(made):
    model, trie, catalog = made
    everything = len(catalog.codes)
    items, logprobs = beam_search.beams(model, trie, PROMPTS, CLOSED, n_beams=everything, n_items=everything)
    for row, (expected, scores) in enumerate(exhaustive(model, trie, PROMPTS, CLOSED)):
        n = len(expected)
        assert items[row, :n].tolist() == expected.tolist()
        assert np.allclose(logprobs[row, :n], scores, atol=1e-5)
        assert np.exp(logprobs[row, :n]).sum() == pytest.approx(1, abs=1e-5)
        assert (items[row, n:] == -1).all() and np.isneginf(logprobs[row, n:]).all()
    assert (items[2] >= 0).sum() == 10  # of 60 items 50 are closed


def test_few_beams_give_distinct_open_items_with_their_own_scores(made):
    model, trie, _ = made
    items, logprobs = beam_search.beams(model, trie, PROMPTS, CLOSED, n_beams=8, n_items=8)
    for row, shut in enumerate(CLOSED):
        assert len(set(items[row].tolist())) == 8 and not np.isin(items[row], shut).any()
        assert (items[row] >= 0).all() and (np.diff(logprobs[row]) <= 0).all()
    for row, (order, scores) in enumerate(exhaustive(model, trie, PROMPTS, CLOSED)):
        of_item = dict(zip(order.tolist(), scores, strict=True))
        assert np.allclose([of_item[item] for item in items[row].tolist()], logprobs[row], atol=1e-5)


def test_the_history_never_costs_a_beam(made):
    """With as many beams as items are left, all of them come out, wherever the closed ones are."""
    model, trie, catalog = made
    left = [np.random.default_rng(seed).permutation(len(catalog.codes))[:6] for seed in range(5)]
    shut = [np.setdiff1d(np.arange(len(catalog.codes)), items) for items in left]
    items, _ = beam_search.beams(model, trie, PROMPTS[:1] * 5, shut, n_beams=6, n_items=6)
    assert np.array_equal(np.sort(items), np.sort(left))


def test_ties_go_by_item_number(made):
    model, trie, _ = made
    weights = model.state()
    with torch.no_grad():
        for weight in model.trainable().values():
            weight.zero_()  # every code is as likely as its siblings
    try:
        items, logprobs = beam_search.beams(model, trie, PROMPTS[:1], CLOSED[:1], n_beams=60, n_items=60)
    finally:
        model.restore(weights)
    siblings = {}
    for item, score in zip(items[0].tolist(), logprobs[0].tolist(), strict=True):
        siblings.setdefault(round(score, 5), []).append(item)
    assert max(map(len, siblings.values())) > 5
    assert all(tied == sorted(tied) for tied in siblings.values())


def test_order_and_batches_of_users_change_nothing(made):
    model, trie, _ = made
    whole = beam_search.beams(model, trie, PROMPTS, CLOSED, n_beams=30, n_items=10)
    alone = beam_search.beams(model, trie, PROMPTS, CLOSED, n_beams=30, n_items=10, budget=1)
    turned = beam_search.beams(model, trie, PROMPTS[::-1], CLOSED[::-1], n_beams=30, n_items=10)
    assert (whole[0] == alone[0]).all() and (whole[0] == turned[0][::-1]).all()
    assert np.allclose(whole[1], alone[1], atol=1e-5)


def test_scores_of_items_and_of_none(made):
    model, trie, _ = made
    items = np.array([[3, -1, 5], [1, 2, -1], [-1, -1, 59]])
    scores = beam_search.score_items(model, trie, PROMPTS, items)
    assert (np.isneginf(scores) == (items < 0)).all()
    for row, (order, expected) in enumerate(exhaustive(model, trie, PROMPTS, [CLOSED[0]] * 3)):
        for item, score in zip(items[row], scores[row], strict=True):
            if item >= 0:
                assert score == pytest.approx(expected[order == item][0], abs=1e-5)
