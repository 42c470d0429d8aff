"""A language model as CoNRec's backbone: new tokens, LoRA, and base weights that stay as they are."""

import json
import warnings

import conrec_models
import numpy as np
import pytest
import tiny_llm
import torch
from safetensors.torch import load_file

from conrec.data.events import DISLIKE, LIKE
from conrec.decoder import prompts
from utils import InputError

ITEMS = torch.from_numpy(np.random.default_rng(0).integers(0, 60, (2, 4)))


@pytest.fixture(scope="module", params=[False, True], ids=["untied", "tied"])
def tied(request):
    return request.param


@pytest.fixture(scope="module")
def folder(tied, tmp_path_factory):
    return conrec_models.write_llm(tmp_path_factory.mktemp("llm"), tied, chat=tied)


@pytest.fixture
def made(folder):
    return conrec_models.load_llm(folder)


def asked(model):
    words = {"words": True, "domain": "movies"}
    return [
        model.tokens(prompts.sequence([1, 2], [DISLIKE, DISLIKE], **words)),
        model.tokens(prompts.sequence([4, 5, 3], [LIKE, LIKE, DISLIKE], template=1, **words)),
    ]


def trained(model, trie, steps=3):
    """A few steps towards four items."""
    optimizer = torch.optim.AdamW(model.trainable().values(), lr=1e-2)
    rows, answers = asked(model), ITEMS
    for _ in range(steps):
        loss = -model.branch(rows, answers, trie).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float(loss.detach())


def base_weights(model):
    """All that is frozen, under the names that it has without the adapter."""
    named = model.model.get_base_model().named_parameters()
    return {name.replace(".base_layer", ""): weight for name, weight in named if not weight.requires_grad}


def test_new_rows_and_adapters_move_and_all_else_stays_bit_for_bit(made, folder, tied):
    model, trie, catalog = made
    before = {name: weight.clone() for name, weight in base_weights(model).items()}
    state = model.state()
    loss = trained(model, trie, 1)
    assert trained(model, trie, 28) < loss - 0.1  # by .25 to .5; after 8 steps, dropout among them, by .04 at least
    after = base_weights(model)
    assert after.keys() == before.keys() and all(torch.equal(after[name], before[name]) for name in before)
    # ... and the old rows are those of the file
    for name, weight in load_file(folder / "model.safetensors").items():
        found = {key.replace(".token_adapter", ""): value for key, value in after.items()}[name]
        assert torch.equal(found[: len(weight)], weight), name
    moved = model.state()
    assert all(not torch.equal(moved[name], state[name]) for name in state)
    rows = [name for name in moved if "trainable_tokens" in name]
    assert len(rows) == 2 - tied
    assert all(moved[name].shape == (3 * catalog.K, 64) for name in rows)
    assert len(moved) - len(rows) == 2 * 2 * 7  # two layers, A and B of seven matrices


def test_branches_are_plain_rows(made):
    model, trie, catalog = made
    trained(model, trie)  # new rows are alike before
    model.model.eval()
    logprobs = model.branch(asked(model), ITEMS, trie)
    plain = conrec_models.by_whole_rows(model, catalog, asked(model), ITEMS)
    assert logprobs.std() > 0.1 and torch.allclose(logprobs, plain, atol=1e-5)
    found, expected = conrec_models.gradients(model, logprobs), conrec_models.gradients(model, plain)
    for name in expected:
        assert (found[name] - expected[name]).norm() < 1e-4 * expected[name].norm(), name


def test_the_reference_is_the_adapter_as_it_was(made):
    model, trie, _ = made
    trained(model, trie)
    before = model.branch(asked(model), ITEMS, trie)
    model.keep_reference()
    trained(model, trie)
    after = model.branch(asked(model), ITEMS, trie)
    with model.reference():
        assert torch.equal(model.branch(asked(model), ITEMS, trie), before)
    assert torch.equal(model.branch(asked(model), ITEMS, trie), after) and not torch.equal(before, after)


def test_saved_and_read_again(made, folder, tmp_path):
    model, trie, _ = made
    trained(model, trie)
    before = model.branch(asked(model), ITEMS, trie)
    model.save(tmp_path)
    other, _, _ = conrec_models.load_llm(folder)
    assert not torch.allclose(other.branch(asked(model), ITEMS, trie), before)
    other.read_weights(tmp_path)
    assert torch.equal(other.branch(asked(model), ITEMS, trie), before)
    wider, _, _ = conrec_models.load_llm(folder, rank=8)
    with pytest.raises(InputError, match=r"adapter_model\.safetensors: does not fit --llm .*other weights"):
        wider.read_weights(tmp_path)

    # peft reads it as well: the base model, its matrices grown by the new tokens, and the adapter
    import peft
    from transformers import AutoModelForCausalLM

    warnings.simplefilter("ignore", FutureWarning)  # of peft; pytest takes it back after the test
    config = peft.PeftConfig.from_pretrained(tmp_path)
    base = AutoModelForCausalLM.from_pretrained(config.base_model_name_or_path)
    base.resize_token_embeddings(model.first + 3 * model.K)
    again = peft.PeftModel.from_pretrained(base, tmp_path).eval()
    ids = torch.tensor([asked(model)[0]])
    assert torch.allclose(again(input_ids=ids).logits, model.model(input_ids=ids).logits, atol=1e-6)


