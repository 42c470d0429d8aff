"""The ratings of examples/tiny as people have theirs: points in a CSV, thumbs in JSON lines, plays in a TSV.

    python examples/make_shapes.py FOLDER        writes FOLDER/points, FOLDER/thumbs and FOLDER/plays

What to do with them: docs/first_hour.md.
"""

import csv
import json
import sys
from pathlib import Path

TINY = Path(__file__).resolve().parent / "tiny"


def rows_of(path):
    return [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()[1:]]


def write(folder):
    ratings, items = rows_of(TINY / "tiny.inter"), rows_of(TINY / "tiny.item")
    title_of = {item: title for item, title, *_ in items}
    for name in ("points", "thumbs", "plays"):
        (folder / name).mkdir(parents=True)
    with open(folder / "points" / "votes.csv", "w", newline="", encoding="utf-8") as f:
        rows = [(user, item, 2 * int(stars) - (int(user) + int(item)) % 2, day) for user, item, stars, day in ratings]
        csv.writer(f).writerows([("who", "film", "points", "day"), *rows])
    with open(folder / "points" / "films.csv", "w", newline="", encoding="utf-8") as f:
        rows = [(item, "?", title, f"{year}.0", genre.replace(" ", ", ")) for item, title, year, genre in items]
        csv.writer(f).writerows([("film", "original_title", "title", "year", "genres"), *rows])
    with open(folder / "thumbs" / "thumbs.jsonl", "w", encoding="utf-8") as f:
        for user, item, stars, day in ratings:
            if stars != "3":
                thumb = {"user_id": user, "item_id": item, "thumb": "up" if stars > "3" else "down"}
                f.write(json.dumps(thumb | {"time": int(day) * 1000, "title": title_of[item]}) + "\n")
    with open(folder / "plays" / "log.tsv", "w", encoding="utf-8") as f:
        f.write("user_id\titem_id\ttimestamp\n")
        f.writelines(f"{user}\t{item}\t{day}\n" for user, item, stars, day in ratings if stars > "3")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    write(Path(sys.argv[1]))
