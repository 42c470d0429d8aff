"""The report card of a refinement: what its verdicts cover, change, and are worth."""

import numpy as np
from sklearn.metrics import roc_auc_score

from dataloader import CONFIRMED, LIKED


def report(asked, answers, ratings, refined):
    """The report card: coverage, shares, what changed, and whether the scores can tell likes from dislikes.

    The AUCs are means over users with both known likes (4, 5) and known dislikes (1, 2): how often a like is put
    above a dislike, by the model's score, by the item's number of ratings, and by the item's mean rating without
    this user's own.
    """
    verdicts = [v for record in answers.values() for v in record["verdicts"]]
    stars = ratings.rating.to_numpy()
    number = {item: i for i, item in enumerate(asked.item_ids)}
    aucs = {"model": [], "popularity": [], "item_mean": []}
    for user, record in answers.items():
        items, own = asked.ratings[user]
        rating_of = dict(zip(items, own, strict=True))
        known = np.array([number[item] for item in record.get("known_items", [])], int)
        rating = np.array([rating_of[item] for item in known])
        if len(set(rating >= 4)) < 2:
            continue
        others = np.maximum(asked.item_count[known] - 1, 1)
        scores = (record["known_scores"], asked.item_count[known], (asked.item_sum[known] - rating) / others)
        for by, score_ in zip(aucs.values(), scores, strict=True):
            by.append(roc_auc_score(rating >= 4, score_))
    asked_pairs = {(user, item) for user, record in answers.items() for item in record["items"]}
    twos = ratings[(stars == 2) & (refined == CONFIRMED)]
    unanswered = [r["reason"] for r in answers.values() if "reason" in r]
    return {
        "users_asked_about": len(answers),
        "users_unanswered": {reason: unanswered.count(reason) for reason in sorted(set(unanswered))},
        "candidates": len(verdicts),
        "answered": sum(v != "unanswered" for v in verdicts),
        "liked": verdicts.count("liked"),
        "changed": {
            f"{old}->{new:g}": int(((stars == old) & (refined == new)).sum())
            for old in (2, 3)
            for new in (LIKED, CONFIRMED, old)
        },
        "unasked_twos_confirmed": sum(p not in asked_pairs for p in zip(twos.user, twos.item, strict=True)),
        "auc_users": len(aucs["model"]),
        "auc": {name: round(float(np.mean(values)), 4) if values else None for name, values in aucs.items()},
    }


def report_lines(card):
    answered, changed, auc = card["answered"], card["changed"], card["auc"]
    lines = [
        "Report card of the refinement",
        f"  coverage      {answered} of {card['candidates']} candidates answered"
        + "".join(f"; {n} users without: {reason}" for reason, n in card["users_unanswered"].items()),
        f"  liked         {card['liked'] / max(answered, 1):.1%} of the answered",
    ]
    for old in (2, 3):
        liked, disliked, kept = (changed[f"{old}->{new:g}"] for new in (LIKED, CONFIRMED, old))
        lines.append(f"  rated {old}       {liked} -> liked, {disliked} -> confirmed negative, {kept} as they were")
    lines.append(f"  not asked     {card['unasked_twos_confirmed']} of those confirmed negatives (see --unasked_twos)")
    if card["auc_users"]:
        lines.append(
            f"  AUC           {auc['model']:.3f} known likes above known dislikes ({card['auc_users']} users); "
            f"item popularity {auc['popularity']:.3f}, item mean rating {auc['item_mean']:.3f}"
        )
        if auc["model"] < 0.5:
            lines.append("  WARNING       worse than chance: these verdicts are noise on this data set")
    return lines
