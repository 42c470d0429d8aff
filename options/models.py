"""All models: the settings of each, and a table of what each is.

A model is a row of MODELS, a class of settings here, and a file with one class (what that must have:
training.recommender.Recommender).  Nothing here needs torch, so that --help, a typo and a refused flag are answered
at once.
"""

import math
from dataclasses import dataclass
from importlib import import_module
from typing import NamedTuple

from options.conrec import ConrecSettings
from options.flag import Settings, beside, flag, shared
from options.negatives import SHARED, STAGE, TUNING, StageSettings
from options.run import RunSettings, TrainingSettings
from utils import InputError, absolute

# ------------------------------------------------------------------------------- what several models have


@dataclass
class Embeddings(Settings):
    """Of models that learn embeddings by gradient."""

    title = "models that learn by gradient"

    embedding_dim: int = flag(64, "dimensions of embeddings and codes", least=1)


@dataclass
class Graph(Embeddings):
    """Of models with LightGCN's propagation."""

    layers: int = flag(4, "propagation layers of LightGCN", least=0)


@dataclass
class ConfirmedNegatives(Settings):
    """Of models that sample confirmed negatives more often."""

    title = Embeddings.title

    real_neg_samp_prob: float = flag(1.5, "gamma, sampling weight of a confirmed negative (else 1)", least=0)


@dataclass
class Penalty(Settings):
    """Of models whose embeddings' norm is in the loss."""

    title = Embeddings.title

    lambda_reg: float = flag(1e-4, "weight of the embeddings' square norm (ReFINe++: of ||E||^2 / 2)", least=0)


@dataclass
class Sampler(Settings):
    """How a negative is drawn for a positive (baselines/samplers.py)."""

    title = "sampling of negatives: MF, LightGCN, HNLMRec"

    sampler: str = flag(
        "uniform", "how negatives are drawn: see baselines/samplers.py",
        choices=["uniform", "popularity", "dns", "mixgcf", "ahns"],
    )
    sampler_candidates: int = flag(64, "dns, mixgcf, ahns: M, unrated items to choose from", least=1)
    sampler_top: int = flag(1, "dns: N, uniform among the N with the highest scores", least=1)
    ahns: list[float] = flag([1.0, 0.1, -2.0], "ahns: a, b and p", nargs=3, metavar=("A", "B", "P"))

    def idle(self):
        why = beside(f"--sampler {self.sampler}")
        if self.sampler in ("uniform", "popularity"):
            yield "sampler_candidates", why
        if self.sampler != "dns":
            yield "sampler_top", why
        if self.sampler != "ahns":
            yield "ahns", why

    def check(self):
        top, candidates = self.sampler_top, self.sampler_candidates
        if top > candidates:
            raise InputError(f"--sampler_top {top}: must be at most --sampler_candidates, {candidates}")
        if not all(map(math.isfinite, self.ahns)) or self.ahns[2] >= 0:
            words = " ".join(f"{number:g}" for number in self.ahns)
            raise InputError(f"--ahns {words}: must be three finite numbers, the last below 0")


# ------------------------------------------------------------------------------------------ the models


@dataclass
class EaseSettings(Settings):
    """Of EASE (baselines/ease.py)."""

    title = "EASE"

    ease_weights: list[float] = flag(
        [0, 0, 0, 1, 1], "weights of 1, 2, 3, 4 and 5 stars; refined ratings count as 4 or 1; those below 0 count "
        "against what is like them", nargs=5,
    )
    ease_lambdas: list[float] = flag(
        [10, 20, 50, 100, 200, 500, 1000, 2000], "ridge penalties to choose from on validation", nargs="+", least=1e-3
    )
    ease_denoising: list[float] = flag(
        [0], "values of p to choose from; p times an item's own weight is added to its ridge penalty",
        nargs="+", least=0,
    )
    ease_alphas: list[float] = flag(
        [0], "values of alpha to choose from; in X'X a user's row is divided by (its sum of weights)^alpha",
        nargs="+", least=0,
    )
    ease_words: list[float] = flag(
        [0], "weights to choose from of words that items' titles and genres share: rows of X'X, as if users",
        nargs="+", least=0,
    )
    ease_side: str = flag(
        "item", "learn weights between items, or between users", choices=["item", "user"]
    )

    def idle(self):
        if self.ease_side == "user":
            yield "ease_words", beside("--ease_side user")

    def check(self):
        words = " ".join(f"{number:g}" for number in self.ease_weights)
        if not all(map(math.isfinite, self.ease_weights)) or max(self.ease_weights) <= 0:
            raise InputError(f"--ease_weights {words}: must be finite numbers, at least one of them above 0")


