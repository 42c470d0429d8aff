"""What a way of asking is, and what its answers depend on."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from feedback import controls
from feedback.prompts import PROMPT_VERSION
from feedback.questions import QUESTION_SIZE, one_each
from feedback.reading import READING_VERSION
from utils import InputError, hash_of


@dataclass
class WayOfAsking:
    """What asking.ask needs to know of a model or a control."""

    llm: str  # name of the model or control
    mode: str | None  # a control has none
    questions: list
    answer: Callable  # questions, TrainRatings -> records
    settings: dict  # what the answers depend on, besides the ratings
    folder: str  # name of the folder for the answers
    show: Callable | None = None  # Question -> (prompt, tokens or None, requests)
    template: str | None = None  # the text of --llm_prompt


def control(train, options):
    """A verdict on every 2 and 3 without a model: --llm rule, twos or random."""
    llm = folder = options.llm
    settings = {"llm": llm, "seed": None, "all_twos": True}
    if llm == "random":  # the rule is the same with every seed
        settings["seed"] = options.llm_seed
        folder = f"random-{options.llm_seed}"
    answer = partial(controls.answers, control=llm, seed=options.llm_seed)
    return WayOfAsking(llm, None, one_each(train), answer, settings, folder)


def fitting_mode(llm, causal, mode):
    """The mode asked for, or what auto means.  Raises InputError where a kind of model has none."""
    fitting, kind, modes = ("embed",), "an encoder", "embed"
    if causal:
        fitting, kind, modes = ("score", "generate"), "a causal language model", "generate or score"
    if mode == "auto":
        return fitting[0]
    if mode not in fitting:
        raise InputError(f"--llm_mode {mode}: {llm} is {kind}, which can be asked with {modes}")
    return mode


def prompt_settings(mode, options, domain, template):
    """What the answers of a model that reads prompts depend on.  template: of --llm_prompt."""
    settings = {
        "prompts": PROMPT_VERSION[mode],
        "domain": domain,
        "seed": options.llm_seed,
        "profile": options.llm_profile,
    }
    # mode score asks about one item at a time, and reads logits
    if mode == "generate":
        settings["question_size"] = QUESTION_SIZE
        settings["constrained"] = options.llm_constrained
        settings["reading"] = READING_VERSION
        settings["answer_tokens"] = options.llm_answer_tokens
        settings["temperature"] = options.llm_temperature
    if template:
        settings["template"] = hash_of([template])
    return settings


def folder_name(llm, mode, options, template=None):
    """Answers that came about in different ways lie in different folders."""
    folder = f"{Path(llm).name}-{mode}"
    if mode == "generate" and options.llm_constrained:
        folder += "-constrained"
    if template:
        folder += f"-{Path(options.llm_prompt).stem}-{hash_of([template])[:8]}"
    return folder


def folder_of_labels(way, options):
    """Name of the folder for the refined ratings: that of the answers by default."""
    folder = way.folder
    if way.mode is None:  # a control judges every 2 and 3, once
        return folder
    # other ratings of the same answers, so that no run overwrites what another is trained on
    if options.unasked_twos != "confirmed":
        folder += f"-{options.unasked_twos}"
    if options.llm_users:
        folder += f"-{options.llm_users}_users"
    if options.llm_permutations > 1 and way.mode != "embed":  # an encoder knows no order
        folder += f"-{options.llm_permutations}_orders"
    return folder


def answers_of_labels(folder):
    """(folder of the answers, users or None for all, orders) of labels, as folder_of_labels names them."""
    own = re.fullmatch(r"(.+?)(?:-(?:neutral|ask))?(?:-(\d+)_users)?(?:-(\d+)_orders)?", folder.name)
    return folder.with_name(own[1]), int(own[2]) if own[2] else None, int(own[3] or 1)
