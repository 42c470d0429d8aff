"""The name of a run folder: what tells its experiment from every other on the data set.

    ReFINe++_2024      ReFINe++_rule_2024      ReFINe++_authors_no_autoencoder_2024      LightGCN_layers_2_2024

Two experiments never have one name.  (Two names for one are possible, such as a flag given as what "auto" picks.)
"""

import hashlib
from pathlib import Path

from options import command_line
from options.models import MODELS
from options.refinement import DEFAULT_LLM
from preparation.sources import DATASETS
from utils import git_blob_id

LONGEST = 200  # characters; a file system allows 255 bytes
NOT_NAMED = {  # flags that change no experiment, or for which the name has words of its own
    "dataset", "model", "random_seed", "dataset_augment", "llm", "llm_url", "llm_concurrency", "llm_timeout",
    "test_batch_size", "device", "deterministic", "data_dir", "result_dir", "path_name", "resume", "verbose",
}  # fmt: skip


def run_name(options, name, folder):
    """options: of command_line.parse and command_line.of_data_set.  name: of the data set.  folder: of its CSVs."""
    words = [options.model, *words_of_labels(options, folder / f"{name}_train_augment.csv", DATASETS.get(name))]
    if options.model == "CoNRec" and options.llm != "auto":
        words.append(short_name(options.llm))
    for flag, value in command_line.changed(options, name).items():
        if flag not in NOT_NAMED:
            words.append(flag if value is True else f"{flag}_{in_word(value)}")
    words = "_".join(words)
    if len(words) > LONGEST:
        words = f"{words[:LONGEST]}-{short_hash(words)}"
    return f"{words}_{options.random_seed}"


def words_of_labels(options, labels, known):
    """What the ratings are refined by: nothing where that is what the model does by default, with the default LLM.

    labels: path of the train_augment CSV in the data folder, which is there or not.  known: row of DATASETS, or None.
    """
    words = []
    if options.dataset_augment != MODELS[options.model].defaults["dataset_augment"]:
        words.append(options.dataset_augment)
    if options.dataset_augment == "original":
        return words
    if options.llm_url:
        model = options.llm if options.llm != "auto" else options.llm_url
        return [*words, f"served-{short_name(model)}"]
    if options.llm in ("rule", "random", "shuffled"):
        words.append(options.llm)
    elif options.llm not in ("auto", DEFAULT_LLM):
        words.append(short_name(options.llm))
    if options.llm in ("auto", "shuffled") and labels.exists():
        published = known and git_blob_id(labels) == known.labels
        words.append("authors" if published else f"labels-{git_blob_id(labels)[:8]}")
    return words


def short_name(model):
    """The last part of a language model's name, folder or address, and a hash that tells it from its namesakes."""
    path = Path(model)
    whole = str(path.resolve()) if path.is_dir() else model
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


def flag_words(flags):
    """{"loss": "bpr", "no_autoencoder": True} -> ["--loss bpr", "--no_autoencoder"]"""
    words = []
    for name, value in flags.items():
        values = value if isinstance(value, list) else [value]
        words.append(" ".join([f"--{name}", *map(str, values)]).removesuffix(" True"))
    return words
