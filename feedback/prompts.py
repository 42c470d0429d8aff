"""What a causal language model is told, and how its answer is read.

Two ways of asking.  generate: numbered items, the answer is a list of numbers.  score: one item, the answer is Yes or
No, of which only the probabilities are looked at.  Titles are data: nothing in them may end a list or a message.
"""

import re

PROMPT_VERSION = 1  # raise it when a wording changes: answers to other words are then not mixed with these
DOMAINS = {  # --llm_domain: one, several
    "movies": ("movie", "movies"),
    "music": ("album", "albums"),
    "books": ("book", "books"),
    "items": ("item", "items"),
}
CUE = "Answer:"  # ends the prompt of a model without a chat template, which then goes on with the answer
NUMBERS_ONLY = "Reply with the numbers of those, separated by commas, or with none."
REMINDER = "That could not be read. Reply with nothing but numbers from the list, separated by commas, or with none."


def profile(domain, likes, dislikes):
    """The part of a prompt that all questions about a user share.  likes, dislikes: item texts."""
    lines = [f"One person has rated {DOMAINS[domain][1]}."]
    for head, texts in (("Liked:", likes), ("Disliked:", dislikes)):
        if texts:
            lines += ["", head, *(f"- {text}" for text in texts)]
    return "\n".join(lines) + "\n\n"


def which(domain, texts, example):
    """Which of these?  example: (item texts, answer) worked out from the user's own ratings, or None."""
    several = DOMAINS[domain][1]
    lines = []
    if example:
        lines += [f"Which of these {several} does this person like?", *numbered(example[0]), f"{CUE} {example[1]}", ""]
    lines += [f"Which of these {several} would this person like? {NUMBERS_ONLY}", *numbered(texts)]
    return "\n".join(lines)


def whether(domain, text):
    """Would this person like it?"""
    return f"Would this person like the {DOMAINS[domain][0]} {text}? Answer Yes or No."


def numbered(texts):
    return [f"{number}. {text}" for number, text in enumerate(texts, 1)]


def worked_example(likes, dislikes):
    """(item texts, answer) from the two strongest likes and dislikes, or None where either side is empty.

    Likes and dislikes alternate, starting with a dislike, so that neither a place nor "all of them" is taught.
    """
    if not (likes and dislikes):
        return None
    texts, chosen = [], []
    for place in range(2):
        texts += dislikes[place : place + 1]
        if place < len(likes):
            texts.append(likes[place])
            chosen.append(len(texts))
    return texts, answer(chosen)


def answer(numbers):
    """The answer that names these numbers (1-based), as the example shows it and as constrained output spells it."""
    return ", ".join(map(str, numbers)) or "none"


NEGATION = r"\b(not|no|never|except|but|without|dislikes?|disliked|unlikely|avoid|cannot|neither)\b|n't|n’t"
LEAD = r"(?:[a-z' ]*\b(?:answer|likes?|numbers?|choices?|chosen|select(?:ed|ion)?|are|is)\b[a-z' ]*:?\s*)?"
LIST = rf"{LEAD}[\[(]?\s*\d+(?:(?:\s*(?:,|;|&|/|\band\b)\s*)+\d+|\s+\d+)*\s*[\])]?\s*[.,]?"


def parse(text, n, finished=True):
    """Places (0-based, sorted) of the items that an answer names, or None where it is no answer to go by.

    In this order: a line that is a list of numbers; lines that begin with a number, as the question's do; words for all
    or none; numbers in a sentence without any negation.  Numbers outside 1..n are skipped, and alone are no answer.
    finished: False where the text was cut off, so its last line may lack something and is not read.
    """
    lines = [line.strip(" \t*_`#>-") for line in text.lower().splitlines()]
    if not finished:
        lines = lines[:-1]
    lines = [re.sub(r"(\d+)\s*[-–]\s*(\d+)", spelled_out, line) for line in lines if line]
    found = [re.findall(r"\d+", line) for line in lines if re.fullmatch(LIST, line)][:1]
    if not found:
        heads = [match[1] for line in lines if (match := re.match(r"[\[(]?(\d+)\s*[.):\]]", line))]
        found = [heads] if heads else []
    if not found:
        rest = " ".join(lines)
        rest = re.sub(r"\"[^\"]*\"|“[^”]*”|\([^)]*\)|\d+[.,]\d+", " ", rest)  # titles, years, scores
        numbers = re.findall(r"\b\d+\b", rest)
        if not numbers:
            if re.fullmatch(r"\W*(\w+:\s*)?(none|nothing|no|neither)( (one )?of (them|these|those))?\W*", rest):
                return []
            return list(range(n)) if re.fullmatch(r"\W*(\w+:\s*)?all( of (them|these|those))?\W*", rest) else None
        if re.search(NEGATION, rest):
            return None
        found = [numbers]
    places = sorted({int(number) - 1 for number in found[0] if len(number) < 4 and 1 <= int(number) <= n})
    return places or None


def spelled_out(match):
    """2-4 -> 2, 3, 4"""
    first, last = int(match[1]), int(match[2])
    return ", ".join(map(str, range(first, last + 1))) if 0 < first < last < 100 else match[0]
