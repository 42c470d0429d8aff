"""The default name of a run folder."""

import itertools

import pytest

from options import command_line
from options.run_name import LONGEST, run_name
from preparation.locate import locate


def name_of(words, tmp_path, dataset="ML-100K"):
    options = command_line.parse(["--dataset", dataset, "--data_dir", str(tmp_path), *words.split()])
    name, _, folder = locate(dataset, tmp_path)
    options.fill_in_of_data_set(name)
    return run_name(options, name, folder)


NAMES = {
    "": "ReFINe++_2024",
    "--random_seed 7": "ReFINe++_7",
    "--llm rule": "ReFINe++_rule_2024",
    "--dataset_augment original": "ReFINe++_original_2024",
    "--model LightGCN": "LightGCN_2024",
    "--model LightGCN --dataset_augment augment --llm random --llm_seed 3": "LightGCN_augment_random_llm_seed_3_2024",
    "--model EASE --ease_lambdas 10 .5": "EASE_ease_lambdas_10,0.5_2024",
    "--layers 2 --lambda_reg 1e-5 --real_neg_samp_prob 2": (
        "ReFINe++_layers_2_real_neg_samp_prob_2_lambda_reg_1e-05_2024"
    ),
    "--model SiReN --n_negatives 20 --lambda_reg .01 --epochs 3": (
        "SiReN_lambda_reg_0.01_n_negatives_20_epochs_3_2024"
    ),
}


@pytest.mark.parametrize("words", NAMES)
def test_names_are_short_and_legible(tmp_path, words):
    assert name_of(words, tmp_path) == NAMES[words]


DIFFERENT = """
--model SiReN
--model SiReN --lambda_reg .01
--model EASE --ease_lambdas 10 20
--model LightGCN --layers 1
--model LightGCN --dataset_augment augment
--model LightGCN --dataset_augment augment --llm rule
--lambda_reg .1234567
--lambda_reg .12345671
--n_negatives 5
--loss bpr
--epochs 5
--unasked_twos ask
--llm random --llm_seed 1
--llm shuffled
--llm org/model
--llm org/model --llm_mode generate --llm_constrained
--llm org/model --llm_permutations 3
--llm org/model --llm_prompt tests/fixtures/score.txt
--llm org/model --llm_prompt no/such/score.txt
--llm_url http://localhost:8000/v1 --llm_temperature 1
--llm org/model --llm_dtype float16
--llm org/model --llm_url http://localhost:8000/v1
--llm rule_loss_bpr
"""


def test_two_experiments_never_have_one_name(tmp_path):
    lines = [*NAMES, *DIFFERENT.strip().splitlines()]
    names = [name_of(words, tmp_path) for words in lines]
    for (one, name), (other, same) in itertools.combinations(zip(lines, names, strict=True), 2):
        assert name != same, f"{one} and {other} are both {name}"
    assert all("/" not in name and len(name) <= LONGEST + 20 for name in names)


def test_flags_that_change_no_experiment_and_values_that_are_the_default_are_not_named(tmp_path):
    without_effect = ("--device cpu", "--test_batch_size 7", "--json", "--result_dir x")
    for words in (*without_effect, "--layers 4", "--lambda_reg 1e-7"):
        assert name_of(words, tmp_path) == "ReFINe++_2024"
    assert name_of("--llm sentence-transformers/all-MiniLM-L6-v2", tmp_path) == "ReFINe++_2024"
    assert name_of("--layers 2", tmp_path, "Amazon_Books") == "ReFINe++_2024"
    assert name_of("--layers 4", tmp_path, "Amazon_Books") == "ReFINe++_layers_4_2024"


def test_labels_in_the_data_folder_are_told_apart_by_what_they_hold(tmp_path, monkeypatch):
    labels = tmp_path / "ML-100K" / "ML-100K_train_augment.csv"
    labels.parent.mkdir()
    names = {name_of("", tmp_path)}
    for content in ("some", "other"):
        labels.write_text(content)
        names |= {name_of("", tmp_path), name_of("--llm shuffled", tmp_path)}
        assert name_of("--llm rule", tmp_path) == "ReFINe++_rule_2024"  # which does not look at them
        assert name_of("--dataset_augment original", tmp_path) == "ReFINe++_original_2024"
    monkeypatch.setattr("options.run_name.git_blob_id", lambda path: "0cc04baaf46fcc4ee59a6adbb999d8bf56adb8e9")
    names.add(name_of("", tmp_path))
    assert len(names) == 6 and "ReFINe++_authors_2024" in names


def test_a_local_model_is_told_by_its_folder(tmp_path, monkeypatch):
    for folder in ("a", "b"):
        (tmp_path / folder / "llm").mkdir(parents=True)
    one, other = (name_of(f"--llm {tmp_path / folder / 'llm'}", tmp_path) for folder in "ab")
    monkeypatch.chdir(tmp_path / "a")
    assert one == name_of("--llm llm", tmp_path) != other


def test_a_name_that_is_too_long_is_cut_and_told_apart_by_a_hash(tmp_path):
    all_flags = (
        "--embedding_dim 8 --layers 2 --hidden_dim 9 --real_neg_samp_prob 2 --lambda_reg .1 --lambda_ae .2 "
        "--graph positive --n_negatives 7 --negatives per_user --learning_rate .1 --batch_size 7 "
        "--early_stopping_step 3 --top_k 3 --epochs"
    )
    one, other = (name_of(f"{all_flags} {epochs}", tmp_path) for epochs in (5, 6))
    assert one != other and len(one.encode()) < 255
