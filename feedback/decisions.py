"""What a model read about a user, what it said of each item, and what became of the rating.

    read_train         the train ratings that refinements are about, and what their items are called
    read_refinement    the folder of a refinement -> Refinement
    decisions_of       a user in one or two refinements -> what each read, and a row for each item

`llm_feedback.py show` prints them, page.py puts them on a page.
"""

import math
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from feedback.prompts import PROMPT_VERSION
from feedback.questions import TOO_LONG, TrainRatings, of_some_users, one_each, questions, whom_to_ask
from feedback.report import mean_by_others, report
from feedback.settings import answers_of_labels
from feedback.verdicts import answers_about, labels_of, merge, original_of, says_so
from llm.answers import key
from options.refinement import RefinementSettings
from preparation.files import STARS, read_ratings
from preparation.locate import folder_of_atomic
from preparation.titles import item_table, item_texts, on_one_line
from utils import InputError, hash_of

ANSWERS, LABELS = "answers.jsonl", "*_train_augment.csv"
VERDICTS = ("liked", "disliked", "unanswered", "not asked", "not kept")
LONGEST_ANSWER = 300  # characters of a model's answer that are shown
TITLED = "--dataset FOLDER names the folder with the .item file"


@dataclass
class Train:
    """The train ratings as users gave them."""

    original: Path  # their CSV
    ratings: pd.DataFrame
    stars: dict  # (user, item) -> rating, in the order of the rows
    raw: Path  # the folder of the .inter and .item files
    items: pd.DataFrame  # titles.item_table
    titles: list  # (I,) by item number, "item 42" where there is none
    untitled: int  # how many items have no title


@dataclass
class Refinement:
    """What lies in the folder of a refinement."""

    folder: Path
    train: TrainRatings
    settings: dict  # what its answers were made with, {} without answers
    records: dict = field(default_factory=dict)  # user -> records of answers
    judged: dict = field(default_factory=dict)  # of verdicts.merge
    asked: dict = field(default_factory=dict)  # key -> Question; empty: they cannot be made again
    labels: dict = field(default_factory=dict)  # (user, item) -> refined rating
    card: dict = field(default_factory=dict)  # of report.report, {} before there are labels
    notes: list = field(default_factory=list)  # what is missing or unusual, in whole sentences

    @property
    def asked_by(self):
        """Who gave the answers, in words."""
        llm, mode = self.settings.get("llm", "unknown"), self.settings.get("mode")
        return on_one_line(f"{llm}, mode {mode}" if mode else str(llm))


@dataclass
class Profile:
    """What a model read about a user."""

    likes: list  # numbers of the items that one of the questions showed, strongest first
    dislikes: list
    questions: int
    answers: list  # of (number of the question, what the model said or why there is no answer)
    missing: str = ""  # why likes and dislikes are not known


@dataclass
class Said:
    """What one refinement says of an item."""

    verdict: str  # one of VERDICTS
    score: float | None  # above the user's threshold; or mean vote, with several orders
    places: list  # of (number of the question, number in its list), where the model read a list
    label: float | None  # what training sees, None before there is one
    known: bool  # no candidate, but a known rating that was asked to measure the model


@dataclass
class Decision:
    item: int  # its number
    stars: float
    others: float | None  # mean rating by other users, None without any
    raters: int  # how many these are
    said: list  # of Said, one for each refinement

    @property
    def differs(self):
        """Whether two refinements disagree: on the label, or on the verdict where both have one."""
        labels, verdicts = {said.label for said in self.said}, {said.verdict for said in self.said}
        return len(labels - {None}) > 1 or {"liked", "disliked"} <= verdicts


# ------------------------------------------------------------------------------- reading a folder


def is_refinement(folder):
    """Whether answers or refined ratings lie in a folder."""
    return (folder / ANSWERS).is_file() or any(folder.glob(LABELS))


