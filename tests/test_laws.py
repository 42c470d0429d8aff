"""Laws that every model must obey, on blocks of users and items whose answer is known.

Three blocks of ten users and twelve items.  Every user has liked all items of the own block but one, which differs
from user to user and is withheld, and has disliked two items of each other block, and given one of each a 3.  So the
withheld item is the one to recommend first.  What knows no taste cannot know blocks: of the items a user has not rated
Popularity must put the most liked first, and ItemMean those with the best mean, whoever the user is.
"""

import numpy as np
import pytest
import torch
from blocks import ITEMS, USERS, block_data, withheld
from synthetic import Silent, made, options_of, words_of

from options.flag import names_of, own_names_of
from options.models import MODELS, model_class
from options.negatives import StageSettings
from options.refinement import RefinementSettings
from options.run import RunSettings, Training
from training import checkpoint, evaluation, loop

EPOCHS = {"SiReN": 150}  # of the others 60; sums instead of means and dropout make it slower to settle


@pytest.fixture(scope="module")
def data():
    return block_data()


# But for Blend, which needs finished runs (tests/test_blend.py), and CoNRec, which recommends nothing.
ALONE = [name for name in MODELS if name not in ("Blend", "CoNRec")]


def trained(name, data, folder, **changes):
    """The model after training, with its best weights, and its options."""
    numbers = {"embedding_dim": 16, "hidden_dim": 24, "batch_size": 64, "learning_rate": 0.02, "r": 5, "t": 10}
    numbers |= {"siren_dropout": 0.1, "epochs": EPOCHS.get(name, 60), "early_stopping_step": 1000} | changes
    options = options_of(name, *words_of(name, numbers, [f"--{flag}" for flag in changes]))
    torch.manual_seed(options.run.random_seed)
    generator = torch.Generator().manual_seed(options.run.random_seed)
    model = model_class(name)(data, options.recommender, generator)
    learn = loop.solve if MODELS[name].closed_form else loop.train
    learn(model, data, options.run, Silent(folder))
    model.eval()
    return model, options


@pytest.fixture(scope="module")
def models(data, tmp_path_factory):
    return {name: trained(name, data, tmp_path_factory.mktemp("run")) for name in ALONE}


def ranked(model, data, k=5):
    with torch.no_grad():
        blocks = evaluation.rank(*model.embeddings(), data.seen, np.arange(USERS), k, 7)
        return torch.cat([items for _, items, _ in blocks])


WITHOUT_TASTE = ("Popularity", "ItemMean", "Random")


@pytest.mark.parametrize("name", [name for name in ALONE if name not in WITHOUT_TASTE])
def test_the_withheld_item_of_the_own_block_is_ranked_first(models, data, name):
    first = ranked(models[name][0], data)[:, 0].tolist()
    assert first == [withheld(user) for user in range(USERS)]


def test_popularity_ranks_the_most_liked_unrated_item_first(models, data):
    likes = np.bincount(data.edges("positive").items, minlength=ITEMS).astype(float)
    for user, first in enumerate(ranked(models["Popularity"][0], data)[:, 0].tolist()):
        own = data.seen.entries(np.array([user]))[1].numpy()
        assert first not in own and likes[first] == np.delete(likes, own).max()


def test_item_mean_ranks_the_unrated_item_with_the_best_mean_first(models, data):
    total = np.bincount(data.train.items, data.train.rating, minlength=ITEMS)
    mean = total / np.bincount(data.train.items, minlength=ITEMS)
    for user, first in enumerate(ranked(models["ItemMean"][0], data)[:, 0].tolist()):
        own = data.seen.entries(np.array([user]))[1].numpy()
        assert first not in own and mean[first] == pytest.approx(np.delete(mean, own).max())


def test_by_chance_every_unrated_item_is_as_likely_as_any_other(data):
    """Lists of 5 over 400 seeds: shares of each item among the lists that it could be in, within 4.5 deviations."""
    shown = np.zeros(ITEMS)
    for seed in range(400):
        model = model_class("Random")(data, None, torch.Generator().manual_seed(seed))
        shown += np.bincount(ranked(model, data)[0].numpy(), minlength=ITEMS)  # of the first user
    own = data.seen.entries(np.array([0]))[1].numpy()
    share = np.delete(shown / 400, own)
    expected = 5 / len(share)
    assert shown[own].sum() == 0 and share.mean() == pytest.approx(expected)
    assert np.abs(share - expected).max() < 4.5 * np.sqrt(expected * (1 - expected) / 400)


