"""Three blocks of ten users and twelve items whose answer is known (tests/test_laws.py says what it is)."""

import hard_negatives
import numpy as np
from synthetic import train_data

BLOCKS, OWN_USERS, OWN_ITEMS = 3, 10, 12
USERS, ITEMS = BLOCKS * OWN_USERS, BLOCKS * OWN_ITEMS


def withheld(user):
    return user // OWN_USERS * OWN_ITEMS + user % OWN_USERS


def block_data():
    """Also a random vector for every positive, of which only HNLMRec knows."""
    rows, validation = [], []
    for user in range(USERS):
        block = user // OWN_USERS
        for item in range(block * OWN_ITEMS, (block + 1) * OWN_ITEMS):
            (validation if item == withheld(user) else rows).append((user, item, 5 - (user + item) % 2))
        for other in {0, 1, 2} - {block}:
            for n, rating in enumerate((1, 1, 3)):
                rows.append((user, other * OWN_ITEMS + (user + 4 * n) % OWN_ITEMS, rating))
    users, items, rating = np.array(rows).T
    held = tuple(np.array(validation).T[:2])
    data = train_data(USERS, ITEMS, users, items, rating.astype(float), held, held)
    data.hard = hard_negatives.in_memory(data)
    return data
