"""What every command owes the shell: help, pipes that break, characters that cannot be shown."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import synthetic

import main
from runs.run_folder import RULE

ROOT = Path(main.__file__).parent
PROGRAMS = ["main.py", "study.py", "blend.py", "llm_feedback.py"]
PROGRAMS += ["results4comparison/table.py", "results4comparison/compare.py"]


def command(*words, **more):
    """A program of this project, run to its end."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | more.pop("environment", {})
    more = {"stdout": -1, "stderr": -1, "cwd": ROOT, "env": environment, "timeout": 300} | more
    return subprocess.run([sys.executable, "-W", "ignore", *map(str, words)], **more)


def closed_pipe():
    """The writing end of a pipe that nobody reads any more."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A data set of whose titles each has letters that ASCII lacks, and a finished run of it: base/result/x/a."""
    base = tmp_path_factory.mktemp("shell")
    folder = synthetic.write_data_set(base / "x")
    items = folder / "x.item"
    items.write_text(items.read_text().replace("Film", "Misérables"))
    main.main([*of_main(base), "--path_name", "a"])
    return base


def of_main(base):
    return [*synthetic.paths_of(base / "x", base), "--model", "Popularity"]


@pytest.mark.parametrize("program", PROGRAMS)  # pictures and groups print their help as table does
def test_every_program_works_without_docstrings(program):
    done = command("-OO", program, "--help")
    assert done.returncode == 0 and not done.stderr and done.stdout, done.stderr


@pytest.mark.parametrize("words", [[], ["-h", "x"]])
def test_pictures_are_written_where_a_folder_is_named_alone(words):
    before = {path: path.stat().st_mtime_ns for path in (ROOT / "docs").iterdir()}
    done = command("results4comparison/pictures.py", *words)
    assert done.returncode == 0 and b"FOLDER" in done.stdout
    assert before == {path: path.stat().st_mtime_ns for path in (ROOT / "docs").iterdir()}


@pytest.mark.parametrize("words", ["main.py --help", "results4comparison/table.py systems"])
def test_a_command_that_only_prints_ends_quietly_where_nobody_reads(words):
    """As bash reports `yes` in "yes | head -1"."""
    done = command(*words.split(), stdout=closed_pipe())
    assert done.returncode in (0, 141) and not done.stderr  # 0: argparse passes over what it cannot print


def test_what_is_wrong_is_said_all_the_same():
    done = command("main.py", "--dataset", "nowhere", stdout=closed_pipe())
    assert done.returncode == 2 and done.stderr.startswith(b"error: --dataset nowhere")


@pytest.mark.parametrize("both", [False, True])
def test_a_run_goes_on_where_nobody_reads_what_it_prints(world, tmp_path, both):
    """main.py ... | head -1, or 2>&1 | head -1."""
    words = ["main.py", *of_main(world), "--result_dir", tmp_path, "--path_name", "b"]
    pipe = closed_pipe()
    done = command(*words, stdout=pipe, **{"stderr": pipe} if both else {})
    assert done.returncode == 0
    folder = tmp_path / "x" / "b"
    if not both:
        said = f"nobody reads stdout any more; the run goes on, and all is in {folder}/log.txt\n"
        assert done.stderr.decode() == said
    assert (folder / "summary.json").exists()
    logs = []
    for path in (folder, world / "result" / "x" / "a"):
        logs.append((path / "log.txt").read_text().partition(RULE)[2])
    assert logs[0].count("\n") == logs[1].count("\n") > 30 and "Final Test Results" in logs[0]


def test_a_run_without_stdout_ends_well(world, tmp_path):
    words = ["main.py", *of_main(world), "--result_dir", str(tmp_path), "--path_name", "b"]
    closed = ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-W", "ignore"]
    done = subprocess.run([*closed, *words], cwd=ROOT, stderr=-1, timeout=300)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_full_disk_under_stdout_is_one_line():
    with open("/dev/full", "w") as full:
        done = command("results4comparison/table.py", "systems", stdout=full)
    assert done.returncode == 2 and done.stderr in (
        b"error: stdout: No space left on device\n", b"error: a file: No space left on device\n",
    )  # fmt: skip


ASCII = {"PYTHONIOENCODING": "ascii"}


@pytest.mark.parametrize("environment", [ASCII, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}])
def test_what_the_terminal_cannot_show_is_written_in_ascii(world, environment):
    run = world / "result" / "x" / "a"
    done = command("main.py", "--recommend", "u1", "--run", run, environment=environment)
    assert done.returncode == 0 and b"Mis\\xe9rables" in done.stdout, done.stderr
    done = command("results4comparison/table.py", "systems", environment=environment)
    assert done.returncode == 0 and b" \\xb1 " in done.stdout, done.stderr
