"""The tiny decoder and a prompt's branches, against ordinary rows."""

import conrec_models
import numpy as np
import pytest
import torch

from conrec.decoder import backbone, shared_prefix
from utils import InputError

RANDOM = np.random.default_rng(1)
PROMPTS = [RANDOM.integers(0, 30, length).tolist() for length in (3, 17, 1, 40)]
ITEMS = torch.from_numpy(RANDOM.integers(0, 40, (len(PROMPTS), 6)))


@pytest.fixture(scope="module")
def made():
    return conrec_models.tiny()


@pytest.fixture
def model(made):
    made[0].branches = True
    made[0].model.eval().zero_grad()
    return made[0]


@pytest.fixture(scope="module")
def trie(made):
    return made[1]


def by_whole_rows(model, catalog, prompt, item):
    """Log-probabilities of an item's three tokens: three plain forward passes, no mask, no padding, no trie code."""
    found, beginning = [], []
    for level, code in enumerate(catalog.codes[item].tolist()):
        ids = torch.tensor([prompt + beginning])
        logits = model.model(input_ids=ids).logits[0, -1]
        same = (catalog.codes[:, :level] == catalog.codes[item, :level]).all(1)
        children = sorted(set(catalog.codes[same, level].tolist()))
        first = model.first + level * catalog.K
        logprobs = logits[[first + child for child in children]].log_softmax(0)
        found.append(logprobs[children.index(code)])
        beginning.append(first + code)
    return torch.stack(found)


def test_logits_of_codes_are_those_of_all_tokens(model):
    codes = slice(model.first, model.first + 3 * model.K)
    assert torch.allclose(model.code_logits(PROMPTS, 5), model.logits(PROMPTS, 5)[..., codes], atol=1e-5)


def gradients(model, logprobs):
    """Of a sum that weighs each log-probability differently."""
    weight = torch.arange(logprobs.numel()).reshape(logprobs.shape) / logprobs.numel()
    model.model.zero_grad()
    (logprobs * weight).sum().backward()
    return {name: weight.grad.clone() for name, weight in model.trainable().items()}


def test_branches_are_plain_rows_in_values_and_gradients(model, made):
    _, trie, catalog = made
    assert model.branches
    logprobs = model.branch(PROMPTS, ITEMS, trie)
    assert logprobs.shape == (*ITEMS.shape, 3) and logprobs.exp().std() > 0.05
    plain = [
        torch.stack([by_whole_rows(model, catalog, prompt, item) for item in items.tolist()])
        for prompt, items in zip(PROMPTS, ITEMS, strict=True)
    ]
    plain = torch.stack(plain)
    assert torch.allclose(logprobs, plain, atol=2e-6, rtol=1e-5)
    found, expected = gradients(model, logprobs), gradients(model, plain)
    for name in expected:
        assert expected[name].norm() > 0
        assert (found[name] - expected[name]).norm() < 1e-5 * expected[name].norm(), name


def test_whole_rows_are_plain_rows_as_well(model, trie):
    once = model.branch(PROMPTS, ITEMS, trie)
    model.branches = False
    assert torch.allclose(model.branch(PROMPTS, ITEMS, trie), once, atol=2e-6, rtol=1e-5)


def test_other_prompts_and_continuations_change_nothing(model, trie):
    together = model.branch(PROMPTS, ITEMS, trie)
    for place, prompt in enumerate(PROMPTS):
        for column in range(ITEMS.shape[1]):
            alone = model.branch([prompt], ITEMS[place, column].reshape(1, 1), trie)
            assert torch.allclose(alone[0, 0], together[place, column], atol=2e-6)


def test_continuations_can_share_a_parent_and_leave_out_others(model, made):
    """As beams do: columns 0 and 2 grow out of column 1, column 1 out of column 0."""
    _, trie, catalog = made
    codes, nodes = torch.from_numpy(catalog.codes), torch.from_numpy(trie.path)
    crowded = np.flatnonzero(trie.below[trie.path[:, 1]] > 2)  # their third code is a choice
    one = int(crowded[0])
    other = int(crowded[trie.path[crowded, 1] != trie.path[one, 1]][0])
    first = torch.tensor([[one, other]])
    following, parents = torch.tensor([[other, one, other]]), torch.tensor([[1, 0, 1]])
    for kind in (shared_prefix.Reading, shared_prefix.WholeRows):
        read = kind(model, [PROMPTS[1]])
        read.start(trie)
        read.extend(trie, codes[first, 0], nodes[first, 0])
        logprobs = read.extend(trie, codes[following, 1], nodes[following, 1], parents)
        for column, item in enumerate(following[0].tolist()):
            expected = by_whole_rows(model, catalog, PROMPTS[1], item)[2]
            assert expected < -0.01  # a choice
            assert torch.allclose(logprobs[0, column, codes[item, 2]], expected, atol=2e-6)


@pytest.mark.parametrize("broken", ["mask", "position"])
def test_a_model_that_reads_branches_otherwise_is_found_out(model, monkeypatch, broken):
    forward = model.forward

    def other(ids, mask, positions, cache=None, keep=0):
        if mask.ndim == 4 and broken == "mask":  # every column sees all columns
            mask = mask.new_ones(mask.shape)
        if mask.ndim == 4 and broken == "position":
            positions = positions + 1
        return forward(ids, mask, positions, cache, keep)

    monkeypatch.setattr(model, "forward", other)
    said = []
    model.check_branches(said.append)
    assert not model.branches and "takes no mask of our own" in said[0]
    monkeypatch.undo()
    model.check_branches(said.append)
    assert model.branches and len(said) == 1


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
    one, same, other = (backbone.tiny(catalog, seed) for seed in (3, 3, 4))
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
    gradients(model, moved)  # made before the swap, still of the policy's own weights
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


def test_dropout_only_where_it_is_turned_on(model):
    model.model.eval()
    assert torch.equal(model.logits(PROMPTS), model.logits(PROMPTS))
    model.model.train()
    assert not torch.equal(model.logits(PROMPTS), model.logits(PROMPTS))
