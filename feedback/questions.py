"""Whom to ask about what, the questions made of that, and the records of answers."""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from llm.replies import drop_reasoning
from preparation.files import encode, sort_ids
from preparation.titles import item_texts

# A model is measured on known ratings hidden among a user's candidates: likes at most, and dislikes.
HIDDEN = 5
QUESTION_SIZE = 5  # items a question of mode generate at most
# why a question was not answered
TOO_LONG = "longer than the model's context"
FILTERED = "content filter"


@dataclass
class TrainRatings:
    """Train ratings by user, in numbers: everything a question is made of."""

    user_ids: np.ndarray  # (U,) tokens
    item_ids: np.ndarray  # (I,) tokens
    ratings: dict  # user token -> (item numbers, ratings), in file order
    candidates: dict  # user token -> item numbers to ask about; users without any are left out
    item_count: np.ndarray  # (I,) ratings an item has
    item_sum: np.ndarray  # (I,) sum of them
    has_title: np.ndarray  # (I,) bool; without one, nobody can be told of the item

    @cached_property
    def number(self):
        """{item token: its number}"""
        return {item: number for number, item in enumerate(self.item_ids)}

    @cached_property
    def pairs(self):
        """The candidates as a set of (user token, item token)."""
        pairs = set()
        for user, items in self.candidates.items():
            pairs.update((user, item) for item in self.item_ids[items])
        return pairs

    @cached_property
    def two_valued(self):
        """Whether the ratings below 4 are all 2s, as of thumbs.  Then all dislikes are candidates."""
        return not any(((stars == 1) | (stars == 3)).any() for _, stars in self.ratings.values())

    def askable(self, user):
        """Item numbers of the user's candidates with a title.  The others stay unanswered."""
        items = self.candidates[user]
        return items[self.has_title[items]]

    def stars_of(self, user):
        """{item number: rating} of a user, in file order."""
        items, stars = self.ratings[user]
        return dict(zip(items.tolist(), stars.tolist(), strict=True))

    def likes_and_dislikes(self, user):
        """Item numbers of the user's known likes and dislikes, of those with a title.

        Likes are 5s and 4s.  Dislikes are 1s, and 2s where they are no candidates.
        """
        items, stars = self.ratings[user]
        has_title = self.has_title[items]
        is_candidate = np.isin(items, self.candidates[user])
        return items[(stars >= 4) & has_title], items[(stars <= 2) & ~is_candidate & has_title]


def whom_to_ask(ratings, unasked_twos, item_table=None):
    """TrainRatings of a table of train rows.

    Candidates are a user's 3s, and 2s too when the user's mean rating is below 3 (or all 2s, with "ask").
    item_table: titles.item_table, which says what has a title; None: no titles are needed.
    """
    user_ids, item_ids = sort_ids(ratings.user.unique()), sort_ids(ratings.item.unique())
    users, items = encode(ratings.user, user_ids), encode(ratings.item, item_ids)
    stars = ratings.rating.to_numpy()

    # the rows of each user, in file order
    order = np.argsort(users, kind="stable")
    first_rows = np.flatnonzero(np.diff(users[order])) + 1  # of each user but the first
    ratings_of, candidates = {}, {}
    for rows in np.split(order, first_rows):
        user = user_ids[users[rows[0]]]
        ratings_of[user] = items[rows], stars[rows]
        is_candidate = stars[rows] == 3
        if unasked_twos == "ask" or stars[rows].mean() < 3:
            is_candidate |= stars[rows] == 2
        if is_candidate.any():
            candidates[user] = items[rows][is_candidate]

    item_count, item_sum = np.bincount(items), np.bincount(items, stars)  # every item has a rating
    has_title = np.ones(len(item_ids), bool)
    if item_table is not None:
        texts = item_texts(item_table, item_ids, genres=False)
        has_title = np.array([text != "" for text in texts], bool)
    return TrainRatings(user_ids, item_ids, ratings_of, candidates, item_count, item_sum, has_title)


# -------------------------------------------------------------------------------------- questions


