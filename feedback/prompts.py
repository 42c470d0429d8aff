"""What a causal language model is told, and how its answer is read.

Two ways of asking.  generate: numbered items, the answer is a list of numbers.  score: one item,
the answer is Yes or No, of which only the probabilities are looked at.  Titles are data: nothing
in them may end a list or a message.
"""

import re

import numpy as np

from llm.messages import CUE, answer

PROMPT_VERSION = 1  # raise it when a wording changes, so that answers to other words are not mixed
DOMAINS = {  # --llm_domain: one, several
    "movies": ("movie", "movies"),
    "music": ("album", "albums"),
    "books": ("book", "books"),
    "items": ("item", "items"),
}
NUMBERS_ONLY = "Reply with the numbers of those, separated by commas, or with none."
REMINDER = (
    "That could not be read. Reply with nothing but numbers from the list, separated by commas, "
    "or with none."
)


def about(domain, question, texts):
    """The profile: what all questions about a user begin with.  texts: of all items, by number."""
    lines = [f"One person has rated {DOMAINS[domain][1]}."]
    for head, items in (("Liked:", question.likes), ("Disliked:", question.dislikes)):
        if len(items):
            lines += ["", head]
            lines += [f"- {texts[item]}" for item in items]
    return "\n".join(lines) + "\n\n"


def pick(domain, question, texts, chat):
    """Which of these?  With a worked example, where the user has both likes and dislikes."""
    several = DOMAINS[domain][1]
    lines = []
    example = worked_example(question)
    if example:
        items, numbers = example
        lines += [f"Which of these {several} does this person like?"]
        lines += numbered(items, texts)
        lines += [f"{CUE} {answer(numbers)}", ""]
    lines += [f"Which of these {several} would this person like? {NUMBERS_ONLY}"]
    lines += numbered(question.items, texts)
    return about(domain, question, texts) + "\n".join(lines) + ending(chat)


def whether(domain, text, chat):
    """Would this person like it?  Follows the profile."""
    one = DOMAINS[domain][0]
    return f"Would this person like the {one} {text}? Answer Yes or No." + ending(chat)


def reminder(chat):
    return REMINDER if chat else f"\n{REMINDER}\n{CUE}"


def ending(chat):
    """What comes after a question: with a chat template the template's own words."""
    return "" if chat else f"\n{CUE}"


def numbered(items, texts):
    return [f"{number}. {texts[item]}" for number, item in enumerate(items, 1)]


def worked_example(question):
    """(items, numbers of the liked ones) from the user's two strongest likes and dislikes.

    None where either side is empty, since "all of them" must not be taught.  Each question has its
    own order, so that no place is taught either.
    """
    likes, dislikes = question.likes[:2], question.dislikes[:2]
    if not (len(likes) and len(dislikes)):
        return None
    generator = np.random.default_rng(question.items)
    items = generator.permutation(np.concatenate([likes, dislikes]))
    liked_places = np.flatnonzero(np.isin(items, likes))
    return items, (liked_places + 1).tolist()


# numbers in a row: 3 / 1, 3 / 1, 3 and 4 / 1 3 4
RUN = r"\d+(?:(?:\s*(?:,|;|&|/|\band\b)\s*)+\d+|\s+\d+)*"
# what may come before them: "answer:", "the numbers are"
LEAD = r"(?:[a-z' ]*\b(?:answer|likes?|numbers?|choices?|chosen|selected|are|is)\b[a-z' ]*:?\s*)?"
# a line that is a list of numbers
LIST = rf"{LEAD}[\[(]?\s*({RUN})\s*[\])]?\s*[.,]?"
# a line that begins with a number as the question's do
LISTED = r"[\[(]?(\d+)\s*[.):\]]"
# numbers within a sentence that says what they are: "items 2 and 4", but not "movies 1 through 3"
NAMED = (
    r"\b(?:items?|numbers?|options?|movies?|albums?|books?)\s*[:#]?\s*"
    rf"({RUN})\b(?! *(?:of|to|through)\b)"
)
NEGATION = (
    r"\b(?:not|no|none|nothing|neither|never|except|but|without|dislike[sd]?|unlikely|avoid)\b"
    r"|cannot|n['’]t"
)
# may follow none and all
THESE = r"(?: (?:one )?of (?:them|these|those))?"


def parse(text, finished, n):
    """Places (0-based, sorted) of the items that an answer names, None where it cannot be read.

    In this order:
        a line that is a list of numbers, or several lines of one number each
        lines that begin with a number, as the question's do
        a word for all or none
        one list of numbers in a sentence that says what they are

    What negates anything is not read.  Numbers outside 1..n are skipped, and alone are no answer.

    finished: False where the text was cut off.  Its last line may then lack something, and a list
    with one number a line its end.
    """
    lines = clean_lines(text, finished)

    # lines that are lists of numbers: several on one line say more than a number on its own
    lists = number_lists(lines)
    for numbers in lists:
        if len(numbers) > 1:
            return places_of(numbers, n)
    one_a_line = [numbers[0] for numbers in lists]

    # lines that begin with a number, as the question's do
    if not one_a_line:
        listed = [line for line in lines if re.match(LISTED, line)]
        if len(listed) == n or any(re.search(NEGATION, line) for line in listed):
            return None  # perhaps the question said again, with a yes or no to each
        one_a_line = [re.match(LISTED, line)[1] for line in listed]

    if one_a_line:
        # where the text was cut off, more might have followed
        return places_of(one_a_line, n) if finished else None
    return from_words(" ".join(lines), n)


def clean_lines(text, finished):
    """The lines that can be read, without markup, with every 2-4 spelled out."""
    lines = text.lower().splitlines()
    # the last one may have been cut in the middle of a number
    if not finished:
        lines = lines[:-1]
    cleaned = []
    for line in lines:
        line = line.strip(" \t*_`#>-")
        if line:
            cleaned.append(re.sub(r"(\d+)\s*[-–]\s*(\d+)", spelled_out, line))
    return cleaned


def spelled_out(match):
    """2-4 -> 2, 3, 4"""
    first, last = int(match[1]), int(match[2])
    # 1990-1995 are years
    if not 0 < first < last < 100:
        return match[0]
    return ", ".join(map(str, range(first, last + 1)))


def number_lists(lines):
    """The numbers of every line that is nothing but a list of them."""
    lists = []
    for line in lines:
        if re.search(NEGATION, line):
            continue
        match = re.fullmatch(LIST, line)
        if match:
            lists.append(re.findall(r"\d+", match[1]))
    return lists


def from_words(said, n):
    """Places that a sentence names: a word for none or all, or one list of numbers."""
    if re.fullmatch(rf"\W*(?:[a-z' ]+:\s*)?(?:none|nothing|neither){THESE}\W*", said):
        return []
    if re.fullmatch(rf"\W*(?:[a-z' ]+:\s*)?all{THESE}\W*", said):
        return list(range(n))
    runs = re.findall(NAMED, said)
    if len(runs) != 1 or re.search(NEGATION, said):
        return None
    return places_of(re.findall(r"\d+", runs[0]), n)


def places_of(numbers, n):
    """Numbers as written -> places (0-based, sorted), None where none of them is in 1..n."""
    places = set()
    for number in numbers:
        if len(number) < 4 and 1 <= int(number) <= n:
            places.add(int(number) - 1)
    return sorted(places) or None
