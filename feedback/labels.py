"""Refined ratings as tables: a DataFrame of ratings in, the same with what became of each out.

    refine      ratings and items of a notebook -> refined ratings, by the stage that main.py runs (refinement.py)
    table_of    the folder of a refinement, read by decisions.py -> a DataFrame

What they mean: docs/refinement.md.  Refined ratings in other libraries' formats: export.py.
"""

from contextlib import nullcontext
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from feedback import refinement
from feedback.controls import CONTROLS
from feedback.decisions import read_refinement, read_train
from machine import hardware
from options import command_line
from options.flag import own_names_of
from options.refinement import RefinementSettings
from preparation.files import STARS
from preparation.own import ITEM, write_atomic_file
from preparation.splits import COLUMNS
from preparation.titles import item_table, on_one_line
from utils import InputError, write_atomically

NAME = "ratings"  # of the data set that refine() makes of DataFrames
NOT_HERE = {"llm", "llm_dry_run", "llm_labels", "llm_shuffle"}  # flags that are no arguments of refine()
MODELS_BELOW = Path(__file__).resolve().parents[1] / "data"  # where main.py keeps the files of language models, too


say = partial(print, sep="\n")


def refine(ratings, items=None, llm="rule", folder=None, device="auto", log=say, **flags):
    """Ratings with two more columns: refined, the rating that training would see, and decision.

    ratings: a DataFrame with user, item and rating (whole stars, 1 to 5), each pair once; other columns stay.
    items: a DataFrame with item, title and, if known, year and genre; rule, twos and random do without.
    llm: as --llm of main.py.
    folder: where answers are kept, so that the same call goes on where it was interrupted; a model needs one.
    flags: those of main.py for refinement, such as llm_mode="score"; data_dir, the folder of downloaded models.
    log: called with the lines that main.py prints.

    decision is positive (4 and 5), liked, confirmed negative (1s too), unanswered, or neutral (nobody asked).
    Raises InputError for what cannot be used; nothing is asked then.
    """
    options = settings_of(llm, flags)
    train = text_of_ratings(ratings)
    described = None if items is None else table_of_items(items)
    if folder is None and llm not in CONTROLS:
        raise InputError(f"refine, llm {llm}: needs folder=PATH, where answers are kept; nothing is asked twice then")
    where = TemporaryDirectory() if folder is None else nullcontext(folder)
    with where as path:
        base = Path(path)
        base.mkdir(parents=True, exist_ok=True)
        original = base / f"{NAME}_train_original.csv"
        if original.exists() and original.read_text(encoding="utf-8") != train:
            raise InputError(f"{base}: was begun with other ratings; give another folder, or delete it to ask anew")
        write_atomically(original, lambda p: p.write_text(train, encoding="utf-8"))
        if items is not None:
            write_atomically(base / f"{NAME}.item", lambda p: write_atomic_file(p, described, ITEM))
        device = hardware.pick_device(device)
        labels, _ = refinement.refine(NAME, base, item_table(base), options, device, log)
        read = read_train(labels.parent)
        table = table_of(read_refinement(labels.parent, read), read)
    columns = {name: table[name].to_numpy() for name in ("refined", "decision")}
    return ratings.assign(**columns)


def settings_of(llm, flags):
    """RefinementSettings.  Raises InputError for a flag that there is not, and as main.py does."""
    known = [*(name for name in own_names_of(RefinementSettings) if name not in NOT_HERE), "data_dir"]
    for name, value in flags.items():
        if name not in known:
            hint = command_line.did_you_mean(name, known)
            raise InputError(f"refine, {name}: is no argument{hint} (there are {', '.join(known)})")
        choices = command_line.FLAGS[name].more.get("choices")
        if choices and value not in choices:
            raise InputError(f"refine, {name} {value}: must be one of {', '.join(choices)}")
    if llm == "shuffled":
        raise InputError("refine, llm shuffled: needs labels to shuffle, which only main.py has")
    given = {"dataset": NAME, "llm": str(llm), "data_dir": MODELS_BELOW, **flags}
    return command_line.make(given).refinement


def text_of_ratings(ratings):
    """The train CSV of a DataFrame.  Raises InputError, naming the row, for what is no rating."""
    require_columns("ratings", ratings, ("user", "item", "rating"))
    if not len(ratings):
        raise InputError("ratings: is empty; a row is user, item, rating")
    stars = pd.to_numeric(ratings.rating, errors="coerce")
    wrong = ~stars.isin(STARS).to_numpy()
    if wrong.any():
        row, value = ratings.index[wrong][0], ratings.rating[wrong].iloc[0]
        raise InputError(f"ratings, row {row}: rating {value}, expected whole stars, 1 to 5; map other scales first")
    ids = {name: tokens(ratings[name], f"ratings, column {name}") for name in ("user", "item")}
    table = pd.DataFrame(ids | {"rating": stars.astype(int).to_numpy()})
    twice = table.duplicated(["user", "item"])
    if twice.any():
        user, item = table.loc[twice.idxmax(), ["user", "item"]]
        cure = 'ratings.drop_duplicates(["user", "item"], keep="last") keeps the last'
        raise InputError(f"ratings: user {user} has rated item {item} twice; {cure}")
    return table.to_csv(index=False, header=COLUMNS, lineterminator="\n")


def table_of_items(items):
    """The rows of an .item file: titles on one line, genres set apart by spaces."""
    require_columns("items", items, ("item", "title"))
    table = pd.DataFrame({"item": tokens(items["item"], "items, column item")})
    for name in ("title", "year", "genre"):
        table[name] = ""
        if name in items:
            table[name] = [on_one_line(in_words(cell)) for cell in items[name]]
    table["genre"] = table.genre.str.replace("|", " ", regex=False)
    return table


def require_columns(what, table, names):
    missing = [name for name in names if name not in table]
    if missing:
        found = ", ".join(map(str, table.columns))
        raise InputError(f"{what}: has no column {missing[0]}; it needs {', '.join(names)}, and has {found}")


def tokens(column, where):
    """Ids as text, (rows,).  Raises InputError for one that a table with tabs cannot hold."""
    ids = []
    for row, cell in zip(column.index, column, strict=True):
        token = in_words(cell)
        if not token.strip() or token != on_one_line(token):
            raise InputError(f"{where}, row {row}: {token!r} is no id: it is on one line, without spaces around it")
        ids.append(token)
    return ids


def in_words(cell):
    """A cell as text; "" where it is missing, "1995" of 1995.0, which pandas makes beside missing ones."""
    if pd.isna(cell):
        return ""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def table_of(refined, train):
    """A DataFrame user, item, rating, refined, decision of a decisions.Refinement, in the order of the train rows.

    train: its decisions.Train.  What labels without answers left as it was is neutral: who was asked is not known.
    Raises InputError where there are no labels yet.
    """
    if not refined.labels:
        where = "the same command of main.py goes on, or they lie in a folder beside it whose name begins as this one's"
        raise InputError(f"{refined.folder}: holds answers but no labels (..._train_augment.csv) yet; {where}")
    asked = refined.train.pairs if refined.settings else set()
    table = pd.DataFrame(list(train.stars), columns=["user", "item"])
    table["rating"], table["refined"] = list(train.stars.values()), list(refined.labels.values())
    cases = {
        "positive": table.rating >= 4,
        "liked": table.refined >= 4,
        "confirmed negative": table.refined <= 1,
        "unanswered": [pair in asked for pair in train.stars],
    }
    return table.assign(decision=np.select(list(cases.values()), list(cases), "neutral"))
