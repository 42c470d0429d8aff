"""Which kernel propagates fastest on this device: Z = mean of E, ÂE, ..., Â^4 E, and its gradient.

    python benchmarks/propagation.py                               ML-100K's and ML-1M's shape
    python benchmarks/propagation.py --shapes ML-1M --device cuda

Â is symmetric, so the gradient is the same polynomial once more: every form but PyG's is timed as two passes.  All
forms are first held to ours.
"""

import importlib.util

import harness
import oracle
import torch

from training.recommender import Propagation

DENSE_NODES = 12_000  # beyond, the dense matrix takes more than half a gigabyte
ROUNDS = 10


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
