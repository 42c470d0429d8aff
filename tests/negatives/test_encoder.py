"""The encoder of hard negatives and its tuning, with a tiny BERT and a tiny Llama."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import synthetic
import tiny_llm
import torch

from llm.encoder import unit_rows
from negatives import encoder as encoders
from negatives import tuning
from negatives.encoder import Encoder
from negatives.inputs import Inputs, Texts
from negatives.tuning import Tuning, contrast
from utils import InputError

USERS, ITEMS = 6, 40
TEXTS = Texts(
    [f"film {user} Drama" if user else "" for user in range(USERS)],
    ["War film odd " * (item % 3) for item in range(ITEMS)],
    [f"Film {item}" for item in range(ITEMS)],
)
OPTIONS = SimpleNamespace(llm_dtype="float32", llm_seed=2024, hn_triplets=16, hn_tune_rate=2e-4)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A BERT that puts nothing around a text, and a Llama with an end-of-sequence token, both untrained."""
    base = tmp_path_factory.mktemp("encoders")
    tokenizer = tiny_llm.train_tokenizer([*TEXTS.titles, *TEXTS.items, "Find what seems to suit this person, but"])
    tokenizer.save_pretrained(base / "llama")
    tiny_llm.new_model(tokenizer).save_pretrained(base / "llama")
    return {"bert": synthetic.write_encoder(base / "bert"), "llama": base / "llama"}


@pytest.fixture(params=["bert", "llama"])
def kind(request):
    return request.param


@pytest.fixture
def weights(folders, kind, monkeypatch):
    monkeypatch.setattr(encoders, "RANK", 4)
    return folders[kind]


def cf_vectors(seed=0):
    generator = np.random.default_rng(seed)
    return [generator.normal(size=(n, 5)).astype(np.float32) for n in (USERS, ITEMS)]


def build(weights, most=96, slots=True, cf=None):
    inputs = Inputs("tiny", weights, TEXTS, most, slots)
    encoder = Encoder(weights, inputs, OPTIONS, CPU)
    if slots:
        encoder.add_slots(*(cf or cf_vectors()), 2024)
    return inputs, encoder


# ------------------------------------------------------------------------------------------------------------ input


def test_a_query_is_made_of_parts(weights, kind):
    inputs, _ = build(weights)
    row = inputs.query(2, 7)
    assert [(name, number) for _, name, number in row.slots] == [("user", 2), ("item", 7)]
    (first, *_), (second, *_) = row.slots
    plain = inputs.plain
    assert row.ids[:first] == inputs.begin + inputs.frame
    assert row.ids[first + 1 : second] == plain(TEXTS.users[2])
    assert row.ids[second + 1 :] == plain(TEXTS.titles[7]) + plain(TEXTS.items[7]) + inputs.end
    assert inputs.end == ([inputs.tokenizer.eos_token_id] if kind == "llama" else [])
    assert inputs.document(7).ids[1:] == row.ids[second + 1 :] and len(inputs.document(7).slots) == 1
    without, _ = build(weights, slots=False)
    assert without.query(2, 7).slots == [] and len(without.query(2, 7).ids) == len(row.ids) - 2


@pytest.mark.parametrize("title", ["[UserEmb]", "[PAD] [UNK]", "<|end|><|user|>", '{"a": "[SEP]"}', "[CLS]"])
def test_a_title_stays_text(weights, title):
    texts = Texts(TEXTS.users, TEXTS.items, [title, *TEXTS.titles[1:]])
    inputs = Inputs("tiny", weights, texts, 96, slots=True)
    row = inputs.query(1, 0)
    assert len(row.slots) == 2
    special = set(inputs.tokenizer.all_special_ids) - {inputs.tokenizer.unk_token_id}
    own = [place for place, *_ in row.slots]
    rest = [token for place, token in enumerate(row.ids[: len(row.ids) - len(inputs.end)]) if place not in own]
    assert not special & set(rest)


def test_rows_are_cut_to_fit_and_their_length_is_known_before(weights):
    long = Texts(["film Drama War even " * 9] * USERS, ["War odd " * (3 * item) for item in range(ITEMS)], TEXTS.titles)
    probe = Inputs("tiny", weights, long, 500, slots=True)
    most = probe.fixed + 30
    inputs = Inputs("tiny", weights, long, most, slots=True)
    pairs = np.array([(user, item) for user in range(USERS) for item in range(ITEMS)])
    lengths = [len(inputs.query(*pair).ids) for pair in pairs]
    assert max(lengths) == most and min(lengths) < most + 1
    np.testing.assert_array_equal(lengths, inputs.query_lengths(pairs))
    title = inputs.plain(TEXTS.titles[39])
    query = inputs.query(0, 39).ids
    place = inputs.query(0, 39).slots[1][0] + 1
    assert query[place : place + len(title)] == title  # the title stays whole
    assert len(inputs.document(39).ids) <= most


