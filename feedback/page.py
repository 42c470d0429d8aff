"""A refinement's decisions about all users as one page for a browser, which asks no network for anything.

page.html is the template.  The data go into it as JSON that no title, user id or answer can end early; the page puts
them on the screen as text only, and its policy lets nothing run but the script that the template came with.
"""

import base64
import hashlib
import json
import re
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from feedback.decisions import VERDICTS, decisions_of
from feedback.report_text import report_rows
from preparation.files import CONFIRMED, LIKED
from preparation.titles import on_one_line

TEMPLATE = Path(__file__).with_name("page.html")
LABELS = (None, LIKED, CONFIRMED)  # a label's code is its place; AS_GIVEN for any other
AS_GIVEN = len(LABELS)
MARKS = ("", "liked", "disliked")  # of an item in a run's list


@dataclass
class List:
    """What a run recommends to a user."""

    items: list  # of (item id, one of MARKS), best first
    likes: int  # held-out likes of the user, in the list or not
    dislikes: int


@dataclass
class Run:
    folder: Path
    notes: list  # sentences
    lists: dict  # user id -> List


def page_of(train, refinements, runs):
    """The page as HTML.  train: decisions.Train; refinements: one or two; runs: of Run, at most two."""
    content = {
        "original": train.original.name,
        "titles": train.titles,
        "verdicts": VERDICTS,
        "refinements": [about(refinement) for refinement in refinements],
        "runs": [{"folder": on_one_line(str(run.folder)), "notes": run.notes, "card": []} for run in runs],
        "users": [row_of(user, refinements, runs) for user in refinements[0].train.user_ids],
    }
    page = TEMPLATE.read_text(encoding="utf-8")
    page = page.replace("{{policy}}", policy_of(page), 1)
    return page.replace("{{data}}", inert_json(content), 1)  # the last, since data may hold anything


def policy_of(page):
    """The Content-Security-Policy: nothing from anywhere, and of style and script only the template's own."""
    sources = []
    for kind in ("style", "script"):
        text = re.search(rf"<{kind}>(.*?)</{kind}>", page, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        sources.append(f"{kind}-src 'sha256-{digest}'")
    return f"default-src 'none'; {'; '.join(sources)}; base-uri 'none'; form-action 'none'"


def inert_json(content):
    """JSON in ASCII, without a character that means something to HTML: </script>, <!-- and U+2028 become escapes."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def about(refinement):
    return {
        "folder": on_one_line(str(refinement.folder)),
        "asked": refinement.asked_by if refinement.settings else "",
        "card": report_rows(refinement.card) if refinement.card else [],
        "notes": [on_one_line(note) for note in refinement.notes],
    }


def row_of(user, refinements, runs):
    """[id, train ratings, a profile for each refinement, decisions, a list for each run] of a user."""
    profiles, decisions = decisions_of(refinements, user)
    stars_of = refinements[0].train.stars_of(user)
    numbers = refinements[0].train.number
    lists = []
    for run in runs:
        its = run.lists.get(user)
        rows = its and [[numbers[item], MARKS.index(mark)] for item, mark in its.items]
        lists.append(its and [rows, its.likes, its.dislikes])
    return [
        on_one_line(user),
        len(stars_of),
        [packed_profile(profile, stars_of) for profile in profiles],
        [packed(decision) for decision in decisions],
        lists,
    ]


def packed_profile(profile, stars_of):
    """[likes, dislikes, questions, answers, what is missing].

    likes, dislikes: groups [stars, number of questions that showed them, items].
    """

    def kind(entry):
        item, questions = entry
        return -abs(stars_of[item] - 3), questions  # as strongest first, the order of prompts

    sides = []
    for entries in (profile.likes, profile.dislikes):
        groups = groupby(sorted(entries, key=kind), kind)
        groups = [(key[1], [item for item, _ in group]) for key, group in groups]
        sides.append([[int(stars_of[items[0]]), questions, items] for questions, items in groups])
    return [*sides, profile.questions, profile.answers, profile.missing]


def packed(decision):
    """[item, stars, mean of others in hundredths, others, whether two refinements differ, what each says]."""
    said = []
    for each in decision.said:
        score = None if each.score is None else float(f"{each.score:.3g}")
        label = LABELS.index(each.label) if each.label in LABELS else AS_GIVEN
        said.append([VERDICTS.index(each.verdict), score, each.places, label, int(each.known)])
    others = None if decision.others is None else round(100 * decision.others)
    return [decision.item, int(decision.stars), others, decision.raters, int(decision.differs), said]
