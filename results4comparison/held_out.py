"""Runs with --hold_out dislikes, as tables: what a list shows of what people like and of what they dislike.

    python results4comparison/table.py dislikes             of the runs kept in ours/hold_out_dislikes/
    python results4comparison/table.py result/ML-100K/*     of your own runs, below the table of the published protocol

Differences are to ReFINe++ without autoencoders on the ratings as they are, at the flags of the data set's other runs.
The second table has the comparisons that were named before any of them was looked at, the third those of HNLMRec's
vectors, the fourth what shows fewer dislikes less released ReFINe++, the fifth what was tried with one seed alone, of
which no interval is known.
"""

import itertools
import re
import statistics

from options.run_name import flag_words, in_word
from results4comparison import hard_negatives, kept_runs
from results4comparison.formatting import (
    AUTHORS,
    PROTOCOLS,
    SHOWN,
    deviation,
    is_one_seed,
    kind_of_labels,
    lets_dislikes_count,
    markdown,
    saw,
    shown_figures,
    tested,
)

# the flags at which labels are compared, by data set
QUICK = {
    "ML-100K": {"learning_rate": 0.006, "batch_size": 4096, "average_decay": 0.998},
    "ML-1M": {"learning_rate": 0.02, "batch_size": 16384, "early_stopping_step": 10, "average_decay": 0.997},
}

AS_THEY_ARE = "none: ratings as they are"
RULE = "no model: 3s liked, 2s not"
RANDOM = "no model: every 2 and 3 at random, at the authors' rates"
MINILM = "our all-MiniLM-L6-v2"
GEMMA = "our gemma-3-270m-Q4_K_M.gguf, score"
LLAMA = saw(AUTHORS)
SHUFFLED, WITHIN = "{}, shuffled", "{}, shuffled within users"
THEIRS, OURS = "the authors' labels", "labels of all-MiniLM-L6-v2-embed"
GEMMAS = "labels of gemma-3-270m-Q4_K_M.gguf-score"
WITHOUT = {"no_autoencoder": True}
VECTORS = {  # of HNLMRec: those of the published split, whose train part has the held-out dislikes
    hard: f"data/ML-100K/negatives/original/template-all-MiniLM-L6-v2-{source}"
    for hard, source in {"tuned": "tuned", "shuffled": "tuned", "noise_gauss": "gauss", "text": "text"}.items()
}
NAMED = [  # (the question, labels and flags beside QUICK, those that they are set against)
    ("Llama-2-7b, or its labels shuffled?", (LLAMA, WITHOUT), (saw(SHUFFLED.format(THEIRS)), WITHOUT)),
    ("Llama-2-7b, or shuffled within users?", (LLAMA, WITHOUT), (saw(WITHIN.format(THEIRS)), WITHOUT)),
    ("MiniLM, or its labels shuffled?", (MINILM, WITHOUT), (SHUFFLED.format(OURS), WITHOUT)),
    ("MiniLM, or shuffled within users?", (MINILM, WITHOUT), (WITHIN.format(OURS), WITHOUT)),
    ("Gemma 3 270M, or its labels shuffled?", (GEMMA, WITHOUT), (SHUFFLED.format(GEMMAS), WITHOUT)),
    ("Gemma 3 270M, or shuffled within users?", (GEMMA, WITHOUT), (WITHIN.format(GEMMAS), WITHOUT)),
    ("Gemma 3 270M, or 3s liked, 2s not?", (GEMMA, WITHOUT), (RULE, WITHOUT)),
    ("Gemma 3 270M, or random labels?", (GEMMA, WITHOUT), (RANDOM, WITHOUT)),
    ("autoencoders, or none? (ratings as they are)", (AS_THEY_ARE, {}), (AS_THEY_ARE, WITHOUT)),
    ("autoencoders, or none? (Llama-2-7b)", (LLAMA, {}), (LLAMA, WITHOUT)),
    ("confirmed negatives as edges, or not?", (LLAMA, WITHOUT), (LLAMA, WITHOUT | {"graph": "positive"})),
    ("gamma 1.5, or 1?", (LLAMA, WITHOUT), (LLAMA, WITHOUT | {"real_neg_samp_prob": 1.0})),
]


