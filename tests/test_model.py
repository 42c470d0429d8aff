"""The model against its plain forms: values and gradients."""

import dataclasses
import math

import numpy as np
import oracle
import pytest
import torch
import torch.nn.functional as F
from synthetic import train_data
from torch.utils._python_dispatch import TorchDispatchMode

from dataloader import SparseRows
from model import DispreferenceAutoencoder, ReFINePlusPlus, alignment, reconstruction, rw_ssm, with_own_negatives
from options.models import ReFINePlusPlusSettings
from training.recommender import Propagation, penalty
from training.sampling import draw_negatives

USERS, ITEMS, DIM = 12, 40, 6  # the constructed data set


def options(**changes):
    small = {"layers": 3, "embedding_dim": DIM, "hidden_dim": 9, "lambda_reg": 1e-2, "lambda_ae": 1e-3}
    return ReFINePlusPlusSettings(**small | changes)


@pytest.fixture
def data():
    pairs = np.random.RandomState(0).permutation(USERS * ITEMS)[:150]
    users, items, positive = pairs // ITEMS, pairs % ITEMS, np.arange(150) % 3 > 0
    return train_data(USERS, ITEMS, users, items, positive)


def build(data, **changes):
    torch.manual_seed(1)
    return ReFINePlusPlus(data, options(**changes), torch.Generator().manual_seed(2))


def one_batch(data, size=60):
    return next(data.batches(size, torch.Generator().manual_seed(3)))


def confirmed_pairs(batch):
    rows = batch.negatives_by_user
    return rows.ids[rows.row_of], rows.cols


# ------------------------------------------------------------------------------------------ propagation


@pytest.mark.parametrize("layers", [0, 1, 4])
def test_propagation_agrees_with_dense_and_with_pyg_in_value_and_gradient(data, layers):
    table = torch.randn(USERS + ITEMS, DIM, requires_grad=True)
    upstream = torch.randn(USERS + ITEMS, DIM)
    dense = oracle.dense_adjacency(data.users, data.items, USERS, ITEMS)
    forms = (
        Propagation(data.users, data.items, USERS, ITEMS, layers),
        lambda x: oracle.dense_propagation(x, dense, layers),
        oracle.PygPropagation(data.users, data.items, USERS, layers),
    )
    values = [form(table) for form in forms]
    gradients = [torch.autograd.grad(value, table, upstream)[0] for value in values]
    for other in (1, 2):
        torch.testing.assert_close(values[0], values[other])
        torch.testing.assert_close(gradients[0], gradients[other])


# --------------------------------------------------------------------------------------------- sampling


def test_negatives_are_distinct_and_never_of_weight_zero():
    weight = torch.ones(50, 30)
    weight[:, ::3] = 0
    items, drawn = draw_negatives(weight, 15, torch.Generator().manual_seed(0))
    assert drawn.all() and not (items % 3 == 0).any()
    assert all(len(set(row)) == 15 for row in items.tolist())


def test_sampling_follows_successive_weighted_drawing():
    """Two of three items with weights 1, 1.5, 3: inclusion probabilities worked out by hand."""
    weight = torch.tensor([1.0, 1.5, 3.0])
    total = weight.sum()
    expected = [
        w / total + sum(o / total * w / (total - o) for j, o in enumerate(weight) if j != i)
        for i, w in enumerate(weight)
    ]
    items, _ = draw_negatives(weight.expand(200_000, 3), 2, torch.Generator().manual_seed(0))
    share = torch.bincount(items.flatten(), minlength=3) / 200_000
    torch.testing.assert_close(share, torch.stack(expected), atol=0.005, rtol=0)  # 4 standard errors


def test_sampling_weights_are_zero_for_positives_gamma_for_confirmed_negatives_one_else(data):
    users = np.array([3, 0, 7])
    expected = torch.ones(USERS, ITEMS)
    expected[data.users[data.positive], data.items[data.positive]] = 0
    expected[data.users[~data.positive], data.items[~data.positive]] = 2.5
    assert torch.equal(build(data, real_neg_samp_prob=2.5).negative_weights(users), expected[users])


# ------------------------------------------------------------------------------------------------ losses


