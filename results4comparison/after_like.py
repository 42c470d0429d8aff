"""What CoNRec's weights recommend after <like>, beside what other models recommend on the split in time.

    python results4comparison/table.py negative     the last table
"""

from results4comparison import conrec_tables, kept_runs
from results4comparison.formatting import markdown, write_cells

IN_TIME = "hold_out_dislikes_time"
METRICS = {"recall@20": "Recall@20", "ndcg@20": "NDCG@20", "dislikes@20": "dislikes shown"}
MOMENTS = {"validation": "train events known", "test": "validation events known, too"}


def lines():
    """A row for each system and moment, and for each kept experiment of the split in time, the best Recall last."""
    rows = []
    for (dataset, name), runs in conrec_tables.kept().items():
        for moment, words in MOMENTS.items():
            figures = [run["recommends"][moment] for run, _ in runs.values() if run.get("recommends")]
            if figures:
                cells = conrec_tables.means(figures, METRICS)
                rows.append([dataset, f"**{name}, after <like>**, {words}", str(len(figures)), *cells])
    datasets = {dataset for dataset, *_ in rows}
    for _, row in kept_runs.read_experiments(lambda run: run["dataset"] in datasets, IN_TIME).iterrows():
        name = f"{row['model']}, {row['labels'].removeprefix('none: ')}"
        [cells] = write_cells(row.to_frame().T, METRICS.values())
        rows.append([row["data set"], name, str(row["seeds"]), *cells])
    rows.sort(key=lambda row: (row[0], row[3]))
    return markdown(["split in time", "model", "seeds", *METRICS.values()], rows)
