"""The commands of README and docs work, and their figures are those of the files they come from."""

import itertools
import json
import re
import shlex
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest

import main
import study
from options import models
from options.command_line import FLAGS, parse
from options.models import MODELS
from results4comparison import table

ROOT = Path(main.__file__).parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCS = {path.name: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md"))}
TEXT = README + "".join(DOCS.values())
FIRST, SECOND = re.findall(r"```bash\n(.*?)\n```", README, re.DOTALL)[:2]


def run(arguments, **more):
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, **more)


def test_ci_runs_exactly_the_test_command():
    assert SECOND in (ROOT / ".ci" / "run").read_text().splitlines()


def test_the_main_job_runs_from_files_to_the_comparison(tmp_path):
    """The first command with two epochs and other folders: data from the registry, the real encoder, real sizes."""
    assert README.index(FIRST) < 600  # at the very top
    install, command = FIRST.rsplit(" && ", 1)
    assert "-r requirements.txt" in install
    arguments = shlex.split(command.removeprefix(".venv/bin/python "))
    paths = ["--data_dir", str(tmp_path / "data"), "--result_dir", str(tmp_path / "result")]
    done = run([*arguments, "--epochs", "2", *paths])
    assert done.returncode == 0, done.stderr
    assert "splits: byte for byte the published ones" in done.stdout
    assert "user: 938,  item: 1008" in done.stdout and "valid interactions: 5018" in done.stdout
    published, ours = re.search(r"recall@20 +([\d.]+) +([\d.]+)", done.stdout.split("Test metrics")[1]).groups()
    assert float(published) == 0.4420 and 0.15 < float(ours) < 0.30  # two epochs: above chance, below the end
    card = done.stdout.split("Report card of the refinement\n")[1].split("\n####")[0]
    printed = DOCS["refinement.md"].split("the default model's reads\n\n")[1].split("\n\n")[0]
    figures = [[float(f) for f in re.findall(r"[\d.]*\d", text)] for text in (card, printed)]
    assert figures[0] == pytest.approx(figures[1], rel=0.02)  # another processor may round a few scores otherwise


LINK = r"\]\(([^)#:]+)[)#]"


def test_every_table_has_its_place():
    assert re.findall(r"<!-- results: python results4comparison/table.py ([^\n]*) -->\n", TEXT) == [
        "choose", "negative", "dislikes", "systems", "beyond", "labels", "ablations", "negatives", "precision",
    ]  # fmt: skip


@pytest.mark.parametrize("path", [path for path in table.DOCUMENTS if "<!-- results: " in path.read_text()], ids=str)
def test_the_tables_are_what_the_kept_runs_give_in_seven_columns(path):
    """Refreshed by `python results4comparison/table.py write`."""
    text = path.read_text(encoding="utf-8")
    assert table.fill_blocks(text) == text
    for printed in re.findall(r"<!-- results: .*?<!-- /results -->", text, re.DOTALL):
        assert max(line.count(" | ") for line in printed.splitlines()) <= 6


def test_the_readme_fits_in_the_head():
    assert len(README.splitlines()) <= 150


@pytest.mark.parametrize("target", sorted(set(re.findall(LINK, README))))
def test_every_link_of_the_readme_leads_somewhere(target):
    assert (ROOT / target).exists()


@pytest.mark.parametrize(("name", "text"), DOCS.items())
def test_every_link_of_the_docs_leads_somewhere(name, text):
    for target in re.findall(LINK, text):
        assert (ROOT / "docs" / target).exists(), f"{name}: {target}"


def test_the_benchmarks_run(ml_100k, tmp_path):
    def printed(name, *flags):
        done = run(["-W", "ignore", f"benchmarks/{name}.py", *map(str, flags)])
        assert done.returncode == 0, done.stderr
        return done.stdout

    small = ["--shapes", "ML-100K", "--device", "cpu"]
    epochs = printed("epoch", *small, "--steps", 1, "--models", "ReFINe++", "LightGCN")
    forms = re.findall(r"^(\S+)(?: +[\d.]+){4}$", epochs, re.M)
    assert sorted(forms) == ["bf16", "fast", "fast", "plain", "plain"]
    assert len(re.findall(r"^\S.* [\d.]+ +[\d.]+$", printed("propagation", *small), re.M)) >= 5
    devices = printed("devices", *small, "--processes", 1, "--steps", 1)
    assert re.search(r"^1 processes +[\d.]+ ", devices, re.M)
    shutil.copytree(ml_100k, tmp_path / "data" / "ML-100K")
    folded_in = printed("new_users", "Popularity", "--users", 20, "--folder", tmp_path)
    assert re.search(r"^Popularity, test: .* trained on, .* folded in, difference [+-]", folded_in, re.M)


@pytest.mark.parametrize("command", sorted(set(re.findall(r"python study\.py[^`\n>]*--[^`\n>]*", TEXT))))
def test_every_study_is_understood(command):
    options = study.parse(shlex.split(command)[2:])
    for model, dataset in itertools.product(options.models, options.datasets):
        assert all(study.Trial(words, dataset, 1, options) for words in study.combine_flags(model))


@pytest.mark.parametrize("command", sorted(set(re.findall(r"python main\.py[^`\n]*", TEXT + main.EXAMPLES))))
def test_every_other_command_line_is_understood(command):
    """Flags of the examples in the README and in main.py's own help exist."""
    words = shlex.split(re.split(r"  +", command)[0])[2:]
    if "--help" in words:
        with pytest.raises(SystemExit) as ended:
            parse(words)
        assert ended.value.code == 0
    else:
        parse(words)


def test_the_worked_example_of_a_model_trains(tmp_path, monkeypatch, capsys):
    """The text of docs/method.md, as it stands there: it beats popularity on the small data set."""
    example = r"<!-- example: (\S+) -->\n```python\n(.*?)```\n<!-- /example -->"
    (path, code), (_, row) = re.findall(example, DOCS["method.md"], re.DOTALL)
    module = path.removesuffix(".py").replace("/", ".")
    monkeypatch.setitem(sys.modules, module, types.ModuleType(module))
    exec(compile(code, path, "exec"), vars(sys.modules[module]))
    for name, entry in eval("{" + row + "}", vars(models)).items():
        monkeypatch.setitem(MODELS, name, entry)
    recall = {}
    for model in ("DirectAU", "Popularity"):
        flags = [] if model == "Popularity" else ["--epochs", "20", "--learning_rate", "0.01"]
        where = ["--data_dir", str(tmp_path / "data"), "--result_dir", str(tmp_path), "--path_name", model]
        main.main(["--dataset", str(ROOT / "examples" / "tiny"), "--model", model, *where, *flags])
        summary = json.loads((tmp_path / "tiny" / model / "summary.json").read_text())
        recall[model] = summary["test"]["recall@20"]
    assert recall["DirectAU"] > recall["Popularity"] + 0.05


def test_every_flag_named_exists():
    others = {"list", "jobs", "help", "version", "format", "against"}  # of study.py, llm_feedback.py and table.py
    removed = DOCS["method.md"].partition("## Removed options")[2]
    named = re.findall(r"`--([a-z_]+)", TEXT.replace(removed, ""))
    assert set(named) <= set(FLAGS) | others
    gone = re.findall(r"`--([a-z_]+)`", "".join(row.split(" | ")[0] for row in removed.splitlines()))
    assert len(gone) > 10 and not set(gone) & set(FLAGS)
