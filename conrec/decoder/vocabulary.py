"""Parts of a prompt as tokens: whole words for the tiny decoder, a language model's own pieces for a language model."""

import re
from collections import Counter
from functools import cache

import numpy as np

from conrec.data.trie import LEVELS
from conrec.decoder.prompts import CONTROLS, END, PAD, UNKNOWN, Control
from llm.messages import CUE

WORDS = 1500  # of the titles, the most frequent


class Vocabulary:
    """.first: the first ID token; that of (level, code) is first + level * K + code.  .pad: any token.

    Subclasses say what becomes of a control token and of a text (`of_control`, `of_text`).
    """

    def __init__(self, catalog, first):
        """catalog: semantic_ids.Catalog."""
        self.first = first
        self.ids = (catalog.codes + first + catalog.K * np.arange(LEVELS)).tolist()  # of each item

    def answer(self, parts):
        """Tokens of parts that follow a prompt."""
        tokens = []
        for part in parts:
            if isinstance(part, Control):
                tokens.append(self.of_control(part))
            elif isinstance(part, str):
                tokens += self.of_text(part)
            else:
                tokens += self.ids[part]
        return tokens


class WordVocabulary(Vocabulary):
    """Control tokens, 3 K ID tokens, title words."""

    words = False  # prompts are control tokens

    def __init__(self, catalog):
        super().__init__(catalog, len(CONTROLS))
        self.number = {name: number for number, name in enumerate(CONTROLS)}
        self.pad, self.unknown = self.number[PAD], self.number[UNKNOWN]
        counts = Counter(word for title in catalog.titles for word in words_of(title))
        common = sorted(counts, key=lambda word: (-counts[word], word))[:WORDS]
        start = self.first + LEVELS * catalog.K
        self.word_number = {word: start + place for place, word in enumerate(common)}
        self.size = start + len(common)

    def of_control(self, control):
        return self.number[control]

    def of_text(self, text):
        return [self.word_number.get(word, self.unknown) for word in words_of(text)]

    tokens = Vocabulary.answer  # a prompt has its beginning and end among its parts


class ModelVocabulary(Vocabulary):
    """A language model's tokens, and after them the 3 K ID tokens."""

    words = True

    def __init__(self, prompt_tokens, first, pad, catalog):
        """prompt_tokens: feedback.tokens.PromptTokens."""
        super().__init__(catalog, first)
        self.prompt_tokens, self.pad = prompt_tokens, pad
        self.of_text = cache(prompt_tokens.plain)  # wordings and titles come again and again

    def tokens(self, parts):
        """In the chat template's place for a message; without one a cue comes after it."""
        inside = self.answer(parts)
        if self.prompt_tokens.chat:
            before, after = self.prompt_tokens.template(1)
            return [*before, *inside, *after]
        return [*self.prompt_tokens.beginning(), *inside, *self.of_text(f"\n{CUE}")]

    def of_control(self, control):
        if control != END:
            raise ValueError(f"{control} is a control token of the tiny decoder's prompts")
        return self.prompt_tokens.eos[0]


def words_of(title):
    """Lower-case words and numbers; an apostrophe belongs to its word."""
    return re.findall(r"\w+(?:['’]\w+)*", title.lower())
