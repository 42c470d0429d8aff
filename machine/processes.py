"""One run over several processes, each with a device of its own: torchrun starts them, torch.distributed joins them.

Each of W processes owns d / W columns of the embeddings and of the codes, a W-th of the rows of an autoencoder's first
layer and of the units of its last: nothing that grows with users or items is whole anywhere.  All have the same batches
and draw the same random numbers.  A score is a sum over columns, so over processes:

    total     the sum of what each process has a part of      identity backward
    shared    what all have, for each to go on with its part  sum over processes backward

(Shoeybi et al., Megatron-LM, 2019, have these two for the layers of a transformer.)  With one process nothing happens:
every function here hands back what it was given.
"""

import hashlib
import os
import sys
from contextlib import contextmanager
from datetime import timedelta
from errno import ECONNRESET

import torch
import torch.distributed as dist

from machine import hardware, shell
from utils import InputError, is_first

PATIENCE = timedelta(days=7)  # the first process may ask a language model meanwhile; a dead one is noticed at once
ENDED = "has ended, or cannot be reached; the same command goes on (with --resume, once training has begun)"

store = None  # of torch.distributed: what all processes can look up


# ------------------------------------------------------------------------------------------- beginning and end


def count():
    """W, the processes that share this run."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def number():
    """Which of them this is, from 0."""
    return dist.get_rank() if count() > 1 else 0


def in_words(device):
    """What computes, for summary.json."""
    name = hardware.device_name(device)
    return name if count() == 1 else f"{count()} x {name}"


def join(device, url="env://"):
    """Join the processes that torchrun started; nothing where this is the only one.

    url: where they meet, env:// being torchrun's environment.
    """
    global store
    if url == "env://" and int(os.environ.get("WORLD_SIZE", 1)) == 1:
        return
    store, rank, size = next(dist.rendezvous(url, timeout=PATIENCE))
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    try:
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=PATIENCE)
    except RuntimeError as error:
        why = str(error).splitlines()[0][:200]
        cure = "GLOO_SOCKET_IFNAME=CARD says which network card to use (docs/runs.md)"
        raise InputError(f"process {rank} of {size}: cannot reach the others ({why}); {cure}") from None
    if rank:
        shell.be_silent()


def refuse_what_is_not_shared(kind, name, settings):
    """Raises InputError for a model whose columns these processes cannot share.

    kind: its class.  settings: its own.
    """
    if count() == 1:
        return
    if kind.cut_along is None:
        raise InputError(f"--model {name}: mixes the columns of its embeddings; start it without torchrun")
    if settings.embedding_dim % count():
        raise InputError(f"--embedding_dim {settings.embedding_dim}: must be a multiple of the {count()} processes")


@contextmanager
def together():
    """Decorates what several processes do together.  When they fail, the first that does says why, the others nothing.

    torchrun then ends those that are left.
    """
    try:
        yield
        if count() > 1:
            with connected():
                dist.barrier()  # gloo aborts a process whose neighbour has gone
    except BaseException:
        if count() > 1:
            try:
                first_to_fail = store.add("failed", 1) == 1
            except RuntimeError:  # the process that kept the store is the one that has gone
                first_to_fail = True
            if first_to_fail:
                sys.stderr = sys.__stderr__
            else:
                shell.be_silent()
        raise
    if count() > 1:
        dist.destroy_process_group()


@contextmanager
def connected():
    """An error of torch.distributed in the block becomes a ConnectionError that names it."""
    try:
        yield
    except RuntimeError as error:
        if hardware.out_of_memory(error):
            raise
        raise ConnectionResetError(ECONNRESET, ENDED, "another process of this run") from None


# ------------------------------------------------------------------------------------------- sums over processes


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return summed(x)

    @staticmethod
    def backward(ctx, grad):
        return grad


class _Shared(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad):
        return summed(grad)


def summed(x):
    """The sum of x over processes, outside autograd."""
    x = x.clone(memory_format=torch.contiguous_format)
    with connected():
        dist.all_reduce(x)
    return x


def total(x):
    """The sum of x over processes.  What is made of it is the same everywhere, and so is its gradient: that of x."""
    return _Total.apply(x) if count() > 1 else x


def totals(scalars):
    """total of each of a list of scalars, in one exchange."""
    if count() == 1 or not scalars:
        return scalars
    return list(total(torch.stack(scalars)).unbind())


def shared(x):
    """x, the same everywhere, of which each process makes something of its own: its gradient is the sum of theirs."""
    return _Shared.apply(x) if count() > 1 else x


# ------------------------------------------------------------------------------------------- who owns what


def part(n, of=None):
    """The slice of 0 ... n - 1 that this process owns, or process `of`."""
    of = number() if of is None else of
    return slice(n * of // count(), n * (of + 1) // count())


def cut(model):
    """Leave this process its part of each parameter that a module of the model names in cut_along; returns the model.

    It was made whole, so that its initial weights are those that one process would have drawn.
    """
    if count() == 1:
        return model
    for module in model.modules():
        for name, along in (getattr(module, "cut_along", None) or {}).items():
            weight = module.get_parameter(name)
            weight.cut = along, weight.shape[along]
            weight.data = own(weight.data, weight.cut)
    return model


def cut_of(weight):
    """(dimension, its whole length) of a parameter that is cut, else None."""
    return getattr(weight, "cut", None)


def own(tensor, cut):
    """This process' part of a whole tensor.  cut: of cut_of."""
    if cut is None:
        return tensor
    along, length = cut
    mine = part(length)
    return tensor.narrow(along, mine.start, mine.stop - mine.start).clone(memory_format=torch.contiguous_format)


