"""One's own files: what is understood of each publisher's layout, what is refused, and what is said."""

import csv
import gzip
import json

import layouts
import pytest

from preparation import locate, scale, splits
from preparation.layouts import columns_of
from preparation.own import taken_in, understand
from preparation.titles import item_table
from utils import InputError


def take_in(folder, **reading):
    """(rows of the .inter, {item: its row of the .item}, lines that were logged)."""
    said, out = [], folder / "out"
    with taken_in("x", folder, out, reading, said.append):
        pass
    with open(out / "atomic" / "x.inter", newline="", encoding="utf-8") as f:
        header, *rows = csv.reader(f, delimiter="\t", quoting=csv.QUOTE_NONE)
    assert header[:3] == ["user_id:token", "item_id:token", "rating:float"]
    return rows, item_table(out / "atomic").to_dict("index"), said


def expected(kind):
    for user, item, stars, seconds in layouts.RATINGS:
        if kind.stars(stars) is not None:
            times = [] if kind.seconds is None else [float(kind.seconds(seconds))]
            yield [user, kind.item(item), float(kind.stars(stars)), *times]


@pytest.mark.parametrize("name", layouts.KINDS)
def test_each_layout_is_understood_and_said(tmp_path, name):
    kind = layouts.KINDS[name]
    kind.write(tmp_path)
    rows, items, said = take_in(tmp_path, **kind.reading)
    assert [[user, item, *map(float, numbers)] for user, item, *numbers in rows] == list(expected(kind))
    assert said[0] == f"columns: {kind.columns}" and said[1].startswith(f"scale: {kind.scale}")
    dropped = len(layouts.RATINGS) - len(rows)
    assert said[2] == "dropped: of 500 rows " + (f"{dropped} that are not rated" if dropped else "nothing")
    assert len(said) == 3  # nothing else to say
    if kind.title is None:
        assert items == {}
    else:
        assert items[kind.item("B03")] == {"title": kind.title, "year": kind.year, "genre": kind.genre}
        assert len(items) == 25


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("app_id app_name recommended author.steamid timestamp_created", "author.steamid app_id recommended"),
        ("user_id anime_id rating", "user_id anime_id rating"),
        ("ProductId UserId ProfileName Score Time Summary Text", "UserId ProductId Score"),
        ("customer_id product_id star_rating review_date", "customer_id product_id star_rating"),
        ("asin parent_asin user_id rating title", "user_id parent_asin rating"),
    ],
)
def test_columns_of_further_publishers(header, found):
    columns = columns_of(header.split(), {})
    assert [columns[role] for role in ("user", "item", "rating")] == found.split()


def test_what_was_understood_is_kept_and_not_worked_out_again(tmp_path):
    layouts.clicks(tmp_path)
    _, _, said = take_in(tmp_path)
    stamp = tmp_path / "out" / "atomic" / "prepared.json"
    kept = json.loads(stamp.read_text())
    assert kept["understood"] == said and kept["made_from"].keys() == {"log.csv", "read"}
    before = stamp.stat().st_mtime_ns
    assert take_in(tmp_path)[2] == [] and stamp.stat().st_mtime_ns == before
    with open(tmp_path / "log.csv", "a") as f:
        f.write("u1,B77,9\n")
    rows, _, said = take_in(tmp_path)
    assert ["u1", "B77", "5", "9"] in rows and said


def test_a_file_may_be_named_where_several_hold_ratings(tmp_path):
    layouts.goodbooks(tmp_path)
    (tmp_path / "again.csv").write_text((tmp_path / "ratings.csv").read_text())
    with pytest.raises(InputError, match=r"again.csv, ratings.csv may each hold .*; say which: --dataset .*again"):
        understand(tmp_path, {})
    name, given, folder = locate.locate(str(tmp_path / "ratings.csv"), tmp_path / "data")
    assert name == f"{tmp_path.name}-ratings" and folder == tmp_path / "data" / name
    assert understand(given, {}).ratings.path == given and understand(given, {}).items.path.name == "books.csv"


