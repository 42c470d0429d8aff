"""What a finished run recommends to one user, and what it knows of them.

    python main.py --recommend USER --run PATH

The same in a notebook:

    from recommend import load_run
    run = load_run("result/ML-100K/ReFINe++_2024")
    run.recommend("42", k=10)
"""

import json
import pickle
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import torch

import dataloader
import utils
from machine import hardware
from options.flag import names_of
from options.models import MODELS, model_class
from preparation.dislikes import tested_on
from preparation.files import STARS, read_ratings
from preparation.locate import folder_of_atomic, folder_of_splits, locate, protocol_of
from preparation.titles import item_table
from runs.run_folder import read_config, require_finished
from training import evaluation
from utils import InputError

USERS_AT_ONCE = 256  # ranked
SHOWN = 20  # of a user's likes and confirmed negatives; the rest is counted


def load_run(folder, data_dir=None, device="auto"):
    """The FinishedRun of a run folder: its best weights, in a model built anew from its settings and train CSV.

    data_dir: where the data sets lie now, if not where they lay then.  Raises InputError where the folder holds no
    finished run, or its train CSV is gone or changed.
    """
    folder = Path(folder)
    require_finished(folder)
    config = read_config(folder)
    settings = config["settings"]
    if settings["model"] == "CoNRec":
        raise InputError(f"{folder}: is a run of CoNRec, which predicts dislikes and recommends nothing")
    name, raw, data_folder = locate_splits(settings, data_dir)
    train_csv = train_file(data_folder, config["made_from"])
    device = hardware.pick_device(device)
    data = dataloader.load(data_folder, name, train_csv, device, bool(protocol_of(settings)))
    titles = item_table(raw, data.item_ids).title.reindex(data.item_ids, fill_value="").to_numpy()
    return FinishedRun(folder, load_model(folder, config, data, device), titles, train_csv, data_folder, name)


def locate_splits(settings, data_dir=None):
    """(name, folder of the .item file, folder of the CSVs) of a finished run.  settings: of its config.json."""
    name, raw, folder = locate(settings["dataset"], Path(data_dir or settings["data_dir"]))
    return name, folder_of_atomic(name, raw, folder), folder_of_splits(folder, protocol_of(settings))


class FinishedRun:
    """What load_run returns.

    data: dataloader.TrainData.  titles: (I,) by item number, "" where there is none.  splits: the folder of its CSVs.
    """

    def __init__(self, folder, model, titles, train_csv, splits, dataset):
        self.splits, self.dataset = splits, dataset
        self.refined_by = json.loads((folder / "summary.json").read_text(encoding="utf-8")).get("llm")
        self.folder, self.model, self.data = folder, model, model.data
        self.name = read_config(folder)["settings"]["model"]
        self.titles, self.train_csv = titles, train_csv

    def number_of(self, user):
        """The number of a user id, (1,).  Raises InputError for one that the run does not know."""
        known = self.data.user_ids
        number = np.flatnonzero(known == str(user))
        if not len(number):
            look = f"they look like {known[0]}, {known[-1]}"
            raise InputError(f"user {user}: not among the {len(known)} users of {self.train_csv}; {look}")
        return number

    def recommend(self, user, k=20):
        """The k best items for a user id: a DataFrame item, title, score, best first.

        Items that the user has rated in train are left out, so it may be shorter.  Only the order of the scores means
        anything.  Raises InputError for an unknown user.
        """
        ((_, items, scores),) = self.ranked(self.number_of(user), k)
        items, scores = items[0].cpu().numpy(), scores[0].cpu().numpy()  # (k,), (k,)
        table = self.describe(items)
        table["score"] = scores
        return table[table.score > -np.inf]

    def ranked(self, users, k):
        """What evaluation.rank yields of these user numbers, at most k items each."""
        with torch.no_grad():
            embeddings = self.model.embeddings()
            yield from evaluation.rank(*embeddings, self.data.seen, users, min(k, self.data.n_items), USERS_AT_ONCE)

    def lists(self, k=20):
        """{user id: ids of the k best items, best first} of every user: the items of recommend()."""
        lists = {}
        for users, items, scores in self.ranked(np.arange(self.data.n_users), k):
            for user, row, known in zip(users, items.cpu().numpy(), (scores > -np.inf).cpu().numpy(), strict=True):
                lists[self.data.user_ids[user]] = self.data.item_ids[row[known]].tolist()
        return lists

    def describe(self, items):
        """Item numbers -> a DataFrame item, title."""
        return pd.DataFrame({"item": self.data.item_ids[items], "title": self.titles[items]})

    def rated(self, user, rows):
        """The items of a user in data.positives, .confirmed_negatives, .validation or .test: as describe."""
        return self.describe(rows.entries(self.number_of(user))[1].cpu().numpy())

    def with_stars(self, user, table):
        """A table of describe() of items rated in train, with the columns stars, as given by the user, and refined:
        whether a language model, or what stood for it, has said something else.

        Where train_original is gone, nothing is known to be refined.
        """
        rows = self.original
        if rows is None:
            return table.assign(stars=np.nan, refined=False)
        rows = rows[(rows.user == str(user)).to_numpy()].drop_duplicates("item", keep="last")
        stars = table.item.map(dict(zip(rows.item, rows.rating, strict=True)))
        numbers = pd.Index(self.data.item_ids).get_indexer(table.item)
        own = self.data.train.users == self.number_of(user)[0]
        used = pd.Series(self.data.train.rating[own], self.data.train.items[own]).reindex(numbers).to_numpy()
        return table.assign(stars=stars, refined=stars.notna().to_numpy() & (stars.to_numpy() != used))

    @cached_property
    def original(self):
        """The train ratings as users gave them, None where they are not known to differ from those trained on."""
        path = self.splits / f"{self.dataset}_train_original.csv"
        return None if path == self.train_csv or not path.exists() else read_ratings(path, ",", STARS)

    def withheld(self, user, kind):
        """The items of a user in the validation and test parts, a set.  kind: "" of likes, or "_dislikes"."""
        parts = [getattr(self.data, f"{part}{kind}") for part in ("validation", "test")]
        rows = [getattr(part, "rows", part) for part in parts if part]
        return {item for each in rows for item in self.rated(user, each).item}


