"""What hard negatives are worth: figures that look at the held-out parts, made once the vectors are frozen.

    report          the card of a folder, as JSON values
    report_lines    the same as text

j(u,i) is the catalogue item that the vector of the pair (u,i) is nearest to, or that its title means.  A false hard
negative (FHNS) is a j among the user's validation and test positives.  P pairs, U users, I items.
"""

from dataclasses import dataclass

import numpy as np

from negatives.mining import SAME_ITEM, by_user
from negatives.vectors import KEPT, NONE, STATUS

RANDOM_PAIRS = 10_000  # of vectors, for their mean cosine


@dataclass
class Found:
    """What a folder holds."""

    pairs: np.ndarray  # (P, 2)
    vectors: np.ndarray  # (P, D)
    documents: np.ndarray  # (I, D)
    mapped: np.ndarray  # (P,) j(u,i)
    status: np.ndarray  # (P,)
    triplets: np.ndarray | None = None  # (n, 3), of a tuned encoder
    exact: np.ndarray | None = None  # route A: (P,) bool, whether the title is in the catalogue
    cosines: np.ndarray | None = None  # route A: (P,) to the mapped item


def report(known, held_out, scores, found):
    """The card.

    known: profiles.Known.  held_out: user -> items of validation and test.  scores: mining.Scores.  found: Found.
    """
    (users, liked), mapped = found.pairs.T, found.mapped
    has_vector, kept = found.status != NONE, found.status == KEPT
    low = known.rating <= 2
    held_out_keys = np.concatenate([keys(user, items, known) for user, items in held_out.items()])
    false = np.isin(keys(users, mapped, known), held_out_keys)  # (P,)
    disliked = np.isin(keys(users, mapped, known), keys(known.users[low], known.items[low], known))
    lead = scores.of_pairs(users, mapped) - scores.of_pairs(users, liked)
    times = np.bincount(mapped[has_vector], minlength=1)
    card = {
        "pairs": len(users),
        "status": {name: int((found.status == code).sum()) for code, name in enumerate(STATUS)},
        "fhns": mean(false, has_vector),
        "fhns_kept": mean(false, kept),
        "dislike": mean(disliked, has_vector),
        "dislike_kept": mean(disliked, kept),
        "hardness": mean(lead, has_vector),
        "hardness_kept": mean(lead, kept),
        "outscoring": mean(lead > 0, has_vector),
        "distinct_items": int((times > 0).sum()),
        "most_frequent": round(float(times.max() / max(has_vector.sum(), 1)), 4),
        "mean_cosine": mean_cosine(found.vectors, has_vector),
        "catalogue": None,
        "auc": aucs(known, held_out, found),
        "yardsticks": yardsticks(known, held_out, found.pairs),
    }
    if found.exact is not None:
        near = found.exact | (found.cosines >= SAME_ITEM)
        card["catalogue"] = {"equal": mean(found.exact, has_vector), "near": mean(near, has_vector)}
    if found.triplets is not None:
        user, _, wanted = found.triplets.T
        false = np.isin(keys(user, wanted, known), held_out_keys)
        card["yardsticks"]["fhns_supervising"] = mean(false, np.ones(len(false), bool))
    return card


def held_out_items(data):
    """{user: items} of validation and test.  data: dataloader.TrainData."""
    held_out = {}
    for user in range(data.n_users):
        parts = [rows.cols[rows.start[user] : rows.start[user + 1]] for rows in (data.validation, data.test)]
        held_out[user] = np.unique(np.concatenate(parts))
    return held_out


def keys(users, items, known):
    """One number for each user with an item."""
    return np.asarray(users, np.int64) * len(known.item_ids) + items


def mean(values, among):
    return round(float(values[among].mean()), 4) if among.any() else None


def mean_cosine(vectors, has_vector):
    """Of two random vectors: 1 is a constant."""
    rows = np.flatnonzero(has_vector)
    if len(rows) < 2:
        return None
    generator = np.random.default_rng(0)
    first, second = (np.sort(generator.choice(rows, RANDOM_PAIRS)) for _ in range(2))
    second = generator.permutation(second)
    one, other = (np.asarray(vectors[side], np.float32) for side in (first, second))
    return mean((one * other).sum(1).astype(np.float64), first != second)


def aucs(known, held_out, found):
    """How often the mean of a user's vectors is nearer to a known dislike than to a held-out like; chance is .5.

    Mean over the users who have both, beside the same for popularity.  A negative should be nearer to the dislike.
    """
    from sklearn.metrics import roc_auc_score  # takes a second

    of_vectors, of_popularity = [], []
    for user, rows in by_user(found.pairs):
        likes, dislikes = held_out[user], known.disliked(user)
        own = np.asarray(found.vectors[rows], np.float32)[found.status[rows] != NONE]
        if not (len(likes) and len(dislikes) and len(own)):
            continue
        items = np.concatenate((dislikes, likes))
        truth = np.arange(len(items)) < len(dislikes)
        of_vectors.append(roc_auc_score(truth, np.asarray(found.documents[items], np.float32) @ own.mean(0)))
        of_popularity.append(roc_auc_score(truth, known.like_count[items]))
    if not of_vectors:
        return {"users": 0, "vectors": None, "popularity": None}
    vectors, popularity = (round(float(np.mean(values)), 4) for values in (of_vectors, of_popularity))
    return {"users": len(of_vectors), "vectors": vectors, "popularity": popularity}


