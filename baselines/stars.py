"""Stars: the items to which a user would give most stars, whether they would ever choose them or not.

    r_ui - mean of u  ~  mean of i + sum over the items j that u has rated of x_uj B_ji

x are a user's ratings less both means, and B is EASE's on them (baselines/ease.py): each rating is predicted from the
others.  Alone it recommends what few people know.  Blended with a model of what people choose it is the part that knows
dislikes (docs/dislikes.md).  Predicting ratings by means and what is left: Bell and Koren, Scalable Collaborative
Filtering with Jointly Derived Neighborhood Interpolation Weights, ICDM 2007.
"""

import torch

from baselines.ease import closed_form, refuse_what_does_not_fit, rows_of_stars
from training.recommender import Recommender

DAMPING = 5  # ratings at the mean of all that every user and item has beside its own


class Stars(Recommender):
    trains_on = "all"
    columns = ("lambda",)

    def __init__(self, data, settings, generator=None):
        super().__init__(data, settings, generator)
        self.grid = [{"lambda": settings.stars_lambda}]
        refuse_what_does_not_fit(data, data.n_items, model="Stars")
        users, items, stars = rows_of_stars(data)
        left = stars - stars.mean()
        left = left - damped_means(left, users, data.n_users)[users]
        mean = damped_means(left, items, data.n_items)  # (I,)
        self.x = torch.zeros(data.n_users, data.n_items, device=data.device)
        self.x[users, items] = (left - mean[items]).float()
        self.mean = mean.float()
        self.register_buffer("b", torch.zeros(data.n_items, data.n_items, device=data.device))

    def terms(self):
        return ["item means", "EASE on what is left of the stars"]

    def solve(self, setting):
        closed_form(self.x.t() @ self.x, setting["lambda"], out=self.b)

    def embeddings(self):
        """Users (U, I + 1), items (I, I + 1)."""
        ones = self.x.new_ones(len(self.x), 1)
        return torch.cat((self.x, ones), 1), torch.cat((self.b.t(), self.mean[:, None]), 1)


def damped_means(values, of, n):
    """The mean of the values of each of n, drawn to 0: (n,).  of: whose each value is."""
    return torch.bincount(of, values, minlength=n) / (torch.bincount(of, minlength=n) + DAMPING)
