"""All models, and what each has a use for.

A model is a row of MODELS and a file with one class (what that must have: training.recommender.Recommender).
The table is literal and needs no torch, so that --help, a typo and a refused flag are answered at once.
"""

from importlib import import_module
from typing import NamedTuple

from options.conrec import FLAGS as OF_CONREC
from options.negatives import STAGE
from utils import absolute


class Row(NamedTuple):
    module: str
    class_name: str
    flags: frozenset = frozenset()  # the model flags it has a use for
    defaults: dict = {"dataset_augment": "original"}  # where none is given and the data set does not say
    closed_form: bool = False  # solved (popularity.py, ease.py) rather than trained by gradient
    job: str = "experiment"  # the module whose fit() does the job from top to bottom
    look: str = "recommend"  # the module whose recommend() prints what a finished run says of one user

    @property
    def by_epochs(self):
        """Whether training.train does it: CoNRec's stages count steps."""
        return not self.closed_form and self.job == "experiment"


LIGHTGCN = frozenset({"embedding_dim", "layers", "lambda_reg"})
SAMPLER = frozenset({"sampler", "sampler_candidates", "sampler_top", "ahns"})  # baselines/samplers.py
OFFICIAL = {  # what --hn_official fills in where no flag does
    "hard": "noise_const", "hn_adapter": "frozen", "rank_loss": "hinge", "hn_alpha": 1e-4, "hn_lambda": 1e-3,
}  # fmt: skip

MODELS = {
    "Popularity": Row("baselines.popularity", "Popularity", closed_form=True),
    "EASE": Row(
        "baselines.ease", "EASE",
        frozenset({"ease_weights", "ease_lambdas", "ease_denoising", "ease_alphas", "ease_words", "ease_side"}),
        closed_form=True,
    ),
    "Blend": Row("baselines.blend", "Blend", frozenset({"blend"}), closed_form=True),
    "MF": Row(
        "baselines.lightgcn", "MF", (LIGHTGCN | SAMPLER) - {"layers"},
        {"dataset_augment": "original", "learning_rate": 1e-3, "lambda_reg": 1e-4},
    ),
    "LightGCN": Row(
        "baselines.lightgcn", "LightGCN", LIGHTGCN | SAMPLER,
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
    "HNLMRec": Row(
        "baselines.hnlmrec", "HNLMRec",
        LIGHTGCN | SAMPLER | STAGE | {"backbone", "hard", "hn_alpha", "hn_lambda", "hn_adapter", "rank_loss",
                                      "hn_margin", "hn_temperature", "hn_unfiltered", "hn_official"},
        {"dataset_augment": "original", "learning_rate": 3e-3, "lambda_reg": 1e-4,
         "hard": "tuned", "hn_alpha": 0.01, "hn_lambda": 0.0, "hn_adapter": "aligned", "rank_loss": "bpr"},
    ),
    "CoNRec": Row("conrec.run", "", OF_CONREC, job="conrec.run", look="conrec.results.show_user"),
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


def add_flags(group):
    """The flags that few models have a use for.  group: add_argument_group of the parser."""
    add = group("MF, LightGCN and HNLMRec").add_argument
    add("--sampler", default="uniform", choices=["uniform", "popularity", "dns", "mixgcf", "ahns"],
        help="MF, LightGCN, HNLMRec: how negatives are drawn: see baselines/samplers.py")
    add("--sampler_candidates", type=int, default=64, help="dns, mixgcf, ahns: M, unrated items to choose from")
    add("--sampler_top", type=int, default=1, help="dns: N, uniform among the N with the highest scores")
    add("--ahns", type=float, nargs=3, default=[1.0, 0.1, -2.0], metavar=("A", "B", "P"), help="ahns: a, b and p")

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

    add = group("HNLMRec").add_argument
    add("--backbone", default="LightGCN", choices=["LightGCN", "MF"],
        help="HNLMRec: the model that the negatives are for")
    add("--hard", choices=["tuned", "untuned", "text", "shuffled", "noise_gauss", "noise_const", "none"],
        help="HNLMRec: the vectors of the pairs")
    add("--hn_alpha", type=float, help="HNLMRec: share of a pair's vector in a negative, the rest is a random one's")
    add("--hn_lambda", type=float, help="HNLMRec: weight of the contrastive loss")
    add("--hn_adapter", choices=["aligned", "joint", "frozen"],
        help="HNLMRec: what trains the adapter: alignment with items; ranking and contrastive loss; nothing")
    add("--rank_loss", choices=["bpr", "hinge"], help="HNLMRec: the ranking loss")
    add("--hn_margin", type=float, default=0.3, help="HNLMRec: margin of the hinge")
    add("--hn_temperature", type=float, default=0.2, help="HNLMRec: of the contrastive loss")
    add("--hn_unfiltered", action="store_true",
        help="HNLMRec: use the vectors that the filter of false negatives rejects, too")
    add("--hn_official", action="store_true",
        help="HNLMRec: as released: constant noise for vectors, a frozen adapter that ends in ReLU, its L2")

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
    add("--ease_words", type=float, nargs="+", default=[0],
        help="EASE: weights to choose from of words that items' titles and genres share: rows of X'X, as if users")
    add("--ease_side", default="item", choices=["item", "user"],
        help="EASE: learn weights between items, or between users")  # fmt: skip
