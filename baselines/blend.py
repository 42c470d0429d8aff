"""Blend: the weighted mean of finished runs' scores, the weights chosen on validation.

    s_ui = sum over experiments g of w_g * mean over g's runs of (s_ui - mean_u) / deviation_u,  w >= 0, sum 1

A run's scores are standardised user by user over the items, so that weights mean the same whatever the model.  Runs
that differ in their seeds alone are one experiment and weigh alike.  A standardised dot product is a dot product of
longer embeddings, and so is a weighted sum of dot products: a blend is ranked, tested and looked at as any model.
"""

import json
from itertools import product
from pathlib import Path

import pandas as pd
import torch

from options.command_line import FLAGS, default_for
from options.models import MODELS
from options.run_name import without_commas
from runs.run_folder import FREE, read_config
from training.recommender import Recommender
from utils import InputError

STEPS = {1: 1, 2: 20, 3: 10, 4: 5}  # by number of experiments: weights are multiples of 1 / this
FINER = {4: 10}  # with --hold_out: a tenth of predicted stars is much
NO_EXPERIMENT = {"random_seed", "llm_seed", "path_name", "device", *FREE}
BLOCK = 1024  # users whose scores are held at once


class Blend(Recommender):
    """settings.blend: run folders.  The users and items ranked are those of the first one's train CSV.

    Raises InputError for runs that rank others, or that were tested on other rows.
    """

    def __init__(self, data, settings, generator=None):
        super().__init__(data, settings, generator)
        experiments = by_experiment(settings.blend)
        if len(experiments) not in STEPS:
            raise InputError(f"--blend: at most {max(STEPS)} experiments can be blended, not {len(experiments)}")
        self.columns = tuple(experiments)
        n = len(experiments)
        steps = FINER.get(n, STEPS[n]) if settings.hold_out else STEPS[n]
        self.grid = [dict(zip(self.columns, weights, strict=True)) for weights in simplex(n, steps)]
        self.parts = []  # of each experiment [(users (U, d + 1), items (I, d + 1)), ...]
        for folders in experiments.values():
            self.parts.append([standardised(folder, data, settings.blend[0]) for folder in folders])
        self.register_buffer("weights", torch.zeros(len(experiments)))

    def terms(self):
        counts = map(len, self.parts)
        return [name if n == 1 else f"{n} x {name}" for name, n in zip(self.columns, counts, strict=True)]

    def solve(self, setting):
        self.weights.copy_(torch.tensor([setting[name] for name in self.columns]))

    def embeddings(self):
        users, items = [], []
        for weight, runs in zip(self.weights.tolist(), self.parts, strict=True):
            for z_users, z_items in runs if weight else []:
                users.append(z_users * (weight / len(runs)))
                items.append(z_items)
        return torch.cat(users, 1), torch.cat(items, 1)

    def similarities(self, item):
        raise self.refusal("items are alike in the runs that it blends, each in its own way; ask one of them")


def by_experiment(folders):
    """{name: [run folder, ...]} of runs that differ in their seeds alone; the name is the folder's without seed and
    commas."""
    groups = {}
    for folder in map(Path, folders):
        config = read_config(folder)
        settings = config["settings"]
        row = MODELS[settings["model"]]
        experiment = {}
        for flag, value in settings.items():
            # A run of an older version lacks the flags that came since: so what is at its default is left out.
            at_default = flag in FLAGS and value == default_for(row, flag)
            if flag not in NO_EXPERIMENT and not at_default:
                experiment[flag] = value
        if experiment.get("llm") == "file":  # somebody's labels: by what they are
            experiment["labels"] = config["made_from"]["sha256"]
        groups.setdefault(json.dumps(experiment, sort_keys=True), []).append((folder, settings["random_seed"]))
    names = {}
    for runs in groups.values():
        folder, seed = runs[0]
        name = without_commas(folder.resolve().name.removesuffix(f"_{seed}"))
        while name in names:
            name += "'"
        names[name] = [folder for folder, _ in runs]
    return names


def simplex(n, steps):
    """All weights (n,) that are multiples of 1 / steps and sum to 1."""
    for first in product(range(steps + 1), repeat=n - 1):
        if sum(first) <= steps:
            yield [part / steps for part in (*first, steps - sum(first))]


@torch.no_grad()
def standardised(folder, data, base):
    """Embeddings whose dot products are a run's standardised scores, (U, d + 1) and (I, d + 1), numbered as in data.

    The last column takes the mean away.  A user or item that the run does not know has zeros, so that its score is the
    mean.  Raises InputError where the run knows one that data does not.
    """
    from recommend import held_out, load_run

    if held_out(folder) != held_out(base):
        raise InputError(f"{folder}: was tested on other validation or test rows than {base}")
    run = load_run(folder, device=str(data.device))
    users, items = run.model.embeddings()  # (u, d), (i, d)
    mean, deviation = [], []
    for block in users.split(BLOCK):
        scores = block @ items.t()  # (b, i)
        mean.append(scores.mean(1, keepdim=True))
        deviation.append(scores.std(1, keepdim=True).clamp(min=1e-9))
    mean, deviation = torch.cat(mean), torch.cat(deviation)  # (u, 1)
    users = torch.cat((users / deviation, -mean / deviation), 1)  # (u, d + 1)
    items = torch.cat((items, torch.ones_like(items[:, :1])), 1)  # (i, d + 1)
    of_users = placed(users, run.data.user_ids, data.user_ids)
    of_items = placed(items, run.data.item_ids, data.item_ids)
    if of_users is None or of_items is None:
        raise InputError(f"{folder}: ranks users or items that {base} does not know; name it first")
    return of_users, of_items


def placed(rows, ids, wanted):
    """Rows (n, d) about `ids` -> rows about `wanted`, zeros where there is none; None where one is not wanted."""
    place = pd.Index(wanted).get_indexer(ids)  # (n,)
    if (place < 0).any():
        return None
    result = rows.new_zeros(len(wanted), rows.shape[1])
    result[torch.from_numpy(place).to(rows.device)] = rows
    return result
