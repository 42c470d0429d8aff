"""What runs are called in tables and pictures: their labels, model and flags in words."""

import re

from options.models import MODELS
from options.refinement import ENOUGH
from options.run_name import flag_words, without_commas

AUTHORS = "the authors' Llama-2-7b"
AS_THEY_ARE = "none: ratings as they are"
WITHOUT_OUR_MODEL = {
    "published": AUTHORS,
    "rule": "no model: 3s liked, 2s not",
    "twos": "no model: 2s not liked, 3s open",
    "random": "no model: every 2 and 3 at random, at the authors' rates",
    "file": "labels as found",
}

# Recipes: names for several flags at once.  The first that a run has is taken, then those that the rest
# of its flags has.
LARGE_BATCHES = {  # at which labels are compared; on ML-1M a run at the defaults takes hours
    "ML-100K": {"learning_rate": 0.006, "batch_size": 4096, "average_decay": 0.998},
    "ML-1M": {"learning_rate": 0.02, "batch_size": 16384, "early_stopping_step": 10, "average_decay": 0.997},
}
DISLIKES_COUNT = {"n_negatives": 1000, "kappa": 3.0, "graph": "positive", "star_weights": [0.3, 1.0, 1.5]}
STARS = {"star_weights": [0.6, 1.0, 1.2], "no_autoencoder": True}
SLOWER = {"n_negatives": 1000} | STARS | {"learning_rate": 0.01, "batch_size": 4096, "average_decay": 0.9992}
EASE_STARS = {"ease_weights": [0.2, 0.3, 0.6, 1.0, 1.2]}
MANY_RIDGES = {"ease_denoising": [0.0, 0.5, 1.0, 2.0], "ease_alphas": [0.0, 0.25, 0.5]}
RIDGES = {"ease_denoising": [0.5, 1.0], "ease_alphas": [0.0, 0.25]}
FEW_RIDGES = {"ease_lambdas": [10.0, 20.0, 50.0], "ease_denoising": [0.5, 1.0], "ease_alphas": [0.25]}
WORDS_OF_ITEMS = {"ease_words": [0.5, 1.0, 2.0]}
RECIPES = [
    ("star weights, slower", SLOWER),
    ("star weights", EASE_STARS | MANY_RIDGES),
    ("star weights and words", EASE_STARS | RIDGES | WORDS_OF_ITEMS),
    ("star weights", EASE_STARS | RIDGES),
    ("words", RIDGES | WORDS_OF_ITEMS),
    ("words", FEW_RIDGES | {"ease_words": [1.0]}),
]
for large in LARGE_BATCHES.values():
    RECIPES += [
        ("fewer dislikes", DISLIKES_COUNT | {"no_autoencoder": True} | large),
        ("star weights", STARS | large),
        ("likes as edges", {"graph": "positive", "no_autoencoder": True} | large),
        ("large batches", large),
    ]
FLAGS_IN_WORDS = {  # a flag, or a flag with a value
    "no_autoencoder": "no autoencoders", "loss bpr": "BPR", "negatives per_user": "negatives per user",
    "graph positive": "likes as edges", "real_neg_samp_prob": "γ {}", "kappa": "κ {}",
    "n_negatives": "{} negatives", "star_weights": "stars {}", "ease_weights": "stars {}",
    "early_stopping_step": "patience {}", "lambda_reg": "λ {}",
    "ease_side user": "between users", "precision": "{}", "rejection": "rejection {}",
    "hard none": "no vectors", "hard shuffled": "vectors shuffled", "hard noise_gauss": "Gaussian noise",
    "hard text": "vectors of titles", "hn_folder": "", "backbone MF": "on MF",
    "hn_alpha": "α {}", "hn_lambda": "λ {}",
    "hn_official": "as released", "hn_adapter joint": "joint adapter", "rank_loss hinge": "hinge loss",
    "sampler dns": "DNS", "sampler mixgcf": "MixGCF", "sampler ahns": "AHNS",
    "sampler_candidates": "{} candidates", "sampler_top": "top {}",
}  # fmt: skip


def labels_of(run, with_hash=False):
    """What the run was trained on, in words.  run: a summary.  with_hash: another prompt has the name of its own."""
    words = kind_of_labels(run, with_hash)
    return mark_as_seen(words) if run.get("labels_saw_dislikes") else words


def mark_as_seen(words):
    """Labels that were made with the held-out dislikes at hand."""
    return f"{words} (made with the held-out dislikes)"


