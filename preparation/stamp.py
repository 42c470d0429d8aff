"""Whether files that were made from others are still those: prepared.json lies beside them."""

from pathlib import Path

from utils import InputError, read_json, sha256


def is_up_to_date(paths, stamp, made_from):
    """Whether the files are those that prepared.json (the stamp) says were made from made_from.

    Raises InputError for a file that was changed since: work done by hand is not to be overwritten.
    """
    if not stamp.exists() or not all(map(Path.exists, paths)):
        return False
    stamped = read_stamp(stamp)
    for path in paths:
        if sha256(path) != stamped["made"].get(path.name):
            raise InputError(
                f"{path}: was changed after it was prepared; delete it to prepare it anew, "
                f"or delete {stamp} to use it as it is"
            )
    return stamped["made_from"] == made_from


def read_stamp(stamp):
    """{"made_from", "made"} of a prepared.json; {} where there is none; others are refused."""
    if not stamp.exists():
        return {}
    try:
        stamped = dict(read_json(stamp))
        return {key: dict(stamped[key]) for key in ("made_from", "made")}
    except (ValueError, LookupError, TypeError):
        problem = "is not JSON of this program; delete it to use the splits beside it as they are"
        raise InputError(f"{stamp}: {problem}") from None
