"""Refinement: a language model sorts each user's low-rated items into liked and confirmed negatives.

    python llm_feedback.py report PATH       the report card of an answers.jsonl, or of a train_augment CSV

    refine      train_original + item texts -> answers.jsonl, report.json, train_augment CSV
    merge       answer records -> one verdict a candidate              (majority or mean score over the orders asked)
    apply       verdicts -> refined ratings                            (what training sees)

feedback/questions.py says whom to ask about what.  A way of asking is a file beside it that turns questions into answer
records; answers.py keeps them, report.py says what they are worth.  Knows ratings and item texts, nothing of graphs.
Verdicts are liked, disliked or unanswered, by item id, never by title (45 ids of ML-100K share a title).
"""

import hashlib
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from data.files import read_ratings
from data.sources import DATASETS
from dataloader import CONFIRMED, LIKED, STARS, git_blob_id, sha256
from feedback import controls, embed
from feedback.answers import Answers
from feedback.questions import item_texts, whom_to_ask
from feedback.report import report, report_lines
from utils import InputError, write_atomically, write_json

VOTES = {"liked": 1, "disliked": -1, "unanswered": None}


def refine(name, folder, items, options, device, log=print):
    """Returns (train CSV to use, {"llm", "llm_mode", "refinement": report card}).

    items: dataloader.item_table.  A train_augment CSV in the data folder is used as it is, unless --llm names a
    model.  Answers are appended to answers.jsonl one question a line, so that a killed run goes on where it was.
    """
    found, original = folder / f"{name}_train_augment.csv", folder / f"{name}_train_original.csv"
    if options.llm == "auto" and found.exists():
        check_same_pairs(found, original)
        published = name in DATASETS and git_blob_id(found) == DATASETS[name].labels
        whose = "the authors' published labels" if published else "as found"
        log(f"refined ratings: {found}, {whose}; no language model asked")
        return found, {"llm": "published" if published else "file", "llm_mode": None}
    ratings = read_ratings(original, ",", STARS)
    if options.llm in controls.CONTROLS:
        llm, mode = options.llm, None
        asked = whom_to_ask(ratings, "ask")
        settings = {"llm": llm, "seed": options.llm_seed, "ratings": sha256(original)}
        out = folder / "feedback" / (f"{llm}-{options.llm_seed}" if llm == "random" else llm)
    else:
        if items.empty:
            raise InputError(
                f"--dataset {name}: has no .item file, so no titles to ask about; add it, or use --llm rule or "
                "--dataset_augment original"
            )
        llm, mode = embed.DEFAULT_LLM if options.llm == "auto" else options.llm, "embed"
        asked = whom_to_ask(ratings, options.unasked_twos)
        weights = embed.model_folder(llm, options.data_dir)
        texts = item_texts(items, asked.item_ids, genres=True)
        settings = {
            "llm": llm,
            "revision": {p.name: sha256(p) for p in sorted([*weights.glob("*.safetensors"), *weights.glob("*.json")])},
            "mode": mode,
            "method": embed.METHOD_VERSION,
            "dtype": "float32",
            "attention": embed.ATTENTION,
            "batch_size": embed.BATCH_SIZE,
            "asked": "all 2s" if options.unasked_twos == "ask" else "2s below the user's mean",
            "ratings": sha256(original),
            "texts": hashlib.sha256("\n".join(texts).encode()).hexdigest(),
        }
        out = folder / "feedback" / f"{Path(llm).name}-embed"
    with Answers(out / "answers.jsonl", settings) as answers:
        done = {record["user"] for record in answers.records}
        left = [user for user in asked.candidates if user not in done]
        if left:
            log(f"refining with {llm}: {len(left)} users to ask about, {len(done)} answered earlier")
        if left and not mode:
            for user in left:
                answers.add(controls.answer(user, asked, llm, options.llm_seed))
        elif left:
            vectors = embed.encode_texts(texts, weights, device)
            for user in tqdm(left, unit="user", disable=None):
                answers.add(embed.answer(user, asked, vectors))
        records = answers.records
    judged = merge(records)
    refined = apply(ratings, {pair: judged[pair][0] for pair in asked.pairs if pair in judged}, options.unasked_twos)
    path = out / f"{name}_train_augment.csv"
    columns = {"user_id:token": ratings.user, "item_id:token": ratings.item, "rating:float": refined}
    write_atomically(path, lambda p: pd.DataFrame(columns).to_csv(p, index=False, lineterminator="\n"))
    card = report(asked, records, judged, ratings, refined)
    write_json(out / "report.json", card)
    log(f"refined ratings: {path}", *report_lines(card))
    return path, {"llm": llm, "llm_mode": mode, "refinement": card}


def check_same_pairs(found, original):
    """Raises InputError unless both train files are about the same (user, item) pairs."""
    tables = (read_ratings(path, ",", (CONFIRMED, *STARS, LIKED)) for path in (found, original))
    pairs = [set(zip(table.user, table.item, strict=True)) for table in tables]
    if pairs[0] != pairs[1]:
        raise InputError(
            f"{found}: is not about the same user-item pairs as {original.name} ({len(pairs[0] ^ pairs[1])} pairs "
            "are in one of them only); put the whole file there, or take it away to have the ratings refined here"
        )


def merge(records):
    """{(user, item): (verdict, margin)} of everything that was judged.

    Where an item was judged in several orders, the mean margin decides: score minus threshold where the model gave
    scores (0 is liked), else 1 for liked and -1 for disliked, unanswered left out (None if all are).  A draw of votes is
    unanswered.
    """
    margins = defaultdict(list)
    for record in records:
        items, given = record["items"], [VOTES[verdict] for verdict in record["verdicts"]]
        if "scores" in record:
            items = items + record.get("known_items", [])
            given = [score - record["threshold"] for score in record["scores"] + record.get("known_scores", [])]
        for item, margin in zip(items, given, strict=True):
            margins[record["user"], item].append(margin)
    judged, scored = {}, any("scores" in record for record in records)
    for pair, given in margins.items():
        given = [margin for margin in given if margin is not None]
        mean = float(np.mean(given)) if given else None
        draw = mean is None or (mean == 0 and not scored)
        judged[pair] = ("unanswered" if draw else "liked" if mean >= 0 else "disliked"), mean
    return judged


def apply(ratings, verdicts, unasked_twos):
    """Refined ratings (rows,) from {(user, item): verdict} of the candidates: liked 2s and 3s become 4.5, disliked ones 0.5, unanswered ones stay as they are.

    unasked_twos: "confirmed" makes the 2s that were not asked about 0.5 for every user with a verdict, as the
    released labels have it (such a 2 lies below the user's mean); "neutral" leaves them.
    """
    refined = ratings.rating.to_numpy().copy()
    code = {"liked": LIKED, "disliked": CONFIRMED}
    answered = {user for (user, _), verdict in verdicts.items() if verdict in code}
    users, items = ratings.user.astype(object).to_numpy(), ratings.item.astype(object).to_numpy()
    for row in np.flatnonzero((refined == 2) | (refined == 3)):
        verdict = verdicts.get((users[row], items[row]))
        if verdict in code:
            refined[row] = code[verdict]
        elif not verdict and unasked_twos == "confirmed" and refined[row] == 2 and users[row] in answered:
            refined[row] = CONFIRMED
    return refined
