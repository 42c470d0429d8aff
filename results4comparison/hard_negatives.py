"""HNLMRec's vectors against each other, and against samplers that need no language model.

    python results4comparison/table.py negatives

The first table has a row for each experiment in ours/, of the data sets that HNLMRec was run on, with its difference to
the plain run of the same backbone, that is to --hard none, or to the model without its sampler.  The second has the
comparisons of tuned vectors that were named before any of them was looked at, with p values adjusted for their number
by Holm's method.  The third has what was tried with one seed alone, by validation, which is what chose among it.
"""

import pandas as pd

from options.models import HnlmrecSettings
from results4comparison import kept_runs
from results4comparison.differences import add_differences
from results4comparison.experiments import find
from results4comparison.formatting import Table

MODELS = ("MF", "LightGCN", "HNLMRec")
OF_NEGATIVES = ("hard", "hn_", "rank_loss", "sampler", "ahns")  # how flags about negatives begin
BACKBONES = {"LightGCN": {}, "MF": {"backbone": "MF"}}
ALPHAS = (0.1, 0.3)  # where vectors are a share of the negative that can matter
OTHERS = {  # what tuned vectors are compared with, and its --hard
    "no vectors": "none",
    "the same vectors, shuffled among the pairs": "shuffled",
    "Gaussian noise": "noise_gauss",
    "vectors of titles": "text",
}
RIVALS = {  # samplers, with the candidates that validation chose: what the default is compared with, too
    "LightGCN": {
        "DNS(4, 1)": {"sampler": "dns", "sampler_candidates": 4},
        "MixGCF of 4": {"sampler": "mixgcf", "sampler_candidates": 4},
    },
    "MF": {"DNS(16, 4)": {"sampler": "dns", "sampler_candidates": 16, "sampler_top": 4}},
}


def is_about_negatives(run):
    return run["model"] in MODELS and run["dataset_augment"] == "original"


def compare_vectors():
    """{name: Table} of the three tables, of the data sets that HNLMRec was run on."""
    table = kept_runs.read_experiments(is_about_negatives)
    there = table.loc[table["system"].str.startswith("HNLMRec"), "data set"]
    table = table[table["data set"].isin(there)]
    several = table[~table["one seed"]]
    found = [kept_runs.compare_users(row, find_plain(table, row)) for _, row in several.iterrows()]
    columns = ["model", "seeds", "Recall@20", "NDCG@20", "train seconds", "difference", "p, Holm"]
    tables = {"negatives": Table(add_differences(several, found), columns)}

    named, sides = name_comparisons(several)
    named = add_differences(named, [kept_runs.compare_users(*both) for both in sides])
    above = f"{len(named)} comparisons of HNLMRec's tuned vectors, named beforehand:"
    tables["negatives_named"] = Table(named, ["tuned vectors", "less", "difference", "p, Holm"], above)

    tried = table[table["one seed"]].sort_values(["data set", "validation Recall@20"])
    tried = tried.assign(seed=[run["random_seed"] for run in tried["run"]])
    columns = ["model", "seed", "validation Recall@20", "best epoch"]
    tables["negatives_one_seed"] = Table(tried, columns, "One seed each, by validation:")
    return tables


def find_plain(table, row):
    """The experiment of the same model, with the same flags but those about negatives, and without vectors; None."""
    wanted = {name: value for name, value in row["run"]["flags"].items() if not name.startswith(OF_NEGATIVES)}
    if row["run"]["model"] == "HNLMRec":
        wanted["hard"] = "none"
    return find(table, row["data set"], row["run"]["model"], wanted)


def name_comparisons(table, folders=None):
    """(DataFrame of what is compared, [(experiment, experiment), ...]) of the comparisons of tuned vectors."""
    rows, sides = [], []
    for dataset in table["data set"].unique():
        for words, others, *both in find_sides(table, dataset, folders):
            rows.append([dataset, words, others])
            sides.append(both)
    return pd.DataFrame(rows, columns=["data set", "tuned vectors", "less"]), sides


def find_sides(table, dataset, folders=None):
    """Yields what the tuned vectors of a comparison are in, what they are compared with, and both experiments.

    folders: {--hard: --hn_folder} of runs that had their vectors from there; else they made them.
    """

    def with_vectors(hard):
        return own | ({} if hard == "tuned" else {"hard": hard}) | ({"hn_folder": folders[hard]} if folders else {})

    pairs = []
    for backbone, own in BACKBONES.items():
        for alpha in ALPHAS:
            share = {} if alpha == HnlmrecSettings.hn_alpha else {"hn_alpha": alpha}
            for words, hard in OTHERS.items():
                other = own | {"hard": "none"} if hard == "none" else with_vectors(hard) | share
                pairs.append((f"{backbone}, alpha {alpha:g}", words, with_vectors("tuned") | share, other))
        for words, flags in RIVALS[backbone].items():
            pairs.append((f"{backbone}, default", words, with_vectors("tuned"), own | {"hard": "none"} | flags))
    for words, others, *flags in pairs:
        tuned, other = (find(table, dataset, "HNLMRec", each) for each in flags)
        if tuned is not None and other is not None:
            yield words, others, tuned, other
