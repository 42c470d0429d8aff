"""What a trained stage can do on the test instances, in every context so far, and what is left of earlier stages.

Nothing is chosen by these figures: choices use validation only.
"""

import numpy as np
import pandas as pd

from conrec.data.events import LIKE
from conrec.data.instances import by_user, matrix
from conrec.decoder import beam_search, prompts
from conrec.decoder.policy import gather_rows, padded
from conrec.results import metrics
from machine import processes
from preparation.rules import VALIDATION
from utils import is_first, write_atomically, write_json

EVALUATION_VERSION = 3  # raise it when figures would differ, so that stages are evaluated anew
QUESTIONS_OF_USER, OTHERS = 5, 3  # held-out alignment questions: dislikes of a user; likes beside each
TITLE_BEAMS = 10


def alignment_questions(events, seed=0):
    """(n, 4) items: a validation negative and three validation positives of the same user, column 0 the negative.

    Of a user's negatives the first in time.
    """
    random, questions = np.random.default_rng(seed), []
    disliked = by_user(events, events.is_negative & (events.parts == VALIDATION))
    liked = matrix(events, "positive", "validation")
    for user in range(events.n_users):
        likes = liked[user].indices
        if len(likes) < OTHERS:
            continue
        for item in disliked[user][:QUESTIONS_OF_USER]:
            questions.append([item, *random.choice(likes, OTHERS, replace=False)])
    return np.array(questions, np.int64).reshape(-1, 1 + OTHERS)


def alignment_accuracy(policy, questions, seed=0):
    """Share of the questions in which the disliked item has the highest log-probability; None without questions."""
    if not len(questions):
        return None
    random, asked = np.random.default_rng(seed), []
    for options in questions:
        parts, _ = prompts.alignment(random.permutation(options), options[0], **policy.words)
        asked.append(policy.backbone.tokens(parts))
    return float(metrics.choice(policy.score(asked, questions)).mean())


def translation_accuracy(policy, catalog):
    """Share of the titles whose ID is decoded."""
    asked = []
    for item, title in processes.share(list(enumerate(catalog.titles))):
        parts, _ = prompts.translation(item, title, False, **policy.words)
        asked.append(policy.backbone.tokens(parts)[-policy.backbone.context + 3 :])
    found = np.zeros((0, 1), np.int64)
    if asked:
        nothing = [np.zeros(0, np.int64)] * len(asked)
        found, _ = beam_search.beams(policy.backbone, policy.trie, asked, nothing, TITLE_BEAMS, 1, policy.budget)
    found = gather_rows(found)[:, 0]
    return float((found == np.arange(len(found))).mean())


def evaluate_context(policy, truth, context, top_k, knows_likes=True):
    """{metric: (n,) float64} of the instances of a Truth; without odds where no stage has taught likes."""
    moments = list(zip(truth.users, truth.positions, strict=True))
    lists, _ = policy.predict(truth.users, truth.positions, context)
    figures = metrics.measure_lists(lists, truth, top_k)

    n_candidates = truth.candidates.shape[1]
    negatives, positives = padded(truth.negatives), padded(truth.positives)
    asked = [policy.sequence(user, p, context) for user, p in moments]
    scores = policy.score(asked, np.concatenate([truth.candidates, negatives, positives], 1))
    of_candidates, of_window = scores[:, :n_candidates], scores[:, n_candidates:]
    figures["cand_ll"] = metrics.choice(of_candidates)
    figures["auc"] = measure_window(of_window, truth)
    if knows_likes:
        asked = [policy.sequence(user, p, context, asked=LIKE) for user, p in moments]
        as_likes = policy.score(asked, np.concatenate([negatives, positives], 1))
        with np.errstate(invalid="ignore"):  # where there is no item: -inf less -inf
            figures["auc-odds"] = measure_window(of_window - as_likes, truth)
    return figures


def measure_window(scores, truth):
    """(n,) dislike AUC.  scores: (n, m) of the window's negatives, then its positives, each padded to the longest."""
    n = max(map(len, truth.negatives), default=0)
    of_negatives, of_positives = scores[:, :n], scores[:, n:]
    return metrics.dislike_auc(
        [row[: len(items)] for row, items in zip(of_negatives, truth.negatives, strict=True)],
        [row[: len(items)] for row, items in zip(of_positives, truth.positives, strict=True)],
    )


def evaluate_stage(policy, truth, contexts, catalog, top_k, knows_likes, folder):
    """Write figures.json, {"rows": [{"context", metrics ...}], "ila", "translation"}, and per_user.csv."""
    rows, per_user = [], []
    for context in contexts:
        n_cut = policy.n_cut  # so far: of training, too, where it was done by this process
        figures = evaluate_context(policy, truth, context, top_k, knows_likes)
        rows.append({"context": context} | metrics.means(figures) | {"cut prompts": policy.n_cut - n_cut})
        table = pd.DataFrame({name: values.round(6) for name, values in figures.items()})
        table.insert(0, "user", policy.events.user_ids[truth.users])
        table.insert(0, "context", context)
        per_user.append(table)
    found = {"rows": rows, "ila": alignment_accuracy(policy, alignment_questions(policy.events))}
    found["translation"] = translation_accuracy(policy, catalog)
    if per_user:
        write_csv(folder / "per_user.csv", pd.concat(per_user))
    if is_first():
        write_json(folder / "figures.json", found)


def write_csv(path, table):
    """By the first process alone."""
    if is_first():
        write_atomically(path, lambda p: table.to_csv(p, index=False, lineterminator="\n", encoding="utf-8"))
