"""Bad input through the real command, each case in a process of its own (tests/helpers/bad_input.py).

Starting Python and importing torch takes seconds, and there are dozens of cases: one process imports everything, does
nothing with it, and forks for each case.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import synthetic
from bad_input import CASES
from bad_input_conrec import CASES_OF_DISLIKES

ROOT = Path(__file__).resolve().parents[1]
CASES = CASES | CASES_OF_DISLIKES

SERVER = """
import json, os, sys, traceback
import experiment, main, recommend, torch, transformers
import conrec.run
from machine import hardware, shell
hardware.be_deterministic(torch.device("cpu"), False)  # imports for seconds
for line in sys.stdin:
    job = json.loads(line)
    if not (child := os.fork()):
        try:
            for descriptor, path in ((1, os.devnull), (2, job["stderr"])):
                os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), descriptor)
            sys.argv[1:] = job["arguments"]
            code = shell.cli(main.main)
        except SystemExit as stop:
            code = stop.code
        except BaseException:
            traceback.print_exc()
            code = 1
        sys.stderr.flush()
        os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def command():
    """(arguments, file for stderr) -> exit code of main.py in a process of its own."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    server = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", SERVER], cwd=ROOT, env=environment, text=True, stdin=-1, stdout=-1
    )

    def run(arguments, stderr):
        job = {"arguments": list(map(str, arguments)), "stderr": str(stderr)}
        server.stdin.write(json.dumps(job) + "\n")
        server.stdin.flush()
        return int(server.stdout.readline())

    yield run
    server.stdin.close()
    assert server.wait() == 0


@pytest.fixture(scope="module")
def llm(tmp_path_factory):
    return synthetic.write_encoder(tmp_path_factory.mktemp("encoder") / "llm")


def contents(base):
    """Every file under base, for seeing that nothing was written or lost; locks are empty and may stay."""
    files = (path for path in base.rglob("*") if path.is_file() and not path.name.endswith(".lock"))
    return {str(path.relative_to(base)): path.read_bytes() for path in files}


SIZES = ["--epochs", "1", "--embedding_dim", "8", "--hidden_dim", "9"]


@pytest.mark.parametrize("name", CASES)
def test_bad_input_gets_exit_code_2_and_one_line_that_names_culprit_and_cure(tmp_path, command, llm, name):
    case = CASES[name]
    base = tmp_path / "base"
    folder = synthetic.write_data_set(base / "x")
    good = ["--dataset", folder, "--data_dir", base / "data", "--result_dir", base / "result"]
    if case.before:
        code = command([*good, "--model", "Popularity", "--path_name", "before"], tmp_path / "before")
        assert code == 0, (tmp_path / "before").read_text()
    case.spoil(base)
    before = contents(base)
    flags = case.flags.format(folder=folder, base=base, llm=llm).split()
    needs = [] if "--model" in flags else ["--llm", llm, *SIZES]
    code = command([*good, *needs, *flags], tmp_path / "stderr")
    error = (tmp_path / "stderr").read_text()
    assert code == 2, error
    assert error.startswith("error: ") and error.count("\n") == 1 and "Traceback" not in error
    assert re.search(case.message, error), error
    after = contents(base)
    log = "result/x/before/log.txt"  # may only grow
    assert after.pop(log, b"").startswith(before.pop(log, b""))
    assert {path: after.get(path) for path in before} == before  # nothing lost or changed
    new = set(after) - set(before)
    assert not any(path.startswith("result") for path in new), new  # no run begun; preparing may have been done before
