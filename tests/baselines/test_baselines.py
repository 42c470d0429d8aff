"""The comparison systems against hand-made cases, PyG's own LightGCN and the golden vectors of SiReN."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hard_negatives import random_data
from synthetic import built, train_data
from torch_geometric.nn.models import LightGCN as PygLightGCN

from baselines import refine
from baselines.ease import EASE
from baselines.popularity import Popularity
from baselines.siren import SiReN
from options import command_line
from options.models import MODELS
from training import sampling
from training.sampling import UnratedSampler, draw_for_each
from utils import InputError

USERS, ITEMS = 12, 40


@pytest.fixture
def data():
    return random_data()


def build(name, data, *given):
    if not MODELS[name].closed_form:
        given = ("--embedding_dim", "8", *given)
    return built(name, data, *given)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def batch_of(model, size=60):
    return next(model.data.batches(size, generator(), model.trains_on))


# ------------------------------------------------------------------------------- closed-form models


def test_popularity_counts_the_train_positives(data):
    model = Popularity(data, None, None)
    model.solve({})
    users, items = model.embeddings()
    counts = np.bincount(data.train.items[data.train.rating >= 4], minlength=ITEMS)
    assert torch.equal(users @ items.t(), torch.tensor(counts).float().expand(USERS, ITEMS))


def test_stars_predicts_each_rating_from_the_others_of_its_user(data):
    """Column j of B is the ridge regression of what is left of item j's stars on that of the other items."""
    model = build("Stars", data, "--stars_lambda", "7")
    model.solve({"lambda": 7.0})
    users, items = (part.double().numpy() for part in model.embeddings())
    rows = list(zip(data.train.users, data.train.items, data.train.rating, strict=True))
    left = {(user, item): stars - data.train.rating.mean() for user, item, stars in rows}
    for place, n in ((0, USERS), (1, ITEMS)):
        own = [[value for pair, value in left.items() if pair[place] == which] for which in range(n)]
        mean = [sum(values) / (len(values) + 5) for values in own]
        left = {pair: value - mean[pair[place]] for pair, value in left.items()}
    x = np.zeros((USERS, ITEMS))
    for pair, value in left.items():
        x[pair] = value
    for item in range(ITEMS):
        others = np.delete(x, item, axis=1)
        weights = np.linalg.solve(others.T @ others + 7 * np.eye(ITEMS - 1), others.T @ x[:, item])
        np.testing.assert_allclose(users @ items[item], others @ weights + mean[item], atol=1e-5)


@pytest.mark.parametrize("side", ["item", "user"])
@pytest.mark.parametrize("weights", [(0, 0, 0, 1, 1), (0.2, 0.3, 0.6, 1, 1.2), (-0.6, -0.2, 0.3, 1, 1.2)])
def test_ease_solves_its_ridge_regressions_column_by_column(data, weights, side):
    """Column j of B is the ridge regression of column j of scaled X on the other columns, with (1 + p) times their
    weight and lambda on the diagonal (Steck 2019, section 3; Steck 2020); between users, of X'.  Words that items share
    are more rows (Jeunen et al. 2020)."""
    has_words = np.random.RandomState(0).randint(0, 2, (ITEMS, 2))  # (I, words)
    data.texts = [f"The {'River ' * n}of {'stone ' * m}(1990)" for n, m in has_words]
    data.texts[0] += " Nowhere"  # no other item's
    words = [0.0, 3.0] if side == "item" else [0.0]
    more = {"ease_lambdas": [7.0, 30.0], "ease_denoising": [0.0, 0.7], "ease_alphas": [0.0, 0.5], "ease_words": words}
    model = EASE(data, SimpleNamespace(ease_weights=weights, ease_side=side, **more), None)
    x = np.zeros((USERS, ITEMS))
    for user, item, rating in zip(data.train.users, data.train.items, data.train.rating, strict=True):
        star = {4.5: 4, 0.5: 1}.get(rating, rating)
        x[user, item] = weights[int(star) - 1]
    rows = {"item": x, "user": x.T}[side]
    n = rows.shape[1]
    assert len(model.grid) == 8 * len(words)
    assert model.grid[-1] == {"alpha": 0.5, "words": words[-1], "p": 0.7, "lambda": 30.0}
    for setting in model.grid:
        model.solve(setting)
        scale = np.maximum(np.abs(rows).sum(1, keepdims=True), 1e-9) ** -setting["alpha"]
        scaled = rows * scale
        if setting["words"]:
            scaled = np.vstack([scaled, setting["words"] * has_words.T])
        expected = np.zeros((n, n))
        for j in range(n):
            others = np.delete(scaled, j, axis=1)
            gram = others.T @ others
            gram += np.diag(setting["lambda"] + setting["p"] * np.diag(gram))
            expected[:, j] = np.insert(np.linalg.solve(gram, others.T @ scaled[:, j]), j, 0.0)
        scores = rows @ expected
        users, items = model.embeddings()
        np.testing.assert_allclose(users @ items.t(), {"item": scores, "user": scores.T}[side], atol=1e-5)


