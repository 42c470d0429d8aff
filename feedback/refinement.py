"""Refinement: a language model sorts low-rated items into liked and confirmed negatives.

    refine      train_original + item texts -> answers.jsonl, report.json, train_augment CSV

questions.py says whom to ask about what.  A way of asking is a file beside it that turns questions
into answer records.  asking.py asks and keeps them, verdicts.py makes refined ratings of them,
report.py says what they are worth.
"""

from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import pandas as pd

from feedback import controls, embed
from feedback.asking import ask, rehearse
from feedback.causal import CausalLM
from feedback.prompts import read_template, unknown_places
from feedback.questions import of_some_users, one_each, questions, whom_to_ask
from feedback.report import report
from feedback.report_text import report_lines
from feedback.settings import WayOfAsking, control, fitting_mode, folder_name, folder_of_labels, prompt_settings
from feedback.verdicts import SAW, labels_of, outcome, report_on, says_so
from llm import encoder
from llm.weights import ATTENTION, dtype_of, is_causal, model_folder, revision
from options.flag import own_names_of, refuse_idle
from options.refinement import DEFAULT_LLM, RefinementSettings
from preparation.dislikes import without_held_out
from preparation.files import STARS, read_ratings
from preparation.locate import folder_of_found
from preparation.sources import DATASETS
from preparation.splits import COLUMNS
from preparation.titles import domain_of, item_texts
from utils import InputError, git_blob_id, hash_of, locked, sha256, write_atomically, write_json


def refine(name, folder, items, options, device, log=print, published=None):
    """Returns (train CSV to use, {"llm", "llm_mode", "refinement": report card}).

    folder: of the splits.  published: of the published ones, None: the same.  items: titles.item_table.
    A train_augment CSV in the data folder is used as it is, unless --llm names a model.  Answers are
    appended to answers.jsonl one question a line, so that a killed run goes on where it was.
    """
    # without a model: labels as they are, or shuffled
    published = published or folder
    labels, held_out = published / f"{name}_train_augment.csv", published != folder
    if held_out and (folder / labels.name).exists():
        where = f"labels for all train rows belong into {labels.parent}, and lose there what is held out"
        raise InputError(f"{folder / labels.name}: is not read; {where}")
    if options.llm == "auto" and not options.llm_url and labels.exists():
        return labels_as_found(labels, name, folder, held_out, options, log)
    original = folder / f"{name}_train_original.csv"
    hash_of_ratings = sha256(original)
    ratings = read_ratings(original, ",", STARS)
    if options.llm == "shuffled":
        return shuffled_labels(labels, original, ratings, name, held_out, options, log)

    # everything else answers questions
    if options.llm in controls.CONTROLS:
        train = whom_to_ask(ratings, "ask")  # they cost nothing, so they get all 2s
        way = control(train, options)
    else:
        train = of_some_users(whom_to_ask(ratings, options.unasked_twos, items), options.llm_users, options.llm_seed)
        way = language_model(name, items, train, options, device)

    for warning in unknown_places(way.template or ""):
        log(warning)
    if options.llm_dry_run:
        rehearse(way, train, log)
        raise SystemExit(0)

    # ask, and make ratings of the answers; a run that wants the same answers waits for this one
    out = folder / "feedback" / way.folder
    settings = {"ratings": hash_of_ratings, **way.settings}
    with locked(out, log):
        labels_out = out.with_name(folder_of_labels(way, options))
        if way.template:
            out.mkdir(parents=True, exist_ok=True)
            write_atomically(out / "prompt.txt", lambda p: p.write_text(way.template + "\n", encoding="utf-8"))
        records = ask(way, train, out / "answers.jsonl", settings, labels_out / labels.name, log)
        refined, card = outcome(train, records, ratings, options.unasked_twos)
        if way.mode is None:
            card["control"] = way.llm
        path = leave_behind(labels_out, name, ratings, refined, card, log)
    about = {"llm": way.llm, "llm_mode": way.mode, "refinement": card}
    if way.template:
        about |= {"prompt": Path(options.llm_prompt).name, "prompt_hash": hash_of([way.template])[:8]}
    if options.llm_users:
        about["users"] = options.llm_users
    return path, about


def labels_as_found(labels, name, folder, held_out, options, log):
    """The same as refine() with labels in the data folder.  held_out: whether train lacks some of them."""
    why = f"{labels} is used as it is, and no language model asked; --llm names one, or leave this out"
    refuse_idle(dict.fromkeys(own_names_of(RefinementSettings), why), vars(options), vars(RefinementSettings()))
    llm, whose = "file", "as found"
    if name in DATASETS and git_blob_id(labels) == DATASETS[name].labels:
        llm, whose = "published", "the authors' published labels"
    saw = {}
    if held_out:
        labels, saw = labels_of_split(labels, name, folder, log), {SAW: True}
    card = report_on(labels) | saw
    if held_out:
        write_json(labels.with_name("report.json"), card)
    log(f"refined ratings: {labels}, {whose}; no language model asked", *report_lines(card))
    return labels, {"llm": llm, "llm_mode": None, "refinement": card} | saw


