"""Refinement: a language model sorts each user's low-rated items into liked and confirmed negatives.

    refine      train_original + item texts -> answers.jsonl, report.json, train_augment CSV
    questions   whom to ask about what                            (which ratings are likes, dislikes, candidates)
    apply       verdicts -> refined ratings                       (what training sees)

A way of asking is a file in feedback/ that turns questions into answer records (embed.py); answers.py keeps them,
report.py says what they are worth.  Knows ratings and item texts, nothing of graphs.  Verdicts are liked, disliked
or unanswered, by item id, never by title (45 ids of ML-100K share a title).
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from data.files import encode, read_ratings, sort_ids
from data.sources import DATASETS
from dataloader import CONFIRMED, LIKED, STARS, git_blob_id, sha256
from feedback import embed
from feedback.answers import Answers
from feedback.report import report, report_lines
from utils import InputError, write_atomically, write_json


def refine(name, folder, items, options, device, log=print):
    """Returns (train CSV to use, {"llm", "llm_mode", "refinement": report card}).

    items: dataloader.item_table.  A train_augment CSV in the data folder is used as it is, unless --llm names a
    model.  Answers are appended to answers.jsonl one user a line, so that a killed run goes on where it was.
    """
    found, original = folder / f"{name}_train_augment.csv", folder / f"{name}_train_original.csv"
    if options.llm == "auto" and found.exists():
        check_same_pairs(found, original)
        published = name in DATASETS and git_blob_id(found) == DATASETS[name].labels
        whose = "the authors' published labels" if published else "as found"
        log(f"refined ratings: {found}, {whose}; no language model asked")
        return found, {"llm": "published" if published else "file", "llm_mode": None}
    if items.empty:
        raise InputError(
            f"--dataset {name}: has no .item file, so no titles to ask about; add it or use --dataset_augment original"
        )
    llm = embed.DEFAULT_LLM if options.llm == "auto" else options.llm
    ratings = read_ratings(original, ",", STARS)
    asked = questions(ratings)
    weights = embed.model_folder(llm, options.data_dir)
    texts = item_texts(items, asked.item_ids)
    out = folder / "feedback" / f"{Path(llm).name}-embed"
    settings = {
        "llm": llm,
        "revision": {p.name: sha256(p) for p in sorted([*weights.glob("*.safetensors"), *weights.glob("*.json")])},
        "mode": "embed",
        "method": embed.METHOD_VERSION,
        "dtype": "float32",
        "attention": embed.ATTENTION,
        "batch_size": embed.BATCH_SIZE,
        "ratings": sha256(original),
        "texts": hashlib.sha256("\n".join(texts).encode()).hexdigest(),
    }
    answers = Answers(out / "answers.jsonl", settings)
    left = [user for user in asked.candidates if user not in answers.by_user]
    if left:
        log(f"refining with {llm}: {len(left)} users to ask about, {len(answers.by_user)} answered earlier")
        vectors = embed.encode_texts(texts, weights, device)
        with answers.append() as add:
            for user in tqdm(left, unit="user", disable=None):
                add(embed.answer(user, asked, vectors))
    refined = apply(ratings, answers.by_user, options.unasked_twos)
    path = out / f"{name}_train_augment.csv"
    columns = {"user_id:token": ratings.user, "item_id:token": ratings.item, "rating:float": refined}
    write_atomically(path, lambda p: pd.DataFrame(columns).to_csv(p, index=False, lineterminator="\n"))
    card = report(asked, answers.by_user, ratings, refined)
    write_json(out / "report.json", card)
    log(f"refined ratings: {path}", *report_lines(card))
    return path, {"llm": llm, "llm_mode": "embed", "refinement": card}


def check_same_pairs(found, original):
    """Raises InputError unless both train files are about the same (user, item) pairs."""
    tables = (read_ratings(path, ",", (CONFIRMED, *STARS, LIKED)) for path in (found, original))
    pairs = [set(zip(table.user, table.item, strict=True)) for table in tables]
    if pairs[0] != pairs[1]:
        raise InputError(
            f"{found}: is not about the same user-item pairs as {original.name} ({len(pairs[0] ^ pairs[1])} pairs "
            "are in one of them only); put the whole file there, or take it away to have the ratings refined here"
        )


# -------------------------------------------------------------------------------------------- questions


@dataclass
class Questions:
    """Train ratings by user, in numbers: everything a question is made of."""

    item_ids: np.ndarray  # (I,) tokens
    ratings: dict  # user token -> (item numbers, ratings), in file order
    candidates: dict  # user token -> item numbers to ask about; users without any are left out
    item_count: np.ndarray  # (I,) ratings an item has
    item_sum: np.ndarray  # (I,) sum of them


def questions(ratings):
    """Candidates are a user's 3s, and 2s too when the user's mean train rating is below 3."""
    item_ids, user_ids = sort_ids(ratings.item.unique()), sort_ids(ratings.user.unique())
    users, items = encode(ratings.user, user_ids), encode(ratings.item, item_ids)
    stars = ratings.rating.to_numpy()
    order = np.argsort(users, kind="stable")
    by_user, candidates = {}, {}
    for own in np.split(order, np.flatnonzero(np.diff(users[order])) + 1):
        user, r = user_ids[users[own[0]]], stars[own]
        by_user[user] = items[own], r
        ask = (r == 3) | ((r == 2) & (r.mean() < 3))
        if ask.any():
            candidates[user] = items[own][ask]
    count = np.bincount(items, minlength=len(item_ids))
    return Questions(item_ids, by_user, candidates, count, np.bincount(items, stars, minlength=len(item_ids)))


def item_texts(items, item_ids):
    """What the encoder reads of each item: "Toy Story (1995), Animation, Children's, Comedy"."""
    rows = items.reindex(item_ids, fill_value="")
    texts = []
    for title, year, genre in zip(rows.title, rows.year, rows.genre, strict=True):
        text = f"{title} ({year})" if year else title
        texts.append(", ".join([text, *genre.split()]))
    return texts


def apply(ratings, answers, unasked_twos):
    """Refined ratings (rows,): liked 2s and 3s become 4.5, disliked ones 0.5, unanswered ones stay as they are.

    unasked_twos: "confirmed" makes the 2s that were not asked about 0.5 for every user with a verdict, as the
    released labels have it (such a 2 lies below the user's mean); "neutral" leaves them.
    """
    refined = ratings.rating.to_numpy().copy()
    code = {"liked": LIKED, "disliked": CONFIRMED}
    verdicts = {
        (user, item): code[verdict]
        for user, record in answers.items()
        for item, verdict in zip(record["items"], record["verdicts"], strict=True)
        if verdict in code
    }
    judged = {user for user, _ in verdicts}
    users, items = ratings.user.astype(object).to_numpy(), ratings.item.astype(object).to_numpy()
    for row in np.flatnonzero((refined == 2) | (refined == 3)):
        if (users[row], items[row]) in verdicts:
            refined[row] = verdicts[users[row], items[row]]
        elif unasked_twos == "confirmed" and refined[row] == 2 and users[row] in judged:
            refined[row] = CONFIRMED
    return refined