@pytest.mark.parametrize(
    ("words", "bytes_needed"),
    [
        ("--ease_side item", 21_120), ("--ease_side user", 3_648), ("--ease_alphas 0 .5", 21_120 + 4 * 12 * 40),
        ("--ease_words 1", 21_120 + 4 * 40),
    ],
)  # fmt: skip
def test_ease_is_refused_beforehand_where_it_does_not_fit(data, monkeypatch, words, bytes_needed):
    """4 bytes x (12 users x 40 items + 3 matrices of 40 x 40, between users of 12 x 12); alpha scales a copy of X."""
    data.texts = ["House"] * ITEMS  # one word
    monkeypatch.setattr("machine.hardware.available_memory", lambda device: bytes_needed)
    build("EASE", data, *words.split())
    monkeypatch.setattr("machine.hardware.available_memory", lambda device: bytes_needed - 1)
    with pytest.raises(InputError, match=r"--model EASE: (40 x 40|12 x 12) weights and the ratings of 12 users"):
        build("EASE", data, *words.split())


def test_words_that_no_two_items_share_are_refused(data):
    data.texts = [f"The x {number}" for number in range(ITEMS)]
    with pytest.raises(InputError, match="--ease_words: no two items' titles or genres have a word in common"):
        build("EASE", data, "--ease_words", "0", "1")


# ----------------------------------------------------------------------------------- one for each


def test_one_negative_for_each_positive_follows_the_weights():
    """Rows of different weights, one user without any: shares of 20,000 draws a user within four standard errors."""
    weight = torch.tensor([[0.0, 1.0, 1.5, 0.5], [2.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 0.0]])
    users = np.random.RandomState(0).permutation(np.repeat([0, 1, 2, 3], 20_000))
    drawn = draw_for_each(users, np.full(len(users), 3), 4, lambda own: weight[own], generator())
    assert (drawn[users == 2] == 3).all()  # nothing to draw: the positive itself
    for user in (0, 1, 3):
        share = np.bincount(drawn[users == user], minlength=4) / 20_000
        expected = (weight[user] / weight[user].sum()).numpy()
        assert (share[expected == 0] == 0).all()
        np.testing.assert_allclose(share, expected, atol=4 * 0.5 / 20_000**0.5)


def test_drawing_does_not_depend_on_how_users_are_blocked(monkeypatch):
    random = np.random.RandomState(0)
    weight, users = torch.rand(30, 9), random.randint(30, size=400)
    drawn, blocks = [], []

    def weights(own):
        blocks.append(len(own))
        return weight[own]

    for block in (9 * 30 * 4, 9 * 4 * 4):  # all users at once; four at a time
        monkeypatch.setattr("training.sampling.BLOCK", block)
        drawn.append(draw_for_each(users, users, 9, weights, generator()))
    assert max(blocks) == 30 and blocks[1:] == [4] * 7 + [2]
    assert torch.equal(*drawn)  # the same dice in the same order of users


# ------------------------------------------------------------------------------------------ LightGCN


@pytest.mark.parametrize(
    ("name", "given", "layers"), [("LightGCN", ["--layers", "3"], 3), ("MF", [], 0)]
)
def test_lightgcn_and_mf_agree_with_pyg_in_embeddings_loss_and_gradient(data, name, given, layers):
    model = build(name, data, *given)
    users, items = data.users[data.positive], data.items[data.positive] + USERS
    edge_index = torch.cat((torch.stack((users, items)), torch.stack((items, users))), 1)
    pyg = PygLightGCN(USERS + ITEMS, 8, layers)
    with torch.no_grad():
        pyg.embedding.weight.copy_(model.table)
    torch.testing.assert_close(torch.cat(model.embeddings()), pyg.get_embedding(edge_index))

    model.start_epoch(1)
    batch = batch_of(model)
    negatives = model.negatives[batch.positive_numbers] + USERS
    pairs = torch.stack((batch.users, batch.items + USERS)), torch.stack((batch.users, negatives))
    positive, negative = (pyg(edge_index, edge_label_index=pair) for pair in pairs)
    nodes = torch.cat((*pairs[0], negatives)).unique()
    expected = pyg.recommendation_loss(positive, negative, node_id=nodes, lambda_reg=1e-4)
    torch.testing.assert_close(model.loss(batch), expected)
    gradients = [
        torch.autograd.grad(loss, w)[0]
        for loss, w in ((model.loss(batch), model.table), (expected, pyg.embedding.weight))
    ]
    torch.testing.assert_close(*gradients)


