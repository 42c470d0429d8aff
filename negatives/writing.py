"""Profiles and titles written by a causal language model, here or behind a URL.

    Asked         a request for one JSON object, and the record that its answer goes into
    read_reply    what is taken from a reply
    LocalWriter, ServerWriter    answer(list of Asked) -> records

Three kinds of requests: the profile of an item, that of a user (given item profiles), and a title that is close to an
item the user likes and that they would not want.  Greedy; one reminder; a reply that cannot be read is never used, and
nothing is put in its place.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import numpy as np

from feedback.causal import CausalLM, Prompt
from feedback.endpoint import defused
from feedback.prompts import DOMAINS
from feedback.questions import Question
from llm.batches import batches
from llm.replies import drop_reasoning, find_json, in_short
from llm.server import Filtered, Server
from llm.weights import dtype_of, is_causal, revision
from utils import InputError, file_name

WRITING_VERSION = 2  # raise it when a wording or the reader changes, so that old replies are not mixed with new
ITEM_WORDS, USER_WORDS, TITLE_WORDS = 200, 100, 20  # that an answer may have
SHOWN_WORDS = 30  # of an item's profile, beside its title in a user's list
ROOM = {"summarization": 384, "hard_negative_item": 128}  # tokens of a reply
REMINDER = "That could not be read. Reply with nothing but the JSON object, on one line, within the number of words."
NONE = {"", "none", "null", "n/a", "unknown"}
NOBODY = Question("", 0, 0, *[np.zeros(0, int)] * 3)


@dataclass
class Asked:
    names: dict  # of the record: {"kind", "id"}, or {"user", "item"}
    build: Callable  # Question -> prompt
    key: str  # of the answer in the JSON object
    most_words: int
    question: Question = NOBODY  # the likes and dislikes that may be shortened to fit
    column: str = "summarization"  # the answer's name in the record
    prompt: Prompt | None = None  # of a model at hand
    reply: tuple = ("", "", "failed")  # answer, reasoning, status

    def read(self, text):
        self.reply = read_reply(text, self.key, self.most_words)

    @property
    def needs_reminder(self):
        return self.reply[2] in ("unreadable", "too_long")

    def record(self, backend):
        text, reasoning, status = self.reply
        return self.names | {self.column: text, "reasoning": reasoning, "backend": backend, "status": status}


# --------------------------------------------------------------------------------------------------------- prompts


def form(key, what, most_words):
    return (
        f'Reply with one JSON object on one line: {{"{key}": "{what}, at most {most_words} words", '
        f'"reasoning": "why, in one sentence"}}. Write None for {key} where you cannot tell.'
    )


def item_profiles(known, domain, done):
    """An Asked for each item whose key ("item", token) is not in `done`."""
    one = DOMAINS[domain][0]

    def prompt(text, question):
        return f"A {one}: {text}\nWho would enjoy it? " + form("summarization", "who would like it and why", ITEM_WORDS)

    for token, text in zip(known.item_ids, known.texts, strict=True):
        if ("item", token) not in done:
            yield Asked({"kind": "item", "id": token}, partial(prompt, text), "summarization", ITEM_WORDS)


def user_profiles(known, domain, done, summaries, most):
    """The same of users.  summaries: (I,) item profiles, "" where there is none.  most: entries a side."""
    entries = []
    for title, summary in zip(known.titles, summaries, strict=True):
        shown = " ".join(summary.split()[:SHOWN_WORDS])
        entries.append(f"- {title}: {shown}" if shown else f"- {title}")

    def prompt(question):
        lines = [f"One person has rated {DOMAINS[domain][1]}."]
        for head, items in (("Liked:", question.likes), ("Disliked:", question.dislikes)):
            if len(items):
                lines += [head, *(entries[item] for item in items)]
        what = form("summarization", "what this person likes and dislikes", USER_WORDS)
        return "\n".join([*lines, f"What does this person enjoy? {what}"])

    for user, token in enumerate(known.user_ids):
        if ("user", token) not in done:
            likes = known.liked(user)[np.argsort(-known.stars(user)[known.stars(user) >= 4], kind="stable")]
            question = Question(token, 0, 0, NOBODY.items, likes[:most], known.disliked(user)[:most])
            yield Asked({"kind": "user", "id": token}, prompt, "summarization", USER_WORDS, question)


def titles(known, domain, done, pairs, users, items):
    """An Asked for each pair whose key (user token, item token) is not in `done`.  users, items: profiles."""
    one, several = DOMAINS[domain]

    def prompt(user, item, question):
        person = f"A person: {users[user]}\n" if users[user] else ""  # first: a server may keep it for the next request
        about = f" ({items[item]})" if items[item] else ""
        return (
            f"{person}They like the {one} {known.titles[item]}{about}. Among {several}, name one that looks like a "
            "match for this person and is close to that one, but that they would not want. "
            + form("hard_negative_item", "its title", TITLE_WORDS)
        )

    for user, item in pairs:
        names = {"user": known.user_ids[user], "item": known.item_ids[item]}
        if tuple(names.values()) not in done:
            build = partial(prompt, user, item)
            yield Asked(names, build, "hard_negative_item", TITLE_WORDS, column="hard_negative")


# ---------------------------------------------------------------------------------------------------------- reader


def read_reply(text, key, most_words):
    """(answer, reasoning, status) of a reply: ok, none, too_long or unreadable.  Only ok has an answer.

    The first object in the text that can be decoded counts, whatever is around it; reasoning before it is dropped.
    """
    found, *_ = find_json(drop_reasoning(text) or "", "{")
    if found is None or key not in found or "reasoning" not in found:
        return "", "", "unreadable"
    answer, reasoning = found[key], found["reasoning"] or ""
    if not isinstance(answer, str | None) or not isinstance(reasoning, str):
        return "", "", "unreadable"
    answer, reasoning = (" ".join((part or "").split()) for part in (answer, reasoning))
    if answer.lower().rstrip(".") in NONE:
        return "", reasoning, "none"
    if len(answer.split()) > most_words:
        return "", reasoning, "too_long"
    return answer, reasoning, "ok"


def opening(key):
    """What a model without a chat template goes on from; the reader puts it back."""
    return f'{{"{key}": "'


# --------------------------------------------------------------------------------------------------------- writers


class LocalWriter:
    """A causal language model on this machine.  Loaded only where something is left to ask."""

    def __init__(self, weights, settings, device, domain):
        """settings: StageSettings.  Raises InputError for a model that is none."""
        name = settings.hn_writer
        if not is_causal(weights, "--hn_writer"):
            raise InputError(f"--hn_writer {name}: is an encoder, which cannot write; take a causal model or template")
        self.name, self.lm = file_name(name), None
        self.load = partial(CausalLM, weights, device, settings, "generate", domain, flag="--hn_writer")
        known_as = revision(weights)
        self.settings = {"revision": known_as, "dtype": dtype_of(settings, device)}
        self.settings |= {"batch_tokens": settings.llm_batch_tokens}
        self.backend = {"model": self.name, "revision": known_as if isinstance(known_as, str) else None}

    def answer(self, asked):
        """Yields the record of each request, all of the same kind, batch by batch."""
        if asked and self.lm is None:
            self.lm = self.load()
        waiting = []
        for each in asked:
            each.prompt = self.fit(each)
            if each.prompt:
                waiting.append(each)
            else:  # longer than the model's context
                yield each.record(self.backend)

        # by length, for little padding; the longest first: a lack of memory shows at once
        waiting.sort(key=lambda each: -len(each.prompt.ids))
        for batch in batches(waiting, lambda each: each.prompt.shape(), lambda: self.lm.budget):
            self.say(batch)
            self.say([each for each in batch if each.needs_reminder and self.add_reminder(each)])
            for each in batch:
                yield each.record(self.backend)

    def fit(self, each, *more):
        """A causal.Prompt, None where it does not fit.  more: what was said before, and the reminder."""

        def build(question):
            messages = [each.build(question), *more]
            if not self.lm.tokens.chat:
                messages[-1] += "\n" + opening(each.key)
            return self.lm.tokens.conversation(*messages)

        return self.lm.fit(each.question, build, ROOM[each.key])

    def add_reminder(self, each):
        """Make what was said, and a reminder, part of the prompt; returns whether they fit."""
        reminder = REMINDER if self.lm.tokens.chat else f"\n{REMINDER}"
        reminded = self.fit(each, in_short(each.prompt.raw[0]), reminder)
        if reminded:
            each.prompt.ids = reminded.ids
        return bool(reminded)

    def say(self, batch):
        if not batch:
            return
        complete = partial(self.lm.complete, new_tokens=ROOM[batch[0].key])
        answers = self.lm.in_halves(complete, [each.prompt.ids for each in batch], [0] * len(batch))
        for each, (text, _) in zip(batch, answers, strict=True):
            each.prompt.raw.append(text)
            each.read(text if self.lm.tokens.chat else opening(each.key) + text)


class ServerWriter:
    """A model behind --hn_url."""

    def __init__(self, settings, domain):
        name = "auto" if settings.hn_writer == "template" else settings.hn_writer
        self.server = Server(settings.hn_url, name, settings.llm_concurrency, settings.llm_timeout, "--hn_url")
        self.name = file_name(self.server.llm)
        self.settings = {"through": "endpoint"}
        self.backend = {"endpoint": self.server.url, "model": self.server.llm}

    def answer(self, asked):
        """Yields the record of each request, in the order in which the answers come."""
        return self.server.ask_all(self.ask, asked)

    def ask(self, each):
        def say(question, *more):
            text, _ = self.server.say([defused(each.build(question)), *more], ROOM[each.key])
            each.read(text)
            return text

        with suppress(Filtered):  # of this one; the others may pass
            fitted = self.server.shorten(each.question, say)
            if fitted and each.needs_reminder:
                said = in_short(fitted[0])
                self.server.shorten(each.question, lambda question: say(question, said, REMINDER))
        return each.record(self.backend)
