"""Seconds of an epoch of every model that learns by gradient, beside a plain PyG form of the same.

    python benchmarks/models.py                 ML-100K's shape (about a minute on two cores)
    python benchmarks/models.py ML-1M --steps 5

Both forms run in this process, taking turns, on the synthetic ratings of benchmarks/epoch.py.  Plain is what one writes
first: torch_geometric.nn.models.LightGCN, a dense users x items matrix of sampling weights, torch.multinomial on its
rows.  For ReFINe++ it is the plain form of epoch.py.  An epoch is what happens at its start, from epoch t of ReFINe on,
and the median step times the steps.  EASE has no epochs: the seconds are those of one lambda.  HNLMRec, which needs
vectors, is left out.
"""

import argparse
import statistics

import epoch as plus_plus
import torch
import torch.nn.functional as F
from epoch import seconds_of
from torch_geometric.nn.models import LightGCN as PygLightGCN

from machine import hardware
from options import command_line
from options.models import MODELS, model_class
from runs import run_folder

ALONE = [name for name in MODELS if name not in ("Blend", "HNLMRec", "CoNRec")]  # which need runs, vectors, stages


class PlainLightGCN(torch.nn.Module):
    """PyG's LightGCN over the positive edges, one multinomial draw a positive from dense rows."""

    def __init__(self, data, settings):
        super().__init__()
        self.data, self.settings = data, settings
        users, items = data.users[data.positive], data.items[data.positive] + data.n_users
        self.edge_index = torch.cat((torch.stack((users, items)), torch.stack((items, users))), 1)
        layers = getattr(settings, "layers", 0)  # MF has none
        self.pyg = PygLightGCN(data.n_users + data.n_items, settings.embedding_dim, layers).to(data.device)
        self.weight = torch.ones(data.n_users, data.n_items, device=data.device)
        self.weight[data.seen.all_entries()] = 0

    def start_epoch(self):
        pass

    def loss(self, batch):
        negatives = torch.multinomial(self.weight[batch.users], 1)[:, 0] + self.data.n_users
        pairs = [torch.stack((batch.users, items)) for items in (batch.items + self.data.n_users, negatives)]
        ranks = self.pyg(self.edge_index, edge_label_index=torch.cat(pairs, 1)).chunk(2)
        nodes = torch.cat((*pairs[0], negatives)).unique()
        return self.pyg.recommendation_loss(*ranks, node_id=nodes, lambda_reg=self.settings.lambda_reg)


class PlainReFINe(PlainLightGCN):
    """The weights of all users in one dense matrix, made anew every epoch, user by user."""

    def start_epoch(self):
        data, o = self.data, self.settings
        with torch.no_grad():
            z_items = self.pyg.get_embedding(self.edge_index)[data.n_users :]
        similarity = (z_items @ z_items.t()).fill_diagonal_(-torch.inf)
        near = similarity.topk(max(o.r, o.s), dim=1).indices
        self.weight = torch.ones(data.n_users, data.n_items, device=data.device)
        self.weight[data.users[data.positive], data.items[data.positive]] = 0
        self.weight[data.users[~data.positive], data.items[~data.positive]] = o.real_neg_samp_prob
        for user in range(data.n_users):
            row, own = self.weight[user], data.users == user
            for sign, n, value in ((data.positive, o.s, o.q), (~data.positive, o.r, o.p)):
                similar = near[data.items[own & sign], :n].flatten()
                row[similar[row[similar] == 1]] = value


