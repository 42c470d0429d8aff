"""Putting the files of a data set known by name into its folder.

They are written under a temporary name and renamed, and nothing is written that differs from its pin.
"""

from pathlib import Path

from machine.download import FAILURES, verify
from preparation.convert import convert_netflix
from preparation.sources import DATASETS, NOT_OURS, RECBOLE_PAGE, converted
from utils import InputError, write_atomically


def fetch(name, folder, log=print, only=""):
    """Put the missing files of a known data set into its folder.  only: the suffix of those that are wanted.

    A file of the same suffix under another name counts as there: it is somebody's own version, used
    as it is.  Raises InputError when no source has the files.
    """
    known = DATASETS[name]
    if name == "Netflix-1M":
        make_netflix_item(folder)
    wanted = [file for file in missing_files(known, folder) if file.endswith(only)]
    if not wanted or converted_in_place(known, wanted, folder, log):
        return
    lacks = f"{folder}: lacks {' and '.join(wanted)}"
    for file in wanted:
        if file in known.by_hand:
            raise InputError(f"{lacks}; {known.by_hand[file]}")
    failures = []
    for source in known.sources:  # the first that has all of them wins
        where = source.args[0]  # the address or, for pip, the requirement
        try:
            write_files(source(wanted), known.files, folder)
            return log(f"fetched {', '.join(wanted)} from {where}")
        except FAILURES as error:
            failures.append(f"{where} ({error})")
    where = RECBOLE_PAGE
    if known.grouplens:
        where += f", or {' and '.join(known.grouplens.files)} from {known.grouplens.page}"
    how = f"download {' and '.join(wanted)} by hand from {where}, and put them there"
    raise InputError(f"{lacks}; {how}; tried {'; '.join(failures)}")


def converted_in_place(known, wanted, folder, log):
    """Whether GroupLens' own files lay in the folder, put there by hand: then they are converted."""
    if not known.grouplens or not all((folder / file).exists() for file in known.grouplens.files):
        return False
    names = " and ".join(known.grouplens.files)
    try:
        contents = converted(known.grouplens.convert, lambda file: (folder / file).read_bytes(), wanted)
    except ValueError as error:
        problem = f"are not as GroupLens publishes them ({error}); download them anew from"
        raise InputError(f"{folder}: {names} {problem} {known.grouplens.page}") from None
    write_files(contents, {}, folder)
    log(f"converted {names} to {' and '.join(contents)}")
    return True


def missing_files(known, folder):
    there = {path.suffix for path in folder.glob("*") if path.name != NOT_OURS}
    return [file for file in known.files if Path(file).suffix not in there]


def make_netflix_item(folder):
    """Write netflix.item where the two files that it is made from have been put."""
    titles, genres = folder / "movie_titles.csv", folder / "netflix_genres.csv"
    if not (titles.exists() and genres.exists()):
        return
    try:
        content = convert_netflix(titles.read_bytes(), genres.read_bytes())
    except ValueError as error:
        problem = f"not rows of id,year,title and movieId,genres ({error})"
        raise InputError(f"{titles} or {genres}: {problem}") from None
    write_atomically(folder / "netflix.item", lambda path: path.write_bytes(content))


def write_files(contents, pinned, folder):
    """Write {file name: content}, once all that is pinned by its SHA-256 has proved right."""
    for file, content in contents.items():
        verify(content, pinned.get(file), file)
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in contents.items():
        write_atomically(folder / file, lambda path, content=content: path.write_bytes(content))