def kind_of_labels(run, with_hash=False):
    """Whose labels, whatever they have seen."""
    if run["dataset_augment"] == "original":
        return AS_THEY_ARE
    if run["llm"] == "shuffled":
        whose = f"labels of {run['shuffled']}" if run.get("shuffled") else "the authors' labels"
        return f"{whose}, shuffled" + (" within users" if run.get("llm_shuffle") == "user" else "")
    if run["llm"] in WITHOUT_OUR_MODEL:
        return WITHOUT_OUR_MODEL[run["llm"]]
    name = f"our {run['llm'].split('/')[-1]}"
    if run["llm_mode"] in (None, "embed"):
        return name
    card = run.get("refinement") or {}
    share = card.get("answered", 1) / max(card.get("candidates", 1), 1)
    # labels of a model that said little are hardly its own
    silent = f" ({share:.0%} answered)" if share < ENOUGH else ""
    name = f"{name}, {run['llm_mode']}{silent}"
    if "prompt" in run:  # --llm_prompt
        name += f", prompt {run['prompt']}" + (f" {run['prompt_hash']}" if with_hash else "")
    if "users" in run:  # --llm_users
        name += f", {run['users']} users"
    return name


def write_flags(run):
    """The flags that make the run another experiment than its model's default."""
    given = dict(run["flags"])
    if "blend" in given:  # older runs name its parts with commas
        given["blend"] = list(map(without_commas, given["blend"]))
    return " ".join(flag_words(given))


def name_system(run):
    """The model; of HNLMRec also who wrote its profiles and made its vectors."""
    made_by = run.get("negatives")
    if not made_by:
        return run["model"]
    writer = "templates" if made_by["writer"] == "template" else made_by["writer"].split("/")[-1]
    return f"{run['model']} ({writer}, {made_by['encoder'].split('/')[-1]})"


def is_closed(run):
    """Whether nothing in a run is random.  A blend, which does not tell of its parts, may be."""
    row = MODELS[run["model"]]
    return run["model"] != "Blend" and row.closed_form and not row.chance


def lets_dislikes_count(run):
    """Whether dislikes count against items in a model: kappa, negative stars, rejection."""
    flags = run["flags"]
    return bool(flags.get("kappa") or flags.get("rejection") or min(flags.get("ease_weights", [0])) < 0)


# ---------------------------------------------------------------------------------------- short names


def find_recipes(flags):
    """([(name, its flags), ...] of the RECIPES that are among flags, the flags in none of them)."""
    found, rest = [], dict(flags)
    for name, recipe in RECIPES:
        if recipe.items() <= rest.items():
            found.append((name, recipe))
            rest = {flag: value for flag, value in rest.items() if flag not in recipe}
    return found, rest


def shorten(run):
    """The model and its flags in words, such as "EASE, star weights and words"."""
    if run["model"] == "Blend":
        return shorten_blend(run["flags"])
    recipes, rest = find_recipes(run["flags"])
    words = [name_system(run).removesuffix(" (templates, all-MiniLM-L6-v2)")]  # HNLMRec's defaults
    for flag, value in rest.items():
        one = FLAGS_IN_WORDS.get(f"{flag} {value}", FLAGS_IN_WORDS.get(flag))
        if one is None:
            one = " ".join(flag_words({flag: value}))
        words.append(one.format(write_value(value)))
    words += [name for name, _ in recipes]
    return ", ".join(filter(None, words))


def write_value(value):
    if isinstance(value, list):
        return " ".join(map(write_value, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def shorten_blend(flags):
    """The parts of a blend by what tells them apart: κ, EASE's weights of stars."""
    words = []
    for part in flags["blend"]:
        n, _, part = part.rpartition(" x ")
        model = {"stars": "ReFINe++", "ease": "EASE"}.get(part.split("_")[0], part.split("_")[0])
        kappa = re.search(r"_kappa_([\d.]+)", part)
        weights = re.search(r"_ease_weights_([-\d.,+]+)", part)
        if kappa:
            model += f" κ {kappa[1]}"
        if weights:
            model += " " + re.sub("[,+]", " ", weights[1])
        words.append(f"{n} x {model}" if n else model)
    cost = f", cost {flags['dislike_cost']:g}" if flags.get("dislike_cost") else ""
    return f"Blend: {' + '.join(words)}{cost}"


def list_recipes(runs):
    """A line of Markdown for each recipe in the names of these summaries: data sets and flags."""
    datasets = {}
    for run in runs:
        if run["model"] != "Blend":
            for name, recipe in find_recipes(run["flags"])[0]:
                of_recipe = datasets.setdefault((name, " ".join(flag_words(recipe))), {})
                of_recipe[run["dataset"]] = None  # a set in order
    return [f"- {name} ({', '.join(own)}): `{flags}`" for (name, flags), own in datasets.items()]
