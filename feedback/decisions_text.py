"""One user's decisions as lines of text."""

from feedback.decisions import decisions_of
from preparation.files import CONFIRMED, LIKED
from preparation.titles import on_one_line
from utils import InputError

KNOWN = "(known): a known rating, hidden to measure the model; its label does not follow the verdict"
LABELS = {LIKED: "liked", CONFIRMED: "confirmed negative"}


def show_lines(train, refinements, user):
    """What `llm_feedback.py show` prints of a user.  Raises InputError for one without train ratings."""
    known = refinements[0].train.user_ids
    if user not in refinements[0].train.ratings:
        raise InputError(
            f"user {user}: not among the {len(known)} users of {train.original}; they look like {known[0]}, {known[-1]}"
        )
    profiles, decisions = decisions_of(refinements, user)
    stars_of = refinements[0].train.stars_of(user)
    lines = [f"User {on_one_line(user)}, {len(stars_of)} train ratings of {train.original.name}"]
    several = len(refinements) > 1
    names = ["A", "B"] if several else [""]
    for name, refinement, profile in zip(names, refinements, profiles, strict=True):
        lines += ["", f"{name}: {refinement.folder}" if several else str(refinement.folder)]
        if refinement.settings:
            lines.append(f"Verdicts by {refinement.asked_by}; {profile.questions} question(s) about this user")
        lines += [f"Note: {note}" for note in refinement.notes]
        lines += lines_on_profile(profile, stars_of, train.titles)
        lines += [f"Answer {number}: {said}" for number, said in profile.answers]

    differing = [decision for decision in decisions if decision.differs]
    agreed = decisions[len(differing) :]
    if several:
        lines += ["", f"Decisions on which they disagree: {len(differing)} of {len(decisions)}"]
        lines += table(differing, names, train.titles)
    lines += ["", f"{'The other decisions' if several else 'Decisions'}: {len(agreed)}"]
    lines += table(agreed, names, train.titles)
    if any("(known)" in line for line in lines):
        lines.append(KNOWN)
    return lines


def lines_on_profile(profile, stars_of, titles):
    if profile.missing:
        return [f"What the model read of likes and dislikes: {profile.missing}"]
    lines = []
    for side, items in (("liked", profile.likes), ("disliked", profile.dislikes)):
        lines.append(f"The model read that the user {side}: {len(items)}")
        lines += [f"  {stars_of[item]:g}  {titles[item]}" for item in items]
    return lines


def table(decisions, names, titles):
    """Rows under a heading, aligned.  names: of the refinements, "" for an only one."""
    if not decisions:
        return []
    heads = ["stars", "others"]
    for name in names:
        heads += [f"{word} {name}".strip() for word in ("verdict", "score", "label")]
    rows = [[*heads, "title"]]
    for decision in decisions:
        others = "-" if decision.others is None else f"{decision.others:.2f} of {decision.raters}"
        row = [f"{decision.stars:g}", others]
        for each in decision.said:
            row += [each.verdict + " (known)" * each.known, score_of(each), label_of(each)]
        rows.append([*row, titles[decision.item]])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def score_of(said):
    """The score as text, or where in the model's list the item was."""
    words = [f"{said.score:+.3f}"] if said.score is not None else []
    words += [f"no. {place} of answer {question}" for question, place in said.places]
    return ", ".join(words) or "-"


def label_of(said):
    if said.label is None:
        return "none yet"
    return f"{said.label:g} {LABELS.get(said.label, 'as given')}"
