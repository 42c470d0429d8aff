"""Decoding within the catalog: beam search, and the scores of given items.

n prompts (lists of tokens) are read in batches of at most `budget` tokens, continuations included.  No gradient.
"""

import numpy as np
import torch

from conrec.data.trie import LEVELS
from conrec.decoder.shared_prefix import Reading
from llm.batches import batches


@torch.no_grad()
def beams(backbone, trie, prompts, closed, n_beams=50, n_items=20, budget=16384):
    """(items, logprobs), (n, n_items) int64 and float32 arrays, best first, ties by item number.

    A score is the log-probability of an item among the open ones, as in GRPO's policy.  closed: for each prompt an
    array of items that must not come out (the history): they, and nodes with nothing else below, are closed before the
    log-softmax.  Where fewer items are left, or n_beams < n_items, -1 and -inf stand at the end.
    """
    items = np.full((len(prompts), n_items), -1)
    logprobs = np.full((len(prompts), n_items), -np.inf, np.float32)
    for batch in in_batches(prompts, 2 * n_beams, budget):
        is_closed = trie.closed([closed[row] for row in batch])
        scores, nodes = search(backbone, trie, [prompts[row] for row in batch], is_closed, n_beams)
        for row, score, node in zip(batch, scores.cpu().numpy(), nodes.cpu().numpy(), strict=True):
            found = trie.item[node[np.isfinite(score)]]
            score = score[np.isfinite(score)]
            best = np.lexsort((found, -score))[:n_items]
            items[row, : len(best)], logprobs[row, : len(best)] = found[best], score[best]
    return items, logprobs


def search(backbone, trie, prompts, is_closed, n_beams):
    """(B, w) scores and leaves, w at least n_beams where there are so many; -inf where a beam has come to nothing.

    is_closed: (B, N) bool.
    """
    reading = Reading(backbone, prompts, is_closed)
    scores = torch.zeros(len(prompts), 1, device=trie.device)
    nodes = torch.zeros_like(scores, dtype=torch.long)  # the root
    logprobs = reading.start(trie)  # (B, w, K)
    for level in range(LEVELS):
        if level:
            # the best nodes; sorting is stable, so that ties go by node
            scores, chosen = scores.sort(dim=1, descending=True, stable=True)
            scores, chosen = scores[:, :n_beams], chosen[:, :n_beams]
            # a beam that came to nothing reads some node, and stays -inf
            nodes = nodes.gather(1, chosen).clamp(min=1)
            logprobs = reading.extend(trie, chosen % trie.K, nodes, chosen // trie.K)
        # all their children; below a beam that came to nothing all is shut, whatever its log-probabilities
        nodes = trie.children(nodes).flatten(1)  # (B, w K)
        scores = (scores.unsqueeze(2) + logprobs).flatten(1)
        scores = scores.masked_fill(trie.shut(nodes, is_closed), -torch.inf)
    return scores, nodes


@torch.no_grad()
def score_items(backbone, trie, prompts, items, budget=16384):
    """(n, m) float32 log-probabilities of items (n, m) int64 after each prompt; -inf where the item is -1."""
    items = np.asarray(items)
    scores = np.zeros(items.shape, np.float32)
    for batch in in_batches(prompts, 2 * items.shape[1], budget):
        asked = torch.from_numpy(items[batch].clip(min=0))
        scores[batch] = backbone.branch([prompts[row] for row in batch], asked, trie).sum(2).cpu().numpy()
    scores[items < 0] = -np.inf
    return scores


def in_batches(prompts, more, budget):
    """Lists of row numbers, the longest prompts first; `more` tokens are read after each prompt."""
    order = sorted(range(len(prompts)), key=lambda row: -len(prompts[row]))
    return batches(order, lambda row: (1, len(prompts[row]) + more), lambda: budget)
