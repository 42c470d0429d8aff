"""HNLMRec: golden vectors of its loss, identity with its backbone, whose gradient reaches what; that a vector does what
it says, what the log notes, and which flags go together."""

import hard_negatives
import numpy as np
import pytest
import torch
from blocks import BLOCKS, ITEMS, OWN_ITEMS, USERS, block_data
from hard_negatives import SMALL, build, first_batch, random_data, small_options, trained
from synthetic import Silent, made

from baselines import hnlmrec
from baselines.hnlmrec import contrastive, hinge, mixed, released_norm
from baselines.lightgcn import LightGCN
from negatives import vectors
from options.models import OFFICIAL
from training import loop

NO_SHARE = "--hn_alpha", "0", "--hn_lambda", "0"


@pytest.fixture
def data():
    return random_data()


# -------------------------------------------------------------------------------------- golden vectors

U = torch.tensor([[0.3, -0.2], [0.1, 0.5]], dtype=torch.float64)
P = torch.tensor([[0.4, 0.1], [-0.2, 0.6]], dtype=torch.float64)
R = torch.tensor([[0.2, 0.3], [0.5, -0.1]], dtype=torch.float64)
H = torch.tensor([[0.6, -0.4], [0.0, 0.8]], dtype=torch.float64)


def close(found, expected):
    torch.testing.assert_close(found, torch.as_tensor(expected, dtype=torch.float64), atol=1e-6, rtol=0)


def bpr(m):
    return LightGCN.pairwise_loss(None, U, P, m)


@pytest.mark.parametrize(
    ("keep", "m", "bpr_loss", "hinge_loss", "contrastive_loss"),
    [
        ([True, True], [[0.24, 0.23], [0.45, -0.01]], 0.618581, 0.143, 1.413698),
        ([True, False], [[0.24, 0.23], [0.5, -0.1]], 0.609873, 0.123, 1.814476),
        ([False, False], R.tolist(), 0.603656, 0.11, 0.0),
    ],
)
def test_the_golden_vectors(keep, m, bpr_loss, hinge_loss, contrastive_loss):
    keep = torch.tensor(keep)
    found = mixed(H, R, keep, 0.1)
    close(found, m)
    close(bpr(found), bpr_loss)
    close(hinge(U, P, found), hinge_loss)
    close(contrastive(U, P, H, keep), contrastive_loss)


def test_the_released_norm_is_the_golden_one():
    u0 = torch.tensor([[0.2, -0.1], [0.3, 0.1]], dtype=torch.float64)
    i0 = torch.tensor([[0.1, 0.4], [-0.3, 0.2]], dtype=torch.float64)
    m = mixed(H, R, torch.ones(2, dtype=torch.bool), 0.1)
    assert 1e-4 * float(released_norm(u0, i0, m)) == pytest.approx(3.736436e-5, abs=1e-11)


def test_an_aligned_vector_has_the_norm_of_the_random_negative(data, monkeypatch):
    """With an adapter that gives H the golden rows: .3, -.2 and 0, .509902, and their loss."""
    model = build(data, "--embedding_dim", "2")
    monkeypatch.setattr(hnlmrec.Adapter, "forward", lambda adapter, fetched: H)
    h = model.hard_rows(torch.tensor([0, 1]), R)
    close(h, [[0.3, -0.2], [0.0, 0.509902]])
    m = mixed(h, R, torch.ones(2, dtype=torch.bool), 0.1)
    close(m, [[0.21, 0.25], [0.45, -0.039010]])
    close(bpr(m), 0.612281)


# --------------------------------------------------------------------------- identity with the backbone


@pytest.mark.parametrize("backbone", ["LightGCN", "MF"])
@pytest.mark.parametrize("words", [NO_SHARE, ("--hard", "none")], ids=" ".join)
def test_without_a_share_it_is_its_backbone_bit_for_bit(data, tmp_path, backbone, words):
    plain, rows = trained(data, tmp_path, "--epochs", "3", "--learning_rate", "3e-3", model=backbone)
    hard, same = trained(data, tmp_path, "--epochs", "3", "--backbone", backbone, *words)
    assert rows == same and torch.equal(plain.table, hard.backbone.table)
    assert list(hard.state_dict()) == ["backbone.table"]


