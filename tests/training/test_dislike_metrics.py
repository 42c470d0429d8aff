"""What a list shows of likes and dislikes: against counting by hand, and laws on worlds whose answer is known."""

import numpy as np
import pytest
import torch
from synthetic import train_data

from dataloader import HeldOutDislikes
from options.run import RunSettings
from training import evaluation

TOP_K = [3, 20]


def world(seed, n_users=60, n_items=90):
    """(TrainData, stars (U, I)): every user has true stars for every item; a random part of those that they have rated
    is train, the rest of the 4s and 5s are test likes and that of the 1s and 2s test dislikes."""
    random = np.random.default_rng(seed)
    taste, items = random.normal(size=(n_users, 4)), random.normal(size=(n_items, 4))
    stars = np.digitize(taste @ items.T + 0.5 * random.normal(size=(n_users, n_items)), [-2.0, -0.7, 0.7, 2.0]) + 1
    users, rated = np.nonzero(random.random((n_users, n_items)) < 0.6)
    given = stars[users, rated]
    held_out = random.random(len(users)) < 0.4
    liked, disliked = held_out & (given >= 4), held_out & (given <= 2)
    data = train_data(
        n_users, n_items, users[~held_out], rated[~held_out], given[~held_out].astype(float),
        test=(users[liked], rated[liked]),
    )  # fmt: skip
    rows = data.by_user(users[disliked], rated[disliked])
    unranked = random.integers(0, 2, n_users)  # of items that nobody has rated in train
    data.test_dislikes = HeldOutDislikes(rows, unranked)
    return data, stars


def metrics_of(scores, data, dislikes=None):
    """evaluation.evaluate of any scores (U, I)."""
    embeddings = torch.from_numpy(scores).float(), torch.eye(scores.shape[1])
    return evaluation.evaluate(embeddings, data, data.test, TOP_K, 7, dislikes or data.test_dislikes)


def entries(rows, user):
    return rows.cols[rows.start[user] : rows.start[user + 1]].tolist()


def plain(scores, data):
    """The same by loops over users and pairs."""
    found = {name: [] for name in evaluation.metric_names(TOP_K, True) if not name.startswith("dislikes_per")}
    for user in range(data.n_users):
        own = scores[user].astype(np.float32)
        own[entries(data.seen, user)] = -np.inf
        ranked = np.argsort(-own, kind="stable").tolist()
        likes, dislikes = entries(data.test, user), entries(data.test_dislikes.rows, user)
        unranked = int(data.test_dislikes.unranked[user])
        for k in TOP_K:
            hits = [item in likes for item in ranked[:k]]
            gain = sum(hit / np.log2(place + 2) for place, hit in enumerate(hits))
            best = sum(1 / np.log2(place + 2) for place in range(min(k, len(likes))))
            shown = len(set(ranked[:k]) & set(dislikes))
            n = len(dislikes) + unranked
            found[f"precision@{k}"].append(sum(hits) / k if likes else np.nan)
            found[f"recall@{k}"].append(sum(hits) / len(likes) if likes else np.nan)
            found[f"ndcg@{k}"].append(gain / best if likes else np.nan)
            found[f"likes@{k}"].append(sum(hits))
            found[f"dislikes@{k}"].append(shown)
            found[f"dislike_recall@{k}"].append(shown / n if n else np.nan)
        pairs = [(own[like] > own[item]) + (own[like] == own[item]) / 2 for like in likes for item in dislikes]
        pairs += [1] * len(likes) * unranked
        found["like_auc"].append(np.mean(pairs) if pairs else np.nan)
    return {name: np.array(values, float) for name, values in found.items()}


@pytest.mark.parametrize("seed", range(4))
def test_they_agree_with_loops_over_users_and_pairs(seed):
    data, _ = world(seed)
    scores = np.random.default_rng(seed).permuted(np.tile(np.arange(90.0), (60, 1)), axis=1)
    expected, metrics = plain(scores, data), metrics_of(scores, data)
    assert set(metrics) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(metrics[name], values, atol=1e-12, err_msg=name)
    scores = np.random.default_rng(seed).integers(0, 5, (60, 90)).astype(float)  # most are ties
    np.testing.assert_allclose(metrics_of(scores, data)["like_auc"], plain(scores, data)["like_auc"], atol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_a_model_that_knows_the_true_taste_shows_no_dislike(seed):
    data, stars = world(seed)
    figures = evaluation.means(metrics_of(stars.astype(float), data))
    unrated = 90 - np.diff(data.seen.start)
    assert figures["dislikes@3"] == 0 and figures["likes@3"] > 0.5 and figures["like_auc"] == 1
    worst = evaluation.means(metrics_of(-stars.astype(float), data))
    assert worst["likes@3"] == 0 and worst["dislikes@3"] > 0.5
    assert worst["like_auc"] < 0.5 and unrated.min() >= 20  # those that cannot be ranked lie below all the same


@pytest.mark.parametrize("seed", range(4))
def test_a_model_that_takes_no_notice_of_stars_shows_both_kinds_alike(seed):
    """Of each kind the same share, but for chance: four standard deviations of a binomial count."""
    data, _ = world(seed)
    data.test_dislikes.unranked[:] = 0
    scores = np.random.default_rng(seed + 100).random((60, 90))
    metrics = metrics_of(scores, data)
    n = {"likes": len(data.test.cols), "dislikes": len(data.test_dislikes.rows.cols)}
    share = {kind: metrics[f"{kind}@20"].sum() / n[kind] for kind in n}
    spread = np.sqrt(sum(share[kind] * (1 - share[kind]) / n[kind] for kind in n))
    assert abs(share["likes"] - share["dislikes"]) < 4 * spread
    auc = metrics["like_auc"][~np.isnan(metrics["like_auc"])]
    assert abs(auc.mean() - 0.5) < 4 * auc.std() / np.sqrt(len(auc))


@pytest.mark.parametrize("seed", range(4))
def test_other_dislikes_change_their_own_metrics_and_nothing_else(seed):
    data, stars = world(seed)
    rows, random = data.test_dislikes.rows, np.random.default_rng(seed)
    users = np.repeat(np.arange(60), np.diff(rows.start))
    permuted = HeldOutDislikes(data.by_user(users, random.permutation(rows.cols)), data.test_dislikes.unranked)
    scores = stars + random.normal(size=stars.shape)
    before, after = metrics_of(scores, data), metrics_of(scores, data, permuted)
    for name in before:
        same = np.array_equal(before[name], after[name], equal_nan=True)
        assert same != ("dislike" in name or name == "like_auc"), name


def test_ratios_are_of_means_and_a_cost_weighs_what_is_chosen_by():
    figures = evaluation.means({"likes@20": np.array([1.0, 3.0]), "dislikes@20": np.array([0.0, 1.0])})
    assert figures["dislikes_per_like@20"] == 0.25
    plain, costly = RunSettings(), RunSettings(dislike_cost=2)
    assert plain.score_of(figures | {"recall@20": 0.1}) == 0.1 and costly.score_of(figures) == 2 - 2 * 0.5
    assert plain.chosen_by == "Recall@20" and costly.chosen_by == "likes@20 less 2 x dislikes@20"
