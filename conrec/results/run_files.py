"""What a finished run of CoNRec leaves in its folder, which is whole without the stages' folders."""

import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from conrec.data.instances import MOMENTS
from conrec.learning.stage_folders import Stage
from conrec.results import closed_forms, metrics, recommending
from conrec.results import filter as filters
from conrec.results.evaluation import coverage, write_csv
from machine import hardware
from options.conrec import BESIDE, CHOOSING, EVERY, METRICS, PRIMARY
from results4comparison.differences import Measured, paired
from results4comparison.formatting import markdown
from runs import run_folder
from runs.run_folder import RULE
from utils import read_json, write_atomically, write_json

K = 20  # predictions of a user that the filter knows


class Made(NamedTuple):
    """The Stages whose files a run takes over, beside its Chain's; the last two None without the stage stream."""

    ids: Stage
    every: Stage
    predicted: Stage
    recommended: Stage | None
    judged: Stage | None


def leave_behind(job, chain, made, baselines):
    """job: of run.fit.  chain: learning.chain.Chain.  made: Made.  baselines: of closed_forms.evaluate."""
    run, folder = job.run, job.run.folder
    run.restore_epochs(chain.rows)
    stages = with_forget_rates(chain.figures, chain.reports)
    write_csv(folder / "stages.csv", pd.DataFrame(stages))
    copy_folder(chain.last.folder / "model", folder / "model")
    for stage, file in ((made.ids, "sids.csv"), (made.ids, "rqvae.safetensors"), (made.predicted, "predictions.csv")):
        copy(stage.folder / file, folder / file)
    write_json(folder / "coverage.json", coverage(job.events, job.known.test, job.catalog.codes))

    per_user = own_figures(chain, made)
    summary = summary_of(job, per_user, baselines) | {"system": job.settings.conrec_system}
    summary["validation"] = best_validation(chain)
    summary["sids"] = read_json(made.ids.folder / "report.json")
    summary |= {"stages": chain.reports, "evaluated": stages}
    if made.recommended:
        table = pd.read_csv(made.recommended.folder / "per_user.csv", dtype={"user": str, "moment": str})
        summary["recommends"] = leave_recommended(folder, table)
    if made.judged:
        copy(made.judged.folder / "odds.csv", folder / "odds.csv")
        summary["filter"] = leave_filter(job, folder)
    summary["train_seconds"] = round(sum(report["seconds"] for report in chain.reports.values()), 1)
    write_per_user(folder / "per_user.csv", per_user, baselines, job)
    plot(folder / "curves.png", chain)
    job.log("", *markdown(*stages_table(stages)))
    finish(job, summary, baselines)


def finish(job, summary, baselines):
    """Print the table of all systems, and write it and summary.json, last of all."""
    write_csv(job.run.folder / "baselines.csv", closed_forms.table(baselines).reset_index(names="system"))
    job.log("", RULE, f"Test of {summary['data']['test instances']} users", RULE)
    job.log(*markdown(*systems_table(summary)), "", *differences(summary), "", f"Run folder: {job.run.folder}")
    job.run.finish(summary, can_go_on=False)


# --------------------------------------------------------------------------------------------------- the figures


def own_figures(chain, made):
    """{metric: (n,) float64} of the last stage in its last context."""
    table = pd.read_csv(chain.evaluated.folder / "per_user.csv", dtype={"user": str, "context": str})
    table = table[table.context == chain.context].drop(columns=["context", "user"])
    every = pd.read_csv(made.every.folder / "per_user.csv")
    return {name: of[name].to_numpy(float) for of in (table, every) for name in of.columns}


def summary_of(job, per_user, baselines):
    """What the summaries of all systems have."""
    events, options = job.events, job.settings
    counts = {"users": events.n_users, "items": events.n_items}
    for place, part in enumerate(("train", "validation", "test")):
        counts[part] = int((events.parts == place).sum())
    counts["negatives"] = int(events.is_negative.sum())
    counts["test instances"] = len(job.known.test.users)
    summary = {"dataset": job.name, "model": "CoNRec", "task": "negative", "primary": PRIMARY}
    summary |= {"random_seed": options.random_seed, "clock": events.clock, "data": counts}
    summary |= {"test": metrics.means(per_user), "intervals": metrics.intervals(per_user)}
    summary["baselines"] = {name: metrics.means(figures) for name, figures in baselines.items()}
    summary["against"] = {name: set_against(per_user, baselines[name], job) for name in BESIDE if name in baselines}
    summary |= {"peak_memory_mb": hardware.peak_memory_mb(job.device), "device": hardware.device_name(job.device)}
    changed = job.options.changed(job.name)
    changed = {name: value for name, value in changed.items() if name.startswith("conrec_")}
    for flag in changed.keys() & {"conrec_embeddings", "conrec_reversed"}:
        changed[flag] = Path(changed[flag]).name  # where it lies: config.json
    llm = None if options.llm == "auto" or options.conrec_reversed else options.llm
    return summary | {"llm": llm, "flags": changed, "commit": run_folder.commit()}


