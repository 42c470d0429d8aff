"""What the encoder reads: rows of token ids in which some positions are slots.

    query(u,i) = [CLS] frame [user's slot] P_u [item's slot] title_i P_i [SEP]
    doc(j)     = [CLS] [item's slot] title_j P_j [SEP]

A slot is a position whose input embedding is g(e), a projection of the CF vector e of a user or item (encoder.py).  It
needs no entry in the vocabulary, and since all parts are tokenised apart, no title can forge one.  P_u and P_i are
profiles; they are cut where the whole has more than --hn_tokens.
"""

from dataclasses import dataclass

import numpy as np

from llm.weights import is_causal
from utils import InputError

FRAME_VERSION = 1  # raise it when the frame or the order of parts changes
FRAME = "Find what seems to suit this person as well as this item does, but what they would not want."


@dataclass
class Texts:
    """What queries and documents say."""

    users: list  # (U,) profiles, "" where there is none
    items: list  # (I,) profiles
    titles: list  # (I,)


@dataclass
class Row:
    """An input: token ids, and which of them are slots."""

    ids: list
    slots: list  # (place in ids, "user" or "item", number)


class Inputs:
    """Users, items and texts -> rows of token ids.  Every text is tokenised once."""

    def __init__(self, name, weights, texts, most, slots):
        """name: of the model, for messages.  weights: its folder.  most: tokens of a row.  slots: whether it has any.

        Raises InputError for a model that cannot encode, and for too small or large a `most`.
        """
        from transformers import AutoConfig, AutoTokenizer

        self.name, self.most, self.slots = name, most, slots
        self.causal = is_causal(weights, "--hn_encoder")
        try:
            config = AutoConfig.from_pretrained(weights, local_files_only=True)
            if config.is_encoder_decoder:
                raise InputError(f"--hn_encoder {name}: is an encoder-decoder; take an encoder, or a causal model")
            self.tokenizer = AutoTokenizer.from_pretrained(weights, local_files_only=True)
        except (OSError, ValueError, ImportError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"--hn_encoder {name}: cannot be loaded ({reason})") from None
        self.pad = self.tokenizer.pad_token_id or 0  # masked, but it must be a token
        self.begin, self.end = self.own_tokens()
        self.frame = self.plain(FRAME)
        self.check_length(config)
        self.titles = [self.plain(text) for text in texts.titles]
        self.users = [self.plain(text) for text in texts.users]
        self.items = [self.plain(text) for text in texts.items]

    def own_tokens(self):
        """Token ids that the model's tokenizer puts before and behind a text; a decoder's text ends in EOS."""
        bare, whole = self.plain("a"), self.tokenizer("a").input_ids
        first = next((place for place in range(len(whole)) if whole[place : place + len(bare)] == bare), 0)
        begin, end = whole[:first], whole[first + len(bare) :]
        if self.causal and not end and self.tokenizer.eos_token_id is not None:
            end = [self.tokenizer.eos_token_id]
        return begin, end

    def plain(self, text):
        """Token ids of text in which nothing counts as a control token."""
        return self.tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids if text else []

    def check_length(self, config):
        # positions that have no weights (rotary ones, say) are as good as any
        limits = getattr(config, "max_position_embeddings", None), self.tokenizer.model_max_length
        context = min(limit for limit in limits if limit)
        if self.most > context:
            raise InputError(f"--hn_tokens {self.most}: {self.name} reads at most {context}")
        if self.most <= self.fixed:
            raise InputError(f"--hn_tokens {self.most}: the frame alone takes {self.fixed}; take more")

    @property
    def fixed(self):
        """Tokens of a query that are no text of the pair's."""
        return len(self.begin) + len(self.frame) + 2 * self.slots + len(self.end)

    def query(self, user, item):
        title = self.titles[item][: self.most - self.fixed]
        of_user, of_item = shared_room(self.users[user], self.items[item], self.most - self.fixed - len(title))
        return self.row(self.begin, self.frame, ("user", user), of_user, ("item", item), title, of_item, self.end)

    def query_lengths(self, pairs):
        """(P,) tokens of each pair's query, before it is made."""
        of_user = np.array([len(ids) for ids in self.users])
        of_item = np.array([len(title) + len(ids) for title, ids in zip(self.titles, self.items, strict=True)])
        return np.minimum(self.fixed + of_user[pairs[:, 0]] + of_item[pairs[:, 1]], self.most)

    def document(self, item):
        room = self.most - len(self.begin) - self.slots - len(self.end)
        return self.row(self.begin, ("item", item), [*self.titles[item], *self.items[item]][:room], self.end)

    def text(self, text):
        """A text of its own, such as a written title."""
        room = self.most - len(self.begin) - len(self.end)
        return self.row(self.begin, self.plain(text)[:room], self.end)

    def row(self, *parts):
        """The Row of parts: lists of token ids, and (kind, number) of a slot."""
        ids, slots = [], []
        for part in parts:
            if isinstance(part, list):
                ids += part
            elif self.slots:
                kind, number = part
                slots.append((len(ids), kind, int(number)))
                ids.append(self.pad)  # any token: its embedding is replaced
        return Row(ids or [self.pad], slots)


def shared_room(first, second, room):
    """Both lists cut to `room` together: each to half of it, or more where the other needs less."""
    half = room // 2
    of_first = max(half, room - len(second))
    first = first[:of_first]
    return first, second[: room - len(first)]
