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

from options.conrec import BESIDE, CHOOSING, EVERY, METRICS, PRIMARY, SAME_LOSS
from options.run_name import flag_words
from results4comparison import compare
from results4comparison.differences import Difference, Measured, paired, with_interval
from results4comparison.formatting import TESTED, deviation, markdown, shown, tested
from utils import InputError, read_json

OURS = compare.HERE / "ours" / "conrec"
TITLES = ["validation", "HR@20", "FHR@20", "FHR every", "LUF@20", "LIF@20", "LIF strict", "choice", "dislike AUC"]
TITLES.append("odds AUC")
GRPO = {"conrec_stages": ["stream", "both"]}
ABLATION = (  # (what a row adds, flags); the first three by supervision, then GRPO after the stream alone
    ("stream: the default", {}),
    ("translation before it", {"conrec_stages": ["translation", "stream"]}),
    ("and alignment", {"conrec_stages": ["translation", "alignment", "stream"]}),
    ("stream, then GRPO, similarity to the next dislike", GRPO | {"conrec_reward": "next"}),
    ("to the window's dislikes", GRPO | {"conrec_reward": "a"}),
    ("less that to its likes", GRPO),
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
    """DataFrame of the columns of FHR@20, of all instances too, by user; empty where a run has none."""
    if not path.exists():
        return pd.DataFrame()
    table = pd.read_csv(path, index_col="user", dtype={"user": str})
    return table[[name for name in table.columns if name.startswith((PRIMARY, EVERY))]]


def keep(folder, run, name):
    """Add a finished run of this task to ours/conrec/."""
    OURS.mkdir(exist_ok=True)
    path = OURS / f"{run['dataset']}_{name}.json"
    shutil.copy(folder / "summary.json", path)
    per_user(folder / "per_user.csv").round(4).to_csv(path.with_suffix(".csv"), lineterminator="\n")


def keep_report(path, name):
    """Add a filter's report to ours/conrec/filters/.  name: of the lists, then of the seed, such as ease_2024."""
    (OURS / "filters").mkdir(parents=True, exist_ok=True)
    report = read_json(path)
    if not report.get(SAME_LOSS):
        raise InputError(f"{path}: is no report of a filter in whose lists dislikes can be measured")
    shutil.copy(path, OURS / "filters" / f"{report['dataset']}_{name}.json")


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
    blocks = [systems(groups), every_instance(groups), ablation(groups), rewards(groups)]
    dataset = one_of(groups)["dataset"]
    default = groups.get("CoNRec")
    if default:
        runs = [run for run, _ in default]
        blocks += [stages(runs), filters(runs), filtered_lists(dataset), ids(runs)]
    return [block for block in blocks if block]


def systems(groups):
    """Every system with its differences to the closed forms that matter, the best last."""
    rows = []
    for name, figures in one_of(groups)["baselines"].items():
        figures = figures | {"cand_ll": figures["candidates"]}
        rows.append((figures[PRIMARY], [name, "1", *means([figures])], [None for _ in BESIDE]))
    for name, runs in groups.items():
        figures = [figures_of(run) for run, _ in runs]
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


def every_instance(groups):
    """The same differences over all test instances, each user's mean as one: whether that is the more precise."""
    rows, found = [], []
    for name, runs in groups.items():
        differences = [against(runs, BESIDE[0], metric) for metric in (PRIMARY, EVERY)]
        if differences[1] is not None and differences[1].p is not None:
            rows.append([name, str(len(runs))])
            found.append(differences)
    for place in range(2):
        cells = tested([("", differences[place]) for differences in found])
        rows = [[*row, *of_place[1:]] for row, of_place in zip(rows, cells, strict=True)]
    header = ["less " + BESIDE[0], "seeds"]
    header += [f"{title}, {words}" for words in ("first instance", "every instance") for title in TESTED[1:]]
    return markdown(header, rows)


def ablation(groups):
    """What the paper's stages add to the default, each with its difference to it."""
    rows, found, default = [], [], groups.get("CoNRec")
    for words, flags in ABLATION:
        runs = groups.get(" ".join(["CoNRec", *flag_words(flags)]))
        if not runs or not default:
            continue
        found.append(("stages", None if runs is default else paired(own_users(runs), own_users(default))))
        rows.append([words, str(len(runs)), *means([figures_of(run) for run, _ in runs])])
    if len(rows) < 2:
        return []
    rows = [[*row, *cells] for row, cells in zip(rows, tested(found), strict=True)]
    return markdown(["stages", "seeds", *TITLES, *(f"{word}, less the default" for word in TESTED)], rows)


def rewards(groups):
    rows = []
    for reward in REWARDS:
        flags = GRPO if reward == "c" else GRPO | {"conrec_reward": reward}
        runs = groups.get(" ".join(["CoNRec", *flag_words(flags)]))
        if runs:
            rows.append([reward, str(len(runs)), *means([figures_of(run) for run, _ in runs])])
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


def filtered_lists(dataset):
    """Of the filtered lists of other models: the share of their disliked items that goes at the same loss of likes."""
    groups = defaultdict(list)
    for path in sorted((OURS / "filters").glob(f"{dataset}_*.json")):
        report = json.loads(path.read_text(encoding="utf-8"))
        groups[path.stem.removeprefix(f"{dataset}_").rpartition("_")[0]].append(report)
    rows = []
    for name, reports in groups.items():
        users = reports[0]["users"]
        for loss, systems in reports[0][SAME_LOSS].items():
            for system in systems:
                found = [report[SAME_LOSS][loss][system] for report in reports]
                gone, gap = (seeds_of(found, what, users) for what in ("disliked less", "CoNRec less it"))
                cells = ["", ""] if system == "CoNRec" else shown(gap)[1:3]
                share = "never so many" if gone is None else f"{gone.mean:.3f}"
                rows.append([name, str(len(reports)), f"{float(loss):.0%}", system, share, *cells])
    header = ["lists of", "seeds", "likes lost", "filter by", "dislikes that go", "CoNRec less it", "95 % interval"]
    return markdown(header, rows)


def seeds_of(found, what, users):
    """of_seeds of a figure; None where a report says that so many likes are never lost."""
    values = [one[what] for one in found]
    return None if None in values else of_seeds(values, users)


def of_seeds(values, users):
    """The Difference of [[mean, low, high] over users] of each seed: users and seeds both vary."""
    means = [mean for mean, _, _ in values]
    of_users = statistics.mean(((high - low) / 2 / 1.96) ** 2 for _, low, high in values)
    if len(means) == 1:
        return Difference(users, means[0], None, None, None)
    parts = [(of_users, users - 1), (statistics.variance(means) / len(means), len(means) - 1)]
    return with_interval(users, statistics.mean(means), parts)


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


def figures_of(run):
    """{metric: value} of a run, on validation as well."""
    return run["test"] | {CHOOSING: run["validation"][PRIMARY]}


def one_of(groups):
    return next(iter(groups.values()))[0][0]


def means(figures, names=METRICS):
    """Mean ± deviation over the runs of a row; empty where one lacks the figure."""
    return [deviation([one.get(name) for one in figures]) for name in names]


def own_users(runs, metric=PRIMARY):
    return Measured(pd.concat([users[metric] for _, users in runs], axis=1))


def against(runs, beside, metric=PRIMARY):
    """The Difference of the runs less a closed form, None where a run does not have it user by user."""
    column = f"{metric} of {beside}"
    if any(column not in users for _, users in runs):
        return None
    return paired(own_users(runs, metric), Measured(runs[0][1][[column]], closed=True))


def joined(blocks):
    lines = []
    for block in blocks:
        lines += [*block, ""]
    return lines[:-1]
