"""The report card of a refinement as text."""

import numpy as np

from preparation.files import CONFIRMED, LIKED


def report_lines(card):
    lines = ["Report card of the refinement"]
    for name, text in report_rows(card):
        lines.append(f"  {name:<14}{text}")
    return lines


def report_rows(card):
    """(name, text) of each line."""
    rows = []
    if "candidates" in card:  # not where labels came as a file
        rows += rows_on_answers(card)
    counts, changed = card["users"], card["changed"]
    with_changes = f"{counts['changed']} of {counts['all']} with changed ratings"
    reasons = ", ".join(f"{n} {reason}" for reason, n in counts["unchanged"].items())
    rows.append(("users", f"{with_changes}; {reasons}" if reasons else with_changes))

    in_all = np.zeros(3, int)
    for old in (2, 3):
        numbers = [changed[f"{old}->{new:g}"] for new in (LIKED, CONFIRMED, old)]
        in_all += numbers
        share = card[f"liked_share_of_changed_{old}s"]
        of_changed = "" if share is None else f" ({share:.1%} of the changed ones liked)"
        rows.append((f"rated {old}", on_changes(*numbers) + of_changed))
    rows.append(("in all", on_changes(*in_all)))
    unasked = card["unasked_twos_confirmed"]
    rows.append(("not asked", f"{unasked} of those confirmed negatives (see --unasked_twos)"))
    return rows + rows_on_aucs(card)


def on_changes(liked, disliked, kept):
    return f"{liked} -> liked, {disliked} -> confirmed negative, {kept} as they were"


def rows_on_answers(card):
    answered, candidates = card["answered"], card["candidates"]
    by_rating = []
    for star, (of_star, liked) in card["liked_by_rating"].items():
        if of_star:
            by_rating.append(f"{star}: {liked / of_star:.1%}")
    coverage = f"{answered} of {candidates} candidates answered ({answered / max(candidates, 1):.1%})"
    questions = (
        f"{card['questions']}: {card['questions_unanswered']} unanswered, {card['questions_reminded']} after a "
        f"reminder, {card['questions_with_shortened_profile']} with a shortened profile"
    )
    liked = f"{card['liked'] / max(answered, 1):.1%} of the answered; by rating {', '.join(by_rating)}"
    rows = [("coverage", coverage), ("questions", questions), ("liked", liked)]
    others = card.get("questions_with_other_numbers")  # cards of earlier versions have none
    if others:
        rows.append(("counting on", f"{others} answers also list numbers that no item has, which were skipped"))
    if answered and card["liked"] in (0, answered) and "control" not in card:  # which asks no model
        rows.append(("WARNING", "every verdict is the same: this model tells nothing apart"))
    # a model that reads a list may prefer its beginning or its end
    if card["liked_by_position"]:
        shares = [f"{liked / max(of_place, 1):.1%}" for of_place, liked in card["liked_by_position"]]
        rows.append(("by position", f"{', '.join(shares)} liked"))
    # and one that chooses may have learnt how many from an example
    if card.get("questions_by_count"):  # cards of earlier versions have none
        size, counts = max(card["questions_by_count"].items(), key=lambda pair: sum(pair[1]))
        shares = [f"{liked}: {count / sum(counts):.1%}" for liked, count in enumerate(counts)]
        rows.append(("by count", f"of {size} items liked {', '.join(shares)} of the questions"))
    if card["agreement"] is not None:  # known with several --llm_permutations only
        rows.append(("agreement", f"{card['agreement']:.1%} of the items judged alike in every order"))
    return rows


def rows_on_aucs(card):
    rows, of_verdicts = [], card["auc_item_mean_of_verdicts"]
    # do the verdicts follow what others think of the item?
    if of_verdicts is not None:
        text = f"AUC {of_verdicts:.3f} of the item's mean rating for liked against disliked"
        rows.append(("verdicts", text))
    # do they agree with what the user is known to like?
    if card.get("auc_users"):
        auc = card["auc"]
        error = card.get("auc_error")  # cards of earlier versions have none, nor has that of one user
        shown = f"{auc['model']:.3f}" if error is None else f"{auc['model']:.3f} +- {error:.3f}"
        text = f"{shown} known likes above known dislikes ({card['auc_users']} users); item popularity"
        rows.append(("AUC", f"{text} {auc['popularity']:.3f}, item mean rating {auc['item_mean']:.3f}"))
        if auc["model"] + 2 * (error or 0) < 0.5:
            rows.append(("WARNING", "worse than chance: these verdicts are noise on this data set"))
        elif error is not None and abs(auc["model"] - 0.5) <= 2 * error:
            rows.append(("WARNING", "not distinguishable from chance (0.5)"))
    return rows
