"""Runs that predict dislikes (CoNRec and what it is set beside), as tables.

    python results4comparison/table.py negative             of the runs kept in ours/conrec/
    python results4comparison/table.py result/ML-100K/*     of your own runs, below the table of the other models

Rows are runs that differ in the seed alone.  Differences are tested over users and seeds (differences.py).
"""

import json
import shutil
import statistics
from collections import defaultdict

import pandas as pd

from options.conrec import BESIDE, METRICS, PRIMARY
from options.run_name import flag_words
from results4comparison import compare
from results4comparison.differences import Measured, paired
from results4comparison.formatting import TESTED, deviation, markdown, tested

OURS = compare.HERE / "ours" / "conrec"
TITLES = ["HR@20", "FHR@20", "FHR every", "LUF@20", "LIF@20", "LIF strict", "choice", "dislike AUC", "odds AUC"]
ABLATION = (  # in the paper's order: (what a row adds, flags)
    ("translation only", {"conrec_stages": ["translation", "stream"]}),
    ("+ alignment", {"conrec_stages": ["translation", "alignment", "stream"]}),
    ("+ GRPO, similarity to the next dislike", {"conrec_reward": "next"}),
    ("+ future dislikes in the reward", {"conrec_reward": "a"}),
    ("+ penalty for future likes: the default", {}),
)
REWARDS = ("next", "a", "b", "c", "d", "e")


def is_of_dislikes(run):
    return run.get("task") == "negative"


def name_of(run):
    """The system and its flags, without the seed."""
    system = {"conrec": "CoNRec", "sasrec": "SASRec"}.get(run["system"], run["system"])
    if run.get("llm"):
        system += f" ({run['llm'].split('/')[-1]})"
    left_out = ("conrec_system", "conrec_reversed")
    flags = {name: value for name, value in run["flags"].items() if name not in left_out}
    return " ".join([system, *flag_words(flags)])


# ------------------------------------------------------------------------------------------------- which runs


def kept():
    """{(data set, name): {name of the run: (summary, FHR@20 of each user)}} of the runs in ours/conrec/."""
    groups = defaultdict(dict)
    for path in sorted(OURS.glob("*.json")):
        run = json.loads(path.read_text(encoding="utf-8"))
        groups[run["dataset"], name_of(run)][path.stem] = run, per_user(path.with_suffix(".csv"))
    return groups


def per_user(path):
    """DataFrame of the columns that begin with FHR@20, by user; empty where a run has none."""
    if not path.exists():
        return pd.DataFrame()
    table = pd.read_csv(path, index_col="user", dtype={"user": str})
    return table[[name for name in table.columns if name.startswith(PRIMARY)]]


def keep(folder, run, name):
    """Add a finished run of this task to ours/conrec/."""
    OURS.mkdir(exist_ok=True)
    path = OURS / f"{run['dataset']}_{name}.json"
    shutil.copy(folder / "summary.json", path)
    per_user(folder / "per_user.csv").round(4).to_csv(path.with_suffix(".csv"), lineterminator="\n")


# ------------------------------------------------------------------------------------------------- the tables


def lines():
    """All tables of the kept runs, the reported figures first."""
    known = json.loads((compare.HERE / "published" / "conrec.json").read_text(encoding="utf-8"))
    blocks = [[f"Reported: {known['mark']}."], reported(known, "systems"), reported(known, "ablation")]
    groups = kept()
    if not groups:
        return [*joined(blocks), "", "Not measured yet: no run is kept in ours/conrec/."]
    for dataset in sorted({dataset for dataset, _ in groups}):
        own = {name: list(runs.values()) for (of, name), runs in groups.items() if of == dataset}
        blocks += [[f"{dataset}, {one_of(own)['data']['test instances']} test users"], *tables_of(own)]
    return joined(blocks)


def reported(known, which):
    rows = []
    for name, figures in known[which].items():
        rows.append([f"{name}, *reported*", *("" if figure is None else f"{figure:.4f}" for figure in figures)])
    return markdown(["", *known["columns"]], rows)


def tables_of(groups):
    """The tables of a data set.  groups: {name: [(summary, per user), ...]}."""
    blocks = [systems(groups), ablation(groups), rewards(groups)]
    default = groups.get("CoNRec")
    if default:
        runs = [run for run, _ in default]
        blocks += [stages(runs), filters(runs), ids(runs)]
    return [block for block in blocks if block]


