"""Ranking, its metrics, and early stopping on one of them."""

import numpy as np
import torch

from machine import processes
from machine.hardware import upload


@torch.no_grad()
def score_blocks(z_users, z_items, seen, users, block):
    """Scores z_u . z_i of all items, -inf for the user's train items.

    z_users (U, d), z_items (I, d); seen: dataloader.Rows; users: numpy array of user numbers; block: users scored at
    once, which bounds the memory at block x I floats.  Yields (users of the block, scores (b, I)).
    """
    for first in range(0, len(users), block):
        chunk = users[first : first + block]
        (numbers,) = upload([chunk], z_users.device)  # (b,)
        scores = processes.total(z_users[numbers] @ z_items.t())  # (b, I)
        scores.view(-1).index_fill_(0, seen.flat_entries(chunk), -torch.inf)
        yield chunk, scores


def rank(z_users, z_items, seen, users, k, block):
    """Top-k items of each user, the user's train items left out.

    Arguments: as of score_blocks.  Yields (users of the block, items (b, k), scores (b, k)), best first; a user with
    fewer than k items left has train items of score -inf at the end.
    """
    for chunk, scores in score_blocks(z_users, z_items, seen, users, block):
        top = scores.topk(k, dim=1)
        yield chunk, top.indices, top.values


def evaluate(embeddings, data, relevant, top_k, block, dislikes=None):
    """Precision, Recall and NDCG at every k of top_k, and what dislikes a list shows.

    relevant: dataloader.Rows, data.validation or data.test.  P@k = hits/k, R@k = hits/|relevant|, NDCG@k with binary
    gains over the ideal list cut at k.  Returns {"recall@20": (users,) float64 array, ...} of the users with at least
    one relevant row; the printed figures are means of these, the per-user values serve paired tests.

    dislikes: dataloader.HeldOutDislikes of the same part, None in the published protocol.  Then the arrays are of all
    users, NaN where a metric says nothing of the user, and there are those of dislike_metrics beside them.
    """
    users = np.flatnonzero(np.diff(relevant.start)) if dislikes is None else np.arange(data.n_users)
    hits, shown, above = [], [], []
    for chunk, scores in score_blocks(*embeddings, data.seen, users, block):
        items = scores.topk(max(top_k), dim=1).indices  # (b, K)
        hits.append(are_among(relevant, chunk, items, data.n_items))
        if dislikes:
            shown.append(are_among(dislikes.rows, chunk, items, data.n_items))
            above.append(likes_above_dislikes(scores, chunk, relevant, dislikes))
    hits = torch.cat(hits).cpu().numpy()  # (users, K)
    if dislikes is None:
        return ranking_metrics(hits, relevant.count(users), top_k)
    shown = torch.cat(shown).cpu().numpy()  # (users, K)
    n_relevant = relevant.count(users)
    metrics = {}
    for name, values in ranking_metrics(hits, np.maximum(n_relevant, 1), top_k).items():
        metrics[name] = np.where(n_relevant > 0, values, np.nan)
    n_disliked = dislikes.rows.count(users) + dislikes.unranked
    return metrics | dislike_metrics(hits, shown, n_disliked, top_k) | {"like_auc": np.concatenate(above)}


def are_among(rows, users, items, n_items):
    """Which of the ranked items are among a user's entries: (b, K) bool.  rows: dataloader.Rows; items: (b, K)."""
    entry = torch.zeros(len(users), n_items, dtype=torch.bool, device=items.device)
    entry.view(-1).index_fill_(0, rows.flat_entries(users), True)
    return entry.gather(1, items)


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


def dislike_metrics(hits, shown, n_disliked, top_k):
    """What a list shows of both kinds: {"likes@20", "dislikes@20": (users,) counts, "dislike_recall@20"}.

    hits, shown: (users, K) bool by rank, held-out likes and dislikes.  n_disliked: (users,) held-out dislikes, also
    those that no list can show; where there are none, dislike_recall is NaN.
    """
    metrics = {}
    for k in top_k:
        metrics[f"likes@{k}"] = hits[:, :k].sum(1).astype(float)
        metrics[f"dislikes@{k}"] = shown[:, :k].sum(1).astype(float)
        share = metrics[f"dislikes@{k}"] / np.maximum(n_disliked, 1)
        metrics[f"dislike_recall@{k}"] = np.where(n_disliked > 0, share, np.nan)
    return metrics


