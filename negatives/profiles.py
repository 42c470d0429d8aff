"""What the stage may know, and profiles made of it without a model.

    Known           train rows and item texts: all that profiles, prompts, mining, tuning and filter may know
    item_profile    what an item is and who likes it, from a template
    user_profile    what a user likes and does not, from a template

A template counts; it does not write.  Its records say so (backend "template").
"""

from collections import Counter

import numpy as np

from preparation.titles import item_texts

TEMPLATE_VERSION = 1  # raise it when a template's words change, so that old profiles are not mixed with new
FEW = 5  # likers below which nothing is said of what they like; also the weight of the average in a lift
LEAST_LIFT = 1.2  # how much more often than on average, to be said
LEAST_COUNT = 2  # and how often at least
WORDS = 22  # of a profile, after which no title is added: about 40 word pieces


class Known:
    """Train rows, sorted by user and item, and item texts.  Validation and test are not in it.

    user_ids, item_ids    tokens as str, in number order
    users, items, rating  (rows,) numbers and ratings of every train row
    pairs                 (P, 2) int32 user and item of the positives (>= 4)
    titles, texts         (I,) "Toy Story (1995)", and with genres behind it
    genres, decades       (I,) lists of words, and "1990s" or ""
    """

    def __init__(self, data, items):
        """data: dataloader.TrainData, of which only the train rows are read.  items: titles.item_table."""
        train = data.train
        order = np.lexsort((train.items, train.users))
        self.user_ids = [str(token) for token in data.user_ids]
        self.item_ids = [str(token) for token in data.item_ids]
        self.users, self.items, self.rating = train.users[order], train.items[order], train.rating[order]
        self.start = np.searchsorted(self.users, np.arange(len(self.user_ids) + 1))  # (U + 1,)
        liked = self.rating >= 4
        self.pairs = np.stack((self.users[liked], self.items[liked]), 1).astype(np.int32)  # (P, 2)
        by_item = np.argsort(self.pairs[:, 1], kind="stable")
        self.likers_by_item = self.pairs[by_item, 0]
        self.start_of_item = np.searchsorted(self.pairs[by_item, 1], np.arange(len(self.item_ids) + 1))  # (I + 1,)
        self.like_count = np.diff(self.start_of_item)  # (I,)

        self.titles = item_texts(items, self.item_ids, genres=False)
        self.texts = item_texts(items, self.item_ids, genres=True)
        rows = items.reindex(self.item_ids, fill_value="")
        self.genres = [cell.split() for cell in rows.genre]
        self.decades = [f"{year[:3]}0s" if len(year) == 4 and year.isdigit() else "" for year in rows.year]

    def rated(self, user):
        """Items that the user has rated in train, ascending."""
        return self.items[self.start[user] : self.start[user + 1]]

    def stars(self, user):
        return self.rating[self.start[user] : self.start[user + 1]]

    def liked(self, user):
        return self.rated(user)[self.stars(user) >= 4]

    def disliked(self, user):
        return self.rated(user)[self.stars(user) <= 2]

    def unrated(self, user):
        """Items that the user has not rated in train, ascending."""
        return np.setdiff1d(np.arange(len(self.item_ids)), self.rated(user), assume_unique=True)

    def likers(self, item):
        return self.likers_by_item[self.start_of_item[item] : self.start_of_item[item + 1]]

    def genre_counts(self, items, times=None):
        """Counter of the genres of items, each as often as `times` says (once)."""
        counts = Counter()
        for place, item in enumerate(items):
            for genre in self.genres[item]:
                counts[genre] += 1 if times is None else int(times[place])
        return counts


