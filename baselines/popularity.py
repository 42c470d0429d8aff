"""Popularity: every user is recommended the items with the most train positives."""

import torch

from training.recommender import Recommender


class Popularity(Recommender):
    columns = ()
    grid = ({},)  # one solution, nothing to choose

    def __init__(self, data, settings, generator=None):
        super().__init__(data, settings, generator)
        self.register_buffer("count", torch.zeros(data.n_items))

    def terms(self):
        return ["number of train positives"]

    def solve(self, setting):
        positives = self.data.items[self.data.positive]
        self.count = torch.bincount(positives, minlength=self.data.n_items).float()

    def embeddings(self):
        """Users (U, 1) of ones, items (I, 1) of counts."""
        return self.count.new_ones(self.data.n_users, 1), self.count[:, None]
