"""The report card of a refinement: what its verdicts cover, change, and are worth."""

from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np

from feedback.reading import names_others
from preparation.files import CONFIRMED, LIKED


def report(train, records, judged, ratings, refined):
    """The report card as plain JSON values.

    records, judged: the answers and what verdicts.merge makes of them, both empty for labels that
    came as a file.  ratings, refined: the train rows before and after.  train: the same ratings by
    user (questions.TrainRatings).
    """
    card = {"changed": changes(ratings, refined), "users": users(train, records, ratings, refined)}
    for old in (2, 3):
        liked = card["changed"][f"{old}->{LIKED:g}"]
        disliked = card["changed"][f"{old}->{CONFIRMED:g}"]
        card[f"liked_share_of_changed_{old}s"] = ratio(liked, liked + disliked)
    card["unasked_twos_confirmed"] = unasked_twos_confirmed(train, ratings, refined)
    card["auc_item_mean_of_verdicts"] = item_mean_auc(train, ratings, refined)
    if records:  # labels that came as a file have none
        card |= counts_of_answers(train, records, judged)
        card |= aucs(train, judged)
    return card


# ----------------------------------------------------------- what changed, and for how many users


def changes(ratings, refined):
    """{"2->4.5": train rows, ...}"""
    stars = ratings.rating.to_numpy()
    counts = {}
    for old in (2, 3):
        for new in (LIKED, CONFIRMED, old):
            rows = (stars == old) & (refined == new)
            counts[f"{old}->{new:g}"] = int(rows.sum())
    return counts


def users(train, records, ratings, refined):
    """How many users have changed ratings, and why the others have none."""
    is_changed = (refined != ratings.rating).to_numpy()
    changed = set(ratings.user[is_changed])
    reasons = {}  # user asked about -> why an answer is missing, None where none is
    for record in records:
        user = record["user"]
        reasons[user] = record.get("reason", reasons.get(user))
    unchanged = Counter()
    for user in train.user_ids:
        if user not in changed:
            unchanged[why_unchanged(user, train, records, reasons)] += 1
    return {
        "all": len(train.user_ids),
        "changed": len(changed),
        "unchanged": dict(sorted(unchanged.items())),
    }


def why_unchanged(user, train, records, reasons):
    _, stars = train.ratings[user]
    if not np.isin(stars, (2, 3)).any():
        return "no 2s or 3s"
    if user not in train.candidates:
        return "not asked about"
    if not records:  # labels that came as a file
        return "2s or 3s, left as they were"
    if not len(train.askable(user)):
        return "not asked about: no titles"
    if user not in reasons:
        return "not asked yet"
    if reasons[user] is not None:
        return f"unanswered: {reasons[user]}"
    return "asked about, without a verdict"


def unasked_twos_confirmed(train, ratings, refined):
    """How many 2s became confirmed negatives although nobody was asked about them."""
    confirmed_twos = ratings[(ratings.rating.to_numpy() == 2) & (refined == CONFIRMED)]
    pairs = zip(confirmed_twos.user, confirmed_twos.item, strict=True)
    return sum(pair not in train.pairs for pair in pairs)


def item_mean_auc(train, ratings, refined):
    """How well the item's mean rating by other users tells the verdicts on the candidates apart.

    0.5 means that they have nothing to do with what others thought of the items.
    """
    # the changed candidates
    number = {item: i for i, item in enumerate(train.item_ids)}
    items, stars, liked = [], [], []
    rows = zip(ratings.user, ratings.item, ratings.rating, refined, strict=True)
    for user, item, old, new in rows:
        if new == old or (user, item) not in train.pairs:
            continue  # no verdict on a candidate
        items.append(number[item])
        stars.append(old)
        liked.append(new == LIKED)
    if len(set(liked)) < 2:  # nothing to tell apart
        return None
    from sklearn.metrics import roc_auc_score  # takes a second

    item_means = mean_by_others(train, np.array(items), np.array(stars))
    return round(float(roc_auc_score(np.array(liked), item_means)), 4)


def mean_by_others(train, items, stars):
    """Mean rating of each item, without the user who gave it these stars: (items,)."""
    others = np.maximum(train.item_count[items] - 1, 1)
    return (train.item_sum[items] - stars) / others


# ------------------------------------------------------------------------------------ the answers


def counts_of_answers(train, records, judged):
    # what was judged holds known ratings, too, which were hidden among the candidates
    given = [verdict for pair, (verdict, _) in judged.items() if pair in train.pairs]
    unanswered, reminded, shortened, others = 0, 0, 0, 0
    for record in records:
        unanswered += set(record["verdicts"]) == {"unanswered"}
        reminded += bool(record.get("reminded"))
        shortened += bool(record.get("profile_left_out"))
        others += any(names_others(text, len(record["items"])) for text in record.get("raw", [])[-1:])
    return {
        "candidates": len(train.pairs),
        "answered": len(given) - given.count("unanswered"),
        "coverage": ratio(len(given) - given.count("unanswered"), len(train.pairs)),
        "liked": given.count("liked"),
        "questions": len(records),
        "questions_unanswered": unanswered,
        "questions_reminded": reminded,
        "questions_with_shortened_profile": shortened,
        "questions_with_other_numbers": others,
        "liked_by_rating": by_rating(train, judged),
        "liked_by_position": by_position(records),
        "questions_by_count": by_count(records),
        "agreement": agreement(records),
    }


