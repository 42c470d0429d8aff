"""How many threads a run computes with: no more than it may have, has a use for, and others leave to it.

    usable_cores      cores that this process may use: by its affinity mask and by the quota of its container
    free_cores        those of them that nobody uses now
    choose_threads    the number for a run, and why

A step has some 300 parallel regions, and each waits for the last of its threads.  Where other processes have the cores,
that thread waits for its turn: a step with two threads was measured to take up to twelve times as long as with one
(docs/speed.md).  Nothing here takes long to import.
"""

import os
from math import ceil
from pathlib import Path

import psutil

CGROUP = Path("/sys/fs/cgroup")  # in a container the container's own
# Of edges x embedding_dim, for each thread.  On two quiet cores a step of ReFINe++ takes with two threads .95 of the
# time with one at 266,000 (examples/tiny), .8 at a million, .76 at 4 million (ML-100K) and at 37 million (ML-1M), one
# of LightGCN .85, .8 and .68.  What is less than that is not worth the risk that somebody else takes a core later.
WORK = 500_000
LOOK = 0.25  # seconds: 25 ticks of the clock by which Linux counts
SLACK = 0.1  # of the cores: what a machine at rest does anyway


def choose_threads(asked=None, remembered=None, work=None):
    """(number of threads, why in words).

    asked: --threads.  remembered: of the run that is resumed, whose last digits depend on it.  work: edges x
    embedding_dim, where it is known.  Each may be None.
    """
    cores = usable_cores()
    if asked:
        return asked, "--threads"
    from_outside = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if from_outside.isdecimal() and int(from_outside):
        return int(from_outside), "OMP_NUM_THREADS"
    if remembered and remembered <= cores:
        return remembered, "as the run began"
    useful = cores if work is None else max(1, min(cores, work // WORK))
    if useful == 1:
        return 1, "there are no more" if cores == 1 else "so small a model has no use for more"
    number, free = useful, free_cores()
    while number > 1 and number * (1 - SLACK) > free:
        # by halves, so that a little more or less of load gives the same number and thereby the same last digits
        number //= 2
    if number < useful:
        return number, f"the machine is busy: others use {max(0, cores - free):.1f} of them"
    return number, "nobody else uses them" if number == cores else "what the model has a use for"


def mask():
    """The numbers of the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))  # macOS and Windows have none


def usable_cores():
    """How many cores this process may use.  A part of a core counts as one."""
    quota = quota_of_container()
    if quota is None:
        return len(mask())
    return min(len(mask()), max(1, ceil(quota)))


def quota_of_container():
    """In cores; None where there is no limit, or no Linux."""
    try:
        if (CGROUP / "cpu.max").exists():  # version 2
            quota, period = map(int, (CGROUP / "cpu.max").read_text().split())
        else:
            quota, period = (int((CGROUP / "cpu" / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
    except (OSError, ValueError):  # ValueError: version 2 says "max" where there is no limit
        return None
    return quota / period if quota > 0 else None  # version 1 says -1


def free_cores():
    """How many of the usable cores nobody else uses: by a brief look, in which this process sleeps.

    The load average would know what was, not what is: it falls to a third only a minute after the others have ended.
    """
    own, idle = mask(), 0
    for core, share in enumerate(psutil.cpu_times_percent(LOOK, percpu=True)):
        if core in own:
            idle += (share.idle + getattr(share, "iowait", 0)) / 100  # waiting for a disk is idle, too
    return min(usable_cores(), idle)