def test_lightgcn_draws_uniformly_every_epoch_and_the_positive_itself_where_all_is_rated():
    users, items = np.array([0, 0, 1, 1, 1, 1, 1]), np.array([0, 1, 0, 1, 2, 3, 4])
    model, drawn = build("LightGCN", train_data(2, 5, users, items, np.full(7, 5.0))), []
    for epoch in range(3000):
        model.start_epoch(epoch)
        drawn.append(model.negatives)
    drawn = torch.stack(drawn)  # (3000, 7)
    share = torch.bincount(drawn[:, :2].flatten(), minlength=5) / 6000
    np.testing.assert_allclose(share, [0, 0, 1 / 3, 1 / 3, 1 / 3], atol=4 * 0.5 / 6000**0.5)
    assert (drawn[:, 2:] == torch.arange(5)).all()


# -------------------------------------------------------------------------------------------- ReFINe


def test_refine_weights_on_a_hand_made_case(monkeypatch):
    """One user, eight items: 0 liked, 1 and 2 confirmed negatives, 3 neutral.  Most similar to 0: 1, 4, 5; to 1: 5, 6,
    0; to 2: 3, 6, 7.  With s = 3 the liked item's neighbours 4 and 5 get q (1 is a confirmed negative and keeps gamma);
    with r = 2 the confirmed ones' neighbours 6 and 3 get p, while 5 keeps q; 7 is third and keeps 1."""
    data = train_data(1, 8, np.zeros(4, int), np.arange(4), np.array([5.0, 1.0, 1.0, 3.0]))
    model = build(
        "ReFINe", data, "--s", "3", "--r", "2", "--q", "0.75", "--p", "1.6", "--real_neg_samp_prob", "1.5", "--t", "2"
    )
    model.start_epoch(1)
    assert model.negative_weights(np.array([0])).tolist() == [[0, 1.5, 1.5, 1, 1, 1, 1, 1]]
    similar = torch.zeros(8, 3, dtype=torch.long)
    similar[:3] = torch.tensor([[1, 4, 5], [5, 6, 0], [3, 6, 7]])
    monkeypatch.setattr(model, "most_similar", lambda: similar)
    model.start_epoch(2)
    assert model.negative_weights(np.array([0]))[0].tolist() == pytest.approx([0, 1.5, 1.5, 1.6, 0.75, 0.75, 1.6, 1])


def test_refine_finds_similar_items_by_blocks_as_at_once(data, monkeypatch):
    found = []
    for block in (ITEMS * ITEMS, ITEMS * 7):
        monkeypatch.setattr(refine, "BLOCK", block)
        model = build("ReFINe", data, "--t", "1", "--r", "5")
        assert model.start_epoch(1) == "similar items weighted from now on"
        found.append(model.similar)
    assert torch.equal(*found)
    z = model.embeddings()[1]
    expected = (z @ z.t()).fill_diagonal_(-torch.inf).argsort(dim=1, descending=True)[:, :5]
    assert torch.equal(found[0], expected)
    assert not model.start_epoch(2)  # said in the log at epoch t alone


# --------------------------------------------------------------------------------------------- SiReN


