"""What a causal language model is told, and how its answer is read.

Two ways of asking.  generate: numbered items, the answer is a list of numbers.  score: one item, the answer is Yes or
No, of which only the probabilities are looked at.  Titles are data: nothing in them may end a list or a message.
"""

import re

import numpy as np

PROMPT_VERSION = 1  # raise it when a wording changes: answers to other words are then not mixed with these
DOMAINS = {  # --llm_domain: one, several
    "movies": ("movie", "movies"),
    "music": ("album", "albums"),
    "books": ("book", "books"),
    "items": ("item", "items"),
}
ANSWER_TOKENS = 48  # room for an answer, with some prose around it
CUE = "Answer:"  # ends the prompt of a model without a chat template, which then goes on with the answer
NUMBERS_ONLY = "Reply with the numbers of those, separated by commas, or with none."
REMINDER = "That could not be read. Reply with nothing but numbers from the list, separated by commas, or with none."


def about(domain, question, texts):
    """The profile: what all questions about a user begin with.  texts: of all items, by number."""
    lines = [f"One person has rated {DOMAINS[domain][1]}."]
    for head, items in (("Liked:", question.likes), ("Disliked:", question.dislikes)):
        if len(items):
            lines += ["", head, *(f"- {texts[item]}" for item in items)]
    return "\n".join(lines) + "\n\n"


def pick(domain, question, texts, chat):
    """Which of these?  With a worked example from the user's own ratings, if there are some of both sides."""
    several, lines = DOMAINS[domain][1], []
    example = worked_example(question)
    if example:
        items, numbers = example
        lines += [f"Which of these {several} does this person like?", *numbered(items, texts)]
        lines += [f"{CUE} {answer(numbers)}", ""]
    lines += [f"Which of these {several} would this person like? {NUMBERS_ONLY}", *numbered(question.items, texts)]
    return about(domain, question, texts) + "\n".join(lines) + ("" if chat else f"\n{CUE}")


def whether(domain, text, chat):
    """Would this person like it?  Follows the profile."""
    return f"Would this person like the {DOMAINS[domain][0]} {text}? Answer Yes or No." + ("" if chat else f"\n{CUE}")


def reminder(chat):
    return REMINDER if chat else f"\n{REMINDER}\n{CUE}"


def transcript(messages):
    """Messages and answers in turn as one text, for a model without a chat template."""
    return "".join(f" {message}" if place % 2 else message for place, message in enumerate(messages))


def numbered(items, texts):
    return [f"{number}. {texts[item]}" for number, item in enumerate(items, 1)]


def worked_example(question):
    """(items, numbers of the liked ones) from the user's two strongest likes and dislikes; None where either side is
    empty.  The order is the question's own: neither a place nor "all of them" is taught."""
    likes, dislikes = question.likes[:2], question.dislikes[:2]
    if not (len(likes) and len(dislikes)):
        return None
    items = np.random.default_rng(question.items).permutation(np.concatenate([likes, dislikes]))
    return items, (np.flatnonzero(np.isin(items, likes)) + 1).tolist()


def answer(numbers):
    """The answer that names these numbers (1-based), as the example shows it and as constrained output spells it."""
    return ", ".join(map(str, numbers)) or "none"


RUN = r"\d+(?:(?:\s*(?:,|;|&|/|\band\b)\s*)+\d+|\s+\d+)*"  # 3 / 1, 3 / 1, 3 and 4 / 1 3 4
LEAD = r"(?:[a-z' ]*\b(?:answer|likes?|numbers?|choices?|chosen|selected|are|is)\b[a-z' ]*:?\s*)?"
LIST = rf"{LEAD}[\[(]?\s*({RUN})\s*[\])]?\s*[.,]?"
NAMED = rf"\b(?:items?|numbers?|options?|movies?|albums?|books?)\s*[:#]?\s*({RUN})\b(?! *(?:of|to|through)\b)"
NEGATION = r"\b(?:not|no|none|nothing|neither|never|except|but|without|dislike[sd]?|unlikely|avoid)\b|cannot|n['’]t"
THESE = r"(?: (?:one )?of (?:them|these|those))?"


def parse(text, finished, n):
    """Places (0-based, sorted) of the items that an answer names, or None where it is no answer to go by.

    In this order: a line that is a list of numbers (or several lines of one number each); lines that begin with a
    number as the question's do; a word for all or none; one list of numbers in a sentence that says what they are.
    What negates anything is not read.  Numbers outside 1..n are skipped, and alone are no answer.  finished: False
    where the text was cut off, so that its last line may lack something, and a list with one number a line its end.
    """
    lines = [line.strip(" \t*_`#>-") for line in text.lower().splitlines()]
    if not finished:
        lines = lines[:-1]
    lines = [re.sub(r"(\d+)\s*[-–]\s*(\d+)", spelled_out, line) for line in lines if line]
    lists = (re.fullmatch(LIST, line) for line in lines if not re.search(NEGATION, line))
    found = [re.findall(r"\d+", match[1]) for match in lists if match]
    several = next((numbers for numbers in found if len(numbers) > 1), None)
    found = several or [number for numbers in found for number in numbers]
    if not found:
        listed = [(line, match[1]) for line in lines if (match := re.match(r"[\[(]?(\d+)\s*[.):\]]", line))]
        found = [number for _, number in listed]
        if len(found) == n or any(re.search(NEGATION, line) for line, _ in listed):
            return None  # perhaps the question said again, with a yes or no to each
    if found and not several and not finished:
        return None  # one a line: more might have followed
    if not found:
        said = " ".join(lines)
        if re.fullmatch(rf"\W*(?:[a-z' ]+:\s*)?(?:none|nothing|neither){THESE}\W*", said):
            return []
        if re.fullmatch(rf"\W*(?:[a-z' ]+:\s*)?all{THESE}\W*", said):
            return list(range(n))
        runs = re.findall(NAMED, said)
        if len(runs) != 1 or re.search(NEGATION, said):
            return None
        found = re.findall(r"\d+", runs[0])
    places = sorted({int(number) - 1 for number in found if len(number) < 4 and 1 <= int(number) <= n})
    return places or None


def spelled_out(match):
    """2-4 -> 2, 3, 4"""
    first, last = int(match[1]), int(match[2])
    return ", ".join(map(str, range(first, last + 1))) if 0 < first < last < 100 else match[0]