def whole(tensor, cut):
    """For the first process the whole tensor, put together on the host; for the others nothing that has a use."""
    if cut is None:
        return tensor
    along, length = cut
    tensor = tensor.detach().cpu().contiguous()
    if number():
        with connected():
            dist.send(tensor, 0)
        return tensor
    parts = [tensor]
    for sender in range(1, count()):
        theirs = part(length, sender)
        shape = list(tensor.shape)
        shape[along] = theirs.stop - theirs.start
        parts.append(tensor.new_empty(shape))
        with connected():
            dist.recv(parts[-1], sender)
    return torch.cat(parts, along)


# ------------------------------------------------------------------------------------------- agreements of the hosts


def by_first(job, *arguments):
    """job(*arguments), done by the first process while the others wait; all get what it returns."""
    if count() == 1:
        return job(*arguments)
    result = [job(*arguments) if is_first() else None]
    with connected():
        dist.broadcast_object_list(result, 0, device=torch.device("cpu"))
    return result[0]


def largest(*numbers):
    """The largest of each of these integers over all processes."""
    if count() == 1:
        return numbers
    numbers = torch.tensor(numbers)  # on the host: no device is waited for
    with connected():
        dist.all_reduce(numbers, dist.ReduceOp.MAX)
    return numbers.tolist()


def agree(what, *contents):
    """Raises InputError unless all processes give the same contents, each bytes."""
    if count() == 1:
        return
    digests = [None] * count()
    with connected():
        dist.all_gather_object(digests, hashlib.sha256(b"\0".join(contents)).hexdigest())
    for other, digest in enumerate(digests):
        if digest != digests[0]:
            raise InputError(
                f"process {other} has not the {what} of process 0; all need the same command, code, files and kind of "
                "device"
            )


# ------------------------------------------------------------------------------------------- lists in parts


def share(examples):
    """This process's part of a list."""
    return examples[number() :: count()]


def add_gradients(weights):
    """Sum the gradients of all processes in one transfer, so that all take the same step."""
    if count() == 1:
        return
    gradients = []
    for weight in weights:
        if weight.grad is None:  # this process had no prompt of the batch
            weight.grad = torch.zeros_like(weight)
        gradients.append(weight.grad)
    flat = torch.cat([gradient.float().flatten() for gradient in gradients])
    with connected():
        dist.all_reduce(flat)
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def gather(part):
    """What each process says, a list in order of processes, known to all.  Any picklable object."""
    if count() == 1:
        return [part]
    parts = [None] * count()
    with connected():
        dist.all_gather_object(parts, part)
    return parts


def sums(figures):
    """{name: float} summed over the processes."""
    total = {}
    for part in gather(figures):
        for name, value in part.items():
            total[name] = total.get(name, 0.0) + value
    return total
