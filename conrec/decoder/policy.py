"""The backbone as a system: what it is shown of a user at a moment, and what it predicts.

Three contexts: "recent", the negatives of the last days (an empty one shows the last negative); "negatives", all of
them; "both", the positives before them.  Of each the most recent ones.
"""

import numpy as np

from conrec.data.events import POSITIVE
from conrec.data.instances import history, recent
from conrec.decoder import beam_search, prompts
from machine import processes

ANSWER = 3  # tokens of an item
DROPPED = 0.2  # share of the shown events that a cleaned prompt lacks


class Policy:
    def __init__(self, events, backbone, trie, *, shown=(20, 40), domain="items", n_beams=50, k=20, budget=16384):
        """shown: most recent negatives and positives.  n_beams: k of them where it is less.  k: items a list.  budget:
        tokens read at once."""
        self.events, self.backbone, self.trie = events, backbone, trie
        self.shown, self.n_beams, self.k, self.budget = shown, max(n_beams, k), k, budget
        self.words = {"words": backbone.words, "domain": domain}
        self.n_cut = 0  # prompts that were too long for the backbone, and lost their oldest events

    # ------------------------------------------------------------------------------------------------ one prompt

    def context(self, user, p, context, random=None):
        """(negatives, positives or None), oldest first.  random: a generator that drops a fifth of them."""
        negatives, positives = shown_before(self.events, user, p, context, self.shown)
        negatives = thinned(negatives, random, least=1)
        return negatives, positives if positives is None else thinned(positives, random, least=0)

    def sequence(self, user, p, context, template=0, random=None):
        """Tokens of the prompt that asks for the next dislike."""
        return self.fit(
            lambda negatives, positives: prompts.sequence(negatives, positives, **self.words, template=template),
            *self.context(user, p, context, random),
        )

    def choice(self, user, p, context, options):
        """Tokens of the prompt that asks which of these items it is."""
        return self.fit(
            lambda negatives, positives: prompts.choice(negatives, positives, options, **self.words),
            *self.context(user, p, context),
        )

    def fit(self, build, negatives, positives):
        room = self.backbone.context - ANSWER
        tokens, n_left_out = prompts.fitted(build, negatives, positives, self.backbone.tokens, room)
        self.n_cut += n_left_out > 0
        return tokens

    # --------------------------------------------------------------------------------------------- many prompts

    def predict(self, users, positions, context):
        """(items, log-probabilities), (n, k) int64 and float32: what each user will dislike next, best first.

        Nothing that the user has rated by then.
        """
        asked, closed = [], []
        for user, p in processes.share(list(zip(users, positions, strict=True))):
            asked.append(self.sequence(user, p, context))
            closed.append(history(self.events, user, p)[0])
        if not len(users):
            return np.zeros((0, self.k), np.int64), np.zeros((0, self.k), np.float32)
        parts = [np.zeros((0, self.k), np.int64), np.zeros((0, self.k), np.float32)]
        if asked:
            parts = beam_search.beams(self.backbone, self.trie, asked, closed, self.n_beams, self.k, self.budget)
        return tuple(whole(part) for part in parts)

    def score(self, asked, items):
        """(n, m) float32 log-probabilities of items (n, m) after each prompt; -1 is no item: -inf."""
        items = np.asarray(items, np.int64)
        asked, own = processes.share(asked), processes.share(items)
        scores = np.zeros(own.shape, np.float32)
        if asked:
            scores = beam_search.score_items(self.backbone, self.trie, asked, own, self.budget)
        return whole(scores)


def shown_before(events, user, p, context, shown):
    """(negatives, positives or None): items before position p, oldest first.  shown: the most of each."""
    items, ratings = history(events, user, p)
    negatives = items[ratings <= events.negative]
    if context == "recent":
        late, stars = recent(events, user, p)
        late = late[stars <= events.negative]
        negatives = late if len(late) else negatives[-1:]
    positives = items[ratings >= POSITIVE][-shown[1] :] if context == "both" else None
    return negatives[-shown[0] :], positives


def whole(part):
    """The rows of all processes."""
    return np.array(processes.interleave([list(rows) for rows in processes.gather(part)]))


def thinned(items, random, least):
    """The items without a random fifth of them; without a generator all of them."""
    if random is None:
        return items
    kept = random.random(len(items)) >= DROPPED
    return items[kept] if kept.sum() >= least else items[-least:]


def padded(lists):
    """Arrays of different lengths -> (n, longest), -1 where there is none."""
    table = np.full((len(lists), max(map(len, lists), default=0)), -1, np.int64)
    for row, items in enumerate(lists):
        table[row, : len(items)] = items
    return table
