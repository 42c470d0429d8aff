"""The tiny decoder and a prompt's branches, against ordinary rows."""

import conrec_models
import numpy as np
import pytest
import torch

from conrec.decoder.backbone import tiny
from conrec.decoder.shared_prefix import Reading
from utils import InputError

RANDOM = np.random.default_rng(1)
PROMPTS = [RANDOM.integers(0, 30, length).tolist() for length in (3, 17, 1, 40)]
ITEMS = torch.from_numpy(RANDOM.integers(0, 40, (len(PROMPTS), 6)))


@pytest.fixture(scope="module")
def made():
    return conrec_models.tiny()


@pytest.fixture
def model(made):
    made[0].model.eval().zero_grad()
    return made[0]


@pytest.fixture(scope="module")
def trie(made):
    return made[1]


def test_logits_of_codes_are_those_of_all_tokens(model):
    codes = slice(model.first, model.first + 3 * model.K)
    assert torch.allclose(model.code_logits(PROMPTS, 5), model.logits(PROMPTS, 5)[..., codes], atol=1e-5)


def test_branches_are_plain_rows_in_values_and_gradients(model, made):
    _, trie, catalog = made
    logprobs = model.branch(PROMPTS, ITEMS, trie)
    assert logprobs.shape == (*ITEMS.shape, 3) and logprobs.exp().std() > 0.05
    plain = conrec_models.by_whole_rows(model, catalog, PROMPTS, ITEMS)
    assert torch.allclose(logprobs, plain, atol=2e-6, rtol=1e-5)
    found, expected = conrec_models.gradients(model, logprobs), conrec_models.gradients(model, plain)
    for name in expected:
        assert expected[name].norm() > 0
        assert (found[name] - expected[name]).norm() < 1e-5 * expected[name].norm(), name


def test_continuations_can_share_a_parent_and_leave_out_others(model, made):
    """As beams do: columns 0 and 2 grow out of column 1, column 1 out of column 0."""
    _, trie, catalog = made
    codes, nodes = torch.from_numpy(catalog.codes), torch.from_numpy(trie.path)
    crowded = np.flatnonzero(trie.below[trie.path[:, 1]] > 2)  # their third code is a choice
    one = int(crowded[0])
    other = int(crowded[trie.path[crowded, 1] != trie.path[one, 1]][0])
    first = torch.tensor([[one, other]])
    following, parents = torch.tensor([[other, one, other]]), torch.tensor([[1, 0, 1]])
    read = Reading(model, [PROMPTS[1]])
    read.start(trie)
    read.extend(trie, codes[first, 0], nodes[first, 0])
    logprobs = read.extend(trie, codes[following, 1], nodes[following, 1], parents)
    expected = conrec_models.by_whole_rows(model, catalog, [PROMPTS[1]], following)[..., 2]
    assert (expected < -0.01).all()  # a choice
    assert torch.allclose(logprobs.gather(2, codes[following, 2:]).squeeze(2), expected, atol=2e-6)


@pytest.mark.parametrize("broken", ["mask", "position"])
def test_a_model_that_reads_branches_otherwise_is_refused(model, monkeypatch, broken):
    forward = model.forward

    def other(ids, mask, positions, cache=None, keep=0):
        if mask.ndim == 4 and broken == "mask":  # every column sees all columns
            mask = mask.new_ones(mask.shape)
        if mask.ndim == 4 and broken == "position":
            positions = positions + 1
        return forward(ids, mask, positions, cache, keep)

    model.check_reading()
    monkeypatch.setattr(model, "forward", other)
    with pytest.raises(InputError, match="takes no mask of our own"):
        model.check_reading()


def test_logits_of_padded_rows_are_those_of_each_row(model):
    together = model.logits(PROMPTS)
    for place, prompt in enumerate(PROMPTS):
        alone = model.model(input_ids=torch.tensor([prompt])).logits[0]
        assert torch.allclose(together[place, -len(prompt) :], alone, atol=2e-5)
    # a product of fewer rows may be summed in another order (it is with AVX2): the last digits are not the test
    torch.testing.assert_close(model.logits(PROMPTS, keep=2), together[:, -2:], atol=2e-5, rtol=0)


def test_the_size_is_that_of_the_text_and_the_seed_alone_decides():
    catalog = conrec_models.catalog()
    state = torch.random.get_rng_state()
    one, same, other = (tiny(catalog, seed) for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), state)
    weights = [model.model.get_input_embeddings().weight for model in (one, same, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    size = sum(weight.numel() for weight in one.trainable().values())
    assert size == 1_018_240 + 128 * (one.vocabulary.size - 1800)


def test_the_reference_stays_as_the_policy_moves(model, trie):
    before = model.branch(PROMPTS, ITEMS, trie).detach()
    state = model.state()
    model.keep_reference()
    with torch.no_grad():
        for weight in model.trainable().values():
            weight += 0.01 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    moved = model.branch(PROMPTS, ITEMS, trie)
    with model.reference():
        reference = model.branch(PROMPTS, ITEMS, trie)
    assert not reference.requires_grad and torch.equal(reference, before)
    assert torch.equal(model.branch(PROMPTS, ITEMS, trie), moved) and not torch.equal(moved, before)
    conrec_models.gradients(model, moved)  # made before the swap, still of the policy's own weights
    with pytest.raises(KeyError), model.reference():
        raise KeyError
    assert torch.equal(model.branch(PROMPTS, ITEMS, trie), moved)
    model.restore(state)
    assert torch.equal(model.branch(PROMPTS, ITEMS, trie), before)


def test_saved_and_read_again(model, trie, tmp_path):
    before = model.branch(PROMPTS, ITEMS, trie)
    model.save(tmp_path)
    other, _, _ = conrec_models.tiny(seed=9)
    assert not torch.allclose(other.branch(PROMPTS, ITEMS, trie), before)
    other.read_weights(tmp_path)
    assert torch.equal(other.branch(PROMPTS, ITEMS, trie), before)
    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert torch.equal(plain(torch.tensor(PROMPTS[:1])).logits, model.model(torch.tensor(PROMPTS[:1])).logits)


def test_weights_of_another_catalog_are_refused(model, tmp_path):
    model.save(tmp_path)
    other, _, _ = conrec_models.tiny(conrec_models.catalog(n=30, K=6))
    with pytest.raises(InputError, match="not those of the tiny decoder"):
        other.read_weights(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(InputError, match=r"model\.safetensors: cannot be read"):
        model.read_weights(tmp_path)
