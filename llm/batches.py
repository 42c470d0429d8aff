"""Rows of tokens as batches for a causal model."""

import torch


def batches(rows, shape, budget, beside=lambda first, row: True):
    """Cut rows into lists whose sequences, padded to the longest, stay within budget() tokens.

    shape(row): (number of sequences, tokens in each).  The budget may shrink meanwhile.  A row
    beyond it is alone.  beside(first, row): whether a row may be in the list that `first` begins.
    """
    batch, sequences, tokens_in_each = [], 0, 0
    for row in rows:
        number, tokens = shape(row)
        size_with_row = (sequences + number) * max(tokens_in_each, tokens)  # padding counts as well
        # the budget is looked up each time, since it shrinks where memory does not suffice
        if batch and (size_with_row > budget() or not beside(batch[0], row)):
            yield batch
            batch, sequences, tokens_in_each = [], 0, 0
        batch.append(row)
        sequences += number
        tokens_in_each = max(tokens_in_each, tokens)
    if batch:
        yield batch


def longest(rows):
    return max(len(row) for row in rows)


def padded(rows, pad, device, left=True):
    """Lists of token ids -> ids and attention mask, (rows, longest).  left: where the padding is."""
    width = longest(rows)
    ids = torch.full((len(rows), width), pad)
    mask = torch.zeros(len(rows), width, dtype=torch.long)  # 1 where a token is, 0 for padding
    for row, tokens in enumerate(rows):
        first = width - len(tokens) if left else 0
        columns = slice(first, first + len(tokens))
        ids[row, columns] = torch.tensor(tokens)
        mask[row, columns] = 1
    return ids.to(device), mask.to(device)


def places(mask):
    """Position of each token in its own row, 0 for padding: (rows, tokens)."""
    return (mask.cumsum(1) - 1).clamp(min=0)
