"""The report card of a refinement: what its verdicts cover, change, and are worth."""

from collections import Counter

import numpy as np
import pandas as pd

from feedback.reading import names_others
from preparation.files import CONFIRMED, LIKED


def report(train, records, judged, ratings, refined):
    """The report card as plain JSON values.

    records, judged: the answers and what verdicts.merge makes of them, empty for labels in a file.
    ratings, refined: the train rows before and after.  train: the same as questions.TrainRatings.
    """
    card = {"changed": changes(ratings, refined), "users": users(train, records, ratings, refined)}
    for old in (2, 3):
        liked = card["changed"][f"{old}->{LIKED:g}"]
        disliked = card["changed"][f"{old}->{CONFIRMED:g}"]
        card[f"liked_share_of_changed_{old}s"] = ratio(liked, liked + disliked)
    pairs = zip(ratings.user, ratings.item, strict=True)
    is_candidate = np.array([pair in train.pairs for pair in pairs], bool)
    stars = ratings.rating.to_numpy()
    unasked = (stars == 2) & (refined == CONFIRMED) & ~is_candidate
    card["unasked_twos_confirmed"] = int(unasked.sum())

    # how well the item's mean rating by other users tells the verdicts apart; 0.5: not at all
    got_verdict = is_candidate & (refined != stars)
    items = np.array([train.number[item] for item in ratings.item[got_verdict]], int)
    means = mean_by_others(train, items, stars[got_verdict])
    everybody = np.zeros(len(items), int)
    aucs_of_all = auc_by_user(everybody, refined[got_verdict] == LIKED, means)
    card["auc_item_mean_of_verdicts"] = mean_or_none(aucs_of_all)
    if records:  # labels that came as a file have none
        table = judged_pairs(train, judged)
        card |= counts_of_answers(train, records, table)
        card |= aucs(train, table)
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
    changed = set(ratings.user[refined != ratings.rating.to_numpy()])
    reasons = {}  # user asked about -> why an answer is missing, None where none is
    for record in records:
        user = record["user"]
        reasons[user] = record.get("reason", reasons.get(user))
    unchanged = Counter()
    for user in train.user_ids:
        if user not in changed:
            unchanged[why_unchanged(user, train, records, reasons)] += 1
    return {"all": len(train.user_ids), "changed": len(changed), "unchanged": dict(sorted(unchanged.items()))}


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


def mean_by_others(train, items, stars):
    """Mean rating of each item, without the user who gave it these stars: (items,)."""
    others = np.maximum(train.item_count[items] - 1, 1)
    return (train.item_sum[items] - stars) / others


# ------------------------------------------------------------------------------------ the answers


def judged_pairs(train, judged):
    """A row for each pair that was judged, known ratings hidden among the candidates included."""
    rows, stars_of = [], {}
    for (user, item), (verdict, margin) in judged.items():
        if user not in stars_of:
            stars_of[user] = train.stars_of(user)
        number = train.number[item]
        is_candidate = (user, item) in train.pairs
        answered, liked = verdict != "unanswered", verdict == "liked"
        rows.append((user, number, stars_of[user][number], is_candidate, answered, liked, margin))
    names = ["user", "item", "stars", "is_candidate", "answered", "liked", "margin"]
    return pd.DataFrame(rows, columns=names)


def counts_of_answers(train, records, table):
    """table: of judged_pairs."""
    candidates = table[table.is_candidate.astype(bool)]
    answered = int(candidates.answered.sum())
    unanswered, reminded, shortened, others = 0, 0, 0, 0
    for record in records:
        unanswered += set(record["verdicts"]) == {"unanswered"}
        reminded += bool(record.get("reminded"))
        shortened += bool(record.get("profile_left_out"))
        others += any(names_others(text, len(record["items"])) for text in record.get("raw", [])[-1:])
    by_rating = {}
    for star in range(1, 6):
        by_rating[str(star)] = answered_and_liked(table[table.stars == star])

    verdicts = verdicts_in(records)
    listed = verdicts[verdicts.listed.astype(bool)]
    return {
        "candidates": len(train.pairs),
        "answered": answered,
        "coverage": ratio(answered, len(train.pairs)),
        "liked": int(candidates.liked.sum()),
        "questions": len(records),
        "questions_unanswered": unanswered,
        "questions_reminded": reminded,
        "questions_with_shortened_profile": shortened,
        "questions_with_other_numbers": others,
        "liked_by_rating": by_rating,
        "liked_by_position": [answered_and_liked(own) for _, own in listed.groupby("place")],
        "questions_by_count": by_count(records),
        "agreement": agreement(verdicts),
    }


