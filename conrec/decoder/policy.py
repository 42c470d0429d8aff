"""The backbone as a system: what it is shown of a user at a moment, and what it predicts.

Three contexts: "recent", the dislikes of the last days (an empty one shows the last dislike); "negatives", all of them;
"both", all events, with their signs.  Of each the most recent ones, oldest first.
"""

from functools import partial

import numpy as np

from conrec.data.events import DISLIKE, LIKE, signs_of
from conrec.data.instances import history, recent
from conrec.data.trie import Trie
from conrec.decoder import beam_search, llm_backbone, prompts
from conrec.decoder.backbone import tiny
from llm.weights import is_causal, model_folder
from machine import processes
from preparation.titles import domain_of
from utils import InputError

ANSWER = 3  # tokens of an item
USERS_AT_ONCE = 128  # whose items are judged together


def find_weights(settings):
    """The folder of --llm, or None where it is the tiny decoder.  Raises InputError for an encoder."""
    if settings.llm == "auto":
        return None
    weights = model_folder(settings.llm, settings.data_dir)
    if not is_causal(weights):
        raise InputError(f"--llm {settings.llm}: is an encoder; CoNRec needs a causal language model")
    return weights


def load_policy(name, events, catalog, settings, device, k, log=print):
    """The Policy with a backbone as it is before any training.  name: of the data set.  k: items a list."""
    weights = find_weights(settings)
    if weights is None:
        model = tiny(catalog, settings.random_seed, device)
    else:
        model = llm_backbone.load(weights, catalog, settings, settings.random_seed, device, log)
    return Policy(
        events, model, Trie(catalog.codes, catalog.K, device), shown=settings.conrec_history,
        domain=domain_of(name, settings), n_beams=settings.conrec_beams, k=k, budget=settings.llm_batch_tokens,
    )  # fmt: skip


class Policy:
    def __init__(self, events, backbone, trie, *, shown=(20, 30), domain="items", n_beams=50, k=20, budget=16384):
        """shown: most recent dislikes ("recent", "negatives") and events ("both").  k: items a list.

        n_beams: k of them where it is less.  budget: tokens read at once.
        """
        self.events, self.backbone, self.trie = events, backbone, trie
        self.shown, self.n_beams, self.k, self.budget = shown, max(n_beams, k), k, budget
        self.words = {"words": backbone.words, "domain": domain}
        self.n_cut = 0  # prompts that were too long for the backbone, and lost their oldest events

    def draw_template(self, random):
        return int(random.integers(prompts.TEMPLATES if self.backbone.words else 1))

    def sequence(self, user, p, context, template=0, asked=DISLIKE):
        """Tokens of the prompt that asks for the next dislike, or for the next item of another sign."""
        build = partial(prompts.sequence, asked=asked, template=template, **self.words)
        items, signs = shown_before(self.events, user, p, context, self.shown)
        room = self.backbone.context - ANSWER
        tokens, n_left_out = prompts.fitted(build, items, signs, self.backbone.tokens, room)
        self.n_cut += n_left_out > 0
        return tokens

    def predict(self, users, positions, context, asked=DISLIKE):
        """(items, log-probabilities), (n, k) int64 and float32: what each user will dislike next, best first.

        Nothing that the user has rated by then.  asked: the sign of what is predicted, such as events.LIKE.
        """
        rows, closed, n_cut = [], [], self.n_cut
        for user, p in processes.share(list(zip(users, positions, strict=True))):
            rows.append(self.sequence(user, p, context, asked=asked))
            closed.append(history(self.events, user, p)[0])
        self.n_cut = n_cut + sum(processes.gather(self.n_cut - n_cut))  # all other prompts every process makes itself
        items, logprobs = beam_search.beams(
            self.backbone, self.trie, rows, closed, self.n_beams, self.k, self.budget
        )
        return gather_rows(items), gather_rows(logprobs)

    def score(self, asked, items):
        """(n, m) float32 log-probabilities of items (n, m) after each prompt; -1 is no item: -inf."""
        own = processes.share(np.asarray(items, np.int64))
        return gather_rows(beam_search.score_items(self.backbone, self.trie, processes.share(asked), own, self.budget))

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


def gather_rows(part):
    """The rows of all processes, an array, of the part that this one made of its share."""
    parts = processes.gather(part)
    rows = np.empty((sum(map(len, parts)), *part.shape[1:]), part.dtype)
    for rank, theirs in enumerate(parts):
        rows[rank :: len(parts)] = theirs
    return rows


def padded(lists):
    """Arrays of different lengths -> (n, longest, at least 1) int64, -1 where there is none."""
    table = np.full((len(lists), max([1, *map(len, lists)])), -1, np.int64)
    for row, items in enumerate(lists):
        table[row, : len(items)] = items
    return table
