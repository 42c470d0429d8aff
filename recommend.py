"""What a finished run recommends to one user, and what it knows of them.

    python main.py --recommend USER_ID --run PATH
"""

import pickle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

import dataloader
import flags
import utils
from atomic_files import preparation
from baselines import MODELS
from run_folder import read_config
from utils import InputError

SHOWN = 20  # of a user's likes and confirmed negatives; the rest is counted


def recommend(options):
    """Print both.  The run's best weights are loaded into a model built from its settings and train file anew.

    Raises InputError where the folder holds no finished run, its train file is gone or changed, or the user unknown.
    """
    if not (options.run / "summary.json").exists():
        raise InputError(f"--run {options.run}: holds no finished run (no summary.json)")

    # the data set the run was trained on
    config = read_config(options.run)
    given = options.data_dir != flags.parser().get_default("data_dir")
    device = utils.pick_device(options.device)
    data, train_csv, raw = load_data(config, options.data_dir if given else None, device)
    user = np.flatnonzero(data.user_ids == options.recommend)  # (1,)
    if not len(user):
        known = f"they look like {data.user_ids[0]}, {data.user_ids[-1]}"
        raise InputError(f"--recommend {options.recommend}: not among the {data.n_users} users of {train_csv}; {known}")

    # what it recommends
    model = load_model(options.run, config, data, device)
    k = min(options.top_k[-1], data.n_items)
    with torch.no_grad():
        ((_, items, scores),) = utils.rank(*model.embeddings(), data.seen, user, k, 1)
    ranked = list(zip(items[0].tolist(), scores[0].tolist(), strict=True))

    n_rated = data.seen.count(user)[0]
    print(f"User {options.recommend}, {n_rated} train ratings; {config['settings']['model']} of {options.run}")
    show(user, ranked, data, preparation.item_table(raw))


def show(user, ranked, data, item_table):
    """Print what is known of a user, and [(item, score), ...]."""
    titles = item_table.title.reindex(data.item_ids, fill_value="").to_numpy()

    def describe(item):
        return f"{data.item_ids[item]:>8}  {titles[item]}".rstrip()

    def of_user(rows):
        return rows.entries(user)[1].tolist()

    for words, rows in (("Likes", data.positives), ("Confirmed negatives", data.confirmed_negatives)):
        known = of_user(rows)
        print(f"\n{words}: {len(known)}", *map(describe, known[:SHOWN]), sep="\n")
        if len(known) > SHOWN:
            print(f"{'':10}and {len(known) - SHOWN} more")
    withheld = {*of_user(data.validation), *of_user(data.test)}
    print("\nRecommended, by score (* liked in the withheld validation or test part)")
    for item, score in ranked:
        if score > -np.inf:
            print(f"{score:8.3f} {'*' if item in withheld else ' '} {describe(item)}")


def load_data(config, data_dir, device):
    """(TrainData, train CSV, folder of the raw files) of the run with this config.json.

    data_dir: where the data sets lie now; None: where they lay then.  Raises InputError.
    """
    settings = config["settings"]
    name, raw, folder = preparation.locate(settings["dataset"], Path(data_dir or settings["data_dir"]))
    train_csv = train_file(folder, config["made_from"])
    return dataloader.load(folder, name, train_csv, device), train_csv, raw


def load_model(run, config, data, device):
    """The model of a finished run with its best weights, ready to rank.  Raises InputError.

    The folder of hard negatives that HNLMRec was trained with need not be there.
    """
    model_name = config["settings"]["model"]
    defaults = vars(flags.parse(["--dataset", "x", "--model", model_name]))  # of flags that are newer than the run
    settings = SimpleNamespace(**defaults | config["settings"])
    negatives = config["made_from"].get("negatives")
    if negatives:
        data.hard = SimpleNamespace(width=negatives["width"])
    model = MODELS[model_name](data, settings, torch.Generator(device)).to(device)
    try:
        model.load_state_dict(torch.load(run / "best.pt", weights_only=True, map_location=device)["model"])
    except (RuntimeError, LookupError, EOFError, pickle.UnpicklingError) as error:
        raise InputError(f"{run}/best.pt: holds no weights of {model_name} ({str(error)[:60]})") from None
    return model.eval()


def train_file(folder, made_from):
    """The CSV the run was trained on, wherever in the data set's folder it lies now, known by its SHA-256."""
    for path in sorted(folder.rglob(made_from["train_csv"])):
        if utils.sha256(path) == made_from["sha256"]:
            return path
    raise InputError(f"{folder}: holds no {made_from['train_csv']} as the run was trained on; --data_dir names another")
