"""How tables are written: cells of figures, Markdown, LaTeX, and what a terminal has room for."""

import itertools
import re
import statistics
import textwrap
from typing import NamedTuple

import pandas as pd

from results4comparison.differences import add_differences
from results4comparison.names import AS_THEY_ARE, list_recipes

DIFFERENCE = ("users", "difference", "95 % interval", "p")
TESTED = (*DIFFERENCE, "p, Holm")
DIGITS = {"popularity@20": 1, "train seconds": 0}  # after the point; else 4
LETTERS = re.compile(r"[A-Za-z]{2}")  # in a cell that is text: 1e-05 and "± 0.1" are numbers
LONGEST_TEXT = 22  # columns of a terminal that a cell of text takes where a table is too wide

# ----------------------------------------------------------------------------------------- tables


class Table(NamedTuple):
    """A table of kept runs."""

    rows: pd.DataFrame  # all figures, which go to a CSV
    columns: list  # those that are printed, at most seven
    above: str = ""  # a sentence
    headings: bool = True  # whether the data sets are named


def write_tables(tables):
    """Lines of Markdown: a table for each data set below its name, at the end the flags of recipes."""
    lines, runs = [], []
    for table in tables:
        if table.above and len(table.rows):
            lines += [table.above, ""]
        header = []
        for column in table.columns:
            column = re.sub("difference$", "difference (95 % interval)", column)
            header.append(re.sub(".*p, Holm$", "p, Holm", column))
        for dataset, own in table.rows.groupby("data set", sort=False):
            own = own.replace(AS_THEY_ARE, AS_THEY_ARE.removeprefix("none: "))
            if table.headings:
                lines += [f"**{dataset}**", ""]
            lines += [*markdown(header, write_cells(own, table.columns)), ""]
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
    if column.endswith(", Holm"):
        return write_p(value)
    digits = DIGITS.get(column, 4)
    deviation_of_seeds = row.get(f"{column} std")
    if column == "train seconds" or pd.isna(deviation_of_seeds):
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} ± {deviation_of_seeds:.{digits}f}"


def deviation(values, digits=4):
    """A cell: mean ± standard deviation of the runs of a row; empty where one lacks the figure."""
    if None in values:
        return ""
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{statistics.mean(values):.{digits}f} ± {statistics.stdev(values):.{digits}f}"


def shown(found):
    """Cells under DIFFERENCE of a Difference, empty ones of None."""
    if found is None:
        return [""] * len(DIFFERENCE)
    interval = "" if found.low is None else f"{found.low:+.4f} to {found.high:+.4f}"
    return [str(found.users), f"{found.mean:+.4f}", interval, write_p(found.p)]


def tested(families):
    """Rows of cells under TESTED, of [(family, Difference or None), ...]; Holm's p within a family."""
    if not families:
        return []
    found = [difference for _, difference in families]
    table = add_differences(pd.DataFrame({"data set": [family for family, _ in families]}), found)
    return [[*shown(each), write_p(p)] for each, p in zip(found, table["p, Holm"], strict=True)]


def write_p(p):
    if p is None or pd.isna(p):
        return ""
    return "< 0.0001" if p < 1e-4 else f"{p:.4f}"


# ----------------------------------------------------------------------------------------- layout


def markdown(header, rows):
    """Lines of the table without the columns that are empty in every row; none without rows."""
    if not rows:
        return []
    header, *rows = drop_empty(header, rows)
    return [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows)]


def fit(lines, width):
    """Lines of text and Markdown tables, fitted to a terminal: (lines, whether a column was left out).

    Long names are wrapped.  Of a table that is still too wide the last columns are left out.
    """
    found, cut = [], False
    for is_table, block in itertools.groupby(lines, lambda line: line.startswith("| ")):
        block = list(block)
        if not is_table:
            for line in block:
                found += textwrap.wrap(line, width) or [""]
        elif max(map(len, block)) <= width:
            found += block
        else:
            header, _, *rows = (line[2:-2].split(" | ") for line in block)
            columns = [wrap_column(cells, width) for cells in zip(header, *rows, strict=True)]
            widths = [max(len(line) for cell in column for line in cell) for column in columns]
            ends = itertools.accumulate(widths, lambda end, own: end + 2 + own)  # two spaces between columns
            kept = sum(end <= width for end in ends)
            found += align(columns[:kept], widths[:kept])
            cut = cut or kept < len(widths)
    return found, cut


def wrap_column(cells, width):
    """The lines of each cell of a column, the first of which is its header."""
    if any(LETTERS.search(cell) for cell in cells[1:]):
        width = LONGEST_TEXT
    return [textwrap.wrap(cell, width, break_on_hyphens=False) or [""] for cell in cells]


def align(columns, widths):
    """Lines of columns of cells of lines, with a rule below the header."""
    lines = []
    for row in zip(*columns, strict=True):
        for parts in itertools.zip_longest(*row, fillvalue=""):
            lines.append("  ".join(map(str.ljust, parts, widths)).rstrip())
        if row[0] is columns[0][0]:
            lines.append("  ".join("-" * own for own in widths))
    return lines


def latex(header, rows):
    """The same as a tabular in the style of booktabs."""
    if not rows:
        return []
    header, *rows = map(write_latex_row, drop_empty(header, rows))
    begin = rf"\begin{{tabular}}{{{'l' * (header.count(' & ') + 1)}}}"
    return [begin, r"\toprule", header, r"\midrule", *rows, r"\bottomrule", r"\end{tabular}"]


def write_latex_row(cells):
    escaped = {"&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "±": r"$\pm$", "<": "$<$"}
    # Markdown's italics are left out, and the two hyphens of a flag must not become a dash.
    escaped |= {"*": "", "--": r"{-}{-}"}
    for plain, tex in escaped.items():
        cells = [cell.replace(plain, tex) for cell in cells]
    return rf"{' & '.join(cells)} \\"


def drop_empty(header, rows):
    """Header and rows, in one list, of the columns that hold something."""
    kept = [place for place in range(len(header)) if any(row[place] for row in rows)]
    return [[row[place] for place in kept] for row in (header, *rows)]
