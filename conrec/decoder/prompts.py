"""The four prompts, as control tokens (words=False, the tiny decoder) or in words (a language model).

A prompt is a list of parts: a str is text, an int the number of an item, whose three ID tokens are put in, and a
Control one of the tiny decoder's control tokens.  Both pieces come from here: what is asked, and the answer.
Knows neither codes nor tokenizers: backbone.tokens(parts) makes tokens of a prompt, backbone.answer(parts) of an
answer.  The wording is ours.  Titles are data: they are read as text, whatever they say.
"""

from feedback.prompts import DOMAINS
from utils import InputError

PROMPT_VERSION = 1  # raise it when a wording changes, so that stages made with other words are made anew
TEMPLATES = 3  # wordings of each prompt; the tiny decoder has one

# {one}, {several}: words of the domain; {item}, {title}, {options}, {liked}, {disliked}: what is put in
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
    "{liked}A person disliked these {several}, oldest first: {disliked}. Reply with the ID of a {one} that this person "
    "will dislike next.",
    "{liked}This is what one person did not like, from the first to the last: {disliked}. Which {one} will be the next "
    "disappointment? Reply with its ID alone.",
    "{liked}Past dislikes of a person, in order of time: {disliked}. Predict the next {one} the person will dislike, "
    "as an ID.",
)
LIKED = (
    "A person liked these {several}, oldest first: {liked}. ",
    "This is what one person liked, from the first to the last: {liked}. ",
    "Past likes of a person, in order of time: {liked}. ",
)
CHOOSE = " It is one of these: {options}."


class Control(str):
    """A control token, such as Control("<neg>"); as plain text the same characters are only text."""


PAD, BOS, UNKNOWN = Control("<pad>"), Control("<bos>"), Control("<unk>")
END = Control("<eos>")  # ends an answer in words; a language model's own end-of-sequence token
ID_TO_TITLE, TITLE_TO_ID, ANSWER = Control("<s2t>"), Control("<t2s>"), Control("<ans>")
OPTION, POSITIVES, NEGATIVES = Control("<opt>"), Control("<pos>"), Control("<neg>")
CONTROLS = (PAD, BOS, UNKNOWN, END, ID_TO_TITLE, TITLE_TO_ID, ANSWER, OPTION, POSITIVES, NEGATIVES)


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
        return filled(ODD_ONE[template], domain, options=listed(options)), [int(answer)]
    return [BOS, *marked(options), ANSWER], [int(answer)]


def sequence(negatives, positives=None, words=False, domain="items", template=0):
    """Prompt: what will this person dislike next?  Items oldest first; positives None: they are not shown.

    The answer is [item].  In the tiny form the items of the answer simply continue the negatives, which stand last.
    """
    shown = positives is not None and len(positives) > 0
    if words:
        liked = filled(LIKED[template], domain, liked=listed(positives)) if shown else []
        return filled(NEXT[template], domain, liked=liked, disliked=listed(negatives))
    liked = [POSITIVES, *numbers(positives)] if shown else []
    return [BOS, *liked, NEGATIVES, *numbers(negatives)]


def choice(negatives, positives, options, words=False, domain="items", template=0):
    """Prompt: the same with options, one of which is the answer.  Answer: [item]."""
    prompt = sequence(negatives, positives, words, domain, template)
    if words:
        return prompt + filled(CHOOSE, domain, options=listed(options))
    return [*prompt, *marked(options), ANSWER]


def fitted(build, negatives, positives, tokens, room):
    """(tokens of build(negatives, positives), items left out), at most `room` tokens.

    The oldest positives go first, then the oldest negatives but the last one; options stay.  positives may be None.
    tokens: backbone.tokens.  Raises InputError where one negative alone does not fit.
    """
    n_positives = 0 if positives is None else len(positives)

    def without(left_out):
        first = max(left_out - n_positives, 0)  # negatives that go
        rest = None if positives is None else positives[min(left_out, n_positives) :]
        return tokens(build(negatives[first:], rest))

    whole = without(0)
    if len(whole) <= room:
        return whole, 0
    # bisection: leaving out `few` items is not enough, leaving out `enough` is
    few, enough = 0, n_positives + max(len(negatives) - 1, 0)
    if len(without(enough)) > room:
        raise InputError(
            f"a prompt with one negative takes {len(without(enough))} tokens, and the model's context has room for "
            f"{room}; take a model with a longer context"
        )
    while enough - few > 1:
        middle = (few + enough) // 2
        if len(without(middle)) > room:
            few = middle
        else:
            enough = middle
    return without(enough), enough


def numbers(items):
    return [int(item) for item in items]


def listed(items):
    """Items as parts, with commas between them."""
    parts = []
    for item in numbers(items):
        parts += [", ", item] if parts else [item]
    return parts


def marked(items):
    """Items as options of the tiny form."""
    parts = []
    for item in numbers(items):
        parts += [OPTION, item]
    return parts


def filled(wording, domain, **values):
    """A wording with parts put in: {name} becomes the parts `name`, {one} and {several} words of the domain."""
    one, several = DOMAINS[domain]
    parts = []
    for piece in wording.split("{"):
        name, found, rest = piece.partition("}")
        if not found:  # what stands before the first brace
            parts.append(piece)
        elif name in ("one", "several"):
            parts.append((one if name == "one" else several) + rest)
        else:
            parts += [*values[name], rest]
    return joined(parts)


def joined(parts):
    """Neighbouring texts as one, so that a tokenizer sees whole phrases."""
    result = []
    for part in parts:
        if result and is_text(part) and is_text(result[-1]):
            result[-1] += part
        else:
            result.append(part)
    return [part for part in result if part != ""]


def is_text(part):
    return isinstance(part, str) and not isinstance(part, Control)
