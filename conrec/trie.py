"""The catalog's semantic IDs as a tree, and IDs as tokens.

Nodes are numbered breadth first, in order of their codes: 0 is the root, a node's children have consecutive numbers.
Knows integers only.
"""

import numpy as np
import torch

LEVELS = 3


class Trie:
    """Tables of the tree; where it is (device) the tensors that are asked about must be."""

    def __init__(self, codes, K, device="cpu"):
        """codes: (I, 3) int64 array, rows distinct, entries below K.  Raises ValueError for other codes."""
        raise NotImplementedError

    def allowed(self, nodes):
        """(...) nodes -> (..., K) bool: the codes of a node's children; of a leaf none."""
        raise NotImplementedError

    def child(self, nodes, codes):
        """(...) nodes and codes -> (...) the child's number, -1 where there is none."""
        raise NotImplementedError

    def log_softmax(self, logits, nodes):
        """(..., K) logits of a level -> (..., K) float32 log-probabilities among a node's children, -inf elsewhere."""
        raise NotImplementedError


def id_tokens(codes, first, K):
    """(n, 3) codes -> (n, 3) token numbers, where the token of (level, code) is first + level * K + code."""
    raise NotImplementedError


def codes_of(tokens, first, K):
    """The way back: (n, 3) token numbers -> (n, 3) codes."""
    raise NotImplementedError


del np, torch
