"""python main.py --filter RUN --run CONREC_RUN: another model's lists without the items that look like dislikes.

RUN is a run folder, whose best --filter_pool items of each user are ranked anew, so that 20 are left; or a CSV with
columns user and item, whose lists only get shorter.  In the run folder, or beside the CSV, are written, for a CoNRec
run NAME,

    filtered_by_NAME.csv          the lists that are left, judged as of now
    removed_by_NAME.csv           what was removed, its odds, and which predicted dislike it resembles
    filter_report_NAME.json       of a run folder: what the filter is worth, judged as of test (filter_report.py)
"""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from conrec.data import semantic_ids
from conrec.data.events import Events, read_of_run
from conrec.data.instances import numbers_of
from conrec.decoder.policy import Policy, load_policy
from conrec.results.evaluation import write_csv
from conrec.results.filter import leave, odds_of
from conrec.results.filter_report import CUT, report, report_lines
from conrec.results.run_files import read_predictions
from machine import hardware
from options.conrec import ConrecSettings
from options.flag import names_of
from preparation.files import read_table
from recommend import load_run
from runs.run_folder import read_config
from training import evaluation
from utils import InputError, write_json

USERS_AT_ONCE = 512


class Conrec(NamedTuple):
    """What filtering takes of a finished CoNRec run."""

    name: str
    dataset: str
    events: Events
    E: np.ndarray  # (I, d) float32
    predictions: dict  # {"validation", "test", "now"}: (U, 20) items, -1 in the rows of users without any
    policy: Policy  # which judges pairs: filter.odds_of
    theta: float | None  # None: nothing is removed

    @property
    def threshold(self):
        return np.inf if self.theta is None else self.theta


def apply(options):
    """The command.  Raises InputError for what is neither a finished run nor a CSV of users and items."""
    conrec = read_conrec(options.run, options.data_dir, options.device)
    given = Path(options.filter)
    is_run = given.is_dir()
    folder = given if is_run else given.parent
    out = {kind: folder / f"{kind}_by_{conrec.name}.csv" for kind in ("filtered", "removed")}
    if is_run:
        table, data = rank_pool(given, conrec.dataset, options.filter_pool, options.data_dir, options.device)
    else:
        table = read_lists(given, conrec.events, out.values())
    table = with_numbers(table, conrec.events, given)

    print(f"judging {len(table)} places of {table.user.nunique()} lists")
    odds = odds_of(conrec.policy, "now", table.user_number.to_numpy(), table.item_number.to_numpy())
    gone = odds > conrec.threshold
    if is_run:
        left = leave(table.user, gone, CUT)
        removed = ~left & gone & are_reached(table.user, left, CUT)
    else:
        left, removed = ~gone, gone  # a CSV has no further items that could come in
    filtered = table[left]
    filtered.insert(1, "rank", filtered.groupby("user").cumcount() + 1)
    write_csv(out["filtered"], filtered.drop(columns=["user_number", "item_number"]))
    write_csv(out["removed"], explain_removed(table[removed], odds[removed], conrec))

    if is_run:
        found = report(table, data, conrec)
        path = folder / f"filter_report_{conrec.name}.json"
        write_json(path, found)
        print(*report_lines(found), "", f"Written: {out['filtered']}, {out['removed'].name}, {path.name}", sep="\n")
    else:
        print(f"{removed.sum()} of {len(table)} places removed")
        print(f"Written: {out['filtered']}, {out['removed'].name}")


# ------------------------------------------------------------------------------------- what is read


def read_conrec(folder, data_dir=None, device=None):
    """The Conrec of a run folder.  Raises InputError where it holds no finished run of CoNRec, or its data changed."""
    folder = Path(folder)
    if not (folder / "summary.json").exists():
        raise InputError(f"--run {folder}: holds no finished run (no summary.json)")
    if task_of(folder) != "negative":
        raise InputError(f"--run {folder}: is no run of CoNRec, by whose predicted dislikes --filter filters")
    for file in ("filter.json", "rqvae.safetensors", "predictions.csv"):
        if not (folder / file).exists():
            why = "only a run of --conrec_system conrec with the stage stream leaves it"
            raise InputError(f"--run {folder}: has no {file}; {why}")
    given = read_config(folder)["settings"]
    events, raw = read_of_run(given, data_dir)
    try:
        catalog = semantic_ids.read(folder)
        theta = json.loads((folder / "filter.json").read_text(encoding="utf-8"))["theta"]
        if catalog.item_ids.tolist() != events.item_ids.tolist():
            raise ValueError(f"{len(catalog.item_ids)} items there, {events.n_items} here")
        predictions = read_predictions(folder / "predictions.csv", events)
    except (InputError, ValueError, LookupError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0][:60]
        raise InputError(f"--run {folder}: its files and {raw} do not belong together ({reason})") from None
    policy = read_policy(folder, given, events, catalog, hardware.pick_device(device or "auto"), data_dir)
    return Conrec(folder.resolve().name, Path(given["dataset"]).name, events, catalog.E, predictions, policy, theta)


