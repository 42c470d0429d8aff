"""How tables are written: cells of figures, Markdown, and what a terminal has room for."""

import itertools
import re
from typing import NamedTuple

import pandas as pd

from results4comparison.names import AS_THEY_ARE, list_recipes

DIGITS = {"popularity@20": 1, "train seconds": 0, "users": 0}  # after the point; else 4

# ----------------------------------------------------------------------------------------- tables


class Table(NamedTuple):
    """A table of kept runs."""

    rows: pd.DataFrame  # all figures, which go to a CSV
    columns: list  # those that are printed, at most seven
    above: str = ""  # a sentence
    headings: bool = True  # whether the data sets are named


def write_tables(tables):
    """Lines of Markdown: a table for each data set below its name, then the flags of recipes."""
    lines, runs = [], []
    for table in tables:
        if table.above and len(table.rows):
            lines += [table.above, ""]
        for dataset, own in table.rows.groupby("data set", sort=False):
            own = own.replace(AS_THEY_ARE, AS_THEY_ARE.removeprefix("none: "))
            if table.headings:
                lines += [f"**{dataset}**", ""]
            lines += [*write_markdown(own, table.columns), ""]
        if "run" in table.rows:
            runs += table.rows["run"].dropna().tolist()
    recipes = list_recipes(runs)
    if recipes:
        return [*lines, "Flags of the names:", "", *recipes]
    return lines[:-1]


def write_csv(table, path):
    """All figures of a Table, to five digits."""
    rows = table.rows.drop(columns=["run", "names", "row", "closed", "one seed"], errors="ignore")
    rows = rows.replace("", None).dropna(axis=1, how="all")
    rows.to_csv(path, index=False, float_format="%.5g", lineterminator="\n")


def write_markdown(table, columns):
    """Lines of a DataFrame's columns as Markdown.  columns: a list, or {column: its header}."""
    header = []
    for column in columns.values() if isinstance(columns, dict) else columns:
        column = re.sub("difference$", "difference (95 % interval)", column)
        header.append(re.sub(".*p, Holm$", "p, Holm", column))
    return markdown(header, write_cells(table, columns))


# ------------------------------------------------------------------------------------------ cells


def write_cells(table, columns):
    """Rows of text, such as "0.4429 ± 0.0022" where the column "X std" stands beside X."""
    rows = table.to_dict("records")
    return [[write_cell(row, column) for column in columns] for row in rows]


def write_cell(row, column):
    value = row[column]
    if isinstance(value, str):
        return value
    if pd.isna(value):
        return ""
    if isinstance(value, int):
        return str(value)
    if column.endswith("difference"):
        low, high = row[f"{column} low"], row[f"{column} high"]
        return f"{value:+.4f}" if pd.isna(low) else f"{value:+.4f} ({low:+.4f} to {high:+.4f})"
    if column == "p" or column.endswith(", Holm"):
        return "< 0.0001" if value < 1e-4 else f"{value:.4f}"
    digits = DIGITS.get(column, 4)
    deviation_of_seeds = row.get(f"{column} std")
    if column == "train seconds" or pd.isna(deviation_of_seeds):
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} ± {deviation_of_seeds:.{digits}f}"


def deviation(figures):
    """A cell: mean ± standard deviation of the runs of a row; empty where one lacks the figure."""
    figures = pd.Series(figures, dtype=float)
    if figures.isna().any():
        return ""
    return write_cell({"figure": figures.mean(), "figure std": figures.std()}, "figure")


# ----------------------------------------------------------------------------------------- layout


def markdown(header, rows):
    """Lines of the table without the columns that are empty in every row; none without rows."""
    if not rows:
        return []
    lines = []
    for cells in (header, ["---"] * len(header), *rows):
        kept = [cell for place, cell in enumerate(cells) if any(row[place] for row in rows)]
        lines.append(f"| {' | '.join(kept)} |")
    return lines


def fit(lines, width):
    """Lines of text and Markdown tables; pandas splits what is wider into blocks of columns."""
    fitted = []
    for is_table, block in itertools.groupby(lines, lambda line: line.startswith("| ")):
        block = list(block)
        if is_table and max(map(len, block)) > width:
            header, _, *rows = (line[2:-2].split(" | ") for line in block)
            block = pd.DataFrame(rows, columns=header).to_string(line_width=width).splitlines()
        fitted += block
    return fitted
