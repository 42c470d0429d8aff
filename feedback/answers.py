"""answers.jsonl: the verdicts of the refinement, one record a line, appended as they come."""

import json
from contextlib import contextmanager

from utils import InputError


class Answers:
    """answers.jsonl: the settings on the first line, then one record a user, only ever appended to.

    A last line cut short by a kill is dropped.  Raises InputError for a file made with other settings.
    """

    def __init__(self, path, settings):
        self.path, self.settings, self.by_user = path, settings, {}
        self.whole = 0  # bytes of complete lines
        if not path.exists():
            return
        with open(path, "rb") as f:
            for number, line in enumerate(f):
                if not line.endswith(b"\n"):
                    break
                try:
                    record = json.loads(line)
                except ValueError:
                    raise InputError(f"{path}, line {number + 1}: is not JSON; delete the line to ask anew") from None
                self.whole += len(line)
                if number == 0:
                    self._check(record)
                else:
                    self.by_user[record["user"]] = record

    def _check(self, settings):
        for key, value in self.settings.items():
            if settings.get(key) != value:
                there, now = (value_ if len(str(value_)) < 40 else "..." for value_ in (settings.get(key), value))
                raise InputError(
                    f"{self.path}: was made with other {key} ({there} there, {now} now); delete its folder to ask anew"
                )

    @contextmanager
    def append(self):
        """Yields add(record), which writes one line; what a kill left of a half-written one is cut off first."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "ab") as f:
            f.truncate(self.whole)

            def write(record):
                self.whole += f.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
                f.flush()

            def add(record):
                write(record)
                self.by_user[record["user"]] = record

            if not self.whole:
                write(self.settings)
            yield add