def read_policy(folder, given, events, catalog, device, data_dir=None):
    """The Policy of a run folder, with its trained weights.  given: the settings of its config.json."""
    settings = ConrecSettings(**{flag: value for flag, value in given.items() if flag in names_of(ConrecSettings)})
    settings.data_dir = Path(data_dir or given["data_dir"])
    policy = load_policy(Path(given["dataset"]).name, events, catalog, settings, device, CUT)
    policy.backbone.read_weights(folder / "model")
    policy.backbone.model.eval()
    return policy


def task_of(folder):
    """What summary.json says that a run was for; None where it does not say."""
    try:
        return dict(json.loads((folder / "summary.json").read_text(encoding="utf-8"))).get("task")
    except (ValueError, TypeError):
        return None


def rank_pool(folder, dataset, pool, data_dir, device):
    """(user, item, title and score of the best `pool` items of every user, the TrainData) of a finished run.

    Raises InputError where it is a run of another data set: equal ids would be taken for the same items.
    """
    if (folder / "config.json").exists() and read_config(folder)["settings"].get("model") == "CoNRec":
        raise InputError(f"--filter {folder}: predicts dislikes itself; name the run of another model")
    run = load_run(folder, data_dir, device)
    if run.dataset != dataset:
        both = f"is a run on {run.dataset}, that of --run on {dataset}"
        raise InputError(f"--filter {folder}: {both}; name two runs on one data set")
    data, parts = run.data, []
    blocks = evaluation.rank(
        *run.model.embeddings(), data.seen, np.arange(data.n_users), min(pool, data.n_items), USERS_AT_ONCE
    )
    for users, items, values in blocks:
        part = run.describe(items.cpu().numpy().ravel())
        part.insert(0, "user", np.repeat(data.user_ids[users], items.shape[1]))
        part["score"] = values.cpu().numpy().ravel().round(4)
        parts.append(part[part.score > -np.inf])  # the items of train
    return pd.concat(parts, ignore_index=True), data


def read_lists(path, events, outputs):
    """user, item, title ("" where it is not known) of the lists in a CSV, in the order of the file."""
    if not path.exists():
        raise InputError(f"--filter {path}: is neither a run folder nor a CSV")
    if path.resolve() in [output.resolve() for output in outputs]:
        raise InputError(f"--filter {path}: would be overwritten by its filtered lists; rename it")
    wanted = {"user": ["user", "user_id", "userId"], "item": ["item", "item_id", "movieId"]}
    table = read_table(path, ",", wanted).astype(str).drop_duplicates(ignore_index=True)
    titles = pd.Series(events.titles, events.item_ids)
    return table.assign(title=titles.reindex(table.item, fill_value="").to_numpy())


def with_numbers(table, events, folder):
    """The table with user_number and item_number, those of the Events, -1 where they lack one."""
    table = table.assign(
        user_number=numbers_of(table.user, events.user_ids), item_number=numbers_of(table.item, events.item_ids)
    )
    for column in ("user", "item"):
        if (table[f"{column}_number"] < 0).all():
            raise InputError(f"--filter {folder}: none of its {column}s is known to the run of --run; other data?")
    unknown = ((table.user_number < 0) | (table.item_number < 0)).sum()
    if unknown:
        print(f"{folder}: {unknown} of {len(table)} places are of users or items that the CoNRec run lacks; kept")
    return table


# ---------------------------------------------------------------------------------------- filtering


def are_reached(users, left, k):
    """(rows,) bool: rows that come before the last one left of their list, or would be in it without a filter."""
    place = pd.Series(np.arange(len(users))).groupby(np.asarray(users)).cumcount()
    last = place.where(left, -1).groupby(np.asarray(users)).transform("max")
    return ((place < last) | (place < k)).to_numpy()


def explain_removed(rows, odds, conrec):
    """user, item, title, odds, resembles, resembles_title: of each removed row.  odds: (r,) of it."""
    events, predicted = conrec.events, conrec.predictions["now"][rows.user_number]  # (r, 20)
    sims = np.einsum("rkd,rd->rk", conrec.E[predicted], conrec.E[rows.item_number], optimize=True)
    nearest = np.take_along_axis(predicted, sims.argmax(1)[:, None], axis=1)[:, 0]  # -1: nothing was predicted
    found = rows[["user", "item", "title"]].assign(odds=odds.round(4))
    for column, names in (("resembles", events.item_ids), ("resembles_title", events.titles)):
        found[column] = np.where(nearest < 0, "", names[nearest])
    return found
