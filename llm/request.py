"""A question in words, for a model at hand or a server: shortened until it fits, asked again if need be."""

from collections.abc import Callable
from dataclasses import dataclass, field

from llm.messages import ANSWER_TOKENS


@dataclass
class Request:
    about: object  # what is asked about, for whoever waits for the answer
    write: Callable  # (items of the profile to show, a reply that could not be read) -> messages
    profile: int  # items that may be left out of the profile
    read: Callable  # (answer, whether it came to an end) -> what it says, None where it cannot be read
    room: int = ANSWER_TOKENS  # tokens of the answer at most
    choices: int = 0  # a constrained answer names some of so many numbers
    # what came of it
    raw: list = field(default_factory=list)  # the answers, also after a reminder; none: it does not fit
    said: object = None  # what was read in the last one
    left_out: int = 0  # of the profile, for lack of room
    batch: int = 1  # requests answered at once

    def take(self, text, finished):
        self.raw.append(text)
        self.said = self.read(text, finished)


def most_that_fits(build, most, room, least=0):
    """(build(n), n) of the largest n from `least` to `most` for which it has at most `room` tokens.

    None where not even the least has.
    """
    whole = build(most)
    if len(whole) <= room:
        return whole, most
    # bisection: `fits` items do (or are fewer than the least), `beyond` items do not
    fits, beyond = least - 1, most
    while beyond - fits > 1:
        middle = (fits + beyond) // 2
        if len(build(middle)) <= room:
            fits = middle
        else:
            beyond = middle
    return (build(fits), fits) if fits >= least else None
