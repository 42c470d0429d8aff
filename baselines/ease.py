"""EASE (Steck, Embarrassingly Shallow Autoencoders for Sparse Data, WWW 2019): linear, closed form, no sampling.

    P = (X'X + lambda I)^-1,  B = I - P diag(1 / diag P),  scores X B               (eq. 8)

X is the user x item matrix of the train rows.  lambda is chosen on validation: one value of --ease_lambdas an epoch, so
that the common loop's early stopping keeps the best.
"""

import torch
from torch import nn

from utils import InputError

WEIGHTS = {"binary": (1.0, 0.0, 0.0), "rating": (1.0, 0.6, 0.3)}  # of ratings >= 4, of 3s, of those below


def add_flags(add):
    add("--ease_weights", default="binary", choices=list(WEIGHTS),
        help="entries of X: 1 for ratings from 4; rating: also 0.6 for 3s and 0.3 for those below")
    add("--ease_lambdas", type=float, nargs="+", default=[10, 20, 50, 100, 200, 500, 1000, 2000],
        help="ridge penalties to choose from on validation")  # fmt: skip


class EASE(nn.Module):
    trains_on, solutions = "all", 0  # of an instance: as many as --ease_lambdas
    flags, defaults = {"ease_weights", "ease_lambdas"}, {"dataset_augment": "original"}

    def __init__(self, data, options, generator):
        super().__init__()
        self.data, self.generator, self.lambdas = data, generator, options.ease_lambdas
        self.solutions = len(self.lambdas)
        self.terms = (f"{options.ease_weights} X", f"lambda of {', '.join(f'{value:g}' for value in self.lambdas)}")
        users, items, rating = (torch.from_numpy(array).to(data.device) for array in data.rated)
        liked, neutral, disliked = WEIGHTS[options.ease_weights]
        weight = torch.full(rating.shape, disliked, device=data.device)
        weight[rating == 3], weight[rating >= 4] = neutral, liked
        self.x = torch.zeros(data.n_users, data.n_items, device=data.device)  # (U, I); a row is a user's embedding
        self.x[users, items] = weight
        self.gram = self.x.t() @ self.x  # (I, I)
        self.register_buffer("b", torch.zeros_like(self.gram))

    def parameter_groups(self):
        return [{"params": []}]

    def start_epoch(self, epoch):
        """The solution for the epoch-th lambda, named in the log."""
        ridge = self.lambdas[epoch - 1]
        penalised = self.gram.clone()
        penalised.diagonal().add_(ridge)
        try:
            p = torch.cholesky_inverse(torch.linalg.cholesky(penalised))  # (I, I)
        except torch.linalg.LinAlgError:
            raise InputError(f"--ease_lambdas {ridge:g}: too small for these ratings; leave it out") from None
        b = -p / p.diagonal()  # column j divided by P_jj
        b.fill_diagonal_(0)
        self.b = b
        return f"lambda {ridge:g}"

    def embeddings(self):
        """Users X (U, I), items B' (I, I): their dot products are X B."""
        return self.x, self.b.t()
