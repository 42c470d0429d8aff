"""EASE: linear, closed form, no sampling.

    P = (X'X + diag(lambda + p X'X))^-1,  B = I - P diag(1 / diag P),  scores X B

X is the user x item matrix of the train rows, an entry of which is the weight of its stars.  Below its users stand, in
X'X alone, the words that items share, each a row with `words` where an item has it: what items are about, as if so many
people had rated them for it.

    p = 0       Steck, Embarrassingly Shallow Autoencoders for Sparse Data, WWW 2019 (eq. 8)
    p > 0       holds items of much weight back, as dropout does: Steck, Autoencoders that don't overfit towards the
                Identity, NeurIPS 2020
    alpha > 0   in X'X a user's row is divided by (its sum of weights, signs apart)^alpha, so that long histories do
                not decide alone: normalisation by user, Park et al., Why is Normalization Necessary for Linear
                Recommenders?, SIGIR 2025
    words > 0   rows of item features: Jeunen et al., Closed-Form Models for Collaborative Filtering with
                Side-Information, RecSys 2020

lambda, p, alpha and words are chosen on validation among those given.  With --ease_side user the same is done to X',
without words, and the scores are B'X.
"""

from itertools import product

import numpy as np
import torch

from machine.hardware import require_memory
from training.recommender import Recommender
from utils import InputError


class EASE(Recommender):
    trains_on = "all"
    columns = ("alpha", "words", "p", "lambda")

    def __init__(self, data, settings, generator=None):
        super().__init__(data, settings, generator)
        self.by_user = settings.ease_side == "user"
        tried = settings.ease_alphas, settings.ease_words, settings.ease_denoising, settings.ease_lambdas
        self.tried = dict(zip(self.columns, tried, strict=True))
        self.grid = [dict(zip(self.columns, map(float, choice), strict=True)) for choice in product(*tried)]
        side = data.n_users if self.by_user else data.n_items
        self.words = None  # (I, words)
        if any(settings.ease_words) and data.texts is not None:  # a finished run has been solved with them
            self.words = words_of(data.texts)
        refuse_what_does_not_fit(data, side, any(settings.ease_alphas), self.words)

        self.x = self.weighted(*rows_of_stars(data), data.n_users)  # (U, I)
        self.gram_of = None  # alpha and weight of words
        self.register_buffer("b", torch.zeros(side, side, device=data.device))

    def weighted(self, users, items, stars, n_users):
        """X of these rows, (n_users, I).  users, items, stars: (n,) each, of rows_of_stars."""
        weights = torch.tensor(self.settings.ease_weights, dtype=torch.float32, device=users.device)  # (5,)
        x = torch.zeros(n_users, self.data.n_items, device=users.device)
        x[users, items] = weights[stars.long() - 1]
        return x

    def terms(self):
        o = self.settings
        lists = [f"{name} of {spaced(values)}" for name, values in self.tried.items()]
        return [f"weights between {o.ease_side}s", f"stars weigh {spaced(o.ease_weights)}", *lists]

    def solve(self, setting):
        self.make_gram(setting["alpha"], setting["words"])
        try:
            closed_form(self.gram, setting["lambda"], setting["p"], out=self.b)
        except torch.linalg.LinAlgError:
            ridge = setting["lambda"]
            raise InputError(f"--ease_lambdas {ridge:g}: too small for these ratings; leave it out") from None

    def make_gram(self, alpha, weight):
        """X'X, (I, I), with rows scaled and words below them; of X' with --ease_side user, (U, U)."""
        if (alpha, weight) == self.gram_of:
            return
        x = self.x.t() if self.by_user else self.x
        if alpha:
            x = x * x.abs().sum(1, keepdim=True).clamp(min=1e-9).pow(-alpha)
        self.gram, self.gram_of = x.t() @ x, (alpha, weight)
        if weight:
            words = torch.from_numpy(self.words.toarray()).to(self.gram.device)  # (I, words)
            self.gram.addmm_(words, words.t(), alpha=weight**2)

    def embeddings(self):
        """Users X (U, I) and items B' (I, I), of which the dot products are X B; users B' (U, U) and items X' (I, U)
        with --ease_side user."""
        if self.by_user:
            return self.b.t(), self.x.t()
        return self.x, self.b.t()

    def fold_in(self, users, items, ratings, n_users):
        """X of the new users: the items' weights are the same for everybody."""
        if self.by_user:
            raise self.refusal("with --ease_side user its weights are between users, and a new one has none")
        return self.weighted(*rows_on(self.b.device, users, items, ratings), n_users)

    def similarities(self, item):
        """What a user who has rated the item gains for each other, B's row; with --ease_side user the cosine of who
        has rated both."""
        return super().similarities(item) if self.by_user else self.b[item]


def rows_of_stars(data):
    """Users, items and whole stars (float64) of every train row: (n,), (n,), (n,).  Refined ratings count as 4 or 1."""
    return rows_on(data.device, data.train.users, data.train.items, data.train.rating)


def rows_on(device, users, items, ratings):
    """The same of any rows, (n,) numpy arrays."""
    users, items, ratings = (torch.from_numpy(column).to(device) for column in (users, items, ratings))
    return users, items, ratings.clamp(1, 5).floor()  # 0.5 -> 1, 4.5 -> 4


def closed_form(gram, ridge, p=0.0, out=None):
    """B = I - P diag(1 / diag P), P = (gram + diag(ridge + p gram))^-1, of a symmetric gram (I, I).

    out: a tensor (I, I) for B, None for a new one.  Raises torch.linalg.LinAlgError where there is no such inverse.
    """
    b = gram.clone() if out is None else out.copy_(gram)  # in place from here on: each (I, I) may take gigabytes
    b.diagonal().mul_(1 + p).add_(ridge)
    factor = torch.linalg.cholesky(b)  # (I, I)
    torch.cholesky_inverse(factor, out=b.t())  # P, symmetric; LAPACK's order of columns spares a copy
    b.div_(b.diagonal().clone()).neg_()  # column j divided by P_jj
    return b.fill_diagonal_(0)


def words_of(texts):
    """The words of at least two letters that two items or more share, common English ones apart: CSR (I, words) of 0
    and 1.  Raises InputError where there are none."""
    from sklearn.feature_extraction.text import CountVectorizer  # takes a second

    letters = r"(?u)\b[^\W\d_]{2,}\b"
    vectorizer = CountVectorizer(binary=True, min_df=2, stop_words="english", token_pattern=letters, dtype=np.float32)
    try:
        return vectorizer.fit_transform(texts)
    except ValueError:  # an empty vocabulary
        raise InputError("--ease_words: no two items' titles or genres have a word in common; leave it out") from None


def spaced(numbers):
    return " ".join(f"{number:g}" for number in numbers)


def refuse_what_does_not_fit(data, side, scaled=False, words=None, model="EASE"):
    """Raises InputError where X, X with scaled rows, words, X'X, its factor and B would take more memory than there
    is."""
    needed = 4 * ((1 + scaled) * data.n_users * data.n_items + 3 * side * side)  # bytes of float32
    if words is not None:
        needed += 4 * words.shape[0] * words.shape[1]
    what = f"--model {model}: {side} x {side} weights and the ratings of {data.n_users} users"
    require_memory(needed, torch.device(data.device), what, "a model trained by gradient takes less")
