"""The backbone as a system: what it is shown of a user at a moment, and what it predicts.

Three contexts: "recent", the dislikes of the last days (an empty one shows the last dislike); "negatives", all of them;
"both", all events, with their signs.  Of each the most recent ones, oldest first.
"""

import numpy as np

from conrec.data.events import DISLIKE, LIKE, signs_of
from conrec.data.instances import history, recent
from conrec.decoder import beam_search, prompts
from machine import processes

ANSWER = 3  # tokens of an item
USERS_AT_ONCE = 128  # whose items are judged together
DROPPED = 0.2  # share of the shown events that a cleaned prompt lacks


class Policy:
    def __init__(self, events, backbone, trie, *, shown=(20, 30), domain="items", n_beams=50, k=20, budget=16384):
        """shown: most recent dislikes ("recent", "negatives") and events ("both").  k: items a list.

        n_beams: k of them where it is less.  budget: tokens read at once.
        """
        self.events, self.backbone, self.trie = events, backbone, trie
        self.shown, self.n_beams, self.k, self.budget = shown, max(n_beams, k), k, budget
        self.words = {"words": backbone.words, "domain": domain}
        self.n_cut = 0  # prompts that were too long for the backbone, and lost their oldest events

    # ------------------------------------------------------------------------------------------------ one prompt

    def context(self, user, p, context, random=None):
        """(items, signs) of the events shown, oldest first.  random: a generator that drops a fifth of them."""
        return thinned(*shown_before(self.events, user, p, context, self.shown), random)

    def sequence(self, user, p, context, template=0, random=None, asked=DISLIKE):
        """Tokens of the prompt that asks for the next dislike, or for the next item of another sign."""

        def build(items, signs):
            return prompts.sequence(items, signs, asked, **self.words, template=template)

        return self.fit(build, *self.context(user, p, context, random))

    def choice(self, user, p, context, options):
        """Tokens of the prompt that asks which of these items the next dislike is."""
        return self.fit(
            lambda items, signs: prompts.choice(items, signs, options, **self.words), *self.context(user, p, context)
        )

    def fit(self, build, items, signs):
        room = self.backbone.context - ANSWER
        tokens, n_left_out = prompts.fitted(build, items, signs, self.backbone.tokens, room)
        self.n_cut += n_left_out > 0
        return tokens

    # --------------------------------------------------------------------------------------------- many prompts

    def predict(self, users, positions, context, asked=DISLIKE):
        """(items, log-probabilities), (n, k) int64 and float32: what each user will dislike next, best first.

        Nothing that the user has rated by then.  asked: the sign of what is predicted, such as events.LIKE.
        """
        rows, closed, n_cut = [], [], self.n_cut
        for user, p in processes.share(list(zip(users, positions, strict=True))):
            rows.append(self.sequence(user, p, context, asked=asked))
            closed.append(history(self.events, user, p)[0])
        self.n_cut = n_cut + sum(processes.gather(self.n_cut - n_cut))  # all other prompts every process makes itself
        if not len(users):
            return np.zeros((0, self.k), np.int64), np.zeros((0, self.k), np.float32)
        parts = [np.zeros((0, self.k), np.int64), np.zeros((0, self.k), np.float32)]
        if rows:
            parts = beam_search.beams(self.backbone, self.trie, rows, closed, self.n_beams, self.k, self.budget)
        return tuple(whole(part) for part in parts)

    def score(self, asked, items):
        """(n, m) float32 log-probabilities of items (n, m) after each prompt; -1 is no item: -inf."""
        items = np.asarray(items, np.int64)
        asked, own = processes.share(asked), processes.share(items)
        scores = np.zeros(own.shape, np.float32)
        if asked:
            scores = beam_search.score_items(self.backbone, self.trie, asked, own, self.budget)
        return whole(scores)

    def odds(self, users, positions, lists):
        """n float32 arrays: log p(i | dislike) - log p(i | like) of each user's items.

        lists: n arrays of items.  The history is that of all signs.
        """
        found = [np.zeros(0, np.float32)] * len(lists)
        order = np.argsort([len(items) for items in lists], kind="stable")  # lists of like length are read together
        for rows in np.split(order, range(USERS_AT_ONCE, len(order), USERS_AT_ONCE)):
            items, scores = padded([lists[row] for row in rows]), []
            for sign in (DISLIKE, LIKE):
                asked = [self.sequence(users[row], positions[row], "both", asked=sign) for row in rows]
                scores.append(self.score(asked, items))
            for row, disliked, liked in zip(rows, *scores, strict=True):
                n = len(lists[row])  # behind them is padding, which scores -inf
                found[row] = disliked[:n] - liked[:n]
        return found


def shown_before(events, user, p, context, shown):
    """(items, signs), of the events before position p that a context shows, oldest first.

    shown: the most dislikes ("recent", "negatives") and the most events ("both").
    """
    items, ratings = history(events, user, p)
    signs = signs_of(ratings, events.negative)
    if context == "both":
        return items[-shown[1] :], signs[-shown[1] :]
    disliked = items[signs == DISLIKE]
    if context == "recent":
        late, stars = recent(events, user, p)
        late = late[stars <= events.negative]
        disliked = late if len(late) else disliked[-1:]
    disliked = disliked[-shown[0] :]
    return disliked, np.full(len(disliked), DISLIKE)


def whole(part):
    """The rows of all processes."""
    return np.array(processes.interleave([list(rows) for rows in processes.gather(part)]))


def thinned(items, signs, random):
    """The events without a random fifth of them, at least the last one; without a generator all of them."""
    if random is None:
        return items, signs
    kept = random.random(len(items)) >= DROPPED
    kept[-1:] |= not kept.any()
    return items[kept], signs[kept]


def padded(lists):
    """Arrays of different lengths -> (n, longest), -1 where there is none."""
    table = np.full((len(lists), max(map(len, lists), default=0)), -1, np.int64)
    for row, items in enumerate(lists):
        table[row, : len(items)] = items
    return table
