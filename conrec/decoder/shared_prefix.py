"""Prompts that are read once and continued many times.

B prompts of at most L tokens, W continuations of each, V tokens in the vocabulary, K codes a level.

A Reading fills the cache with the prompts.  The next tokens of all W continuations are then read as one row a prompt,
with a boolean mask: the prompt without its padding, the token's own ancestors, itself; its position is the prompt's
length plus its depth.
"""

import torch

from llm.batches import padded, places


class Reading:
    def __init__(self, backbone, prompts, closed=None):
        """closed: (B, N) bool of Trie.closed, nodes that a prompt's continuations do not enter."""
        from transformers import DynamicCache

        self.backbone, self.closed, self.depth = backbone, closed, 0
        ids, mask = padded(prompts, backbone.pad, backbone.device)  # (B, L)
        self.cache = DynamicCache()
        self.last = backbone.forward(ids, mask, places(mask), self.cache, keep=1)  # (B, 1, V), what follows a prompt
        self.prompt_mask, self.lengths = mask.bool(), mask.sum(1)
        self.ancestors = None  # (B, W, tokens read so far) bool, of the last extend()'s columns, themselves included

    def start(self, trie):
        """(B, 1, K) log-probabilities among the root's children."""
        root = torch.zeros(len(self.last), 1, dtype=torch.long, device=self.backbone.device)
        return self.among_children(trie, self.last, root)

    def extend(self, trie, codes, nodes, parents=None):
        """Read one more token after each prompt or continuation -> (B, W, K) log-probabilities of what follows.

        codes (B, W): of the tokens; nodes (B, W): where they lead in the trie; parents (B, W): which column of the last
        extend() each follows; the first ones follow the prompt.
        """
        tokens = self.backbone.first + self.depth * trie.K + codes
        return self.among_children(trie, self.next_logits(tokens, parents), nodes)

    def among_children(self, trie, logits, nodes):
        """(B, W, V) logits of the next token -> (B, W, K) log-probabilities among the children of nodes (B, W)."""
        first = self.backbone.first + self.depth * trie.K
        return trie.log_softmax(logits[..., first : first + trie.K], nodes, self.closed)

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
