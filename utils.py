"""Files, and the error that a user gets to see.  Nothing here takes long to import."""

import hashlib
import json
import os
import re
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

from filelock import FileLock, Timeout

TABLES = (".csv", ".jsonl", ".parquet")  # the forms of write_table


class InputError(Exception):
    """Something the user gave is unusable.  shell.cli prints it on one line and exits with code 2."""


def is_first():
    """Whether this process writes and speaks: the only one, or the first of those that torchrun started."""
    return os.environ.get("RANK", "0") == "0"


def absolute(path):
    """A path from the command line as the settings keep it."""
    return str(Path(path).resolve())


def file_name(model):
    """The last part of a model's name, as the name of a file: a server may call its model x/.. or what it likes."""
    name = re.sub(r"[^\w.:+=@ -]", "_", Path(model).name)[:100]
    return name if name.strip(". ") else "model"


@contextmanager
def named(path):
    """An OSError in the block gets the path's name: one of a full disk comes without, or with a temporary file's."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def write_atomically(path, write):
    """Call write(temporary path), then rename: the file at `path` is whole or absent, never half-written."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with named(path):
            write(temporary)
            with open(temporary, "rb+") as f:
                os.fsync(f.fileno())
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_npz(path, write):
    """write_atomically, with write(open file): given a name, numpy and scipy would put .npz behind it."""

    def to_file(temporary):
        with open(temporary, "wb") as f:
            write(f)

    write_atomically(path, to_file)


def require_table_path(path):
    """Raises InputError where write_table cannot write to this path: it is asked before the work that makes the table.
    """
    if path.suffix not in TABLES:
        raise InputError(f"{path}: what form is meant? The name must end in {', '.join(TABLES)}")
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give the name of a file in it")
    if path.suffix == ".parquet" and find_spec("pyarrow") is None:
        raise InputError(f"{path}: Parquet needs pyarrow (pip install pyarrow); .csv and .jsonl need nothing more")


def write_table(path, table):
    """Write a DataFrame in the form that the name's end says: CSV, JSON lines or Parquet.  A file there is replaced."""

    def write(temporary):
        if path.suffix == ".parquet":
            table.to_parquet(temporary, index=False, engine="pyarrow")
        elif path.suffix == ".jsonl":
            table.to_json(temporary, orient="records", lines=True, force_ascii=False)
        else:
            table.to_csv(temporary, index=False, lineterminator="\n")

    require_table_path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, write)


def lock_of(path):
    """The lock of a file or folder, not taken yet: .NAME.lock beside it, an empty file that stays.

    The operating system gives the lock back when the process ends, however it ends.
    """
    # Not filelock's substitute for file systems without locks, which a killed process would leave taken.
    return FileLock(path.parent / f".{path.name}.lock", fallback_to_soft=False)


def take(lock, log=print):
    """Take a lock without waiting: False where another process has it.  Where there are no locks, this is said."""
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    except OSError as error:  # some network file systems
        log(f"{lock.lock_file}: cannot be locked ({error.strerror}); start no other run that writes here meanwhile")
    return True


@contextmanager
def locked(folder, log=print):
    """Hold the folder's lock, waiting for the process that has it: two runs never write one folder at a time.

    The folder need not be there yet: input that turns out unusable leaves none.  Where nothing may be written, nothing
    needs a lock.
    """
    lock = lock_of(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        Path(lock.lock_file).touch()
    except OSError:
        yield
        return
    if not take(lock, log):
        log(f"waiting for another run that prepares or refines {folder}")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def refuse_other_settings(path, there, now, cure):
    """Raises InputError where a file was made with other settings than these, {name: JSON value}.

    there: the settings in the file; what it has beyond `now` is not looked at.
    """
    for name, value in now.items():
        if there.get(name) != value:
            was, now_is = (v if len(str(v)) < 40 else "..." for v in (there.get(name), value))  # hashes are unreadable
            raise InputError(f"{path}: was made with other {name} ({was} there, {now_is} now); {cure}")


def write_json(path, content):
    write_atomically(Path(path), lambda p: p.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8"))


def read_json(path):
    return json.loads(path.read_text(encoding="utf-8"))


def sha256(path):
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def remembered_sha256(path):
    """sha256(path) of a large file, worked out once: .hashes beside it remembers it by size and time of change.

    That file may be deleted at any time.
    """
    stat = path.stat()
    mark = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]  # a copy may keep the first two
    memory = path.parent / ".hashes"  # not .json: a model folder's .json files are hashed, too
    try:
        known = dict(json.loads(memory.read_text(encoding="utf-8")))
        *before, digest = known.get(path.name, [None])
    except (OSError, ValueError, TypeError):
        known, before, digest = {}, [], None
    if before == mark and digest:
        return digest
    digest = sha256(path)
    with suppress(OSError):  # a folder that may not be written to: worked out anew each time
        write_json(memory, known | {path.name: [*mark, digest]})
    return digest


def hash_of(texts):
    # the texts themselves would make the first line of answers.jsonl too long
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def git_blob_id(path):
    """What `git hash-object` prints: the form in which the published splits are pinned."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
