"""How a flag is declared: once, as a field of a dataclass of settings.

    learning_rate: float = flag(1e-3, "of Adam", least=0)

The parser, the limits, the help, the defaults, the effective settings and the name of a run all follow from it.  A
class of settings holds what one part of the program needs: its own flags, those of the classes it inherits from, and
those that it shares with another class.
"""

import inspect
import math
import types
from dataclasses import MISSING, dataclass, field, fields
from typing import NamedTuple, get_args, get_origin

from utils import InputError


@dataclass
class Settings:
    """What every class of settings has."""

    title = ""  # of the section of the help with the flags that it declares

    def idle(self):
        """Yields (flags in one string, why they change nothing) beside the values of the others."""
        return ()

    def without_use(self):
        """{flag: why it changes nothing}; of several reasons the first."""
        found = {}
        for names, why in self.idle():
            found = dict.fromkeys(names.split(), why) | found
        return found

    def check(self):
        """Raises InputError for values that cannot go together."""


class Declaration(NamedTuple):
    """A flag as it was declared."""

    name: str
    owner: type  # the class that declares it: its section of the help
    kind: type  # of a value, or of each in a list
    more: dict  # what flag() was given


def flag(default, help, **more):
    """A field of a class of settings.

    more:
        least, most     limits of a number, or of each in a list
        choices, nargs, metavar, type   as argparse has them; type where the annotation does not say
        named           False: the name of a run does not tell it, because it changes no experiment or has other words
        free            True: a run may be resumed with another value
        action          True: says what to do now, and is no setting of the run
        common          True: the short --help has it
        default_words   what the help says of a default that is worked out later
    """
    metadata = {"help": help, **more}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def shared(cls, name, default=MISSING):
    """A flag that another class declares, and this one reads, too.  default: where this class has another."""
    metadata = {"shared": cls}
    if default is not MISSING:
        return field(default=default, metadata=metadata)
    its = cls.__dataclass_fields__[name]
    return field(default=its.default, default_factory=its.default_factory, metadata=metadata)


def declared_by(cls):
    """The Declarations of a class, without what it shares with another or changes the default of."""
    found = []
    for name in inspect.get_annotations(cls):
        own = cls.__dataclass_fields__[name]
        if "help" in own.metadata:
            found.append(Declaration(name, cls, kind_of(own.type), dict(own.metadata)))
    return found


def kind_of(annotation):
    """The type of an annotation such as int or int | None; of list[float] that of each in the list."""
    if isinstance(annotation, types.UnionType):
        (annotation,) = (kind for kind in get_args(annotation) if kind is not types.NoneType)
    if get_origin(annotation) is list:
        return get_args(annotation)[0]
    return annotation


def names_of(cls):
    """The flags of a class of settings, in the order of their declaration."""
    return [each.name for each in fields(cls)]


def own_names_of(cls):
    """The flags of a class of settings that it does not share with another class."""
    return [each.name for each in fields(cls) if "shared" not in each.metadata]


def default_of(cls, name):
    """The default that a class of settings has of a flag."""
    found = cls.__dataclass_fields__[name]
    return found.default_factory() if found.default is MISSING else found.default


def beside(words):
    """Why a flag changes nothing: another one, in these words, leaves it without a use."""
    return f"{words} leaves it without a use; leave one of them out"


def refuse_idle(idle, given, defaults):
    """Raises InputError where a flag that changes nothing was given with another value than its default.

    idle: {flag: why}.  given, defaults: {flag: value}.
    """
    for name in sorted(idle.keys() & given.keys()):
        if given[name] != defaults[name]:
            raise InputError(f"--{name}: {idle[name]}")


def check_value(flag, value):
    """Raises InputError for a number that is out of its flag's limits, or not finite.  flag: its Declaration."""
    least, most = flag.more.get("least"), flag.more.get("most")
    for number in value if isinstance(value, list) else [value]:
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            continue
        if least is not None and not least <= number < math.inf:
            raise InputError(f"--{flag.name} {number}: must be a number of at least {least}")
        if not (math.isfinite(number) or isinstance(value, list)):  # a list without limits has a check of its own
            raise InputError(f"--{flag.name} {number}: must be a finite number")
        if most is not None and number > most:
            raise InputError(f"--{flag.name} {number}: must be at most {most}")
