"""What a finished run recommends, to one user, to all, or to somebody new, and what it knows of a user.

    python main.py --recommend USER --run PATH
    python main.py --recommend all --run PATH --out lists.csv
    python main.py --stars ITEM=5 ITEM=2 --run PATH
    python main.py --similar ITEM --run PATH

The same in a notebook (in another folder: docs/use_elsewhere.md):

    from recommend import load_run
    run = load_run("result/ML-100K/ReFINe++_2024")
    run.recommend("42", k=10)
"""

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
from options.run import stars_by_item
from preparation.dislikes import tested_on
from preparation.files import STARS, read_ratings
from preparation.locate import folder_of_atomic, folder_of_splits, locate, protocol_of
from preparation.sources import DATASETS
from preparation.titles import item_table
from runs.artefacts import table_of_ranked
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
    name, raw, data_folder = locate_splits(folder, settings, data_dir)
    train_csv = train_file(data_folder, config["made_from"])
    device = hardware.pick_device(device)
    data = dataloader.load(data_folder, name, train_csv, device, bool(protocol_of(settings)))
    titles = item_table(raw, data.item_ids).title.reindex(data.item_ids, fill_value="").to_numpy()
    return FinishedRun(folder, load_model(folder, config, data, device), titles, train_csv, data_folder, name)


def locate_splits(folder, settings, data_dir=None):
    """(name, folder of the .item file, folder of the CSVs) of the finished run in a folder.

    settings: of its config.json.  data_dir: as of load_run.
    """
    # Relative paths in the settings start from the folder in which the run was begun, as the place of its own folder
    # tells.  Where that has been moved, or its data are gone, from the current one.
    results = Path(folder).resolve().parents[1]
    result_dir, dataset = Path(settings.get("result_dir", "result")), settings["dataset"]
    begun = Path(str(results).removesuffix(str(result_dir)))
    if result_dir.is_absolute() or begun / result_dir != results or not (begun / settings["data_dir"]).is_dir():
        begun = Path()
    if dataset not in DATASETS and (begun / dataset).exists():
        dataset = str(begun / dataset)
    name, raw, of_data = locate(dataset, Path(data_dir or begun / settings["data_dir"]))
    return name, folder_of_atomic(raw, of_data), folder_of_splits(of_data, protocol_of(settings))


