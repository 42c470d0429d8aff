"""The report card of a refinement as lines of text."""

from preparation.files import CONFIRMED, LIKED


def report_lines(card):
    lines = ["Report card of the refinement"]
    if "candidates" in card:  # not where labels came as a file
        lines += lines_on_answers(card)
    lines.append(line_on_users(card["users"]))
    lines += lines_on_changes(card)
    lines += lines_on_aucs(card)
    return lines


def lines_on_answers(card):
    liked_share = card["liked"] / max(card["answered"], 1)
    shares_by_rating = []
    for star, (answered, liked) in card["liked_by_rating"].items():
        if answered:
            shares_by_rating.append(f"{star}: {liked / answered:.1%}")
    lines = [
        f"  coverage      {card['answered']} of {card['candidates']} candidates answered"
        f" ({card['answered'] / max(card['candidates'], 1):.1%})",
        f"  questions     {card['questions']}: {card['questions_unanswered']} unanswered, "
        f"{card['questions_reminded']} after a reminder, "
        f"{card['questions_with_shortened_profile']} with a shortened profile",
        f"  liked         {liked_share:.1%} of the answered; "
        f"by rating {', '.join(shares_by_rating)}",
    ]
    others = card.get("questions_with_other_numbers")  # cards of earlier versions have none
    if others:
        lines.append(f"  counting on   {others} answers also list numbers that no item has, which were skipped")
    if card["answered"] and card["liked"] in (0, card["answered"]):
        lines.append("  WARNING       every verdict is the same: this model tells nothing apart")
    # a model that reads a list may prefer its beginning or its end
    if card["liked_by_position"]:
        shares = []
        for answered, liked in card["liked_by_position"]:
            shares.append(f"{liked / max(answered, 1):.1%}")
        lines.append(f"  by position   {', '.join(shares)} liked")
    # and one that chooses may have learnt how many from an example
    if card.get("questions_by_count"):  # cards of earlier versions have none
        size, counts = max(card["questions_by_count"].items(), key=lambda pair: sum(pair[1]))
        shares = [f"{liked}: {count / sum(counts):.1%}" for liked, count in enumerate(counts)]
        lines.append(f"  by count      of {size} items liked {', '.join(shares)} of the questions")
    # known with several --llm_permutations only
    if card["agreement"] is not None:
        agreed = card["agreement"]
        lines.append(f"  agreement     {agreed:.1%} of the items judged alike in every order")
    return lines


def line_on_users(counts):
    line = f"  users         {counts['changed']} of {counts['all']} with changed ratings"
    if counts["unchanged"]:
        line += "; " + ", ".join(f"{n} {reason}" for reason, n in counts["unchanged"].items())
    return line


def lines_on_changes(card):
    changed, unasked = card["changed"], card["unasked_twos_confirmed"]
    liked = changed[f"2->{LIKED:g}"] + changed[f"3->{LIKED:g}"]
    disliked = changed[f"2->{CONFIRMED:g}"] + changed[f"3->{CONFIRMED:g}"]
    kept = changed["2->2"] + changed["3->3"]
    return [
        line_on_rating(card, 2),
        line_on_rating(card, 3),
        f"  in all        {liked} -> liked, {disliked} -> confirmed negative, "
        f"{kept} as they were",
        f"  not asked     {unasked} of those confirmed negatives (see --unasked_twos)",
    ]


def line_on_rating(card, old):
    changed = card["changed"]
    liked, disliked = changed[f"{old}->{LIKED:g}"], changed[f"{old}->{CONFIRMED:g}"]
    kept = changed[f"{old}->{old}"]
    line = (
        f"  rated {old}       {liked} -> liked, {disliked} -> confirmed negative, "
        f"{kept} as they were"
    )
    share = card[f"liked_share_of_changed_{old}s"]
    if share is not None:
        line += f" ({share:.1%} of the changed ones liked)"
    return line


def lines_on_aucs(card):
    lines = []
    # do the verdicts follow what others think of the item?
    if card["auc_item_mean_of_verdicts"] is not None:
        auc = card["auc_item_mean_of_verdicts"]
        lines.append(
            f"  verdicts      AUC {auc:.3f} of the item's mean rating for liked against disliked"
        )
    # do they agree with what the user is known to like?
    if card.get("auc_users"):
        auc = card["auc"]
        lines.append(
            f"  AUC           {auc['model']:.3f} known likes above known dislikes "
            f"({card['auc_users']} users); item popularity {auc['popularity']:.3f}, "
            f"item mean rating {auc['item_mean']:.3f}"
        )
        if auc["model"] < 0.5:
            lines.append(
                "  WARNING       worse than chance: these verdicts are noise on this data set"
            )
    return lines


def sentences(card):
    """The report card in plain words: a list of sentences, what matters most first."""
    changed, users = card["changed"], card["users"]
    first, rest = [], []
    if "candidates" in card:  # not where labels came as a file
        share = card["liked"] / max(card["answered"], 1)
        first.append(
            f"{card['candidates']:,} ratings of 2 and 3 were to be sorted; {card['answered']:,} got a verdict, "
            f"of which {share:.1%} liked."
        )
        rest.append(
            f"{card['questions']:,} questions: {card['questions_unanswered']:,} unanswered, "
            f"{card['questions_reminded']:,} after a reminder, "
            f"{card['questions_with_shortened_profile']:,} with a profile shortened for lack of room."
        )
    liked = changed[f"2->{LIKED:g}"] + changed[f"3->{LIKED:g}"]
    disliked = changed[f"2->{CONFIRMED:g}"] + changed[f"3->{CONFIRMED:g}"]
    first.append(
        f"Of all 2s and 3s training sees {liked:,} as likes ({LIKED:g}), {disliked:,} as confirmed negatives "
        f"({CONFIRMED:g}) and {changed['2->2'] + changed['3->3']:,} as they were given."
    )
    if card.get("auc_users"):
        auc = card["auc"]
        warning = " Warning: worse than chance, so these verdicts are noise on this data set." * (auc["model"] < 0.5)
        first.append(
            "Of a known like and a known dislike, hidden from it, the model prefers the like in "
            f"{auc['model']:.1%} of such pairs (chance: 50%). Going by the item's mean rating by other users does in "
            f"{auc['item_mean']:.1%}, by its number of ratings in {auc['popularity']:.1%}.{warning}"
        )
    others = ", ".join(f"{n:,} {reason}" for reason, n in users["unchanged"].items())
    others = f" The others: {others}." if others else ""
    rest.append(f"{users['changed']:,} of {users['all']:,} users have changed ratings.{others}")
    rest.append(f"{card['unasked_twos_confirmed']:,} of the confirmed negatives are 2s that nobody was asked about.")
    if card["auc_item_mean_of_verdicts"] is not None:
        rest.append(
            "Of an item called liked and one called disliked, the first has the higher mean rating by other users in "
            f"{card['auc_item_mean_of_verdicts']:.1%} of such pairs (unrelated: 50%)."
        )
    return first + rest
