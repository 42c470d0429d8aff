"""How tables are written: cells of figures, Markdown, LaTeX, and what of a table a terminal has room for."""

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


def write_tables(tables):
    """Lines of Markdown: a table for each data set below its name, and at the end the flags of recipes."""
    lines, runs = [], []
    for table in tables:
        if table.above and len(table.rows):
            lines += [table.above, ""]
        header = [re.sub("difference$", "difference (95 % interval)", column) for column in table.columns]
        header = [re.sub(".*p, Holm$", "p, Holm", column) for column in header]
        for dataset, own in table.rows.groupby("data set", sort=False):
            own = own.replace(AS_THEY_ARE, AS_THEY_ARE.removeprefix("none: "))
            lines += [f"**{dataset}**", "", *markdown(header, write_cells(own, table.columns)), ""]
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
        return p_value(value)
    digits = DIGITS.get(column, 4)
    deviation_of_seeds = row.get(f"{column} std")
    if column == "train seconds" or pd.isna(deviation_of_seeds):
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} ± {deviation_of_seeds:.{digits}f}"


def deviation(values, digits=4):
    """A cell: the mean ± the standard deviation of the runs of a row; empty where one lacks the figure."""
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
    return [str(found.users), f"{found.mean:+.4f}", interval, p_value(found.p)]


def tested(families):
    """Rows of cells under TESTED, of [(family, Difference or None), ...]: p by Holm's method within each family."""
    if not families:
        return []
    found = [difference for _, difference in families]
    table = add_differences(pd.DataFrame({"data set": [family for family, _ in families]}), found)
    return [[*shown(each), p_value(p)] for each, p in zip(found, table["p, Holm"], strict=True)]


def p_value(p):
    if p is None or pd.isna(p):
        return ""
    return "< 0.0001" if p < 1e-4 else f"{p:.4f}"


# ----------------------------------------------------------------------------------------- layout


def markdown(header, rows):
    """Lines of the table without the columns that are empty in every row; none without rows."""
    if not rows:
        return []
    header, *rows = without_empty(header, rows)
    return [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows)]


def fit(lines, width):
    """Lines of text and Markdown tables, fitted to the columns of a terminal: (lines, whether a column was left out).

    Long names are wrapped.  Of a table that is still too wide the last columns are left out.
    """
    found, cut = [], False
    for is_table, block in itertools.groupby(lines, lambda line: line.startswith("| ")):
        block = list(block)
        if is_table and max(map(len, block)) > width:
            header, _, *rows = (line[2:-2].split(" | ") for line in block)
            narrower, left_out = narrow([header, *rows], width)
            found, cut = found + narrower, cut or left_out
        elif is_table:
            found += block
        else:
            found += [part for line in block for part in textwrap.wrap(line, width) or [""]]
    return found, cut


def narrow(rows, width):
    """(lines of aligned columns within this width, whether a column was left out).  rows: lists of cells, first the
    header."""
    texts = {place for place in range(len(rows[0])) if any(LETTERS.search(row[place]) for row in rows[1:])}
    wrapped = []  # rows of cells of lines
    for row in rows:
        cells = [
            textwrap.wrap(cell, LONGEST_TEXT if place in texts else width, break_on_hyphens=False) or [""]
            for place, cell in enumerate(row)
        ]
        wrapped.append(cells)
    widths = [max(len(line) for row in wrapped for line in row[place]) for place in range(len(rows[0]))]
    ends = list(itertools.accumulate(widths, lambda end, own: end + 2 + own))  # two spaces between columns
    kept = sum(end <= width for end in ends)
    lines = []
    for row in wrapped:
        for parts in itertools.zip_longest(*row[:kept], fillvalue=""):
            lines.append("  ".join(part.ljust(own) for part, own in zip(parts, widths, strict=False)).rstrip())
        if row is wrapped[0]:
            lines.append("  ".join("-" * own for own in widths[:kept]))
    return lines, kept < len(widths)


def latex(header, rows):
    """The same as a tabular in the style of booktabs."""
    if not rows:
        return []
    header, *rows = map(write_latex_row, without_empty(header, rows))
    begin = rf"\begin{{tabular}}{{{'l' * (header.count(' & ') + 1)}}}"
    return [begin, r"\toprule", header, r"\midrule", *rows, r"\bottomrule", r"\end{tabular}"]


def write_latex_row(cells):
    escaped = {"&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "±": r"$\pm$", "<": "$<$"}
    # Markdown's italics are left out, and the two hyphens of a flag must not become a dash.
    escaped |= {"*": "", "--": r"{-}{-}"}
    for plain, tex in escaped.items():
        cells = [cell.replace(plain, tex) for cell in cells]
    return rf"{' & '.join(cells)} \\"


def without_empty(header, rows):
    """Header and rows, in one list, of the columns that hold something."""
    kept = [place for place in range(len(header)) if any(row[place] for row in rows)]
    return [[row[place] for place in kept] for row in (header, *rows)]
