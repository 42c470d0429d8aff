"""The flags of main.py, grouped by what they are about, and which of them have a use beside which.

Nothing here takes long to import, so that --help, a typo and a refused flag are answered at once.
"""

import argparse
import math
import sys
from pathlib import Path

from machine import shell
from options import conrec, models, negatives, refinement
from options.models import MODELS, OFFICIAL
from options.negatives import OF_VECTORS, STAGE, TUNING
from options.refinement import REFINEMENT, refuse_idle
from preparation.sources import DATASETS
from utils import InputError

ABOUT = "ReFINe++: a recommender that models negative feedback refined by a language model."
LEAST = {  # smallest value of each number
    "embedding_dim": 1, "layers": 0, "hidden_dim": 1, "n_negatives": 1, "real_neg_samp_prob": 0, "lambda_reg": 0,
    "lambda_ae": 0, "p": 0, "q": 0, "r": 0, "s": 0, "t": 1, "siren_dropout": 0, "siren_mlp_layers": 2,
    "learning_rate": 0, "batch_size": 1, "epochs": 1, "early_stopping_step": 1, "evaluation_step": 1,
    "test_batch_size": 1, "random_seed": 0, "top_k": 1, "ease_lambdas": 1e-3,
    "ease_weights": 0, "ease_denoising": 0, "ease_alphas": 0, "ease_words": 0,
    "star_weights": 1e-3, "average_decay": 0,
    "llm_seed": 0, "llm_permutations": 1, "llm_question_size": 1, "llm_profile": 0, "llm_batch_tokens": 1,
    "llm_concurrency": 1, "llm_timeout": 1,
    "sampler_candidates": 1, "sampler_top": 1,
    "hn_alpha": 0, "hn_lambda": 0, "hn_margin": 0, "hn_temperature": 1e-3,
    "hn_tokens": 1, "hn_pairs": 0, "hn_triplets": 1, "hn_tune_epochs": 1, "hn_tune_batch": 2, "hn_tune_rate": 0,
    "hn_lora_rank": 1,
    **conrec.LEAST,
}  # fmt: skip
MOST = {
    "random_seed": 2**32 - 1, "llm_seed": 2**32 - 1, "llm_question_size": 10, "siren_dropout": 0.99,
    "average_decay": 0.999999, "hn_alpha": 1,
    **conrec.MOST,
}  # fmt: skip
OF_DATA_SET = {"layers": 4, "r": 100}  # where the data set's row in preparation/sources.py names no other
OF_TRAINING = {  # by gradient
    "learning_rate", "batch_size", "epochs", "early_stopping_step", "evaluation_step", "average_decay",
}
OF_MODELS = OF_TRAINING.union(*(row.flags for row in MODELS.values()))
IDLE = {  # a flag that leaves others without a use
    ("no_autoencoder", True): {"hidden_dim", "lambda_ae", "no_alignment", "precision"},
    ("loss", "bpr"): {"n_negatives", "negatives"},
    ("device", "cpu"): {"deterministic"},  # a CPU is so anyway
    ("ease_side", "user"): {"ease_words"},
    ("sampler", "uniform"): {"sampler_candidates", "sampler_top", "ahns"},
    ("sampler", "popularity"): {"sampler_candidates", "sampler_top", "ahns"},
    ("sampler", "dns"): {"ahns"},
    ("sampler", "mixgcf"): {"sampler_top", "ahns"},
    ("sampler", "ahns"): {"sampler_top"},
    ("backbone", "MF"): {"layers"},
    ("rank_loss", "bpr"): {"hn_margin"},
    ("hn_lambda", 0.0): {"hn_temperature"},
    ("hard", "none"): OF_VECTORS | STAGE,
    **{("hard", source): TUNING for source in ("untuned", "text", "noise_gauss", "noise_const")},
}
ACTIONS = ("resume", "verbose")  # what to do now: no setting of the run
NO_DEFAULT = {  # what help says of a flag without a default of its own
    "n_negatives": "a tenth of the items",
    "path_name": "model, labels, changed flags and seed",
}


