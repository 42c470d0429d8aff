"""The flags of main.py, grouped by what they are about, and which of them a model has a use for."""

import argparse
import math
import sys
from pathlib import Path

import baselines
import llm_feedback
import shell
from atomic_files.sources import DATASETS
from baselines import MODELS, hnlmrec, samplers
from negatives import flags as of_negatives
from utils import InputError

ABOUT = "ReFINe++: a recommender that models negative feedback refined by a language model."
LEAST = {  # smallest value of each number
    "embedding_dim": 1, "layers": 0, "hidden_dim": 1, "n_negatives": 1, "real_neg_samp_prob": 0, "lambda_reg": 0,
    "lambda_ae": 0, "p": 0, "q": 0, "r": 0, "s": 0, "t": 1, "siren_dropout": 0, "siren_mlp_layers": 2,
    "learning_rate": 0, "batch_size": 1, "epochs": 1, "early_stopping_step": 1, "evaluation_step": 1,
    "test_batch_size": 1, "random_seed": 0, "top_k": 1, "ease_lambdas": 1e-3,
    "llm_seed": 0, "llm_permutations": 1, "llm_question_size": 1, "llm_profile": 0, "llm_batch_tokens": 1,
    "llm_concurrency": 1, "llm_timeout": 1, **of_negatives.LEAST,
    "hn_alpha": 0, "hn_lambda": 0, "hn_margin": 0, "hn_temperature": 1e-3, "sampler_candidates": 1, "sampler_top": 1,
}  # fmt: skip
MOST = {"random_seed": 2**32 - 1, "llm_seed": 2**32 - 1, "llm_question_size": 10, "siren_dropout": 0.99, "hn_alpha": 1}
OF_DATA_SET = {"layers": 4, "r": 100}  # where the data set's row in atomic_files/sources.py names no other
OF_TRAINING = {"learning_rate", "batch_size", "epochs", "early_stopping_step", "evaluation_step"}  # by gradient
OF_MODELS = OF_TRAINING.union(of_negatives.STAGE, *(model.flags for model in MODELS.values()))
OF_RATINGS = {  # what a run that is made for another one takes over
    "dataset_augment", "llm", "llm_mode", "llm_url", "llm_domain", "llm_constrained", "llm_permutations",
    "llm_question_size", "llm_profile", "llm_seed", "llm_dtype", "llm_batch_tokens", "llm_concurrency", "llm_timeout",
    "unasked_twos", "data_dir", "result_dir", "device", "deterministic", "test_batch_size",
}  # fmt: skip
GIVEN = object()  # in IDLE: any value but the default
IDLE = {  # a flag that leaves others without a use
    ("no_autoencoder", True): {"hidden_dim", "lambda_ae", "no_alignment"},
    ("loss", "bpr"): {"n_negatives", "negatives"},
    **samplers.IDLE,
    **hnlmrec.IDLE,
    ("hn_folder", GIVEN): of_negatives.STAGE - {"hn_folder"},
    **{("hard", source): of_negatives.TUNING for source in ("untuned", "text", "noise_gauss", "noise_const")},
}


def parser():
    style = argparse.ArgumentDefaultsHelpFormatter
    parser = argparse.ArgumentParser(description=ABOUT, formatter_class=style, allow_abbrev=False)
    parser.error = lambda message: sys.exit(shell.fail(f"{message} (--help lists the flags)"))
    names = ", ".join(DATASETS)

    add = parser.add_argument_group("what to run").add_argument
    add("--dataset", help=f"{names}, or the path of a folder with one .inter and one .item file")
    add("--model", default="ReFINe++", choices=list(MODELS), help="the recommender to train")
    add("--dataset_augment", choices=["augment", "original"],
        help="train on refined ratings, or on the ratings as they are (no refinement); None: the model's, augment for "
        "ReFINe and ReFINe++, else original")
    add("--random_seed", type=int, default=2024, help="of initial weights, shuffling and negative sampling")

    llm_feedback.add_flags(parser.add_argument_group("language model, which sorts each user's 2s and 3s").add_argument)

    add = parser.add_argument_group("models that learn by gradient").add_argument
    add("--embedding_dim", type=int, default=64, help="dimensions of embeddings and codes")
    add("--layers", type=int, help="propagation layers of LightGCN; None: the data set's, 4 (Amazon_Books: 2)")
    add("--real_neg_samp_prob", type=float, default=1.5,
        help="gamma: sampling weight of a confirmed negative (else 1), ReFINe and ReFINe++")
    add("--lambda_reg", type=float,
        help="weight of the embeddings' square norm; None: the model's, 1e-7 for ReFINe++ (||E||^2 / 2), 1e-4 for "
        "LightGCN and ReFINe, 0.05 for SiReN")
    add("--n_negatives", type=int,
        help="sampled negatives; None: the model's, a tenth of the items for ReFINe++, 40 an edge for SiReN")

    add = parser.add_argument_group("ReFINe++").add_argument
    add("--loss", default="rw_ssm", choices=["rw_ssm", "bpr"],
        help="rw_ssm, or bpr: one negative for each positive, drawn with the same weights")
    add("--negatives", default="shared", choices=["shared", "per_user"],
        help="shared: one set of sampled negatives a batch, as in the released code; per_user: one set a user")
    add("--graph", default="signed", choices=["signed", "positive"],
        help="signed: confirmed negatives are ordinary edges, as in the released code; positive: they are none")
    add("--hidden_dim", type=int, default=600, help="hidden units of the autoencoders")
    add("--lambda_ae", type=float, default=1e-5, help="weight of ||autoencoder parameters||^2 / 2")
    add("--no_autoencoder", action="store_true", help="leave out the autoencoders and their alignment")
    add("--no_alignment", action="store_true", help="train the autoencoders, but let the embeddings know nothing of it")

    baselines.add_flags(parser.add_argument_group)
    of_negatives.add_flags(parser.add_argument_group("hard negatives, made by a language model").add_argument)

    add = parser.add_argument_group("training").add_argument
    add("--learning_rate", type=float, help="of Adam; None: the model's, 1e-3, for SiReN 5e-3")
    add("--batch_size", type=int, default=1024, help="train edges a step")
    add("--epochs", type=int, default=1000, help="at most this many")
    add("--early_stopping_step", type=int, default=50, help="evaluations in a row without a better Recall@20")
    add("--evaluation_step", type=int, default=1, help="epochs between two evaluations")
    add("--test_batch_size", type=int, default=1024, help="users ranked at once: bounds memory, changes no result")
    add("--top_k", type=int, nargs="+", default=[5, 10, 15, 20], help="cut-offs of the metrics")
    add("--device", default="auto", help="auto (CUDA if there is one), cpu, cuda, cuda:1")
    add("--deterministic", action="store_true", help="CUDA: the same numbers every time, slower; a CPU does so anyway")

    add = parser.add_argument_group("files").add_argument
    add("--data_dir", type=Path, default=Path("data"), help="each data set has a folder in it")
    add("--result_dir", type=Path, default=Path("result"), help="run folders are <result_dir>/<dataset>/<path_name>")
    add("--path_name", help="name of the run folder; None: made of model, ratings and seed")
    add("--resume", action="store_true", help="go on with the run in the run folder")

    add = parser.add_argument_group("looking at a finished run, instead of --dataset").add_argument
    add("--recommend", metavar="USER_ID", help="print what the run recommends to this user, and what it knows of them")
    add("--run", type=Path, metavar="PATH", help="the run folder")
    return parser