def test_rw_ssm_by_hand():
    """One positive of score 1 against negatives of scores 0 and 2: log(1 + e^-1 + e^1)."""
    loss = rw_ssm(torch.tensor([1.0]), torch.tensor([0.0, 2.0]).logsumexp(0, keepdim=True))
    assert loss.item() == pytest.approx(np.log(1 + np.exp(-1) + np.exp(1)), abs=1e-6)


def test_rw_ssm_survives_scores_whose_exponential_overflows():
    positive = torch.tensor([-200.0], requires_grad=True)
    loss = rw_ssm(positive, torch.tensor([200.0]))
    loss.backward()
    assert loss.item() == 400 and positive.grad.item() == -1


@pytest.mark.parametrize(("negatives", "kappa"), [("shared", 0), ("per_user", 0), ("shared", 2.5), ("per_user", 0.3)])
def test_ranking_loss_agrees_with_the_written_out_sum(data, negatives, kappa):
    model, batch = build(data, negatives=negatives, kappa=kappa), one_batch(data)
    z_users, z_items = (z.detach().requires_grad_() for z in model.embeddings())
    fast = model.ranking_loss(batch, z_users, z_items)
    generator = torch.Generator().manual_seed(2)
    drawn_for = batch.users_host[:1] if negatives == "shared" else batch.distinct_users_host
    drawn, _ = draw_negatives(model.negative_weights(drawn_for), model.n_negatives, generator)
    own = batch.distinct_of if negatives == "per_user" else torch.zeros_like(batch.distinct_of)
    confirmed = list(zip(*(part.tolist() for part in data.confirmed_negatives.all_entries()), strict=True))
    plain = oracle.rw_ssm(z_users, z_items, batch.users, batch.items, drawn[own].tolist(), kappa, confirmed)
    torch.testing.assert_close(fast, plain)
    for gradients in zip(*(torch.autograd.grad(loss, (z_users, z_items)) for loss in (fast, plain)), strict=True):
        torch.testing.assert_close(*gradients)


def test_confirmed_negatives_in_the_denominator_survive_scores_whose_exponential_overflows():
    """A user without any keeps the sum as it was; one whose own stand high above the sampled ones has their sum."""
    lse = torch.tensor([1.0, 300.0, -2e38], requires_grad=True)
    scores = torch.tensor([400.0, 400.0, -5.0], requires_grad=True)
    found = with_own_negatives(lse, scores, torch.tensor([1, 1, 2]), 0.5)
    assert found.tolist() == pytest.approx([1, 400, -5 + math.log(0.5)])
    found.sum().backward()
    assert lse.grad.tolist() == pytest.approx([1, 0, 0]) and scores.grad.tolist() == pytest.approx([0.5, 0.5, 1])


def sparse_rows(x):
    users, items = x.nonzero(as_tuple=True)
    return SparseRows(*(torch.from_numpy(a) for a in SparseRows.arrays(users.numpy(), items.numpy())))


@pytest.mark.parametrize("entries", [0, 1, 25, USERS * ITEMS])
def test_autoencoder_on_active_rows_agrees_with_the_dense_one(entries):
    torch.manual_seed(0)
    autoencoder = DispreferenceAutoencoder(ITEMS, 9, DIM).double()
    x = torch.zeros(USERS * ITEMS, dtype=torch.float64)
    x[torch.randperm(USERS * ITEMS)[:entries]] = 1
    x = x.view(USERS, ITEMS)
    z = torch.randn(USERS, DIM, dtype=torch.float64, requires_grad=True)
    rows = sparse_rows(x)
    fast_codes, logits = autoencoder(rows)
    codes, output = oracle.dense_autoencoder(autoencoder, x)
    pairs = (
        (reconstruction(logits, rows, USERS), torch.nn.functional.binary_cross_entropy(output, x)),
        (alignment(z, fast_codes, rows), torch.nn.functional.mse_loss(z, codes)),
    )
    parameters = [*autoencoder.parameters(), z]
    for fast, plain in pairs:
        torch.testing.assert_close(fast, plain)
        more = {"retain_graph": True, "materialize_grads": True}
        gradients = (torch.autograd.grad(form, parameters, **more) for form in (fast, plain))
        for pair in zip(*gradients, strict=True):
            torch.testing.assert_close(*pair)


