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

from feedback.prompts import DOMAINS
from feedback.questions import Question
from llm.language_model import LanguageModel
from llm.messages import defused
from llm.replies import drop_reasoning, find_json
from llm.request import Request
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
    reply: tuple = ("", "", "failed")  # answer, reasoning, status

    def request(self, chat=True, clean=str):
        """As a Request.  chat: whether the model has a chat template.  clean: what its prompt goes through."""

        def write(kept, *said):
            messages = [clean(self.build(self.question.shortened(kept)))]
            if said:
                messages += [*said, REMINDER if chat else f"\n{REMINDER}"]
            if not chat:
                messages[-1] += "\n" + opening(self.key)
            return messages

        def read(text, finished):
            self.reply = read_reply(text if chat else opening(self.key) + text, self.key, self.most_words)
            return self.reply if self.reply[2] in ("ok", "none") else None

        return Request(self, write, self.question.profile, read, ROOM[self.key])

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

    def __init__(self, weights, settings, device):
        """settings: StageSettings.  Raises InputError for a model that is none."""
        name = settings.hn_writer
        if not is_causal(weights, "--hn_writer"):
            raise InputError(f"--hn_writer {name}: is an encoder, which cannot write; take a causal model or template")
        self.name, self.lm = file_name(name), None
        self.load = partial(LanguageModel, weights, device, settings, "generate", flag="--hn_writer")
        version = revision(weights)
        self.settings = {"revision": version, "dtype": dtype_of(settings, device)}
        self.settings |= {"batch_tokens": settings.llm_batch_tokens}
        self.backend = {"model": self.name, "revision": version if isinstance(version, str) else None}

    def answer(self, asked):
        """Yields the record of each request, all of the same kind, batch by batch."""
        if not asked:
            return
        if self.lm is None:
            self.lm = self.load()
        for request in self.lm.ask([each.request(self.lm.tokens.chat) for each in asked]):
            yield request.about.record(self.backend)


class ServerWriter:
    """A model behind --hn_url."""

    def __init__(self, settings):
        from llm.server import Server  # and with it requests, for which only a run that asks a server waits

        name = "auto" if settings.hn_writer == "template" else settings.hn_writer
        self.server = Server(settings.hn_url, name, settings.llm_concurrency, settings.llm_timeout, "--hn_url")
        self.name = file_name(self.server.llm)
        self.settings = {"through": "endpoint"}
        self.backend = {"endpoint": self.server.url, "model": self.server.llm}

    def answer(self, asked):
        """Yields the record of each request, in the order in which the answers come."""
        return self.server.ask_all(self.ask, asked)

    def ask(self, each):
        from llm.server import Filtered

        with suppress(Filtered):  # this one has failed; the others may pass
            self.server.ask(each.request(clean=defused))
        return each.record(self.backend)
