"""Reading real-world .inter/.item files and CSVs: what is understood, what is refused and how it is named."""

import numpy as np
import pandas as pd
import pytest

from preparation.files import encode, read_items, read_ratings, sort_ids
from utils import InputError

STARS = (1, 2, 3, 4, 5)
INTER = "user_id:token\titem_id:token\trating:float\n"


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        pytest.param(f"{INTER}7\t9\t3\n", [("7", "9", "3")], id="plain"),
        pytest.param(f"{INTER}7\t9\t3", [("7", "9", "3")], id="no newline at the end"),
        pytest.param(f"{INTER}7\t9\t3\n".replace("\n", "\r\n"), [("7", "9", "3")], id="CRLF"),
        pytest.param(f"\ufeff{INTER}7\t9\t3\n", [("7", "9", "3")], id="byte-order mark"),
        pytest.param("user_id\titem_id\trating\n7\t9\t3\n", [("7", "9", "3")], id="no RecBole types"),
        pytest.param("item_id:token\tuser_id:token\trating:float\n9\t7\t3\n", [("7", "9", "3")], id="item before user"),
        pytest.param(
            "a:token\trating:float\tuser_id:token\ttimestamp:float\titem_id:token\tb:float\nx\t3\t7\t88\t9\t1\n",
            [("7", "9", "3")],
            id="extra columns",
        ),
        pytest.param(f"{INTER}007\tNA\t3.0\n", [("007", "NA", "3.0")], id="cells stay strings"),
        pytest.param(f'{INTER}"a\tb,c\t3\nd"\te\t4\n', [('"a', "b,c", "3"), ('d"', "e", "4")], id="quotes and commas"),
        pytest.param(INTER, [], id="header alone"),
    ],
)
def test_ratings_are_read_from_any_layout(tmp_path, content, rows):
    path = tmp_path / "x.inter"
    path.write_bytes(content.encode())
    table = read_ratings(path, "\t", STARS)
    assert list(table[["user", "item", "token"]].astype(str).itertuples(index=False, name=None)) == rows
    assert table.rating.tolist() == [float(rating) for _, _, rating in rows]


def test_empty_ratings_are_nan_and_the_others_numbers(tmp_path):
    path = tmp_path / "x.inter"
    path.write_text(f"{INTER}7\t1\t5.0\n7\t2\t\n7\t3\t 3\n")
    np.testing.assert_array_equal(read_ratings(path, "\t", STARS).rating, [5, np.nan, 3])


@pytest.mark.parametrize(
    ("genre", "encoding"), [("class", "utf-8"), ("genre", "utf-8-sig"), ("genres", "latin-1"), ("categories", "utf-8")]
)
def test_items_are_read_whatever_the_genre_column_and_encoding(tmp_path, genre, encoding):
    path = tmp_path / "x.item"
    title = 'Café, "Le" Bleu: Part 2'
    header = f"item_id:token\tprice:float\tmovie_title:token_seq\trelease_year:token\t{genre}:token_seq"
    path.write_bytes(f"{header}\n007\t1\t{title}\tNULL\tDrama War\n".encode(encoding))
    rows = read_items(path).to_dict("records")
    assert rows == [{"item": "007", "title": title, "year": "NULL", "genre": "Drama War"}]
    path.write_text("title:token_seq\titem_id:token\nPaper Storm\t7\n")  # needs neither year nor genre
    assert read_items(path).to_dict("records") == [{"item": "7", "title": "Paper Storm"}]


@pytest.mark.parametrize("rating", ["good", "3.5", "0.5", "4.5", "0", "6", "-1", "NaN", "nan", "inf", "1e999", "3,0"])
def test_a_rating_that_is_no_whole_star_is_refused_with_file_line_and_value(tmp_path, rating):
    path = tmp_path / "x.inter"
    path.write_text(f"{INTER}7\t1\t5\n7\t2\t{rating}\n7\t3\t{rating}\n")
    with pytest.raises(InputError) as refused:
        read_ratings(path, "\t", STARS)
    assert str(refused.value).startswith(f"{path}, line 3: rating '{rating}', expected one of 1, 2, 3, 4, 5")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        pytest.param(b"\n", "is empty", id="empty line"),
        pytest.param(b'  <?xml version="1.0"?>\n<Error/>\n', "is a web page", id="XML"),
        pytest.param(b"user_id:token\trating:float\n7\t3\n", "has no column item_id", id="no item column"),
        pytest.param(b"user_id:token\titem_id:token\n7\t9\n", "has no column rating", id="no rating column"),
        pytest.param(b"user_id,item_id,rating\n7,9,3\n", "has no column user_id", id="other separator"),
        pytest.param(b"PK\x03\x04\x00\xff\xfe\n\x00", "has no column user_id", id="archive"),
        pytest.param(INTER.encode() + b"7\t9\t3\n8\t9\t3\t4\n", "is not a table", id="one longer row"),
    ],
)
def test_what_is_no_data_file_is_refused_by_name(tmp_path, content, problem):
    path = tmp_path / "x.inter"
    path.write_bytes(content)
    with pytest.raises(InputError) as refused:
        read_ratings(path, "\t", STARS)
    assert str(refused.value).startswith(f"{path}: {problem}")


