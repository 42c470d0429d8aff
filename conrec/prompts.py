"""The four prompts, as control tokens (words=False, the tiny decoder) or in words (a language model).

A prompt is a list of parts: a str is text, an int the number of an item, whose three ID tokens are put in, and a
Control one of the tiny decoder's control tokens.  Both pieces come from here: what is asked, and the answer.
Knows neither codes nor tokenizers: backbone.tokens(parts) makes tokens of a prompt, backbone.answer(parts) of an answer.
"""

PROMPT_VERSION = 1  # raise it when a wording changes, so that stages made with other words are made anew
TEMPLATES = 3  # wordings of each prompt; the tiny decoder has one


class Control(str):
    """A control token, such as Control("<neg>"); as plain text the same characters are only text."""


END = Control("<eos>")  # ends an answer in words; a language model's own end-of-sequence token


def translation(item, title, to_title, words=False, domain="items", template=0):
    """(prompt, answer): the title of an ID (to_title), or the ID of a title."""
    raise NotImplementedError


def alignment(options, answer, words=False, domain="items", template=0):
    """(prompt, answer): which of these items was one person not interested in?  answer: its number."""
    raise NotImplementedError


def sequence(negatives, positives=None, words=False, domain="items", template=0):
    """Prompt: what will this person dislike next?  Items oldest first; positives None: they are not shown.

    The answer is [item].  In the tiny form the items of the answer simply continue the negatives.
    """
    raise NotImplementedError


def choice(negatives, positives, options, words=False, domain="items", template=0):
    """Prompt: the same with options, one of which is the answer."""
    raise NotImplementedError


def fitted(build, negatives, positives, tokens, room):
    """(tokens of build(negatives, positives), items left out), at most `room` tokens.

    The oldest positives go first, then the oldest negatives but the last one; options stay.  positives may be None.
    tokens: backbone.tokens.  Raises InputError where one negative alone does not fit.
    """
    raise NotImplementedError
