"""Stars: the items to which a user would give most stars, whether they would ever choose them or not.

    r_ui - mean of u  ~  mean of i + sum over the items j that u has rated of x_uj B_ji

x are a user's ratings less both means, and B is EASE's on them (baselines/ease.py): each rating is predicted from the
others.  Alone it recommends what few people know.  Blended with a model of what people choose it is the part that knows
dislikes (docs/dislikes.md).  Predicting ratings by means and what is left: Bell and Koren, Scalable Collaborative
Filtering with Jointly Derived Neighborhood Interpolation Weights, ICDM 2007.
"""

import torch

from baselines.ease import closed_form, refuse_what_does_not_fit, rows_of_stars, rows_on
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
        self.overall = stars.mean()
        left = self.less_user_means(users, stars, data.n_users)
        self.mean = damped_means(left, items, data.n_items)  # (I,)
        self.x = self.less_item_means(users, items, left, data.n_users)  # (U, I)
        self.register_buffer("b", torch.zeros(data.n_items, data.n_items, device=data.device))

    def less_user_means(self, users, stars, n_users):
        """Stars (n,) less the mean of all and that of each user."""
        left = stars - self.overall
        return left - damped_means(left, users, n_users)[users]

    def less_item_means(self, users, items, left, n_users):
        """x of what less_user_means has left, (n_users, I)."""
        x = torch.zeros(n_users, self.data.n_items, device=left.device)
        x[users, items] = (left - self.mean[items]).float()
        return x

    def terms(self):
        return ["item means", "EASE on what is left of the stars"]

    def solve(self, setting):
        closed_form(self.x.t() @ self.x, setting["lambda"], out=self.b)

    def embeddings(self):
        """Users (U, I + 1), items (I, I + 1)."""
        return with_ones(self.x), torch.cat((self.b.t(), self.mean[:, None].float()), 1)

    def fold_in(self, users, items, ratings, n_users):
        """x of the new users, whose means are theirs, and 1 for the items' means."""
        users, items, stars = rows_on(self.b.device, users, items, ratings)
        left = self.less_user_means(users, stars, n_users)
        return with_ones(self.less_item_means(users, items, left, n_users))

    def similarities(self, item):
        """What a star more for the item adds to the prediction of each other."""
        return self.b[item]


def with_ones(x):
    """x (U, I) with a column of ones behind it."""
    return torch.cat((x, x.new_ones(len(x), 1)), 1)


def damped_means(values, of, n):
    """The mean of the values of each of n, drawn to 0: (n,).  of: whose each value is."""
    return torch.bincount(of, values, minlength=n) / (torch.bincount(of, minlength=n) + DAMPING)
