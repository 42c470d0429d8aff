"""Prompts that are read once and continued many times.

B prompts of at most L tokens, W continuations of each, V tokens in the vocabulary, K codes a level.

A Reading fills the cache with the prompts.  The next tokens of all W continuations are then read as one row a prompt,
with a boolean mask: the prompt without its padding, the token's own ancestors, itself; its position is the prompt's
length plus its depth.  WholeRows asks the same of ordinary rows, prompt and continuation together: many times slower,
for models whose attention ignores such masks, and the oracle of the tests.
"""

import torch

from llm.batches import padded, places


class Continued:
    """What both have in common.  Subclasses say how tokens are read: .last, the (B, V) logits of what follows each
    prompt, and next_logits()."""

    def __init__(self, backbone, prompts, closed=None):
        """closed: (B, N) bool of Trie.closed, nodes that a prompt's continuations do not enter."""
        self.backbone, self.prompts, self.closed, self.depth = backbone, prompts, closed, 0

    def start(self, trie):
        """(B, 1, K) log-probabilities among the root's children."""
        root = torch.zeros(len(self.prompts), 1, dtype=torch.long, device=self.backbone.device)
        return self.among_children(trie, self.last.unsqueeze(1), root)

    def extend(self, trie, codes, nodes, parents=None):
        """Read one more token after each prompt or continuation -> (B, W, K) log-probabilities of what follows.

        codes (B, W): of the tokens; nodes (B, W): where they lead in the trie; parents (B, W): which column of the last
        extend() each follows; the first ones follow the prompt.
        """
        tokens = self.backbone.first + self.depth * trie.K + codes
        return self.among_children(trie, self.next_logits(tokens, parents), nodes)

    def among_children(self, trie, logits, nodes):
        """(..., V) logits of the next token -> (..., K) log-probabilities among the children of nodes (...)."""
        first = self.backbone.first + self.depth * trie.K
        return trie.log_softmax(logits[..., first : first + trie.K], nodes, self.closed)


class Reading(Continued):
    def __init__(self, backbone, prompts, closed=None):
        super().__init__(backbone, prompts, closed)
        from transformers import DynamicCache

        ids, mask = padded(prompts, backbone.pad, backbone.device)  # (B, L)
        self.cache = DynamicCache()
        self.last = backbone.forward(ids, mask, places(mask), self.cache, keep=1)[:, -1]
        self.prompt_mask, self.lengths = mask.bool(), mask.sum(1)
        self.ancestors = None  # (B, W, tokens read so far) bool, of the last extend()'s columns, themselves included

    def next_logits(self, tokens, parents):
        """(B, W) tokens -> (B, W, V) logits of what follows each."""
        B, W = tokens.shape
        itself = torch.eye(W, dtype=torch.bool, device=tokens.device).expand(B, W, W)
        if self.ancestors is None:
            self.ancestors = itself
        else:
            above = self.ancestors.gather(1, parents.unsqueeze(2).expand(-1, -1, self.ancestors.shape[2]))
            self.ancestors = torch.cat([above, itself], 2)
        mask = torch.cat([self.prompt_mask.unsqueeze(1).expand(B, W, -1), self.ancestors], 2)  # (B, W, L + read so far)
        positions = (self.lengths + self.depth).unsqueeze(1).expand(B, W)
        self.depth += 1
        return self.backbone.forward(tokens, mask.unsqueeze(1), positions, self.cache)


class WholeRows(Continued):
    def __init__(self, backbone, prompts, closed=None):
        super().__init__(backbone, prompts, closed)
        self.last = backbone.logits(prompts, keep=1)[:, -1]
        self.tails = None  # (B, W, depth) tokens of the last extend()'s columns

    def next_logits(self, tokens, parents):
        tails = tokens.unsqueeze(2)
        if self.tails is not None:
            above = self.tails.gather(1, parents.unsqueeze(2).expand(-1, -1, self.depth))
            tails = torch.cat([above, tails], 2)
        self.tails, self.depth = tails, self.depth + 1
        rows = []
        for prompt, continuations in zip(self.prompts, tails.tolist(), strict=True):
            rows += [[*prompt, *tail] for tail in continuations]
        return self.backbone.logits(rows, keep=1)[:, -1].unflatten(0, tokens.shape)