@pytest.mark.parametrize(("adapter", "moves"), [("aligned", True), ("joint", True), ("frozen", False)])
def test_a_share_near_none_is_near_the_backbone(data, tmp_path, adapter, moves):
    """So that the shortcut above hides nothing: with real vectors the same random negatives are drawn."""
    words = "--epochs", "2", "--hn_adapter", adapter
    plain, _ = trained(data, tmp_path, "--epochs", "2", "--learning_rate", "3e-3", model="LightGCN")
    hard, _ = trained(data, tmp_path, *words, "--hn_alpha", "1e-12")
    torch.testing.assert_close(hard.backbone.table, plain.table, atol=1e-5, rtol=0)
    shared, _ = trained(data, tmp_path, *words, "--hn_alpha", ".5")
    assert (shared.backbone.table - plain.table).abs().max() > 1e-4
    before, after = build(data, *words).adapter.state_dict(), shared.adapter.state_dict()
    assert [torch.equal(before[name], after[name]) for name in before] == [not moves] * 6


def test_rejected_pairs_train_with_the_random_negative_alone(data):
    kept = np.arange(len(data.edges("positive"))) % 2 == 0
    data.hard.kept = torch.from_numpy(kept)
    model = build(data, "--hn_alpha", ".5", "--hn_lambda", "0", "--hn_adapter", "frozen")
    batch = first_batch(model)
    rows = model.backbone.rows(batch)
    keep = data.hard.kept[batch.positive_numbers]
    h = model.hard_rows(batch.positive_numbers, rows.negatives)
    m = mixed(h, rows.negatives, keep, 0.5)
    assert torch.equal(m[~keep], rows.negatives[~keep])
    assert not torch.isclose(m[keep], rows.negatives[keep]).all(1).any()
    expected = model.backbone.pairwise_loss(rows.users, rows.positives, m) + model.backbone.regulariser(batch, rows)
    torch.testing.assert_close(model.loss(batch), expected)
    other = build(data, "--hn_alpha", ".5", "--hn_lambda", "0", "--hn_adapter", "frozen", "--hn_unfiltered")
    other.start_epoch(1)
    assert not torch.isclose(other.loss(batch), expected)


# ---------------------------------------------------------------------------------- who trains the adapter


def adapter_gradient(model, batch):
    loss = model.loss(batch)
    return torch.autograd.grad(loss, list(model.adapter.parameters()), allow_unused=True)


@pytest.mark.parametrize("share", [("--hn_alpha", ".5", "--hn_lambda", "0"), ("--hn_alpha", "0", "--hn_lambda", "1")])
def test_ranking_and_contrastive_loss_reach_the_adapter_only_when_joint(data, monkeypatch, share):
    joint = build(data, *share, "--hn_adapter", "joint")
    assert all(g.abs().sum() > 0 for g in adapter_gradient(joint, first_batch(joint)))

    frozen = build(data, *share, "--hn_adapter", "frozen")
    first_batch(frozen)
    assert not any(weight.requires_grad for weight in frozen.adapter.parameters())
    assert len(frozen.parameter_groups()[0]["params"]) == 1

    aligned = build(data, *share)
    batch = first_batch(aligned)
    assert all(g.abs().sum() > 0 for g in adapter_gradient(aligned, batch))  # of L_align
    monkeypatch.setattr(aligned, "misalignment", lambda items, z: torch.zeros(()))
    assert adapter_gradient(aligned, batch) == (None,) * 6


def test_alignment_moves_the_adapter_and_no_embedding(data):
    model = build(data)
    torch.nn.init.ones_(model.adapter[0].bias)  # without biases the cosine would not know the documents' length
    _, z_items = model.embeddings()
    items = torch.tensor([3, 3, 17])
    loss = model.misalignment(items, z_items.detach()[items])
    documents = data.hard.documents[items].float() * 8**0.5
    cos = torch.nn.functional.cosine_similarity(model.adapter(documents), z_items[items])
    torch.testing.assert_close(loss, 1 - cos.mean())
    loss.backward()
    assert model.backbone.table.grad is None and model.adapter[0].weight.grad.abs().sum() > 0


