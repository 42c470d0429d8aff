"""Refinement without a model, to set every claim against: --llm rule and --llm random.

Both give a verdict on every 2 and 3 of every user, so --unasked_twos does not matter to them.
"""

import numpy as np

CONTROLS = ("rule", "random")
LIKED_SHARE = {2: 993 / (993 + 5098), 3: 13110 / (13110 + 2859)}  # of the authors' labels of ML-100K, by rating


def answer(user, asked, control, seed):
    """One user's record.  rule: every 3 is liked, every 2 disliked.  random: a 3 is liked with probability .821, a 2
    with .163, independently: what the authors' labels come to if which items they name means nothing."""
    items, stars = asked.ratings[user]
    is_three = stars[(stars == 2) | (stars == 3)] == 3  # those are the candidates, in the same order
    liked = is_three
    if control == "random":
        number = int(np.flatnonzero(asked.user_ids == user)[0])
        drawn = np.random.default_rng([seed, number]).random(len(is_three))  # a user's own, whatever the order of users
        liked = drawn < np.where(is_three, LIKED_SHARE[3], LIKED_SHARE[2])
    verdicts = np.where(liked, "liked", "disliked").tolist()
    record = {"user": user, "permutation": 0, "part": 0}
    return record | {"items": asked.item_ids[asked.candidates[user]].tolist(), "verdicts": verdicts}