@pytest.fixture
def golden():
    """The worked example of the design page: two users, four items, dropout off."""
    data = train_data(2, 4, np.array([0, 0, 1, 1]), np.array([0, 1, 0, 2]), np.array([5.0, 2.0, 4.0, 1.0]))
    options = command_line.parse(
        ["--dataset", "x", "--model", "SiReN", "--embedding_dim", "2", "--layers", "2", "--siren_dropout", "0"]
    )
    model = SiReN(data, options.recommender, generator())
    values = {
        "table": [[0.1, 0.2], [0.3, -0.1], [0.5, 0.4], [-0.2, 0.1], [0, 0.6], [0.25, -0.35]],
        "negative_table": [[0.2, -0.1], [0.1, 0.3], [-0.4, 0.2], [0.3, 0.3], [-0.1, -0.2], [0.15, 0.05]],
        "mlp.0.weight": [[1, 0.5], [-0.5, 1]], "mlp.0.bias": [0.1, -0.1],
        "mlp.1.weight": [[0.5, -1], [1, 0.5]], "mlp.1.bias": [0.2, 0.05],
        "attention.weight": [[0.3, -0.2], [0.1, 0.4]], "attention.bias": [0.05, -0.05], "query.weight": [[1, -0.5]],
    }  # fmt: skip
    model.load_state_dict({name: torch.tensor(value, dtype=torch.float32) for name, value in values.items()})
    return model


def close(found, expected):
    torch.testing.assert_close(found, torch.tensor(expected), atol=2e-6, rtol=0)


def test_siren_branches_and_attention_are_the_golden_vectors(golden):
    """Of which the negative edges are in no graph."""
    positive, negative = golden.branches()
    z_p = [
        [0.217851, 0.177614], [0.284518, 0.077614], [0.427614, 0.290237],
        [-0.066667, 0.033333], [0, 0.2], [0.083333, -0.116667],
    ]  # fmt: skip
    z_n = [[0.325, 0.3], [0.225, 0.475], [0, 0.2], [0.425, 0.625], [0.2, 0.05], [0.3375, 0.325]]
    z = [
        [0.270835, 0.238132], [0.257320, 0.259206], [0.221335, 0.246707],
        [0.165481, 0.312697], [0.105478, 0.120892], [0.203265, 0.091740],
    ]  # fmt: skip
    close(positive, z_p)
    close(negative, z_n)
    close(torch.cat(golden.embeddings()), z)


@pytest.mark.parametrize(
    ("c", "weight", "expected"), [(2.0, 0.0, 3.935985), (-1.0, 0.0, 4.478527), (2.0, 0.05, 3.986190)]
)
def test_siren_loss_is_the_golden_one(golden, c, weight, expected):
    golden.settings.lambda_reg = weight
    users, items = torch.tensor([0, 0, 1]), torch.tensor([0, 1, 2])
    coefficients, negatives = torch.tensor([1.0, c, c]), torch.tensor([[2, 3], [3, 3], [1, 3]])
    loss = golden.ranking_loss(users, items, coefficients, negatives, torch.ones(3, dtype=torch.bool))
    torch.testing.assert_close(loss, torch.tensor(expected), atol=5e-6, rtol=0)


def test_siren_gives_each_edge_of_a_batch_its_coefficient(golden, monkeypatch):
    """Through loss(): the batch of all four edges, each with the one item that can be drawn for its user."""
    golden.settings.siren_neg_coef, golden.settings.n_negatives = -1.0, 3
    batch = next(golden.data.batches(10, generator(), "all"))
    edges = [(0, 0, 1.0, 2), (0, 1, -1.0, 2), (1, 0, 1.0, 1), (1, 2, -1.0, 1)]
    z_users, z_items = golden.embeddings()
    expected = 0
    for u, i, c, j in edges:
        s = c * z_users[u] @ z_items[i] - z_users[u] @ z_items[j]
        norms = z_users[u].square().sum() + z_items[i].square().sum() + 3 * z_items[j].square().sum()
        expected = expected - 3 * torch.nn.functional.logsigmoid(s) + 0.05 * norms
    torch.testing.assert_close(golden.loss(batch), expected)


def test_siren_fetches_the_same_scores_in_a_large_catalogue(data, monkeypatch):
    found = []
    for worth in (0, 10**6):
        monkeypatch.setattr(sampling, "WORTH_ALL", worth)
        model = build("SiReN", data, "--siren_dropout", "0")
        loss = model.loss(batch_of(model))
        found.append((loss, torch.autograd.grad(loss, list(model.parameters()))))
    torch.testing.assert_close(*found)


def test_siren_drops_out_in_training_only(data):
    model = build("SiReN", data)
    model.train()
    assert not torch.equal(model.embeddings()[0], model.embeddings()[0])
    model.eval()
    assert torch.equal(model.embeddings()[0], model.embeddings()[0])