def answered_and_liked(rows):
    return [int(rows.answered.sum()), int(rows.liked.sum())]


def verdicts_in(records):
    """A row for each verdict.  listed: in a question with one answer, a list."""
    rows = []
    for record in records:
        for place, item in enumerate(record["items"]):
            verdict = record["verdicts"][place]
            answered, liked = verdict != "unanswered", verdict == "liked"
            rows.append((record["user"], item, place, answered, liked, "raw" in record))
    return pd.DataFrame(rows, columns=["user", "item", "place", "answered", "liked", "listed"])


def by_count(records):
    """{items asked about: [questions with 0, 1, ... of them liked]}, where a question has one answer.

    A model that always names as many as the prompt's example did has learnt the example.
    """
    counts = {}
    for record in records:
        size = len(record["items"])
        if "raw" in record and "unanswered" not in record["verdicts"]:
            counts.setdefault(size, [0] * (size + 1))[record["verdicts"].count("liked")] += 1
    return {str(size): counts[size] for size in sorted(counts)}


def agreement(verdicts):
    """Share of the items judged in several orders on which all agree; None with one order."""
    votes = verdicts[verdicts.answered.astype(bool)].groupby(["user", "item"]).liked.agg(["size", "nunique"])
    several = votes[votes["size"] > 1]
    return ratio(int((several["nunique"] == 1).sum()), len(several))


def aucs(train, table):
    """How often a known like (4, 5) is put above a known dislike (1, 2), mean over users.

    By the model, by the item's number of ratings, and by its mean rating without this user's own.
    Of users with both likes and dislikes among what was judged.  table: of judged_pairs.
    """
    known = table[(table.stars != 3) & table.margin.notna()]
    users, _ = pd.factorize(known.user)
    items, stars = known["item"].to_numpy(int), known.stars.to_numpy(float)
    is_like = stars >= 4
    by_model = auc_by_user(users, is_like, known.margin.to_numpy(float))
    by_popularity = auc_by_user(users, is_like, train.item_count[items])
    by_item_mean = auc_by_user(users, is_like, mean_by_others(train, items, stars))
    auc = {
        "model": mean_or_none(by_model),
        "popularity": mean_or_none(by_popularity),
        "item_mean": mean_or_none(by_item_mean),
    }
    # the standard error over users of the model's; of one user nobody knows it
    error = round(float(by_model.std(ddof=1)) / len(by_model) ** 0.5, 4) if len(by_model) > 1 else None
    return {"auc_users": len(by_model), "auc": auc, "auc_error": error}


def auc_by_user(users, is_like, scores):
    """How often a like of a user has a higher score than a dislike, where a tie counts half.

    users (from 0), is_like, scores: (pairs,).  Returns one AUC for each user with both, in order.
    All at once: a call of scikit-learn for each took three seconds.  By ranks (Mann and Whitney 1947):
    with n likes and m dislikes the AUC is (sum of the likes' ranks - n (n + 1) / 2) / (n m).
    """
    rank = pd.Series(scores).groupby(users).rank().to_numpy()  # from 1; those of a tie share the mean of theirs
    likes = np.bincount(users, is_like)
    dislikes = np.bincount(users) - likes
    rank_sum = np.bincount(users, rank * is_like)
    both = (likes > 0) & (dislikes > 0)
    above = rank_sum - likes * (likes + 1) / 2  # (dislike, like) pairs in the right order
    return above[both] / (likes * dislikes)[both]


def mean_or_none(values):
    return round(float(np.mean(values)), 4) if len(values) else None


def ratio(part, whole):
    return round(part / whole, 4) if whole else None
