"""answers.jsonl: the verdicts of the refinement, one question a line, only ever appended to."""

import fcntl
import json

from utils import InputError


def read(path):
    """(settings, records, bytes of whole lines) of an answers file; ({}, [], 0) of an empty one.

    The first line holds what every answer in the file was made with (mode, model and revision, dtype, prompt version,
    ...), each later one a question: user, permutation, part, items in the order shown, verdicts, what the mode adds.
    A last line cut short by a kill is left out.  Raises InputError, naming the line, for anything else.
    """
    settings, records, whole = {}, [], 0
    with open(path, "rb") as f:
        for number, line in enumerate(f):
            if not line.endswith(b"\n"):
                break
            try:
                record = json.loads(line)
                if number:
                    record["user"], record["items"], record["verdicts"]
                    records.append(record)
                else:
                    settings = dict(record)
            except (ValueError, KeyError, TypeError):
                raise InputError(f"{path}, line {number + 1}: is no answer; delete the line to ask anew") from None
            whole += len(line)
    return settings, records, whole


def key(record):
    """What makes a question: asked once, answered once."""
    return record["user"], record["permutation"], record["part"]


class Answers:
    """An answers file held open for appending, by one process at a time.

    with Answers(path, settings) as answers: answers.records are those of earlier starts, answers.add(record) writes one
    line.  A half-written last line is cut off.  Raises InputError for a file made with other settings, and for one that
    another process is writing to.
    """

    def __init__(self, path, settings):
        self.path, self.settings, self.records = path, settings, []

    def __enter__(self):
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.file = open(self.path, "ab")
        try:
            self._take()
        except BaseException:
            self.file.close()
            raise
        return self

    def _take(self):
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # released when the process ends, however it ends
        except OSError:
            raise InputError(f"{self.path}: another run is asking these questions; wait until it has ended") from None
        settings, self.records, whole = read(self.path)
        for name, value in self.settings.items() if whole else ():
            if settings.get(name) != value:
                there, now = (text if len(str(text)) < 40 else "..." for text in (settings.get(name), value))
                raise InputError(
                    f"{self.path}: was made with other {name} ({there} there, {now} now); delete its folder to ask anew"
                )
        self.file.truncate(whole)
        if not whole:
            self._write(self.settings)

    def _write(self, record):
        self.file.write(json.dumps(record, ensure_ascii=False).encode(errors="replace") + b"\n")
        self.file.flush()

    def add(self, record):
        self._write(record)
        self.records.append(record)

    def __exit__(self, *_):
        self.file.close()
