"""What knows no taste: the items with the most train positives, those with the best mean rating, or any.

What a metric says of these three is what it rewards before a model has learned anything of a user.
"""

import torch

from training.recommender import Recommender


class SameForAll(Recommender):
    """A score for each item, whoever the user is.  Subclasses name the buffer that it is kept in."""

    columns = ()
    grid = ({},)  # one solution, nothing to choose

    def __init__(self, data, settings, generator=None):
        super().__init__(data, settings, generator)
        self.register_buffer(self.kept_in, torch.zeros(data.n_items))

    def embeddings(self):
        """Users (U, 1) of ones, items (I, 1) of scores."""
        scores = getattr(self, self.kept_in)
        return scores.new_ones(self.data.n_users, 1), scores[:, None]

    def fold_in(self, users, items, ratings, n_users):
        return getattr(self, self.kept_in).new_ones(n_users, 1)

    def similarities(self, item):
        raise self.refusal("it knows no likeness of items")


class Popularity(SameForAll):
    kept_in = "count"

    def terms(self):
        return ["number of train positives"]

    def solve(self, setting):
        positives = self.data.items[self.data.positive]
        self.count = torch.bincount(positives, minlength=self.data.n_items).float()


class ItemMean(SameForAll):
    """Every user is recommended the items with the best mean train rating; refined ratings count as they are."""

    trains_on = "all"
    kept_in = "mean"

    def terms(self):
        return ["mean train rating"]

    def solve(self, setting):
        items = torch.from_numpy(self.data.train.items).to(self.data.device)
        ratings = torch.from_numpy(self.data.train.rating).to(self.data.device)
        n = torch.bincount(items, minlength=self.data.n_items)
        total = torch.bincount(items, ratings, minlength=self.data.n_items)
        self.mean = (total / n).float()  # each item has a train edge


class Random(Recommender):
    """Every item is as likely to be in a user's list as any other: dot products of random directions."""

    columns = ()
    grid = ({},)

    def __init__(self, data, settings, generator=None):
        super().__init__(data, settings, generator)
        sides = {"users": data.n_users, "items": data.n_items}
        for side, n in sides.items():
            rows = torch.randn(n, 64, generator=generator, device=data.device)
            # of one length: a long one would be at the top or the bottom of everybody's list
            self.register_buffer(side, torch.nn.functional.normalize(rows))

    def terms(self):
        return ["random directions"]

    def solve(self, setting):
        pass

    def embeddings(self):
        """Users (U, 64), items (I, 64)."""
        return self.users, self.items

    def similarities(self, item):
        raise self.refusal("it knows no likeness of items")
