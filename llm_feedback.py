"""Refinement: a language model sorts each user's low-rated items into liked and confirmed negatives.

    python llm_feedback.py report PATH       the report card of an answers.jsonl, or of a train_augment CSV

    refine      train_original + item texts -> answers.jsonl, report.json, train_augment CSV
    merge       answer records -> one verdict a candidate              (majority or mean score over the orders asked)
    apply       verdicts -> refined ratings                            (what training sees)

feedback/questions.py says whom to ask about what.  A way of asking is a file beside it that turns questions into answer
records; answers.py keeps them, report.py says what they are worth.  Knows ratings and item texts, nothing of graphs.
Verdicts are liked, disliked or unanswered, by item id, never by title (45 ids of ML-100K share a title).
"""

import argparse
import hashlib
import sys
from collections import defaultdict
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from atomic_files.files import CONFIRMED, LIKED, STARS, read_ratings
from atomic_files.sources import DATASETS
from feedback import controls, embed
from feedback.answers import Answers, key, read
from feedback.causal import CausalLM, dtype_of, is_causal
from feedback.endpoint import Endpoint
from feedback.prompts import DOMAINS, PROMPT_VERSION
from feedback.questions import item_texts, one_each, questions, whom_to_ask
from feedback.report import report, report_lines
from feedback.weights import ATTENTION, DEFAULT_LLM, model_folder, revision
from shell import fail
from utils import InputError, git_blob_id, sha256, write_atomically, write_json

UNASKED = ("confirmed", "neutral", "ask")
VOTES = {"liked": 1, "disliked": -1, "unanswered": None}


def add_flags(add):
    """The flags of the refinement.  add: add_argument of an argparse group."""
    add("--llm", default="auto",
        help="a model's name or local folder; auto: the train_augment CSV in the data folder if there is one, else "
        f"{DEFAULT_LLM}; controls without a model: rule (3s are liked, 2s are not), random (at the rates of the "
        "authors' ML-100K labels), shuffled (the labels of that CSV, dealt out anew among the ratings it changed)")
    add("--llm_mode", default="auto", choices=["auto", "generate", "score", "embed"],
        help="how it is asked. generate: which of these; score: whether, one item at a time, by the logits of Yes and "
        "No; embed: similarity to the user's likes minus dislikes; auto: score, embed for an encoder, generate by URL")
    add("--llm_url", help="ask a server with an OpenAI-compatible interface, such as http://localhost:8000/v1")
    add("--llm_domain", default="auto", choices=["auto", *DOMAINS], help="what the items are called when asking")
    add("--llm_constrained", action="store_true", help="mode generate: let the model say nothing but valid answers")
    add("--llm_permutations", type=int, default=1, help="orders each question is asked in; the majority decides")
    add("--llm_question_size", type=int, default=5, help="mode generate: items a question, at most 10")
    add("--llm_profile", type=int, default=20, help="known likes, and known dislikes, shown at most")
    add("--llm_seed", type=int, default=2024, help="of the orders, of what is hidden, and of --llm random")
    add("--llm_dtype", default="auto", choices=["auto", "float32", "bfloat16", "float16"],
        help="numbers of a causal model; auto: float32 on a CPU, bfloat16 on a GPU")
    add("--llm_batch_tokens", type=int, default=16384, help="tokens a causal model reads at once; bounds memory")
    add("--llm_concurrency", type=int, default=16, help="requests to --llm_url at a time")
    add("--llm_timeout", type=float, default=120, help="seconds to wait for an answer of --llm_url before trying again")
    add("--unasked_twos", default="confirmed", choices=UNASKED,
        help="2s of a user whose mean rating is at least 3: confirmed negatives unasked, left out, or asked about")


