"""SASRec (Kang and McAuley, 2018) with the tiny decoder's body: item tokens, full softmax.

Two contexts: negatives alone, or positives before them.  What it has in common with a Backbone (trainable, state,
restore, save, read_weights, model) is the Decoder's, so that the one training loop serves both.
"""

import numpy as np
import torch

from conrec.decoder.beam_search import in_batches
from conrec.decoder.decoder import CONTEXT, Decoder, from_scratch

PAD, BOS, POSITIVES, NEGATIVES = range(4)  # the tokens before those of the items
FIRST = 4
NOT_ASKED = -100


class SASRec(Decoder):
    """Item number i is token 4 + i."""

    def __init__(self, n_items, seed, device="cpu", dropout=0.1):
        super().__init__(from_scratch(FIRST + n_items, seed, PAD, dropout), PAD, CONTEXT, device, "SASRec")
        self.n_items = n_items

    def row(self, negatives, positives=None):
        """Tokens of a history (item numbers, oldest first): <bos> [<pos> items] <neg> items.  The oldest
        positives, then the oldest negatives, go where there is no room."""
        negatives = tokens(negatives)[-(self.context - 2) :]
        room = self.context - 3 - len(negatives)
        if positives is None or len(positives) == 0 or room <= 0:
            return [BOS, NEGATIVES, *negatives]
        return [BOS, POSITIVES, *tokens(positives)[-room:], NEGATIVES, *negatives]

    def loss(self, rows, last=False):
        """Mean cross-entropy, among all items, of the rows' negatives given what stands before each (scalar).

        last: of each row's last negative only, where the positives shown are those before that one.
        """
        logits = self.logits(rows)[:, :-1, FIRST:]  # (B, longest - 1, I)
        truth = torch.full(logits.shape[:2], NOT_ASKED)
        for place, row in enumerate(rows):
            n = min(len(row) - row.index(NEGATIVES) - 1, 1 if last else len(row))
            if n:
                truth[place, -n:] = torch.tensor(row[-n:]) - FIRST
        truth = truth.to(self.device).flatten()
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), truth, ignore_index=NOT_ASKED)

    @torch.no_grad()
    def scores(self, rows, budget=16384):
        """(n, I) float32 array: log-probability of each item as the next negative."""
        found = np.empty((len(rows), self.n_items), np.float32)
        for batch in in_batches(rows, 0, budget):
            logits = self.logits([rows[row] for row in batch], keep=1)[:, -1, FIRST:]  # (b, I)
            found[batch] = logits.log_softmax(1).cpu().numpy()
        return found


def tokens(items):
    return [FIRST + int(item) for item in items]
