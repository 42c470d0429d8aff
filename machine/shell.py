"""What a command owes the shell: exit codes, one line on stderr, and an end where it can go on later."""

import argparse
import os
import signal
import sys
from contextlib import contextmanager
from pathlib import Path

from utils import InputError

AGAIN = "interrupted; the same command goes on (main.py with --resume, once training has begun)"


class Stopped(BaseException):
    """A signal asked to stop, and everything is saved.  cli() prints the message and exits with 128 + number."""

    def __init__(self, number, message):
        super().__init__(message)
        self.number = number


def cli(job, argv=None):
    """Run job(argv); returns the exit code.

    0 when it ended well, 2 for unusable input (one line on stderr), 130 or 143 when it was interrupted.
    """

    def terminate(number, frame):
        raise Stopped(number, AGAIN)

    signal.signal(signal.SIGTERM, terminate)
    if os.environ.get("LOCAL_RANK", "0") != "0":
        be_silent()  # what is wrong with the command, the first process of a machine says
    try:
        job(argv)
    except InputError as error:
        return fail(error)
    except OSError as error:  # a full disk, a folder that may not be written to
        return fail(f"{error.filename or 'a file'}: {error.strerror or error}")
    except Stopped as stop:
        print(stop, file=sys.stderr)
        return 128 + stop.number
    except KeyboardInterrupt:
        print(AGAIN, file=sys.stderr)
        return 128 + signal.SIGINT
    return 0


def be_silent():
    """Nothing more on stderr: of several processes of one run (processes.py) another one speaks."""
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115, held to the end


def fail(message):
    """One line on stderr; returns the exit code of unusable input."""
    print("error:", " ".join(str(message).split()), file=sys.stderr)
    return 2


def report_command(argv, about, examples, path_help, lines, add_flags):
    """A program with one command, `report PATH`, which prints a report card; returns the exit code.

    lines: options -> the card's lines; what takes long to import it imports itself, so that --help and a typo are
    answered at once.  add_flags: gets add_argument.
    """
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=about, epilog=examples, formatter_class=style, allow_abbrev=False)
    parser.error = lambda message: sys.exit(fail(f"{message} (--help lists what there is)"))
    parser.add_argument("command", choices=["report"], help="print a report card")
    parser.add_argument("path", type=Path, help=path_help)
    add_flags(parser.add_argument)
    options = parser.parse_args(argv)
    try:
        print(*lines(options), sep="\n")
    except InputError as error:
        return fail(error)
    return 0


@contextmanager
def deferred_signals():
    """Yields a list in which SIGINT and SIGTERM are noted, for a loop that ends where it can go on later.

    A second signal does not wait for the loop.
    """
    noted = []

    def note(number, frame):
        if noted:
            raise Stopped(number, "interrupted at once; the same command with --resume goes on from last.pt")
        noted.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
