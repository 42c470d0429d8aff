"""Whom to ask about what: each user's likes, dislikes and candidates, the questions made of them, and the records made
of answers."""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from atomic_files.files import encode, sort_ids

HIDDEN = 5  # known likes, and known dislikes, at most, hidden among a user's candidates: what a model is measured on


@dataclass
class Asked:
    """Train ratings by user, in numbers: everything a question is made of."""

    user_ids: np.ndarray  # (U,) tokens
    item_ids: np.ndarray  # (I,) tokens
    ratings: dict  # user token -> (item numbers, ratings), in file order
    candidates: dict  # user token -> item numbers to ask about; users without any are left out
    item_count: np.ndarray  # (I,) ratings an item has
    item_sum: np.ndarray  # (I,) sum of them

    @cached_property
    def pairs(self):
        """The candidates as a set of (user token, item token)."""
        return {(user, self.item_ids[item]) for user, items in self.candidates.items() for item in items}

    def likes_and_dislikes(self, user):
        """Item numbers of the user's known likes (5, 4) and dislikes (1, and 2 where 2s are no candidates)."""
        items, stars = self.ratings[user]
        return items[stars >= 4], items[(stars <= 2) & ~np.isin(items, self.candidates[user])]


def whom_to_ask(ratings, unasked_twos):
    """Candidates are a user's 3s, and 2s too when the user's mean train rating is below 3 (or all 2s, with "ask")."""
    item_ids, user_ids = sort_ids(ratings.item.unique()), sort_ids(ratings.user.unique())
    users, items = encode(ratings.user, user_ids), encode(ratings.item, item_ids)
    stars = ratings.rating.to_numpy()
    order = np.argsort(users, kind="stable")
    by_user, candidates = {}, {}
    for own in np.split(order, np.flatnonzero(np.diff(users[order])) + 1):
        user, r = user_ids[users[own[0]]], stars[own]
        by_user[user] = items[own], r
        ask = (r == 3) | ((r == 2) & (unasked_twos == "ask" or r.mean() < 3))
        if ask.any():
            candidates[user] = items[own][ask]
    count = np.bincount(items, minlength=len(item_ids))
    total = np.bincount(items, stars, minlength=len(item_ids))
    return Asked(user_ids, item_ids, by_user, candidates, count, total)


