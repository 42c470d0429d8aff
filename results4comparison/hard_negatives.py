"""HNLMRec's vectors against each other, and against samplers that need no language model.

    python results4comparison/table.py negatives

The first table has a row for each experiment in ours/, of the data sets that HNLMRec was run on, with its difference to
the plain run of the same backbone, that is to --hard none, or to the model without its sampler.  The second has the
comparisons of tuned vectors that were named before any of them was looked at, with p values adjusted for their number
by Holm's method.  The third has what was tried with one seed alone, by validation, which is what chose among it.
"""

from options.models import HnlmrecSettings
from results4comparison import formatting, kept_runs
from results4comparison.formatting import is_one_seed, markdown

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
COLUMNS = ["data set", "model", *formatting.FIGURES, *formatting.TESTED]


def is_about_negatives(run):
    return run["model"] in MODELS and run["dataset_augment"] == "original"


def lines():
    """The tables, with a sentence below the second."""
    groups = kept_runs.experiments(is_about_negatives)
    there = {experiment.dataset for experiment in groups if experiment.model.startswith("HNLMRec")}
    groups = {experiment: runs for experiment, runs in groups.items() if experiment.dataset in there}
    several = {experiment: runs for experiment, runs in groups.items() if not is_one_seed(runs)}
    rows = [kept_runs.row_of(experiment, runs, plain(groups, experiment, runs)) for experiment, runs in several.items()]
    cells_of = []
    for dataset, model, _, *figures in kept_runs.with_tests(rows):  # the labels are the same in all
        cells_of.append([dataset, model, *figures])
    first = markdown(COLUMNS, cells_of)
    compared = comparisons(several)
    second = markdown(["data set", "tuned vectors", "less", *formatting.TESTED], compared)
    note = f"{len(compared)} tests named beforehand; of p values the last column counts."
    tried = [tried_once(experiment, runs) for experiment, runs in groups.items() if experiment not in several]
    header = ["data set", "model, one seed", "seed", "val recall@20", "best epoch"]
    third = markdown(header, sorted(tried, key=by_score))
    return [*first, "", *second, "", note, *(["", *third] if tried else [])]


def tried_once(experiment, runs):
    """Cells of the third table."""
    (run,) = runs.values()
    score = f"{run['validation']['recall@20']:.4f}"
    return [experiment.dataset, experiment.name, str(run["random_seed"]), score, str(run["best_epoch"])]


def by_score(cells):
    return cells[0], cells[3], cells[1]


def plain(groups, experiment, runs):
    """The runs of the same model, with the same flags but those about negatives, and without vectors; None."""
    run = next(iter(runs.values()))
    wanted = {name: value for name, value in run["flags"].items() if not name.startswith(OF_NEGATIVES)}
    if run["model"] == "HNLMRec":
        wanted["hard"] = "none"
    return kept_runs.find(groups, experiment.dataset, run["model"], wanted)


def comparisons(groups):
    """Rows of the second table."""
    rows, found = [], []
    for dataset in sorted({experiment.dataset for experiment in groups}):
        for words, others, tuned, other in sides(groups, dataset):
            rows.append([dataset, words, others])
            found.append(("named", kept_runs.difference(dataset, tuned, other)))
    return [[*row, *cells] for row, cells in zip(rows, formatting.tested(found), strict=True)]


def sides(groups, dataset, folders=None):
    """Yields what the tuned vectors of a comparison are in, what they are compared with, and the runs of both.

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
        tuned, other = (kept_runs.find(groups, dataset, "HNLMRec", each) for each in flags)
        if tuned and other:
            yield words, others, tuned, other
