"""EASE (Steck, Embarrassingly Shallow Autoencoders for Sparse Data, WWW 2019): linear, closed form, no sampling.

    P = (X'X + lambda I)^-1,  B = I - P diag(1 / diag P),  scores X B               (eq. 8)

X is the user x item matrix of the train rows.  lambda is chosen on validation among --ease_lambdas.
"""

import torch

from hardware import available_memory
from recommender import Recommender
from utils import InputError

WEIGHTS = {"binary": (1.0, 0.0, 0.0), "rating": (1.0, 0.6, 0.3)}  # of ratings >= 4, of 3s, of those below


class EASE(Recommender):
    trains_on = "all"
    columns = ("lambda",)

    def __init__(self, data, options, generator=None):
        super().__init__(data, options, generator)
        self.grid = [{"lambda": float(ridge)} for ridge in options.ease_lambdas]
        refuse_what_does_not_fit(data)

        # X, of which a row is a user's embedding.
        liked, neutral, disliked = WEIGHTS[options.ease_weights]
        rating = torch.from_numpy(data.train.rating).to(data.device)
        weight = torch.full(rating.shape, disliked, device=data.device)
        weight[rating == 3] = neutral
        weight[rating >= 4] = liked
        users = torch.from_numpy(data.train.users).to(data.device)
        items = torch.from_numpy(data.train.items).to(data.device)
        self.x = torch.zeros(data.n_users, data.n_items, device=data.device)  # (U, I)
        self.x[users, items] = weight

        self.gram = self.x.t() @ self.x  # (I, I)
        self.register_buffer("b", torch.zeros_like(self.gram))

    def terms(self):
        tried = ", ".join(f"{ridge:g}" for ridge in self.options.ease_lambdas)
        return [f"{self.options.ease_weights} X", f"lambda of {tried}"]

    def solve(self, setting):
        ridge = setting["lambda"]
        b = self.b.copy_(self.gram)  # in place from here on: in a large catalogue each (I, I) takes gigabytes
        b.diagonal().add_(ridge)
        try:
            factor = torch.linalg.cholesky(b)  # (I, I)
        except torch.linalg.LinAlgError:
            raise InputError(f"--ease_lambdas {ridge:g}: too small for these ratings; leave it out") from None
        torch.cholesky_inverse(factor, out=b.t())  # P, symmetric; LAPACK's order of columns spares a copy
        b.div_(b.diagonal().clone()).neg_()  # column j divided by P_jj
        b.fill_diagonal_(0)

    def embeddings(self):
        """Users X (U, I), items B' (I, I): their dot products are X B."""
        return self.x, self.b.t()


def refuse_what_does_not_fit(data):
    """Raises InputError where X, X'X, its factor and B would take more memory than there is."""
    needed = 4 * data.n_items * (data.n_users + 3 * data.n_items)  # bytes of float32
    free = available_memory(torch.device(data.device))
    if free is not None and needed > free:
        raise InputError(
            f"--model EASE: {data.n_items} items x {data.n_items} items and the ratings of {data.n_users} users take "
            f"{needed / 2**30:.1f} GiB, of which {free / 2**30:.1f} are free; a model trained by gradient takes less"
        )
