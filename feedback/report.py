"""The report card of a refinement: what its verdicts cover, change, and are worth."""

from collections import Counter, defaultdict

import numpy as np
from sklearn.metrics import roc_auc_score

from atomic_files.files import CONFIRMED, LIKED


def report(asked, records, judged, ratings, refined):
    """The report card as plain JSON values.

    records, judged: the answers and what llm_feedback.merge makes of them, both empty for labels that came as a file;
    ratings, refined: the train rows before and after.  The AUCs are means over users with both known likes (4,
    5) and known dislikes (1, 2) among what was judged: how often a like is put above a dislike, by the model, by the
    item's number of ratings, and by the item's mean rating without this user's own.
    """
    stars = ratings.rating.to_numpy()
    card = {"changed": changes(stars, refined), "users": users(asked, records, ratings, refined)}
    for old in (2, 3):
        liked, disliked = (card["changed"][f"{old}->{new:g}"] for new in (LIKED, CONFIRMED))
        card[f"liked_share_of_changed_{old}s"] = ratio(liked, liked + disliked)
    twos = ratings[(stars == 2) & (refined == CONFIRMED)]
    card["unasked_twos_confirmed"] = sum(pair not in asked.pairs for pair in zip(twos.user, twos.item, strict=True))
    card["auc_item_mean_of_verdicts"] = item_mean_auc(asked, ratings, refined)
    if not records:
        return card
    given = [verdict for pair, (verdict, _) in judged.items() if pair in asked.pairs]
    card |= {
        "candidates": len(asked.pairs),
        "answered": sum(verdict != "unanswered" for verdict in given),
        "liked": given.count("liked"),
        "questions": len(records),
        "questions_unanswered": sum(set(record["verdicts"]) == {"unanswered"} for record in records),
        "questions_reminded": sum(bool(record.get("reminded")) for record in records),
        "questions_with_shortened_profile": sum(bool(record.get("profile_left_out")) for record in records),
        "liked_by_rating": by_rating(asked, judged),
        "liked_by_position": by_position(records),
        "agreement": agreement(records),
    }
    return card | aucs(asked, judged)


def changes(stars, refined):
    return {
        f"{old}->{new:g}": int(((stars == old) & (refined == new)).sum())
        for old in (2, 3)
        for new in (LIKED, CONFIRMED, old)
    }


def item_mean_auc(asked, ratings, refined):
    """How well the item's mean rating by other users tells the verdicts on the candidates apart: 0.5 means that they
    have nothing to do with what others thought of the items."""
    number = {item: i for i, item in enumerate(asked.item_ids)}
    rows = [
        (number[item], star, new == LIKED)
        for user, item, star, new in zip(ratings.user, ratings.item, ratings.rating, refined, strict=True)
        if new != star and (user, item) in asked.pairs
    ]
    item, star, liked = (np.array(column) for column in zip(*rows, strict=True)) if rows else ([], [], [])
    if len(set(liked)) < 2:
        return None
    mean = (asked.item_sum[item] - star) / np.maximum(asked.item_count[item] - 1, 1)
    return round(float(roc_auc_score(liked, mean)), 4)


def users(asked, records, ratings, refined):
    """How many users have changed ratings, and why the others have none."""
    changed = set(ratings.user[(refined != ratings.rating).to_numpy()])
    begun = {record["user"] for record in records}
    reasons = {record["user"]: record["reason"] for record in records if "reason" in record}
    middling = set(ratings.user[ratings.rating.isin([2, 3])])
    why = Counter(
        "no 2s or 3s"
        if user not in middling
        else "not asked about"
        if user not in asked.candidates
        else "not asked yet"
        if records and user not in begun
        else f"unanswered: {reasons[user]}"
        if user in reasons
        else "asked about, without a verdict"
        if records
        else "2s or 3s, left as they were"
        for user in asked.user_ids
        if user not in changed
    )
    return {"all": len(asked.user_ids), "changed": len(changed), "unchanged": dict(sorted(why.items()))}


def by_rating(asked, judged):
    """{rating: [answered, liked]}, known ratings that were hidden among the candidates included."""
    counts = {str(star): [0, 0] for star in range(1, 6)}
    for star, _, verdict, _ in rows(asked, judged):
        counts[str(int(star))][0] += verdict != "unanswered"
        counts[str(int(star))][1] += verdict == "liked"
    return counts


def by_position(records):
    """[[shown, liked], ...] by place in the question, for questions whose items were answered together."""
    counts = defaultdict(lambda: [0, 0])
    for record in records:
        for place, verdict in enumerate(record["verdicts"] if "raw" in record else ()):
            counts[place][0] += verdict != "unanswered"
            counts[place][1] += verdict == "liked"
    return [counts[place] for place in sorted(counts)]