@dataclass
class StarsSettings(Settings):
    """Of Stars (baselines/stars.py)."""

    title = "Stars"

    stars_lambda: float = flag(100.0, "ridge penalty of the weights between items", least=1e-3)


@dataclass
class BlendSettings(Settings):
    """Of a blend of finished runs (baselines/blend.py)."""

    title = "Blend"

    blend: list[str] = flag(
        [], "folders of finished runs (python blend.py RUN RUN fills in the rest)",
        nargs="+", type=absolute, metavar="RUN",
    )

    dataset_augment: str = shared(RunSettings, "dataset_augment")
    hold_out: str | None = shared(RunSettings, "hold_out")

    def idle(self):
        if self.hold_out is None:
            yield "hold_out", ""  # not given

    def check(self):
        if not self.blend or self.dataset_augment != "original":
            raise InputError("--model Blend: needs --blend RUN RUN, and no --dataset_augment: the first one's counts")


@dataclass
class MFSettings(Sampler, Penalty, Embeddings):
    """Of matrix factorisation (baselines/lightgcn.py)."""


@dataclass
class LightGCNSettings(Sampler, Penalty, Graph):
    """Of LightGCN (baselines/lightgcn.py)."""


@dataclass
class ReFINeSettings(ConfirmedNegatives, Penalty, Graph):
    """Of ReFINe (baselines/refine.py)."""

    title = "ReFINe"

    t: int = flag(50, "first epoch in which similar items are weighted", least=1)
    s: int = flag(5, "items similar to a positive that get weight q", least=0)
    q: float = flag(0.75, "sampling weight of items similar to a positive", least=0)
    r: int = flag(100, "items similar to a confirmed negative that get weight p", least=0)
    p: float = flag(1.5, "sampling weight of items similar to a confirmed negative", least=0)


@dataclass
class ReFINePlusPlusSettings(ConfirmedNegatives, Penalty, Graph):
    """Of ReFINe++ (model.py)."""

    title = "ReFINe++"

    n_negatives: int | None = flag(
        None, "sampled negatives: of a batch (ReFINe++), of an edge (SiReN)",
        least=1, default_words="a tenth of the items",
    )
    loss: str = flag(
        "rw_ssm", "rw_ssm, or bpr: one negative for each positive, drawn with the same weights",
        choices=["rw_ssm", "bpr"],
    )
    negatives: str = flag(
        "shared", "shared: one set of sampled negatives a batch, as in the released code; per_user: a set a user",
        choices=["shared", "per_user"],
    )
    kappa: float = flag(
        0, "weight of each of a user's own confirmed negatives in the denominator of RW-SSM; 0: only those drawn",
        least=0,
    )
    graph: str = flag(
        "signed", "signed: confirmed negatives are ordinary edges, as in the released code; positive: no edges",
        choices=["signed", "positive"],
    )
    star_weights: list[float] = flag(
        [1, 1, 1], "weights in the ranking loss of refined ratings (a 2 or 3 that is liked), of 4s and of 5s",
        nargs=3, least=1e-3,
    )
    hidden_dim: int = flag(600, "hidden units of the autoencoders", least=1)
    lambda_ae: float = flag(1e-5, "weight of ||autoencoder parameters||^2 / 2", least=0)
    precision: str = flag(
        "float32", "of the autoencoders' products; bfloat16 is faster where the processor has it",
        choices=["float32", "bfloat16"],
    )
    rejection: float = flag(
        0, "when ranking, weight against an item of what the users' autoencoder reconstructs; both standardised",
        least=0,
    )
    no_autoencoder: bool = flag(False, "leave out the autoencoders and their alignment")
    no_alignment: bool = flag(False, "train the autoencoders, but let the embeddings know nothing of it")
    lambda_reg: float = 1e-7

    def idle(self):
        if self.no_autoencoder:
            yield "hidden_dim lambda_ae no_alignment precision rejection", beside("--no_autoencoder")
        if self.loss == "bpr":
            yield "n_negatives negatives kappa", beside("--loss bpr")