def refine(name, folder, items, options, device, log=print):
    """Returns (train CSV to use, {"llm", "llm_mode", "refinement": report card}).

    items: preparation.item_table.  A train_augment CSV in the data folder is used as it is, unless --llm names a
    model.  Answers are appended to answers.jsonl one question a line, so that a killed run goes on where it was.
    """
    found, original = folder / f"{name}_train_augment.csv", folder / f"{name}_train_original.csv"
    if options.llm == "auto" and not options.llm_url and found.exists():
        published = name in DATASETS and git_blob_id(found) == DATASETS[name].labels
        whose = "the authors' published labels" if published else "as found"
        card = report_on(found, options.unasked_twos)
        log(f"refined ratings: {found}, {whose}; no language model asked", *report_lines(card))
        return found, {"llm": "published" if published else "file", "llm_mode": None, "refinement": card}
    ratings = read_ratings(original, ",", STARS)
    if options.llm == "shuffled":
        if not found.exists():
            raise InputError(f"--llm shuffled: needs {found}, the labels to shuffle")
        refined = controls.shuffle(ratings.rating.to_numpy(), labels_of(found, ratings, original), options.llm_seed)
        card = report(whom_to_ask(ratings, "confirmed"), [], {}, ratings, refined)
        path = leave_behind(folder / "feedback" / f"shuffled-{options.llm_seed}", name, ratings, refined, card, log)
        return path, {"llm": "shuffled", "llm_mode": None, "refinement": card}
    made_with = {"ratings": sha256(original)}
    if options.llm in controls.CONTROLS:
        llm, mode, asked = options.llm, None, whom_to_ask(ratings, "ask")
        made_with |= {"llm": llm, "seed": options.llm_seed if llm == "random" else None, "all_twos": True}
        out, todo = f"{llm}-{options.llm_seed}" if llm == "random" else llm, one_each(asked)
        answer = partial(controls.answers, control=llm, seed=options.llm_seed)
    else:
        asked = whom_to_ask(ratings, options.unasked_twos)
        llm, mode, todo, answer, how = language_model(name, items, asked, options, device)
        made_with |= {"llm": llm, "mode": mode, "all_twos": options.unasked_twos == "ask", **how}
        out = f"{Path(llm).name}-{mode}" + ("-constrained" if mode == "generate" and options.llm_constrained else "")
    out = folder / "feedback" / out
    with Answers(out / "answers.jsonl", made_with) as answers:
        done = {key(record) for record in answers.records}
        left = [question for question in todo if question.key not in done]
        if left:
            log(f"refining with {llm}: {len(left)} questions to ask, {len(todo) - len(left)} answered earlier")
            for record in tqdm(answer(left, asked), "asking", len(left), unit="question", disable=None):
                answers.add(record)
        wanted = {question.key for question in todo}  # the file may hold more --llm_permutations
        records = [record for record in answers.records if key(record) in wanted]
    refined, card = outcome(asked, records, ratings, options.unasked_twos)
    path = leave_behind(out, name, ratings, refined, card, log)
    return path, {"llm": llm, "llm_mode": mode, "refinement": card}