def parse(argv=None):
    """Command line -> options, with the model's own defaults filled in and without the flags it has no use for.

    Raises InputError for a value out of range and for a flag that would change nothing.
    """
    flags = parser()
    options = flags.parse_args(argv)
    training = options.dataset is not None
    looking = options.recommend is not None
    if training == looking or looking != (options.run is not None):
        raise InputError("give --dataset to train, or --recommend USER_ID with --run PATH to look at a finished run")
    if training:
        del options.recommend, options.run
    check_values(options)
    options.top_k = sorted(set(options.top_k))
    given = {name for name, value in vars(options).items() if value != flags.get_default(name)}
    drop_useless(options, given)
    if getattr(options, "hn_official", False):
        fill_in(options, hnlmrec.OFFICIAL)
    fill_in(options, MODELS[options.model].defaults)
    refuse_idle(options, given)
    if "sampler" in options:
        samplers.check(options)
    if options.dataset_augment == "original" and (options.llm != "auto" or options.llm_url):
        raise InputError("--llm: nothing is refined, the ratings are used as they are; add --dataset_augment augment")
    return options


def check_values(options):
    """Raises InputError for a number out of range and for a name that is a path."""
    for name, least in LEAST.items():
        given = getattr(options, name)
        for value in given if isinstance(given, list) else [given]:
            if value is not None and not least <= value < math.inf:
                raise InputError(f"--{name} {value}: must be a number of at least {least}")
    for name, value in vars(options).items():
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(f"--{name} {value}: must be a finite number")
    for name, most in MOST.items():
        value = getattr(options, name)
        if value is not None and value > most:
            raise InputError(f"--{name} {value}: must be at most {most}")
    if options.path_name and Path(options.path_name).name != options.path_name:
        raise InputError(f"--path_name {options.path_name}: must be a name; --result_dir says where")


def drop_useless(options, given):
    """Take away the flags that the model has no use for; raises InputError where one of them was given."""
    for name in sorted(OF_MODELS - used_by(MODELS[options.model])):
        if name in given:
            raise InputError(f"--{name}: {options.model} has no use for it; leave it out")
        delattr(options, name)


def refuse_idle(options, given):
    """Raises InputError where a flag was given that another one, or its default, leaves without a use."""
    for (flag, value), idle in IDLE.items():
        applies = flag in given if value is GIVEN else getattr(options, flag, None) == value
        for name in sorted(idle & given):
            if applies:
                raise InputError(f"--{name}: has no use with {in_words(flag, value)}; leave it out")


def in_words(flag, value):
    """A flag as it is given."""
    return f"--{flag}" if value is True or value is GIVEN else f"--{flag} {value}"


def used_by(model):
    """The model and training flags that a model has a use for."""
    return model.flags if model.closed_form else model.flags | OF_TRAINING


def fill_in(options, defaults):
    for name, value in defaults.items():
        if getattr(options, name, value) is None:
            setattr(options, name, value)


def of_data_set(options, name):
    """Fill in what the data set decides where neither a flag nor the model did."""
    own = DATASETS[name].defaults if name in DATASETS else {}
    fill_in(options, OF_DATA_SET | own)


def changed(options, name):
    """{flag: value} of the model and training flags that are not at their defaults: what makes this run an ablation."""
    official = ["--hn_official"] if getattr(options, "hn_official", False) else []  # names what it fills in
    default = parse(["--dataset", options.dataset, "--model", options.model, *official])
    of_data_set(default, name)
    other = {"hn_official": True} if official else {}
    for flag, value in vars(options).items():
        if flag in OF_MODELS and value != getattr(default, flag):
            other[flag] = value
    return other


def settings(options):
    """The effective settings, as plain JSON values."""
    plain = {}
    for flag, value in vars(options).items():
        plain[flag] = str(value) if isinstance(value, Path) else value
    return plain