@dataclass(frozen=True)
class Question:
    """One question to a model.  Items are numbers in TrainRatings.item_ids."""

    user: str
    permutation: int  # which of the --llm_permutations orders
    part: int  # which of the user's questions in that order
    items: np.ndarray  # asked about, in the order shown
    likes: np.ndarray  # the profile, strongest first
    dislikes: np.ndarray

    @property
    def key(self):
        return self.user, self.permutation, self.part

    @property
    def profile(self):
        """Items that may be left out for lack of room."""
        return len(self.likes) + len(self.dislikes)

    def record(self, train, **answer):
        """The line of answers.jsonl."""
        names = {"user": self.user, "permutation": self.permutation, "part": self.part}
        return names | {"items": train.item_ids[self.items].tolist()} | answer

    def shortened(self, kept):
        """The same question with a profile of `kept` items: the strongest of both sides in turn."""
        # half of them, or more where there are too few likes
        dislikes = min(len(self.dislikes), max(kept // 2, kept - len(self.likes)))
        return replace(self, likes=self.likes[: kept - dislikes], dislikes=self.dislikes[:dislikes])


def one_each(train):
    """One question a user about all candidates, in file order, after all known likes and dislikes.

    Of thumbs the candidates are the dislikes: an item is compared with the others of them.
    """
    made = []
    for user in train.candidates:
        items = train.askable(user)
        if not len(items):
            continue
        likes, dislikes = train.likes_and_dislikes(user)
        made.append(Question(user, 0, 0, items, likes, items if train.two_valued else dislikes))
    return made


def questions(train, mode, options):
    """Every question to a causal model, in a fixed order.

    Some known ratings of a user are asked about like the candidates (see hide_some).  Each of --llm_permutations
    orders shuffles the profile within equal ratings, and what is asked about.  Mode generate splits that into
    questions of like size.  Mode score makes one question of it, whose items are judged one by one.
    """
    made = []
    for number, user in enumerate(train.user_ids):
        if user not in train.candidates or not len(train.askable(user)):
            continue
        # a user's random numbers are their own, so that they do not depend on who else is there
        generator = np.random.default_rng([options.llm_seed, number])
        (likes, dislikes), hidden = hide_some(train, user, generator)
        # those hidden are asked about in every order
        asked_about = np.concatenate([train.askable(user), *hidden])
        parts = 1 if mode == "score" else math.ceil(len(asked_about) / QUESTION_SIZE)
        for permutation in range(options.llm_permutations):
            generator = np.random.default_rng([options.llm_seed, number, permutation + 1])
            profile = []
            for side in (likes, dislikes):
                profile.append(strongest(train, user, generator.permutation(side), options.llm_profile))
            shuffled = generator.permutation(asked_about)
            for part, items in enumerate(np.array_split(shuffled, parts)):
                made.append(Question(user, permutation, part, items, *profile))
    return made


def of_some_users(train, number, seed):
    """The same with the candidates of `number` users alone, drawn at random; None: all of them."""
    users = [user for user in train.user_ids if user in train.candidates and len(train.askable(user))]
    if number is None or number >= len(users):
        return train
    places = np.random.default_rng([seed, len(users)]).permutation(len(users))[:number]
    drawn = {users[place] for place in places}
    kept = {user: items for user, items in train.candidates.items() if user in drawn}
    return replace(train, candidates=kept)


def hide_some(train, user, generator):
    """(likes and dislikes to show, those to hide): of each at most HIDDEN are hidden, and at most half."""
    shown, hidden = [], []
    for side in train.likes_and_dislikes(user):
        shuffled = generator.permutation(side)
        cut = min(HIDDEN, len(side) // 2)
        hidden.append(shuffled[:cut])
        shown.append(shuffled[cut:])
    return shown, hidden


def strongest(train, user, side, number):
    """The `number` items of a side that the user rated farthest from 3, in that order."""
    stars_of = train.stars_of(user)
    # a stable sort: ties stay as they were shuffled
    ordered = sorted(side, key=lambda item: -abs(stars_of[item] - 3))
    return np.array(ordered, int)[:number]


# ---------------------------------------------------------------------------------------- records


def picked(request, train, **more):
    """The record of an answered Request about a question."""
    question, raw = request.about, request.raw
    if not raw:
        return unanswered(question, train, TOO_LONG)
    liked, more = request.said, {"profile_left_out": request.left_out} | more
    if liked is None:
        liked = [None] * len(question.items)
        thinking = drop_reasoning(raw[-1]) is None
        more["reason"] = "reasoning without an end" if thinking else "no readable answer"
    words = {True: "liked", False: "disliked", None: "unanswered"}
    verdicts = [words[verdict] for verdict in liked]
    return question.record(train, verdicts=verdicts, raw=raw, reminded=len(raw) > 1, **more)


def scored(question, train, scores, **more):
    """The record of a question whose items have scores, None where a score could not be had."""
    # float16 may overflow
    usable = [score if score is not None and math.isfinite(score) else None for score in scores]
    threshold = calibrate(question, train, usable)
    verdicts = verdicts_of(usable, threshold)
    return question.record(train, verdicts=verdicts, scores=usable, threshold=threshold, **more)


def unanswered(question, train, reason):
    """The record of a question that got no answer at all."""
    return question.record(train, verdicts=["unanswered"] * len(question.items), reason=reason)


def verdicts_of(scores, threshold):
    verdicts = []
    for score in scores:
        if score is None:
            verdicts.append("unanswered")
        elif score >= threshold:
            verdicts.append("liked")
        else:
            verdicts.append("disliked")
    return verdicts


def calibrate(question, train, scores):
    """The user's threshold: it would call as large a share of the known ratings liked as the user.

    The known ratings hidden in the question stand for all of the user's, so each weighs as many as its side has for
    every hidden one.  Without hidden dislikes it is the lowest score of a hidden like, without any 0.
    """
    # (items,) each, in the order of the question
    has_score = np.array([score is not None for score in scores])
    likes, dislikes = train.likes_and_dislikes(question.user)
    hidden_like = np.isin(question.items, likes) & has_score
    hidden_dislike = np.isin(question.items, dislikes) & has_score
    weight = np.zeros(len(scores))
    below = 0.0  # the weight that is to fall below the threshold
    if hidden_like.any():
        weight[hidden_like] = len(likes) / hidden_like.sum()
    if hidden_dislike.any():
        weight[hidden_dislike] = len(dislikes) / hidden_dislike.sum()
        below = float(len(dislikes))
    known = np.flatnonzero(weight)
    if not len(known):
        return 0.0
    # the first score, in ascending order, at which more than `below` has been summed up
    known_scores = [scores[place] for place in known]
    order = known[np.argsort(known_scores, kind="stable")]
    summed = np.cumsum(weight[order])
    rank = np.searchsorted(summed, below + 1e-9)  # sums of fractions are not to be compared exactly
    return float(scores[order[min(rank, len(order) - 1)]])