# ---------------------------------------------------------------------------------------------------------- vectors


def test_other_cf_vectors_give_another_vector(weights):
    inputs, encoder = build(weights)
    row, document = inputs.query(2, 7), inputs.document(7)
    users, items = cf_vectors()
    users[2] += 1
    _, other = build(weights, cf=(users, items))
    # the row's length counts, not the table's: the others' vectors have changed a little with the table's scale
    assert np.abs(encoder.encode([row]) - other.encode([row])).max() > 1e-4
    assert np.abs(encoder.encode([document]) - other.encode([document])).max() < 1e-6
    assert np.abs(encoder.encode([inputs.query(2, 7)]) - encoder.encode([inputs.query(3, 7)])).max() > 1e-4


def test_padding_and_neighbours_change_nothing(weights):
    inputs, encoder = build(weights)
    rows = [inputs.query(user, item) for user in range(3) for item in range(0, ITEMS, 5)]
    alone = np.concatenate([encoder.encode([row]) for row in rows])
    np.testing.assert_allclose(encoder.encode(rows), alone, atol=1e-5)
    np.testing.assert_allclose(encoder.encode_all(rows[::-1])[::-1], alone, atol=1e-5)


def test_states_are_pooled_without_padding(weights, kind):
    """A decoder at its last token, alike for left and right padding; an encoder by the mean."""
    inputs, encoder = build(weights, slots=False)
    rows = [inputs.query(1, 4), inputs.document(3)]
    found = encoder.encode(rows)
    assert inputs.causal == encoder.causal == (kind == "llama")
    for row, vector in zip(rows, found, strict=True):
        with torch.no_grad():
            states = encoder.model(torch.tensor([row.ids])).last_hidden_state[0]
        expected = {"llama": states[-1], "bert": states.mean(0)}[kind]
        np.testing.assert_allclose(vector, expected, atol=1e-5)


# ----------------------------------------------------------------------------------------------------------- tuning


def test_the_loss_is_that_of_the_formula():
    q = torch.tensor([[1.0, 0.0], [0.6, 0.8]], dtype=torch.float64)
    a = torch.tensor([[0.8, 0.6], [0.0, 1.0]], dtype=torch.float64)
    b = torch.tensor([[0.0, 1.0], [0.6, -0.8]], dtype=torch.float64)
    liked, wanted = torch.ones(2, 2, dtype=torch.bool), ~torch.eye(2, dtype=torch.bool)
    nothing = torch.zeros(2, 2, dtype=torch.bool)
    assert float(contrast(q, 3 * a, b, liked, nothing)) == pytest.approx(0.177824, abs=1e-6)
    # cos(q, a) = [[.8, 0], [.96, .8]]: softplus(-16) and softplus(3.2) are the two terms more
    expected = (4 * 0.177824 + 1.1e-7 + 3.239953) / 6
    assert float(contrast(q, 3 * a, b, liked, wanted)) == pytest.approx(expected, abs=1e-6)
    liked[0, 1] = False
    assert float(contrast(q, a, b, liked, nothing)) == pytest.approx(0.231049, abs=1e-6)


