"""A header and rows of cells -> the lines of a table."""


def markdown(header, rows):
    lines = []
    for row in (header, ["---"] * len(header), *rows):
        lines.append(f"| {' | '.join(row)} |")
    return lines


def latex(header, rows):
    """A tabular in the style of booktabs."""
    begin = rf"\begin{{tabular}}{{{'l' * len(header)}}}"
    head = [r"\toprule", latex_row(header), r"\midrule"]
    body = map(latex_row, rows)
    return [begin, *head, *body, r"\bottomrule", r"\end{tabular}"]


def latex_row(cells):
    escaped = {"&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "±": r"$\pm$", "<": "$<$"}
    # Markdown's italics are left out, and the two hyphens of a flag must not become a dash.
    escaped |= {"*": "", "--": r"{-}{-}"}
    for plain, tex in escaped.items():
        cells = [cell.replace(plain, tex) for cell in cells]
    return rf"{' & '.join(cells)} \\"