@dataclass
class JudgedPair:
    user: str
    item: int  # its number
    stars: float
    verdict: str
    margin: float | None


def judged_pairs(train, judged):
    number = {item: i for i, item in enumerate(train.item_ids)}
    stars_of = {}  # user -> {item number: stars}
    for (user, item), (verdict, margin) in judged.items():
        if user not in stars_of:
            stars_of[user] = train.stars_of(user)
        yield JudgedPair(user, number[item], stars_of[user][number[item]], verdict, margin)


def by_rating(train, judged):
    """{rating: [answered, liked]}, known ratings that were hidden among the candidates included."""
    counts = {str(star): [0, 0] for star in range(1, 6)}
    for pair in judged_pairs(train, judged):
        answered_and_liked = counts[str(int(pair.stars))]
        answered_and_liked[0] += pair.verdict != "unanswered"
        answered_and_liked[1] += pair.verdict == "liked"
    return counts


def by_position(records):
    """[[answered, liked], ...] by place in the question, where a question has one answer."""
    counts = defaultdict(lambda: [0, 0])
    for record in records:
        if "raw" not in record:  # its items were judged one by one
            continue
        for place, verdict in enumerate(record["verdicts"]):
            counts[place][0] += verdict != "unanswered"
            counts[place][1] += verdict == "liked"
    return [counts[place] for place in sorted(counts)]


def by_count(records):
    """{items asked about: [questions with 0, 1, ... of them liked]}, where a question has one answer.

    A model that always names as many as the prompt's example did has learnt the example, not the user.
    """
    counts = defaultdict(Counter)
    for record in records:
        if "raw" in record and "unanswered" not in record["verdicts"]:
            counts[len(record["items"])][record["verdicts"].count("liked")] += 1
    return {str(size): [counts[size][liked] for liked in range(size + 1)] for size in sorted(counts)}


def agreement(records):
    """Share of the items judged in several orders on which all agree; None with one order."""
    votes = defaultdict(list)
    for record in records:
        for item, verdict in zip(record["items"], record["verdicts"], strict=True):
            if verdict != "unanswered":
                votes[record["user"], item].append(verdict)
    several, agreed = 0, 0
    for given in votes.values():
        if len(given) > 1:
            several += 1
            agreed += len(set(given)) == 1
    return ratio(agreed, several)


def aucs(train, judged):
    """How often a known like (4, 5) is put above a known dislike (1, 2), mean over users.

    By the model, by the item's number of ratings, and by the item's mean rating without this
    user's own.  Of users with both likes and dislikes among what was judged.
    """
    # what each user is known to like or dislike
    numbers, users, items, stars, margins = {}, [], [], [], []
    for pair in judged_pairs(train, judged):
        if pair.stars != 3 and pair.margin is not None:
            users.append(numbers.setdefault(pair.user, len(numbers)))
            items.append(pair.item)
            stars.append(pair.stars)
            margins.append(pair.margin)
    users, items = np.array(users, int), np.array(items, int)
    stars, margins = np.array(stars, float), np.array(margins, float)

    is_like = stars >= 4
    by_model = auc_by_user(users, is_like, margins)
    by_popularity = auc_by_user(users, is_like, train.item_count[items])
    by_item_mean = auc_by_user(users, is_like, mean_by_others(train, items, stars))
    auc = {
        "model": mean_or_none(by_model),
        "popularity": mean_or_none(by_popularity),
        "item_mean": mean_or_none(by_item_mean),
    }
    return {"auc_users": len(by_model), "auc": auc}


def auc_by_user(users, is_like, scores):
    """How often a like of a user has a higher score than a dislike, where a tie counts half.

    users (from 0), is_like, scores: (pairs,).  Returns one AUC for each user with both, in order.
    All users at once, since a call of scikit-learn for each took three seconds of every start.  By
    ranks (Mann and Whitney 1947): with n likes and m dislikes the AUC is (sum of the likes' ranks -
    n (n + 1) / 2) / (n m).
    """
    order = np.lexsort((scores, users))
    users, is_like, scores = users[order], is_like[order], scores[order]

    # the rank of each pair among its user's, from 1; those of a tie share the mean of theirs
    begins_tie = np.ones(len(users), bool)
    begins_tie[1:] = (users[1:] != users[:-1]) | (scores[1:] != scores[:-1])
    first = np.flatnonzero(begins_tie)
    size = np.diff(first, append=len(users))
    middle = first + (size - 1) / 2
    tie_of = begins_tie.cumsum() - 1
    n_pairs = np.bincount(users)
    begin = n_pairs.cumsum() - n_pairs
    rank = middle[tie_of] - begin[users] + 1

    likes = np.bincount(users, is_like)
    dislikes = n_pairs - likes
    rank_sum = np.bincount(users, rank * is_like)
    both = (likes > 0) & (dislikes > 0)
    above = rank_sum - likes * (likes + 1) / 2  # (dislike, like) pairs in the right order
    return above[both] / (likes * dislikes)[both]


def mean_or_none(values):
    return round(float(np.mean(values)), 4) if len(values) else None


def ratio(part, whole):
    return round(part / whole, 4) if whole else None
