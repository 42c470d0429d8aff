"""What several processes (devices.py) share of one job of CoNRec: torchrun --nproc_per_node 8 main.py ...

Each takes every n-th prompt of the same batch (those of the other models share each row).  The first alone holds locks,
writes and prints.  Started without torchrun there is one process, and nothing here does anything.
"""

import torch
import torch.distributed as dist

import devices


def share(examples):
    """This process's part of a list."""
    return examples[devices.number() :: devices.count()]


def add_gradients(weights):
    """Sum the gradients of all processes in one transfer, so that all take the same step."""
    if devices.count() == 1:
        return
    gradients = []
    for weight in weights:
        if weight.grad is None:  # this process had no prompt of the batch
            weight.grad = torch.zeros_like(weight)
        gradients.append(weight.grad)
    flat = torch.cat([gradient.float().flatten() for gradient in gradients])
    with devices.connected():
        dist.all_reduce(flat)
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def gather(part):
    """What each process says, a list in order of processes, known to all.  Any picklable object."""
    if devices.count() == 1:
        return [part]
    parts = [None] * devices.count()
    with devices.connected():
        dist.all_gather_object(parts, part)
    return parts


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
        whole[rank :: len(parts)] = part
    return whole
