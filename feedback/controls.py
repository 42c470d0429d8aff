"""Refinement without a model, to set every claim against: --llm rule, --llm random and --llm shuffled.

The first two give a verdict on every 2 and 3 of every user, so --unasked_twos does not matter to them.  The third takes
somebody's labels and keeps everything about them but which ratings they name.
"""

import numpy as np

CONTROLS = ("rule", "random")
LIKED_SHARE = {2: 993 / (993 + 5098), 3: 13110 / (13110 + 2859)}  # of the authors' labels of ML-100K, by rating


def answers(questions, asked, control, seed):
    """Yields a record for each question.  rule: every 3 is liked, every 2 disliked.  random: a 3 is liked with
    probability .821, a 2 with .163, independently: what the authors' labels come to if which items they name means
    nothing."""
    number = {user: i for i, user in enumerate(asked.user_ids)}
    for question in questions:
        _, stars = asked.ratings[question.user]
        is_three = stars[(stars == 2) | (stars == 3)] == 3  # the candidates are these, in the same order
        liked = is_three
        if control == "random":
            draw = np.random.default_rng([seed, number[question.user]])  # a user's own, whatever the order of users
            liked = draw.random(len(is_three)) < np.where(is_three, LIKED_SHARE[3], LIKED_SHARE[2])
        yield question.record(asked, verdicts=np.where(liked, "liked", "disliked").tolist())


def shuffle(ratings, labels, seed):
    """Refined ratings (rows,) in which the changed 3s have exchanged their new values among themselves, at random, and
    so have the changed 2s: as many of each kind as in `labels`, on the same rows."""
    shuffled = labels.copy()
    for star in (2, 3):
        changed = np.flatnonzero((ratings == star) & (labels != star))
        shuffled[changed] = np.random.default_rng([seed, star]).permutation(labels[changed])
    return shuffled