def likes_above_dislikes(scores, users, likes, dislikes):
    """The share of a user's pairs of a held-out like and a held-out dislike in which the like has the higher score, a
    tie counting one half: (b,) float64, NaN for a user without such a pair.

    scores: (b, I).  likes: dataloader.Rows.  dislikes: dataloader.HeldOutDislikes, of which those that cannot be ranked
    lie below every like.
    """
    of_likes, of_dislikes = likes.entries(users), dislikes.rows.entries(users)
    score = torch.cat((scores[of_likes], scores[of_dislikes])).cpu().numpy()  # (entries,)
    user = torch.cat((of_likes[0], of_dislikes[0])).cpu().numpy()
    liked = np.arange(len(score)) < len(of_likes[0])

    # each entry's rank within its user from 1, the mean of their ranks where scores are equal
    order = np.lexsort((score, user))
    user, score, liked = user[order], score[order], liked[order]
    first_of_user = np.searchsorted(user, user)
    new = np.flatnonzero(np.r_[True, (user[1:] != user[:-1]) | (score[1:] != score[:-1])][: len(user)])
    length = np.diff(np.r_[new, len(user)])
    rank = np.repeat(new + (length + 1) / 2, length) - first_of_user

    n = len(users)
    n_liked = np.bincount(user[liked], minlength=n)
    n_ranked, n_disliked = np.bincount(user[~liked], minlength=n), dislikes.rows.count(users) + dislikes.unranked[users]
    wins = np.bincount(user[liked], rank[liked], minlength=n) - n_liked * (n_liked + 1) / 2
    wins += n_liked * (n_disliked - n_ranked)
    pairs = n_liked * n_disliked
    return np.where(pairs > 0, wins / np.maximum(pairs, 1), np.nan)


def means(per_user):
    """{metric: mean over the users that it says something of}, and how many dislikes a list shows for each like."""
    figures = {}
    for name, values in per_user.items():
        says = ~np.isnan(values)
        # nothing is said of anybody by a part without both kinds; a mean over all is taken as it always was
        figures[name] = float((values if says.all() else values[says]).mean()) if says.any() else float("nan")
    for name in [name for name in figures if name.startswith("dislikes@")]:
        k = name.removeprefix("dislikes@")
        likes = figures[f"likes@{k}"]
        figures[f"dislikes_per_like@{k}"] = figures[name] / likes if likes else float("nan")
    return figures


def beyond_accuracy(items, listed, n_positives):
    """What all lists together recommend, {"coverage@K", "gini@K", "popularity@K"}, whether anybody likes it or not.

    items: (U, K) item numbers by rank.  listed: (U, K) bool, False behind the end of a list shorter than K.
    n_positives: (I,) train positives of each item.

    coverage    the share of the I items that stand in at least one list
    gini        sum over j = 1..I of (2j - I - 1) p_j / (I - 1), where p_1 <= ... <= p_I are the items' shares of all
                recommendations: 0 where all items are recommended equally often, 1 where it is always the same one
                (Shani and Gunawardana 2011, Recommender Systems Handbook, ch. 8.3.2; Fleder and Hosanagar 2009)
    popularity  the average recommendation popularity: the mean over users of the mean n_positives of their list (Yin et
                al. 2012; users without any item left out)
    """
    n_items, k = len(n_positives), items.shape[1]
    count = np.bincount(items[listed], minlength=n_items)  # (I,)
    share = np.sort(count) / count.sum()
    gini = (2 * np.arange(1, n_items + 1) - n_items - 1) @ share / (n_items - 1)
    length = listed.sum(1)  # (U,)
    popularity = np.where(listed, n_positives[items], 0).sum(1)[length > 0] / length[length > 0]
    figures = {"coverage": (count > 0).mean(), "gini": gini, "popularity": popularity.mean()}
    return {f"{name}@{k}": float(figure) for name, figure in figures.items()}


def metric_names(top_k, dislikes=False):
    """The columns of means(), in the order of metrics.csv."""
    names = [f"{name}@{k}" for k in top_k for name in ("precision", "recall", "ndcg")]
    if dislikes:
        names += [f"{name}@{k}" for k in top_k for name in ("likes", "dislikes", "dislike_recall")]
        names += ["like_auc", *(f"dislikes_per_like@{k}" for k in top_k)]
    return names


def metric_lines(metrics, top_k):
    """The figures as the published logs print them, one line a k; those of dislikes below."""
    lines = [
        f"Precision@{k}:{' ' * (3 - len(str(k)))}{metrics[f'precision@{k}']:.4f}, "
        f"Recall@{k}:{' ' * (3 - len(str(k)))}{metrics[f'recall@{k}']:.4f}, "
        f"NDCG@{k}:{' ' * (3 - len(str(k)))}{metrics[f'ndcg@{k}']:.4f}"
        for k in top_k
    ]
    if "like_auc" not in metrics:
        return lines
    for k in top_k:
        lines.append(
            f"Shown@{k}:{' ' * (3 - len(str(k)))}{metrics[f'likes@{k}']:.3f} likes, {metrics[f'dislikes@{k}']:.3f} "
            f"dislikes ({metrics[f'dislike_recall@{k}']:.1%} of them), {metrics[f'dislikes_per_like@{k}']:.3f} a like"
        )
    return [*lines, f"A like is above a dislike in {metrics['like_auc']:.1%} of pairs"]


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