def ratings_of(folder):
    """(train CSV, what summary.json says of its labels) of a finished run."""
    config = read_config(Path(folder))
    settings = config["settings"]
    _, _, data_folder = locate_splits(settings)
    summary = json.loads((Path(folder) / "summary.json").read_text(encoding="utf-8"))
    keys = ("dataset_augment", "llm", "llm_mode", "shuffled", "llm_shuffle", "labels_saw_dislikes", "refinement")
    labels = {key: summary[key] for key in keys if key in summary}  # nothing was refined for some runs
    return train_file(data_folder, config["made_from"]), labels


def held_out(folder):
    """{part: SHA-256} of the CSVs that a run was tested on: runs of two protocols are never taken for one another."""
    return tested_on(read_config(Path(folder))["made_from"])


def recommend(options):
    """The command: print what the run recommends to the user, and what it knows of them.  options: LookingSettings."""
    run = load_run(options.run, options.data_dir, options.device)
    user, data = options.recommend, run.data
    table = run.recommend(user, options.top_k[-1])

    n_rated = data.seen.count(run.number_of(user))[0]
    print(f"User {user}, {n_rated} train ratings; {run.name} of {options.run}")
    if run.refined_by and run.original is None:
        print(f"Which ratings were refined is not known: {run.splits} holds no {run.dataset}_train_original.csv")
    for words, rows in (("Likes", data.positives), ("Confirmed negatives", data.confirmed_negatives)):
        known = run.with_stars(user, run.rated(user, rows))
        source = refined_in_words(known, run.refined_by)
        print(f"\n{words}: {len(known)}{source}", *map(line, known[:SHOWN].itertuples()), sep="\n")
        if len(known) > SHOWN:
            print(f"{'':10}and {len(known) - SHOWN} more")
    liked, disliked = run.withheld(user, ""), run.withheld(user, "_dislikes")
    marks = "* liked, - disliked" if data.test_dislikes else "* liked"
    note = "" if data.test_dislikes else "; dislikes are all in train, so none can be here"
    print(f"\nRecommended, by score ({marks} in the withheld validation or test part{note})")
    for row in table.itertuples():
        mark = "*" if row.item in liked else "-" if row.item in disliked else " "
        print(f"{row.score:8.3f} {mark} {line(row)}")


def refined_in_words(known, llm):
    """", of which 42 by rule (42 were rated 3; marked)".  known: of with_stars.  llm: what refined them."""
    refined = known[known.refined]
    if not len(refined):
        return ""
    stars = [f"{n} were rated {star:g}" for star, n in refined.stars.value_counts().sort_index().items()]
    whose = {"published": "the authors' labels", "file": "the labels in the data folder"}.get(llm, llm)
    return f", of which {len(refined)} by {whose} ({', '.join(stars)}; marked)"


def line(row):
    stars = f"  ({row.stars:g} stars)" if getattr(row, "refined", False) else ""
    return f"{row.item:>8}  {row.title}".rstrip() + stars


def load_model(run, config, data, device):
    """The model of a finished run with its best weights, ready to rank.  config: its config.json.  Raises InputError.

    The folder of hard negatives that HNLMRec was trained with need not be there.
    """
    name = config["settings"]["model"]
    kind = MODELS[name].settings
    settings = kind(**{flag: value for flag, value in config["settings"].items() if flag in names_of(kind)})
    negatives = config["made_from"].get("negatives")
    if negatives:
        data.hard = SimpleNamespace(width=negatives["width"])
    try:
        model = model_class(name)(data, settings, torch.Generator(device)).to(device)
        model.load_state_dict(torch.load(run / "best.pt", weights_only=True, map_location=device)["model"])
    except (AttributeError, TypeError) as error:  # a flag that had other values then
        raise InputError(f"{run}: was made by another version of this program ({str(error)[:60]})") from None
    except (RuntimeError, LookupError, EOFError, pickle.UnpicklingError) as error:
        raise InputError(f"{run}/best.pt: holds no weights of {name} ({str(error)[:60]})") from None
    return model.eval()


def train_file(folder, made_from):
    """The CSV the run was trained on, wherever in the data set's folder it lies now, known by its SHA-256."""
    for path in sorted(folder.rglob(made_from["train_csv"])):
        if utils.sha256(path) == made_from["sha256"]:
            return path
    raise InputError(f"{folder}: holds no {made_from['train_csv']} as the run was trained on; --data_dir names another")
