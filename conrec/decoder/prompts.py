"""The three prompts, as control tokens (words=False, the tiny decoder) or in words (a language model).

A prompt is a list of parts: a str is text, an int the number of an item, whose three ID tokens are put in, and a
Control one of the tiny decoder's control tokens.  Both pieces come from here: what is asked, and the answer.
Knows neither codes nor tokenizers: backbone.tokens(parts) makes tokens of a prompt, backbone.answer(parts) of an
answer.  The wording is ours.  Titles are data: they are read as text, whatever they say.
"""

from conrec.data.events import DISLIKE
from feedback.prompts import DOMAINS
from llm.request import most_that_fits
from utils import InputError

PROMPT_VERSION = 2  # raise it when a wording changes, so that stages made with other words are made anew
TEMPLATES = 3  # wordings of each prompt; the tiny decoder has one

# {one}, {several}: words of the domain; {item}, {title}, {options}, {events}, {ask}: what is put in
TITLE_OF_ID = (
    "What is the title of the {one} with the ID {item}? Reply with the title alone.",
    "Each {one} in a catalog has an ID. Which {one} has the ID {item}? Reply with its title and nothing else.",
    "Translate the ID {item} into the title of the {one} that it stands for.",
)
ID_OF_TITLE = (
    "What is the ID of this {one}: {title}? Reply with the ID alone.",
    "Each {one} in a catalog has an ID. Which ID does this {one} have: {title}? Reply with it and nothing else.",
    "Translate the title of a {one} into its ID. The title: {title}",
)
ODD_ONE = (
    "One person was not interested in one of these {several} and liked the others: {options}. Which one is it? "
    "Reply with its ID alone.",
    "Of the following {several} somebody liked all but one: {options}. Name the ID of the one that was disliked.",
    "Here are some {several}: {options}. One of them disappointed a person who enjoyed the rest. Reply with its ID.",
)
NEXT = (
    "A person rated these {several}, oldest first: {events}. Reply with the ID of a {one} that this person will "
    "{ask} next.",
    "This is what one person thought of some {several}, from the first to the last: {events}. Which {one} will the "
    "person {ask} next? Reply with its ID alone.",
    "Past ratings of a person, in order of time: {events}. Predict the next {one} that the person will {ask}. Give "
    "its ID.",
)
FOUND = ("disliked ", "found so-so ", "liked ")  # of an event of each sign (events.DISLIKE, NEUTRAL, LIKE)
ASK = ("dislike", "find so-so", "like")


class Control(str):
    """A control token, such as Control("<like>"); as plain text the same characters are only text."""


PAD, BOS, UNKNOWN = Control("<pad>"), Control("<bos>"), Control("<unk>")
END = Control("<eos>")  # ends an answer in words; a language model's own end-of-sequence token
ID_TO_TITLE, TITLE_TO_ID, ANSWER = Control("<s2t>"), Control("<t2s>"), Control("<ans>")
OPTION = Control("<opt>")
SIGNS = (Control("<dislike>"), Control("<neutral>"), Control("<like>"))  # before the item of an event: how it was rated
CONTROLS = (PAD, BOS, UNKNOWN, END, ID_TO_TITLE, TITLE_TO_ID, ANSWER, OPTION, *SIGNS)


def translation(item, title, to_title, words=False, domain="items", template=0):
    """(prompt, answer): the title of an ID (to_title), or the ID of a title."""
    answer = [title, END] if to_title else [int(item)]
    if words:
        wording = (TITLE_OF_ID if to_title else ID_OF_TITLE)[template]
        return filled(wording, domain, item=[int(item)], title=[title]), answer
    if to_title:
        return [BOS, ID_TO_TITLE, int(item), ANSWER], answer
    return [BOS, TITLE_TO_ID, title, ANSWER], answer


def alignment(options, answer, words=False, domain="items", template=0):
    """(prompt, answer): which of these items was one person not interested in?  answer: its number."""
    if words:
        shown = listed(options, [""] * len(options), comma=True)
        return filled(ODD_ONE[template], domain, options=shown), [int(answer)]
    return [BOS, *listed(options, [OPTION] * len(options)), ANSWER], [int(answer)]


def sequence(items, signs, asked=DISLIKE, words=False, domain="items", template=0):
    """Prompt: after these events, what will this person dislike (like, find so-so: `asked`) next?  Oldest first.

    The answer is [item].  In the tiny form it simply continues the events, <bos> <sign> item <sign> item ... <asked>,
    so that one row of a user's events asks for each of its items.
    """
    if words:
        rated = listed(items, [FOUND[sign] for sign in signs], comma=True)
        return filled(NEXT[template], domain, events=rated, ask=[ASK[asked]])
    return [BOS, *row_of(items, signs), SIGNS[asked]]


def row_of(items, signs):
    """Events as parts of the tiny form: the sign, then the item of each."""
    return listed(items, [SIGNS[sign] for sign in signs])


def fitted(build, items, signs, tokens, room):
    """(tokens of build(items, signs), events left out), at most `room` tokens.

    The oldest events go, but not the last one.  tokens: backbone.tokens.
    Raises InputError where one event alone does not fit.
    """
    n = len(items)

    def of_last(kept):
        return tokens(build(items[n - kept :], signs[n - kept :]))

    found = most_that_fits(of_last, n, room, least=min(n, 1))
    if found is None:
        raise InputError(
            f"a prompt with one event takes {len(of_last(1))} tokens, and the model's context has room for "
            f"{room}; take a model with a longer context"
        )
    return found[0], n - found[1]


def listed(items, marks, comma=False):
    """Items as parts, each after its mark."""
    parts = []
    for item, mark in zip(items, marks, strict=True):
        if comma and parts:
            parts.append(", ")
        parts += [mark, int(item)]
    return parts


def filled(wording, domain, **values):
    """A wording with parts put in: {name} becomes the parts `name`, {one} and {several} words of the domain."""
    one, several = DOMAINS[domain]
    values |= {"one": [one], "several": [several]}
    before, *pieces = wording.split("{")
    parts = [before]
    for piece in pieces:
        name, _, rest = piece.partition("}")
        for part in [*values[name], rest]:
            # neighbouring texts become one, so that a tokenizer sees whole phrases
            if isinstance(part, str) and isinstance(parts[-1], str):
                parts[-1] += part
            else:
                parts.append(part)
    return [part for part in parts if part != ""]