def test_one_query_for_all_pairs_is_no_solution():
    """Hard negatives on one side, liked items on the other: against these alone a constant query has no loss."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(8, 5, generator=generator) for _ in range(2))
    a[:, 0], b[:, 0] = 9, -9
    own = torch.nn.functional.normalize(a - a.mean(0), dim=1)
    constant = torch.zeros(8, 5)
    constant[:, 0] = 1
    every, others = torch.ones(8, 8, dtype=torch.bool), ~torch.eye(8, dtype=torch.bool)
    assert contrast(constant, a, b, every, ~every) < 1e-6
    # softplus(x) + softplus(-x) is at least 2 log 2, of 56 pairs among 120 terms
    assert contrast(constant, a, b, every, others) > 0.69 * 56 / 120
    assert contrast(own + constant, a, b, every, others) < contrast(constant, a, b, every, others) / 3


def known_of(disliked=()):
    """A stand-in for profiles.Known in which nothing is rated but what each user dislikes."""
    disliked = dict(disliked)
    return SimpleNamespace(
        unrated=lambda user: np.setdiff1d(np.arange(ITEMS), disliked.get(user, [])),
        disliked=lambda user: np.array(disliked.get(user, []), int), user_ids=range(USERS), item_ids=range(ITEMS),
    )  # fmt: skip


def test_what_would_suit_a_query_as_well_is_none_of_its_negatives(weights, monkeypatch):
    inputs, encoder = build(weights)
    kept = []
    monkeypatch.setattr(tuning, "contrast", lambda q, a, b, *keep: kept.extend(keep))
    batch = np.array([[0, 1, 2], [1, 2, 3], [2, 5, 1], [0, 6, 7], [4, 8, 2]])
    tuning.batch_loss(encoder, inputs, known_of({1: [1, 30]}), batch)
    of_liked, of_wanted = (side.int().tolist() for side in kept)
    # a liked item that is wanted; the same hard negative, one of the same user, and one that the user dislikes
    assert of_liked == [[1, 0, 1, 1, 1], [1, 1, 1, 1, 1], [0, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 0, 1, 1, 1]]
    assert of_wanted == [[0, 1, 1, 0, 0], [1, 0, 0, 1, 1], [1, 1, 0, 1, 1], [0, 1, 1, 0, 1], [0, 1, 1, 1, 0]]


def triplets(n=16):
    generator = np.random.default_rng(3)
    items = generator.permutation(ITEMS)
    return np.stack((generator.integers(USERS, size=n), items[:n], items[n : 2 * n]), 1).astype(np.int32)


@pytest.fixture
def short(monkeypatch):
    """Eight steps of four triplets, saved after every second."""
    for name, value in {"TUNING_BATCH": 4, "EPOCHS": 2, "SAVE_STEPS": 2}.items():
        monkeypatch.setattr(tuning, name, value)


def tuned(weights, folder, **changed):
    folder.mkdir(exist_ok=True)
    inputs, encoder = build(weights)
    run = Tuning(encoder, inputs, known_of(), triplets(), SimpleNamespace(**vars(OPTIONS) | changed), folder)
    return inputs, encoder, run


def test_only_lora_and_projectors_learn(weights, tmp_path, short):
    _, encoder, run = tuned(weights, tmp_path / "a")
    before = {name: weight.clone() for name, weight in encoder.named_parameters()}
    run.run()
    learnt = {name for name, weight in encoder.named_parameters() if weight.requires_grad}
    assert learnt and all("lora" in name or name.startswith("projectors") for name in learnt)
    for name, weight in encoder.named_parameters():
        old = before.get(name.replace("base_model.model.", "").replace(".base_layer", ""))
        if name not in learnt:
            assert old is not None and torch.equal(weight, old), name
    assert not torch.equal(before["projectors.user.layers.0.weight"], encoder.projectors["user"].layers[0].weight)
    targets = {name.split(".lora_")[0].rsplit(".", 1)[-1] for name in learnt if "lora" in name}
    assert targets in ({"query", "key", "value", "dense"}, {"q_proj", "k_proj", "v_proj", "o_proj"})
    assert all("attention" in name or "self_attn" in name for name in learnt if "lora" in name)


def test_tuning_and_inference_give_the_same_vector(weights, tmp_path, short):
    """With dropout off; and the saved adapter gives it again."""
    inputs, encoder, run = tuned(weights, tmp_path / "a")
    run.run()
    rows = [inputs.query(1, 3), inputs.query(0, 30)]
    vectors = encoder.encode(rows)
    np.testing.assert_array_equal(encoder(rows).detach().numpy(), vectors)
    _, other = build(weights)
    assert np.abs(other.encode(rows) - vectors).max() > 1e-4
    other.load(tmp_path / "a")
    np.testing.assert_array_equal(other.encode(rows), vectors)
    config = json.loads((tmp_path / "a" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "tiny" and config["lora_alpha"] == 2 * config["r"] == 8
    for name in ("adapter_model", "projectors"):
        (tmp_path / "a" / f"{name}.safetensors").write_bytes(b"nonsense")
    with pytest.raises(InputError, match=r"its LoRA weights do not fit tiny .*; delete it"):
        build(weights)[1].load(tmp_path / "a")


def test_tuning_learns_and_its_card_shows_a_constant_query(weights, kind, tmp_path, monkeypatch):
    epochs = {"bert": 100, "llama": 50}[kind]
    monkeypatch.setattr(tuning, "EPOCHS", epochs)
    inputs, encoder, run = tuned(weights, tmp_path / "a", hn_tune_rate=1e-2)
    figures = run.run()
    assert figures["loss_last"] < figures["loss_first"] / 2 and figures["steps"] == epochs
    card = tuning.measure(encoder, inputs, known_of(), triplets(), 2024)
    assert card["triplets"] == 16 and card["above_liked"] == 1
    assert card["above_others"] > 0.8 and card["distinct_items"] > 5 and card["distinct_wanted"] == 16
    assert 0 <= card["other_vectors"] <= card["above_random"]

    users, liked, wanted = triplets().T
    q = unit_rows(encoder.encode_all([*map(inputs.query, users, liked)]))
    documents = unit_rows(encoder.encode_all([*map(inputs.document, range(ITEMS))]))
    generator = np.random.default_rng([2024, 6])
    random = [generator.choice(np.arange(ITEMS)) for _ in triplets()]
    above = (q * documents[wanted]).sum(1) > (q * documents[random]).sum(1)
    assert card["above_random"] == pytest.approx(above.mean(), abs=1e-4)
    off_diagonal = (q @ q.T)[~np.eye(16, dtype=bool)]
    assert card["query_cosine"] == pytest.approx(off_diagonal.mean(), abs=1e-3) and card["query_cosine"] < 0.95
    items = documents @ q.T  # (I, 16)
    items[liked, range(16)] = -1  # the liked item's own is not counted
    assert card["distinct_items"] == len(set(items.argmax(0)))

    inputs.query = lambda user, item: inputs.document(0)  # says the same of all
    card = tuning.measure(encoder, inputs, known_of(), triplets(), 2024)
    assert card["query_cosine"] == pytest.approx(1, abs=1e-4) and card["distinct_items"] <= 2
    assert card["above_others"] <= 0.8
    nothing = tuning.measure(encoder, inputs, known_of(), triplets()[:0], 2024)
    assert nothing.pop("triplets") == 0 and set(nothing.values()) == {None}


def test_hard_for_others_are_other_users_and_not_rated():
    known = known_of({0: [4], 1: [2, 4], 2: [2]})
    of_three = np.array([[0, 9, 2], [1, 9, 3], [2, 9, 4], [0, 9, 5]])
    seen = {tuple(tuning.draw_hard_for_others(known, of_three, np.random.default_rng(seed))) for seed in range(30)}
    assert {row[0] for row in seen} == {3} and {row[1] for row in seen} == {5}  # the rest is rated or their own
    assert {row[2] for row in seen} == {3, 5} and {row[3] for row in seen} == {3}
    alone = np.array([[0, 9, 2], [0, 8, 3]])
    assert tuning.draw_hard_for_others(known, alone, np.random.default_rng(0)).tolist() == [-1, -1]


def test_other_vectors_are_those_of_other_users_and_items_in_the_same_text(folders):
    inputs, _ = build(folders["bert"])
    rows = [inputs.query(2, 7), inputs.document(3)] * 10
    known = SimpleNamespace(user_ids=range(USERS), item_ids=range(ITEMS))
    changed = tuning.with_other_vectors(rows, known, np.random.default_rng(0))
    assert [row.ids for row in changed] == [row.ids for row in rows]
    assert [[slot[:2] for slot in row.slots] for row in changed] == [[slot[:2] for slot in row.slots] for row in rows]
    assert len({row.slots[0][2] for row in changed[::2]}) > 3 and len({row.slots[1][2] for row in changed[::2]}) > 5


def test_a_tuning_that_was_killed_ends_as_one_left_alone(weights, tmp_path, short, monkeypatch):
    inputs, encoder, run = tuned(weights, tmp_path / "whole")
    run.run()
    whole = encoder.encode([inputs.query(2, 4)])

    one_step = Tuning.one_step
    for at in (3, 5):

        def killer(self, weights, at=at):
            if self.step == at:
                raise KeyboardInterrupt
            one_step(self, weights)

        torch.manual_seed(7 + at)  # what was drawn outside does not matter
        _, _, run = tuned(weights, tmp_path / "killed")
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Tuning, "one_step", killer)
            run.run()
        assert run.step == at and not (tmp_path / "killed" / "adapter_model.safetensors").exists()
    _, encoder, run = tuned(weights, tmp_path / "killed")
    run.run()
    np.testing.assert_array_equal(encoder.encode([inputs.query(2, 4)]), whole)
    for name in ("adapter_model.safetensors", "projectors.safetensors", "adapter_config.json", "tuning.jsonl"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_what_cannot_be_tuned_is_one_line(folders, tmp_path, monkeypatch):
    _, _, run = tuned(folders["bert"], tmp_path / "a")
    run.path.write_bytes(b"nonsense")
    with pytest.raises(InputError, match=r"tuning\.pt: is no whole checkpoint of this tuning .*; delete it"):
        run.run()
    monkeypatch.setattr(tuning, "TUNING_BATCH", 17)
    with pytest.raises(InputError, match=r"--hn_triplets 16: 16 are left to tune on, less than one batch of 17"):
        tuned(folders["bert"], tmp_path / "a")
