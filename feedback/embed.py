"""Mode "embed": an encoder model's verdicts on a user's candidates, from the similarity of item texts."""

import numpy as np
import torch
from tqdm import tqdm

from feedback.weights import load
from utils import InputError

METHOD_VERSION = 2  # raise it when verdicts would come out otherwise: old answers are then not mixed with new
BATCH_SIZE = 64  # item texts encoded at once


@torch.no_grad()
def encode_texts(texts, weights, device):
    """Texts -> unit vectors (n, d), float32: mean of the encoder's token vectors over the text, less the mean over
    all items, normalised.  Taking out what all items share, and year and genres in the text, both pay: the report
    card's AUC on ML-100K is .51 for titles alone, .54 and .57 with either, .60 with both."""
    tokenizer, encoder = load("AutoModel", weights, "float32", device)
    if tokenizer.pad_token is None or encoder.config.is_encoder_decoder:
        raise InputError(f"--llm {weights}: is not an encoder model (no padding token, or a decoder)")
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


def answers(questions, asked, texts, weights, device):
    """Yields a record for each question."""
    vectors = encode_texts(texts, weights, device)
    for question in questions:
        yield answer(question, asked, vectors)


def answer(question, asked, vectors):
    """The record of a question about all of a user's candidates.

    Score of an item = mean similarity to the user's likes (4, 5) minus mean similarity to the dislikes (1, and 2
    where 2s are not candidates), the item itself left out.  The user's threshold is the score that calls as large
    a share of the known likes and dislikes "liked" as the user did; without a like or a dislike there is nothing
    to calibrate on and every candidate stays unanswered.
    """
    items, stars = asked.ratings[question.user]
    likes, dislikes = question.likes, question.dislikes
    if not (len(likes) and len(dislikes)):
        side = "dislike" if len(likes) else "like"
        verdicts = ["unanswered"] * len(question.items)
        return question.record(asked, verdicts=verdicts, reason=f"no {side} to calibrate on")
    hidden = (stars >= 4) | (stars <= 2)  # what the report card's AUC is measured on
    scores = score(question.items, likes, dislikes, vectors)
    known = score(items[hidden], likes, dislikes, vectors)
    profile = known[np.isin(items[hidden], np.concatenate([likes, dislikes]))]
    threshold = np.quantile(profile, len(dislikes) / (len(likes) + len(dislikes)))
    return question.record(
        asked,
        verdicts=["liked" if s >= threshold else "disliked" for s in scores],
        scores=[round(float(s), 8) for s in scores],
        threshold=round(float(threshold), 8),
        known_items=asked.item_ids[items[hidden]].tolist(),
        known_scores=[round(float(s), 8) for s in known],
    )


def score(items, likes, dislikes, vectors):
    """Mean similarity to likes minus mean similarity to dislikes, (items,); an item is not compared to itself."""
    sides = []
    for side in (likes, dislikes):
        other = items[:, None] != side[None, :]  # (items, side)
        similarity = np.where(other, vectors[items] @ vectors[side].T, 0)
        sides.append(similarity.sum(1) / np.maximum(other.sum(1), 1))
    return sides[0] - sides[1]