@dataclass
class SirenSettings(Penalty, Graph):
    """Of SiReN (baselines/siren.py)."""

    title = "SiReN"

    n_negatives: int = shared(ReFINePlusPlusSettings, "n_negatives", default=40)
    siren_neg_coef: float = flag(
        2.0, "c of a disliked item: 2 in the final official code, -1 in its first release, another model"
    )
    siren_dropout: float = flag(0.5, "dropout of the negative branch and the attention", least=0, most=0.99)
    lambda_reg: float = 0.05


@dataclass
class HnlmrecSettings(StageSettings, LightGCNSettings):
    """Of HNLMRec (baselines/hnlmrec.py), and of the stage that makes its negatives."""

    title = "HNLMRec"

    backbone: str = flag("LightGCN", "the model that the negatives are for", choices=["LightGCN", "MF"])
    hard: str = flag(
        "tuned", "the vectors of the pairs",
        choices=["tuned", "untuned", "text", "shuffled", "noise_gauss", "noise_const", "none"],
    )
    hn_alpha: float = flag(0.1, "share of a pair's vector in a negative, the rest is a random one's", least=0, most=1)
    hn_lambda: float = flag(0.0, "weight of the contrastive loss", least=0)
    hn_adapter: str = flag(
        "aligned", "what trains the adapter: alignment with items; ranking and contrastive loss; nothing",
        choices=["aligned", "joint", "frozen"],
    )
    rank_loss: str = flag("bpr", "the ranking loss", choices=["bpr", "hinge"])
    hn_unfiltered: bool = flag(False, "use the vectors that the filter of false negatives rejects, too")
    hn_official: bool = flag(
        False, "as released: constant noise for vectors, a frozen adapter that ends in ReLU, its L2"
    )

    @property
    def wants_vectors(self):
        """Whether a run needs data.hard: else it is its backbone, with whatever ranking loss."""
        return self.hard != "none" and bool(self.hn_alpha or self.hn_lambda)

    def idle(self):
        yield from super().idle()  # of the sampler
        if self.backbone == "MF":
            yield "layers", beside("--backbone MF")
        if self.hard == "none":
            yield f"hn_alpha hn_lambda hn_adapter hn_unfiltered {STAGE}", beside("--hard none")
        if self.hard in ("untuned", "text", "noise_gauss", "noise_const"):
            yield TUNING, beside(f"--hard {self.hard}")
        # the stage
        if not self.wants_vectors:
            yield f"{STAGE} {SHARED}", "--hn_alpha 0 and --hn_lambda 0 leave it without a use; leave it out"
        elif self.hn_folder:
            others = [name for name in f"{STAGE} {SHARED}".split() if name != "hn_folder"]
            yield " ".join(others), beside("--hn_folder")
        else:
            yield "hn_folder", ""  # not given
            yield from self.idle_in_stage()


OFFICIAL = {  # the defaults under --hn_official
    "hard": "noise_const", "hn_adapter": "frozen", "rank_loss": "hinge", "hn_alpha": 1e-4, "hn_lambda": 1e-3,
}  # fmt: skip

