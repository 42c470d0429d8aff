"""The device that computes, and its memory."""

import ctypes
import os
import platform
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import torch

from machine import threads
from utils import InputError

PROCESS = Path("/proc/self")  # of Linux


def upload(arrays, device):
    """Integer arrays -> int64 tensors on the device in one transfer that the host does not wait for."""
    flat = torch.from_numpy(np.concatenate(arrays).astype(np.int64, copy=False))
    if torch.device(device).type == "cuda":
        flat = flat.pin_memory().to(device, non_blocking=True)
    return flat.split([len(array) for array in arrays])


def set_up(settings):
    """The device, with settings.device filled in.  settings: RunSettings."""
    torch.set_flush_denormal(True)  # Adam's moments decay below 1e-38, where an Intel core computes 8 times slower
    device = pick_device(settings.device)
    be_deterministic(device, settings.deterministic)
    settings.device = str(device)
    return device


def use_threads(settings, run, work=None):
    """Compute with as many threads as threads.choose_threads says; returns what to say of it.

    settings: RunSettings.  work: edges x embedding_dim, where they are known.
    """
    number, why = threads.choose_threads(settings.threads, run.threads_of_resumed(settings.resume), work)
    torch.set_num_threads(number)
    return f"threads: {number} of {threads.usable_cores()} cores ({why})"


def pick_device(name):
    """`auto` is CUDA when there is one.  Raises InputError for a device that is neither, or that this machine lacks.

    Of several processes on this machine (torchrun) each gets a card of its own, and knows it as cuda.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.split(":")[0] not in ("cpu", "cuda"):
        raise InputError(f"--device {name}: must be auto, cpu, cuda or cuda:NUMBER")
    if "LOCAL_RANK" in os.environ and name.startswith("cuda"):
        place, cards = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if name != "cuda":
            raise InputError(f"--device {name}: each process takes a card of its own, so give auto, cuda or cpu")
        if place >= cards:
            raise InputError(f"--device cuda: no card for process {place + 1} here, of {cards}; start fewer")
        torch.cuda.set_device(place)
        return torch.device("cuda")
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"--device {name}: not usable on this machine ({str(error).splitlines()[0]})") from None
    device = torch.device(name)
    if device.index is not None and device.type == "cuda":
        torch.cuda.set_device(device)  # for the streams and generators that name no device
    return device


def be_deterministic(device, asked):
    """The same numbers every time: always on a CPU, where only the threads that add up gradients of fetched rows would
    race, at no cost worth a flag; on CUDA where asked for, since it is slower there."""
    if asked:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS wants it before its first use
    torch.use_deterministic_algorithms(asked or device.type == "cpu")
    torch.utils.deterministic.fill_uninitialized_memory = False  # a pass over every new tensor, for finding bugs


def device_name(device):
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu ({torch.get_num_threads()} threads)"


def keep_freed_memory():
    """Let the C library hand large freed blocks to the next step instead of mapping fresh, zeroed pages for each: worth
    a fifth of a step on Amazon_Books, whose gradients take 70 MB each.  Not before training: what a language model took
    must go back to the system."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if platform.system() == "Linux" else None
    if mallopt:  # glibc
        for parameter in (-1, -3):  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
            mallopt(parameter, 2**31 - 1)


def reset_peak_memory(device):
    """Start measuring anew, where the system lets us: with CUDA, and on Linux."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with suppress(OSError):  # not Linux, or a container that may not
            (PROCESS / "clear_refs").write_text("5")


def peak_memory_mb(device):
    """Peak since reset_peak_memory, in MB: allocated on the card with CUDA, resident in the process otherwise."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20)
    try:
        kilobytes = int((PROCESS / "status").read_text().split("VmHWM:")[1].split()[0])
    except (OSError, IndexError):  # not Linux
        import resource  # of Unix

        kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # since the process began
        kilobytes /= 2**10 if platform.system() == "Darwin" else 1  # which counts bytes
    return round(kilobytes / 2**10)


def available_memory(device):
    """Free bytes of the card or the machine."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return psutil.virtual_memory().available


def require_memory(needed, device, what, cure):
    """Raises InputError where so many bytes are not free.  what: takes them, a plural; cure: what to do instead."""
    free = available_memory(device)
    if needed > free:
        gib = 2**30
        raise InputError(f"{what} take {needed / gib:.1f} GiB, of which {free / gib:.1f} are free; {cure}")


def out_of_memory(error):
    """Whether an error of torch says that the memory of a device, or of this machine, does not suffice."""
    return isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error)
