"""--sampler against plain forms: what is drawn, what is chosen, values and gradients."""

import numpy as np
import oracle
import pytest
import torch
from synthetic import built, train_data

from baselines import samplers
from options import command_line
from training import sampling
from utils import InputError

USERS, ITEMS = 12, 40
STARS = np.array([5.0, 4.0, 3.0, 2.0, 1.0])


@pytest.fixture
def data():
    """150 random train rows with 1 to 5 stars; user 11 has rated everything."""
    pairs = np.random.RandomState(0).permutation((USERS - 1) * ITEMS)[:150]
    pairs = np.concatenate((pairs, (USERS - 1) * ITEMS + np.arange(ITEMS)))
    return train_data(USERS, ITEMS, pairs // ITEMS, pairs % ITEMS, STARS[np.arange(len(pairs)) % 5])


def build(data, *given, model="LightGCN"):
    return built(model, data, "--embedding_dim", "6", *given)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def first_batch(model, size=60):
    model.start_epoch(1)
    return next(model.data.batches(size, generator(), model.trains_on))


def dense(data):
    return oracle.dense_adjacency(data.users[data.positive], data.items[data.positive], USERS, ITEMS)


# ------------------------------------------------------------------------------------------- what is drawn


@pytest.mark.parametrize("name", list(samplers.WORDS))
def test_only_unrated_items_are_drawn_and_the_positive_itself_where_all_is_rated(data, name):
    model = build(data, "--sampler", name)
    rated = set(zip(data.train.users.tolist(), data.train.items.tolist(), strict=True))
    batch = first_batch(model, 10**6)
    rows = model.rows(batch)
    for user, item, negative in zip(batch.users, batch.items, rows.negative_items, strict=True):
        if user == USERS - 1:
            assert negative == item
        else:
            assert (int(user), int(negative)) not in rated


@pytest.mark.parametrize(("name", "power"), [("popularity", 0.75), ("dns", 0)])
def test_unrated_items_are_drawn_in_proportion_to_the_power_of_their_positives(data, name, power):
    """dns: the candidates, which are uniform."""
    weight = np.bincount(data.edges("positive").items, minlength=ITEMS) ** power
    model = build(data, "--sampler", name)
    for user in (0, 7):
        drawn = model.sampler.draw(torch.full((1,), user), 40_000, generator())[0]
        expected = weight.copy()
        expected[data.seen.entries(np.array([user]))[1]] = 0
        share = np.bincount(drawn, minlength=ITEMS) / 40_000
        np.testing.assert_allclose(share, expected / expected.sum(), atol=4 * 0.5 / 40_000**0.5)
        assert (share[expected == 0] == 0).all()
    if name == "dns":
        assert model.candidates(first_batch(model)).shape == (60, 64)


# ------------------------------------------------------------------------------------------ what is chosen


@pytest.mark.parametrize("worth", [0, 10**6])  # scores of candidates alone, and of all items
@pytest.mark.parametrize("top", [1, 3])
def test_dns_takes_each_of_the_n_hardest_candidates_alike(data, monkeypatch, top, worth):
    monkeypatch.setattr(sampling, "WORTH_ALL", worth)
    model = build(data, "--sampler", "dns", "--sampler_top", str(top))
    z_users, z_items = (z.detach() for z in model.embeddings())
    users, items = torch.zeros(3000, dtype=torch.long), torch.ones(3000, dtype=torch.long)
    candidates = torch.tensor([4, 9, 2, 30, 17, 8]).expand(3000, 6)
    chosen = samplers.choose(model.settings, z_users[users], z_items[items], z_items, candidates, generator())
    hardest = sorted(candidates[0].tolist(), key=lambda item: -float(z_users[0] @ z_items[item]))[:top]
    count = torch.bincount(chosen, minlength=ITEMS)
    assert set(count.nonzero()[:, 0].tolist()) == set(hardest)
    np.testing.assert_allclose(count[hardest] / 3000, 1 / top, atol=4 * 0.5 / 3000**0.5)


def test_ahns_of_a_whole_batch_against_a_loop(data):
    model = build(data, "--sampler", "ahns", "--ahns", "0.5", "0.2", "-1.5")
    batch = first_batch(model)
    model.generator.manual_seed(5)
    rows = model.rows(batch)
    model.generator.manual_seed(5)
    candidates = model.candidates(batch)
    z_users, z_items = (z.detach() for z in model.embeddings())
    for place, (user, item) in enumerate(zip(batch.users, batch.items, strict=True)):
        target = 0.2 * max(float(z_users[user] @ z_items[item]) + 0.5, 1e-4) ** (-1.5 + 1)
        off = [abs(float(z_users[user] @ z_items[j]) - target) for j in candidates[place]]
        assert rows.negative_items[place] == candidates[place][int(np.argmin(off))]


@pytest.mark.parametrize("words", [["dns"], ["ahns"]])
def test_the_chosen_items_stand_in_the_loss(data, words):
    """Value and gradient: as if the chosen items had been given."""
    model = build(data, "--sampler", *words)
    batch = first_batch(model)
    model.generator.manual_seed(5)
    loss = model.loss(batch)
    model.generator.manual_seed(5)
    chosen = model.rows(batch).negative_items
    plain = build(data)
    plain.negatives = torch.zeros(len(data.edges("positive")), dtype=torch.long)
    plain.negatives[batch.positive_numbers] = chosen
    expected = plain.loss(batch)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(torch.autograd.grad(loss, model.table), torch.autograd.grad(expected, plain.table))


# ----------------------------------------------------------------------------------------------- MixGCF


@pytest.mark.parametrize("model", ["LightGCN", "MF"])
def test_mixgcf_against_plain_hops_in_value_and_gradient(data, model):
    layers = {"LightGCN": ["--layers", "2"], "MF": []}[model]
    words = "--sampler", "mixgcf", "--sampler_candidates", "5", "--lambda_reg", "1"
    model = build(data, *words, *layers, model=model)
    batch = first_batch(model)
    model.generator.manual_seed(5)
    loss = model.loss(batch)

    model.generator.manual_seed(5)
    candidates = model.candidates(batch)
    n_hops = model.propagation.layers + 1
    share = torch.rand(n_hops, len(batch.users), 1, generator=model.generator)
    hops = [model.table]
    for _ in range(n_hops - 1):
        hops.append(dense(data) @ hops[-1])
    z = sum(hops) / n_hops
    terms, nodes = [], set()
    for row, (user, item) in enumerate(zip(batch.users.tolist(), batch.items.tolist(), strict=True)):
        mixed = []
        for k, hop in enumerate(hops):
            a = share[k, row, 0]
            made = [a * hop[USERS + item] + (1 - a) * hop[USERS + j] for j in candidates[row].tolist()]
            best = max(range(5), key=lambda j, made=made: float(z[user] @ made[j]))
            mixed.append(made[best])
            if k == 0:
                nodes |= {user, USERS + item, USERS + int(candidates[row, best])}
        negative = sum(mixed) / n_hops
        terms.append(torch.nn.functional.softplus(z[user] @ negative - z[user] @ z[USERS + item]))
    norm = model.table[sorted(nodes)].square().sum()
    expected = torch.stack(terms).mean() + model.settings.lambda_reg * norm / len(batch.users)
    torch.testing.assert_close(loss, expected)
    gradients = [torch.autograd.grad(x, model.table)[0] for x in (loss, expected)]
    torch.testing.assert_close(*gradients, atol=1e-6, rtol=1e-4)


# ------------------------------------------------------------------------------------------------ flags


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--sampler dns --sampler_top 65", "--sampler_top 65: must be at most --sampler_candidates, 64"),
        ("--sampler dns --sampler_top 0", "--sampler_top 0: must be a number of at least 1"),
        ("--sampler_candidates 5", "--sampler_candidates: --sampler uniform leaves it without a use"),
        ("--sampler mixgcf --sampler_top 5", "--sampler_top: --sampler mixgcf leaves it without a use"),
        ("--sampler dns --ahns 1 1 -1", "--ahns: --sampler dns leaves it without a use"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(words, message):
    with pytest.raises(InputError, match=message):
        command_line.parse(["--dataset", "x", "--model", "LightGCN", *words.split()])