def test_bfloat16_is_the_same_loss_but_for_rounding(data):
    """Within 2 % in every gradient, not equal; weights, gradients and losses stay float32."""
    batch, losses, gradients = one_batch(data), [], []
    for precision in ("float32", "bfloat16"):
        model = build(data, precision=precision)
        loss = model.loss(batch)
        loss.backward()
        assert loss.dtype == torch.float32
        losses.append(loss.item())
        gradients.append([weight.grad for weight in model.parameters()])
        assert all(weight.grad.dtype == torch.float32 for weight in model.parameters())
    assert losses[0] == pytest.approx(losses[1], rel=1e-3) and losses[0] != losses[1]
    for exact, rounded in zip(*gradients, strict=True):
        assert (exact - rounded).norm() <= 0.02 * exact.norm()


def test_autoencoder_starts_with_xavier_uniform_weights_and_the_biases_of_linear_layers():
    """Weights uniform within sqrt(6 / (fan in + fan out)), biases within 1/sqrt(fan in), which for the first layer is
    the width although it is stored input-major."""
    autoencoder = DispreferenceAutoencoder(400, 300, 200)
    assert autoencoder.first.shape == (400, 300)
    weights = (autoencoder.first, autoencoder.to_code.weight, autoencoder.from_code.weight, autoencoder.last.weight)
    for weight in weights:
        bound = (6 / sum(weight.shape)) ** 0.5
        assert 0.99 * bound < weight.abs().max() <= bound
        assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)
    assert 0.045 < autoencoder.first_bias.abs().max() <= 0.05


# ------------------------------------------------------------------------------------------ whole model


def test_total_loss_and_its_gradient_agree_with_the_plain_form(data):
    """Weight decay stands for the norms: a step of SGD moves every parameter as the plain loss does."""
    model, plain, batch = build(data), build(data), one_batch(data)
    optimizer = torch.optim.SGD(model.parameter_groups(), lr=1.0)
    fast = model.loss(batch)
    fast.backward()
    reported = fast + penalty(optimizer)
    optimizer.step()
    propagation = oracle.PygPropagation(data.users, data.items, USERS, 3)
    expected = oracle.plain_loss(plain, propagation, (batch.users, batch.items), confirmed_pairs(batch))
    torch.testing.assert_close(reported, expected)
    gradients = torch.autograd.grad(expected, list(plain.parameters()))
    for after, before, gradient in zip(model.parameters(), plain.parameters(), gradients, strict=True):
        torch.testing.assert_close(after, before - gradient)


@pytest.mark.parametrize("sign", [True, False])
def test_a_batch_may_lack_either_sign(data, sign):
    edges = data.edges("signed")
    keep = edges.positive == sign
    model = build(train_data(USERS, ITEMS, edges.users[keep], edges.items[keep], edges.positive[keep]))
    loss = model.loss(next(model.data.batches(1000, torch.Generator().manual_seed(0))))
    loss.backward()
    assert torch.isfinite(loss) and all(torch.isfinite(p.grad).all() for p in model.parameters())


@pytest.mark.parametrize("loss", ["rw_ssm", "bpr"])
def test_stars_weigh_in_the_ranking_loss(data, loss):
    """The weighted mean of what each positive has as its loss alone; weights that are all the same change nothing."""
    data.train.rating[data.train.rating >= 4] = np.tile([4.5, 4.0, 5.0], 34)[:100]
    plain, batch = build(data, no_autoencoder=True, loss=loss), one_batch(data)
    plain.start_epoch(1)
    losses = []
    for row in range(len(batch.users)):
        only = slice(row, row + 1)
        fields = {name: getattr(batch, name)[only] for name in ("users", "items", "distinct_of", "positive_numbers")}
        one = dataclasses.replace(batch, **fields)
        plain.generator.manual_seed(2)
        losses.append(plain.ranking_loss(one, *plain.embeddings()))
    rating = torch.from_numpy(data.train.rating[data.train.rating >= 4])[batch.positive_numbers]
    weight = 0.6 * (rating == 4.5) + 1.0 * (rating == 4) + 1.2 * (rating == 5)
    assert len(set(weight.tolist())) == 3
    for weights, expected in (((0.6, 1, 1.2), weight), ((2, 2, 2), torch.ones(len(weight)))):
        model = build(data, no_autoencoder=True, loss=loss, star_weights=weights)
        model.start_epoch(1)
        model.generator.manual_seed(2)
        mean = (expected * torch.stack(losses)).sum() / expected.sum()
        torch.testing.assert_close(model.ranking_loss(batch, *model.embeddings()), mean.float())


