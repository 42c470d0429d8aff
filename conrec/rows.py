"""metrics.csv of a stage: a row each time it validates."""

import csv

from utils import write_atomically

COLUMNS = (  # of metrics.csv; a cell is empty where a stage has no such figure
    "stage", "step", "loss", "reward", "n", "p", "zero_std", "distinct", "kl", "entropy", "fhr@20", "frecall@20",
    "seconds",
)  # fmt: skip


def write_rows(path, rows):
    def write(temporary):
        with open(temporary, "w", newline="", encoding="utf-8") as f:
            writer = csv.DictWriter(f, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)

    write_atomically(path, write)


def read_rows(path):
    """The rows of a metrics.csv, cells as written."""
    with open(path, newline="", encoding="utf-8") as f:
        return list(csv.DictReader(f))
