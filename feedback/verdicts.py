"""From a model's answers, or labels in a file, to refined ratings and their report card.

    merge       answer records -> one verdict a candidate     (over the orders asked)
    apply       verdicts -> refined ratings                   (what training sees)

Verdicts are liked, disliked or unanswered, by item id, never by title (45 ids of ML-100K share a title).
"""

from collections import defaultdict

import numpy as np
import pandas as pd

from feedback.questions import whom_to_ask
from feedback.report import report
from llm.answers import latest, read
from preparation.files import CONFIRMED, LIKED, STARS, read_ratings
from utils import InputError, read_json, sha256

SAW = "labels_saw_dislikes"  # of a report card, and of a summary: their makers had the held-out dislikes at hand
LABELS = {"liked": LIKED, "disliked": CONFIRMED}  # the refined rating by verdict; none of an unanswered one
VOTES = {"liked": 1, "disliked": -1, "unanswered": None}


def outcome(train, records, ratings, unasked_twos):
    """(refined ratings, report card) of answer records."""
    judged = merge(records)
    # a candidate that nobody could be asked about, for lack of a title, is unanswered
    verdicts = dict.fromkeys(train.pairs, "unanswered")
    for pair, (verdict, _) in judged.items():
        if pair in train.pairs:
            verdicts[pair] = verdict
    refined = apply(ratings, verdicts, unasked_twos)
    return refined, report(train, records, judged, ratings, refined)


def merge(records):
    """{(user, item): (verdict, margin)} of everything that was judged.

    Where an item was judged in several orders, the mean margin decides.  What is unanswered does not count.
    A draw of votes is unanswered.  The margin is None without an answer.
    """
    # all that was said of a pair, one margin for each order
    margins = defaultdict(list)
    for record in records:
        for item, margin in item_margins(record):
            margins[record["user"], item].append(margin)

    with_scores = any("scores" in record for record in records)
    judged = {}
    for pair, of_orders in margins.items():
        given = [margin for margin in of_orders if margin is not None]
        if not given:
            judged[pair] = "unanswered", None
            continue
        mean = float(np.mean(given))
        verdict = "liked" if mean >= 0 else "disliked"
        if mean == 0 and not with_scores:  # as many votes for as against
            verdict = "unanswered"
        judged[pair] = verdict, mean
    return judged


def item_margins(record):
    """(item, margin) pairs of a record: score minus threshold, where 0 is liked; without scores 1 or -1."""
    if "scores" not in record:
        votes = [VOTES[verdict] for verdict in record["verdicts"]]
        return zip(record["items"], votes, strict=True)
    # mode embed has scored known ratings as well
    items = record["items"] + record.get("known_items", [])
    scores = record["scores"] + record.get("known_scores", [])
    margins = []
    for score in scores:
        margins.append(None if score is None else score - record["threshold"])
    return zip(items, margins, strict=True)


def apply(ratings, verdicts, unasked_twos):
    """Refined ratings (rows,) from {(user, item): verdict} of the candidates.

    Liked 2s and 3s become 4.5, disliked ones 0.5.  Unanswered ones stay neutral: a model's silence teaches nothing.
    unasked_twos: "confirmed" makes the 2s that were not asked about 0.5 for every user with a verdict, as the
    released labels have it (such a 2 lies below the user's mean); "neutral" leaves them.
    """
    refined = ratings.rating.to_numpy().copy()
    pairs = zip(ratings.user, ratings.item, strict=True)
    of_row = np.array([verdicts.get(pair, "not asked") for pair in pairs])  # (rows,)
    is_low = (refined == 2) | (refined == 3)
    if unasked_twos == "confirmed":  # but who was asked in vain keeps the 2s
        users_with_verdict = {user for (user, _), verdict in verdicts.items() if verdict in LABELS}
        unasked = (refined == 2) & (of_row == "not asked") & ratings.user.isin(users_with_verdict).to_numpy()
        refined[unasked] = CONFIRMED
    for verdict, label in LABELS.items():
        refined[is_low & (of_row == verdict)] = label
    return refined


# -------------------------------------------------------------------- labels, and the report card


def labels_of(path, ratings, original):
    """The refined ratings in a train_augment CSV, in the order of the train rows (rows,).

    Raises InputError unless it is about the same (user, item) pairs as `ratings`, the train_original CSV.
    """
    labels = read_ratings(path, ",", (CONFIRMED, *STARS, LIKED))
    pairs, train_pairs = pairs_of(labels), pairs_of(ratings)
    differing = len(pairs.symmetric_difference(train_pairs))
    if differing:
        raise InputError(
            f"{path}: is not about the same user-item pairs as {original.name} ({differing} pairs are in one of "
            "them only); put the whole file there, or take it away to have the ratings refined here"
        )
    rows = pairs.get_indexer(train_pairs)  # the file may have another order
    return labels.rating.to_numpy()[rows]


def pairs_of(ratings):
    return pd.MultiIndex.from_arrays([ratings.user.astype(object), ratings.item.astype(object)])


def report_on(path):
    """The report card of a train_augment CSV, by the train_original CSV in the folders above."""
    if not path.is_file():
        raise InputError(f"{path}: is neither a train_augment CSV nor a finished folder of refined ratings or vectors")
    original = original_of(path)
    ratings = read_ratings(original, ",", STARS)
    labels = labels_of(path, ratings, original)
    return report(whom_to_ask(ratings, "confirmed"), [], {}, ratings, labels)


def answers_about(path, original):
    """(settings, records) of an answers.jsonl.  Raises InputError where it is about other ratings."""
    settings, records, _ = read(path)
    if settings.get("ratings") != sha256(original):
        raise InputError(f"{path}: its questions were not made from {original}, or that has changed since")
    return settings, list(latest(records).values())


def says_so(labels):
    """Whether the report card beside labels says that their makers had the held-out dislikes at hand."""
    card = labels.with_name("report.json")
    try:
        return card.exists() and bool(dict(read_json(card)).get(SAW))
    except (ValueError, TypeError):
        raise InputError(f"{card}: is no report card; delete it, or take another folder as --llm_labels") from None


def original_of(path):
    """The train_original CSV in the file's folder or the two above."""
    for folder in path.resolve().parents[:3]:
        originals = sorted(folder.glob("*_train_original.csv"))
        if originals:
            return originals[0]
    raise InputError(f"{path}: no ..._train_original.csv in its folder or the two above to compare with")
