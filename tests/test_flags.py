"""Flags: which a model has a use for, what fills in those not given.  What each changes: tests/test_main.py."""

import pytest

import flags
from baselines import MODELS


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--model LightGCN --hidden_dim 5", "--hidden_dim: LightGCN has no use for it"),
        ("--model EASE --learning_rate 5", "--learning_rate: EASE has no use for it"),
        ("--model Popularity --epochs 5", "--epochs: Popularity has no use for it"),
        ("--no_autoencoder --hidden_dim 5", "--hidden_dim: --no_autoencoder leaves it without a use"),
        ("--loss bpr --n_negatives 5", "--n_negatives: --loss bpr leaves it without a use; leave one of them out"),
        ("--model LightGCN --llm rule", "--llm: nothing is refined, .*; add --dataset_augment augment"),
        ("--dataset_augment original --llm_url http://x", "--llm_url: nothing is refined"),
        ("--dataset_augment original --unasked_twos ask", "--unasked_twos: nothing is refined"),
        ("--llm rule --llm_mode score", "--llm_mode: --llm rule leaves it without a use; leave one of them out"),
        ("--llm rule --llm_seed 1", "--llm_seed: --llm rule leaves it"),
        ("--llm random --unasked_twos ask", "--unasked_twos: --llm random leaves it"),
        ("--llm shuffled --llm_url http://x", "--llm_url: --llm shuffled leaves it"),
        ("--llm_timeout 9", "--llm_timeout: has no use without --llm_url"),
        ("--llm x --llm_concurrency 3", "--llm_concurrency: has no use without --llm_url"),
        ("--llm_url http://x --llm_dtype float16", "--llm_dtype: is for a model on this machine, not for --llm_url"),
        ("--llm_url http://x --llm_constrained", "--llm_constrained: is for a model on this machine"),
        ("--llm_url http://x --llm_mode score --llm_question_size 3", "--llm_question_size: --llm_mode score leaves"),
        ("--llm x --llm_mode score --llm_constrained", "--llm_constrained: --llm_mode score leaves it"),
        ("--llm x --llm_mode embed --llm_permutations 3", "--llm_permutations: an encoder has no use for it"),
        ("--llm_dtype bfloat16", "--llm_dtype: an encoder has no use for it; --llm names another model"),
        ("--device cpu --deterministic", "--deterministic: --device cpu leaves it without a use"),
        ("--model EASE --deterministic", "--deterministic: EASE has no use for it; leave it out"),
        ("--model SiReN --siren_neg_coef nan", "--siren_neg_coef nan: must be a finite number"),
    ],
)
def test_a_flag_that_would_change_nothing_is_refused(words, message):
    with pytest.raises(flags.InputError, match=message):
        flags.parse(["--dataset", "x", *words.split()])


def test_every_model_flag_is_some_models(capsys):
    assert {"embedding_dim", "p", "siren_dropout", "ease_lambdas", "negatives"} <= flags.OF_MODELS
    for name, model in MODELS.items():
        options = flags.parse(["--dataset", "x", "--model", name])
        assert flags.OF_MODELS & set(vars(options)) == flags.used_by(model)
        assert options.dataset_augment == ("augment" if name.startswith("ReFINe") else "original")
        assert all(getattr(options, flag) == value for flag, value in model.defaults.items())


def test_what_the_data_set_decides_and_what_makes_an_ablation():
    options = flags.parse(["--dataset", "Amazon_Books", "--model", "ReFINe", "--q", ".5", "--random_seed", "3"])
    flags.of_data_set(options, "Amazon_Books")
    assert (options.layers, options.r) == (2, 100) and flags.ablation(options, "Amazon_Books") == {"q": 0.5}
    options = flags.parse(["--dataset", "ML-1M", "--model", "ReFINe"])
    flags.of_data_set(options, "ML-1M")
    assert (options.layers, options.r) == (4, 250) and flags.ablation(options, "ML-1M") == {}