def agreement(records):
    """Share of the items judged in more than one order on which all orders agree; None with one order."""
    votes = defaultdict(list)
    for record in records:
        for item, verdict in zip(record["items"], record["verdicts"], strict=True):
            if verdict != "unanswered":
                votes[record["user"], item].append(verdict)
    several = [len(set(given)) == 1 for given in votes.values() if len(given) > 1]
    return ratio(sum(several), len(several))


def rows(asked, judged):
    """(rating, item number, verdict, margin) of every judged pair."""
    number = {item: i for i, item in enumerate(asked.item_ids)}
    stars = {}
    for (user, item), (verdict, margin) in judged.items():
        if user not in stars:
            stars[user] = dict(zip(*asked.ratings[user], strict=True))
        yield stars[user][number[item]], number[item], verdict, margin


def aucs(asked, judged):
    per_user = defaultdict(list)
    for (user, _), (star, item, _, margin) in zip(judged, rows(asked, judged), strict=True):
        if star != 3 and margin is not None:
            per_user[user].append((star, item, margin))
    found = {"model": [], "popularity": [], "item_mean": []}
    for known in per_user.values():
        star, item, margin = (np.array(column) for column in zip(*known, strict=True))
        if len(set(star >= 4)) < 2:
            continue
        others = np.maximum(asked.item_count[item] - 1, 1)
        scores = (margin, asked.item_count[item], (asked.item_sum[item] - star) / others)
        for by, score in zip(found.values(), scores, strict=True):
            by.append(roc_auc_score(star >= 4, score))
    means = {name: round(float(np.mean(values)), 4) if values else None for name, values in found.items()}
    return {"auc_users": len(found["model"]), "auc": means}


def ratio(part, whole):
    return round(part / whole, 4) if whole else None


def report_lines(card):
    """The card as text."""
    changed, who = card["changed"], card["users"]
    lines = ["Report card of the refinement"]
    if "candidates" in card:
        lines += [
            f"  coverage      {card['answered']} of {card['candidates']} candidates answered",
            f"  questions     {card['questions']}: {card['questions_unanswered']} unanswered, "
            f"{card['questions_reminded']} after a reminder, {card['questions_with_shortened_profile']} with a "
            "shortened profile",
            f"  liked         {card['liked'] / max(card['answered'], 1):.1%} of the answered; by rating "
            + ", ".join(f"{star}: {liked / n:.1%}" for star, (n, liked) in card["liked_by_rating"].items() if n),
        ]
        if card["liked_by_position"]:
            shares = (f"{liked / max(n, 1):.1%}" for n, liked in card["liked_by_position"])
            lines.append(f"  by position   {', '.join(shares)} liked")
        if card["agreement"] is not None:
            lines.append(f"  agreement     {card['agreement']:.1%} of the items judged alike in every order")
    lines.append(f"  users         {who['changed']} of {who['all']} with changed ratings")
    if who["unchanged"]:
        lines[-1] += "; " + ", ".join(f"{n} {reason}" for reason, n in who["unchanged"].items())
    for old in (2, 3):
        liked, disliked, kept = (changed[f"{old}->{new:g}"] for new in (LIKED, CONFIRMED, old))
        share = card[f"liked_share_of_changed_{old}s"]
        lines.append(f"  rated {old}       {liked} -> liked, {disliked} -> confirmed negative, {kept} as they were")
        lines[-1] += "" if share is None else f" ({share:.1%} of the changed ones liked)"
    totals = (sum(changed[f"{old}->{new}"] for old in (2, 3)) for new in (f"{LIKED:g}", f"{CONFIRMED:g}"))
    kept = changed["2->2"] + changed["3->3"]
    lines.append("  in all        {} -> liked, {} -> confirmed negative, {} as they were".format(*totals, kept))
    unasked = card["unasked_twos_confirmed"]
    lines.append(f"  not asked     {unasked} of those confirmed negatives (see --unasked_twos)")
    if card["auc_item_mean_of_verdicts"]:
        auc = card["auc_item_mean_of_verdicts"]
        lines.append(f"  verdicts      AUC {auc:.3f} of the item's mean rating for liked against disliked")
    if card.get("auc_users"):
        auc = card["auc"]
        lines.append(
            f"  AUC           {auc['model']:.3f} known likes above known dislikes ({card['auc_users']} users); "
            f"item popularity {auc['popularity']:.3f}, item mean rating {auc['item_mean']:.3f}"
        )
        if auc["model"] < 0.5:
            lines.append("  WARNING       worse than chance: these verdicts are noise on this data set")
    return lines