def yardsticks(known, held_out, pairs):
    """What j would come to if it were drawn without looking at the pair: expected values, pairs weighted alike.

    fhns: of an unrated item drawn uniformly, by (likes)^.75 and by likes.  dislike: of any item but the user's train
    positives, drawn uniformly.
    """
    weights = {"uniform": np.ones(len(known.item_ids)), "popularity^.75": known.like_count**0.75}
    weights["popularity"] = known.like_count.astype(float)
    sums, dislike = dict.fromkeys(weights, 0.0), 0.0
    for user, rows in by_user(pairs):
        n, rated = rows.stop - rows.start, known.rated(user)
        likes = np.setdiff1d(held_out[user], rated)  # a pair in two parts counts as rated
        for name, weight in weights.items():
            sums[name] += n * weight[likes].sum() / max(weight.sum() - weight[rated].sum(), 1e-12)
        dislike += n * len(known.disliked(user)) / max(len(known.item_ids) - len(known.liked(user)), 1)
    means = {f"fhns_{name}": round(float(total / len(pairs)), 4) for name, total in sums.items()}
    return {**means, "dislike_uniform": round(float(dislike / len(pairs)), 4)}


# ------------------------------------------------------------------------------------------------------------ text


def report_lines(card):
    """The card and what stands beside it in report.json, as lines."""
    status, yard, auc = card["status"], card["yardsticks"], card["auc"]
    rejected = "".join(f", {n} {name}" for name, n in status.items() if n and name != STATUS[KEPT])
    lines = [
        f"Hard negatives of {card['writer']}, {card['encoder']}, {card['source']}",
        f"  pairs         {card['pairs']}: {status[STATUS[KEPT]]} kept{rejected}",
        f"  false         {percent(card['fhns'])} are held-out likes, {percent(card['fhns_kept'])} after the filter; "
        f"drawn blindly: uniform {percent(yard['fhns_uniform'])}, by popularity^.75 "
        f"{percent(yard['fhns_popularity^.75'])}, by popularity {percent(yard['fhns_popularity'])}",
        f"  true          {percent(card['dislike'])} are rated 1 or 2 in train, {percent(card['dislike_kept'])} after "
        f"the filter; drawn blindly {percent(yard['dislike_uniform'])}",
        f"  hardness      {number(card['hardness'])} above the liked item's score in the CF run, "
        f"{number(card['hardness_kept'])} after the filter; {percent(card['outscoring'])} above 0",
        f"  variety       {card['distinct_items']} items, the most frequent {percent(card['most_frequent'])}; "
        f"mean cosine of two vectors {number(card['mean_cosine'])}",
        f"  AUC           {number(auc['vectors'])} nearer to a known dislike than to a held-out like "
        f"({auc['users']} users); popularity {number(auc['popularity'])}",
    ]
    if card["catalogue"]:
        equal, near = percent(card["catalogue"]["equal"]), percent(card["catalogue"]["near"])
        lines.append(f"  catalogue     {equal} of the titles are in it, {near} within cosine {SAME_ITEM}")
    if "fhns_supervising" in yard:
        lines.append(f"  supervision   {percent(yard['fhns_supervising'])} of the supervising negatives are false")
    tuning = card["tuning"]
    if tuning:
        lines.append(
            f"  tuning        {tuning['steps']} steps of {tuning['seconds_per_step']:.1f} s, loss "
            f"{tuning['loss_first']:.3f} to {tuning['loss_last']:.3f}; on {tuning['triplets']} triplets of other users "
            f"above the liked item {percent(tuning['above_liked'])}, above a random one "
            f"{percent(tuning['above_random'])}, with other CF vectors {percent(tuning['other_vectors'])}"
        )
    if tuning and "above_others" in tuning:  # not of folders made before other users' negatives counted
        lines.append(
            f"  one query?    above other users' hard negatives {percent(tuning['above_others'])} (of a constant query "
            f"50%), nearest to {tuning['distinct_items']} items where {tuning['distinct_wanted']} were wanted, "
            f"mean cosine of two queries {number(tuning['query_cosine'])}"
        )
    for kind, counts in card["written"].items():
        said = ", ".join(f"{n} {name}" for name, n in counts.items())
        lines.append(f"  {kind:<13} {said}")
    return lines


def percent(value):
    return "-" if value is None else f"{value:.1%}"


def number(value):
    return "-" if value is None else f"{value:.3f}"