def labels_of_split(labels, name, folder, log):
    """Somebody's labels without the rows that are held out of the folder's train part."""
    table = without_held_out(labels, name, folder)
    path = folder / "feedback" / folder_of_found(labels) / labels.name
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda p: table.to_csv(p, index=False, header=COLUMNS, lineterminator="\n"))
    log(f"{labels}: was made with the held-out dislikes at hand; what remains of it is not free of them")
    return path


def shuffled_labels(labels, original, ratings, name, held_out, options, log):
    """The same as refine() of labels that are shuffled: somebody's, or those of --llm_labels."""
    if options.llm_labels:
        labels = Path(options.llm_labels) / labels.name
    if not labels.exists():
        raise InputError(f"--llm shuffled: needs {labels}, the labels to shuffle")
    found, folder = {}, original.parent
    from_elsewhere = held_out and not labels.resolve().is_relative_to(folder.resolve())
    saw = {SAW: True} if from_elsewhere or says_so(labels) else {}
    out = "shuffled-"
    if options.llm_labels:
        found["shuffled"] = labels.parent.name
        out += f"{labels.parent.name}-{git_blob_id(labels)[:8]}-"
    users = None
    if options.llm_shuffle == "user":
        found["llm_shuffle"] = "user"
        out += "within-"
        users = ratings.user.cat.codes.to_numpy()
    used = labels_of_split(labels, name, folder, log) if from_elsewhere else labels
    values = labels_of(used, ratings, original)
    refined = controls.shuffle(ratings.rating.to_numpy(), values, options.llm_seed, users)
    # as of any labels that come as a file
    card = report(whom_to_ask(ratings, "confirmed"), [], {}, ratings, refined) | saw
    path = leave_behind(folder / "feedback" / f"{out}{options.llm_seed}", name, ratings, refined, card, log)
    return path, {"llm": "shuffled", "llm_mode": None, "refinement": card} | found | saw


def leave_behind(folder, name, ratings, refined, card, log):
    """Write the refined ratings and their report card; returns the path of the CSV."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}_train_augment.csv"
    table = pd.DataFrame({"user_id:token": ratings.user, "item_id:token": ratings.item, "rating:float": refined})
    write_atomically(path, lambda p: table.to_csv(p, index=False, lineterminator="\n"))
    write_json(folder / "report.json", card)
    log(f"refined ratings: {path}", *report_lines(card))
    return path


# --------------------------------------------------------------------------------- ways of asking


def language_model(name, items, train, options, device):
    """The WayOfAsking of a model that reads titles."""
    if not train.has_title.any():
        raise InputError(
            f"--dataset {name}: no rated item has a title to ask about; add an .item file with the "
            "same item ids, or use --llm rule or --dataset_augment original"
        )
    domain = domain_of(name, options)
    if options.llm_url:
        from feedback.endpoint import Endpoint  # and with it requests

        # the server says what the model is called, so it comes first
        server = Endpoint(options, options.llm_mode, domain)
        llm, mode, template = server.llm, server.mode, server.template
        of_model, in_memory = {"through": "endpoint"}, {}

        def load():
            return server

    else:
        llm = DEFAULT_LLM if options.llm == "auto" else options.llm
        weights = model_folder(llm, options.data_dir)
        mode = fitting_mode(llm, is_causal(weights), options.llm_mode)
        decided = replace(options, llm=llm, llm_mode=mode)  # the model's own files have decided the mode
        refuse_idle(decided.without_use(), vars(options), vars(RefinementSettings()))
        of_model = {"revision": revision(weights), "attention": ATTENTION}
        if mode == "embed":
            return encoder_model(llm, weights, of_model, items, train, options, device)
        template = read_template(options.llm_prompt, mode)
        in_memory = {"dtype": dtype_of(options, device), "batch_tokens": options.llm_batch_tokens}

        @cache
        def load():  # only where something is left to ask
            own = {"template": template, "room": options.llm_answer_tokens}
            return CausalLM(weights, device, options, mode, domain, options.llm_constrained, **own)

    texts = item_texts(items, train.item_ids, genres=False)
    settings = {"llm": llm, "mode": mode, "all_twos": options.unasked_twos == "ask"}
    settings |= of_model | {"texts": hash_of(texts)} | prompt_settings(mode, options, domain, template) | in_memory

    def answer(left, train):
        return load().answers(left, train, texts)

    def show(question):
        return load().show(question, texts)

    folder = folder_name(llm, mode, options, template)
    return WayOfAsking(llm, mode, questions(train, mode, options), answer, settings, folder, show, template)


def encoder_model(llm, weights, of_model, items, train, options, device):
    """The WayOfAsking of an encoder, which compares item texts, so it reads genres, too."""
    texts = item_texts(items, train.item_ids, genres=True)
    settings = {"llm": llm, "mode": "embed", "all_twos": options.unasked_twos == "ask"}
    settings |= of_model | {"texts": hash_of(texts), "method": embed.METHOD_VERSION}
    settings |= {"dtype": "float32", "batch_size": encoder.BATCH_SIZE}
    if train.two_valued:
        settings["two_valued"] = True
    answer = partial(embed.answers, texts=texts, weights=weights, device=device)
    return WayOfAsking(llm, "embed", one_each(train), answer, settings, folder_name(llm, "embed", options))