def leave_behind(folder, name, ratings, refined, card, log):
    """Write the refined ratings and their report card; returns the path of the CSV."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}_train_augment.csv"
    columns = {"user_id:token": ratings.user, "item_id:token": ratings.item, "rating:float": refined}
    write_atomically(path, lambda p: pd.DataFrame(columns).to_csv(p, index=False, lineterminator="\n"))
    write_json(folder / "report.json", card)
    log(f"refined ratings: {path}", *report_lines(card))
    return path


def language_model(name, items, asked, options, device):
    """(name of the model, mode, questions, questions -> records, {setting: value} that its answers depend on)"""
    if items.empty:
        raise InputError(
            f"--dataset {name}: has no .item file, so no titles to ask about; add it, or use --llm rule or "
            "--dataset_augment original"
        )
    domain = options.llm_domain
    if domain == "auto":
        domain = DATASETS[name].domain if name in DATASETS else "items"
    llm, mode = options.llm, options.llm_mode
    if not options.llm_url:
        llm = DEFAULT_LLM if llm == "auto" else llm
        weights = model_folder(llm, options.data_dir)
        causal = is_causal(weights)
        mode = ("score" if causal else "embed") if mode == "auto" else mode
        if causal != (mode != "embed"):
            kind, fits = ("a causal language model", "generate or score") if causal else ("an encoder", "embed")
            raise InputError(f"--llm_mode {mode}: {llm} is {kind}, which can be asked with {fits}")
        how = {"revision": revision(weights), "attention": ATTENTION}
    else:
        server = Endpoint(options, mode, domain)
        llm, mode = server.llm, server.mode
        how = {"through": "endpoint"}
    texts = item_texts(items, asked.item_ids, genres=mode == "embed")
    how["texts"] = hashlib.sha256("\n".join(texts).encode()).hexdigest()
    if mode == "embed":
        how |= {"method": embed.METHOD_VERSION, "dtype": "float32", "batch_size": embed.BATCH_SIZE}
        return llm, mode, one_each(asked), partial(embed.answers, texts=texts, weights=weights, device=device), how
    how |= {"prompts": PROMPT_VERSION, "domain": domain, "seed": options.llm_seed, "profile": options.llm_profile}
    if mode == "generate":
        how |= {"question_size": options.llm_question_size, "constrained": options.llm_constrained}
    if options.llm_url:
        answer = partial(server.answers, texts=texts)
    else:
        how |= {"dtype": dtype_of(options, device), "batch_tokens": options.llm_batch_tokens}

        def answer(left, asked):  # loads the model only where something is left to ask
            return CausalLM(weights, device, options, mode, domain).answers(left, asked, texts)

    return llm, mode, questions(asked, mode, options), answer, how


def labels_of(found, ratings, original):
    """The refined ratings in a train_augment CSV, in the order of the train rows (rows,).

    Raises InputError unless it is about the same (user, item) pairs as `ratings`, the train_original CSV.
    """
    labels = read_ratings(found, ",", (CONFIRMED, *STARS, LIKED))
    pairs = ([table.user.astype(object), table.item.astype(object)] for table in (labels, ratings))
    theirs, ours = map(pd.MultiIndex.from_arrays, pairs)
    differing = len(theirs.symmetric_difference(ours))
    if differing:
        raise InputError(
            f"{found}: is not about the same user-item pairs as {original.name} ({differing} pairs are in one of them "
            "only); put the whole file there, or take it away to have the ratings refined here"
        )
    return labels.rating.to_numpy()[theirs.get_indexer(ours)]


def outcome(asked, records, ratings, unasked_twos):
    """(refined ratings, report card) of answer records."""
    judged = merge(records)
    refined = apply(ratings, {pair: judged[pair][0] for pair in asked.pairs if pair in judged}, unasked_twos)
    return refined, report(asked, records, judged, ratings, refined)


def merge(records):
    """{(user, item): (verdict, margin)} of everything that was judged.

    Where an item was judged in several orders, the mean margin decides: score minus threshold where the model gave
    scores (0 is liked), else 1 for liked and -1 for disliked; what is unanswered does not count (None if nothing does).
    A draw of votes is unanswered.
    """
    margins = defaultdict(list)
    for record in records:
        items, given = record["items"], [VOTES[verdict] for verdict in record["verdicts"]]
        if "scores" in record:
            items = items + record.get("known_items", [])
            scores = record["scores"] + record.get("known_scores", [])
            given = [None if score is None else score - record["threshold"] for score in scores]
        for item, margin in zip(items, given, strict=True):
            margins[record["user"], item].append(margin)
    judged, scored = {}, any("scores" in record for record in records)
    for pair, given in margins.items():
        given = [margin for margin in given if margin is not None]
        mean = float(np.mean(given)) if given else None
        draw = mean is None or (mean == 0 and not scored)
        judged[pair] = ("unanswered" if draw else "liked" if mean >= 0 else "disliked"), mean
    return judged


def apply(ratings, verdicts, unasked_twos):
    """Refined ratings (rows,) from {(user, item): verdict} of the candidates.

    Liked 2s and 3s become 4.5, disliked ones 0.5, unanswered ones stay as they are: neutral, so that a model's silence
    teaches nothing.

    unasked_twos: "confirmed" makes the 2s that were not asked about 0.5 for every user with a verdict, as the
    released labels have it (such a 2 lies below the user's mean); "neutral" leaves them.
    """
    refined = ratings.rating.to_numpy().copy()
    code = {"liked": LIKED, "disliked": CONFIRMED}
    answered = {user for (user, _), verdict in verdicts.items() if verdict in code}
    users, items = ratings.user.astype(object).to_numpy(), ratings.item.astype(object).to_numpy()
    for row in np.flatnonzero((refined == 2) | (refined == 3)):
        verdict = verdicts.get((users[row], items[row]))
        if verdict in code:
            refined[row] = code[verdict]
        elif not verdict and unasked_twos == "confirmed" and refined[row] == 2 and users[row] in answered:
            refined[row] = CONFIRMED
    return refined


def report_on(path, unasked_twos):
    """The report card of an answers.jsonl or a train_augment CSV, set against the train_original CSV of its data set,
    which is looked for in the folders above.  Raises InputError."""
    path = path / "answers.jsonl" if path.is_dir() else path
    if not path.is_file():
        raise InputError(f"{path}: is neither an answers.jsonl nor a train_augment CSV")
    originals = (p for folder in path.resolve().parents[:3] for p in sorted(folder.glob("*_train_original.csv")))
    original = next(originals, None)
    if original is None:
        raise InputError(f"{path}: no ..._train_original.csv in its folder or the two above to compare with")
    ratings = read_ratings(original, ",", STARS)
    if path.suffix == ".jsonl":
        settings, records, _ = read(path)
        if settings.get("ratings") != sha256(original):
            raise InputError(f"{path}: its questions were not made from {original}, or that has changed since")
        asked = whom_to_ask(ratings, "ask" if settings.get("all_twos") else unasked_twos)
        return outcome(asked, records, ratings, unasked_twos)[1]
    return report(whom_to_ask(ratings, "confirmed"), [], {}, ratings, labels_of(path, ratings, original))


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.error = lambda message: sys.exit(fail(f"{message} (--help lists what there is)"))
    parser.add_argument("command", choices=["report"], help="print a report card")
    parser.add_argument("path", type=Path, help="an answers.jsonl (or its folder), or a train_augment CSV")
    parser.add_argument("--unasked_twos", default="confirmed", choices=UNASKED, help="as in main.py")
    options = parser.parse_args(argv)
    try:
        print(*report_lines(report_on(options.path, options.unasked_twos)), sep="\n")
    except InputError as error:
        return fail(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
