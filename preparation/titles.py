"""What items are called: titles, years and genres of the .item file; texts that a model reads."""

import pandas as pd

from preparation.files import read_items, read_table
from preparation.rules import MISSING
from preparation.sources import DATASETS, NOT_OURS


def item_files(raw):
    """The .item files of a folder."""
    return visible(raw.glob("*.item"))


def visible(paths):
    """The paths in order, without GroupLens' u.item and a Mac's "._x.inter" beside x.inter."""
    return [path for path in sorted(paths) if path.name != NOT_OURS and not path.name.startswith(".")]


def item_table(raw, only=None):
    """The folder's .item file as strings, indexed by item id: title, year, genre.

    A cell is "" where there is no value, and the table is empty where there is no file.  Of an item described twice,
    the last description counts.  only: ids of the items wanted; None: all.
    """
    files = item_files(raw)
    table = read_items(files[0], only) if files else pd.DataFrame(columns=["item"], dtype=str)
    table = table.drop_duplicates("item", keep="last").set_index("item")
    table = table.reindex(columns=["title", "year", "genre"], fill_value="")
    return table.mask(table.isin(MISSING), "")


def rated_items(name, raw, folder, log=print):
    """item_table of the items of train_original.  How many of them have no title is logged."""
    train = read_table(folder / f"{name}_train_original.csv", ",", {"item": ["item_id"]})
    ids = train.item[train.item != ""].unique()
    items = item_table(raw, ids)
    untitled = len(ids) - (items.title.str.strip() != "").sum()
    if untitled:
        known = "they are trained on and recommended, but no language model is asked about them"
        log(f"items: {untitled} of {len(ids)} have no title; {known}")
    return items


def item_texts(items, item_ids, genres):
    """What a model reads of each item: "Toy Story (1995)", with genres "Toy Story (1995), Animation, Comedy", or ""."""
    rows = items.reindex(item_ids, fill_value="")
    texts = []
    for title, year, genre in zip(rows.title, rows.year, rows.genre, strict=True):
        text = on_one_line(title)
        if text and year:
            text = f"{text} ({year})"
        if text and genres:
            text = ", ".join([text, *genre.split()])
        texts.append(text)
    return texts


def domain_of(name, options):
    """What the items are called."""
    if options.llm_domain == "auto":
        return DATASETS[name].domain if name in DATASETS else "items"
    return options.llm_domain


def on_one_line(title):
    """Titles are data: line breaks and other control characters in them become spaces."""
    printable = "".join(c if c.isprintable() else " " for c in title)
    return " ".join(printable.split())
