"""HNLMRec's vectors against each other, and against samplers that need no language model.

    python results4comparison/table.py negatives

The first table has a row for each experiment in ours/, of the data sets that HNLMRec was run on, with its difference to
the plain run of the same backbone, that is to --hard none, or to the model without its sampler.  The second has the
comparisons of the default, tuned vectors that were named before any of them was looked at, with p values adjusted for
their number by Holm's method.
"""

from results4comparison import formatting, kept_runs
from results4comparison.formatting import markdown

MODELS = ("MF", "LightGCN", "HNLMRec")
OF_NEGATIVES = ("hard", "hn_", "rank_loss", "sampler", "ahns")  # how flags about negatives begin
NAMED = {  # what HNLMRec without flags is compared with, and the flags of that
    "no vectors": {"hard": "none"},
    "its vectors, shuffled among the pairs": {"hard": "shuffled"},
    "vectors of the encoder untuned": {"hard": "untuned"},
    "vectors of titles": {"hard": "text"},
    "DNS(64, 5), no language model": {"hard": "none", "sampler": "dns", "sampler_top": 5},
}
COLUMNS = ["data set", "model", *formatting.FIGURES, *formatting.TESTED]


def is_about_negatives(run):
    return run["model"] in MODELS and run["dataset_augment"] == "original"


def lines():
    """Both tables, with a sentence below."""
    groups = kept_runs.experiments(is_about_negatives)
    there = {experiment.dataset for experiment in groups if experiment.model.startswith("HNLMRec")}
    groups = {experiment: runs for experiment, runs in groups.items() if experiment.dataset in there}
    rows = [kept_runs.row_of(experiment, runs, plain(groups, experiment, runs)) for experiment, runs in groups.items()]
    cells_of = []
    for dataset, model, _, *figures in kept_runs.with_tests(rows):  # the labels are the same in all
        cells_of.append([dataset, model, *figures])
    first = markdown(COLUMNS, cells_of)
    compared = comparisons(groups)
    header = ["data set", "tuned vectors less", *formatting.TESTED]
    note = f"{len(compared)} tests named beforehand; of p values the last column counts."
    return [*first, "", *markdown(header, compared), "", note]


def plain(groups, experiment, runs):
    """The runs of the same model, with the same flags but those about negatives, and without vectors; None."""
    run = next(iter(runs.values()))
    wanted = {name: value for name, value in run["flags"].items() if not name.startswith(OF_NEGATIVES)}
    if run["model"] == "HNLMRec":
        wanted["hard"] = "none"
    return kept_runs.find(groups, experiment.dataset, run["model"], wanted)


def comparisons(groups):
    """Rows of the second table: those comparisons of NAMED of which there are runs."""
    rows, found = [], []
    for dataset in sorted({experiment.dataset for experiment in groups}):
        tuned = kept_runs.find(groups, dataset, "HNLMRec", {})
        for words, flags in NAMED.items():
            other = kept_runs.find(groups, dataset, "HNLMRec", flags)
            if not tuned or not other:
                continue
            rows.append([dataset, words])
            found.append(("named", kept_runs.difference(dataset, tuned, other)))
    return [[*row, *cells] for row, cells in zip(rows, formatting.tested(found), strict=True)]