def lines():
    """The tables of each protocol that runs are kept of."""
    blocks = []
    for protocol, words in PROTOCOLS.items():
        groups = kept_runs.experiments(lambda run: True, protocol)
        if not groups:
            continue
        several = {experiment: runs for experiment, runs in groups.items() if not is_one_seed(runs)}
        tried = {experiment: runs for experiment, runs in groups.items() if is_one_seed(runs)}
        blocks += [[f"Protocol: {words}."], *quick_in_words(groups)]
        blocks += [everything(several, protocol), named(several, protocol), vectors(several, protocol)]
        blocks += [goals(several, protocol), one_seed(tried)]
    return list(itertools.chain.from_iterable([*block, ""] for block in blocks if block))[:-1]


def name_of(experiment, run):
    """The model and its flags; "quick" stands for QUICK.  Of a blend also its parts, without what they all have."""
    quick = QUICK.get(experiment.dataset, {})
    if run["model"] == "Blend":
        rest = {flag: value for flag, value in run["flags"].items() if flag != "blend"}
        parts = [without_common(part, experiment, quick) for part in run["flags"]["blend"]]
        return f"{' '.join([experiment.model, *flag_words(rest)])} of {', '.join(parts)}"
    if not quick or any(run["flags"].get(flag) != value for flag, value in quick.items()):
        return experiment.name
    rest = {flag: value for flag, value in run["flags"].items() if flag not in quick}
    return " ".join([experiment.model, "quick", *flag_words(rest)])


def without_common(part, experiment, quick):
    """The name of a blend's part, as its run folder has it, without the protocol, QUICK and grids."""
    common = [experiment.protocol, "no_autoencoder", *(f"{flag}_{in_word(value)}" for flag, value in quick.items())]
    for word in common:
        part = part.replace(f"_{word}", "")
    return re.sub(r"_ease_(?!weights)[a-z]+_[\d.,+]+", "", part)


def quick_in_words(groups):
    """[[line]] for each data set: what "quick" stands for."""
    datasets = {experiment.dataset for experiment in groups}
    return [[f"quick, {name}: `{' '.join(flag_words(own))}`"] for name, own in QUICK.items() if name in datasets]


def one_seed(groups):
    """A shorter row for each experiment of one seed, with what it was chosen or left by on validation."""
    rows = []
    for experiment, (run,) in ((experiment, runs.values()) for experiment, runs in groups.items()):
        cells = [experiment.dataset, name_of(experiment, run), experiment.labels.removeprefix("none: ")]
        for part in ("validation", "test"):
            values = [run[part][name] for name in ("recall@20", "dislikes@20", "like_auc")]
            cells += ["" if value is None else f"{value:.4f}" for value in values]
        rows.append(cells)
    rows.sort(key=lambda cells: (cells[0], cells[-3]))
    header = ["data set", "model, one seed", "labels"]
    header += [f"{name}, {part}" for part in ("validation", "test") for name in ("Recall@20", "dislikes", "AUC")]
    return markdown(header, rows) if rows else []


def everything(groups, protocol):
    """A row for each experiment, with its differences to the reference; the best Recall of a data set last."""
    rows = []
    for experiment, runs in groups.items():
        base = find(groups, experiment.dataset, AS_THEY_ARE, WITHOUT)
        found = in_both(experiment.dataset, runs, base, protocol) if base and base is not runs else NO_TESTS
        summaries = list(runs.values())
        score = statistics.mean(run["test"]["recall@20"] for run in summaries)
        names = [name_of(experiment, summaries[0]), experiment.labels.removeprefix("none: "), str(len(runs))]
        rows.append((experiment.dataset, score, [experiment.dataset, *names, *shown_figures(summaries)], found))
    rows.sort(key=lambda row: row[:3])
    header = ["data set", "model", "labels", "seeds", *SHOWN.values()]
    return with_differences(header, [cells for *_, cells, _ in rows], [found for *_, found in rows], "difference")


