"""Every question is asked once, answers are kept, and a model that does not answer is stopped."""

import textwrap
import time
from collections import defaultdict

import numpy as np
from tqdm import tqdm

from feedback.questions import FILTERED, TOO_LONG
from llm.answers import Answers, key, latest
from options.refinement import ENOUGH
from utils import InputError

FIRST_LOOK = 100  # answers after which coverage is looked at for the first time; the second is at the end
LEAST = 0.5  # share of the items that must have a verdict
REHEARSED = 10  # questions of --llm_dry_run


def ask(way, train, path, settings, labels, log):
    """The records of all questions, those of earlier starts among them.

    What a server refused to answer is asked again, until there are labels (their path).
    Raises InputError where a model answers too little to be trained on.
    """
    checked = way.mode in ("generate", "score")  # the others answer whatever they are asked
    with Answers(path, settings) as answers:
        wanted = {question.key for question in way.questions}
        earlier, refused = latest(answers.records), set()
        if settings.get("through") == "endpoint":  # whose reasons may have passed or been mended
            refused = {key(record) for record in earlier.values() if record.get("reason") in (TOO_LONG, FILTERED)}
            refused &= wanted
        if refused and labels.exists():
            log(f"{len(refused)} refused questions stay unanswered; delete {labels} to ask them again")
            refused = set()
        # what was answered earlier is not asked again
        kept = earlier.keys() - refused
        left = [question for question in way.questions if question.key not in kept]
        if left:
            again = f", {len(refused)} of them refused before" if refused else ""
            number = len(way.questions) - len(left)
            log(f"refining with {way.llm}: {len(left)} questions to ask{again}, {number} answered earlier")
            so_far = [earlier[question] for question in kept]
            if checked and len(so_far) >= FIRST_LOOK:
                check(path, so_far, f"of the first {len(so_far)} questions")
            for record in tqdm(way.answer(left, train), "asking", len(left), unit="question", disable=None):
                answers.add(record)
                so_far.append(record)
                if checked and len(so_far) == FIRST_LOOK:
                    check(path, so_far, f"of the first {FIRST_LOOK} questions")
        # the file may hold answers to more --llm_permutations than are wanted now
        records = [record for question, record in latest(answers.records).items() if question in wanted]
    if checked and records:
        share = check(path, records, "of all questions")
        if share < ENOUGH:
            shown = example(records)
            log(f"WARNING: only {share:.0%} of the items asked about are answered; one reply: {shown}")
    return records


def check(path, records, of_what):
    """The share of items that have a verdict.  Raises InputError where it is below LEAST."""
    verdicts = [verdict for record in records for verdict in record["verdicts"]]
    share = 1 - verdicts.count("unanswered") / max(len(verdicts), 1)
    if share < LEAST:
        raise InputError(
            f"{path}: {of_what} only {share:.0%} of the items are answered, too few to train on (less "
            f"than {LEAST:.0%}); one reply: {example(records)}; a model that thinks first needs some thousand "
            "--llm_answer_tokens, others --llm_constrained, --llm_mode score or a --llm_prompt of their own; "
            "delete the folder to ask anew"
        )
    return share


def example(records):
    """One reply that could not be read, in short, or why there was none."""
    record = next(record for record in records if "unanswered" in record["verdicts"])
    raw = " ".join((record.get("raw") or [""])[0].split())
    reason = record.get("reason", "not every item was judged")
    return f"{raw[:300]!r} ({reason})" if raw else f"none ({reason})"


def rehearse(way, train, log):
    """--llm_dry_run: ask ten questions, show one prompt and all replies, and how long all would take."""
    if not way.questions:
        log("there is nothing to ask")
        return
    whole = len(way.questions)
    places = np.linspace(0, whole - 1, min(REHEARSED, whole)).round().astype(int)
    trial = [way.questions[place] for place in places]
    prompts = [way.show(question) for question in trial]
    log(f"One question of {whole}, about user {trial[0].user}, as it is sent:", "-" * 77)
    log(prompts[0][0], "-" * 77)
    start = time.perf_counter()
    records = list(way.answer(trial, train))
    seconds = (time.perf_counter() - start) / len(trial)
    order = [question.key for question in trial]
    records.sort(key=lambda record: order.index(key(record)))  # the one shown first
    log(*map(summarize, records))
    answered = sum("unanswered" not in record["verdicts"] for record in records)
    log(f"{answered} of {len(trial)} questions are answered")
    # a server's tokens are not known: four characters each, which holds for English
    about, counts = "", []
    for text, tokens, requests in prompts:
        if tokens is None:
            about, tokens = "about ", len(text) / 4
        counts.append((tokens * requests, requests))
    tokens, requests = np.mean(counts, axis=0)
    each = f"{tokens:.0f} each, {whole * requests:,.0f} requests"
    log(f"All {whole} questions have {about}{whole * tokens:,.0f} tokens ({each})")
    if way.mode == "score":
        how = "a request for each candidate" if requests > 1 else "all candidates judged at once, each alone"
        log(f"In mode score a question is one user, with {how}")
    log(f"{seconds:.2f} s a question, {in_words(whole * seconds)} for all; no answer was kept")


def summarize(record):
    """One answer in a line: what was said, and which of the items asked about are liked and disliked."""
    numbers = defaultdict(list)
    for number, verdict in enumerate(record["verdicts"], 1):
        numbers[verdict].append(str(number))
    if "scores" in record:  # of many items, which have no numbers in a prompt
        found = ", ".join(f"{len(own)} {verdict}" for verdict, own in numbers.items())
        scores = [score for score in record["scores"] if score is not None]
        said = f"scores {min(scores):.2f} to {max(scores):.2f}" if scores else "no score"
    else:
        found = "; ".join(f"{verdict} {', '.join(own)}" for verdict, own in sorted(numbers.items(), reverse=True))
        said = repr(textwrap.shorten((record.get("raw") or [""])[-1], 100))
    reason = f" ({record['reason']})" if "reason" in record else ""
    return f"It said: {said} -> {found}{reason}"


def in_words(seconds):
    """A time in the unit that fits."""
    if seconds < 60:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 3600 else f"{seconds / 3600:.1f} hours"
