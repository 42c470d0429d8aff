"""Several processes that do one job, one a GPU: torchrun --nproc_per_node 8 main.py ...

Each takes every n-th prompt of the same batch (those of the other models, devices.py, share each row).  The first alone
holds locks, writes and prints.  Started without torchrun there is one process, and nothing here does anything.
"""

import os

import torch
import torch.distributed as dist

from utils import is_first

RANK, COUNT = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
FIRST = is_first()


def start(device):
    """Meet the others.  device: of this process."""
    if COUNT > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")


def stop():
    """Part from the others, at the end of the job."""
    if dist.is_initialized():
        dist.destroy_process_group()


def share(examples):
    """This process's part of a list."""
    return examples[RANK::COUNT]


def add_gradients(weights):
    """Sum the gradients of all processes in one transfer, so that all take the same step."""
    if COUNT == 1:
        return
    gradients = []
    for weight in weights:
        if weight.grad is None:  # this process had no prompt of the batch
            weight.grad = torch.zeros_like(weight)
        gradients.append(weight.grad)
    flat = torch.cat([gradient.float().flatten() for gradient in gradients])
    dist.all_reduce(flat)
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def gather(part):
    """What each process says, a list in order of processes, known to all.  Any picklable object."""
    if COUNT == 1:
        return [part]
    parts = [None] * COUNT
    dist.all_gather_object(parts, part)
    return parts


def from_first(value):
    """What the first process says, known to all."""
    return gather(value)[0]


def sums(figures):
    """{name: float} summed over the processes."""
    total = {}
    for part in gather(figures):
        for name, value in part.items():
            total[name] = total.get(name, 0.0) + value
    return total


def interleave(parts):
    """The whole list, of the parts that share() made of it."""
    whole = [None] * sum(map(len, parts))
    for rank, part in enumerate(parts):
        whole[rank::COUNT] = part
    return whole
