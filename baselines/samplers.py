"""Which negative stands against a positive (u, i), chosen without a language model: --sampler.

    uniform      one unrated item, drawn at the start of the epoch                                    (RNS)
    popularity   unrated, in proportion to (train positives)^0.75                                     (PNS)
    dns          uniform among the N candidates with the highest score: DNS(M, N)
                 (Zhang et al., SIGIR 2013; Shi et al., WWW 2023)
    mixgcf       mean over hops k of a p_k + (1 - a) n_k, of the candidates the one nearest to u, a ~ U(0, 1)
                 (Huang et al., MixGCF, KDD 2021)
    ahns         of the candidates the one whose score is nearest to b (max(s_ui + a, 1e-4))^(p + 1)
                 (Lai et al., Adaptive Hardness Negative Sampling, AAAI 2024)

The candidates are M items that u has not rated, uniform and with replacement.  P positives of a batch.
"""

import torch

from training.sampling import scores_of, scores_of_pairs

BY_SCORE = {"dns", "mixgcf", "ahns"}  # they choose among candidates in every step
WORDS = {
    "uniform": "uniform unrated negatives", "popularity": "unrated negatives by popularity^0.75",
    "dns": "uniform among the {sampler_top} hardest of {sampler_candidates} unrated negatives",
    "mixgcf": "negatives mixed by hop from {sampler_candidates}",
    "ahns": "of {sampler_candidates} unrated negatives the one of adaptive hardness",
}


def describe(settings):
    """How negatives are drawn, in words."""
    return WORDS[settings.sampler].format_map(vars(settings))


def item_weights(data, name):
    """(I,) float64: in proportion to what unrated items are drawn, as they are or as candidates."""
    if name == "popularity":
        positives = data.items[data.positive]
        return torch.bincount(positives, minlength=data.n_items).double() ** 0.75
    return torch.ones(data.n_items, dtype=torch.float64, device=data.device)


@torch.no_grad()
def choose(settings, z_u, z_i, z_items, candidates, generator):
    """dns and ahns: one of each row of candidates (P, M), (P,) items.

    z_u, z_i: (P, d) rows of users and positives.  z_items: (I, d).
    """
    scores = scores_of(z_u, z_items, candidates)  # (P, M)
    if settings.sampler == "dns":
        place = among_highest(scores, settings.sampler_top, generator)
    else:
        place = of_adaptive_hardness(scores_of_pairs(z_u, z_i), scores, *settings.ahns)
    return candidates.gather(1, place[:, None])[:, 0]


def among_highest(scores, top, generator):
    """(P,) uniform among the `top` places of each row of scores (P, M) with the highest ones."""
    highest = scores.topk(top, dim=1).indices  # (P, top)
    drawn = torch.randint(top, (len(scores), 1), device=scores.device, generator=generator)
    return highest.gather(1, drawn)[:, 0]


def of_adaptive_hardness(positive, scores, a, b, p):
    """(P,) place of the score nearest to a target that falls as the positive's rises.

    positive: (P,) scores.  scores: (P, M).
    """
    target = b * (positive + a).clamp(min=1e-4) ** (p + 1)  # (P,)
    return (scores - target[:, None]).abs().argmin(1)


def mix_hops(users, positives, items, candidates, generator):
    """MixGCF: (P, d) negatives and (P,) the items chosen at hop 0.

    users: (P, d) rows of users.  positives: (K + 1, P, d) the positives at each hop.  items: (K + 1, I, d) all items
    at each hop.  candidates: (P, M).  All candidates of a positive share a hop's a, so it has no say in the choice.
    """
    shape = len(items), len(candidates), 1
    a = torch.rand(shape, device=users.device, dtype=users.dtype, generator=generator)  # (K + 1, P, 1)
    mixed, first = 0, None
    for share, positive, hop in zip(a, positives, items, strict=True):
        with torch.no_grad():
            place = scores_of(users, hop, candidates).argmax(1)  # (P,)
        chosen = candidates.gather(1, place[:, None])[:, 0]
        first = chosen if first is None else first
        mixed = mixed + share * positive + (1 - share) * hop[chosen]
    return mixed / len(items), first