class Templates:
    """Profiles from counts."""

    def __init__(self, known):
        self.known = known
        everything = np.arange(len(known.item_ids))
        disliked = np.bincount(known.items[known.rating <= 2], minlength=len(everything))
        self.average_likes = known.genre_counts(everything, known.like_count)
        self.average_dislikes = known.genre_counts(everything, disliked)

    def records(self):
        """Yields the record of every item, then of every user."""
        for item, token in enumerate(self.known.item_ids):
            yield self.record("item", token, *self.item_profile(item))
        for user, token in enumerate(self.known.user_ids):
            yield self.record("user", token, *self.user_profile(user))

    def record(self, kind, token, text, counts):
        status = "ok" if text else "none"
        names = {"kind": kind, "id": token, "summarization": text, "reasoning": "; ".join(counts)}
        return names | {"backend": "template", "status": status}

    def item_profile(self, item):
        """(profile, the counts behind it): decade and genres, what else its likers like."""
        known = self.known
        likers = known.likers(item)
        parts = [" ".join([known.decades[item], ", ".join(known.genres[item])]).strip()]
        counts = [f"{len(likers)} likers"]
        if len(likers) >= FEW:
            together = np.bincount(
                np.concatenate([known.liked(user) for user in likers]), minlength=len(known.item_ids)
            )  # (I,) of how many likers
            together[item] = 0
            others = np.flatnonzero(together)
            found = known.genre_counts(others, together[others])
            lifts = over_represented(found, self.average_likes, 2, leave_out=known.genres[item])
            parts += said("likers also like", lifts)
            counts += [f"{genre} {lift:.1f} times as often among their other likes" for genre, lift in lifts]
            # the cosine of two items' likers: plain counts would name the same few favourites everywhere
            cosine = together[others] / np.sqrt(known.like_count[others] * len(likers))
            closest = others[np.argsort(-cosine, kind="stable")][:3]
            titles = fitting(". ".join(parts), [known.titles[other] for other in closest])
            parts += ["close to " + ", ".join(titles)] if titles else []
            counts += [f"{known.titles[other]} liked by {together[other]} of them" for other in closest]
        return sentence(parts), counts

    def user_profile(self, user):
        """(profile, the counts behind it): genres, decades and titles among the likes, genres among the dislikes."""
        known = self.known
        liked, disliked = known.liked(user), known.disliked(user)
        parts, counts = [], [f"{len(liked)} likes", f"{len(disliked)} dislikes"]
        lifts = over_represented(known.genre_counts(liked), self.average_likes, 3)
        decades = Counter(known.decades[item] for item in liked if known.decades[item])
        decades = sorted(decades, key=lambda decade: (-decades[decade], decade))[:2]
        unwanted = over_represented(known.genre_counts(disliked), self.average_dislikes, 2)
        parts += said("likes", lifts)
        parts += ["mostly of the " + " and ".join(decades)] if decades else []
        parts += said("dislikes", unwanted)
        counts += [f"{genre} {lift:.1f} times as often liked" for genre, lift in lifts]
        counts += [f"{genre} {lift:.1f} times as often disliked" for genre, lift in unwanted]

        # the best liked ones, of those the ones that fewest others like
        stars = known.stars(user)[known.stars(user) >= 4]
        order = np.lexsort((liked, known.like_count[liked], -stars))
        favourites = [known.titles[item] for item in liked[order][:5]]
        titles = fitting(". ".join(parts), favourites)
        parts += ["favourites " + ", ".join(titles)] if titles else []
        return sentence(parts), counts


def over_represented(counts, average, most, leave_out=()):
    """[(genre, lift)], at most `most`, the highest first: how much more often than on average.

    counts, average: Counters of genres.  FEW counts as on average are added, so that one count says little.
    """
    total, total_average = sum(counts.values()), sum(average.values())
    lifts = {}
    for genre, count in counts.items():
        share = average[genre] / max(total_average, 1)
        if count < LEAST_COUNT or not share or genre in leave_out:
            continue
        lift = (count + FEW * share) / (total + FEW) / share
        if lift >= LEAST_LIFT:
            lifts[genre] = lift
    return sorted(lifts.items(), key=lambda pair: (-pair[1], pair[0]))[:most]


def said(words, lifts):
    return [f"{words} {', '.join(genre for genre, _ in lifts)}"] if lifts else []


def fitting(text, titles):
    """As many of the titles as a profile that says `text` has room for."""
    words, fit = len(text.split()), []
    for title in titles:
        words += len(title.split())
        if words > WORDS:
            break
        fit.append(title)
    return [title for title in fit if title]


def sentence(parts):
    return ". ".join(part[:1].upper() + part[1:] for part in parts if part)
