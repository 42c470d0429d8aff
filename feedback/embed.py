"""Mode "embed": an encoder's verdicts on a user's candidates, from the similarity of item texts."""

import numpy as np

from feedback.questions import unanswered, verdicts_of
from llm.encoder import encode_texts

METHOD_VERSION = 2  # raise it when verdicts would differ, so that old answers are not mixed with new


def answers(questions, train, texts, weights, device):
    """Yields a record for each question."""
    vectors = encode_texts(texts, weights, device)
    yield from (answer(question, train, vectors) for question in questions)


def answer(question, train, vectors):
    """The record of a question about all of a user's candidates.

    Score of an item = mean similarity to the user's likes (4, 5) minus mean similarity to the dislikes (1,
    and 2 where 2s are not candidates), the item itself left out.  The user's threshold is the score that calls
    as large a share of the known likes and dislikes "liked" as the user did.  Without a like or a dislike there
    is nothing to calibrate on and every candidate stays unanswered.  Of thumbs the candidates themselves are the
    dislikes, so it takes two.
    """
    likes, dislikes = question.likes, question.dislikes  # the whole profile
    needed = 2 if train.two_valued else 1
    if not len(likes) or len(dislikes) < needed:
        side = "dislike" if len(likes) else "like"
        return unanswered(question, train, f"no {side} to calibrate on")
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
