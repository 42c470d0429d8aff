"""SASRec (Kang and McAuley, 2018) with the tiny decoder's body: item tokens, full softmax, each item after its sign.

What it has in common with a Backbone (trainable, state, restore, save, read_weights, model) is the Decoder's, so that
the one training loop serves both.
"""

import numpy as np
import torch

from conrec.decoder.beam_search import in_batches
from conrec.decoder.decoder import CONTEXT, Decoder, from_scratch

PAD, BOS, SIGN = 0, 1, 2  # SIGN + events.DISLIKE, NEUTRAL or LIKE: the token before an item
FIRST = 5
NOT_ASKED = -100
DROPOUT = 0.2


class SASRec(Decoder):
    """Item number i is token 5 + i."""

    def __init__(self, n_items, seed, device="cpu"):
        super().__init__(from_scratch(FIRST + n_items, seed, PAD, DROPOUT), PAD, CONTEXT, device, "SASRec")
        self.n_items = n_items

    def row(self, items, signs, asked=None):
        """Tokens of events, oldest first: <bos> sign item sign item ... [asked].

        asked: the sign of an item that is to follow.  The oldest events go where there is no room.
        """
        pairs = np.stack((SIGN + np.asarray(signs, np.int64), FIRST + np.asarray(items, np.int64)), 1)
        row = pairs[-((self.context - 2) // 2) :].ravel().tolist()
        return [BOS, *row] if asked is None else [BOS, *row, SIGN + int(asked)]

    def loss(self, rows):
        """Mean cross-entropy, among all items, of the rows' items given their signs and what stands before (scalar)."""
        logits = self.logits(rows)[:, :-1, FIRST:]  # (B, longest - 1, I)
        truth = torch.full(logits.shape[:2], NOT_ASKED)
        for place, row in enumerate(rows):
            items = row[2::2]
            truth[place, -2 * len(items) + 1 :: 2] = torch.tensor(items) - FIRST
        asked = truth != NOT_ASKED  # half of the places: signs are given
        return torch.nn.functional.cross_entropy(logits[asked.to(self.device)], truth[asked].to(self.device))

    @torch.no_grad()
    def scores(self, rows, budget=16384):
        """(n, I) float32 array: log-probability of each item after each row."""
        found = np.empty((len(rows), self.n_items), np.float32)
        for batch in in_batches(rows, 0, budget):
            logits = self.logits([rows[row] for row in batch], keep=1)[:, -1, FIRST:]  # (b, I)
            found[batch] = logits.log_softmax(1).cpu().numpy()
        return found
