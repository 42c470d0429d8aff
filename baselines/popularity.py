"""Popularity: every user is recommended the items with the most train positives."""

import torch
from torch import nn


class Popularity(nn.Module):
    trains_on, solutions = "positive", 1
    flags, defaults = frozenset(), {"dataset_augment": "original"}
    terms = ("number of train positives",)

    def __init__(self, data, options, generator):
        super().__init__()
        self.data, self.generator = data, generator
        self.register_buffer("count", torch.zeros(data.n_items))

    def parameter_groups(self):
        return [{"params": []}]

    def start_epoch(self, epoch):
        """The one solution: count."""
        self.count = torch.bincount(self.data.items[self.data.positive], minlength=self.data.n_items).float()

    def embeddings(self):
        """Users (U, 1) of ones, items (I, 1) of counts."""
        return self.count.new_ones(self.data.n_users, 1), self.count[:, None]
