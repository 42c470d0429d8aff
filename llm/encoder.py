"""An encoder: texts -> unit vectors."""

import numpy as np
import torch
from tqdm import tqdm

from llm.weights import load
from utils import InputError

BATCH_SIZE = 64  # item texts encoded at once


@torch.no_grad()
def encode_texts(texts, weights, device, flag="--llm"):
    """Texts -> unit vectors (n, d), float32.  flag: to name in messages.

    A vector is the mean of the encoder's token vectors over the text, less the mean over all items, normalised.
    Both that and genres in the text pay: the AUC on ML-100K is .51 without, .54 and .57 with either, .60 with both.
    """
    tokenizer, encoder = load("AutoModel", weights, "float32", device, flag)
    if tokenizer.pad_token is None or encoder.config.is_encoder_decoder:
        raise InputError(f"{flag} {weights}: is not an encoder model (no padding token, or a decoder)")
    # batches of like length need little padding; items without a title have no text
    lengths = np.array([len(text) for text in texts])
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] > 0]
    vectors = np.zeros((len(texts), encoder.config.hidden_size), np.float32)
    firsts = range(0, len(order), BATCH_SIZE)
    for first in tqdm(firsts, unit="batch", desc="encoding items", disable=None):
        chunk = order[first : first + BATCH_SIZE]
        batch = [texts[item] for item in chunk]
        tokens = tokenizer(batch, padding=True, truncation=True, max_length=256, return_tensors="pt")
        tokens = tokens.to(device)
        states = encoder(**tokens).last_hidden_state  # (b, tokens, d)
        mask = tokens["attention_mask"].unsqueeze(-1)  # (b, tokens, 1)
        means = (states * mask).sum(1) / mask.sum(1)  # (b, d)
        vectors[chunk] = means.cpu().numpy()
    vectors -= vectors[lengths > 0].mean(0)  # what all items share
    return unit_rows(vectors)


def unit_rows(vectors):
    """(n, D) of unit norm; a zero row stays one."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