# ------------------------------------------------------------------------------------------- the table


class Row(NamedTuple):
    module: str | None  # None: the job makes models of its own
    class_name: str | None
    settings: type  # its own
    about: str  # a line of the short --help
    defaults: dict = {}  # of flags that every run has
    closed_form: bool = False  # solved (popularity.py, ease.py) rather than trained by gradient
    chance: bool = False  # a closed form that comes out otherwise with another seed
    refines: bool = True  # whether it can be trained on refined ratings
    needs_dislikes: bool = False  # ratings below 4, which clicks do not have
    ignores: str = ""  # flags of every run that it has no use for
    job: str = "experiment"  # the module whose fit() does the job from top to bottom
    look: str = "recommend"  # the module whose recommend() prints what a finished run says of one user

    @property
    def by_epochs(self):
        """Whether training.loop.train does it: CoNRec's stages count steps."""
        return not self.closed_form and self.job == "experiment"

    @property
    def run_settings(self):
        return TrainingSettings if self.by_epochs else RunSettings


CLOSED_FORM = {"closed_form": True, "ignores": "deterministic"}
REFINED = {"dataset_augment": "augment"}
MODELS = {
    "Popularity": Row(
        "baselines.popularity", "Popularity", Settings,
        "the items with the most train positives, for everybody", **CLOSED_FORM,
    ),
    "ItemMean": Row(
        "baselines.popularity", "ItemMean", Settings, "the items with the best mean rating, for everybody",
        needs_dislikes=True, **CLOSED_FORM,
    ),
    "Random": Row("baselines.popularity", "Random", Settings, "any items, by chance", chance=True, **CLOSED_FORM),
    "EASE": Row("baselines.ease", "EASE", EaseSettings, "a linear model in closed form: seconds", **CLOSED_FORM),
    "Stars": Row(
        "baselines.stars", "Stars", StarsSettings, "predicted stars in closed form: what a blend knows of dislikes",
        needs_dislikes=True, **CLOSED_FORM,
    ),
    "Blend": Row(
        "baselines.blend", "Blend", BlendSettings,
        "finished runs blended, weights chosen on validation: python blend.py RUN RUN", **CLOSED_FORM,
    ),
    "MF": Row("baselines.lightgcn", "MF", MFSettings, "matrix factorisation, BPR"),
    "LightGCN": Row("baselines.lightgcn", "LightGCN", LightGCNSettings, "graph convolution, BPR"),
    "ReFINe": Row(
        "baselines.refine", "ReFINe", ReFINeSettings,
        "LightGCN whose negatives are drawn by weight, on refined ratings", REFINED, needs_dislikes=True,
    ),
    "SiReN": Row(
        "baselines.siren", "SiReN", SirenSettings,
        "a graph of likes beside an embedding of dislikes", {"learning_rate": 5e-3}, needs_dislikes=True,
    ),
    "HNLMRec": Row(
        "baselines.hnlmrec", "HNLMRec", HnlmrecSettings,
        "LightGCN with hard negatives made by a language model", {"learning_rate": 3e-3},
    ),
    "CoNRec": Row(
        None, None, ConrecSettings, "predicts what a user will dislike next", refines=False,
        # it ranks by beams, takes ratings as they are given, and has a split and metrics of its own
        ignores="dataset_augment test_batch_size hold_out split dislike_cost tensorboard",
        job="conrec.run", look="conrec.results.show_user",
    ),
    "ReFINe++": Row(
        "model", "ReFINePlusPlus", ReFINePlusPlusSettings,
        "LightGCN, RW-SSM and two dispreference autoencoders, on refined ratings", REFINED, needs_dislikes=True,
    ),
}  # fmt: skip


def model_class(name):
    """The class of a row, imported with all that it needs."""
    row = MODELS[name]
    return getattr(import_module(row.module), row.class_name)
