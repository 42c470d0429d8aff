"""Flags: which a model has a use for, what fills in those not given.  What each changes: tests/test_main.py."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import synthetic

from feedback.prompts import DOMAINS
from options import command_line
from options.flag import declared_by, names_of, own_names_of
from options.models import MODELS
from options.refinement import RefinementSettings
from options.run import Looking, LookingSettings, TrainingSettings
from utils import InputError

ROOT = Path(command_line.__file__).parents[1]
HEAVY = {"torch", "torch_geometric", "transformers", "peft", "pandas", "sklearn", "matplotlib", "numpy", "scipy"}
HEAVY |= {"requests"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--model LightGCN --hidden_dim 5", "--hidden_dim: LightGCN has no use for it"),
        ("--no_autoencoder --hidden_dim 5", "--hidden_dim: --no_autoencoder leaves it without a use"),
        ("--loss bpr --n_negatives 5", "--n_negatives: --loss bpr leaves it without a use; leave one of them out"),
        ("--model LightGCN --llm rule", "--llm: nothing is refined, .*; add --dataset_augment augment"),
        ("--llm rule --llm_mode score", "--llm_mode: --llm rule leaves it without a use; leave one of them out"),
        ("--llm_timeout 9", "--llm_timeout: has no use without --llm_url"),
        ("--llm_url http://x --llm_dtype float16", "--llm_dtype: is for a model on this machine, not for --llm_url"),
        ("--llm_prompt x", "--llm_prompt: without --llm the default model is an encoder, which reads no prompt; name"),
        ("--llm_dry_run", "--llm_dry_run: an encoder has no use for it"),
        ("--llm_dtype bfloat16", "--llm_dtype: an encoder has no use for it; --llm names another model"),
        ("--device cpu --deterministic", "--deterministic: --device cpu leaves it without a use"),
        ("--model SiReN --siren_neg_coef nan", "--siren_neg_coef nan: must be a finite number"),
        ("--layers -1", "--layers -1: must be a number of at least 0"),
        ("--random_seed 4294967296", "--random_seed 4294967296: must be at most"),
        ("--model EASE --ease_weights 0 0 0 0 0", "--ease_weights 0 0 0 0 0: must be"),
        ("--model MF --sampler ahns --ahns 1 1 1", "--ahns 1 1 1: must be three finite numbers"),
        ("--model EASE --dislike_cost 2", "--dislike_cost: has no use without --hold_out dislikes"),
        ("--llm_shuffle user", "--llm_shuffle: has no use without --llm shuffled"),
        ("--model HNLMRec --hard none --hn_alpha 1", "--hn_alpha: --hard none leaves it"),
        ("--out lists.csv", "--out: has no use without --run"),
    ],
)
def test_a_flag_that_would_change_nothing_is_refused(words, message):
    with pytest.raises(InputError, match=message):
        command_line.parse(["--dataset", "x", *words.split()])


def at_defaults(model):
    given = {"dataset": "x", "model": model}
    if model == "Blend":
        given["blend"] = ["a"]
    return command_line.make(given)


def test_every_model_flag_is_some_models():
    of_models = set().union(*map(synthetic.flags_of, MODELS))
    assert {"embedding_dim", "p", "siren_dropout", "ease_lambdas", "negatives"} <= of_models
    for name, row in MODELS.items():
        options = at_defaults(name)
        named_in_rules = options.idle().keys() | set(row.ignores.split())
        assert named_in_rules <= command_line.FLAGS.keys()
        assert options.ablation("x").keys() <= {"blend"}
        assert (options.run.dataset_augment == "augment") == name.startswith("ReFINe")
        assert all(options.values()[flag] == value for flag, value in MODELS[name].defaults.items())


@pytest.mark.parametrize(
    ("data_set", "words", "layers", "r", "ablation"),
    [
        ("Amazon_Books", "--q .5 --random_seed 3", 2, 100, {"q": 0.5}),
        ("ML-1M", "", 4, 250, {}),
        ("ML-1M", "--r 100", 4, 100, {"r": 100}),
    ],
)
def test_what_the_data_set_decides_and_what_makes_an_ablation(data_set, words, layers, r, ablation):
    options = command_line.parse(["--dataset", data_set, "--model", "ReFINe", *words.split()])
    options.fill_in_of_data_set(data_set)
    assert (options.recommender.layers, options.recommender.r) == (layers, r)
    assert options.ablation(data_set) == ablation


def words_of(text):
    return " ".join(text.split())


def test_the_short_help_fits_on_two_screens_and_ends_with_examples(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = command_line.short_help("examples:\n    python main.py ...")
    assert len(text.splitlines()) < 60 and text.endswith("python main.py ...")
    assert all(f"\n  {name:12}{row.about}" in text for name, row in MODELS.items())
    assert "python main.py --model NAME --help" in text


@pytest.mark.parametrize("model", MODELS)
def test_the_help_on_a_model_has_the_flags_that_it_uses_and_no_others(model):
    shown = set(re.findall(r"^  --([a-z_]+)", command_line.help_on(model), re.MULTILINE))
    options = at_defaults(model)
    expected = set(options.values()) - set(MODELS[model].ignores.split())
    if model == "CoNRec":
        expected |= set(own_names_of(Looking))  # --filter
    if not MODELS[model].defaults.get("dataset_augment"):  # those of the refinement are one line
        asking = set(vars(RefinementSettings()))
        expected -= asking - set(vars(options.run)) - set(vars(options.recommender))
    assert shown == expected


def test_help_states_the_defaults_that_the_model_and_data_sets_have():
    siren, lightgcn, hnlmrec = (words_of(command_line.help_on(name)) for name in ("SiReN", "LightGCN", "HNLMRec"))
    assert "--learning_rate X of Adam (default: 0.005)" in siren and "of an edge (SiReN) (default: 40)" in siren
    assert "--layers N propagation layers of LightGCN (default: 4; Amazon_Books: 2)" in lightgcn
    assert "(default: 100; ML-1M: 250; Netflix-1M: 300)" in words_of(command_line.help_on("ReFINe"))
    assert "the vectors of the pairs (default: tuned; --hn_official: noise_const)" in hnlmrec
    assert "(default: 1e-07)" in words_of(command_line.help_on("ReFINe++"))


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("--lerning_rate 3", "unrecognized arguments: --lerning_rate 3; did you mean --learning_rate?"),
        ("--model refine++", "invalid choice: 'refine++'; did you mean ReFINe++? (choose from"),
        ("--model EASY", "'EASY'; did you mean EASE?"),
        ("--loss bbr", "invalid choice: 'bbr'; did you mean bpr?"),
        ("--zzzz 3", "unrecognized arguments: --zzzz 3 (--help"),
    ],
)
def test_a_typo_is_told_what_it_may_have_meant(words, hint, capsys):
    with pytest.raises(SystemExit) as ended:
        command_line.parse(["--dataset", "x", *words.split()])
    assert ended.value.code == 2 and hint in capsys.readouterr().err


def test_a_flag_is_declared_once():
    """Everything that is known of a flag comes from one field: no class declares what another one has declared."""
    declared = [flag.name for cls in set(command_line.CLASSES) for flag in declared_by(cls)]
    assert sorted(declared) == sorted(command_line.FLAGS)
    settings = [TrainingSettings, LookingSettings, RefinementSettings, *(row.settings for row in MODELS.values())]
    assert {name for cls in settings for name in names_of(cls)} == command_line.FLAGS.keys()


def test_the_domains_to_choose_from_are_those_that_prompts_know():
    assert command_line.FLAGS["llm_domain"].more["choices"] == ["auto", *DOMAINS]


def settings(words, **picked):
    options = command_line.parse(["--dataset", "x", *words.split()])
    options.fill_in_of_data_set("x")
    options.run.device = "cpu"
    vars(options.refinement).update(picked)
    return set(options.effective())


ALWAYS = {"dataset", "model", "dataset_augment", "random_seed", "test_batch_size", "top_k", "device"}
ALWAYS |= {"data_dir", "result_dir", "path_name"}
PROMPTED = {"llm", "llm_mode", "llm_domain", "llm_permutations", "llm_profile", "llm_seed", "unasked_twos"}
PROMPTED |= {"llm_prompt", "llm_users"}


def test_settings_hold_what_a_run_uses_and_nothing_that_it_ignores():
    assert settings("--model EASE") == ALWAYS | synthetic.flags_of("EASE")
    assert settings("--model Popularity --dataset_augment augment", llm="file") == ALWAYS | {"llm"}
    without_labels = synthetic.flags_of("ReFINe++") | ALWAYS
    assert settings("--dataset_augment original") == without_labels
    assert settings("--llm random") == without_labels | {"llm", "llm_seed"}
    assert settings("", llm="org/encoder", llm_mode="embed") == without_labels | {"llm", "llm_mode", "unasked_twos"}
    scored = settings("--llm org/x", llm_mode="score")
    assert scored == without_labels | PROMPTED | {"llm_dtype", "llm_batch_tokens"}
    served = settings("--llm_url http://x", llm="org/x", llm_mode="generate")
    served_only = {"llm_url", "llm_concurrency", "llm_timeout", "llm_temperature"}
    assert served == without_labels | PROMPTED | served_only | {"llm_answer_tokens"}
    assert without_labels - settings("--no_autoencoder --dataset_augment original") == {
        "hidden_dim", "lambda_ae", "no_alignment", "precision", "rejection",
    }  # fmt: skip
    bpr = settings("--loss bpr --dataset_augment original")
    assert without_labels - bpr == {"n_negatives", "negatives", "kappa"}


LIGHT = ["main.py --help", "main.py --datset x", "main.py --dataset x --llm rule --llm_mode score", "study.py --help"]
LIGHT += ["llm_feedback.py --help", "study.py"]
PATHS = "--dataset {folder} --data_dir {base}/data --result_dir {base}/result"
FINISHED = f"main.py {PATHS} --model Popularity --path_name a"


def in_a_process(code):
    """Its exit code, stderr, and the last line of stdout: which of HEAVY were imported."""
    code = f"import sys\ntry:\n    {code}\nfinally: print('imported', *sorted({HEAVY} & {{*sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stderr, done.stdout.splitlines()


@pytest.mark.parametrize("command", [*LIGHT, FINISHED])
def test_what_needs_no_torch_is_said_before_it_is_imported(tmp_path, command):
    folder = synthetic.write_data_set(tmp_path / "x")
    (tmp_path / "result" / "x" / "a").mkdir(parents=True)
    for name in ("config.json", "summary.json"):
        (tmp_path / "result" / "x" / "a" / name).write_text("{}")
    script, *arguments = command.format(folder=folder, base=tmp_path).split()
    run = f"import runpy; sys.argv = {[script, *arguments]}; runpy.run_path({script!r}, run_name='__main__')"
    code, said, lines = in_a_process(run)
    assert lines[-1] == "imported", said
    assert code == (0 if "--help" in command else 2)


def test_what_is_going_to_run_is_said_before_torch_is_imported(tmp_path):
    words = PATHS.format(folder=synthetic.write_data_set(tmp_path / "x"), base=tmp_path).split()
    run = f"import main; main.import_module = lambda job: sys.exit(job); main.main({words})"
    _, said, lines = in_a_process(run)
    assert lines == [f"ReFINe++ on x, run folder {tmp_path}/result/x/ReFINe++_2024", "imported"], said
    assert said == "experiment\n"


MODULES = [row.module for row in MODELS.values() if row.module]


@pytest.mark.parametrize(
    ("modules", "imported"),
    [
        (", ".join({"experiment", *MODULES}), "numpy pandas torch"),
        ("conrec.run", "numpy pandas scipy torch"),
    ],
)
def test_a_job_and_the_models_are_imported_without_what_only_some_runs_use(modules, imported):
    _, said, lines = in_a_process(f"import {modules}")
    assert lines[-1] == f"imported {imported}", said


def test_a_run_of_a_closed_form_imports_what_it_uses(tmp_path):
    words = PATHS.format(folder=synthetic.write_data_set(tmp_path / "x"), base=tmp_path).split()
    _, said, lines = in_a_process(f"import main; main.main({[*words, '--model', 'Popularity']})")
    assert lines[-1] == "imported numpy pandas torch", said
