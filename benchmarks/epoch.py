"""How much faster, and in how much less memory, the fast form trains than the plain form of the same mathematics.

    python benchmarks/epoch.py                                     ReFINe++ at three sizes (minutes on two cores)
    python benchmarks/epoch.py --shapes ML-100K --models LightGCN

Plain is what one writes first.  Of ReFINe++ it is what the tests hold the fast form to (tests/helpers/oracle.py: PyG's
LGConv, dense autoencoders over all rows, a dense matrix of sampling weights); of LightGCN it is
torch_geometric.nn.models.LightGCN and torch.multinomial on the rows of such a matrix.  bf16 is the fast form of
ReFINe++ with --precision bfloat16.  An epoch is its start and the median step times the steps.  Memory is the
process's peak while the form runs (Linux), or the card's with CUDA.
"""

from itertools import islice

import harness
import oracle
import torch
from harness import build, fused_adam, training_step
from torch_geometric.nn.models import LightGCN as PygLightGCN

PLAIN_LIMIT = 2**25  # users x items; beyond it the plain form needs tens of gigabytes and is not run
BATCH = 1024


class PlainReFINePlusPlus:
    """oracle.plain_loss of the model."""

    def __init__(self, model):
        data = model.data
        self.model = model
        graph = data.users, data.items, data.n_users, model.settings.layers
        self.propagation = oracle.PygPropagation(*graph).to(data.device)

    def parameters(self):
        return self.model.parameters()

    def loss(self, batch):
        rows = batch.negatives_by_user
        confirmed = rows.ids[rows.row_of], rows.cols
        return oracle.plain_loss(self.model, self.propagation, (batch.users, batch.items), confirmed)


class PlainLightGCN(torch.nn.Module):
    """PyG's LightGCN over the positive edges, one multinomial draw a positive from dense rows."""

    def __init__(self, model):
        super().__init__()
        data, settings = model.data, model.settings
        self.data, self.settings = data, settings
        users, items = data.users[data.positive], data.items[data.positive] + data.n_users
        self.edge_index = torch.cat((torch.stack((users, items)), torch.stack((items, users))), 1)
        sizes = data.n_users + data.n_items, settings.embedding_dim, settings.layers
        self.pyg = PygLightGCN(*sizes).to(data.device)
        self.weight = torch.ones(data.n_users, data.n_items, device=data.device)
        self.weight[data.seen.all_entries()] = 0

    def loss(self, batch):
        negatives = torch.multinomial(self.weight[batch.users], 1)[:, 0] + self.data.n_users
        pairs = [torch.stack((batch.users, items)) for items in (batch.items + self.data.n_users, negatives)]
        ranks = self.pyg(self.edge_index, edge_label_index=torch.cat(pairs, 1)).chunk(2)
        nodes = torch.cat((*pairs[0], negatives)).unique()
        return self.pyg.recommendation_loss(*ranks, node_id=nodes, lambda_reg=self.settings.lambda_reg)


PLAIN = {"ReFINe++": PlainReFINePlusPlus, "LightGCN": PlainLightGCN}


def measure(name, shape, steps, device):
    """Print the table of a model's forms at one size."""
    data = harness.ratings_of(shape, device)
    fast = build(name, data, shape)
    starts = {"fast": lambda _: fast.start_epoch(1)}
    forms = {"fast": training_step(fast, fused_adam(fast))}
    if name == "ReFINe++":
        half = build(name, data, shape, precision="bfloat16")
        starts["bf16"] = lambda _: half.start_epoch(1)
        forms["bf16"] = training_step(half, fused_adam(half))
    if data.n_users * data.n_items <= PLAIN_LIMIT:
        plain = PLAIN[name](build(name, data, shape))
        starts["plain"] = lambda _: None
        forms["plain"] = training_step(plain, torch.optim.Adam(plain.parameters(), lr=1e-3))

    # the start of an epoch twice, of which the first warms up, then the steps
    of_starts = harness.compare(starts, range(2), device)
    batches = data.batches(BATCH, torch.Generator().manual_seed(0), fast.trains_on)
    table = harness.compare(forms, islice(batches, steps + 1), device)
    n_steps = data.n_batches(BATCH, fast.trains_on)
    table["s an epoch"] = (of_starts["ms"] + n_steps * table["ms"]) / 1000
    print(f"{name}, {n_steps} steps an epoch")
    harness.print_table(table)
    if "plain" not in forms:
        size = data.n_users * data.n_items * 4 / 2**30
        print(f"plain not run: a dense users x items matrix takes {size:.1f} GiB, and a step makes ten")


def main():
    parser = harness.parser_for(__doc__, list(harness.SHAPES))
    parser.add_argument("--models", nargs="+", default=["ReFINe++"], choices=PLAIN)
    parser.add_argument("--steps", type=int, default=20, help="steps measured of each form")
    options = parser.parse_args()
    device = harness.start(options)
    for shape in options.shapes:
        harness.print_shape(shape)
        for name in options.models:
            measure(name, shape, options.steps, device)


if __name__ == "__main__":
    main()
