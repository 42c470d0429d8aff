"""Group-relative policy optimisation within the catalog (DeepSeekMath, arXiv 2402.03300; section 6 of CoNRec).

    A_i = (r_i - mean r) / (std r + 1e-4)
    J   = mean over prompts, i, t of  min(rho A_i, clip(rho, .8, 1.2) A_i)  -  beta * mean of k3
    k3  = exp(l) - l - 1,   l = log pi_ref(y_t) - log pi(y_t)

B prompts, G items sampled for each, 3 tokens an item.
"""

from typing import NamedTuple

import torch

CLIP = 0.2


class Rollout(NamedTuple):
    items: torch.Tensor  # (B, G) int64, sampled with replacement at temperature 1
    logprobs: torch.Tensor  # (B, G, 3) float32 of the sampled tokens, without gradient
    entropy: torch.Tensor  # (B, G, 3) float32, nats, of the choice that was made at each token


def rollout(backbone, trie, prompts, G, generator):
    """Rollout of G items for each prompt.  generator: torch.Generator on the CPU."""
    raise NotImplementedError


def advantages(rewards):
    """(B, G) rewards -> ((B, G) advantages, (B,) bool whether a group's rewards are all the same: those get 0)."""
    raise NotImplementedError


def k3(logprobs, reference):
    """Schulman's estimate of KL(pi || pi_ref) for each sampled token, never negative; same shape."""
    raise NotImplementedError


def loss(logprobs, reference, advantages, beta):
    """(-J, mean k3) as scalars.  logprobs, reference (B, G, T), advantages (B, G); the gradient is logprobs' alone.

    A step: rollout; rewards; with backbone.reference(): reference = backbone.branch(...); logprobs = backbone.branch
    (prompts, items, trie); loss(...)[0].backward().  For micro-batches weight each by its share of the prompts.
    """
    raise NotImplementedError
