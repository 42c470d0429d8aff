"""Known, all that the hard negatives are made of, from a few ratings by hand."""

import numpy as np
import pandas as pd
import synthetic

from negatives.profiles import Known


def table(rows):
    """titles.item_table of {item number: (title, year, genre)}"""
    rows = {str(item): row for item, row in rows.items()}
    return pd.DataFrame.from_dict(rows, "index", str, ["title", "year", "genre"])


def known_of(ratings, n_items, rows=None, n_users=None):
    """Known of {user: {item: stars}}.  rows: see table."""
    users, items, stars = np.array([(u, i, r) for u, of in ratings.items() for i, r in of.items()]).T
    data = synthetic.train_data(n_users or max(ratings) + 1, n_items, users, items, stars.astype(float))
    return Known(data, table(rows or {item: (f"Film {item}", "1990", "Drama") for item in range(n_items)}))
