"""HNLMRec from outside: that a vector does what it says, what the log notes, and which flags go together."""

import hard_negatives
import numpy as np
import pytest
import torch
from blocks import BLOCKS, ITEMS, OWN_ITEMS, USERS, block_data
from hard_negatives import SMALL, build, first_batch, random_data, small_options, trained
from synthetic import Silent, made

from baselines.hnlmrec import contrastive, hinge, released_norm
from negatives import vectors
from options.models import OFFICIAL
from training import loop
from utils import InputError


@pytest.fixture
def data():
    return random_data()



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


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--hn_alpha -.1", r"--hn_alpha -0\.1: must be a number of at least 0"),
        ("--backbone MF --layers 2", "--layers: --backbone MF leaves it without a use"),
        ("--hard none --hn_tokens 50", "--hn_tokens: --hard none leaves it without a use"),
        ("--hard none --hn_folder f", "--hn_folder: --hard none leaves it without a use"),
    ],
)
def test_flags_without_a_use_and_numbers_out_of_range_are_refused(words, message):
    with pytest.raises(InputError, match=message):
        small_options("HNLMRec", *words.split())


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
    given = ["--llm_domain", "books"]
    if "llm_domain" in shared:
        assert small_options("HNLMRec", *words.split(), *given).recommender.llm_domain == "books"
    else:
        with pytest.raises(InputError, match="--llm_domain: nothing is refined"):
            small_options("HNLMRec", *words.split(), *given)