def test_a_prompt_holds_its_words_the_ids_and_the_template(made, folder):
    model, _, catalog = made
    tokens = model.tokens(["Disliked: ", 3, " and <a_0><|end|>"])
    text = model.vocabulary.prompt_tokens.tokenizer.decode([token for token in tokens if token < model.first])
    own = [token for token in tokens if token >= model.first]
    assert own == [model.first + level * catalog.K + code for level, code in enumerate(catalog.codes[3])]
    assert tokens.index(own[0]) > 0 and "Disliked: " in text and "and <a_0><|end|>" in text
    if (folder / "chat_template.jinja").exists():
        assert text.startswith("<|user|>") and text.endswith("<|assistant|>")
    else:
        assert text.endswith("\nAnswer:")
    end = model.vocabulary.prompt_tokens.tokenizer.convert_tokens_to_ids("<|end|>")
    assert end not in tokens  # what a title says is text
    assert model.answer([prompts.END]) == [end]
    with pytest.raises(ValueError, match="control token of the tiny decoder"):
        model.tokens([prompts.SIGNS[DISLIKE]])


# --------------------------------------------------------------------------- without the parameters


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return conrec_models.write_llm(tmp_path_factory.mktemp("plain"))


def test_new_rows_lie_at_the_mean_and_spare_rows_are_used_before_the_matrix_grows(tmp_path):
    model, _, catalog = conrec_models.load_llm(conrec_models.write_llm(tmp_path, spare=7))
    assert model.first == len(model.vocabulary.prompt_tokens.tokenizer)
    assert model.model.get_input_embeddings().weight.shape[0] == model.first + 3 * catalog.K
    old = load_file(tmp_path / "model.safetensors")["model.embed_tokens.weight"][: model.first]
    new = next(weight for name, weight in model.state().items() if "embed_tokens" in name)
    assert torch.allclose(new.mean(0), old.mean(0), atol=0.3 * float(old.std()))
    assert 0.05 < float((new - old.mean(0)).std() / old.std()) < 0.2


def test_a_model_with_absolute_positions_and_layers_of_other_names(tmp_path):
    from transformers import GPT2Config, GPT2LMHeadModel

    tokenizer = tiny_llm.train_tokenizer(conrec_models.catalog().titles)
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(tokenizer), n_embd=32, n_layer=2, n_head=4, n_positions=256, bos_token_id=0, eos_token_id=0
    )
    tokenizer.save_pretrained(tmp_path)
    GPT2LMHeadModel(config).save_pretrained(tmp_path)
    model, trie, catalog = conrec_models.load_llm(tmp_path)
    assert model.context == 256
    assert {name.split(".")[-4] for name in model.trainable() if "lora_A" in name} == {"c_attn", "c_proj", "c_fc"}
    trained(model, trie)
    model.model.eval()
    rows = asked(model)
    assert len(rows[0]) != len(rows[1])  # the shorter one is padded, and begins at position 0 all the same
    for place, row in enumerate(rows):
        alone = model.model(input_ids=torch.tensor([row])).logits[0, -1]
        assert torch.allclose(model.logits(rows)[place, -1], alone, atol=1e-5)
    plain = conrec_models.by_whole_rows(model, catalog, rows, ITEMS)
    assert torch.allclose(model.branch(rows, ITEMS, trie), plain, atol=1e-5)


def test_the_context_is_no_longer_than_a_sliding_window(tmp_path):
    """A mask of our own has no window: within it the two are the same."""
    folder = conrec_models.write_llm(tmp_path)
    assert conrec_models.load_llm(folder)[0].context == 1024
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"sliding_window": 200}))
    assert conrec_models.load_llm(folder)[0].context == 200


def test_in_bfloat16_adapters_are_float32(plain):
    model, trie, _ = conrec_models.load_llm(plain, dtype="bfloat16")
    assert {weight.dtype for weight in base_weights(model).values()} == {torch.bfloat16}
    assert {weight.dtype for weight in model.trainable().values()} == {torch.float32}
    assert trained(model, trie, 6) < trained(model, trie, 1) + 1


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_rank_0_trains_all_weights_and_keeps_updates_that_its_dtype_would_lose(plain, tmp_path, dtype):
    model, trie, _ = conrec_models.load_llm(plain, rank=0, dtype=dtype)
    assert {weight.dtype for weight in model.model.parameters()} == {torch.float32}
    logits = model.forward(torch.tensor([[1, 2]]), torch.ones(1, 2), torch.tensor([[0, 1]]))
    assert logits.dtype == getattr(torch, dtype)
    weights, before = model.trainable(), model.state()
    optimizer = torch.optim.AdamW(weights.values(), lr=1e-5)
    (-model.branch(asked(model), ITEMS, trie).mean()).backward()
    optimizer.step()
    n = kept = 0
    for name, weight in weights.items():
        asked_to_move = weight.grad != 0
        n += int(asked_to_move.sum())
        kept += int(((weight != before[name]) & asked_to_move).sum())
    assert len(weights) == len(load_file(plain / "model.safetensors")) and kept > 0.99 * n > 1000
    model.save(tmp_path)
    other, _, _ = conrec_models.load_llm(plain, rank=0, dtype=dtype)
    other.read_weights(tmp_path)
    assert torch.equal(other.branch(asked(model), ITEMS, trie), model.branch(asked(model), ITEMS, trie))


def test_other_models_are_refused(plain, tmp_path, monkeypatch):
    import synthetic

    with pytest.raises(InputError, match="is not a causal language model"):
        conrec_models.load_llm(synthetic.write_encoder(tmp_path / "encoder"))
    from transformers import AutoTokenizer

    taken = conrec_models.write_llm(tmp_path / "taken")
    tokenizer = AutoTokenizer.from_pretrained(taken)
    tokenizer.add_tokens(["<a_0>"])
    tokenizer.save_pretrained(taken)
    with pytest.raises(InputError, match="its tokenizer already has <a_0>"):
        conrec_models.load_llm(taken)
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(InputError, match=r"CoNRec --llm: needs the package peft; install it"):
        conrec_models.load_llm(plain)
