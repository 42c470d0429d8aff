"""answers.jsonl: a language model's answers, one question a line, only ever appended to."""

import json

from utils import InputError, lock_of, refuse_other_settings, take

FIELDS = ("user", "permutation", "part", "items", "verdicts")  # what a record of the refinement must have


def read(path, fields=FIELDS):
    """(settings, records, bytes of whole lines) of an answers file; ({}, [], 0) of an empty one.

    The first line holds what every answer in the file was made with: mode, model and revision, dtype and so on.
    Each later line is a question: user, permutation, part, items in the order shown, verdicts, and what the mode
    adds.  A last line cut short by a kill is left out.  Raises InputError, naming the line, for anything else.
    """
    settings, records, whole_bytes = {}, [], 0
    with open(path, "rb") as f:
        for number, line in enumerate(f, 1):
            if not line.endswith(b"\n"):
                break  # a kill came between the beginning of this line and its end
            try:
                content = json.loads(line)
                if number == 1:
                    settings = dict(content)
                else:
                    for field in fields:
                        content[field]  # must be there
                    records.append(content)
            except (ValueError, KeyError, TypeError):
                raise InputError(f"{path}, line {number}: is no answer; delete the line to ask anew") from None
            whole_bytes += len(line)
    return settings, records, whole_bytes


def key(record):
    """What makes a question: asked once, answered once."""
    return record["user"], record["permutation"], record["part"]


def latest(records):
    """{key: record}, one record a question: the last one where it was asked again."""
    return {key(record): record for record in records}


class Answers:
    """An answers file held open for appending, by one process at a time.

    with Answers(path, settings) as answers:
        answers.records      those of earlier starts
        answers.add(record)  writes one line

    fields: the keys that every record has.  A half-written last line is cut off.  Raises InputError for a file
    made with other settings, and for one that another process is writing to.
    """

    def __init__(self, path, settings, fields=FIELDS):
        self.path, self.settings, self.fields, self.records = path, settings, fields, []
        self.lock = lock_of(path)

    def __enter__(self):
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.file = open(self.path, "ab")
        try:
            if not take(self.lock):
                raise InputError(f"{self.path}: another run is asking these questions; wait until it has ended")
            self._go_on()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _go_on(self):
        """Read what earlier starts wrote, or begin the file with the settings."""
        settings, self.records, whole_bytes = read(self.path, self.fields)
        # compared before anything is cut off; the settings of a start without an answer bind nobody
        if self.records:
            refuse_other_settings(self.path, settings, self.settings, "delete its folder to ask anew")
            self.file.truncate(whole_bytes)
        else:
            self.file.truncate(0)
            self._write(self.settings)

    def _write(self, record):
        line = json.dumps(record, ensure_ascii=False) + "\n"
        self.file.write(line.encode(errors="replace"))  # half a surrogate pair cannot be encoded
        self.file.flush()  # a kill from here on loses nothing

    def add(self, record):
        self._write(record)
        self.records.append(record)

    def __exit__(self, *_):
        self.file.close()
        self.lock.release()