class Help(argparse.RawDescriptionHelpFormatter):
    """Help with short names for values and with the defaults that models and data sets have."""

    def _get_default_metavar_for_optional(self, action):
        return {int: "N", float: "X", Path: "PATH"}.get(action.type, "NAME")

    def _get_help_string(self, action):
        default = default_in_words(action)
        return f"{action.help} (default: {default})" if default else action.help


def default_in_words(action):
    """The default of a flag, and where models or data sets have another; None where there is none."""
    first, others = action.default, {}
    if first is None:
        first = OF_DATA_SET.get(action.dest, NO_DEFAULT.get(action.dest))
        for name, data_set in DATASETS.items():
            others[name] = data_set.defaults.get(action.dest)
        for name, row in MODELS.items():
            others[name] = row.defaults.get(action.dest)
        others["--hn_official"] = OFFICIAL.get(action.dest)
        first = first or others["ReFINe++"] or others["HNLMRec"]
    if first is None or first is False or first == argparse.SUPPRESS:
        return None
    names_of = {}
    for name, value in others.items():
        if value not in (None, first):
            names_of.setdefault(value, []).append(name)
    words = " ".join(map(str, first)) if isinstance(first, list) else str(first)
    for value, names in names_of.items():
        words += f"; {', '.join(names)}: {value}"
    return words


