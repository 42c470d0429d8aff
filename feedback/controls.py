"""Refinement without a model, to set every claim against: --llm rule, twos, random and shuffled.

The first three give a verdict on every 2 and 3 of every user, so --unasked_twos does not matter to them.
The last takes somebody's labels and keeps everything about them but which ratings they name.
"""

import numpy as np

CONTROLS = ("rule", "twos", "random")
# of the authors' labels of ML-100K, by rating: liked / (liked + confirmed negatives)
LIKED_SHARE = {2: 993 / (993 + 5098), 3: 13110 / (13110 + 2859)}


def answers(questions, train, control, seed):
    """Yields a record for each question.

    rule: every 3 is liked, every 2 disliked.  twos: every 2 is disliked, and every 3 left open.
    random: a 3 is liked with probability .821, a 2 with .163, independently.  That is what the authors' labels
    come to if which items they name means nothing.
    """
    number = {user: i for i, user in enumerate(train.user_ids)}
    for question in questions:
        _, stars = train.ratings[question.user]
        candidate_stars = stars[(stars == 2) | (stars == 3)]  # in the order of question.items
        liked = is_three = candidate_stars == 3
        if control == "random":
            # each user has a generator of their own, so that the order of users does not matter
            generator = np.random.default_rng([seed, number[question.user]])
            probability = np.where(is_three, LIKED_SHARE[3], LIKED_SHARE[2])
            liked = generator.random(len(is_three)) < probability
        verdicts = np.where(liked, "unanswered" if control == "twos" else "liked", "disliked")
        yield question.record(train, verdicts=verdicts.tolist())


def shuffle(ratings, labels, seed, users=None):
    """Refined ratings (rows,) in which the changed 3s have exchanged their new values at random.

    So have the changed 2s.  As many ratings of each kind as in `labels`, on the same rows.
    users: (rows,) numbers; then each user's exchange theirs among themselves.
    """
    shuffled = labels.copy()
    for star in (2, 3):
        changed = np.flatnonzero((ratings == star) & (labels != star))
        generator = np.random.default_rng([seed, star])
        drawn = generator.permutation(changed)
        if users is not None:  # a random order of all rows, sorted by user, is one of each user's
            drawn = drawn[np.argsort(users[drawn], kind="stable")]
            changed = changed[np.argsort(users[changed], kind="stable")]
        shuffled[changed] = labels[drawn]
    return shuffled
