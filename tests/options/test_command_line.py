"""Flags: which a model has a use for, what fills in those not given.  What each changes: tests/test_main.py."""

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
import synthetic

from feedback.prompts import DOMAINS
from options import command_line
from options.flag import own_names_of
from options.models import MODELS
from options.refinement import RefinementSettings
from options.run import Looking
from utils import InputError

ROOT = Path(command_line.__file__).parents[1]
HEAVY = {"torch", "torch_geometric", "transformers", "peft", "pandas", "sklearn", "matplotlib", "numpy", "scipy"}
HEAVY |= {"requests"}


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
        ("--llm org/x --llm_temperature 1", "--llm_temperature: has no use without --llm_url"),
        ("--llm_mode score --llm org/x --llm_answer_tokens 9", "--llm_answer_tokens: --llm_mode score leaves"),
        ("--llm rule --llm_prompt x", "--llm_prompt: --llm rule leaves"),
        ("--llm_dry_run", "--llm_dry_run: an encoder has no use for it"),
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
    with pytest.raises(InputError, match=message):
        command_line.parse(["--dataset", "x", *words.split()])


def test_every_model_flag_is_some_models(capsys):
    of_models = set().union(*map(synthetic.flags_of, MODELS))
    assert {"embedding_dim", "p", "siren_dropout", "ease_lambdas", "negatives"} <= of_models
    for name in MODELS:
        options = command_line.make({"dataset": "x", "model": name, **({"blend": ["a"]} if name == "Blend" else {})})
        assert set(options.ablation("x")) == ({"blend"} if name == "Blend" else set())
        assert options.run.dataset_augment == ("augment" if name.startswith("ReFINe") else "original")
        assert all(options.values()[flag] == value for flag, value in MODELS[name].defaults.items())


def test_what_the_data_set_decides_and_what_makes_an_ablation():
    options = command_line.parse(["--dataset", "Amazon_Books", "--model", "ReFINe", "--q", ".5", "--random_seed", "3"])
    options.fill_in_of_data_set("Amazon_Books")
    own = options.recommender
    assert (own.layers, own.r) == (2, 100) and options.ablation("Amazon_Books") == {"q": 0.5}
    options = command_line.parse(["--dataset", "ML-1M", "--model", "ReFINe"])
    options.fill_in_of_data_set("ML-1M")
    own = options.recommender
    assert (own.layers, own.r) == (4, 250) and options.ablation("ML-1M") == {}
    options = command_line.parse(["--dataset", "ML-1M", "--model", "ReFINe", "--r", "100"])
    options.fill_in_of_data_set("ML-1M")
    assert options.recommender.r == 100 and options.ablation("ML-1M") == {"r": 100}


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
    options = command_line.make({"dataset": "x", "model": model, **({"blend": ["a"]} if model == "Blend" else {})})
    expected = set(options.values()) - set(MODELS[model].ignores.split())
    expected |= set(own_names_of(Looking)) if model == "CoNRec" else set()  # --filter
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
    places = {}
    for cls in command_line.CLASSES:
        for owner in cls.__mro__:
            for name, field in vars(owner).get("__dataclass_fields__", {}).items():
                if name in inspect.get_annotations(owner) and "help" in field.metadata:
                    places.setdefault(name, set()).add(owner)
    assert places.keys() == command_line.FLAGS.keys() and all(len(owners) == 1 for owners in places.values())


LISTS_OF_FLAGS = {"TUNING", "OF_IDS", "OF_GRPO"}


def test_flags_that_are_named_in_rules_exist():
    """idle() and the constants it uses name flags in strings, where a typo would change nothing."""
    named = set()
    for path in (ROOT / "options").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            rule = isinstance(node, ast.Yield) and isinstance(node.value, ast.Tuple) and node.value.elts[0]
            is_list = isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in LISTS_OF_FLAGS
            words = node.value if is_list else rule
            if isinstance(words, ast.Constant):
                named.update(words.value.split())
    named |= {name for row in MODELS.values() for name in row.ignores.split()}
    assert len(named) > 40 and named <= command_line.FLAGS.keys()


def test_an_argument_that_is_empty_is_one_line(capsys):
    with pytest.raises(SystemExit) as ended:
        command_line.parse(["--dataset", "x", ""])
    assert ended.value.code == 2 and capsys.readouterr().err.count("\n") == 1


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
    assert served == without_labels | PROMPTED | served_only | {"llm_question_size", "llm_answer_tokens"}
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


@pytest.mark.parametrize(
    ("modules", "imported"),
    [
        ("experiment", "numpy pandas torch"),
        (", ".join(row.module for row in MODELS.values() if row.module), "numpy pandas torch"),
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
