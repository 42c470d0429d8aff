"""Ranking, its metrics, and early stopping on one of them."""

import numpy as np
import torch

from machine import processes
from machine.hardware import upload


@torch.no_grad()
def rank(z_users, z_items, seen, users, k, block):
    """Top-k items of each user by z_u . z_i, the user's train items left out.

    z_users (U, d), z_items (I, d); seen: dataloader.Rows; users: numpy array of user numbers; block: users
    scored at once, which bounds the memory at block x I floats.  Yields (users of the block, items (b, k),
    scores (b, k)), best first; a user with fewer than k items left has train items of score -inf at the end.
    """
    for first in range(0, len(users), block):
        chunk = users[first : first + block]
        (numbers,) = upload([chunk], z_users.device)  # (b,)
        scores = processes.total(z_users[numbers] @ z_items.t())  # (b, I)
        scores.view(-1).index_fill_(0, seen.flat_entries(chunk), -torch.inf)
        top = scores.topk(k, dim=1)
        yield chunk, top.indices, top.values


def evaluate(embeddings, data, relevant, top_k, block):
    """Precision, Recall and NDCG at every k of top_k, for every user with at least one relevant row.

    relevant: dataloader.Rows, data.validation or data.test.  P@k = hits/k, R@k = hits/|relevant|, NDCG@k
    with binary gains over the ideal list cut at k.  Returns {"recall@20": (users,) float64 array, ...};
    the printed figures are means of these, the per-user values serve paired tests.
    """
    users = np.flatnonzero(np.diff(relevant.start))
    hits = []
    for chunk, items, _ in rank(*embeddings, data.seen, users, max(top_k), block):
        is_relevant = torch.zeros(len(chunk), data.n_items, dtype=torch.bool, device=items.device)
        is_relevant.view(-1).index_fill_(0, relevant.flat_entries(chunk), True)
        hits.append(is_relevant.gather(1, items))
    hits = torch.cat(hits).cpu().numpy()  # (users, max k)
    return ranking_metrics(hits, relevant.count(users), top_k)


def ranking_metrics(hits, n_relevant, top_k):
    """hits: (users, K) bool by rank; n_relevant: (users,) ints >= 1.  Returns {"precision@5": (users,), ...}."""
    discount = 1 / np.log2(np.arange(2, hits.shape[1] + 2))  # (K,)
    ideal = np.concatenate(([0.0], discount.cumsum()))  # best DCG of a list with n relevant items
    metrics = {}
    for k in top_k:
        found = hits[:, :k].sum(1)
        metrics[f"precision@{k}"] = found / k
        metrics[f"recall@{k}"] = found / n_relevant
        metrics[f"ndcg@{k}"] = hits[:, :k] @ discount[:k] / ideal[np.minimum(n_relevant, k)]
    return metrics


def means(per_user):
    return {name: float(values.mean()) for name, values in per_user.items()}


def metric_names(top_k):
    return [f"{name}@{k}" for k in top_k for name in ("precision", "recall", "ndcg")]


def metric_lines(metrics, top_k):
    """The figures as the published logs print them, one line a k."""
    return [
        f"Precision@{k}:{' ' * (3 - len(str(k)))}{metrics[f'precision@{k}']:.4f}, "
        f"Recall@{k}:{' ' * (3 - len(str(k)))}{metrics[f'recall@{k}']:.4f}, "
        f"NDCG@{k}:{' ' * (3 - len(str(k)))}{metrics[f'ndcg@{k}']:.4f}"
        for k in top_k
    ]


class EarlyStopping:
    """Keeps the weights of the best validation score; a tie counts as an improvement.

    Training is over once `patience` evaluations in a row have not improved.
    """

    def __init__(self, patience):
        self.patience = patience
        self.best_score, self.best_epoch, self.best_state, self.counter = -np.inf, 0, None, 0

    def update(self, score, epoch, state):
        """Returns True on an improvement.  state: a state_dict, copied."""
        if score < self.best_score or np.isnan(score):
            self.counter += 1
            return False
        self.best_score, self.best_epoch, self.counter = float(score), epoch, 0
        self.best_state = {name: tensor.detach().clone() for name, tensor in state.items()}
        return True

    @property
    def over(self):
        return self.counter >= self.patience
