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
from conrec.results.evaluation import write_csv
from machine import hardware
from options.conrec import BESIDE, CHOOSING, EVERY, PRIMARY
from results4comparison.formatting import markdown
from runs import run_folder
from runs.run_folder import RULE
from utils import read_json, write_atomically, write_json

K = 20  # predictions of a user that the filter knows
SHOWN = (CHOOSING, "hr@20", PRIMARY, EVERY, "auc", "auc-odds")  # in the tables of the log


class Made(NamedTuple):
    """The Stages whose files a run takes over, beside its Chain's; the last two None without the stage stream."""

    ids: Stage
    every: Stage
    predicted: Stage
    recommended: Stage | None
    judged: Stage | None


def leave_behind(job, chain, made):
    """Of CoNRec.  job: run.Job.  chain: learning.chain.Chain."""
    folder = job.run.folder
    job.run.restore_epochs(chain.rows)
    stages = pd.DataFrame(chain.figures)
    write_csv(folder / "stages.csv", stages)
    copy_folder(chain.last.folder / "model", folder / "model")
    copy(made.ids.folder / "sids.csv", folder / "sids.csv")
    copy(made.ids.folder / "rqvae.safetensors", folder / "rqvae.safetensors")
    copy(made.predicted.folder / "predictions.csv", folder / "predictions.csv")
    plot(folder / "curves.png", chain.rows)

    # the last stage in its last context
    of_test = pd.read_csv(chain.evaluated.folder / "per_user.csv", dtype={"context": str})
    of_test = of_test[of_test.context == chain.context].drop(columns=["context", "user"])
    of_every = pd.read_csv(made.every.folder / "per_user.csv")
    per_user = {}
    for table in (of_test, of_every):
        per_user |= {name: table[name].to_numpy(float) for name in table}

    more = {"system": "conrec", "sids": read_json(made.ids.folder / "report.json")}
    more |= {"stages": chain.reports, "evaluated": chain.figures}
    if made.recommended:
        table = pd.read_csv(made.recommended.folder / "per_user.csv", dtype={"user": str})
        more["recommends"] = leave_recommended(folder, table)
    if made.judged:
        copy(made.judged.folder / "odds.csv", folder / "odds.csv")
        more["filter"] = leave_filter(job, chain.catalog.E)
    more["train_seconds"] = round(sum(report["seconds"] for report in chain.reports.values()), 1)
    job.run.log("", *tabulate(["stage", "context"], stages, ["ila", "translation"]))
    finish(job, per_user, find_best_validation(chain), more)


def finish(job, per_user, validation, more):
    """per_user.csv, the table of all systems in the log, and summary.json, last of all.

    per_user: {metric: (n,) float64} of the test users.  validation: of the kept weights.  more: of the summary.
    """
    baselines = closed_forms.evaluate(job.known, job.top_k)
    table = pd.DataFrame({name: values.round(6) for name, values in per_user.items()})
    table.insert(0, "user", job.events.user_ids[job.known.test.users])
    for name in (PRIMARY, EVERY):
        table[f"{name} of {BESIDE}"] = baselines[BESIDE][name].round(6)
    write_csv(job.run.folder / "per_user.csv", table)

    means = {name: metrics.means(values) for name, values in baselines.items()}
    summary = describe_run(job)
    summary |= {"test": metrics.means(per_user), "intervals": metrics.intervals(per_user)}
    summary |= {"validation": validation, "baselines": means} | more

    own = summary["test"] | {CHOOSING: validation[PRIMARY]}
    systems = pd.DataFrame(means | {"this run": own}).T.rename_axis("system").reset_index()
    difference = own[PRIMARY] - means[BESIDE][PRIMARY]
    job.run.log("", RULE, f"Test of {len(table)} users", RULE)
    job.run.log(*tabulate(["system"], systems.sort_values(PRIMARY)))
    # of one seed no interval is known
    job.run.log("", f"FHR@20 less that of {BESIDE}: {difference:+.4f}, of one seed")
    job.run.log("", f"Run folder: {job.run.folder}")
    job.run.finish(summary, can_go_on=False)


# -------------------------------------------------------------------------------------- the summary


def describe_run(job):
    """What summary.json says of the data, the settings and the machine."""
    events, options = job.events, job.settings
    counts = {"users": events.n_users, "items": events.n_items}
    for place, part in enumerate(("train", "validation", "test")):
        counts[part] = int((events.parts == place).sum())
    counts["negatives"] = int(events.is_negative.sum())
    counts["test instances"] = len(job.known.test.users)
    changed = job.options.changed(job.name)
    changed = {name: value for name, value in changed.items() if name.startswith("conrec_")}
    if "conrec_embeddings" in changed:
        changed["conrec_embeddings"] = Path(changed["conrec_embeddings"]).name  # where it lies: config.json
    return {
        "dataset": job.name, "model": "CoNRec", "task": "negative", "primary": PRIMARY,
        "random_seed": options.random_seed, "clock": events.clock, "data": counts,
        "llm": None if options.llm == "auto" else options.llm, "flags": changed, "commit": run_folder.commit(),
        "peak_memory_mb": hardware.peak_memory_mb(job.device), "device": hardware.device_name(job.device),
    }  # fmt: skip


def find_best_validation(chain):
    """The validation figures of the last stage's kept weights."""
    stage = chain.last.name
    best = str(chain.reports[stage]["best_step"])
    (row,) = [row for row in chain.rows if (row["stage"], row["step"]) == (stage, best)]
    return {name: float(row[name]) for name in (PRIMARY, "frecall@20")}


# -------------------------------------------------------------------------------------- predictions


def leave_recommended(folder, table):
    """recommended_per_user.csv; returns what summary.json says of it.

    table: of recommending.measure_recommended.
    """
    write_csv(folder / "recommended_per_user.csv", table)
    return recommending.means(table)


def leave_filter(job, E):
    """filter.json, from predictions.csv and odds.csv; returns what summary.json says of it."""
    folder = job.run.folder
    predictions = read_predictions(folder / "predictions.csv", job.events)
    table = pd.read_csv(folder / "odds.csv", dtype={"user": str, "item": str})
    odds = {part: rows.odds.to_numpy() for part, rows in table.groupby("part")}  # in the order of the events
    found = filters.outcome(job.events, odds, predictions, E, job.settings.conrec_budget)
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


# ------------------------------------------------------------------------------ tables and pictures


def tabulate(names, table, more=()):
    """Lines of a table of the log: the columns of words, figures of SHOWN and more."""
    figures = table.reindex(columns=[*SHOWN, *more])
    cells = figures.map(lambda value: "" if pd.isna(value) else f"{value:.3f}")
    return markdown([*names, *figures], table[names].join(cells).to_numpy().tolist())


def plot(path, rows):
    """curves.png: training loss and reward of each stage, and its validation FHR@20.  rows: of metrics.csv."""
    from matplotlib.figure import Figure

    figure, table = Figure(figsize=(14, 4), layout="constrained"), pd.DataFrame(rows)
    columns = {"loss": "Training loss", "reward": "Mean reward", PRIMARY: "FHR@20 on validation"}
    for axis, (column, title) in zip(figure.subplots(1, 3), columns.items(), strict=True):
        for stage, of_stage in table[table[column] != ""].groupby("stage", sort=False):
            axis.plot(of_stage.step.astype(int), of_stage[column].astype(float), label=stage)
        axis.set(title=title, xlabel="step of the stage")
        axis.grid(alpha=0.3)
        axis.legend()
    write_atomically(path, lambda p: figure.savefig(p, format="png", dpi=110))
