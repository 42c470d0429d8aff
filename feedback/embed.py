"""Mode "embed": an encoder's verdicts on a user's candidates, from the similarity of item texts."""

import numpy as np
import torch
from tqdm import tqdm

from feedback.questions import verdicts_of
from feedback.weights import load
from utils import InputError

METHOD_VERSION = 2  # raise it when verdicts would differ, so that old answers are not mixed with new
BATCH_SIZE = 64  # item texts encoded at once


@torch.no_grad()
def encode_texts(texts, weights, device, flag="--llm"):
    """Texts -> unit vectors (n, d), float32.  flag: to name in messages.

    A vector is the mean of the encoder's token vectors over the text, less the mean over all
    items, normalised.  Taking out what all items share pays, and so do year and genres in the
    text.  The report card's AUC on ML-100K is .51 for titles alone, .54 and .57 with either, .60
    with both.
    """
    tokenizer, encoder = load("AutoModel", weights, "float32", device, flag)
    if tokenizer.pad_token is None or encoder.config.is_encoder_decoder:
        raise InputError(
            f"{flag} {weights}: is not an encoder model (no padding token, or a decoder)"
        )
    # batches of like length need little padding; items without a title have no text
    lengths = np.array([len(text) for text in texts])
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] > 0]
    vectors = np.zeros((len(texts), encoder.config.hidden_size), np.float32)
    firsts = range(0, len(order), BATCH_SIZE)
    for first in tqdm(firsts, unit="batch", desc="encoding items", disable=None):
        chunk = order[first : first + BATCH_SIZE]
        batch = [texts[item] for item in chunk]
        tokens = tokenizer(
            batch, padding=True, truncation=True, max_length=256, return_tensors="pt"
        ).to(device)
        states = encoder(**tokens).last_hidden_state  # (b, tokens, d)
        mask = tokens["attention_mask"].unsqueeze(-1)  # (b, tokens, 1)
        means = (states * mask).sum(1) / mask.sum(1)  # (b, d)
        vectors[chunk] = means.cpu().numpy()
    vectors -= vectors[lengths > 0].mean(0)  # what all items share
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(lengths, 1e-12)


def answers(questions, train, texts, weights, device):
    """Yields a record for each question."""
    vectors = encode_texts(texts, weights, device)
    for question in questions:
        yield answer(question, train, vectors)


def answer(question, train, vectors):
    """The record of a question about all of a user's candidates.

    Score of an item = mean similarity to the user's likes (4, 5) minus mean similarity to the
    dislikes (1, and 2 where 2s are not candidates), the item itself left out.  The user's
    threshold is the score that calls as large a share of the known likes and dislikes "liked" as
    the user did.  Without a like or a dislike there is nothing to calibrate on and every candidate
    stays unanswered.
    """
    likes, dislikes = question.likes, question.dislikes  # the whole profile
    if not (len(likes) and len(dislikes)):
        side = "dislike" if len(likes) else "like"
        verdicts = ["unanswered"] * len(question.items)
        return question.record(train, verdicts=verdicts, reason=f"no {side} to calibrate on")
    scores = score(question.items, likes, dislikes, vectors)

    # The known ratings get scores as well.  The report card's AUC is measured on all of them (with
    # the 2s that are candidates), the threshold on those of the profile.
    items, stars = train.ratings[question.user]
    is_known = ((stars >= 4) | (stars <= 2)) & train.has_title[items]
    known_items = items[is_known]
    known_scores = score(known_items, likes, dislikes, vectors)
    in_profile = np.isin(known_items, np.concatenate([likes, dislikes]))
    disliked_share = len(dislikes) / (len(likes) + len(dislikes))
    threshold = np.quantile(known_scores[in_profile], disliked_share)
    return question.record(
        train,
        verdicts=verdicts_of(scores, threshold),
        scores=rounded(scores),
        threshold=round(float(threshold), 8),
        known_items=train.item_ids[known_items].tolist(),
        known_scores=rounded(known_scores),
    )


def rounded(scores):
    return [round(float(score), 8) for score in scores]


def score(items, likes, dislikes, vectors):
    """Mean similarity to likes minus mean similarity to dislikes: (items,)."""
    return mean_similarity(items, likes, vectors) - mean_similarity(items, dislikes, vectors)


def mean_similarity(items, side, vectors):
    """Mean similarity of each item to one side of the profile, itself left out: (items,)."""
    is_other = items[:, None] != side[None, :]  # (items, side)
    similarity = np.where(is_other, vectors[items] @ vectors[side].T, 0)  # (items, side)
    return similarity.sum(1) / np.maximum(is_other.sum(1), 1)
