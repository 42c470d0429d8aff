"""ReFINe (Jeong et al., WWW Companion 2025): LightGCN with re-weighted negative sampling.

The negative j of a positive (u, i) is drawn with weight w_uj:

    0          train positives of u
    gamma      confirmed negatives of u
    q          from epoch t on: the s items most similar to a train positive of u, where w is 1
    p          from epoch t on: the r items most similar to a confirmed negative of u, where w is still 1
    1          all others, neutral 2s and 3s too

Similarity is the dot product of propagated item embeddings, as they are at the start of the epoch.
"""

import torch

from baselines.lightgcn import LightGCN
from machine import processes
from training.sampling import BLOCK, draw_for_each, sampling_weights


class ReFINe(LightGCN):
    similar = None  # (I, max(r, s)) the items most similar to each, best first; None before epoch t

    def sampling(self):
        return "negatives by weight"

    def start_epoch(self, epoch):
        """From epoch t on, find each item's most similar ones; then draw the epoch's negatives."""
        if epoch >= self.settings.t:
            self.similar = self.most_similar()
        super().start_epoch(epoch)
        return "similar items weighted from now on" if epoch == self.settings.t else None

    @torch.no_grad()
    def most_similar(self):
        """(I, max(r, s)) the items most similar to each, best first, worked out in blocks that bound the memory."""
        wanted = min(max(self.settings.r, self.settings.s), self.data.n_items - 1)
        _, z_items = self.embeddings()
        block = max(1, BLOCK // len(z_items))
        similar = []
        for first in range(0, len(z_items), block):
            scores = processes.total(z_items[first : first + block] @ z_items.t())  # (block, I)
            scores.diagonal(first).fill_(-torch.inf)  # an item is not similar to itself
            similar.append(scores.topk(wanted, dim=1).indices)
        return torch.cat(similar)

    def make_sampler(self):
        """None: negatives are drawn by weight, see draw."""

    def draw(self):
        """One negative for each positive by weight, (E,)."""
        positives = self.data.edges("positive")
        pairs = positives.users, positives.items
        return draw_for_each(*pairs, self.data.n_items, self.negative_weights, self.generator)

    def negative_weights(self, users):
        """w of these users, (len(users), I)."""
        data, settings = self.data, self.settings
        weight = sampling_weights(data, users, data.positives, settings.real_neg_samp_prob)
        if self.similar is not None:
            self.weigh_similar(weight, data.positives.entries(users), settings.s, settings.q)
            self.weigh_similar(weight, data.confirmed_negatives.entries(users), settings.r, settings.p)
        return weight

    def weigh_similar(self, weight, entries, n, value):
        """Give the n items most similar to each entry's item the weight `value` in the entry's row, where it is 1."""
        row, item = entries
        near = self.similar[item, :n]  # (entries, n)
        row = row[:, None].expand_as(near)
        present = weight[row, near]
        weight[row, near] = present.masked_fill(present == 1, value)