def named(groups, protocol):
    """The comparisons of NAMED of which there are runs."""
    rows, differences = [], []
    for dataset in sorted({experiment.dataset for experiment in groups}):
        for question, ours, theirs in NAMED:
            sides = [find(groups, dataset, *side) for side in (ours, theirs)]
            if all(sides):
                rows.append([dataset, question])
                differences.append(in_both(dataset, *sides, protocol))
    return with_differences(["data set", "the first, or the second?"], rows, differences, "first less second")


def vectors(groups, protocol):
    """HNLMRec's tuned vectors less what hard_negatives.py sets them against: a family of its own."""
    rows, differences = [], []
    for dataset in sorted({experiment.dataset for experiment in groups}):
        for words, others, *runs in hard_negatives.sides(groups, dataset, VECTORS):
            rows.append([dataset, words, others])
            differences.append(in_both(dataset, *runs, protocol))
    header = ["data set", "HNLMRec's tuned vectors (made with the held-out dislikes)", "less"]
    return with_differences(header, rows, differences, "difference")


def goals(groups, protocol):
    """What lets dislikes count against items, and blends, each less ReFINe++ on the authors' labels (by the rule where
    there are none)."""
    rows, differences = [], []
    for experiment, runs in groups.items():
        dataset, summaries = experiment.dataset, list(runs.values())
        base = find(groups, dataset, LLAMA, WITHOUT) or find(groups, dataset, RULE, WITHOUT)
        if not base or not (summaries[0]["model"] == "Blend" or lets_dislikes_count(summaries[0])):
            continue
        shown, theirs = (
            statistics.mean(run["test"]["dislikes@20"] for run in side) for side in (summaries, base.values())
        )
        whose = kind_of_labels(next(iter(base.values())))
        rows.append((shown, [dataset, name_of(experiment, summaries[0]), whose, f"{shown / theirs:.0%}"]))
        differences.append(in_both(dataset, runs, base, protocol))
    order = sorted(range(len(rows)), key=lambda place: (rows[place][1][0], -rows[place][0]))  # the fewest last
    header = ["data set", "dislikes count against", "less ReFINe++ on", "dislikes, of its"]
    rows, differences = [rows[place][1] for place in order], [differences[place] for place in order]
    return with_differences(header, rows, differences, "difference")


TESTS = {"recall@20": "Recall@20", "dislikes@20": "dislikes shown"}  # what rows are compared in
NO_TESTS = [None, None]


def in_both(dataset, ours, theirs, protocol):
    """The Differences under TESTS of two rows of kept runs."""
    return [kept_runs.difference(dataset, ours, theirs, metric, protocol) for metric in TESTS]


def with_differences(header, rows, differences, words):
    """A table of the rows, which begin with their data set, and behind each its differences under TESTS.

    p is by Holm's method within the data set.  No lines where there are no rows.
    """
    if not rows:
        return []
    for place, metric in enumerate(TESTS.values()):
        header = [*header, f"{metric}, {words}", "95 % interval", "p, Holm"]
        cells = tested([(row[0], found[place]) for row, found in zip(rows, differences, strict=True)])
        rows = [[*row, mean, interval, p] for row, (_, mean, interval, _, p) in zip(rows, cells, strict=True)]
    return markdown(header, rows)


def dislikes_of(groups, experiment, run):
    """A cell: what a model of the published protocol shows where dislikes are held out, "" where it was not run.

    groups: of kept_runs.experiments, with dislikes held out.  ReFINe++ at its defaults takes half an hour: its runs
    with QUICK stand for it.
    """
    for other, runs in groups.items():
        summary = next(iter(runs.values()))
        same = (other.dataset, other.model, kind_of_labels(summary)) == experiment[:3]
        at_defaults = experiment.model == "ReFINe++" and not run["flags"]
        if same and summary["flags"] == (QUICK[experiment.dataset] if at_defaults else run["flags"]):
            return deviation([each["test"]["dislikes@20"] for each in runs.values()])
    return ""


def find(groups, dataset, labels, flags):
    """The runs of ReFINe++ with these labels, and these flags beside QUICK; None where there are none."""
    return kept_runs.find(groups, dataset, "ReFINe++", QUICK.get(dataset, {}) | flags, labels)