def test_what_a_reader_lacks_is_refused_by_name(tmp_path):
    path = tmp_path / "x.csv"
    with pytest.raises(InputError, match=r"x\.csv: cannot be read"):
        read_ratings(path, ",", STARS)
    path.write_text('user_id:token,item_id:token,rating:float\n"a,x,5\nb,y,4\n')
    with pytest.raises(InputError, match=r"x\.csv: is not a table"):
        read_ratings(path, ",", STARS)
    path.write_bytes(b"\xef\xbb\xbf" + INTER.encode() + b"\xe9\t9\t3\n")
    with pytest.raises(InputError, match=r"x\.csv: begins as UTF-8"):
        read_ratings(path, "\t", STARS)
    path.write_text("item_id:token\tclass:token_seq\n7\tDrama\n")
    with pytest.raises(InputError, match=r"x\.csv: has no column title"):
        read_items(path)


@pytest.mark.parametrize(
    ("tokens", "in_order"),
    [
        (["10", "9", "2", "10"], ["2", "9", "10"]),
        (["10", "-1", "0"], ["-1", "0", "10"]),
        (["10", "9", "02"], ["02", "10", "9"]),  # 02 is no plainly written number, so all are text
        (["10", "9", "u1"], ["10", "9", "u1"]),
        (["10", "9", "²"], ["10", "9", "²"]),
        (["10", "9", "-"], ["-", "10", "9"]),
        (["3", "--5"], ["--5", "3"]),
        (["9" * 5000, "3", "10"], ["10", "3", "9" * 5000]),  # more digits than Python reads
        ([], []),
    ],
)
def test_ids_are_sorted_by_number_if_all_are_plain_integers_else_as_text(tokens, in_order):
    assert sort_ids(tokens).tolist() == in_order


def test_encode_gives_positions_and_minus_one_for_the_unknown():
    column = pd.Series(["b", "x", "a", "b"], dtype="category")
    assert encode(column, np.array(["a", "b", "c"], object)).tolist() == [1, -1, 0, 1]


def test_long_files_read_the_same_as_short_ones_and_only_the_items_wanted(tmp_path, monkeypatch):
    path, items = tmp_path / "x.inter", tmp_path / "x.item"
    path.write_text(INTER + "".join(f"u{n}\ti{n % 3}\t{n % 5 + 1}\n" for n in range(7)))
    items.write_text("item_id\ttitle\n" + "".join(f"{n}\tTitle {n}\n" for n in range(9)))
    whole, read_csv = read_ratings(path, "\t", STARS), pd.read_csv
    monkeypatch.setattr(pd, "read_csv", lambda *given, **options: read_csv(*given, **options | {"chunksize": 2}))
    pd.testing.assert_frame_equal(read_ratings(path, "\t", STARS).astype(str), whole.astype(str))
    wanted = [{"item": "3", "title": "Title 3"}, {"item": "7", "title": "Title 7"}]
    assert read_items(items, ["7", "3", "33"]).to_dict("records") == wanted
    assert read_items(items, []).empty and len(read_items(items)) == 9


@pytest.mark.parametrize(
    ("rows", "message"), [("7\t1\t5\n7\t2", "cut off"), ("7\t1\t5\n\n\n7\t2\tbad\n", "line 5: rating 'bad'")]
)
def test_a_cut_off_file_is_refused_and_blank_lines_do_not_shift_line_numbers(tmp_path, rows, message):
    path = tmp_path / "x.inter"
    path.write_text("user_id:token\titem_id:token\trating:float\n" + rows)
    with pytest.raises(InputError, match=message):
        read_ratings(path, "\t", (1, 2, 3, 4, 5))


def test_timestamps_are_numbers_where_they_are_asked_for(tmp_path):
    path = tmp_path / "x.inter"
    path.write_text("user_id\titem_id\trating\ttimestamp\n7\t1\t5\t978300760\n7\t2\t4\t\n7\t3\t4\t1.5e9\n")
    np.testing.assert_array_equal(read_ratings(path, "\t", STARS, timed=True).timestamp, [978300760, np.nan, 1.5e9])
    assert "timestamp" not in read_ratings(path, "\t", STARS)
    path.write_text(f"{INTER}7\t1\t5\n")
    assert "timestamp" not in read_ratings(path, "\t", STARS, timed=True)


@pytest.mark.parametrize("timestamp", ["yesterday", "2005-04-02 23:53:47", "nan", "inf", "1,5"])
def test_a_timestamp_that_is_no_number_is_refused_with_file_line_and_value(tmp_path, timestamp):
    path = tmp_path / "x.inter"
    path.write_text(f"user_id\titem_id\trating\ttimestamp\n7\t1\t5\t9\n\n7\t2\t4\t{timestamp}\n7\t3\t4\tworse\n")
    with pytest.raises(InputError) as refused:
        read_ratings(path, "\t", STARS, timed=True)
    assert str(refused.value).startswith(f"{path}, line 4: timestamp {timestamp!r}, expected a number")
