"""The number of threads, on made-up masks, quotas and loads."""

import json
import os
from types import SimpleNamespace

import psutil
import pytest
import torch

from machine import hardware, threads
from runs.run_folder import Run


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Sets up a machine: cores in the mask, the idle share of them, and files of the cgroup by path."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "CGROUP", tmp_path)

    def set_up(cores=4, idle=1.0, **files):
        monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)), raising=False)
        own, others = SimpleNamespace(idle=100 * idle, iowait=0), SimpleNamespace(idle=0, iowait=0)
        monkeypatch.setattr(psutil, "cpu_times_percent", lambda seconds, percpu: [own] * cores + [others] * 4)
        for path, text in files.items():
            (tmp_path / path).parent.mkdir(exist_ok=True)
            (tmp_path / path).write_text(text)

    return set_up


@pytest.mark.parametrize(
    ("cores", "files", "usable"),
    [
        (64, {}, 64),
        (64, {"cpu.max": "max 100000\n"}, 64),
        (64, {"cpu.max": "250000 100000\n"}, 3),
        (64, {"cpu.max": "10000 100000\n"}, 1),
        (2, {"cpu.max": "800000 100000\n"}, 2),
        (64, {"cpu.max": "broken"}, 64),
        (64, {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "1"}, 64),
        (64, {"cpu/cpu.cfs_quota_us": "5", "cpu/cpu.cfs_period_us": "2"}, 3),
    ],
)
def test_usable_cores_are_what_mask_and_quota_allow(machine, cores, files, usable):
    machine(cores, **files)
    assert threads.usable_cores() == usable


def test_a_system_without_masks_and_cgroups_has_its_cores(machine, monkeypatch):
    machine()
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert threads.usable_cores() == 6


MUCH = 100 * threads.WORK


@pytest.mark.parametrize(
    ("cores", "idle", "work", "number", "why"),
    [
        (2, 1.0, MUCH, 2, "nobody else uses them"),
        (2, 0.95, MUCH, 2, "nobody else uses them"),  # a machine is never quite at rest
        (2, 0.5, MUCH, 1, "the machine is busy: others use 1.0 of them"),
        (8, 0.6, MUCH, 4, "the machine is busy: others use 3.2 of them"),
        (8, 1.0, 3 * threads.WORK, 3, "what the model has a use for"),
        (8, 1.0, threads.WORK, 1, "so small a model has no use for more"),
        (8, 0.0, 1, 1, "so small a model has no use for more"),
        (1, 0.0, MUCH, 1, "there are no more"),
    ],
)
def test_threads_are_what_the_model_uses_and_others_leave(machine, cores, idle, work, number, why):
    machine(cores, idle)
    assert threads.choose_threads(work=work) == (number, why)


def test_what_is_asked_for_or_remembered_comes_first(machine, monkeypatch):
    machine(4, idle=0.0)
    assert threads.choose_threads(remembered=4, work=1) == (4, "as the run began")
    assert threads.choose_threads(remembered=64, work=1)[0] == 1  # of another machine, or of more than it was given
    for value in ("", "0", "many", "-1"):
        monkeypatch.setenv("OMP_NUM_THREADS", value)
        assert threads.choose_threads(remembered=4) == (4, "as the run began")
    monkeypatch.setenv("OMP_NUM_THREADS", "3,2")
    assert threads.choose_threads(remembered=4) == (3, "OMP_NUM_THREADS")
    assert threads.choose_threads(asked=7, remembered=4) == (7, "--threads")


def test_a_resumed_run_computes_with_as_many_threads_as_it_began_with(machine, monkeypatch, tmp_path):
    machine(4, idle=0.0)
    used = []
    monkeypatch.setattr(torch, "set_num_threads", used.append)
    run, config = Run(tmp_path / "run"), {"settings": {}, "made_from": {}, "threads": 3}
    for resume, asked in ((True, None), (False, None), (True, None), (True, 2)):
        settings = SimpleNamespace(threads=asked, resume=resume)
        said = hardware.use_threads(settings, run, MUCH)
        run.folder.mkdir(exist_ok=True)
        (run.folder / "config.json").write_text(json.dumps(config))
    assert used == [1, 1, 3, 2] and said == "threads: 2 of 4 cores (--threads)"
