"""Runs with --hold_out dislikes, as tables: what a list shows of what people like and dislike.

    python results4comparison/table.py dislikes             of the kept runs
    python results4comparison/table.py result/ML-100K/*     of your own runs, below the other tables

The first table's p values are of the difference to ReFINe++ without autoencoders on the ratings as they
are, in large batches.  The comparisons of the second were named before any of them was looked at.
"""

from collections import defaultdict

import pandas as pd

from results4comparison import hard_negatives, kept_runs
from results4comparison.differences import add_differences
from results4comparison.experiments import PROTOCOLS, find
from results4comparison.formatting import Table
from results4comparison.names import (
    AS_THEY_ARE,
    AUTHORS,
    LARGE_BATCHES,
    WITHOUT_OUR_MODEL,
    kind_of_labels,
    lets_dislikes_count,
    mark_as_seen,
)

IN_TIME = "hold_out_dislikes_time"
RULE, RANDOM = WITHOUT_OUR_MODEL["rule"], WITHOUT_OUR_MODEL["random"]
MINILM, MINILMS = "our all-MiniLM-L6-v2", "labels of all-MiniLM-L6-v2-embed"
GEMMA, GEMMAS = "our gemma-3-270m-Q4_K_M.gguf, score", "labels of gemma-3-270m-Q4_K_M.gguf-score"
LLAMA = mark_as_seen(AUTHORS)
SHUFFLED, WITHIN = "{}, shuffled", "{}, shuffled within users"
THEIRS = "the authors' labels"
WITHOUT = {"no_autoencoder": True}
VECTORS = {  # of HNLMRec: those of the published split, whose train part has the held-out dislikes
    hard: f"data/ML-100K/negatives/original/template-all-MiniLM-L6-v2-{source}"
    for hard, source in {"tuned": "tuned", "shuffled": "tuned", "noise_gauss": "gauss", "text": "text"}.items()
}
NAMED = [  # (the question, labels and flags beside LARGE_BATCHES, those that they are set against)
    ("Llama-2-7b, or its labels shuffled?", (LLAMA, WITHOUT), (mark_as_seen(SHUFFLED.format(THEIRS)), WITHOUT)),
    ("Llama-2-7b, or shuffled within users?", (LLAMA, WITHOUT), (mark_as_seen(WITHIN.format(THEIRS)), WITHOUT)),
    ("MiniLM, or its labels shuffled?", (MINILM, WITHOUT), (SHUFFLED.format(MINILMS), WITHOUT)),
    ("MiniLM, or shuffled within users?", (MINILM, WITHOUT), (WITHIN.format(MINILMS), WITHOUT)),
    ("Gemma 3 270M, or its labels shuffled?", (GEMMA, WITHOUT), (SHUFFLED.format(GEMMAS), WITHOUT)),
    ("Gemma 3 270M, or shuffled within users?", (GEMMA, WITHOUT), (WITHIN.format(GEMMAS), WITHOUT)),
    ("Gemma 3 270M, or 3s liked, 2s not?", (GEMMA, WITHOUT), (RULE, WITHOUT)),
    ("Gemma 3 270M, or random labels?", (GEMMA, WITHOUT), (RANDOM, WITHOUT)),
    ("autoencoders, or none? (ratings as they are)", (AS_THEY_ARE, {}), (AS_THEY_ARE, WITHOUT)),
    ("autoencoders, or none? (Llama-2-7b)", (LLAMA, {}), (LLAMA, WITHOUT)),
    ("confirmed negatives as edges, or not?", (LLAMA, WITHOUT), (LLAMA, WITHOUT | {"graph": "positive"})),
    ("gamma 1.5, or 1?", (LLAMA, WITHOUT), (LLAMA, WITHOUT | {"real_neg_samp_prob": 1.0})),
]
CHOICES = {  # {what somebody wants: a kept run of the experiment on ML-100K that gives it}
    "many likes, few dislikes": "rpp_rule_n_1000_kappa_3.0_graph_positive_stars_0.3_1_1.5_2024",
    "fewer dislikes, by a blend of several": "two_minus_cost_2_cost_2.0_2024",
    "few dislikes, in seconds": "ease_w_-0.6_-0.6_0.3_1_1.2_words_2024",
    "the published method": "rpp_llama_2024",
    "the same, refined by a rule": "rpp_rule_2024",
    "the same, not refined": "rpp_2024",
    "a baseline": "lightgcn_2024",
    "a baseline, in a second": "ease_2024",
}
METRICS = {"recall@20": "Recall@20", "dislikes@20": "dislikes shown"}  # what rows are compared in
P_VALUES = [f"{title}, p, Holm" for title in METRICS.values()]
TESTS = ["Recall@20, difference", P_VALUES[0], "dislikes shown, difference", P_VALUES[1]]
TRIED = ["validation Recall@20", "validation dislikes shown", "Recall@20", "dislikes shown"]
PRINTED = {  # {name of the CSV: (a sentence above the table, the columns that are printed)}
    "dislikes": (
        "p is of the difference to ReFINe++ without autoencoders on the ratings as they are.",
        ["model", "labels", "seeds", "Recall@20", P_VALUES[0], "dislikes shown", P_VALUES[1]],
    ),
    "dislikes_named": ("The first less the second, as named beforehand:", ["the first, or the second?", *TESTS]),
    "dislikes_vectors": (
        "HNLMRec's tuned vectors, which were made with the held-out dislikes, less others:",
        ["tuned vectors", "less", *TESTS],
    ),
    "dislikes_goals": (
        "Models in which dislikes count against items, and blends, less ReFINe++:",
        ["model", "less ReFINe++ on", "dislikes, of its", *TESTS],
    ),
    "dislikes_one_seed": ("One seed each, of which no interval is known:", ["model", "labels", *TRIED]),
}


