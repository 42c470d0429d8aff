"""Which kernel propagates fastest on this device: Z = mean of E, ÂE, ..., Â^4 E, and its gradient.

    python benchmarks/propagation.py                     ML-100K's and ML-1M's shape
    python benchmarks/propagation.py ML-1M --device cuda

Â is symmetric, so the gradient is the same polynomial once more: every form but PyG's is timed as two passes.  All
forms are first held to ours.  Long rows: on CUDA one thread a feature walks a bag from end to end, so that the most
popular item is the tail of every layer; the chunked form cuts bags into pieces and sums twice.
"""

import argparse
import importlib.util
import statistics

import epoch
import numpy as np
import oracle
import torch
import torch.nn.functional as F
from epoch import SHAPES, seconds_of

from machine import hardware
from runs import run_folder
from training.recommender import Propagation

CHUNK = 64  # longest bag of the chunked form
DENSE_NODES = 12_000  # beyond, the dense matrix takes more than half a gigabyte


def chunked_layer(bag):
    """ÂX with bags of at most CHUNK neighbours, whose sums are bags again."""
    start = bag.start.cpu().numpy().astype(np.int64)
    begin, degree = start[:-1], np.diff(start)
    n_chunks = -(-degree // CHUNK)  # of each node
    first = np.cumsum(n_chunks) - n_chunks
    inside = np.arange(n_chunks.sum()) - np.repeat(first, n_chunks)  # place of a chunk among its node's
    chunk_begin = np.repeat(begin, n_chunks) + inside * CHUNK
    device = bag.start.device
    chunk_start = torch.from_numpy(np.append(chunk_begin, start[-1])).int().to(device)
    node_start = torch.from_numpy(np.append(first, n_chunks.sum())).int().to(device)
    chunks = torch.arange(int(n_chunks.sum()), dtype=torch.int32, device=device)

    def layer(x):
        options = {"mode": "sum", "include_last_offset": True}
        sums = F.embedding_bag(bag.neighbours, x, chunk_start, per_sample_weights=bag.weight, **options)
        return F.embedding_bag(chunks, sums, node_start, **options)

    return layer


def csr_layer(bag, n_nodes, integers):
    parts = bag.start.to(integers), bag.neighbours.to(integers), bag.weight
    matrix = torch.sparse_csr_tensor(*parts, (n_nodes, n_nodes), check_invariants=False)
    return lambda x: matrix @ x


def torch_sparse_layer(bag, n_nodes):
    from torch_sparse import SparseTensor

    parts = {"rowptr": bag.start.long(), "col": bag.neighbours.long(), "value": bag.weight}
    matrix = SparseTensor(**parts, sparse_sizes=(n_nodes, n_nodes))
    return lambda x: matrix @ x


def polynomial(layer, layers):
    """1/(L+1) * sum_k Â^k x out of one layer x -> Âx."""

    def apply(x):
        total = x.clone()
        for _ in range(layers):
            x = layer(x)
            total += x
        return total / (layers + 1)

    return apply


def measure(shape, device):
    n_users, n_items, n_edges, confirmed, layers = SHAPES[shape]
    data = epoch.synthetic(n_users, n_items, n_edges, confirmed, device)
    bag = Propagation(data.users, data.items, n_users, n_items, layers).to(device)
    n_nodes = n_users + n_items
    forms = {
        "embedding_bag (ours)": bag.polynomial,
        f"bags in chunks of {CHUNK}": polynomial(chunked_layer(bag), layers),
        "CSR, int32 indices": polynomial(csr_layer(bag, n_nodes, torch.int32), layers),
        "CSR, int64 indices": polynomial(csr_layer(bag, n_nodes, torch.int64), layers),
    }
    if importlib.util.find_spec("torch_sparse"):
        forms["torch_sparse.matmul"] = polynomial(torch_sparse_layer(bag, n_nodes), layers)
    if n_nodes <= DENSE_NODES:
        dense = bag.polynomial(torch.eye(n_nodes, device=device))  # (N, N), made once
        forms["one dense matrix"] = lambda x: dense @ x

    x = torch.randn(n_nodes, 64, device=device)
    for name, form in forms.items():
        torch.testing.assert_close(form(x), bag.polynomial(x), atol=1e-5, rtol=1e-4, msg=name)
    runs = {name: lambda x, form=form: form(form(x)) for name, form in forms.items()}
    pyg = oracle.PygPropagation(data.users, data.items, n_users, layers).to(device)
    torch.testing.assert_close(pyg(x), bag.polynomial(x), atol=1e-5, rtol=1e-4)
    runs["PyG LGConv"] = lambda x: pyg(x.requires_grad_()).sum().backward()

    seconds = {name: [] for name in runs}
    for _ in range(10):
        for name, run in runs.items():
            x = torch.randn(n_nodes, 64, device=device)
            times = 1 if device.type == "cpu" else 20
            seconds[name] += seconds_of(lambda run=run, x=x: run(x), times, device)
    ours = statistics.median(seconds["embedding_bag (ours)"])
    print(f"\n{shape}: {n_nodes} nodes, {n_edges} edges, {layers} layers, forward and backward")
    for name, taken in seconds.items():
        median = statistics.median(taken)
        print(f"  {name:22} {median * 1e3:8.2f} ms   {median / ours:6.1f} x ours")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shapes", nargs="*", default=["ML-100K", "ML-1M"], help=f"of {', '.join(SHAPES)}")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    unknown = set(options.shapes) - set(SHAPES)
    if unknown:
        parser.error(f"shapes are {', '.join(SHAPES)}")
    device = hardware.pick_device(options.device)
    print(f"{hardware.device_name(device)}, torch {torch.__version__}, commit {run_folder.commit()}")
    for shape in options.shapes:
        measure(shape, device)


if __name__ == "__main__":
    main()