def test_a_folder_in_the_data_folder_does_not_read_what_was_prepared_of_it(tmp_path):
    layouts.grouplens(tmp_path / "own")
    own = tmp_path / "own"
    for _ in range(2):
        splits.prepare("own", own, own, reading={"scale": "0.5-5"})
        (own / "own_train_augment.csv").write_text((own / "own_train_original.csv").read_text())
    assert understand(own, {}).ratings.path == own / "ratings.csv"


# ------------------------------ what is refused

INTER = "user_id\titem_id\trating\n"


def csv_of(header, *rows):
    return "\n".join([header, *rows]) + "\n"


RATED = "user,item,rating"
REFUSED = {  # what is wrong: (files, --columns and --scale, what is said)
    "a name that nobody knows": (
        {"a.csv": csv_of("who,what,how", "a,x,5")}, {},
        r"which columns are user, item and rating is not clear; type .*a.csv \(commas; who, what, how\)",
    ),
    "a file without names": ({"ratings.dat": "1::2::5::9\n"}, {}, r"--columns user=1,item=2,rating=3"),
    "--columns that is none": ({"a.csv": "u,i\n"}, {"columns": "user:u"}, r"'user:u' is not one of user"),
    "a column of two roles": ({"a.csv": "u,i\n"}, {"columns": "user=u,item=u"}, r"u is named twice"),
    "a scale without ratings": ({"a.csv": "user,item\na,x\n"}, {"scale": "1-10"}, r"no column of ratings"),
    "--columns that the file lacks": (
        {"a.csv": csv_of("u,i,r", "a,x,5")}, {"columns": "user=u,item=i,rating=stars"},
        r"has no column stars \(for rating\); it has a.csv: u, i, r",
    ),
    "ten points": ({"a.csv": csv_of(RATED, "a,x,5", "a,y,10")}, {}, r"a.csv, line 3: .*--scale 1-10$"),
    "0 to 5": (
        {"a.csv": csv_of(RATED, "a,x,5", "a,y,0")}, {},
        r'line 3: rating \'0\'.* --scale "0=drop" if 0 means not rated, --scale 0-5 if it is the worst',
    ),
    "-1 and 1": ({"a.csv": csv_of(RATED, "a,x,-1", "a,y,1")}, {}, r'--scale "-1=2,1=5"'),
    "-1, 0 and 1": ({"a.csv": csv_of(RATED, "a,x,-1", "a,y,0", "b,x,1")}, {}, r'--scale "-1=2,0=3,1=5"'),
    "true and false": ({"a.csv": "user,item,liked\na,x,True\na,y,False\n"}, {}, r'--scale "false=2,true=5"'),
    "not watched is -1": (
        {"a.csv": csv_of("user_id,anime_id,rating", "a,x,-1", "a,y,9")}, {},
        r'--scale "1-10,-1=drop" if -1 means not rated',
    ),
    "fractions": ({"a.csv": csv_of(RATED, "a,x,3.7", "a,y,5")}, {}, r"line 2: rating '3.7'.*--scale 1-5"),
    "words": (
        {"a.csv": csv_of(RATED, "a,x,meh", "a,y,wow")}, {},
        r'--scale "meh=STARS,wow=STARS" with stars from 1 to 5, or drop',
    ),
    "a scale that lacks a value": (
        {"a.csv": csv_of(RATED, "a,x,1", "a,y,2")}, {"scale": "1=5,0=2"},
        r"line 3: rating '2', of which --scale 1=5,0=2 says nothing; the values are 1, 2; add it",
    ),
    "a range of two": ({"a.csv": csv_of(RATED)}, {"scale": "0-1"}, r"0-1 has fewer than five whole numbers"),
    "a column that may be the rating": (
        {"a.csv": csv_of("user,item,vote", "a,x,up", "a,y,down")}, {},
        r"vote \(down, up\) may be one; type --columns rating=vote, or --columns rating=- where every row is a like",
    ),
    "two files of titles": (
        {"a.csv": csv_of(RATED), "b.csv": csv_of("item,title"), "c.csv": csv_of("item,title")}, {},
        r"b.csv, c.csv may each hold the items' titles; leave one of them there",
    ),
    "a short row": (
        {"a.csv": csv_of(RATED, "a,x,5", "b,y", "c,z,4")}, {},
        r"a.csv: is not a table .*\(line 3 has 2 cells, the first line 3; no other row\)",
    ),
    "a title with a line break": (
        {"x.inter": f"{INTER}a\tx\t5\n", "x.item": "item_id\ttitle\tyear\nx\tOne\ntwo\t1999\n"}, {},
        r"x.item: is not a table .*\(line 2 has 2 cells, the first line 3; 2 such rows\); where a cell",
    ),
    "no JSON": (
        {"a.jsonl": '{"user": "a", "item": "x", "rating": 5}\nnonsense\n'}, {}, r"a.jsonl, line 2: is no JSON object",
    ),
    "a time in words": (
        {"a.csv": csv_of("user,item,rating,time", "a,x,5,soon")}, {},
        r"a.csv, line 2: time 'soon' is neither a number nor a date; .*--columns time=-",
    ),
    "an id over two lines": (
        {"x.csv": 'user,item,rating\na,x,5\n" b\nc",x,5\n'}, {},
        r"x.csv, line 3: the user id 'b\\nc' holds a tab or a line break; take it out",
    ),
    "a bad rating below a line break in a cell": (
        {"x.csv": 'user,item,rating,text\na,x,5,"one\ntwo"\nb,y,9,fine\n'}, {}, r"x.csv, line 4: rating '9'",
    ),
    "nothing that is data": ({"notes.md": "x", "y.pdf": "z"}, {}, r"ratings, found notes.md, y.pdf; exp"),
    "a library of one reader": (
        {"goodreads_library_export.csv": csv_of("Book Id,Title,Author,My Rating", "1,x,y,5")}, {},
        r"goodreads_library_export.csv has items and ratings, but no column of users, of whom many",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_ambiguous_or_broken_is_refused_with_what_to_type(tmp_path, name):
    files, reading, message = REFUSED[name]
    for file, text in files.items():
        (tmp_path / file).write_text(text)
    with pytest.raises(InputError, match=message):
        take_in(tmp_path, **reading)
    assert {path.name for path in tmp_path.rglob("*")} == files.keys()  # nothing was written


def test_a_broken_archive_is_refused_by_name(tmp_path):
    layouts.amazon_2014(tmp_path)
    path = tmp_path / "reviews_Toys_5.json.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"reviews_Toys_5.json.gz: is no whole gzip file"):
        take_in(tmp_path)


# ------------------------------ silent no more


def atomic(folder, ratings, items=None):
    (folder / "x.inter").write_bytes(ratings if isinstance(ratings, bytes) else ratings.encode())
    if items:
        (folder / "x.item").write_text(items, encoding="utf-8")


@pytest.mark.parametrize(
    ("columns", "chosen"),
    [
        ("original_title title", "title"),
        ("original_title movie_title", "movie_title"),
        ("Title original_title", "Title"),
        ("original_title", "original_title"),
        ("title_id title", "title"),
        ("title_id book_title", "book_title"),
        ("movie_title title_sort", "movie_title"),
    ],
)
def test_an_exact_title_wins_and_the_log_names_the_choice(tmp_path, columns, chosen):
    names = columns.split()
    atomic(tmp_path, INTER + "a\tx\t5\n", "\t".join(["item_id", *names]) + "\nx\t" + "\t".join(names))
    _, items, said = take_in(tmp_path)
    assert items["x"]["title"] == chosen and f"title = {chosen}" in said[0]


@pytest.mark.parametrize(
    ("genres", "expected"),
    [
        (["Drama, Science Fiction", "Comedy"], ["Drama Science-Fiction", "Comedy"]),
        (["Drama|War", "(no genres listed)"], ["Drama War", ""]),
        (["['Drama', 'War']", "[]"], ["Drama War", ""]),
        (['["Drama", "Film Noir"]', '[["War"], ["War", "Sport"]]'], ["Drama Film-Noir", "War Sport"]),
        (["[{'id': 18, 'name': 'Drama'}]", ""], ["Drama", ""]),
        (["Drama War", "Film-Noir"], ["Drama War", "Film-Noir"]),
        (["Rock &amp; Roll;Pop", "Pop"], ["Rock-&-Roll Pop", "Pop"]),
    ],
)
def test_genres_are_read_as_meant(tmp_path, genres, expected):
    rows = "".join(f"i{n}\tT{n}\t{genre}\n" for n, genre in enumerate(genres))
    atomic(tmp_path, INTER + "a\ti0\t5\na\ti1\t5\n", f"item_id\ttitle\tgenres\n{rows}")
    assert [row["genre"] for row in take_in(tmp_path)[1].values()] == expected


@pytest.mark.parametrize(
    ("year", "expected"),
    [("2008.0", "2008"), ("2008-05-01", "2008"), ("01-Jan-1995", "1995"), ("c. 1900", "1900"), ("old", "old")],
)
def test_years_and_entities_in_titles_are_read_as_meant(tmp_path, year, expected):
    atomic(tmp_path, INTER + "a\tx\t5\n", f"item_id\ttitle\tyear\nx\tTom &amp; Jerry&#39;s\t{year}\n")
    assert take_in(tmp_path)[1]["x"] == {"title": "Tom & Jerry's", "year": expected, "genre": ""}


def test_a_column_that_is_given_a_role_has_no_other(tmp_path):
    (tmp_path / "x.csv").write_text("user,item,score,timestamp\na,x,2019-01-01,4\n")
    rows, _, said = take_in(tmp_path, columns="rating=timestamp,time=score")
    assert rows == [["a", "x", "4", "1546300800"]]
    assert said[0].startswith("columns: user = user, item = item, rating = time")


@pytest.mark.parametrize("end", [b"\r", b"\r\n", b"\n"])
def test_line_ends_of_any_machine(tmp_path, end):
    atomic(tmp_path, end.join([b"user_id\titem_id\trating", b"a\tx\t5", b"a\ty\t4", b""]))
    assert take_in(tmp_path)[0] == [["a", "x", "5"], ["a", "y", "4"]]


def test_hidden_files_are_no_data_and_blanks_around_names_do_not_count(tmp_path):
    (tmp_path / "x.csv").write_text(' user_id , item_id , "rating" \na,x,5\n')
    (tmp_path / "._x.csv").write_bytes(b"\x00\x05\x16\x07Mac OS X")
    (tmp_path / "._x.inter").write_bytes(b"\x00\x05\x16\x07Mac OS X")
    assert take_in(tmp_path)[0] == [["a", "x", "5"]]


def test_a_line_break_in_a_quoted_cell_is_no_row(tmp_path):
    (tmp_path / "x.csv").write_text('user,item,rating,text\na,x,5,"one\ntwo"\nb,y,4,fine\n')
    assert take_in(tmp_path)[0] == [["a", "x", "5"], ["b", "y", "4"]]


def test_ids_that_look_alike_are_counted_with_two_examples(tmp_path):
    rows = ["7\tx", "7 \tx1", "\u00a07\tx2", "8.0\tx", "8\tx", "9\tx"]
    atomic(tmp_path, "user_id\titem_id\trating\n" + "".join(f"{row}\t5\n" for row in rows))
    made, _, said = take_in(tmp_path)
    assert [row[0] for row in made] == ["7", "7", "7", "8.0", "8", "9"]
    assert "users: 2 ids stand in x.inter in more than one way, such as" in said[3] and "'8' and '8.0'" in said[3]


def test_the_column_of_items_that_one_names_is_that_of_their_file_too(tmp_path):
    (tmp_path / "votes.csv").write_text("who,film,points\na,x,5\n")
    (tmp_path / "films.csv").write_text("film,original_title,title\nx,Titel,Title\n")
    _, items, said = take_in(tmp_path, columns="user=who,item=film,rating=points")
    assert items["x"]["title"] == "Title" and said[0].endswith("; item = film, title = title of films.csv")


def test_a_column_can_be_taken_away(tmp_path):
    (tmp_path / "x.csv").write_text("user,item,vote,time\na,x,up,soon\na,y,down,late\n")
    rows, _, said = take_in(tmp_path, columns="rating=-,time=-")
    assert rows == [["a", "x", "5"], ["a", "y", "5"]]
    assert said[0] == "columns: user = user, item = item of x.csv; no titles"


def test_ids_of_items_that_match_no_title_are_said(tmp_path):
    atomic(tmp_path, INTER + "a\t7.0\t5\na\t8.0\t5\n", "item_id\ttitle\n7\tSeven\n8\tEight\n")
    note = take_in(tmp_path)[2][3]
    assert note.startswith("titles: x.item describes 0 of 2 rated items; ids look like '7.0' there, '7' here; --col")


def test_rows_without_a_user_are_dropped_as_such(tmp_path):
    atomic(tmp_path, "user_id\titem_id\trating\n\tx\t5\n\tx\t4\na\t\t5\na\tx\t5\n")
    rows, _, said = take_in(tmp_path)
    assert rows == [["a", "x", "5"]] and said[2] == "dropped: of 4 rows 2 without user id, 1 without item id"


def test_mixed_units_of_time_are_read_by_size_and_counted(tmp_path):
    times = ["1400000000", "1400000001000", "1400000002000000", "", "1400000003.5"]
    rows = "".join(f"a\ti{n}\t5\t{time}\n" for n, time in enumerate(times))
    atomic(tmp_path, f"user_id\titem_id\trating\ttimestamp\n{rows}")
    made, _, said = take_in(tmp_path)
    assert [row[3] for row in made] == ["1400000000", "1400000001", "1400000002", "", "1400000003.5"]
    assert said[3].startswith("times: x.inter mixes units, 2 in seconds, 1 in milliseconds, 1 in microseconds;")


def test_titles_of_reviews_are_not_taken_for_titles_of_items(tmp_path):
    (tmp_path / "x.csv").write_text("user,item,rating,title\n" + "".join(f"u{n},i,5,Mine {n}\n" for n in range(9)))
    _, items, said = take_in(tmp_path)
    assert items == {} and said[3].startswith("titles: column title of x.csv is not read, since an item has several")


def test_a_list_of_json_objects_and_a_gzipped_csv_are_read(tmp_path):
    (tmp_path / "x.json").write_text(json.dumps([{"user": 1, "item": "007", "rating": 5}, {"user": 2, "item": "x"}]))
    assert take_in(tmp_path)[0] == [["1", "007", "5"], ["2", "x", ""]]
    (tmp_path / "x.json").unlink()
    with gzip.open(tmp_path / "x.csv.gz", "wt") as f:
        f.write("user,item,rating\na,x,5\n")
    assert take_in(tmp_path)[0] == [["a", "x", "5"]]


@pytest.mark.parametrize(
    ("words", "stars"),
    [
        ("1-10", {"1": 1, "2": 1, "3": 2, "5.0": 3, "6": 3, "7.9": 4, "8": 4, "9": 5, "10": 5, "11": None, "0": None}),
        ("0-5", {"0": 1, "1": 1, "2": 2, "3": 3, "4": 4, "5": 5}),
        ("-10-10", {"-10": 1, "0": 3, "10": 5}),
        ("0.5-5", {"0.5": 1, "1": 1, "1.5": 2, "2.0": 2, "2.5": 3, "3.5": 4, "4": 4, "4.5": 5, "5": 5, "0": None}),
        ("1=5,0=2", {"1": 5, "1.0": 5, "0": 2, "5": None}),
        ("0=drop", {"0": scale.DROP, "3": 3, "5.0": 5}),
        ("1-10,0=drop", {"0": scale.DROP, "1": 1, "10": 5}),
        ("Like=5, a=b=1", {"like": 5, " LIKE ": 5, "a=b": 1, "x": None}),
    ],
)
def test_a_scale_maps_each_value_by_hand(words, stars):
    parsed = scale.parse(words)
    found = {token: scale.star_of(token, parsed) for token in stars}
    assert {token: star if star in (None, scale.DROP) else float(star) for token, star in found.items()} == stars


def test_the_item_file_of_a_known_data_set_is_fetched_beside_csvs_put_there_by_hand(tmp_path, monkeypatch):
    fetched = []
    monkeypatch.setattr(splits, "fetch", lambda *given, **options: fetched.append((given[:2], options)))
    for part in splits.PARTS:
        (tmp_path / f"ML-100K_{part}.csv").write_text("user_id:token,item_id:token,rating:float\n1,2,5\n")
    splits.prepare("ML-100K", tmp_path, tmp_path)
    assert fetched == [(("ML-100K", tmp_path), {"only": ".item"})]
    (tmp_path / "ml-100k.item").write_text("item_id\tmovie_title\n")
    splits.prepare("ML-100K", tmp_path, tmp_path)
    assert len(fetched) == 1
