"""The data sets known by name, and where their files come from.

No single source can be trusted to be up, so each data set lists several, tried in order (fetch.py).
Files are pinned by SHA-256 where it is known.  Archives are read member by member, never unpacked
by their own paths.
"""

import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from machine.download import download, from_wheel, read_member
from preparation.convert import convert_ml_1m, convert_ml_100k, convert_netflix

RECBOLE = "https://recbole.s3-accelerate.amazonaws.com/ProcessedDatasets"
RECBOLE_PAGE = "https://recbole.io/dataset_list.html"
GROUPLENS = "https://files.grouplens.org/datasets/movielens"
GROUPLENS_PAGE = "https://grouplens.org/datasets/movielens"
NOT_OURS = "u.item"  # GroupLens' own file, for all its suffix

# ------------------------------ sources
# Each is a function that returns {file name: content} for the wanted file names.


def from_zip(url, wanted, convert=None):
    """Files out of a zip archive, found by their base name.  convert: of convert.py, or None."""
    with zipfile.ZipFile(io.BytesIO(download(url))) as archive:
        full_names = {PurePosixPath(name).name: name for name in archive.namelist()}

        def read(name):
            return read_member(archive, full_names[name])

        if convert:
            return converted(convert, read, wanted)
        return {name: read(name) for name in wanted}


def converted(convert, read, wanted):
    """{file name: content} of those of the wanted files that are made of others."""
    suffixes = {Path(file).suffix for file in wanted}
    return {file: content for file, content in convert(read).items() if Path(file).suffix in suffixes}


# ------------------------------ data sets


class ByHand(NamedTuple):
    """Files in a publisher's own form, which may be put into the folder."""

    files: str  # names in words
    page: str  # where they are
    convert: Callable  # one of convert.py
    needed: str = ""  # file that no source has, made of them alone

    def paths(self, folder):
        return [folder / file for file in self.files.split(" and ")]


@dataclass
class DataSet:
    files: dict  # name: SHA-256, or None where it is not known
    sources: list  # functions (wanted file names) -> {name: content}, tried in order
    defaults: dict = field(default_factory=dict)  # flags that the published runs set for it alone
    domain: str = "movies"  # what a language model is told the items are
    sample_users: int = 0  # users drawn before preparation; 0: all
    drop_cold_items: bool = False  # from validation and test: items without a train positive
    by_hand: ByHand | None = None
    splits: dict = field(default_factory=dict)  # git blob ids of the published splits, by part
    labels: str = ""  # git blob id of the published train_augment


def amazon(name, **more):
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
            partial(from_zip, f"{GROUPLENS}/ml-100k.zip", convert=convert_ml_100k),
        ],
        by_hand=ByHand("u.data and u.item", f"{GROUPLENS_PAGE}/100k/", convert_ml_100k),
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
            partial(from_zip, f"{GROUPLENS}/ml-1m.zip", convert=convert_ml_1m),
        ],
        by_hand=ByHand("ratings.dat and movies.dat", f"{GROUPLENS_PAGE}/1m/", convert_ml_1m),
        splits={
            "train_original": "e3baf41eef82249f4af08dc0e9e846a84892a7a0",
            "validation": "474b0a7448e43441e02b924b4fc446f5492654f8",
            "test": "c1407e658b3e0815ace9822ea64dbfed13165d6a",
        },
        labels="40e29bb86d51752fe10a7bc1cd2e3d96c53bbbda",
        defaults={"r": 250},
    ),
    "Netflix-1M": DataSet(
        {"netflix.inter": None, "netflix.item": None},
        [partial(from_zip, f"{RECBOLE}/Netflix/netflix.zip")],
        defaults={"r": 300},
        sample_users=5000,
        drop_cold_items=True,
        by_hand=ByHand(
            "movie_titles.csv and netflix_genres.csv",
            "https://www.kaggle.com/datasets/netflix-inc/netflix-prize-data and "
            "https://github.com/tommasocarraro/netflix-prize-with-genres",
            convert_netflix,
            needed="netflix.item",
        ),
        splits={
            "train_original": "f4341eb1be8f1d794297e33f6ef3f022fc138b1e",
            "validation": "1d16d5157068acc8230ad6b234b5f6992401689d",
            "test": "d1b455f977e866fa707819dbb1df54ae1e563390",
        },
        labels="771c07bced85dba460ce294a103b2bfa55d1c7ad",
    ),
    "Amazon_Digital_Music": amazon(
        "Amazon_Digital_Music",
        domain="music",
        splits={
            "train_original": "2fd87cad23f736fddce491ddffbcb057b8ea05ef",
            "validation": "6a942ba0108749460403ca53b5fd7d92dcd57c75",
            "test": "182119cc4c3f601d253cfef62bc89c875b7c4ad8",
        },
        labels="dac24d3d94cf865b015dfbc5e7e16df854b7c0f2",
    ),
    "Amazon_Books": amazon(
        "Amazon_Books",
        domain="books",
        defaults={"layers": 2},
        splits={
            "train_original": "cc9a161e2c5055808411b7d8395ac1f6dfb91c6d",
            "validation": "3fe96a092f12828ed143f29863fbdde88cd871ee",
            "test": "a3ac9499f5124ddef4d8eba80047736a2fc53a58",
        },
        labels="e9b9200d12833f95584cd2279feefe0987ffa1d4",
    ),
}