def test_alignment_draws_anew_in_every_step_and_nothing_from_the_backbones_generator(data):
    losses, states = [], []
    for words in (("--hn_adapter", "aligned"), ("--hn_adapter", "frozen")):
        model = build(data, *words)
        batch = first_batch(model)
        losses.append([float(model.loss(batch).detach()) for _ in range(2)])
        states.append(model.generator.get_state())
    assert losses[0][0] != losses[0][1] and losses[1][0] == losses[1][1]
    plain = build(data, model="LightGCN")
    plain.loss(first_batch(plain))
    assert torch.equal(states[0], states[1]) and torch.equal(states[0], plain.generator.get_state())


def test_the_adapter_has_the_released_shape():
    assert [tuple(w.shape) for w in hnlmrec.Adapter(4096, 512, False).parameters()][::2] == [
        (2048, 4096), (1024, 2048), (512, 1024),
    ]  # fmt: skip
    ours = hnlmrec.Adapter(384, 64, False)
    assert sum(w.numel() for w in ours.parameters()) == 98_656
    x = torch.randn(50, 384)
    assert (ours(x) < 0).any() and (hnlmrec.Adapter(384, 64, True)(x) >= 0).all()


# --------------------------------------------------------------------------------------------- the note


def test_the_note_is_of_the_same_pairs_every_time_and_shows_a_collapse(data, tmp_path):
    words = ("--hn_adapter", "joint", "--hn_alpha", ".5", "--learning_rate", ".05", "--epochs", "30")
    model, settings = made("HNLMRec", data, *SMALL, *words)
    before, state = model.start_epoch(1), model.generator.get_state()
    assert before == model.note() and torch.equal(state, model.generator.get_state())
    loop.train(model, data, settings, Silent(tmp_path))
    lead = [float(note.split("<u,h> - <u,p> ")[1].split()[0]) for note in (before, model.note())]
    assert lead[1] < 10 * min(lead[0], -0.1)
    assert "alignment" not in before and "alignment loss" in build(data).start_epoch(1)
    assert build(data, "--hn_alpha", "0", "--hn_lambda", "0").start_epoch(1) is None


def test_the_figures_of_the_note_against_a_loop(data):
    data.hard.kept = torch.arange(len(data.hard.kept)) % 3 > 0
    model = build(data, "--hn_adapter", "frozen")
    note = model.start_epoch(1)
    z_users, z_items = (z.detach() for z in model.embeddings())
    leads, cosines, above = [], [], 0
    users, items = model.backbone.positives
    for edge in data.hard.kept.nonzero()[:, 0].tolist():
        u, p = z_users[users[edge]], z_items[items[edge]]
        h = model.adapter(data.hard.fetch(torch.tensor([edge])))[0].detach()
        leads.append(float(u @ h - u @ p))
        cosines.append(float(torch.nn.functional.cosine_similarity(h, p, dim=0)))
    above = np.mean(np.array(leads) > 0)
    assert f"<u,h> - <u,p> {np.mean(leads):.3f} (above 0: {above:.1%}), cos(h,p) {np.mean(cosines):.3f}" in note
    assert f"kept {float(data.hard.kept.float().mean()):.1%}" in note


# --------------------------------------------------------------------------------------------- planted traps