def set_against(ours, theirs, job):
    """{metric: {"users", "mean", ...}} of the differences to a closed form.  Of one seed no interval is known."""
    users, found = job.events.user_ids[job.known.test.users], {}
    for name in ("hr@20", PRIMARY, EVERY, "frecall@20", "auc"):
        columns = [pd.DataFrame({name: side[name]}, index=users).dropna() for side in (ours, theirs)]
        if len(columns[0].index.intersection(columns[1].index)) > 1:
            difference = paired(Measured(columns[0]), Measured(columns[1], closed=True))._asdict()
            found[name] = {key: value and round(float(value), 6) for key, value in difference.items()}
    return found


def write_per_user(path, per_user, baselines, job):
    """The test metrics of each user with a test instance, and FHR@20 of what they are set against."""
    table = pd.DataFrame({name: values.round(6) for name, values in per_user.items()})
    table.insert(0, "user", job.events.user_ids[job.known.test.users])
    for name in BESIDE:
        if name in baselines:
            table[f"{PRIMARY} of {name}"] = baselines[name][PRIMARY]
            table[f"{EVERY} of {name}"] = baselines[name][EVERY].round(6)
    write_csv(path, table)


def with_forget_rates(rows, reports):
    """rows of stages.csv, each with the share of the alignment that it lost since the alignment stage."""
    after = next((row["ila"] for row in rows if row["stage"] == "alignment"), None)
    found = []
    for row in rows:
        since = after and row["ila"] is not None and row["stage"] not in ("translation", "alignment")
        found.append(row | {"forget": metrics.forget_rate(after, row["ila"]) if since else None})
    return found


def best_validation(chain):
    """The validation figures of the last stage's kept weights."""
    stage = chain.last.name
    best = str(chain.reports[stage]["best_step"])
    (row,) = [row for row in chain.rows if (row["stage"], row["step"]) == (stage, best)]
    return {name: float(row[name]) for name in (PRIMARY, "frecall@20")}


# ------------------------------------------------------------------------------------------------ predictions


def leave_recommended(folder, table):
    """recommended_per_user.csv; returns what summary.json says of it.  table: of recommending.figures_of."""
    write_csv(folder / "recommended_per_user.csv", table)
    return recommending.means(table)


def leave_filter(job, folder):
    """filter.json, from predictions.csv and odds.csv; returns what summary.json says of it."""
    predictions = read_predictions(folder / "predictions.csv", job.events)
    table = pd.read_csv(folder / "odds.csv", dtype={"user": str, "item": str})
    odds = {part: rows.odds.to_numpy() for part, rows in table.groupby("part")}  # in the order of the events
    found = filters.outcome(job.events, odds, predictions, job.catalog.E, job.settings.conrec_budget)
    write_json(folder / "filter.json", found)
    return found


def read_predictions(path, events):
    """{moment: (U, 20) item numbers, -1 in the rows of users without any}."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table = table[table["rank"].astype(int) <= K]
    user_of = {user: number for number, user in enumerate(events.user_ids)}
    item_of = {item: number for number, item in enumerate(events.item_ids)}
    predictions = {}
    for moment in MOMENTS:
        rows = table[table.as_of == moment]
        found = np.full((events.n_users, K), -1, np.int64)
        found[rows.user.map(user_of), rows["rank"].astype(int) - 1] = rows.item.map(item_of)
        predictions[moment] = found
    return predictions


def copy(source, path):
    write_atomically(path, lambda p: shutil.copyfile(source, p))


def copy_folder(source, folder):
    folder.mkdir(exist_ok=True)
    for path in sorted(source.iterdir()):
        copy(path, folder / path.name)


# ------------------------------------------------------------------------------------------- tables and pictures


def systems_table(summary):
    """(header, rows) of the closed forms and this run, by the primary metric."""
    figures = dict(summary["baselines"])
    figures = {name: {"cand_ll": values["candidates"]} | values for name, values in figures.items()}
    figures["this run"] = summary["test"] | {CHOOSING: summary["validation"][PRIMARY]}
    ordered = sorted(figures.items(), key=lambda pair: pair[1][PRIMARY])
    return ["system", *METRICS], [[name, *cells(values)] for name, values in ordered]


def stages_table(stages):
    names = ("ila", "forget", "translation")
    return ["stage", "context", *METRICS, *names], [
        [row["stage"], row["context"], *cells(row), *cells(row, names)] for row in stages
    ]


def cells(values, names=METRICS):
    found = []
    for name in names:
        value = values.get(name)
        found.append("" if value is None else f"{value:.3f}")
    return found


def differences(summary):
    lines = []
    for name, found in summary["against"].items():
        if PRIMARY in found:
            test = found[PRIMARY]
            words = f"{test['mean']:+.4f} over {test['users']} users (one seed, so no interval is known)"
            lines.append(f"FHR@20 less that of {name}: {words}")
    return lines


def plot(path, chain):
    """curves.png: training loss and reward of each stage, and its validation FHR@20."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 4), layout="constrained")
    columns = {"loss": "Training loss", "reward": "Mean reward", PRIMARY: "FHR@20 on validation"}
    for axis, (column, title) in zip(figure.subplots(1, 3), columns.items(), strict=True):
        for stage in chain.reports:
            rows = [row for row in chain.rows if row["stage"] == stage and row[column]]
            if rows:
                axis.plot([int(row["step"]) for row in rows], [float(row[column]) for row in rows], label=stage)
        axis.set(title=title, xlabel="step of the stage")
        axis.grid(alpha=0.3)
        axis.legend()
    write_atomically(path, lambda p: figure.savefig(p, format="png", dpi=110))