def parser(examples=None):
    """examples: what --help ends with."""
    usage = "python main.py --dataset NAME [--model NAME] [flags]"
    parser = argparse.ArgumentParser(
        usage=usage, description=ABOUT, epilog=examples, formatter_class=Help, allow_abbrev=False
    )
    parser.error = lambda message: sys.exit(shell.fail(f"{message} (--help lists the flags)"))
    names = ", ".join(DATASETS)

    add = parser.add_argument_group("what to run").add_argument
    add("--dataset", help=f"{names}, or the path of a folder with one .inter and one .item file")
    add("--half_stars", choices=["up", "down"],
        help="round the half stars of your own data set (0.5 becomes 1 both ways); without it they are refused")
    add("--model", default="ReFINe++", choices=list(MODELS), help="the recommender to train")
    add("--dataset_augment", choices=["augment", "original"],
        help="train on refined ratings, or on the ratings as they are (no refinement)")
    add("--random_seed", type=int, default=2024, help="of initial weights, shuffling and negative sampling")

    group = parser.add_argument_group("language model, which sorts each user's 2s and 3s")
    refinement.add_flags(group.add_argument)

    add = parser.add_argument_group("models that learn by gradient").add_argument
    add("--embedding_dim", type=int, default=64, help="dimensions of embeddings and codes")
    add("--layers", type=int, help="propagation layers of LightGCN")
    add("--real_neg_samp_prob", type=float, default=1.5,
        help="ReFINe and ReFINe++: gamma, sampling weight of a confirmed negative (else 1)")
    add("--lambda_reg", type=float, help="weight of the embeddings' square norm (ReFINe++: of ||E||^2 / 2)")
    add("--n_negatives", type=int, help="sampled negatives: of a batch (ReFINe++), of an edge (SiReN)")

    add = parser.add_argument_group("ReFINe++").add_argument
    add("--loss", default="rw_ssm", choices=["rw_ssm", "bpr"],
        help="ReFINe++: rw_ssm, or bpr: one negative for each positive, drawn with the same weights")
    add("--negatives", default="shared", choices=["shared", "per_user"],
        help="ReFINe++: shared: one set of sampled negatives a batch, as in the released code; per_user: a set a user")
    add("--graph", default="signed", choices=["signed", "positive"],
        help="ReFINe++: signed: confirmed negatives are ordinary edges, as in the released code; positive: no edges")
    add("--star_weights", type=float, nargs=3, default=[1, 1, 1],
        help="ReFINe++: weights in the ranking loss of refined ratings (a 2 or 3 that is liked), of 4s and of 5s")
    add("--hidden_dim", type=int, default=600, help="ReFINe++: hidden units of the autoencoders")
    add("--lambda_ae", type=float, default=1e-5, help="ReFINe++: weight of ||autoencoder parameters||^2 / 2")
    add("--precision", default="float32", choices=["float32", "bfloat16"],
        help="ReFINe++: of the autoencoders' products; bfloat16 is faster where the processor has it")
    add("--no_autoencoder", action="store_true", help="ReFINe++: leave out the autoencoders and their alignment")
    add("--no_alignment", action="store_true",
        help="ReFINe++: train the autoencoders, but let the embeddings know nothing of it")

    models.add_flags(parser.add_argument_group)
    group = parser.add_argument_group("hard negatives of HNLMRec, made by a language model")
    negatives.add_flags(group.add_argument)
    group = parser.add_argument_group("CoNRec, which predicts what a user will dislike next")
    conrec.add_flags(group.add_argument)

    add = parser.add_argument_group("training").add_argument
    add("--learning_rate", type=float, help="of Adam")
    add("--batch_size", type=int, default=1024, help="train edges a step")
    add("--epochs", type=int, default=1000, help="at most this many")
    add("--early_stopping_step", type=int, default=50, help="evaluations in a row without a better Recall@20")
    add("--average_decay", type=float, default=0,
        help="evaluate and keep the running mean of the weights over steps, with this decay (such as 0.9995); 0: don't")
    add("--evaluation_step", type=int, default=1, help="epochs between two evaluations")
    add("--test_batch_size", type=int, default=1024, help="users ranked at once: bounds memory, changes no result")
    add("--top_k", type=int, nargs="+", default=[5, 10, 15, 20], help="cut-offs of the metrics")
    add("--device", default="auto", help="auto (CUDA if there is one), cpu, cuda, cuda:1")
    add("--deterministic", action="store_true", help="CUDA: the same numbers every time, slower; a CPU does so anyway")
    add("--verbose", action="store_true", help="on a terminal: print every epoch, as into log.txt")

    add = parser.add_argument_group("files").add_argument
    add("--data_dir", type=Path, default=Path("data"), help="each data set has a folder in it")
    add("--result_dir", type=Path, default=Path("result"), help="run folders are <result_dir>/<dataset>/<path_name>")
    add("--path_name", help="name of the run folder")
    add("--resume", action="store_true",
        help="go on with the run in the run folder; with more --epochs also where these were all done")

    add = parser.add_argument_group("looking at a finished run, instead of --dataset").add_argument
    add("--recommend", metavar="USER", help="print what the run recommends to this user, and what it knows of them")
    conrec.add_looking_flags(add)
    add("--run", type=Path, help="the run folder")
    return parser  # fmt: skip