class PlainSiReN(PlainLightGCN):
    """PyG's LightGCN for the positive branch, embeddings of all negatives fetched, drawn from dense rows."""

    def __init__(self, data, settings):
        super().__init__(data, settings)
        n, d = data.n_users + data.n_items, settings.embedding_dim
        self.table = torch.nn.Parameter(torch.randn(n, d, device=data.device) * (2 / (n + d)) ** 0.5)
        layers = [(torch.nn.Linear(d, d), torch.nn.ReLU(), torch.nn.Dropout(0.5)) for _ in range(2)]
        self.mlp = torch.nn.Sequential(*(part for layer in layers for part in layer)).to(data.device)
        self.attention = torch.nn.Sequential(
            torch.nn.Linear(d, d), torch.nn.Tanh(), torch.nn.Dropout(0.5), torch.nn.Linear(d, 1, bias=False)
        ).to(data.device)
        self.weight *= torch.bincount(data.seen.all_entries()[1], minlength=data.n_items) ** 0.75

    def loss(self, batch):
        branches = torch.stack((self.pyg.get_embedding(self.edge_index), self.mlp(self.table)))
        z = (self.attention(branches).softmax(0) * branches).sum(0)
        z_users, z_items = z[: self.data.n_users], z[self.data.n_users :]
        disliked = batch.negatives_by_user.entries()
        users, items = torch.cat((batch.users, disliked[0])), torch.cat((batch.items, disliked[1]))
        c = torch.ones(len(users), device=z.device)
        c[len(batch.users) :] = self.settings.siren_neg_coef
        negatives = torch.multinomial(self.weight[users], self.settings.n_negatives, replacement=True)
        z_u, z_i, z_j = z_users[users], z_items[items], z_items[negatives]
        scores = (c * (z_u * z_i).sum(1))[:, None] - (z_u[:, None] * z_j).sum(2)
        norms = z_u.square().sum() + z_i.square().sum() + z_j.square().sum()
        return -F.logsigmoid(scores).sum() + self.settings.lambda_reg * norms


PLAIN = {"MF": PlainLightGCN, "LightGCN": PlainLightGCN, "ReFINe": PlainReFINe, "SiReN": PlainSiReN}


def measure(name, shape, data, steps):
    """Print seconds of an epoch of both forms of a model, and their ratio."""
    options = command_line.parse(["--dataset", shape, "--model", name])
    options.fill_in_of_data_set(shape)
    torch.manual_seed(0)
    model = model_class(name)(data, options.recommender, torch.Generator(data.device).manual_seed(0)).to(data.device)
    last = getattr(model.settings, "t", 1)
    if MODELS[name].closed_form:
        seconds = statistics.median(seconds_of(lambda: model.solve(model.grid[0]), 5, data.device))
        return print(f"  {name:9} {seconds:9.2f} s a solution")
    step = plus_plus.fast_step(model, torch.optim.Adam(model.parameter_groups(), lr=1e-3, fused=True))
    forms = {"fast": (lambda: model.start_epoch(last), step)}
    if name in PLAIN:
        plain = PLAIN[name](data, model.settings)
        adam = torch.optim.Adam(plain.parameters(), lr=1e-3)

        def plain_step(batch):
            loss = plain.loss(batch)
            adam.zero_grad()
            loss.backward()
            adam.step()

        forms["plain"] = plain.start_epoch, plain_step
    else:
        forms["plain"] = lambda: None, plus_plus.plain_step(model)
    per_epoch = data.n_batches(options.run.batch_size, model.trains_on)
    starts, taken = {}, {form: [] for form in forms}
    for form, (start, _) in forms.items():
        starts[form] = min(seconds_of(start, 2, data.device))
    batches = data.batches(options.run.batch_size, torch.Generator().manual_seed(0), model.trains_on)
    for _ in range(min(steps + 1, per_epoch)):
        batch = next(batches)
        for form, (_, step) in forms.items():
            times = 1 if data.device.type == "cpu" else 10
            taken[form] += seconds_of(lambda step=step, batch=batch: step(batch), times, data.device)
    epoch = {form: starts[form] + statistics.median(taken[form][1:]) * per_epoch for form in forms}
    fast, plain = epoch.values()
    print(f"  {name:9} {fast:9.2f} s an epoch, plain {plain:9.2f} s: {plain / fast:6.1f} x")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shape", nargs="?", default="ML-100K", choices=["ML-100K", "ML-1M"])
    parser.add_argument("--steps", type=int, default=10, help="steps measured of each form")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    torch.set_flush_denormal(True)
    device = hardware.pick_device(options.device)
    hardware.keep_freed_memory()
    machine = f"{hardware.device_name(device)}, torch {torch.__version__}, commit {run_folder.commit()}"
    print(f"{machine}, {options.shape}'s shape\n")
    data = plus_plus.synthetic(*plus_plus.SHAPES[options.shape][:4], device)
    for name in ALONE:
        measure(name, options.shape, data, options.steps)


if __name__ == "__main__":
    main()