class FinishedRun:
    """What load_run returns.

    data: dataloader.TrainData.  titles: (I,) by item number, "" where there is none.  splits: the folder of its CSVs.
    """

    def __init__(self, folder, model, titles, train_csv, splits, dataset):
        self.model, self.data, self.titles, self.train_csv = model, model.data, titles, train_csv
        self.folder, self.splits, self.dataset = folder, splits, dataset
        summary = utils.read_json(folder / "summary.json")
        self.name, self.refined_by = summary["model"], summary.get("llm")

    def numbers_of(self, what, ids):
        """The numbers of ids, (n,).  what: "user" or "item".  Raises InputError where the run does not know one."""
        known = getattr(self.data, f"{what}_ids")
        ids = [str(each) for each in ids]
        numbers = pd.Index(known).get_indexer(ids)
        unknown = np.array(ids, object)[numbers < 0]
        if len(unknown):
            words = ", ".join(unknown[:5])
            if len(unknown) > 5:
                words += f" and {len(unknown) - 5} more"
            look = f"they look like {known[0]}, {known[-1]}"
            if what == "item":
                look += "; leave out what it does not know"
            raise InputError(f"{what} {words}: not among the {len(known)} {what}s of {self.train_csv}; {look}")
        return numbers

    def recommend(self, user, k=20):
        """The k best items for a user: a DataFrame item, title, score, best first.

        user: a user id, or {item id: 1 to 5 stars} of somebody whom the run was not trained on.  Items that the user
        has rated in train, or given stars here, are left out, so it may be shorter.  Only the order of the scores means
        anything.  Raises InputError for an unknown user or item, and where the stars tell the model nothing.
        """
        table = self.recommend_to_new(user, k) if isinstance(user, dict) else self.recommend_all(k, [user])
        return table[["item", "title", "score"]]

    def recommend_all(self, k=20, users=None):
        """The same for these user ids, None for all: a DataFrame user, rank, item, title, score."""
        numbers = np.arange(self.data.n_users) if users is None else self.numbers_of("user", users)
        if not len(numbers):
            raise InputError("users: names nobody; leave it out for all users")
        with torch.no_grad():
            vectors = self.model.embeddings()
            ranked = evaluation.rank(*vectors, self.data.seen, numbers, self.at_most(k), USERS_AT_ONCE)
            return table_of_ranked(ranked, self.data, self.titles)

    def recommend_to_new(self, stars, k):
        """What recommend() takes its columns from for one user who is not in the run.  stars: {item id: 1 to 5}."""
        items = self.numbers_of("item", stars)
        expected = "stars of a new user: expected 1, 2, 3, 4 or 5 for each item"
        for item, rating in stars.items():
            if rating not in STARS:
                raise InputError(f"{expected}, not {item}={rating}")
        if len(set(items)) < len(items):
            raise InputError(f"{expected}, and each item once")
        user, ratings = np.zeros(len(items), int), np.array(list(stars.values()), float)
        row = self.model.fold_in(user, items, ratings, 1)  # (1, d)
        if not row.any():
            raise InputError(f"stars of a new user: {self.name} can tell nothing from them; give 4 or 5 to some item")
        rated = dataloader.Rows(user, items, 1, self.data.n_items, self.data.device)
        with torch.no_grad():
            _, z_items = self.model.embeddings()
            ranked = evaluation.rank(row, z_items, rated, np.zeros(1, int), self.at_most(k), USERS_AT_ONCE)
            return table_of_ranked(ranked, self.data, self.titles)

    def at_most(self, k):
        """How long a list of k items can be."""
        if k < 1:
            raise InputError(f"k {k}: a list has at least one item")
        return min(k, self.data.n_items)

    def similar(self, item, k=20):
        """The k items that the model finds most like an item id: a DataFrame item, title, score, best first.

        The score is the cosine of the final embeddings; of EASE and Stars, what the item adds to the score of the other
        for who has rated it.  Raises InputError for an unknown item, and of a model that knows no likeness.
        """
        (number,) = self.numbers_of("item", [item])
        scores = self.model.similarities(number).index_fill(0, torch.tensor(number, device=self.data.device), -np.inf)
        best = scores.topk(min(self.at_most(k), self.data.n_items - 1))
        return self.describe(best.indices.cpu().numpy()).assign(score=best.values.cpu().numpy())

    def export(self, path):
        """Write the final vectors of users and items to an .npz that numpy reads without this program.

        user_ids (U,), item_ids (I,): text.  users (U, d), items (I, d): float32; users @ items.T are the scores by
        which items are ranked.  rated_start (U + 1,), rated_items (n,): user u has rated the item numbers
        rated_items[rated_start[u]:rated_start[u + 1]] in train, which lists leave out.

        The vectors of models that learn embeddings are these, and their cosine is similar().  A row of a closed form is
        what it is: of EASE a user's weighted ratings, and an item's weights from all items, so d is I.
        """
        path = Path(path)
        if path.suffix != ".npz":
            raise InputError(f"{path}: the name must end in .npz")
        with torch.no_grad():
            users, items = self.model.embeddings()
        arrays = {
            "user_ids": self.data.user_ids.astype(str),
            "item_ids": self.data.item_ids.astype(str),
            "users": users.cpu().numpy(),
            "items": items.cpu().numpy(),
            "rated_start": self.data.seen.start,
            "rated_items": self.data.seen.cols,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        utils.write_npz(path, lambda f: np.savez(f, **arrays))

    def describe(self, items):
        """Item numbers -> a DataFrame item, title."""
        return pd.DataFrame({"item": self.data.item_ids[items], "title": self.titles[items]})

    def rated(self, user, rows):
        """The items of a user in data.positives, .confirmed_negatives, .validation or .test: as describe."""
        return self.describe(rows.entries(self.numbers_of("user", [user]))[1].cpu().numpy())

    def with_stars(self, user, table):
        """A table of describe() of items rated in train, with the columns stars, as the user gave them, and refined:
        whether something else was trained on.  Where train_original is gone, nothing is known to be refined."""
        rows = self.original
        if rows is None:
            return table.assign(stars=np.nan, refined=False)
        rows = rows[(rows.user == str(user)).to_numpy()].drop_duplicates("item", keep="last")
        train, own = self.data.train, self.data.train.users == self.numbers_of("user", [user])[0]
        stars = table.item.map(dict(zip(rows.item, rows.rating, strict=True)))
        used = table.item.map(pd.Series(train.rating[own], self.data.item_ids[train.items[own]]))
        return table.assign(stars=stars, refined=stars.notna() & (stars != used))

    @cached_property
    def original(self):
        """The train ratings as users gave them, None where they are not known to differ from those trained on."""
        path = self.splits / f"{self.dataset}_train_original.csv"
        return None if path == self.train_csv or not path.exists() else read_ratings(path, ",", STARS)

    def withheld(self, user, kind):
        """The items of a user in the validation and test parts, a set.  kind: "" of likes, or "_dislikes"."""
        items = set()
        for part in (f"validation{kind}", f"test{kind}"):
            held_out = getattr(self.data, part)
            if held_out:
                items.update(self.rated(user, getattr(held_out, "rows", held_out)).item)
        return items


def ratings_of(folder):
    """(train CSV, what summary.json says of its labels) of a finished run."""
    config, summary = read_config(Path(folder)), utils.read_json(Path(folder) / "summary.json")
    _, _, data_folder = locate_splits(folder, config["settings"])
    keys = (
        "dataset_augment", "llm", "llm_mode", "shuffled", "llm_shuffle", "labels_saw_dislikes", "refinement",
        "prompt", "prompt_hash", "users",
    )  # fmt: skip
    labels = {key: summary[key] for key in keys if key in summary}  # nothing was refined for some runs
    return train_file(data_folder, config["made_from"]), labels


def held_out(folder):
    """{part: SHA-256} of the CSVs that a run was tested on, which tell runs of two protocols apart."""
    return tested_on(read_config(Path(folder))["made_from"])


def recommend(options):
    """The command: print what is asked of a finished run, or write it to a file.  options: LookingSettings."""
    out, k, about = options.out, options.top_k[-1], ""
    if out and out.exists() and out.resolve().parent == options.run.resolve():
        raise InputError(f"--out {out}: is a file of the run itself; give another name")
    run = load_run(options.run, options.data_dir, options.device)
    if options.similar:
        table, about = run.similar(options.similar, k), f"Most like item {options.similar}"
    elif options.stars:
        stars = stars_by_item(options.stars)
        table, about = run.recommend(stars, k), f"Recommended to somebody new with {len(stars)} ratings"
    elif out:
        table = run.recommend_all(k, users_meant(run, options.recommend))
    else:
        return print_user(run, options.recommend, k, options.run)
    if out:
        utils.write_table(out, table)
        of_whom = f" of {table.user.nunique()} users" if "user" in table else ""
        print(f"{out}: {len(table)} rows{of_whom}, at most {run.at_most(k)} items each; {run.name} of {options.run}")
        return
    print(f"{about}, by score; {run.name} of {options.run}")
    for row in table.itertuples():
        print(f"{row.score:8.3f}   {line(row)}")


def users_meant(run, word):
    """The user ids of --recommend with --out, None for all: one id, "all", or the ids in a text file, one a line."""
    if word in run.data.user_ids:
        return [word]
    if word == "all":
        return None
    if not Path(word).is_file():
        run.numbers_of("user", [word])  # which says that there is no such user
    try:
        users = list(filter(None, map(str.strip, Path(word).read_text(encoding="utf-8-sig").splitlines())))
    except UnicodeDecodeError:
        users = []
    if not users:
        raise InputError(f"--recommend {word}: is neither a user of the run nor a text file with a user id a line")
    return users


def print_user(run, user, k, folder):
    """Print what a run recommends to a user, and what it knows of them."""
    if user == "all" and user not in run.data.user_ids:
        raise InputError("--recommend all: needs --out FILE, to which the lists are written")
    data, table = run.data, run.recommend(user, k)

    n_rated = data.seen.count(run.numbers_of("user", [user]))[0]
    print(f"User {user}, {n_rated} train ratings; {run.name} of {folder}")
    if run.refined_by and run.original is None:
        print(f"Which ratings were refined is not known: {run.splits} holds no {run.dataset}_train_original.csv")
    for words, rows in (("Likes", data.positives), ("Confirmed negatives", data.confirmed_negatives)):
        known = run.with_stars(user, run.rated(user, rows))
        source = refined_in_words(known, run.refined_by)
        print(f"\n{words}: {len(known)}{source}", *map(line, known[:SHOWN].itertuples()), sep="\n")
        if len(known) > SHOWN:
            print(f"{'':10}and {len(known) - SHOWN} more")
    liked, disliked = run.withheld(user, ""), run.withheld(user, "_dislikes")
    marks, note = "* liked", "; dislikes are all in train, so none can be here"
    if data.test_dislikes:
        marks, note = "* liked, - disliked", ""
    print(f"\nRecommended, by score ({marks} in the withheld validation or test part{note})")
    for row in table.itertuples():
        mark = " "
        if row.item in liked:
            mark = "*"
        elif row.item in disliked:
            mark = "-"
        print(f"{row.score:8.3f} {mark} {line(row)}")


def refined_in_words(known, llm):
    """", of which 42 by rule (42 were rated 3; marked)".  known: of with_stars.  llm: what refined them."""
    counts = known.stars[known.refined].value_counts().sort_index()
    if not len(counts):
        return ""
    stars = [f"{n} were rated {star:g}" for star, n in counts.items()]
    whose = {"published": "the authors' labels", "file": "the labels in the data folder"}.get(llm, llm)
    return f", of which {counts.sum()} by {whose} ({', '.join(stars)}; marked)"


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