@pytest.fixture(scope="module")
def blocks():
    """The block data, and an unrated item of another block for every user: the trap."""
    data = block_data()
    random = np.random.default_rng(0)
    rated = set(zip(data.train.users, data.train.items, strict=True))
    others = []  # of each user
    for user in range(USERS):
        own = user // (USERS // BLOCKS)
        others.append([j for j in range(ITEMS) if j // OWN_ITEMS != own and (user, j) not in rated])
    return data, others, np.array([random.choice(items) for items in others])


def place_of_traps(blocks, folder, *given, model="HNLMRec", shuffled=False):
    """Mean over users of the trap's place among the user's unrated items of other blocks, 0 lowest, 1 highest."""
    data, others, traps = blocks
    codes = hard_negatives.random_vectors(ITEMS, 64)
    of_pairs = codes[traps[data.edges("positive").users]]
    data.hard = hard_negatives.in_memory(data, of_pairs, codes)
    if shuffled:
        data.hard.rows = vectors.shuffle(data.hard.rows, data.hard.kept.numpy(), 3)
    sizes = "--embedding_dim", "16", "--batch_size", "64", "--learning_rate", ".02", "--epochs", "60"
    trained_model, _ = trained(data, folder, *sizes, "--early_stopping_step", "1000", *given, model=model)
    z_users, z_items = (z.detach() for z in trained_model.embeddings())
    places = []
    for user, trap in enumerate(traps):
        scores = z_users[user] @ z_items[others[user]].t()
        places.append(float((scores < z_users[user] @ z_items[trap]).float().sum() / (len(scores) - 1)))
    return np.mean(places)


def test_a_planted_trap_is_pushed_down_and_a_shuffled_one_is_not(blocks, tmp_path):
    words = "--backbone", "MF", "--hn_alpha", ".9", "--hn_lambda", "0"
    planted = place_of_traps(blocks, tmp_path, *words)
    shuffled = place_of_traps(blocks, tmp_path, *words, shuffled=True)
    plain = place_of_traps(blocks, tmp_path, model="MF")
    assert planted < 0.2 < 0.3 < min(shuffled, plain)


# ------------------------------------------------------------------------------------------------ flags


def test_official_fills_in_what_is_not_given():
    options = small_options("HNLMRec", "--hn_official")
    assert {name: getattr(options.recommender, name) for name in OFFICIAL} == OFFICIAL
    sizes = {"embedding_dim": 6, "batch_size": 40}
    assert options.changed("x") == sizes | {"hn_official": True}
    options = small_options("HNLMRec", "--hn_official", "--hard", "tuned", "--hn_alpha", "0.3")
    own = options.recommender
    assert (own.hard, own.hn_alpha, own.hn_adapter) == ("tuned", 0.3, "frozen")
    assert options.changed("x") == sizes | {"hn_official": True, "hard": "tuned", "hn_alpha": 0.3}


def test_official_is_the_released_loss(data):
    """Hinge of m, the contrastive loss, and the norm that hardly counts, with a last ReLU and noise."""
    data.hard = hard_negatives.in_memory(data, constant=True)
    model = build(data, "--hn_official", "--lambda_reg", "10")
    batch = first_batch(model)
    torch.manual_seed(4)
    loss = model.loss(batch)
    torch.manual_seed(4)
    h = model.adapter(torch.randn(len(batch.users), 1).expand(-1, 8))
    assert (h >= 0).all()
    rows = model.backbone.rows(batch)
    m = 1e-4 * h + (1 - 1e-4) * rows.negatives
    table = model.backbone.table
    expected = hinge(rows.users, rows.positives, m)
    expected = expected + 1e-3 * contrastive(rows.users, rows.positives, h, torch.ones(len(h)))
    expected = expected + 10 * released_norm(table[batch.users], table[12 + batch.items], m)
    torch.testing.assert_close(loss, expected)


SEED, WRITING = {"llm_seed"}, {"llm_seed", "llm_domain", "llm_profile"}


@pytest.mark.parametrize(
    ("words", "shared"),
    [
        ("", SEED), ("--hard none", set()), ("--hn_folder f", set()), ("--hn_encoder f", SEED | {"llm_dtype"}),
        ("--hn_writer f", WRITING | {"llm_dtype", "llm_batch_tokens"}),
        ("--hn_url http://x", WRITING | {"llm_concurrency", "llm_timeout"}),
    ],
)  # fmt: skip
def test_a_run_without_refinement_has_those_of_its_flags_that_the_stage_reads(words, shared):
    options = small_options("HNLMRec", *words.split())
    assert {flag for flag in options.effective() if flag.startswith("llm")} == shared
    assert ("hn_tokens" in options.effective()) == (words not in ("--hard none", "--hn_folder f"))
