"""Group-relative policy optimisation (Shao et al., DeepSeekMath, arXiv 2402.03300) within the catalog.

    A_i = (r_i - mean r) / (std r + 1e-4)
    J   = mean over prompts, i, t of  rho A_i  -  beta * mean of k3
    k3  = exp(l) - l - 1,   l = log pi_ref(y_t) - log pi(y_t)

There is one update a rollout, so that rho = pi / pi without gradient is 1, and never clipped.

B prompts, G items sampled for each, 3 tokens an item.  The trie is part of the policy: all probabilities are those
among the children of a node that lead to an item the user has not rated, so nothing else is sampled.
"""

import torch

from conrec.data.trie import LEVELS
from conrec.decoder.shared_prefix import Reading

EPSILON = 1e-4  # beside a group's standard deviation
SAME = 1e-6  # a standard deviation below this: all rewards of the group are the same


@torch.no_grad()
def rollout(backbone, trie, prompts, draws, closed=None):
    """(items, entropy): G items for each prompt, sampled with replacement at temperature 1, (B, G)
    int64; of the choice that was made at each token, in nats, (B, G, 3) float32.

    draws: (B, G, 3) float64 uniform in [0, 1): a token is the first whose running sum of probabilities passes its draw,
    so that the samples depend on neither the batch nor the number of processes.  closed: of Trie.closed.
    """
    draws = torch.as_tensor(draws)
    reading = Reading(backbone, prompts, closed)
    nodes = torch.zeros(draws.shape[:2], dtype=torch.long, device=trie.device)
    columns = torch.arange(draws.shape[1], device=trie.device).expand_as(nodes)
    logprobs = reading.start(trie).expand(-1, draws.shape[1], -1)  # (B, G, K)
    entropy = []
    for level in range(LEVELS):
        codes = sample_codes(logprobs, draws[..., level])
        entropy.append(torch.special.entr(logprobs.exp()).sum(2))
        nodes = trie.child(nodes, codes)
        if level < LEVELS - 1:
            logprobs = reading.extend(trie, codes, nodes, columns)
    items = torch.from_numpy(trie.item).to(trie.device)[nodes]
    return items, torch.stack(entropy, 2)


def sample_codes(logprobs, draws):
    """(..., K) log-probabilities, (...) draws in [0, 1) -> (...) the first code whose running sum passes the draw.

    On the CPU: the same sums everywhere, and CUDA has no deterministic cumsum.
    """
    chances, draws = logprobs.double().exp().cpu(), draws.cpu()
    sums = chances.cumsum(-1)
    passed = sums > draws.unsqueeze(-1) * sums[..., -1:]  # the last sum always does: a draw is below 1
    return passed.int().argmax(-1).to(logprobs.device)


def advantages(rewards):
    """(B, G) rewards -> ((B, G) advantages, (B,) bool whether a group's rewards are all the same: those get 0)."""
    centred = rewards - rewards.mean(1, keepdim=True)
    std = rewards.std(1, correction=0, keepdim=True)
    same = std < SAME
    return (centred / (std + EPSILON)).masked_fill(same, 0), same.squeeze(1)


def k3(logprobs, reference):
    """Schulman's estimate of KL(pi || pi_ref) for each sampled token, never negative; same shape."""
    difference = reference - logprobs
    return difference.exp() - difference - 1


def loss(logprobs, reference, advantages, beta):
    """(-J, mean k3) as scalars, of which the gradient is logprobs' alone.

    logprobs, reference: (B, G, T), of the sampled tokens.  advantages: (B, G).
    """
    rho = (logprobs - logprobs.detach()).exp()  # (B, G, T)
    divergence = k3(logprobs, reference.detach()).mean()
    return beta * divergence - (rho * advantages.unsqueeze(2)).mean(), divergence