def test_a_list_knows_what_the_users_autoencoder_reconstructs_and_the_loss_does_not(data):
    """The standardised score less lambda times the dense autoencoder's standardised logits, but for a number a user."""
    plain, model = build(data), build(data, rejection=0.3)
    assert torch.equal(plain.loss(one_batch(data)), model.loss(one_batch(data)))
    model.eval()
    users, items = model.embeddings()
    z_users, z_items = plain.embeddings()
    x = torch.zeros(USERS, ITEMS)
    x[data.confirmed_negatives.all_entries()] = 1
    _, output = oracle.dense_autoencoder(model.user_autoencoder, x)
    parts = [z_users @ z_items.t(), torch.logit(output.double()).float()]
    score, rejected = (F.layer_norm(part, (ITEMS,), eps=1e-30) for part in parts)
    found, expected = users @ items.t(), score - 0.3 * rejected
    torch.testing.assert_close(found - found.mean(1, keepdim=True), expected, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(expected, score, atol=0.1)


def test_without_autoencoders_the_loss_is_the_ranking_loss(data):
    model, same, batch = build(data, no_autoencoder=True), build(data), one_batch(data)
    assert [name for name, _ in model.named_parameters()] == ["table"]
    torch.testing.assert_close(model.loss(batch), same.ranking_loss(batch, *same.embeddings()))


def test_without_alignment_the_loss_lacks_it_and_nothing_else(data):
    model, whole, batch = build(data, no_alignment=True), build(data), one_batch(data)
    rows = batch.negatives_by_user, batch.negatives_by_item
    sides = zip(whole.autoencoders(), whole.embeddings(), rows, strict=True)
    aligned = sum(alignment(z, autoencoder(rows)[0], rows) for autoencoder, z, rows in sides)
    assert aligned > 0
    torch.testing.assert_close(model.loss(batch) + aligned, whole.loss(batch))


def test_bpr_compares_each_positive_with_one_negative_of_its_own(data):
    model, batch = build(data, loss="bpr", no_autoencoder=True), one_batch(data)
    model.start_epoch(1)
    edges = data.edges("positive")
    z_users, z_items = model.embeddings()
    expected = []
    for u, i, number in zip(batch.users, batch.items, batch.positive_numbers, strict=True):
        assert (u, i) == (edges.users[number], edges.items[number])
        j = model.negatives[number]
        assert model.negative_weights(np.array([u]))[0, j] > 0
        expected.append(-F.logsigmoid(z_users[u] @ z_items[i] - z_users[u] @ z_items[j]))
    torch.testing.assert_close(model.loss(batch), torch.stack(expected).mean())
    before = model.negatives
    model.start_epoch(2)
    assert not torch.equal(before, model.negatives)


@pytest.mark.parametrize(("n", "expected"), [(None, 4), (7, 7), (1000, ITEMS)])
def test_the_number_of_negatives_is_a_tenth_of_the_items_or_what_is_asked_for(data, monkeypatch, n, expected):
    drawn = []
    monkeypatch.setattr("model.draw_negatives", lambda *a: drawn.append(a[1]) or draw_negatives(*a))
    model = build(data, n_negatives=n)
    model.loss(one_batch(data))
    assert drawn == [expected] and f"RW-SSM ({expected} shared negatives" in model.terms()[0]


class Watch(TorchDispatchMode):
    """Notes the size of the largest tensor that an operator returns."""

    def __init__(self):
        super().__init__()
        self.largest = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **kwargs or {})
        for tensor in result if isinstance(result, tuple) else (result,):
            if isinstance(tensor, torch.Tensor):
                self.largest = max(self.largest, tensor.numel())
        return result


def test_no_tensor_of_users_times_items_is_made_outside_the_block():
    """400 users x 900 items: the largest tensor of a forward and backward pass stays far below 360,000."""
    pairs = np.random.RandomState(0).permutation(400 * 900)[:3000]
    model = build(train_data(400, 900, pairs // 900, pairs % 900, np.arange(3000) % 4 > 0))
    with Watch() as watch:
        model.loss(one_batch(model.data, 64)).backward()
    assert 0 < watch.largest < 400 * 900 / 10
