"""What an evaluation with held-out dislikes costs, beside one of likes alone.

    python benchmarks/dislikes.py                      ML-100K's and ML-1M's shape
    python benchmarks/dislikes.py --shapes ML-1M --rounds 9
"""

import harness
import numpy as np
import torch

from dataloader import HeldOutDislikes
from training import evaluation

TOP_K = [5, 10, 15, 20]


def measure(shape, rounds, device):
    data = harness.ratings_of(shape, device)
    random = np.random.RandomState(1)
    pairs = random.choice(data.n_users * data.n_items, len(data.users) // 8, replace=False)
    likes, dislikes = np.split(pairs, [len(pairs) * 2 // 3])  # about as in MovieLens
    likes = data.by_user(likes // data.n_items, likes % data.n_items)
    rows = data.by_user(dislikes // data.n_items, dislikes % data.n_items)
    held_out = HeldOutDislikes(rows, np.zeros(data.n_users, int))
    sizes = (data.n_users, 64), (data.n_items, 64)
    embeddings = [torch.randn(size, device=device) for size in sizes]

    def evaluate(dislikes):
        return evaluation.evaluate(embeddings, data, likes, TOP_K, 1024, dislikes)

    forms = {"likes": lambda _: evaluate(None), "likes and dislikes": lambda _: evaluate(held_out)}
    harness.print_shape(shape)
    harness.print_table(harness.compare(forms, range(rounds + 1), device))


def main():
    parser = harness.parser_for(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    device = harness.start(options)
    for shape in options.shapes:
        measure(shape, options.rounds, device)


if __name__ == "__main__":
    main()