def read_train(folder, raw=None):
    """The Train of a refinement's folder.  raw: the folder of the .item file, None: the data set's own."""
    original = original_of(folder / ANSWERS)
    if raw is None:
        of_data = original.parent
        if of_data.name.startswith("hold_out_"):
            of_data = of_data.parent
        raw = folder_of_atomic(of_data, of_data)
    ratings = read_ratings(original, ",", STARS)
    items = item_table(raw)
    item_ids = whom_to_ask(ratings, "confirmed").item_ids
    texts = item_texts(items, item_ids, genres=False)
    titles = [text or f"item {on_one_line(item)}" for text, item in zip(texts, item_ids, strict=True)]
    stars = dict(zip(zip(ratings.user, ratings.item, strict=True), ratings.rating, strict=True))
    return Train(original, ratings, stars, raw, items, titles, texts.count(""))


def require_same_ratings(folder, labels, train):
    """Raises InputError where labels, a file in the folder, refine other ratings."""
    original = original_of(labels)
    if original.read_bytes() != train.original.read_bytes():
        raise InputError(f"{folder}: is about {original}, and not {train.original}; give folders of one split")


def read_refinement(folder, train):
    """The Refinement in a folder.  Raises InputError where its files are about other ratings."""
    labels = next(iter(sorted(folder.glob(LABELS))), None)
    of_answers, users, orders = folder, None, 1
    if not (folder / ANSWERS).exists():
        of_answers, users, orders = answers_of_labels(folder)
    path, settings, records = of_answers / ANSWERS, {}, []
    if path.exists():
        settings, records = answers_about(path, train.original)
    which = "ask" if settings.get("all_twos") else "confirmed"
    asked_about = whom_to_ask(train.ratings, which, train.items if settings.get("mode") else None)
    if users:  # the answers may be about more, of a start without --llm_users
        asked_about = of_some_users(asked_about, users, settings["seed"])
        records = [record for record in records if record["user"] in asked_about.candidates]
    refinement = Refinement(folder, asked_about, settings)
    try:
        if labels:  # they are made of so many orders, of more that were asked
            records = [record for record in records if record["permutation"] < orders]
        fill_in(refinement, records, labels, train)
    except (KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
        hint = "delete its folder to ask anew"
        raise InputError(f"{path}: holds an answer that does not fit its ratings ({error!r:.60}); {hint}") from None

    notes = refinement.notes
    if not settings:
        notes.append("There are labels but no answers: what was read and said, and by whom, is not kept here.")
    elif of_answers != folder:
        notes.append(f"The answers lie in {of_answers}; the labels are made of {orders} order(s) of them.")
    add_notes(refinement, labels, train)
    return refinement


def fill_in(refinement, records, labels, train):
    """Put answers and labels into a Refinement."""
    refinement.judged = merge(records)
    for pair in refinement.judged:
        train.stars[pair]  # must be there
    for record in sorted(records, key=lambda record: (record["permutation"], record["part"])):
        refinement.records.setdefault(record["user"], []).append(record)
    if refinement.settings.get("mode"):
        refinement.asked = questions_asked(refinement, records, train)
    if labels:
        refined = labels_of(labels, train.ratings, train.original)
        refinement.labels = dict(zip(train.stars, refined, strict=True))
        refinement.card = report(refinement.train, records, refinement.judged, train.ratings, refined)


def add_notes(refinement, labels, train):
    """Note whatever is missing or at odds."""
    notes = refinement.notes
    if train.untitled:
        notes.append(f"{train.untitled} of {len(train.titles)} items have no title here; {TITLED}.")
    if refinement.settings.get("mode") and refinement.records and not refinement.asked:
        notes.append(
            "What the model read about each user cannot be told: from the ratings and titles at hand other "
            f"questions are made than those it answered. If titles have changed or lie elsewhere, {TITLED}."
        )
    if not labels:
        notes.append(
            "There are answers but no labels here: the refinement has not come to its end, or its labels lie in a "
            "folder beside this one, whose name begins as this one's does."
        )
    elif says_so(labels):
        notes.append("Whoever made these labels had the held-out dislikes at hand.")


def questions_asked(refinement, records, train):
    """{key: Question} as the model read it, {} where other questions are made than recorded."""
    settings, mode = refinement.settings, refinement.settings["mode"]
    texts = item_texts(train.items, refinement.train.item_ids, genres=mode == "embed")
    if hash_of(texts) != settings.get("texts") or settings.get("prompts") != PROMPT_VERSION.get(mode):
        return {}
    if mode == "embed":
        made = one_each(refinement.train)
    else:
        orders = 1 + max((record["permutation"] for record in records), default=0)
        as_asked = {"llm_seed": settings["seed"], "llm_profile": settings["profile"], "llm_permutations": orders}
        made = questions(refinement.train, mode, RefinementSettings(**as_asked))
    made = {question.key: question for question in made}
    asked = {}
    for record in records:
        question = made.get(key(record))
        if question is None or question.record(refinement.train)["items"] != record["items"]:
            return {}
        asked[question.key] = question.shortened(question.profile - record.get("profile_left_out", 0))
    return asked


# ------------------------------------------------------------------------------------- one user


def decisions_of(refinements, user):
    """([Profile of each refinement], [Decision]) of a user, about all that was asked and every other 2 and 3."""
    train = refinements[0].train
    stars_of = train.stars_of(user)
    places = [places_of(each, user) for each in refinements]
    wanted = {item for item, given in stars_of.items() if given in (2, 3)}.union(*places)
    decisions = []
    for item in sorted(wanted):
        said = [said_of(each, user, item, of[item]) for each, of in zip(refinements, places, strict=True)]
        stars, raters = stars_of[item], int(train.item_count[item]) - 1
        others = float(mean_by_others(train, item, stars)) if raters else None
        decisions.append(Decision(item, float(stars), others, raters, said))
    return [profile_of(each, user) for each in refinements], sorted(decisions, key=rank_of)


def rank_of(decision):
    first = decision.said[0]
    return not decision.differs, first.known, VERDICTS.index(first.verdict), -(first.score or 0), decision.item


def places_of(refinement, user):
    """{item number: [(number of the question, number in its list)]}, both from 1"""
    places = defaultdict(list)
    for question, record in enumerate(refinement.records.get(user, []), 1):
        for place, item in enumerate(record["items"], 1):
            places[refinement.train.number[item]].append((question, place))
    return places


def said_of(refinement, user, item, places):
    """The Said of an item.  places: of places_of."""
    pair = user, refinement.train.item_ids[item]
    records = refinement.records.get(user, [])
    verdict, margin = refinement.judged[pair] if places else ("not asked", None)
    if not refinement.settings:
        verdict = "not kept"
    known = bool(places) and pair not in refinement.train.pairs
    is_score = len(places) > 1 or any("scores" in record for record in records)
    score = margin if is_score and margin is not None and math.isfinite(margin) else None
    if not any("raw" in record for record in records):
        places = []
    return Said(verdict, score, places, refinement.labels.get(pair), known)


def profile_of(refinement, user):
    """The Profile of a user."""
    records = refinement.records.get(user, [])
    likes, dislikes, answers = {}, {}, []  # the items as keys, in the order in which they are shown
    for number, record in enumerate(records, 1):
        said = answer_in_words(record)
        if said:
            answers.append((number, said))
        question = refinement.asked.get(key(record))
        if question and record.get("reason") != TOO_LONG:
            likes |= dict.fromkeys(question.likes.tolist())
            dislikes |= dict.fromkeys(question.dislikes.tolist())
    return Profile(list(likes), list(dislikes), len(records), answers, why_no_profile(refinement, user))


def answer_in_words(record):
    """What the model said, and why there is no answer; "" where it gave scores."""
    said = " | after a reminder: ".join(on_one_line(str(text)) for text in record.get("raw", []))
    if len(said) > LONGEST_ANSWER:
        said = f"{said[:LONGEST_ANSWER]} ... ({len(said)} characters)"
    parts = [said] if said else []
    if record.get("reason"):
        parts.append(f"unanswered: {on_one_line(str(record['reason']))}")
    return "; ".join(parts)


def why_no_profile(refinement, user):
    if not refinement.settings:
        return "no answers are kept with these labels"
    if user not in refinement.records:
        return "nobody was asked about this user"
    if not refinement.settings.get("mode"):
        return f"{refinement.asked_by} reads nothing but the stars of 2s and 3s"
    if not refinement.asked:
        return "it cannot be made again from the files at hand"
    return ""
