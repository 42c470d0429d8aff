"""How many threads a run computes with: no more than it may have, has a use for, and others leave to it.

    usable_cores      cores that this process may use: by its affinity mask and by the quota of its container
    free_cores        those of them that nobody uses now
    choose_threads    the number for a run, and why

A step has some 300 parallel regions, and each waits for the last of its threads.  Where other processes have the cores,
that thread waits for its turn: a step with two threads was measured to take up to twelve times as long as with one
(docs/speed.md).  Nothing here takes long to import.
"""

import os
import time
from contextlib import suppress
from math import ceil
from pathlib import Path

SYSTEM = Path("/")  # what the files of Linux are looked for in
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
        return number, f"the machine is busy: others use {cores_in_words(cores - free)}"
    return number, "nobody else uses them" if number == cores else "what the model has a use for"


def cores_in_words(number):
    return f"{max(0, number):.1f} of them"


def in_words(number, why):
    """For the log."""
    return f"threads: {number} of {usable_cores()} cores ({why})"


# ----------------------------------------------------------------------------------- what may be used


def mask():
    """The numbers of the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))  # macOS and Windows have none


def usable_cores():
    """How many cores this process may use.  A part of a core counts as one."""
    return min([len(mask()), *(max(1, ceil(quota)) for quota in quotas())])


def quotas():
    """The limits of the cgroups that this process is in, in cores.

    A cgroup is limited by those above it, too.  In a container the path may be that of the host: then what is mounted
    is the cgroup itself.
    """
    try:
        lines = (SYSTEM / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # not Linux
        return []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            mounts, read = ("sys/fs/cgroup", "sys/fs/cgroup/unified"), quota_of_version_2
        elif "cpu" in controllers.split(","):
            mounts, read = ("sys/fs/cgroup/cpu", "sys/fs/cgroup/cpu,cpuacct"), quota_of_version_1
        else:
            continue
        inside = Path(path.lstrip("/"))
        for mount in mounts:
            for folder in (inside, *inside.parents):
                with suppress(OSError, ValueError):  # no such folder, or no limit in it
                    found.append(read(SYSTEM / mount / folder))
    return found


def quota_of_version_2(folder):
    """Raises ValueError where it says "max"."""
    quota, period = (folder / "cpu.max").read_text().split()
    return int(quota) / int(period)


def quota_of_version_1(folder):
    """Raises ValueError where it says -1, no limit."""
    quota, period = (int((folder / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
    if quota <= 0:
        raise ValueError(quota)
    return quota / period


# ----------------------------------------------------------------------------------- what is left by others


def free_cores():
    """How many of the usable cores nobody else uses: by a brief look, in which this process sleeps.

    The load average would know what was, not what is: it falls to a third only a minute after the others have ended.
    Where the system has no count of idle time, it must do.
    """
    cores = usable_cores()
    before = idle_ticks()
    time.sleep(LOOK)
    idle, total = (after - earlier for after, earlier in zip(idle_ticks(), before, strict=True))
    if total > 0:
        return min(cores, idle / total * len(mask()))
    if hasattr(os, "getloadavg"):
        return max(0.0, cores - os.getloadavg()[0])
    return cores


def idle_ticks():
    """(idle, all) ticks so far of the cores in the mask; zeros where the system does not say."""
    idle = total = 0
    with suppress(OSError):
        for line in (SYSTEM / "proc/stat").read_text().splitlines():
            name, *columns = line.split()
            core = name.removeprefix("cpu")
            if name != core and core.isdecimal() and int(core) in mask():
                ticks = [int(column) for column in columns[:8]]  # what guests used is in the first two
                idle += ticks[3] + ticks[4]  # waiting for a disk is idle, too
                total += sum(ticks)
    return idle, total
