"""Putting the files of a data set known by name into its folder.

They are written under a temporary name and renamed, and nothing is written that differs from its pin.
"""

from pathlib import Path

from machine.download import FAILURES, verify
from preparation.sources import DATASETS, NOT_OURS, RECBOLE_PAGE, converted
from utils import InputError, write_atomically


def fetch(name, folder, log=print, only=""):
    """Put the missing files of a known data set into its folder.  only: the suffix of those that are wanted.

    A file of the same suffix under another name counts as there: it is somebody's own version, used
    as it is.  Raises InputError when no source has the files.
    """
    known = DATASETS[name]
    by_hand = known.by_hand
    wanted = missing_files(known, folder, only)
    if wanted and by_hand and all(map(Path.exists, by_hand.paths(folder))):
        convert(by_hand, folder, wanted, log)
        wanted = missing_files(known, folder, only)
    if not wanted:
        return
    lacks = f"{folder}: lacks {' and '.join(wanted)}"
    if by_hand and by_hand.needed in wanted:
        raise InputError(
            f"{lacks}; download {by_hand.files} by hand from {by_hand.page}, and put them there: "
            f"{by_hand.needed} is made of them, and the rest is then fetched"
        )
    failures = []
    for source in known.sources:  # the first that has all of them wins
        where = source.args[0]  # the address or, for pip, the requirement
        try:
            write_files(source(wanted), known.files, folder)
            return log(f"fetched {', '.join(wanted)} from {where}")
        except FAILURES as error:
            failures.append(f"{where} ({error})")
    where = RECBOLE_PAGE
    if by_hand and not by_hand.needed:
        where += f", or {by_hand.files} from {by_hand.page}"
    how = f"download {' and '.join(wanted)} by hand from {where}, and put them there"
    raise InputError(f"{lacks}; {how}; tried {'; '.join(failures)}")


def convert(by_hand, folder, wanted, log):
    """Make the wanted files of those that were put into the folder by hand, where they can be."""
    try:
        contents = converted(by_hand.convert, lambda file: (folder / file).read_bytes(), wanted)
    except ValueError as error:
        problem = f"are not as they are published ({error}); download them anew from"
        raise InputError(f"{folder}: {by_hand.files} {problem} {by_hand.page}") from None
    if contents:
        write_files(contents, {}, folder)
        log(f"converted {by_hand.files} to {' and '.join(contents)}")


def missing_files(known, folder, only=""):
    there = {path.suffix for path in folder.glob("*") if path.name != NOT_OURS}
    return [file for file in known.files if file.endswith(only) and Path(file).suffix not in there]


def write_files(contents, pinned, folder):
    """Write {file name: content}, once all that is pinned by its SHA-256 has proved right."""
    for file, content in contents.items():
        verify(content, pinned.get(file), file)
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in contents.items():
        write_atomically(folder / file, lambda path, content=content: path.write_bytes(content))
