"""All models, and what each has a use for.

A model is a row of MODELS and a file with one class (what that must have: recommender.Recommender).
The table is literal and needs no torch, so that --help, a typo and a refused flag are answered at once.
"""

from importlib import import_module
from pathlib import Path
from typing import NamedTuple


class Row(NamedTuple):
    module: str
    class_name: str
    flags: frozenset = frozenset()  # the model flags it has a use for
    defaults: dict = {"dataset_augment": "original"}  # where none is given and the data set does not say
    closed_form: bool = False  # solved (popularity.py, ease.py) rather than trained by gradient


LIGHTGCN = frozenset({"embedding_dim", "layers", "lambda_reg"})

MODELS = {
    "Popularity": Row("baselines.popularity", "Popularity", closed_form=True),
    "EASE": Row(
        "baselines.ease", "EASE",
        frozenset({"ease_weights", "ease_lambdas", "ease_denoising", "ease_alphas", "ease_side"}), closed_form=True,
    ),
    "Blend": Row("baselines.blend", "Blend", frozenset({"blend"}), closed_form=True),
    "LightGCN": Row(
        "baselines.lightgcn", "LightGCN", LIGHTGCN,
        {"dataset_augment": "original", "learning_rate": 1e-3, "lambda_reg": 1e-4},
    ),
    "ReFINe": Row(
        "baselines.refine", "ReFINe", LIGHTGCN | {"real_neg_samp_prob", "p", "q", "r", "s", "t"},
        {"dataset_augment": "augment", "learning_rate": 1e-3, "lambda_reg": 1e-4},
    ),
    "SiReN": Row(
        "baselines.siren", "SiReN",
        LIGHTGCN | {"n_negatives", "siren_neg_coef", "siren_mlp_layers", "siren_dropout"},
        {"dataset_augment": "original", "learning_rate": 5e-3, "lambda_reg": 0.05, "n_negatives": 40},
    ),
    "ReFINe++": Row(
        "model", "ReFINePlusPlus",
        LIGHTGCN | {"hidden_dim", "no_autoencoder", "no_alignment", "graph", "loss", "negatives", "n_negatives",
                    "real_neg_samp_prob", "lambda_ae", "precision",
                    "star_weights"},
        {"dataset_augment": "augment", "learning_rate": 1e-3, "lambda_reg": 1e-7},
    ),
}  # fmt: skip


def model_class(name):
    """The class of a row, imported with all that it needs."""
    row = MODELS[name]
    return getattr(import_module(row.module), row.class_name)


def absolute(path):
    return str(Path(path).resolve())


def add_flags(group):
    """The flags that one model alone has a use for.  group: add_argument_group of the parser."""
    add = group("ReFINe").add_argument
    add("--t", type=int, default=50, help="ReFINe: first epoch in which similar items are weighted")
    add("--s", type=int, default=5, help="ReFINe: items similar to a positive that get weight q")
    add("--q", type=float, default=0.75, help="ReFINe: sampling weight of items similar to a positive")
    add("--r", type=int, help="ReFINe: items similar to a confirmed negative that get weight p")
    add("--p", type=float, default=1.5, help="ReFINe: sampling weight of items similar to a confirmed negative")

    add = group("SiReN").add_argument
    add("--siren_neg_coef", type=float, default=2.0,
        help="SiReN: c of a disliked item: 2 in the final official code, -1 in its first release, another model")
    add("--siren_mlp_layers", type=int, default=2, help="SiReN: layers of the negative branch")
    add("--siren_dropout", type=float, default=0.5, help="SiReN: dropout of the negative branch and the attention")

    group("Blend").add_argument("--blend", nargs="+", type=absolute, default=[], metavar="RUN",
        help="Blend: folders of finished runs (python blend.py RUN RUN fills in the rest)")

    add = group("EASE").add_argument
    add("--ease_weights", type=float, nargs=5, default=[0, 0, 0, 1, 1],
        help="EASE: weights of 1, 2, 3, 4 and 5 stars; refined ratings count as 4 or 1")
    add("--ease_lambdas", type=float, nargs="+", default=[10, 20, 50, 100, 200, 500, 1000, 2000],
        help="EASE: ridge penalties to choose from on validation")
    add("--ease_denoising", type=float, nargs="+", default=[0],
        help="EASE: values of p to choose from; p times an item's own weight is added to its ridge penalty")
    add("--ease_alphas", type=float, nargs="+", default=[0],
        help="EASE: values of alpha to choose from; in X'X a user's row is divided by (its sum of weights)^alpha")
    add("--ease_side", default="item", choices=["item", "user"],
        help="EASE: learn weights between items, or between users")  # fmt: skip