@dataclass(frozen=True)
class Question:
    """One question to a model.  Items are numbers in Asked.item_ids."""

    user: str
    permutation: int  # which of the --llm_permutations orders
    part: int  # which of the user's questions in that order
    items: np.ndarray  # asked about, in the order shown
    likes: np.ndarray  # the profile, strongest first
    dislikes: np.ndarray

    @property
    def key(self):
        return self.user, self.permutation, self.part

    def record(self, asked, **answer):
        """The line of answers.jsonl."""
        names = {"user": self.user, "permutation": self.permutation, "part": self.part}
        return names | {"items": asked.item_ids[self.items].tolist()} | answer

    def shortened(self, kept):
        """The same question with a profile of `kept` items: the strongest likes and dislikes in turn."""
        dislikes = min(len(self.dislikes), max(kept // 2, kept - len(self.likes)))
        return replace(self, likes=self.likes[: kept - dislikes], dislikes=self.dislikes[:dislikes])


def one_each(asked):
    """One question a user, about all candidates in file order, with all known likes and dislikes as the profile."""
    return [Question(user, 0, 0, items, *asked.likes_and_dislikes(user)) for user, items in asked.candidates.items()]


def questions(asked, mode, options):
    """Every question to a causal model, in a fixed order.

    Some known likes and dislikes of a user, at most HIDDEN of each and at most half of them, are kept out of the
    profile and asked about like the candidates; which ones depends on --llm_seed and the user.  Each of
    --llm_permutations orders then shuffles the profile within equal ratings, shuffles what is asked about, and deals it
    out to questions of like size, at most --llm_question_size (mode score: one question, its items judged one by one).
    """
    made = []
    for number, user in enumerate(asked.user_ids):
        if user not in asked.candidates:
            continue
        items, stars = asked.ratings[user]
        star_of = dict(zip(items, stars, strict=True))
        draw = np.random.default_rng([options.llm_seed, number])
        hidden, profile = [], []
        for side in asked.likes_and_dislikes(user):
            side = draw.permutation(side)
            cut = min(HIDDEN, len(side) // 2)
            hidden.append(side[:cut])
            profile.append(side[cut:])
        pool = np.concatenate([asked.candidates[user], *hidden])
        size = len(pool) if mode == "score" else options.llm_question_size
        for permutation in range(options.llm_permutations):
            draw = np.random.default_rng([options.llm_seed, number, permutation + 1])
            likes, dislikes = (
                np.array(sorted(draw.permutation(side), key=lambda item: -abs(star_of[item] - 3)), int)[
                    : options.llm_profile
                ]
                for side in profile
            )
            for part, shown in enumerate(np.array_split(draw.permutation(pool), -(-len(pool) // size))):
                made.append(Question(user, permutation, part, shown, likes, dislikes))
    return made


def picked(question, asked, chosen, raw, **more):
    """The record of a question whose answer names places.  chosen None: no readable answer."""
    verdicts = ["unanswered"] * len(question.items)
    if chosen is None:
        more["reason"] = "no readable answer"
    else:
        verdicts = ["liked" if place in chosen else "disliked" for place in range(len(question.items))]
    return question.record(asked, verdicts=verdicts, raw=raw, reminded=len(raw) > 1, **more)


def scored(question, asked, scores, **more):
    """The record of a question whose items have scores, None where a score could not be had."""
    scores = [None if score is None or not math.isfinite(score) else score for score in scores]  # float16 may overflow
    threshold = calibrate(question, asked, scores)
    verdicts = ["unanswered" if s is None else "liked" if s >= threshold else "disliked" for s in scores]
    return question.record(asked, verdicts=verdicts, scores=scores, threshold=threshold, **more)


def too_long(question, asked):
    verdicts = ["unanswered"] * len(question.items)
    return question.record(asked, verdicts=verdicts, reason="longer than the model's context")


def calibrate(question, asked, scores):
    """The user's threshold: the score that would call the same share of the known ratings liked as the user did.

    The known ratings hidden in the question stand for all known likes and dislikes of the user, so each weighs as many
    as its side has for every hidden one.  Without hidden dislikes it is the lowest score of a hidden like; without any
    it is 0, where Yes and No are as likely.
    """
    likes, dislikes = asked.likes_and_dislikes(question.user)
    weight = np.zeros(len(scores))
    has_score = np.array([score is not None for score in scores])
    below = 0.0
    for side in (likes, dislikes):
        hidden = np.isin(question.items, side) & has_score
        if hidden.any():
            weight[hidden] = len(side) / hidden.sum()
            below = float(len(side)) if side is dislikes else 0.0  # known ratings to fall below the threshold
    known = np.flatnonzero(weight)
    if not len(known):
        return 0.0
    order = known[np.argsort([scores[place] for place in known], kind="stable")]
    place = np.searchsorted(np.cumsum(weight[order]), below + 1e-9)  # sums of fractions: not to be compared exactly
    return float(scores[order[min(place, len(order) - 1)]])


def item_texts(items, item_ids, genres):
    """What a model reads of each item: "Toy Story (1995)", with genres "Toy Story (1995), Animation, Comedy".

    Titles are data: line breaks and other control characters in them become spaces.
    """
    rows = items.reindex(item_ids, fill_value="")
    texts = []
    for title, year, genre in zip(rows.title, rows.year, rows.genre, strict=True):
        title = " ".join("".join(c if c.isprintable() else " " for c in title).split())
        text = f"{title} ({year})" if year else title
        texts.append(", ".join([text, *genre.split()]) if genres else text)
    return texts
