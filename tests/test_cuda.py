"""What CUDA asks of every model.  The first part runs anywhere, the second where there is a CUDA device."""

import hard_negatives
import numpy as np
import pytest
import torch
import torch.utils._python_dispatch as dispatch
from synthetic import Silent, made, train_data, words_of

from machine import hardware
from options.models import MODELS, model_class
from training import loop
from training.checkpoint import TrainingState
from training.recommender import penalty

USERS, ITEMS = 30, 50
GRADIENT = [name for name, model in MODELS.items() if model.by_epochs]
VARIANTS = [
    *([name] for name in GRADIENT),
    ["ReFINe++", "--negatives", "per_user"],
    ["ReFINe++", "--loss", "bpr"],
    ["ReFINe++", "--no_autoencoder"],
    ["LightGCN", "--sampler", "dns"],
    ["LightGCN", "--sampler", "mixgcf"],
    ["MF", "--sampler", "ahns"],
    ["HNLMRec", "--hard", "none"],
    ["HNLMRec", "--hn_official"],
]


def ratings(device="cpu", kept=slice(None)):
    """400 train rows of 1 to 5 stars, 60 validation rows, and a vector for every positive, of which HNLMRec knows."""
    pairs = np.random.RandomState(0).permutation(USERS * ITEMS)
    users, items = np.divmod(pairs[:400], ITEMS)
    stars = np.array([5.0, 4.0, 3.0, 2.0, 1.0])[np.arange(400) % 5]
    held = np.divmod(pairs[400:460], ITEMS)
    data = train_data(USERS, ITEMS, users[kept], items[kept], stars[kept], held, held, device)
    data.hard = hard_negatives.in_memory(data)
    return data


def build(words, data, *more):
    """The model with small sizes and, of ReFINe, similar items weighted from epoch 2 on."""
    sizes = {"embedding_dim": 8, "hidden_dim": 12, "batch_size": 100, "t": 2, "r": 3, "epochs": 4}
    return made(words[0], data, *words[1:], *words_of(words[0], sizes, words), *more)


# -------------------------------------------------------------------------- without a device, on the CPU


class Waits(dispatch.TorchDispatchMode):
    """Notes the operators of a step that would make the host wait for a CUDA device.

    Those that hand a value or a size to the host, x[mask] among them.  A number written by index (x[rows, cols] = 1.0)
    or taken by torch.where, which goes through a tensor on the host.
    """

    ASKING = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "equal", "is_nonzero"}

    def __init__(self):
        super().__init__()
        self.found = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        number = {"index_put_": 2, "index_put": 2, "where": 1}.get(name)
        through_the_host = number is not None and isinstance(args[number], torch.Tensor) and args[number].ndim == 0
        indices = args[1] if name in ("index", "index_put", "index_put_") else []
        by_mask = any(index is not None and index.dtype == torch.bool for index in indices)  # counts what is True
        if name in self.ASKING or through_the_host or by_mask:
            self.found.add(name)
        return function(*args, **kwargs or {})


@pytest.fixture
def no_note(monkeypatch):
    """HNLMRec's figures of an epoch do make the host wait, once."""
    monkeypatch.setattr("baselines.hnlmrec.HNLMRec.note", lambda model: None)


@pytest.mark.parametrize("words", VARIANTS, ids=" ".join)
def test_no_start_and_no_step_of_any_model_makes_the_host_wait(words, no_note):
    data = ratings()
    model, settings = build(words, data)
    optimizer = torch.optim.Adam(model.parameter_groups(), fused=True)
    for epoch in (1, 2):  # the first step makes Adam's moments
        batches = data.batches(settings.batch_size, torch.Generator().manual_seed(0), model.trains_on)
        with Waits() as waits:
            model.start_epoch(epoch)
            loss = model.loss(next(batches))
            penalty(optimizer)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert not waits.found


def test_ranking_makes_the_host_wait_for_nothing_but_its_result():
    data = ratings()
    model, settings = build(["LightGCN"], data)
    with Waits() as waits:
        loop.measure(model, data, "validation", settings)
    assert not waits.found


def test_the_watch_sees_what_waits():
    x = torch.zeros(3, 3)
    for wait in (lambda: x.__setitem__(torch.tensor([1]), 2.0), lambda: float(x[0, 0]), lambda: x[x > 0]):
        with Waits() as waits:
            wait()
        assert waits.found


# --------------------------------------------------------------------------------- with a CUDA device

cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def trained(words, device, folder, *more):
    folder.mkdir(exist_ok=True)
    data, run = ratings(device), Silent(folder)
    model, settings = build(words, data, *more)
    loop.train(model, data, settings, run)
    return model, run.epochs


@cuda
@pytest.mark.parametrize("words", VARIANTS, ids=" ".join)
def test_an_epoch_runs_without_synchronising(words, tmp_path, no_note):
    data = ratings("cuda")
    model, settings = build(words, data)
    state = TrainingState(model, settings, tmp_path / "last.pt")
    loop.run_epoch(state, data, settings, Silent(tmp_path), [])  # the first epoch compiles and allocates
    state.epoch = 1
    state.start_epoch()
    torch.cuda.set_sync_debug_mode("error")
    try:
        loop.run_epoch(state, data, settings, Silent(tmp_path), [])
    finally:
        torch.cuda.set_sync_debug_mode("default")


@cuda
@pytest.mark.parametrize("words", [["ReFINe++"], ["ReFINe++", "--no_autoencoder"], ["LightGCN"]], ids=" ".join)
def test_a_step_gives_the_loss_and_gradient_of_the_cpu(words, monkeypatch):
    """With the same weights and the same negatives, which the two devices draw differently."""
    losses, gradients = [], []
    monkeypatch.setattr("model.draw_negatives", first_negatives)
    monkeypatch.setattr("baselines.lightgcn.LightGCN.draw", lambda model: ITEMS - 1 - model.positives[0] % 7)
    for device in ("cpu", "cuda"):
        data = ratings(device)
        model, _ = build(words, ratings())
        model = model_class(words[0])(data, model.settings, torch.Generator(device)).to(device)
        torch.manual_seed(1)
        with torch.no_grad():
            for weight in model.parameters():
                weight.copy_(torch.randn(weight.shape) * 0.1)
        model.start_epoch(1)
        loss = model.loss(next(data.batches(100, torch.Generator().manual_seed(0), model.trains_on)))
        loss.backward()
        losses.append(loss.cpu())
        gradients.append(model.table.grad.cpu())
    torch.testing.assert_close(*losses)
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-4)


def first_negatives(weight, n, generator):
    items = weight.sort(dim=1, descending=True, stable=True).indices[:, :n]
    return items, weight.gather(1, items) > 0


@cuda
@pytest.mark.parametrize("words", [["ReFINe++"], ["SiReN"]], ids=" ".join)
def test_deterministic_training_gives_the_same_numbers_twice(words, tmp_path, monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    try:
        ends = [trained(words, "cuda", tmp_path / str(n)) for n in range(2)]
    finally:
        torch.use_deterministic_algorithms(False)
    assert ends[0][1] == ends[1][1]
    assert torch.equal(*(model.table for model, _ in ends))


@cuda
def test_a_device_is_named_with_or_without_its_number(tmp_path):
    for name in ("auto", "cuda", "cuda:0"):
        assert hardware.pick_device(name).type == "cuda"
    model, epochs = trained(["ReFINe++"], "cuda:0", tmp_path / "run")
    assert model.table.device.index == 0 and len(epochs) == 4