def parse(argv=None, examples=None):
    """Command line -> options, with the model's own defaults filled in and without the flags it has no use for.

    examples: what --help ends with.  Raises InputError for a value out of range and for a flag that would change
    nothing.
    """
    command_line = parser(examples)
    options = command_line.parse_args(argv)
    training = options.dataset is not None
    looking = [options.recommend, options.filter].count(None) == 1
    if training == looking or looking != (options.run is not None):
        raise InputError(
            "give --dataset to train, --recommend USER with --run PATH to look at a finished run, or --filter RUN with "
            "--run PATH to filter what it recommends"
        )
    check_values(options)
    if options.filter is None:
        refuse_idle(options, [({"filter_pool"}, "has no use without --filter")], vars(command_line.parse_args([])))
        del options.filter, options.filter_pool
    else:
        del options.recommend
    if training:
        del options.recommend, options.run
    options.top_k = sorted(set(options.top_k))

    row, defaults = MODELS[options.model], vars(command_line.parse_args([]))
    of_others = OF_MODELS - used_by(row)
    refuse_idle(options, [(of_others, f"{options.model} has no use for it; leave it out")], defaults)
    for name in of_others:
        delattr(options, name)  # a model that reads it all the same will be noticed
    given = argparse.Namespace(**vars(options))
    if getattr(options, "hn_official", False):
        fill_in(options, OFFICIAL)
    fill_in(options, row.defaults)
    if options.model == "CoNRec":
        conrec.fill_in(options)
        conrec.check(options)
    refuse_idle(given, idle(options), defaults)
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
    if not any(options.ease_weights):
        raise InputError("--ease_weights 0 0 0 0 0: at least one star must weigh something")
    if options.sampler_top > options.sampler_candidates:
        top, candidates = options.sampler_top, options.sampler_candidates
        raise InputError(f"--sampler_top {top}: must be at most --sampler_candidates, {candidates}")
    if not all(map(math.isfinite, options.ahns)) or options.ahns[2] >= 0:
        words = " ".join(f"{number:g}" for number in options.ahns)
        raise InputError(f"--ahns {words}: must be three finite numbers, the last below 0")
    if options.path_name and Path(options.path_name).name != options.path_name:
        raise InputError(f"--path_name {options.path_name}: must be a name; --result_dir says where")


def used_by(row):
    """The model and training flags that a model has a use for.  row: of MODELS."""
    return row.flags | OF_TRAINING if row.by_epochs else row.flags


def idle(options):
    """Yields (flags, why they change nothing) beside the others of these options."""
    for (flag, value), names in IDLE.items():
        if getattr(options, flag, None) == value:
            cause = f"--{flag}" if value is True else f"--{flag} {value}"
            yield names, f"{cause} leaves it without a use; leave one of them out"
    in_use = frozenset()  # flags of the refinement that have another use, too
    if options.model == "HNLMRec":
        yield from negatives.idle(options)
        in_use = negatives.shared(options)
    if options.model == "CoNRec":
        yield from conrec.idle(options)
        in_use = conrec.SHARED
    if options.half_stars is None:
        yield {"half_stars"}, ""  # not given
    if MODELS[options.model].closed_form:
        yield {"deterministic"}, f"{options.model} has no use for it; leave it out"
    if options.dataset_augment == "original":
        why = "nothing is refined, the ratings are used as they are; add --dataset_augment augment"
        yield REFINEMENT - in_use, why
    else:
        for names, why in refinement.idle(options.llm, options.llm_mode, options.llm_url):
            yield names - in_use, why


def fill_in(options, defaults):
    for name, value in defaults.items():
        if getattr(options, name, value) is None:
            setattr(options, name, value)


def of_data_set(options, name):
    """Fill in what the data set decides where neither a flag nor the model did."""
    own = DATASETS[name].defaults if name in DATASETS else {}
    fill_in(options, OF_DATA_SET | own)


def given_data_dir(options):
    """--data_dir of a command that looks at a finished run, None where it is not given: the run knows its own."""
    default = parser().get_default("data_dir")
    return None if options.data_dir == default else options.data_dir


def changed(options, name):
    """{flag: value} of the flags that are not at their defaults.  name: of the data set.

    --hn_official stands for what it fills in.
    """
    official = getattr(options, "hn_official", False)
    default = parse(["--dataset", options.dataset, "--model", options.model, *(["--hn_official"] if official else [])])
    of_data_set(default, name)
    if official:
        default.hn_official = False
    return {flag: value for flag, value in vars(options).items() if value != getattr(default, flag)}


def ablation(options, name):
    """The changed model and training flags: what makes this run another experiment than its model's default."""
    return {flag: value for flag, value in changed(options, name).items() if flag in OF_MODELS}


def settings(options):
    """The effective settings, as plain JSON values: what the run uses, and nothing that it ignores."""
    without_use = set(ACTIONS).union(*(names for names, _ in idle(options)))
    plain = {}
    for flag, value in vars(options).items():
        if flag not in without_use:
            plain[flag] = str(value) if isinstance(value, Path) else value
    return plain
