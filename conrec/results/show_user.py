"""What a finished run of CoNRec predicts that a user will dislike:  python main.py --recommend USER --run PATH"""

import numpy as np
import pandas as pd

from conrec.data.events import read_of_run
from conrec.data.instances import history
from recommend import SHOWN, line
from runs.run_folder import read_config
from utils import InputError


def recommend(options):
    """The command.  Raises InputError for an unknown user, or without predictions."""
    if options.recommend is None or options.out:
        how = "--recommend USER alone looks at it"
        raise InputError(f"{options.run}: is a run of CoNRec, which predicts dislikes; {how}")
    path, user = options.run / "predictions.csv", options.recommend
    if not path.exists():
        raise InputError(f"{options.run}: has no predictions.csv; only a run of --conrec_system conrec leaves it")
    events, raw = read_of_run(read_config(options.run)["settings"], options.data_dir)
    number = np.flatnonzero(events.user_ids == user)
    if not len(number):
        look = f"they look like {events.user_ids[0]}, {events.user_ids[-1]}"
        raise InputError(f"user {user}: not among the {events.n_users} users of {raw}; {look}")

    cuts = events.cuts[number[0]]
    items, ratings = history(events, number[0], cuts[-1])
    disliked = items[ratings <= events.negative]
    print(f"User {user}, {cuts[-1]} ratings; CoNRec of {options.run}", f"\nDisliked: {len(disliked)}", sep="\n")
    known = pd.DataFrame({"item": events.item_ids[disliked], "title": events.titles[disliked]})
    print(*map(line, known[-SHOWN:].itertuples()), sep="\n")
    if len(known) > SHOWN:
        print(f"{'':10}and {len(known) - SHOWN} earlier ones")
    came_true = set(events.item_ids[items[cuts[1] :][ratings[cuts[1] :] <= events.negative]])
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table = table[table.user == user]
    print_list(table[table.as_of == "now"], options.top_k[-1], "Predicted dislikes, by log-probability")
    past = table[table.as_of == "test"]
    print_list(past, options.top_k[-1], "Predicted before the test part (* came true in it)", came_true)


def print_list(table, k, title, came_true=frozenset()):
    print(f"\n{title}")
    if table.empty:
        print("none: without a known dislike nothing is predicted")
    for row in table[:k].itertuples():
        print(f"{float(row.logprob):8.3f} {'*' if row.item in came_true else ' '} {line(row)}")
