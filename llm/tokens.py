"""Text as a causal language model reads and writes it: prompts and answers as token ids."""

import itertools
from functools import cached_property

from llm.messages import CUE, answer, transcript, turns
from llm.replies import opened_by
from utils import InputError

TEMPLATE_OPTIONS = {
    "tokenize": False,
    "enable_thinking": False,
    "date_string": "1 January 2026",  # not today's, which would change the prompt every day
}
MARK = "\u27e6{}\u27e7"  # stands for message n in a chat template: brackets that templates do not use


class PromptTokens:
    """Text -> the token ids of one model.

    With a chat template, messages are put in between its parts as plain text, so that nothing in a title counts as
    a control token.  Without one the messages simply follow each other.
    """

    def __init__(self, tokenizer, eos, name):
        """eos: the tokens that end an answer; name: of the model, for messages about it."""
        self.tokenizer, self.eos, self.name = tokenizer, eos, name
        self.chat = bool(tokenizer.chat_template)
        # what opens the reasoning, where the chat template begins every answer with it
        self.thinking = opened_by(self.template_parts(1)[1]) if self.chat else ""
        self.templates = {}  # number of messages -> parts of the chat template as token ids
        self.answer_trees = {}  # number of items -> the valid answers as a prefix tree of tokens

    # ------------------------------------------------------------------------------------ prompts

    def conversation(self, *messages):
        """Token ids of the user's messages and the model's answers in turn."""
        if not self.chat:
            return self.beginning() + self.plain(transcript(messages))
        first, *parts = self.template(len(messages))
        ids = [*first]
        for message, part in zip(messages, parts, strict=True):
            ids += self.plain(message)
            ids += part
        return ids

    def before(self, profile):
        """A profile as the beginning of a prompt: before(a) + after(b) is conversation(a + b)."""
        before = self.template(1)[0] if self.chat else self.beginning()
        return before + self.plain(profile)

    def after(self, question):
        """A question as the end of a prompt that begins with a profile."""
        after = self.template(1)[1] if self.chat else []
        return self.plain(question) + after

    def plain(self, text):
        """Text in which nothing counts as a control token."""
        return self.tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids

    def with_control(self, text):
        return self.tokenizer(text, add_special_tokens=False).input_ids

    def beginning(self):
        """The beginning-of-sequence token, where the tokenizer puts one before a text."""
        first = self.tokenizer("").input_ids[:1]
        return first if first == [self.tokenizer.bos_token_id] else []

    def template(self, n):
        """The chat template around n messages: n + 1 parts as token ids."""
        if n not in self.templates:
            self.templates[n] = [self.with_control(part) for part in self.template_parts(n)]
        return self.templates[n]

    def template_parts(self, n):
        """The same as text."""
        marks = [MARK.format(place) for place in range(n)]
        text = self.tokenizer.apply_chat_template(turns(marks), add_generation_prompt=True, **TEMPLATE_OPTIONS)
        # cut at the marks
        parts = []
        for mark in marks:
            part, found, text = text.partition(mark)
            if not found:
                raise InputError(f"{self.name}: its chat template leaves out or reorders messages")
            parts.append(part)
        return [*parts, text]

    # ------------------------------------------------------------------------------------ answers

    def continuation(self, text):
        """Token ids of an answer after the prompt: a tokenizer may treat a text's beginning otherwise."""
        anchor, lead = self.answer_start if self.chat else (CUE, " ")
        before = self.with_control(anchor)
        whole = self.with_control(anchor + lead + text)
        if whole[: len(before)] != before:  # a token reaches from one into the other
            return self.plain((lead + text).strip())
        return whole[len(before) :]

    @cached_property
    def answer_start(self):
        """(the chat template's text between a prompt and an answer, what begins the answer).

        Some templates begin an answer with a space, for one.
        """
        mark = MARK.format(0)
        anchor = self.template_parts(1)[1]
        # the same prompt with an answer to it
        conversation = turns([mark, "Yes"])
        text = self.tokenizer.apply_chat_template(conversation, **TEMPLATE_OPTIONS)
        _, _, after_prompt = text.partition(mark)
        lead = after_prompt.removeprefix(anchor).partition("Yes")[0]
        if not after_prompt.startswith(anchor) or lead.strip():  # more than white space is not the answer's
            lead = ""
        return anchor, lead

    def answer_tree(self, n):
        """All valid answers to a question of n items as nested {token: what may follow}."""
        if n not in self.answer_trees:
            tree = self.answer_trees[n] = {}
            for size in range(n + 1):
                for numbers in itertools.combinations(range(1, n + 1), size):
                    for tokens in self.spellings(answer(numbers)):
                        node = tree
                        for token in tokens:
                            node = node.setdefault(token, {})
        return self.answer_trees[n]

    def spellings(self, text):
        """Token ids of an answer and its end, one list for each way to end it."""
        continuation = self.continuation(text)
        spellings = [[*continuation, end] for end in self.eos]
        if not self.chat:  # a base model ends its answer with a line break
            spellings.append(self.continuation(f"{text}\n"))
        return spellings
