"""HNLMRec (Zhao et al., arXiv 2504.04726): hard negatives made of a pair by a language model, mixed into random ones.

    h     = A(v_ui)                 A: MLP adapter from the vector of the pair to the embeddings
    m     = a h + (1 - a) r         a = alpha where the pair has a vector that passed the filter, else 0
    L     = mean softplus(<u,m> - <u,p>), or mean max(0, <u,m> - <u,p> + margin)
            + lambda_cl * mean over those pairs of softplus((cos(u,h) - cos(u,p)) / t)
            + the backbone's norm + L_align
    L_align = mean over 256 items j, drawn in every step, of 1 - cos(A(w_j), z_j);  w_j: document of item j

u, p and r are rows of a backbone for user, positive and random negative.  Whose gradient reaches A is --hn_adapter:

    aligned   L_align's alone; h has the norm of r                       (ours)
    joint     the ranking's and the contrastive loss's                   (as the paper draws it; it collapses)
    frozen    none                                                       (as released)

The paper's method section was not at hand, and what its released code does is --hn_official: docs/hnlmrec.md.
P positives of a batch, D width of the vectors, d embedding dimensions, I items.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.functional import cosine_similarity as cosine

from baselines.lightgcn import MF, LightGCN
from training.recommender import Recommender

BACKBONES = {"LightGCN": LightGCN, "MF": MF}
ALIGNED_ITEMS = 256  # a step
NOTED_PAIRS = 4096  # for the note of an epoch
MARGIN = 0.3  # of the hinge, as released
TEMPERATURE = 0.2  # t of the contrastive loss, as released


class Adapter(nn.Sequential):
    """D -> D/2 -> D/4 -> d, ReLU between.  Xavier uniform weights, as released; biases 0."""

    def __init__(self, width, d, last_relu):
        wide, narrow = max(1, width // 2), max(1, width // 4)
        layers = [nn.Linear(width, wide), nn.ReLU(), nn.Linear(wide, narrow), nn.ReLU(), nn.Linear(narrow, d)]
        for layer in layers[::2]:
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        super().__init__(*layers, *([nn.ReLU()] if last_relu else []))


def mixed(h, r, keep, alpha):
    """m, (P, d).  h, r: (P, d).  keep: (P,) bool, False where there is no vector to mix in."""
    share = alpha * keep[:, None]  # (P, 1)
    return share * h + (1 - share) * r


def hinge(u, p, m):
    """mean max(0, <u,m> - <u,p> + margin) over rows (P, d)"""
    return F.relu((u * m).sum(1) - (u * p).sum(1) + MARGIN).mean()


def contrastive(u, p, h, keep):
    """mean over the kept rows of softplus((cos(u,h) - cos(u,p)) / t): one negative a pair, none from the batch."""
    each = F.softplus((cosine(u, h) - cosine(u, p)) / TEMPERATURE)  # (P,)
    return (keep * each).sum() / keep.sum().clamp(min=1)


def released_norm(u0, i0, m):
    """|U|_F / B + |I|_F / B + |m|_F / B, over B once more: not squared, so that it hardly counts.

    u0, i0: (B, d) unpropagated rows of users and positives.
    """
    return (u0.norm() + i0.norm() + m.norm()) / len(u0) ** 2


class HNLMRec(Recommender):
    def __init__(self, data, settings, generator=None):
        super().__init__(data, settings, generator)
        self.backbone = BACKBONES[settings.backbone](data, settings, generator)
        self.adapter = None
        if settings.wants_vectors:
            self.adapter = Adapter(data.hard.width, settings.embedding_dim, settings.hn_official)
            self.adapter.requires_grad_(settings.hn_adapter != "frozen")

    def terms(self):
        o = self.settings
        loss = "BPR" if o.rank_loss == "bpr" else f"hinge of margin {MARGIN:g}"
        terms = [f"{o.backbone} with {loss}", *self.backbone.terms()[1:]]
        if self.adapter is None:
            return terms
        terms += [f"{o.hn_alpha:g} of the negative is {o.hard} vectors", f"{o.hn_lambda:g} contrastive loss"]
        return [*terms, f"{o.hn_adapter} adapter"]

    def parameter_groups(self):
        return [{"params": [weight for weight in self.parameters() if weight.requires_grad]}]

    def embeddings(self):
        return self.backbone.embeddings()

    def fold_in(self, users, items, ratings, n_users):
        return self.backbone.fold_in(users, items, ratings, n_users)

    def epoch_state(self):
        return self.backbone.epoch_state()

    def load_epoch_state(self, state):
        self.backbone.load_epoch_state(state)

    def start_epoch(self, epoch):
        """Draw the epoch's negatives; a note on the vectors as they are now."""
        self.backbone.start_epoch(epoch)
        if self.adapter is None:
            return None
        return self.note()

    def loss(self, batch):
        rows = self.backbone.rows(batch)
        if self.adapter is None:
            return self.ranking_loss(rows, rows.negatives) + self.regulariser(batch, rows, rows.negatives)
        h = self.hard_rows(batch.positive_numbers, rows.negatives)  # (P, d)
        keep = self.kept()[batch.positive_numbers]  # (P,)
        m = mixed(h, rows.negatives, keep, self.settings.hn_alpha)  # (P, d)
        loss = self.ranking_loss(rows, m) + self.regulariser(batch, rows, m)
        if self.settings.hn_lambda:
            loss = loss + self.settings.hn_lambda * contrastive(rows.users, rows.positives, h, keep)
        if self.settings.hn_adapter == "aligned":
            items = torch.randint(len(rows.z_items), (ALIGNED_ITEMS,), device=h.device)  # torch's generator, not ours
            loss = loss + self.misalignment(items, rows.z_items.detach()[items])
        return loss

    def kept(self):
        """(E,) whether the vector of a positive is used."""
        return self.data.hard.has_vector if self.settings.hn_unfiltered else self.data.hard.kept

    def hard_rows(self, edges, r):
        """h of these positives, (P, d).  r: (P, d) their random negatives, whose norm an aligned h has."""
        vectors = self.data.hard.fetch(edges)  # (P, D)
        if self.settings.hn_adapter != "aligned":
            return self.adapter(vectors)
        with torch.no_grad():  # else the loss would fall as well by an adapter that makes the negative easy
            h = self.adapter(vectors)
        return h * (r.norm(dim=1, keepdim=True) / h.norm(dim=1, keepdim=True).clamp(min=1e-8))

    def ranking_loss(self, rows, m):
        if self.settings.rank_loss == "hinge":
            return hinge(rows.users, rows.positives, m)
        return self.backbone.pairwise_loss(rows.users, rows.positives, m)

    def regulariser(self, batch, rows, m):
        if not self.settings.hn_official:
            return self.backbone.regulariser(batch, rows)
        table = self.backbone.table
        u0, i0 = table[batch.users], table[self.data.n_users + batch.items]
        return self.settings.lambda_reg * released_norm(u0, i0, m)

    def misalignment(self, items, z):
        """L_align of these items.  z: (n, d) their embeddings."""
        width = self.data.hard.width
        documents = self.data.hard.documents[items].float() * width**0.5  # (n, D), of the scale of fetched vectors
        return (1 - cosine(self.adapter(documents), z)).mean()

    @torch.no_grad()
    def note(self):
        """How hard the vectors are, over at most 4,096 positives that the seed decides.

        A collapse shows here: <u,h> far below <u,p>, or an h many times as long as r.
        """
        generator = torch.Generator(self.data.device).manual_seed(self.settings.random_seed)
        users, items = self.backbone.positives  # (E,)
        edges = torch.randperm(len(users), device=users.device, generator=generator)[:NOTED_PAIRS]
        negatives = self.backbone.draw_unrated(users[edges], items[edges], 1, generator)[:, 0]
        z_users, z_items = self.embeddings()
        u, p, r = z_users[users[edges]], z_items[items[edges]], z_items[negatives]  # (n, d)
        h, keep = self.hard_rows(edges, r), self.kept()[edges]
        lead = (u * h).sum(1) - (u * p).sum(1)  # (n,)
        figures = [lead, lead > 0, cosine(h, p), cosine(h, r), h.norm(dim=1) / r.norm(dim=1).clamp(min=1e-8)]
        means = [(keep * figure).sum() / keep.sum().clamp(min=1) for figure in figures]
        means.append(keep.float().mean())
        if self.settings.hn_adapter == "aligned":
            first = torch.arange(min(len(z_items), NOTED_PAIRS), device=z_items.device)
            means.append(self.misalignment(first, z_items[first]))
        lead, above, to_p, to_r, length, kept, *alignment = torch.stack(means).tolist()
        line = f"Hard negatives: <u,h> - <u,p> {lead:.3f} (above 0: {above:.1%}), cos(h,p) {to_p:.3f}, "
        line += f"cos(h,r) {to_r:.3f}, |h|/|r| {length:.2f}, kept {kept:.1%}"
        return line + "".join(f", alignment loss {loss:.4f}" for loss in alignment)
