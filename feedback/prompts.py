"""What a causal language model is told.

Two ways of asking.  generate: numbered items, the answer is a list of numbers.  score: one item,
the answer is Yes or No, of which the probabilities count.  Titles are data: none may end a list.
"""

import re
from functools import partial

import numpy as np

from feedback import reading
from llm.messages import CUE, answer
from llm.request import Request
from utils import InputError

# raised when a wording changes, so that answers to other words are not mixed
PROMPT_VERSION = {"generate": 2, "score": 1}
DOMAINS = {  # --llm_domain: one, several
    "movies": ("movie", "movies"),
    "music": ("album", "albums"),
    "books": ("book", "books"),
    "items": ("item", "items"),
}
EXAMPLE_SIDE = 3  # likes, and dislikes, in the worked example at most
PLACE = re.compile(r"\{(likes|dislikes|items|item|example|one|several)\}")  # what --llm_prompt has for titles
NUMBERS_ONLY = "Reply with the numbers of those, separated by commas, or with none."
REMINDER = (
    "That could not be read. Reply with nothing but numbers from the list, separated by commas, "
    "or with none."
)


def about(domain, question, texts, template=None):
    """The profile: what all questions about a user begin with.  texts: of all items, by number."""
    if template:
        return fill(halves(template)[0], domain, question, texts)
    lines = [f"One person has rated {DOMAINS[domain][1]}."]
    for head, items in (("Liked:", question.likes), ("Disliked:", question.dislikes)):
        if len(items):
            lines += ["", head, *listed(items, texts)]
    return "\n".join(lines) + "\n\n"


def pick(domain, question, texts, chat, template=None):
    """Which of these?  With a worked example, where the user has both likes and dislikes."""
    if template:
        return fill(template, domain, question, texts) + ending(chat)
    several = DOMAINS[domain][1]
    lines, example = [], example_lines(question, texts)
    if example:
        lines = [f"Which of these {several} does this person like?", *example, ""]
    lines.append(f"Which of these {several} would this person like? {NUMBERS_ONLY}")
    lines += numbered(question.items, texts)
    return about(domain, question, texts) + "\n".join(lines) + ending(chat)


def which_of_these(domain, question, texts, chat, template, room):
    """pick() as a Request.  room: tokens of an answer."""

    def write(kept, *said):
        messages = [pick(domain, question.shortened(kept), texts, chat, template)]
        if said:
            messages += [*said, REMINDER if chat else f"\n{REMINDER}\n{CUE}"]
        return messages

    titles = [texts[item] for item in question.items]
    return Request(question, write, question.profile, partial(reading.parse, titles=titles), room, len(titles))


def whether(domain, text, chat, template=None):
    """Would this person like it?  Follows the profile."""
    if template:
        return fill(halves(template)[1], domain, item=text) + ending(chat)
    one = DOMAINS[domain][0]
    return f"Would this person like the {one} {text}? Answer Yes or No." + ending(chat)


def ending(chat):
    """What comes after a question: with a chat template the template's own words."""
    return "" if chat else f"\n{CUE}"


def listed(items, texts):
    return [f"- {texts[item]}" for item in items]


def numbered(items, texts):
    return [f"{number}. {texts[item]}" for number, item in enumerate(items, 1)]


def example_lines(question, texts):
    items, numbers = worked_example(question)
    return [*numbered(items, texts), f"{CUE} {answer(numbers)}"] if numbers else []


def worked_example(question):
    """(items, numbers of the liked ones) from the user's strongest likes and dislikes, if there are both."""
    if not (len(question.likes) and len(question.dislikes)):
        return [], []
    # each question has its own length, count and order: a small model repeats what it is shown
    generator = np.random.default_rng(question.items)
    likes = question.likes[: generator.integers(1, EXAMPLE_SIDE + 1)]
    dislikes = question.dislikes[: generator.integers(1, EXAMPLE_SIDE + 1)]
    items = generator.permutation(np.concatenate([likes, dislikes]))
    liked_places = np.flatnonzero(np.isin(items, likes))
    return items, (liked_places + 1).tolist()


# ---------------------------------------------------------------------------------------------- prompts of the user's


def read_template(path, mode):
    """The text of --llm_prompt, or None.  Raises InputError for one that the mode cannot ask."""
    if path is None:
        return None
    try:
        with open(path, encoding="utf-8") as file:
            template = file.read().strip("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise InputError(f"--llm_prompt {path}: cannot be read ({reason})") from None
    names = PLACE.findall(template)
    needed, strange = ("item", {"items", "example"}) if mode == "score" else ("items", {"item"})
    for name in ("likes", "dislikes", needed):
        if names.count(name) != 1:
            found = f"{{{name}}} stands in it {names.count(name)} times"
            wanted = f"{{likes}}, {{dislikes}} and {{{needed}}}"
            raise InputError(f"--llm_prompt {path}: {found}; mode {mode} needs {wanted} once each")
    for name in strange & set(names):
        raise InputError(f"--llm_prompt {path}: {{{name}}} is for the other --llm_mode; leave it out")
    if mode == "score" and {"likes", "dislikes"} & set(PLACE.findall(halves(template)[1])):
        raise InputError(f"--llm_prompt {path}: {{item}} must stand on a line below {{likes}} and {{dislikes}}")
    return template


def unknown_places(template):
    """Warnings of what looks like a placeholder and is none."""
    lines = []
    for name in dict.fromkeys(re.findall(r"\{[A-Za-z]\w*\}", template)):
        if not PLACE.fullmatch(name):
            known = "{likes}, {dislikes}, {items}, {item}, {example}, {one}, {several}"
            lines.append(f"WARNING: {name} is no placeholder and is sent as it stands; known: {known}")
    return lines


def halves(template):
    """(the profile, which is read once, down to the line with {item}; the question)"""
    cut = template.rfind("\n", 0, template.index("{item}")) + 1
    return template[:cut], template[cut:]


def fill(template, domain, question=None, texts=None, item=""):
    """A template with titles in it.  Braces in titles mean nothing."""
    one, several = DOMAINS[domain]
    lines = {"one": [one], "several": [several], "item": [item]}
    if question is not None:
        lines["likes"] = listed(question.likes, texts) or ["none"]
        lines["dislikes"] = listed(question.dislikes, texts) or ["none"]
        lines["items"], lines["example"] = numbered(question.items, texts), example_lines(question, texts)
    return PLACE.sub(lambda place: "\n".join(lines[place[1]]), template)
