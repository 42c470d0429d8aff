"""Rows of tokens as batches for a causal model."""

import torch


def batches(rows, shape, budget):
    """Cut rows into lists whose sequences, padded to the longest, stay within budget() tokens, which may shrink
    meanwhile.  shape(row): (number of sequences, tokens in each).  A row beyond the budget is alone."""
    batch, sequences, longest = [], 0, 0
    for row in rows:
        number, tokens = shape(row)
        if batch and (sequences + number) * max(longest, tokens) > budget():
            yield batch
            batch, sequences, longest = [], 0, 0
        batch.append(row)
        sequences, longest = sequences + number, max(longest, tokens)
    if batch:
        yield batch


def padded(rows, pad, device, left=True):
    """Lists of token ids -> ids and attention mask, (rows, longest).  left: every row ends in the last column."""
    width = max(map(len, rows))
    ids = torch.full((len(rows), width), pad)
    mask = torch.zeros(len(rows), width, dtype=torch.long)
    for row, tokens in enumerate(rows):
        own = slice(width - len(tokens), width) if left else slice(len(tokens))
        ids[row, own] = torch.tensor(tokens)
        mask[row, own] = 1
    return ids.to(device), mask.to(device)


def places(mask):
    """Position of each token in its own row, 0 for padding: (rows, tokens)."""
    return (mask.cumsum(1) - 1).clamp(min=0)
