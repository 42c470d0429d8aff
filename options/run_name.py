"""The name of a run folder: what tells its experiment from every other on the data set.

    ReFINe++_2024      ReFINe++_rule_2024      ReFINe++_authors_no_autoencoder_2024      LightGCN_layers_2_2024

Two experiments never have one name.  (Two names for one are possible, such as a flag given as what "auto" picks.)
"""

import hashlib
from pathlib import Path

from options.command_line import FLAGS
from options.refinement import DEFAULT_LLM
from preparation.sources import DATASETS
from utils import git_blob_id

LONGEST = 200  # characters; a file system allows 255 bytes


def run_name(options, name, folder):
    """options: command_line.Options.  name: of the data set.  folder: of its CSVs."""
    known = DATASETS.get(name)
    words = [options.run.model, *words_of_labels(options, folder / f"{name}_train_augment.csv", known)]
    if options.run.model == "CoNRec" and options.recommender.llm != "auto":
        words.append(short_name(options.recommender.llm))
    prompt = getattr(options.refinement, "llm_prompt", None)
    if prompt:  # by what it says, wherever it lies
        path = Path(prompt)
        digest = git_blob_id(path)[:8] if path.is_file() else short_hash(prompt)
        words.append(f"prompt_{path.stem}-{digest}")
    for flag, value in options.changed(name).items():
        if FLAGS[flag].more.get("named", True):
            words.append(flag if value is True else f"{flag}_{in_word(value)}")
    words = "_".join(words)
    if options.run.model == "Blend":
        words = without_commas(words)
    if len(words) > LONGEST:
        words = f"{words[:LONGEST]}-{short_hash(words)}"
    return f"{words}_{options.run.random_seed}"


def words_of_labels(options, labels, known):
    """What the ratings are refined by: nothing where that is what the model does by default, with the default LLM.

    labels: path of the train_augment CSV in the data folder, which is there or not.  known: row of DATASETS, or None.
    """
    augment, words = options.run.dataset_augment, []
    if augment != options.row.defaults.get("dataset_augment", "original"):
        words.append(augment)
    if augment == "original":
        return words
    refinement = options.refinement
    if refinement.llm_url:
        model = refinement.llm if refinement.llm != "auto" else refinement.llm_url
        return [*words, f"served-{short_name(model)}"]
    if refinement.llm in ("rule", "twos", "random", "shuffled"):
        words.append(refinement.llm)
    elif refinement.llm not in ("auto", DEFAULT_LLM):
        words.append(short_name(refinement.llm))
    found = refinement.llm == "auto" or (refinement.llm == "shuffled" and not refinement.llm_labels)
    if found and labels.exists():
        published = known and git_blob_id(labels) == known.labels
        words.append("authors" if published else f"labels-{git_blob_id(labels)[:8]}")
    return words


def short_name(model):
    """The last part of a language model's name, folder or address, and a hash that tells it from its namesakes."""
    path = Path(model)
    whole = str(path.resolve()) if path.exists() else model
    return f"{path.name}-{short_hash(whole)}"


def short_hash(text):
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def in_word(value):
    """A value of a flag: 0.001, 1e-07, 5,10."""
    if isinstance(value, list):
        return ",".join(map(in_word, value))
    if isinstance(value, str) and "/" in value:
        return short_name(value)
    if isinstance(value, float) and float(f"{value:g}") == value:
        return f"{value:g}"
    return str(value)


def without_commas(name):
    """The name of a run as blends have it, such as EASE_ease_weights_0+1+1.2.

    Commas part the names of a blend from each other, in tables, and the values of a grid, in study.py.
    """
    return name.replace(",", "+")


def flag_words(flags):
    """{"loss": "bpr", "no_autoencoder": True} -> ["--loss bpr", "--no_autoencoder"]"""
    words = []
    for name, value in flags.items():
        values = value if isinstance(value, list) else [value]
        words.append(" ".join([f"--{name}", *map(str, values)]).removesuffix(" True"))
    return words
