"""Decoding within the catalog: beam search, and the scores of given items.

n prompts (lists of tokens) are read in batches of at most `budget` tokens.  No gradient.
"""


def beams(backbone, trie, prompts, closed, n_beams=50, n_items=20, budget=16384):
    """(items, logprobs), (n, n_items) int64 and float32 arrays, best first, ties by item number.

    closed: for each prompt an array of items that must not come out (the history).  Where fewer items are left or
    n_beams < n_items, -1 and -inf at the end.
    """
    raise NotImplementedError


def score_items(backbone, trie, prompts, items, budget=16384):
    """(n, m) float32 log-probabilities of items (n, m) int64 after each prompt; -inf where the item is -1."""
    raise NotImplementedError