def systems(groups):
    """Every system with its differences to the closed forms that matter, the best last."""
    rows = []
    for name, figures in one_of(groups)["baselines"].items():
        figures = figures | {"cand_ll": figures["candidates"]}
        rows.append((figures[PRIMARY], [name, "1", *means([figures])], [None for _ in BESIDE]))
    for name, runs in groups.items():
        figures = [run["test"] for run, _ in runs]
        score = statistics.mean(one[PRIMARY] for one in figures)
        differences = [against(runs, beside) for beside in BESIDE]
        rows.append((score, [f"**{name}**", str(len(runs)), *means(figures)], differences))
    rows.sort(key=lambda row: row[:2])
    cells = [row for _, row, _ in rows]
    for place, _ in enumerate(BESIDE):  # each a family
        more = tested([("", differences[place]) for _, _, differences in rows])
        cells = [[*row, *of_beside] for row, of_beside in zip(cells, more, strict=True)]
    names = [f"{word}, FHR@20 less {beside}" for beside in BESIDE for word in TESTED]
    return markdown(["system", "seeds", *TITLES, *names], cells)


def ablation(groups):
    """The paper's rows, each with its difference to the row above."""
    rows, found, above = [], [], None
    for words, flags in ABLATION:
        name = " ".join(["CoNRec", *flag_words(flags)])
        runs = groups.get(name)
        if not runs:
            continue
        found.append(("steps", None if above is None else paired(own_users(runs), own_users(above))))
        rows.append([words, str(len(runs)), *means([run["test"] for run, _ in runs])])
        above = runs
    rows = [[*row, *cells] for row, cells in zip(rows, tested(found), strict=True)]
    return markdown(["ablation", "seeds", *TITLES, *(f"{word}, to the row above" for word in TESTED)], rows)


def rewards(groups):
    rows = []
    for reward in REWARDS:
        runs = groups.get("CoNRec" if reward == "c" else f"CoNRec --conrec_reward {reward}")
        if runs:
            rows.append([reward, str(len(runs)), *means([run["test"] for run, _ in runs])])
    return markdown(["reward", "seeds", *TITLES], rows) if len(rows) > 1 else []


def stages(runs):
    """What each stage can do in each context, and what it has forgotten; means over seeds."""
    rows, more = [], ("ila", "forget", "translation")
    for place, first in enumerate(runs[0]["evaluated"]):
        figures = [run["evaluated"][place] for run in runs]
        rows.append([first["stage"], first["context"], *means(figures), *means(figures, more)])
    return markdown(["after", "context", *TITLES, "alignment", "forgotten", "translation"], rows)


def filters(runs):
    """Share of test likes and dislikes that the filter and its controls remove."""
    rows = []
    for place, first in enumerate(runs[0]["filter"]["outcome"]):
        figures = [run["filter"]["outcome"][place] for run in runs]
        rows.append([first["system"], f"{first['budget']:.0%}", *means(figures, ("positives", "negatives"))])
    return markdown(["filter by", "budget of likes", "likes removed", "dislikes removed"], rows)


def ids(runs):
    names = ("relative_error", "collisions", "neighbours_in_common")
    return markdown(["semantic IDs", *names], [["of the default", *means([run["sids"] for run in runs], names)]])


def of_folders(groups):
    """Lines for run folders: {folder: summary}."""
    by_name = defaultdict(list)
    for folder, run in groups.items():
        by_name[run["dataset"], name_of(run)].append((run, per_user(folder / "per_user.csv")))
    blocks = []
    for dataset in sorted({dataset for dataset, _ in by_name}):
        own = {name: runs for (of, name), runs in by_name.items() if of == dataset}
        blocks += [[f"Next dislikes, {dataset}"], systems(own)]
    return joined(blocks)


# -------------------------------------------------------------------------------------------------------- cells


def one_of(groups):
    return next(iter(groups.values()))[0][0]


def means(figures, names=METRICS):
    """Mean ± deviation over the runs of a row; empty where one lacks the figure."""
    return [deviation([one.get(name) for one in figures]) for name in names]


def own_users(runs):
    return Measured(pd.concat([users[PRIMARY] for _, users in runs], axis=1))


def against(runs, beside):
    """The Difference of the runs less a closed form, None where a run does not have it user by user."""
    column = f"{PRIMARY} of {beside}"
    if any(column not in users for _, users in runs):
        return None
    return paired(own_users(runs), Measured(runs[0][1][[column]], closed=True))


def joined(blocks):
    lines = []
    for block in blocks:
        lines += [*block, ""]
    return lines[:-1]
