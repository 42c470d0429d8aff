"""Flags: which a model has a use for, what fills in those not given.  What each changes: tests/test_main.py."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import synthetic

from feedback.prompts import DOMAINS
from options import command_line
from options.models import MODELS

ROOT = Path(command_line.__file__).parents[1]
HEAVY = {"torch", "transformers", "pandas", "sklearn", "matplotlib", "numpy", "scipy", "requests"}


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
    with pytest.raises(command_line.InputError, match=message):
        command_line.parse(["--dataset", "x", *words.split()])


def test_every_model_flag_is_some_models(capsys):
    assert {"embedding_dim", "p", "siren_dropout", "ease_lambdas", "negatives"} <= command_line.OF_MODELS
    for name, model in MODELS.items():
        options = command_line.parse(["--dataset", "x", "--model", name])
        assert command_line.OF_MODELS & set(vars(options)) == command_line.used_by(model)
        assert options.dataset_augment == ("augment" if name.startswith("ReFINe") else "original")
        assert all(getattr(options, flag) == value for flag, value in model.defaults.items())


def test_what_the_data_set_decides_and_what_makes_an_ablation():
    options = command_line.parse(["--dataset", "Amazon_Books", "--model", "ReFINe", "--q", ".5", "--random_seed", "3"])
    command_line.of_data_set(options, "Amazon_Books")
    assert (options.layers, options.r) == (2, 100) and command_line.ablation(options, "Amazon_Books") == {"q": 0.5}
    options = command_line.parse(["--dataset", "ML-1M", "--model", "ReFINe"])
    command_line.of_data_set(options, "ML-1M")
    assert (options.layers, options.r) == (4, 250) and command_line.ablation(options, "ML-1M") == {}


def test_help_states_the_defaults_that_models_and_data_sets_have_and_ends_with_examples():
    text = " ".join(command_line.parser("    python main.py ...").format_help().split())
    assert "(default: 0.001; SiReN: 0.005; HNLMRec: 0.003)" in text and "(default: 4; Amazon_Books: 2)" in text
    assert "(default: 1e-07; MF, LightGCN, ReFINe, HNLMRec: 0.0001; SiReN: 0.05)" in text
    assert text.endswith("python main.py ...")
    for flag, model in (("t", "ReFINe"), ("q", "ReFINe"), ("siren_dropout", "SiReN"), ("ease_lambdas", "EASE")):
        assert re.search(rf"--{flag} [NX](?: \[X \.\.\.\])? {model}: ", text), flag


def test_the_domains_to_choose_from_are_those_that_prompts_know():
    (domain,) = (action for action in command_line.parser()._actions if action.dest == "llm_domain")
    assert domain.choices == ["auto", *DOMAINS]


def settings(words, **picked):
    options = command_line.parse(["--dataset", "x", *words.split()])
    command_line.of_data_set(options, "x")
    vars(options).update(device="cpu", **picked)
    return set(command_line.settings(options))


ALWAYS = {"dataset", "model", "dataset_augment", "random_seed", "test_batch_size", "top_k", "device"}
ALWAYS |= {"data_dir", "result_dir", "path_name"}
PROMPTED = {"llm", "llm_mode", "llm_domain", "llm_permutations", "llm_profile", "llm_seed", "unasked_twos"}


def test_settings_hold_what_a_run_uses_and_nothing_that_it_ignores():
    assert settings("--model EASE") == ALWAYS | command_line.used_by(MODELS["EASE"])
    assert settings("--model Popularity --dataset_augment augment", llm="file") == ALWAYS | {"llm"}
    without_labels = command_line.used_by(MODELS["ReFINe++"]) | ALWAYS
    assert settings("--dataset_augment original") == without_labels
    assert settings("--llm random") == without_labels | {"llm", "llm_seed"}
    assert settings("", llm="org/encoder", llm_mode="embed") == without_labels | {"llm", "llm_mode", "unasked_twos"}
    scored = settings("--llm org/x", llm_mode="score")
    assert scored == without_labels | PROMPTED | {"llm_dtype", "llm_batch_tokens"}
    served = settings("--llm_url http://x", llm="org/x", llm_mode="generate")
    assert served == without_labels | PROMPTED | {"llm_url", "llm_concurrency", "llm_timeout", "llm_question_size"}
    assert without_labels - settings("--no_autoencoder --dataset_augment original") == {
        "hidden_dim", "lambda_ae", "no_alignment", "precision",
    }  # fmt: skip
    bpr = settings("--loss bpr --dataset_augment original")
    assert without_labels - bpr == {"n_negatives", "negatives"}


LIGHT = ["main.py --help", "main.py --datset x", "main.py --dataset x --llm rule --llm_mode score", "study.py --help"]
LIGHT += ["llm_feedback.py --help", "llm_negatives.py --help", "study.py"]
PATHS = "--dataset {folder} --data_dir {base}/data --result_dir {base}/result"
FINISHED = f"main.py {PATHS} --model Popularity --path_name a"


@pytest.mark.parametrize("command", [*LIGHT, FINISHED])
def test_what_needs_no_torch_is_said_before_it_is_imported(tmp_path, command):
    folder = synthetic.write_data_set(tmp_path / "x")
    (tmp_path / "result" / "x" / "a").mkdir(parents=True)
    for name in ("config.json", "summary.json"):
        (tmp_path / "result" / "x" / "a" / name).write_text("{}")
    script, *arguments = command.format(folder=folder, base=tmp_path).split()
    code = f"import runpy, sys; sys.argv = {[script, *arguments]}\n"
    code += f"try: runpy.run_path({script!r}, run_name='__main__')\n"
    code += f"finally: print('imported', {HEAVY} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "imported set()", done.stderr
    assert done.returncode == (0 if "--help" in command else 2)
    assert "Traceback" not in done.stderr
