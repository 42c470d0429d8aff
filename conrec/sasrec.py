"""SASRec (Kang and McAuley, 2018) with the tiny decoder's body: item tokens, full softmax.

Two contexts: negatives alone, or positives before them.  What it has in common with a Backbone (trainable, state,
restore, save, read_weights, model) has the same names, so that the one training loop serves both.
"""


class SASRec:
    def __init__(self, n_items, seed, device="cpu", dropout=0.1):
        raise NotImplementedError

    def row(self, negatives, positives=None):
        """Tokens of a history (item numbers, oldest first): <bos> [<pos> items] <neg> items."""
        raise NotImplementedError

    def loss(self, rows):
        """Mean cross-entropy, over all items, of every negative of the rows given what stands before it (scalar)."""
        raise NotImplementedError

    def scores(self, rows, budget=16384):
        """(n, I) float32 array: log-probability of each item as the next negative."""
        raise NotImplementedError
