"""The catalog's semantic IDs as a tree.

Nodes are numbered breadth first, in order of their codes: 0 is the root.  Looking a child up is a binary search.
Knows integers only.
"""

import numpy as np
import torch

LEVELS = 3


class Trie:
    """N nodes.  Tensors that are asked about must be on the trie's device.

    .path (I, 3) the nodes of each item; .item (N,) the item of each leaf, -1 for other nodes; .below (N,) the number of
    items at or below each node; all numpy int64.
    """

    def __init__(self, codes, K, device="cpu"):
        """codes: (I, 3) integers below K, rows distinct.  Raises ValueError for other codes."""
        codes = np.asarray(codes, np.int64)
        if codes.ndim != 2 or codes.shape[1] != LEVELS or codes.min() < 0 or codes.max() >= K:
            raise ValueError(f"semantic IDs must be {LEVELS} codes from 0 to {K - 1}")
        self.K, self.device = K, torch.device(device)
        self.path = np.empty_like(codes)
        keys = []  # parent * K + code of the nodes 1, 2, ...: a growing sequence
        parents, nodes = np.zeros(len(codes), np.int64), 1
        for level in range(LEVELS):
            found, inverse = np.unique(parents * K + codes[:, level], return_inverse=True)
            keys.append(found)
            parents = nodes + inverse
            self.path[:, level] = parents
            nodes += len(found)
        if len(found) != len(codes):
            raise ValueError("semantic IDs must be unique")
        keys = np.concatenate(keys)
        self.item = np.full(nodes, -1)
        self.item[self.path[:, -1]] = np.arange(len(codes))
        self.below = np.bincount(self.path.ravel(), minlength=nodes)
        self.below[0] = len(codes)
        self.keys = torch.from_numpy(keys).to(self.device)

    def __len__(self):
        return len(self.item)

    def child(self, nodes, codes):
        """(...) nodes and codes -> (...) the child's number, -1 where there is none."""
        key = nodes * self.K + codes
        place = torch.searchsorted(self.keys, key.contiguous()).clamp(max=len(self.keys) - 1)
        return torch.where(self.keys[place] == key, place + 1, -1)

    def children(self, nodes):
        """(...) nodes -> (..., K) the child of each code, -1 where there is none."""
        codes = torch.arange(self.K, device=self.device).expand(*nodes.shape, self.K)
        return self.child(nodes.unsqueeze(-1).expand_as(codes), codes)

    def closed(self, lists):
        """(B, N) bool for B arrays of items: the leaves of each, and the nodes that have no other leaf below."""
        counts = [np.bincount(self.path[np.unique(items)].ravel(), minlength=len(self)) for items in lists]
        return torch.from_numpy(np.stack(counts) == self.below).to(self.device)

    def shut(self, children, closed):
        """(B, ...) bool: where a child is -1, or closed for row b.  closed: (B, N) bool of closed(), or None."""
        if closed is None:
            return children < 0
        return (children < 0) | closed.gather(1, children.clamp(min=0).flatten(1)).view_as(children)

    def open_children(self, nodes, codes, real):
        """(B, n, K) bool: the children that lead to an item which is none of the row's earlier ones.

        Of B rows of n distinct items: nodes (B, n), where each stands before the choice; codes (B, n), its own choice
        there; real (B, n) bool, False for padding.  As closed() of the items before, row by row.
        """
        earlier = (nodes.unsqueeze(2) == nodes.unsqueeze(1)).tril(-1) & real.unsqueeze(1)  # (B, n, n): at one node
        gone = earlier.float() @ torch.nn.functional.one_hot(codes, self.K).float()  # (B, n, K) items below each child
        children = self.children(nodes)
        below = torch.from_numpy(self.below).to(self.device)[children.clamp(min=0)]
        return (children >= 0) & (gone < below)

    def log_softmax(self, logits, nodes, closed=None):
        """(B, ..., K) logits of a level -> the same, float32 log-probabilities among a node's children, -inf elsewhere.

        nodes: (B, ...), no leaves, which have no children to choose from.  closed: (B, N) bool, children that row b is
        not to enter.
        """
        shut = self.shut(self.children(nodes), closed)
        return logits.float().masked_fill(shut, -torch.inf).log_softmax(-1)
