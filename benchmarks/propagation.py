"""Which kernel propagates fastest on this device: Z = mean of E, ÂE, ..., Â^4 E, and its gradient.

    python benchmarks/propagation.py                               ML-100K's and ML-1M's shape
    python benchmarks/propagation.py --shapes ML-1M --device cuda

Â is symmetric, so the gradient is the same polynomial once more: every form but PyG's is timed as two passes.  All
forms are first held to ours.  Long rows: on CUDA one thread a feature walks a bag from end to end, so that the most
popular item is the tail of every layer; the chunked form cuts bags into pieces and sums twice.
"""

import importlib.util

import harness
import numpy as np
import oracle
import torch
import torch.nn.functional as F

from training.recommender import Propagation

CHUNK = 64  # longest bag of the chunked form
DENSE_NODES = 12_000  # beyond, the dense matrix takes more than half a gigabyte
ROUNDS = 10


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
    data = harness.ratings_of(shape, device)
    n_users, n_items, n_nodes = data.n_users, data.n_items, data.n_users + data.n_items
    layers = harness.SHAPES[shape][-1]
    bag = Propagation(data.users, data.items, n_users, n_items, layers).to(device)
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

    inputs = [torch.randn(n_nodes, 64, device=device) for _ in range(ROUNDS + 1)]
    pyg = oracle.PygPropagation(data.users, data.items, n_users, layers).to(device)
    for name, form in {**forms, "PyG": pyg}.items():
        torch.testing.assert_close(form(inputs[0]), bag.polynomial(inputs[0]), atol=1e-5, rtol=1e-4, msg=name)
    both_ways = {name: lambda x, form=form: form(form(x)) for name, form in forms.items()}
    both_ways["PyG LGConv"] = lambda x: pyg(x.detach().requires_grad_()).sum().backward()
    harness.print_shape(shape)
    harness.print_table(harness.compare(both_ways, inputs, device).drop(columns="peak MB"))


def main():
    options = harness.parser_for(__doc__).parse_args()
    device = harness.start(options)
    for shape in options.shapes:
        measure(shape, device)


if __name__ == "__main__":
    main()