@pytest.mark.parametrize("name", ALONE)
def test_train_items_of_any_sign_are_never_recommended(models, data, name):
    rated = set(zip(data.train.users, data.train.items, strict=True))
    fewest = ITEMS - max(np.bincount(data.train.users))
    for user, items in enumerate(ranked(models[name][0], data, fewest).tolist()):
        assert not {(user, item) for item in items} & rated


@pytest.mark.parametrize("name", ALONE)
def test_saving_and_loading_gives_the_same_top_k(models, data, tmp_path, name):
    model, options = models[name]
    checkpoint.save(tmp_path / "best.pt", {"model": model.state_dict()})
    torch.manual_seed(99)
    other = model_class(name)(data, options.recommender, torch.Generator())
    other.load_state_dict(torch.load(tmp_path / "best.pt", weights_only=True)["model"])
    other.eval()
    assert torch.equal(ranked(other, data), ranked(model, data))


@pytest.mark.parametrize("name", ALONE)
def test_the_same_seed_gives_the_same_numbers_bit_for_bit_and_another_seed_others(data, tmp_path, name):
    states = [trained(name, data, tmp_path, epochs=3, random_seed=seed)[0].state_dict() for seed in (1, 1, 2)]
    same = [all(torch.equal(a, b) for a, b in zip(states[0].values(), s.values(), strict=True)) for s in states[1:]]
    assert same[0] and same[1] == (MODELS[name].closed_form and not MODELS[name].chance)


@pytest.mark.parametrize("name", ALONE)
def test_embeddings_are_finite_after_training(models, name):
    assert all(torch.isfinite(z).all() and z.abs().sum() > 0 for z in models[name][0].embeddings())


# of each model's flags another value, and what both runs are given
OTHER = {
    "embedding_dim": "6", "layers": "1", "lambda_reg": "10", "real_neg_samp_prob": "40", "backbone": "MF",
    "sampler": "dns", "sampler_candidates": "3 WITH sampler=dns", "sampler_top": "9 WITH sampler=dns",
    "ahns": "1 0 -2 WITH sampler=ahns", "t": "2", "s": "20", "q": "0", "r": "20", "p": "40", "n_negatives": "7",
    "loss": "bpr", "negatives": "per_user", "kappa": "5", "graph": "positive", "star_weights": "1 1 2",
    "hidden_dim": "5", "lambda_ae": "10", "precision": "bfloat16", "rejection": "2", "no_autoencoder": "",
    "no_alignment": "", "siren_neg_coef": "-1", "siren_dropout": "0",
    "ease_weights": "-1 -1 0 1 1.2", "ease_lambdas": "3 4", "ease_denoising": "1", "ease_alphas": ".5",
    "ease_side": "user", "stars_lambda": "1", "hard": "none", "hn_alpha": ".9", "hn_lambda": "5",
    "hn_adapter": "joint", "rank_loss": "hinge", "hn_official": "", "learning_rate": ".05", "batch_size": "50",
    "average_decay": ".9", "epochs": "1",
}  # fmt: skip
NOT_HERE = {"ease_words", "hn_unfiltered"}  # tests/baselines
NOT_HERE |= {"early_stopping_step", "evaluation_step"}  # test_evaluation.py, test_main.py
NOT_HERE |= {*names_of(RunSettings), *own_names_of(StageSettings), *own_names_of(RefinementSettings)}
FLAGS_OF = {name: sorted({*names_of(MODELS[name].settings)} - NOT_HERE) for name in ALONE}
FLAGS_OF["LightGCN"] += sorted({*names_of(Training)} - NOT_HERE)


@pytest.mark.parametrize(("name", "flag"), [(name, flag) for name in ALONE for flag in FLAGS_OF[name]])
def test_every_flag_of_a_model_changes_what_it_learns(data, tmp_path, name, flag):
    value, _, both = OTHER[flag].partition(" WITH ")
    beside, _, its_value = both.partition("=")
    short = {"epochs": 2, "t": 1, beside: its_value}
    one, other = (trained(name, data, tmp_path, **short | changed)[0] for changed in ({}, {flag: value}))
    with torch.no_grad():
        assert not torch.equal(torch.cat(one.embeddings()), torch.cat(other.embeddings()))


def test_without_alignment_the_autoencoders_have_no_say_in_the_ranking(data, tmp_path):
    """So that one row of the table of ablations can stand for both."""
    tables = []
    for flag in ("--no_alignment", "--no_autoencoder"):
        model, settings = made("ReFINe++", data, "--epochs=2", "--embedding_dim=8", "--batch_size=64", flag)
        loop.train(model, data, settings, Silent(tmp_path))
        tables.append(model.table)
    assert torch.equal(*tables)
