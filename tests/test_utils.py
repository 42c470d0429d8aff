"""Files."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

import utils
from runs import run_folder


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def write(temporary):
        temporary.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError):
        utils.write_atomically(path, write)
    assert [p.name for p in tmp_path.iterdir()] == ["file"] and path.read_text() == "old"


def test_a_hash_is_remembered_until_the_file_changes(tmp_path, monkeypatch):
    path, worked_out, sha256 = tmp_path / "file", [], utils.sha256
    monkeypatch.setattr(utils, "sha256", lambda p: worked_out.append(p) or sha256(p))
    path.write_text("hello")
    digest = utils.remembered_sha256(path)
    assert digest == sha256(path) == utils.remembered_sha256(path) and len(worked_out) == 1
    path.write_text("other")
    assert utils.remembered_sha256(path) == sha256(path) != digest and len(worked_out) == 2
    os.utime(path, (1, 1))
    assert utils.remembered_sha256(path) == sha256(path) and len(worked_out) == 3
    for spoilt in ("nonsense", "[]", '{"file": 3}', '{"file": []}'):
        (tmp_path / ".hashes").write_text(spoilt)
        assert utils.remembered_sha256(path) == sha256(path)
    (tmp_path / ".hashes").unlink()
    assert utils.remembered_sha256(path) == sha256(path)


PEAK = """
import sys, torch
from machine import hardware
from pathlib import Path
cpu = torch.device("cpu")
hardware.reset_peak_memory(cpu)
before = hardware.peak_memory_mb(cpu)
block = torch.ones(2**26)  # 256 MiB
assert 200 < hardware.peak_memory_mb(cpu) - before < 400 and block[0] == 1
hardware.PROCESS = Path("nowhere")  # macOS, some containers
hardware.reset_peak_memory(cpu)
assert hardware.peak_memory_mb(cpu) > before and hardware.available_memory(cpu) > 2**20
"""


def test_peak_memory_is_measured_anew_where_the_system_lets_us_and_since_the_start_elsewhere():
    """In a process of its own: one that has trained keeps freed memory."""
    subprocess.run([sys.executable, "-c", PEAK], cwd=Path(utils.__file__).parent, check=True)


def holder(folder):
    """A process that takes the folder's lock, says so and keeps it until it is killed or its stdin is closed."""
    code = "import sys, utils; from pathlib import Path\nwith utils.locked(Path(sys.argv[1])): print('in', flush=True)"
    code += "; sys.stdin.read()"
    command = [sys.executable, "-c", code, str(folder)]
    return subprocess.Popen(command, cwd=Path(utils.__file__).parent, stdin=-1, stdout=-1, text=True)


def test_a_lock_makes_the_second_wait_until_the_first_is_done(tmp_path):
    """The second process says that it waits, and goes on after the first has let go; a folder under it is not made."""
    with utils.locked(tmp_path / "data" / "x"):
        second = holder(tmp_path / "data" / "x")
        assert second.stdout.readline().startswith("waiting for another run")
        assert second.poll() is None
    assert second.communicate()[0] == "in\n" and second.returncode == 0
    assert [path.name for path in (tmp_path / "data").iterdir()] == [".x.lock"]


def test_a_killed_process_leaves_no_lock_behind(tmp_path):
    process = holder(tmp_path / "x")
    assert process.stdout.readline() == "in\n"
    lock = utils.lock_of(tmp_path / "x")
    assert not utils.take(lock)
    process.kill()
    process.communicate()
    assert utils.take(lock) and lock.is_locked
    lock.release()


def test_a_file_system_without_locks_is_said_and_not_fatal(tmp_path, monkeypatch):
    def flock(*given):
        raise OSError(errno.ENOLCK, "no locks here")

    monkeypatch.setattr("fcntl.flock", flock)
    lines = []
    with utils.locked(tmp_path / "x", lines.append):
        assert len(lines) == 1 and ".x.lock: cannot be locked (no locks here)" in lines[0]
    with run_folder.Run(tmp_path / "run") as run:
        run.open({}, {}, False, [])
        assert ".run.lock: cannot be locked (no locks here)" in (tmp_path / "run" / "log.txt").read_text()


def test_where_nothing_may_be_written_nothing_needs_a_lock(tmp_path):
    (tmp_path / "file").write_text("")
    with utils.locked(tmp_path / "file" / "x"):
        assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("meta-llama/Llama-3.1-8B", "Llama-3.1-8B"), ("llama3.1:8b", "llama3.1:8b"), ("x/..", "model"), ("..", "model"),
        (".", "model"), ("", "model"), ("/", "model"), ("a\0b\nc\\d|e", "a_b_c_d_e"), ("m" * 300, "m" * 100),
    ],
)  # fmt: skip
def test_a_models_name_makes_a_file_of_its_folder(model, name):
    assert utils.file_name(model) == name
