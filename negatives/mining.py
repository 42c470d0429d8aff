"""Which items stand near a liked one: supervising negatives, the template's negatives, and the filter.

s_ui is the score of the CF run, the dot product of the vectors of u and i.  Text vectors are centred and of unit norm.
P pairs, I items, D width.
"""

import re

import numpy as np

from negatives.vectors import DUPLICATE, KEPT, NONE, OUTSCORED, POSITIVE

CANDIDATES, SKIPPED, TRIED = 64, 2, 5  # of a supervising negative
SAME_TEXT = 0.95  # cosine from which two item texts are near duplicates
SAME_ITEM = 0.90  # cosine from which a title means the item nearest to it
BEHAVIOUR = 0.5  # weight of the CF rank against the cosine in template_negatives
ARTICLES = "the|a|an|la|le|les|l'|el|los|las|il|lo|die|der|das|un|une"
BLOCK = 2**24  # entries of a matrix that are made at once


class Scores:
    """s_uj of the CF run."""

    def __init__(self, cf, n_users):
        """cf: (U + I, d) float32."""
        self.users, self.items = cf[:n_users], cf[n_users:]

    def of_user(self, user):
        return self.items @ self.users[user]  # (I,)

    def of_pairs(self, users, items):
        """(n,) each of a user with an item, in blocks, so that a whole data set takes little memory."""
        at_once = max(1, BLOCK // self.items.shape[1])
        parts = [np.zeros(0, np.float32)]
        for first in range(0, len(users), at_once):
            chunk = slice(first, first + at_once)
            parts.append(np.einsum("nd,nd->n", self.users[users[chunk]], self.items[items[chunk]]))
        return np.concatenate(parts)


def choose_pairs(pairs, most, seed):
    """The pairs (P, 2) that get a vector: all with `most` 0, else at most so many of each user, drawn at random."""
    if not most:
        return pairs
    order = np.random.default_rng([seed, 1]).permutation(len(pairs))
    order = order[np.argsort(pairs[order, 0], kind="stable")]  # by user, within a user at random
    users = pairs[order, 0]
    place = np.arange(len(users)) - np.searchsorted(users, users)  # among the user's
    return pairs[np.sort(order[place < most])]


# ------------------------------------------------------------------------------------------- supervising negatives


def supervising_triplets(known, scores, texts, number, seed):
    """int32 (n, 3): user, liked item, hard negative of `number` train positives drawn uniformly; fewer where there are
    not so many that have one.  texts: (I, D) text vectors."""
    found = []
    for place in np.random.default_rng([seed, 2]).permutation(len(known.pairs)):
        if len(found) == number:
            break
        user, item = known.pairs[place]
        generator = np.random.default_rng([seed, 3, user, item])  # its own, whatever comes before it
        negative = supervising_negative(known, scores.of_user(user), texts, user, item, generator)
        if negative is not None:
            found.append((user, item, negative))
    return np.array(found, np.int32).reshape(-1, 3)


def supervising_negative(known, scores, texts, user, item, generator):
    """An unrated item that is likely, but neither among the likeliest nor likelier than the liked item; or None.

    Of CANDIDATES uniform unrated items, by score, SKIPPED are passed over and the next TRIED tried in random order.
    The first that passes the filter's last two rules is taken.  scores: (I,) of the user.
    """
    unrated = known.unrated(user)
    if len(unrated) > CANDIDATES:
        unrated = generator.choice(unrated, CANDIDATES, replace=False)
    likely = unrated[np.argsort(-scores[unrated], kind="stable")]
    liked = texts[known.liked(user)]  # (likes, D)
    for negative in generator.permutation(likely[SKIPPED : SKIPPED + TRIED]):
        near_duplicate = (liked @ texts[negative]).max() >= SAME_TEXT
        if not near_duplicate and scores[negative] <= scores[item]:
            return negative
    return None


def held_out_users(n_users, seed):
    """(U,) bool: a tenth of the users, whose triplets measure the tuning."""
    held_out = np.zeros(n_users, bool)
    held_out[np.random.default_rng([seed, 4]).permutation(n_users)[: n_users // 10]] = True
    return held_out


# --------------------------------------------------------------------------------------------------------- route A


def template_negatives(known, pairs, scores, texts):
    """(items, cosines), (P,) each: of the items u has not rated the one with the largest

        cos(i, j) - BEHAVIOUR * rank(s_uj),  rank scaled to 0..1 over these items

    -1 and 0 for a user who has rated everything.  pairs: sorted by user.
    """
    found, cosines = np.full(len(pairs), -1), np.zeros(len(pairs), np.float32)
    for user, rows in by_user(pairs):
        unrated = known.unrated(user)
        if not len(unrated):
            continue
        rank = np.argsort(np.argsort(scores.of_user(user)[unrated], kind="stable"), kind="stable")
        rank = rank / max(len(unrated) - 1, 1)  # (n,)
        cosine = texts[pairs[rows, 1]] @ texts[unrated].T  # (rows, n)
        best = (cosine - BEHAVIOUR * rank).argmax(1)  # (rows,)
        found[rows] = unrated[best]
        cosines[rows] = cosine[np.arange(len(best)), best]
    return found, cosines


def template_titles(known, pairs, scores, texts, done):
    """Yields the record of every pair whose (user token, item token) is not in `done`."""
    found, cosines = template_negatives(known, pairs, scores, texts)
    for (user, item), negative, cosine in zip(pairs, found, cosines, strict=True):
        names = {"user": known.user_ids[user], "item": known.item_ids[item]}
        if tuple(names.values()) in done:
            continue
        answer = {"hard_negative": "", "reasoning": "nothing unrated", "backend": "template", "status": "none"}
        if negative >= 0:
            answer |= {"hard_negative": known.titles[negative], "status": "ok"}
            answer |= {"reasoning": f"cosine {cosine:.3f} to the liked one", "id": known.item_ids[negative]}
        yield names | answer


def by_user(pairs):
    """(user, slice of the pairs) of every user in pairs sorted by user."""
    users, first = np.unique(pairs[:, 0], return_index=True)
    for user, begin, end in zip(users, first, [*first[1:], len(pairs)], strict=True):
        yield user, slice(begin, end)


class Titles:
    """The item that a written title means."""

    def __init__(self, known):
        self.rating_count = np.bincount(known.items, minlength=len(known.item_ids))
        self.items_of = {}  # plain title -> items, each with its year
        for item, title in enumerate(known.titles):
            words, year = plain(title)
            self.items_of.setdefault(words, []).append((item, year))

    def item(self, title):
        """Its number, -1 where no title of the catalogue is equal but for case, year and the article's place.

        Of several items the one of the same year, else the most rated.
        """
        words, year = plain(title)
        if not words:
            return -1
        found = self.items_of.get(words, [])
        of_the_year = [pair for pair in found if year and pair[1] == year]
        items = [item for item, _ in of_the_year or found]
        return max(items, key=lambda item: self.rating_count[item], default=-1)


def plain(title):
    """("the godfather", "1972") of "Godfather, The (1972)"; the year is "" where there is none."""
    title = " ".join(title.lower().split())
    year = re.search(r"\(?\b(\d{4})\)?$", title)
    if year and title[: year.start()].strip():
        title = title[: year.start()].strip()
    else:
        year = None
    moved = re.fullmatch(rf"(.+), ({ARTICLES})", title)
    if moved:
        title = f"{moved[2]} {moved[1]}"
    return title, year[1] if year else ""


# ---------------------------------------------------------------------------------------------------------- filter


def nearest_documents(vectors, documents, pairs=None):
    """(items, cosines), (n,) each: the document nearest to each vector.  pairs (n, 2): leave out the liked item's own.

    vectors (n, D), documents (I, D): of unit norm, float16 or float32.  In blocks.
    """
    documents = np.asarray(documents, np.float32)
    at_once = max(1, BLOCK // max(len(documents), documents.shape[1]))
    items, cosines = np.zeros(len(vectors), np.int64), np.zeros(len(vectors), np.float32)
    for first in range(0, len(vectors), at_once):
        chunk = slice(first, first + at_once)
        cosine = np.asarray(vectors[chunk], np.float32) @ documents.T  # (block, I)
        rows = np.arange(len(cosine))
        if pairs is not None:
            cosine[rows, pairs[chunk, 1]] = -np.inf
        items[chunk] = cosine.argmax(1)
        cosines[chunk] = cosine[rows, items[chunk]]
    return items, cosines


def judge(known, pairs, scores, mapped, has_vector, cosines=None, vectors=None, documents=None):
    """The filter: (P,) uint8, the first of these rules that applies, else KEPT.

        NONE         no vector: no title, or one that cannot be read
        POSITIVE     the item it maps to is a train positive of the user (route A: with a cosine of SAME_ITEM)
        DUPLICATE    route A: its text is nearly that of a train positive
        OUTSCORED    the item it maps to scores above the liked one in the CF run

    mapped: (P,) items.  has_vector: (P,) bool.  Of route A alone: cosines (P,) to the mapped items, vectors (P, D) and
    documents (I, D), all of the same kind of text.
    """
    users, liked = pairs.T
    status = np.full(len(pairs), KEPT, np.uint8)
    status[scores.of_pairs(users, mapped) > scores.of_pairs(users, liked)] = OUTSCORED
    if vectors is not None:
        status[near_duplicates(known, pairs, vectors, documents)] = DUPLICATE
    n_items = len(known.item_ids)
    positives = known.pairs[:, 0].astype(np.int64) * n_items + known.pairs[:, 1]
    is_positive = np.isin(users.astype(np.int64) * n_items + mapped, positives)
    if cosines is not None:
        is_positive &= cosines >= SAME_ITEM
    status[is_positive] = POSITIVE
    status[~has_vector] = NONE
    return status


def near_duplicates(known, pairs, vectors, documents):
    """(P,) bool: whether a vector is nearly the text of a train positive of its user."""
    found = np.zeros(len(pairs), bool)
    for user, rows in by_user(pairs):
        liked = np.asarray(documents[known.liked(user)], np.float32)  # (likes, D)
        cosine = np.asarray(vectors[rows], np.float32) @ liked.T  # (rows, likes)
        found[rows] = cosine.max(1) >= SAME_TEXT
    return found
