"""Parts of a prompt as tokens: whole words for the tiny decoder, a language model's own pieces for a language model."""

import re
from collections import Counter

import numpy as np

from conrec.data.trie import LEVELS
from conrec.decoder.prompts import CONTROLS, END, PAD, UNKNOWN, Control
from llm.messages import CUE

WORDS = 1500  # of the titles, the most frequent


class WordVocabulary:
    """Control tokens, 3 K ID tokens, title words."""

    words = False  # prompts are control tokens

    def __init__(self, catalog):
        """catalog: sids.Catalog."""
        self.first = len(CONTROLS)
        self.ids = id_tokens(catalog, self.first)
        self.number = {name: number for number, name in enumerate(CONTROLS)}
        self.pad, self.unknown = self.number[PAD], self.number[UNKNOWN]
        counts = Counter(word for title in catalog.titles for word in words_of(title))
        common = sorted(counts, key=lambda word: (-counts[word], word))[:WORDS]
        start = self.first + LEVELS * catalog.K
        self.word_number = {word: start + place for place, word in enumerate(common)}
        self.size = start + len(common)

    def tokens(self, parts):
        tokens = []
        for part in parts:
            if isinstance(part, Control):
                tokens.append(self.number[part])
            elif isinstance(part, str):
                tokens += [self.word_number.get(word, self.unknown) for word in words_of(part)]
            else:
                tokens += self.ids[part]
        return tokens

    answer = tokens


class ModelVocabulary:
    """A language model's tokens, and after them the 3 K ID tokens."""

    words = True

    def __init__(self, prompt_tokens, first, pad, catalog):
        """prompt_tokens: feedback.tokens.PromptTokens; first: the first ID token."""
        self.prompt_tokens, self.first, self.pad = prompt_tokens, first, pad
        self.ids = id_tokens(catalog, first)
        self.pieces = {}  # text -> tokens: wordings and titles come again and again

    def tokens(self, parts):
        """In the chat template's place for a message; without one a cue comes after it."""
        inside = self.answer(parts)
        if self.prompt_tokens.chat:
            before, after = self.prompt_tokens.template(1)
            return [*before, *inside, *after]
        return [*self.prompt_tokens.beginning(), *inside, *self.plain(f"\n{CUE}")]

    def answer(self, parts):
        tokens = []
        for part in parts:
            if part == END and isinstance(part, Control):
                tokens.append(self.prompt_tokens.eos[0])
            elif isinstance(part, Control):
                raise ValueError(f"{part} is a control token of the tiny decoder's prompts")
            elif isinstance(part, str):
                tokens += self.plain(part)
            else:
                tokens += self.ids[part]
        return tokens

    def plain(self, text):
        if text not in self.pieces:
            self.pieces[text] = self.prompt_tokens.plain(text)
        return self.pieces[text]


def id_tokens(catalog, first):
    """I lists of an item's three tokens, where that of (level, code) is first + level * K + code."""
    return (catalog.codes + first + catalog.K * np.arange(LEVELS)).tolist()


def words_of(title):
    """Lower-case words and numbers; an apostrophe belongs to its word."""
    return re.findall(r"\w+(?:['’]\w+)*", title.lower())
