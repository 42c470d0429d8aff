"""Ranking metrics and early stopping."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import train_data
from torch_geometric.metrics import LinkPredNDCG, LinkPredPrecision, LinkPredRecall

from runs import artefacts
from training import evaluation

TOP_K = [1, 5, 20]


@pytest.fixture
def data():
    """30 users, 50 items; train, validation and test are disjoint random pairs; user 4 has no test row."""
    random = np.random.RandomState(0)
    pairs = random.permutation(30 * 50)
    train, validation, test = ((p // 50, p % 50) for p in np.split(pairs[:900], [600, 700]))
    test = tuple(column[test[0] != 4] for column in test)
    return train_data(30, 50, *train, np.arange(600) % 4 > 0, validation, test)


@pytest.fixture
def embeddings():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(30, 8, generator=generator), torch.randn(50, 8, generator=generator)


def masked_scores(embeddings, data):
    scores = embeddings[0] @ embeddings[1].t()
    scores[data.seen.entries(np.arange(30))] = -torch.inf
    return scores


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_metrics_agree_with_pyg_whatever_the_block(data, embeddings, block):
    metrics = evaluation.evaluate(embeddings, data, data.test, TOP_K, block)
    top = masked_scores(embeddings, data).topk(20).indices
    truth = torch.stack(data.test.entries(np.arange(30)))
    assert len(metrics["recall@20"]) == 29  # user 4 has nothing to find
    for name, metric in (("precision", LinkPredPrecision), ("recall", LinkPredRecall), ("ndcg", LinkPredNDCG)):
        for k in TOP_K:
            reference = metric(k)
            with_truth = np.flatnonzero(np.arange(30) != 4)
            renumber = torch.full((30,), -1)
            renumber[with_truth] = torch.arange(29)
            reference.update(top[with_truth, :k], torch.stack((renumber[truth[0]], truth[1])))
            assert metrics[f"{name}@{k}"].mean() == pytest.approx(reference.compute().item(), abs=1e-6)


def test_train_items_are_never_recommended_and_validation_items_are(data, embeddings, tmp_path):
    """Also where a user has fewer than k items left: the list is then shorter."""
    items = pd.DataFrame({"title": [f"title {i}" for i in range(50)]}, index=data.item_ids)
    ranked = evaluation.rank(*embeddings, data.seen, np.arange(30), 25, 7)
    artefacts.write_recommendations(tmp_path / "r.csv", ranked, data, items)
    table = pd.read_csv(tmp_path / "r.csv")
    recommended = set(zip(table.user, table.item, strict=True))
    scores = masked_scores(embeddings, data)
    left = (scores > -torch.inf).sum(1)
    assert table.groupby("user").size().tolist() == left.clamp(max=25).tolist() and left.min() < 25
    np.testing.assert_allclose(table.score, scores[table.user, table.item], atol=1e-4)
    assert table[table.user == 3].item.tolist() == scores[3].argsort(descending=True)[: left[3].clamp(max=25)].tolist()
    assert set(table.title) == {f"title {item}" for item in table.item}
    assert {(u.item(), i.item()) for u, i in zip(*data.validation.entries(np.arange(30)), strict=True)} & recommended


def test_log_lines_have_the_published_form():
    metrics = {f"{name}@{k}": 0.12345 for name in ("precision", "recall", "ndcg") for k in (5, 10)}
    assert evaluation.metric_lines(metrics, [5, 10]) == [
        "Precision@5:  0.1235, Recall@5:  0.1235, NDCG@5:  0.1235",
        "Precision@10: 0.1235, Recall@10: 0.1235, NDCG@10: 0.1235",
    ]


# -------------------------------------------------------------------------------------- beyond accuracy


def test_coverage_gini_and_popularity_by_hand():
    """Three users, five items with 10, 20, ... train positives; the third user has one item left to recommend."""
    items = np.array([[0, 1], [0, 2], [0, 4]])
    listed = np.array([[True, True], [True, True], [True, False]])
    found = evaluation.beyond_accuracy(items, listed, np.array([10, 20, 30, 40, 50]))
    # recommended 3, 1, 1, 0, 0 times of 5: (-4 * 0 - 2 * 0 + 0 * 1 + 2 * 1 + 4 * 3) / 5 / 4
    assert found == pytest.approx({"coverage@2": 3 / 5, "gini@2": 0.7, "popularity@2": (15 + 20 + 10) / 3})


@settings(derandomize=True, deadline=None)
@given(st.integers(2, 8).flatmap(lambda n: st.tuples(st.just(n), lists_of(n))))
def test_beyond_accuracy_is_that_of_plain_loops(case):
    n_items, lists = case
    k = max(map(len, lists))
    items = np.array([[*own, *([0] * (k - len(own)))] for own in lists])
    listed = np.array([[place < len(own) for place in range(k)] for own in lists])
    positives = np.arange(n_items) ** 2
    found = evaluation.beyond_accuracy(items, listed, positives)
    assert found == pytest.approx(plain_beyond_accuracy(lists, positives, k))


def lists_of(n_items):
    own = st.lists(st.integers(0, n_items - 1), unique=True, max_size=n_items)
    return st.lists(own, min_size=1, max_size=6).filter(any)


def plain_beyond_accuracy(lists, positives, k):
    """The Gini index as half the relative mean difference of all pairs, times I / (I - 1)."""
    n = len(positives)
    counts = [sum(item in own for own in lists) for item in range(n)]
    differences = sum(abs(a - b) for a in counts for b in counts)
    gini = differences / (2 * n * sum(counts)) * n / (n - 1)
    own_means = [sum(positives[item] for item in own) / len(own) for own in lists if own]
    coverage = sum(count > 0 for count in counts) / n
    return {f"coverage@{k}": coverage, f"gini@{k}": gini, f"popularity@{k}": sum(own_means) / len(own_means)}


# --------------------------------------------------------------------------------------- early stopping


@pytest.mark.parametrize(
    ("patience", "scores", "epochs", "best"),
    [
        (3, [0.1, 0.3, 0.2, 0.2, 0.2, 0.9], 5, 2),
        (2, [0.3, 0.3, 0.1, 0.3, 0.1, 0.1, 0.1], 6, 4),  # a tie counts as an improvement
        (2, [0.1, float("nan"), float("nan"), 0.2], 3, 1),  # no number is none
    ],
)
def test_stops_after_patience_evaluations_without_improvement_and_keeps_the_best(patience, scores, epochs, best):
    stopping, weight = evaluation.EarlyStopping(patience), torch.zeros(())
    for epoch, score in enumerate(scores, start=1):
        weight += 1
        stopping.update(score, epoch, {"epoch": weight})
        if stopping.over:
            break
    assert (epoch, stopping.best_epoch, stopping.best_score) == (epochs, best, scores[best - 1])
    assert stopping.best_state["epoch"] == best  # a copy
