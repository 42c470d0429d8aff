"""A refinement's decisions about all users as one page for a browser, which needs no network.

page.html is the template.  The data go into it as JSON that no title, user id or answer can end early.  The page
puts them on the screen as text only, and its policy lets nothing run but the script of the template.
"""

import base64
import hashlib
import json
import re
from pathlib import Path

from feedback.decisions import VERDICTS, decisions_of, require_same_ratings
from feedback.report_text import report_rows
from preparation.files import CONFIRMED, LIKED
from preparation.titles import on_one_line

TEMPLATE = Path(__file__).with_name("page.html")
LABELS = (None, LIKED, CONFIRMED)  # a label's code is its place; AS_GIVEN for any other
AS_GIVEN = len(LABELS)


def page_of(train, refinements, runs):
    """The page as HTML, of one or two refinements and of at most two recommend.FinishedRun."""
    number = refinements[0].train.number
    lists = [lists_of(run, number) for run in runs]
    content = {
        "original": train.original.name,
        "titles": train.titles,
        "verdicts": VERDICTS,
        "refinements": [about(refinement) for refinement in refinements],
        "runs": [about_run(run, train) for run in runs],
        "users": [row_of(user, refinements, lists) for user in refinements[0].train.user_ids],
    }
    page = TEMPLATE.read_text(encoding="utf-8")
    page = page.replace("{{policy}}", policy_of(page), 1)
    return page.replace("{{data}}", inert_json(content), 1)  # the last, since data may hold anything


def policy_of(page):
    """The Content-Security-Policy: nothing but the template's own style and script."""
    sources = []
    for kind in ("style", "script"):
        text = re.search(rf"<{kind}>(.*?)</{kind}>", page, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        sources.append(f"{kind}-src 'sha256-{digest}'")
    return f"default-src 'none'; {'; '.join(sources)}; base-uri 'none'; form-action 'none'"


def inert_json(content):
    """JSON in ASCII, without a character that means something to HTML, as in </script> and <!--."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def about(refinement):
    return {
        "folder": on_one_line(str(refinement.folder)),
        "asked": refinement.asked_by if refinement.settings else "",
        "card": report_rows(refinement.card) if refinement.card else [],
        "notes": [on_one_line(note) for note in refinement.notes],
    }


def about_run(run, train):
    """Raises InputError where the run was trained on other ratings."""
    require_same_ratings(run.folder, run.train_csv, train)
    notes = [f"{run.name}, trained on {run.train_csv}."]
    if not run.data.test_dislikes:
        notes.append("This run holds out no dislikes, so its lists can show none of them.")
    return {"folder": on_one_line(str(run.folder)), "notes": notes, "card": []}


def lists_of(run, number):
    """{user: [[[item, mark], ...], held-out likes, held-out dislikes]} of what a run recommends.

    mark: 1 of a held-out like, 2 of a held-out dislike, 0 of any other item.
    """
    lists = {}
    for user, items in run.recommend_all().groupby("user", sort=False).item:
        marks = dict.fromkeys(run.withheld(user, ""), 1) | dict.fromkeys(run.withheld(user, "_dislikes"), 2)
        rows = [[number[item], marks.get(item, 0)] for item in items]
        counts = list(marks.values())
        lists[user] = [rows, counts.count(1), counts.count(2)]
    return lists


def row_of(user, refinements, lists):
    """[id, train ratings, a profile for each refinement, decisions, a list for each run] of a user."""
    profiles, decisions = decisions_of(refinements, user)
    stars_of = refinements[0].train.stars_of(user)
    return [
        on_one_line(user),
        len(stars_of),
        [packed_profile(profile, stars_of) for profile in profiles],
        [packed(decision) for decision in decisions],
        [of_run.get(user) for of_run in lists],
    ]


def packed_profile(profile, stars_of):
    """[likes, dislikes, answers, what is missing].  likes, dislikes: groups [stars, items]."""
    sides = []
    for items in (profile.likes, profile.dislikes):
        groups = {}
        for item in items:
            groups.setdefault(int(stars_of[item]), []).append(item)
        sides.append(list(groups.items()))
    return [*sides, profile.answers, profile.missing]


def packed(decision):
    """[item, stars, mean of others in hundredths, others, whether refinements differ, what each says]"""
    said = []
    for each in decision.said:
        score = None if each.score is None else float(f"{each.score:.3g}")
        label = LABELS.index(each.label) if each.label in LABELS else AS_GIVEN
        said.append([VERDICTS.index(each.verdict), score, each.places, label, int(each.known)])
    others = None if decision.others is None else round(100 * decision.others)
    return [decision.item, int(decision.stars), others, decision.raters, int(decision.differs), said]