def test_the_sampler_never_draws_a_rated_item_whatever_the_dice():
    """Users who have rated all but one item, weights from tiny to huge, the least and the largest die."""
    rated = np.array([(user, item) for user in range(30) for item in range(30) if item != user]).T
    data = train_data(30, 30, *rated, np.ones(30 * 29, bool))
    sampler = UnratedSampler(data, 10.0 ** torch.linspace(-3, 6, 30, dtype=torch.float64))
    users = torch.arange(30)
    for die in (0.0, 1 - 2**-53, 0.5):
        sampler_rand = torch.full((30, 1), die, dtype=torch.float64)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sampling.torch, "rand", lambda *a, value=sampler_rand, **k: value)
            assert sampler.draw(users, 1, generator())[:, 0].tolist() == users.tolist()


def test_edges_of_a_user_who_has_rated_everything_do_not_count():
    rated = train_data(2, 3, np.array([0, 0, 0, 1]), np.array([0, 1, 2, 0]), np.array([5.0, 4.0, 1.0, 5.0]))
    model = build("SiReN", rated, "--siren_dropout", "0")
    loss = model.loss(next(rated.batches(10, generator(), "all")))
    gradient = torch.autograd.grad(loss, model.negative_table)[0]
    assert torch.isfinite(loss) and gradient[0].abs().sum() == 0 < gradient[1].abs().sum()


# ---------------------------------------------------------------------------------------- new users, similar items

ALIKE = ["EASE", "Stars", "Popularity", "ItemMean", "LightGCN", "MF", "ReFINe", "ReFINe++", "SiReN"]


@pytest.mark.parametrize("name", ALIKE)
def test_several_new_users_at_once_are_each_alone(data, name):
    model = build(name, data).eval()
    users, items, ratings = np.array([0, 0, 1, 2, 2]), np.array([3, 7, 3, 9, 11]), np.array([5.0, 1, 4, 2, 5])
    together = model.fold_in(users, items, ratings, 3).detach()
    assert together.shape == (3, model.embeddings()[1].shape[1])
    for user in range(3):
        own = users == user
        alone = model.fold_in(np.zeros(own.sum(), int), items[own], ratings[own], 1).detach()
        torch.testing.assert_close(together[user], alone[0])


@pytest.mark.parametrize(
    ("name", "given", "edges"),
    [
        ("LightGCN", [], [5, 4]), ("ReFINe", [], [5, 4]), ("MF", [], None), ("SiReN", [], [5, 4]),
        ("ReFINe++", ["--graph", "positive"], [5, 4]), ("ReFINe++", ["--graph", "signed"], [5, 4, 1]),
        ("HNLMRec", ["--hard", "none"], [5, 4]),
    ],
)  # fmt: skip
def test_a_new_user_is_the_sum_of_the_items_of_their_edges_over_the_roots_of_degrees(data, name, given, edges):
    """edges: the stars that are edges of the graph; None: no graph, and the likes count alike."""
    model = build(name, data, *given).eval()
    items, ratings = np.arange(10), np.repeat([5.0, 4, 3, 2, 1], 2)
    z_items = model.embeddings()[1].detach().double().numpy()
    expected = np.zeros(z_items.shape[1])
    for item in items[np.isin(ratings, edges or [5, 4])]:
        rated = data.train.rating[data.train.items == item]
        degree = np.isin(rated, edges).sum() if edges else 1
        expected += z_items[item] / np.sqrt(max(degree, 1))
    expected /= np.sqrt(np.isin(ratings, edges or [5, 4]).sum())
    found = model.fold_in(np.zeros(10, int), items, ratings, 1)[0].detach().numpy()
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-7)


def test_what_a_new_user_rejects_counts_as_of_a_train_user(data):
    """With --rejection: the columns behind the embeddings are those of a train user with the same confirmed negatives,
    up to the deviation of the scores, which is the users' own."""
    model = build("ReFINe++", data, "--rejection", "0.5").eval()
    users, items = model.embeddings()
    own = data.train.users == 3
    found = model.fold_in(np.zeros(own.sum(), int), data.train.items[own], data.train.rating[own], 1)
    assert found.shape[1] == users.shape[1] == items.shape[1]
    torch.testing.assert_close(found[0, 8:], users[3, 8:].detach())
    spread = (found[:, :8] @ items[:, :8].t()).std(correction=0)
    assert spread.item() == pytest.approx(1, rel=1e-3)
    assert model.similarities(3).argmax() == 3  # of the embeddings alone
    torch.testing.assert_close(model.similarities(3), build("ReFINe++", data).similarities(3))