def show_choices():
    """{name: Table} of which model to use for what: CHOICES, with the likes found and the dislikes shown."""
    table = kept_runs.read_experiments(lambda run: run["dataset"] == "ML-100K", "hold_out_dislikes")
    rows = []
    for wish, name in CHOICES.items():
        (found,) = table[[name in names for names in table["names"]]].to_dict("records")
        rows.append({"you want": wish} | found)
    rows = pd.DataFrame(rows).drop(columns="run")  # the flags of the names stand in docs/dislikes.md
    columns = ["you want", "model", "labels", "seeds", "Recall@20", "dislikes shown", "train seconds"]
    return {"choose": Table(rows, columns, headings=False)}


def compare_dislikes():
    """{name: Table} of all protocols by which dislikes are held out."""
    parts = defaultdict(list)
    for protocol in PROTOCOLS:
        table = kept_runs.read_experiments(lambda run: True, protocol)
        several, tried = table[~table["one seed"]], table[table["one seed"]]
        sides = []
        for _, row in several.iterrows():
            sides.append((row, find_labels(several, row["data set"], AS_THEY_ARE, WITHOUT)))
        tables = [compare_both(several, sides)]
        vectors = compare_both(*hard_negatives.name_comparisons(several, VECTORS))
        tables += [compare_named(several), vectors, compare_goals(several), tried]
        split = ", split in time" if protocol == IN_TIME else ""
        for name, rows in zip(PRINTED, tables, strict=True):
            if len(rows):
                parts[name].append(rows.assign(**{"data set": rows["data set"] + split}))
    tables = {}
    for name, rows in parts.items():
        above, columns = PRINTED[name]
        tables[name] = Table(pd.concat(rows), columns, above)
    return tables


def compare_both(rows, sides):
    """The rows with the differences of sides, [(experiment, experiment), ...], in both METRICS."""
    for metric, title in METRICS.items():
        found = [kept_runs.compare_users(ours, theirs, metric) for ours, theirs in sides]
        rows = add_differences(rows, found, f"{title}, ")
    return rows


def compare_named(table):
    """The comparisons of NAMED of which there are runs."""
    rows, sides = [], []
    for dataset in table["data set"].unique():
        for question, ours, theirs in NAMED:
            both = find_labels(table, dataset, *ours), find_labels(table, dataset, *theirs)
            if all(side is not None for side in both):
                rows.append([dataset, question])
                sides.append(both)
    return compare_both(pd.DataFrame(rows, columns=["data set", "the first, or the second?"]), sides)


def compare_goals(table):
    """What lets dislikes count against items, and blends, each less ReFINe++ on the authors' labels.

    Where there are none, on the rule's.  What shows the fewest dislikes stands last.
    """
    rows, sides = [], []
    table = table.sort_values(["data set", "dislikes shown"], ascending=[True, False])
    for _, row in table.iterrows():
        base = find_labels(table, row["data set"], LLAMA, WITHOUT)
        if base is None:
            base = find_labels(table, row["data set"], RULE, WITHOUT)
        if base is None or not (row["run"]["model"] == "Blend" or lets_dislikes_count(row["run"])):
            continue
        share = f"{row['dislikes shown'] / base['dislikes shown']:.0%}"
        rows.append([row["data set"], row["model"], row["flags"], kind_of_labels(base["run"]), share])
        sides.append((row, base))
    columns = ["data set", "model", "flags", "less ReFINe++ on", "dislikes, of its"]
    return compare_both(pd.DataFrame(rows, columns=columns), sides)


def find_labels(table, dataset, labels, flags):
    """The experiment of ReFINe++ with these labels, and these flags beside LARGE_BATCHES; None."""
    return find(table, dataset, "ReFINe++", LARGE_BATCHES.get(dataset, {}) | flags, labels)
