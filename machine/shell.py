"""What a command owes the shell: exit codes, one line on stderr, and an end where it can go on later."""

import os
import signal
import sys
from contextlib import contextmanager, suppress

from utils import InputError

NOBODY_READS = 128 + signal.SIGPIPE  # the exit code of head's left neighbour in "yes | head -1", as bash reports it
AGAIN = "interrupted; the same command goes on (main.py with --resume, once training has begun)"


class Stopped(BaseException):
    """A signal asked to stop, and everything is saved.  cli() prints the message and exits with 128 + number."""

    def __init__(self, number, message):
        super().__init__(message)
        self.number = number


def cli(job, argv=None):
    """Run job(argv); returns the exit code.

    What the job returned (None: 0) when it ended well, 2 for unusable input (one line on stderr), 130 or 143 when it
    was interrupted, 141 when nobody read any more what it printed (a training run goes on then: run_folder.Run.log).
    """

    def terminate(number, frame):
        raise Stopped(number, AGAIN)

    signal.signal(signal.SIGTERM, terminate)
    print_anything()
    if os.environ.get("LOCAL_RANK", "0") != "0":
        be_silent()  # what is wrong with the command, the first process of a machine says
    try:
        code = job(argv) or 0
    except SystemExit as stop:  # argparse, after --help or a typo
        code = stop.code
    except InputError as error:
        code = fail(error)
    except OSError as error:  # a full disk, a folder that may not be written to
        code = of_os_error(error)
    except Stopped as stop:
        say(stop)
        code = 128 + stop.number
    except KeyboardInterrupt:
        say(AGAIN)
        code = 128 + signal.SIGINT
    try:
        sys.stdout.flush()  # at the very end nobody could answer for it
    except OSError as error:
        code = code or of_os_error(error, "stdout")
        lead_nowhere(sys.stdout)
    return code


def of_os_error(error, path="a file"):
    """The exit code, after a line on stderr but where it was stdout that nobody reads any more.

    path: what it is about, where the error does not name it.
    """
    if isinstance(error, BrokenPipeError) and not error.filename:
        lead_nowhere(sys.stdout)
        return NOBODY_READS
    return fail(f"{error.filename or path}: {error.strerror or error}")


def print_anything():
    """Nothing that is printed ends the program: a character that the terminal's encoding lacks is shown as \\xe9."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed before the program began
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115, held to the end
        elif hasattr(stream, "reconfigure"):  # a notebook's or a test's may be of another kind
            stream.reconfigure(errors="backslashreplace")


def lead_nowhere(stream):
    """Nothing that is or was written to the stream fails from here on."""
    with open(os.devnull, "w") as nowhere, suppress(OSError):  # one that is no file of the system
        os.dup2(nowhere.fileno(), stream.fileno())


def be_silent():
    """Nothing more on stderr: of several processes of one run (processes.py) another one speaks."""
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115, held to the end


def fail(message):
    """One line on stderr; returns the exit code of unusable input."""
    say("error: " + " ".join(str(message).split()))
    return 2


def say(line):
    """A line on stderr, if anybody reads it."""
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:  # a pipe or a terminal that is no longer there
        lead_nowhere(sys.stderr)


def wants_help(arguments):
    return bool({"-h", "--help"} & set(arguments))


def print_help(doc):
    """doc: the docstring of a program, None under python -OO."""
    print(doc or "python -OO leaves out the help; start it without -OO to read it")


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
