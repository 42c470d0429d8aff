"""What CoNRec's weights recommend after <like>, beside what other models recommend on the split in time.

    python results4comparison/table.py negative     the last table
"""

from results4comparison import conrec_tables, held_out, kept_runs
from results4comparison.formatting import deviation, markdown

IN_TIME = "hold_out_dislikes_time"
METRICS = {"recall@20": "Recall@20", "ndcg@20": "NDCG@20", "dislikes@20": "dislikes shown"}
MOMENTS = {"validation": "train events known", "test": "validation events known, too"}


def lines():
    """A row for each system and moment, and for each kept experiment of the split in time, the best Recall last."""
    rows, groups = [], conrec_tables.read_kept()
    for dataset, own in groups.items():
        for name, runs in own.items():
            for moment, words in MOMENTS.items():
                figures = [run["recommends"][moment] for run, _ in runs]
                rows.append([dataset, f"**{name}, after <like>**, {words}", *cells(figures)])
    for experiment, runs in kept_runs.experiments(lambda run: run["dataset"] in groups, IN_TIME).items():
        summaries = list(runs.values())
        name = f"{held_out.name_of(experiment, summaries[0])}, {experiment.labels.removeprefix('none: ')}"
        rows.append([experiment.dataset, name, *cells([run["test"] for run in summaries])])
    rows.sort(key=lambda row: (row[0], row[3]))
    return markdown(["split in time", "model", "seeds", *METRICS.values()], rows)


def cells(figures):
    return [str(len(figures)), *(deviation([one[metric] for one in figures]) for metric in METRICS)]
