"""How a model's answer to "Which of these?" is read: by number, or not at all.

What is unclear stays unanswered.  A wrong label is worse than none, and the model is reminded once.
"""

import re

from llm.replies import drop_reasoning, find_json

# numbers in a row: 3 / 1, 3 / 1, 3 and 4 / 1 3 4, but not 3/5, which is a rating
RUN = r"\d+(?:(?:\s*(?:,|;|&|\band\b)\s*)+\d+|\s+\d+)*"
# what may come before them: "answer:", "the numbers are"
LEAD = r"(?:[a-z' ]*\b(?:answer|likes?|liked|numbers?|choices?|chosen|selected|are|is)\b[a-z' ]*:?\s*)?"
# a line that is a list of numbers
LIST = rf"({LEAD})[\[(]?\s*({RUN})\s*[\])]?\s*[.,]?"
# a line that begins with a number as the question's do
LISTED = r"[\[(]?(\d+)\s*[.):\]]\s*(.*)"
# numbers within a sentence that says what they are: "items 2 and 4", but not "movies 1 through 3", "item 2/5"
NAMED = (
    r"\b(?:items?|numbers?|options?|movies?|albums?|books?)\s*[:#]?\s*"
    rf"({RUN})\b(?! *(?:/|of\b|to\b|through\b))"
)
NEGATION = (
    r"\b(?:not|no|none|nothing|neither|never|except|but|without|cannot|unlikely|avoid\w*|exclud\w*|reject\w*|remov\w*"
    r"|omit\w*|skip\w*|rul(?:e|ed|ing) out|hate[sd]?|bad|worst|wrong|disagree\w*)\b|\bdislike|n['’]t\b"
)
# a verdict is made of these words and no others, so that "No Way Out" and "Good Will Hunting" are none
YES = {
    "yes", "true", "like", "likes", "liked", "love", "loves", "loved", "enjoy", "enjoys", "enjoyed", "keep",
    "good", "positive", "✓", "✔", "✅",
}  # fmt: skip
NO = {
    "no", "false", "not", "don't", "doesn't", "wouldn't", "won't", "didn't", "dislike", "dislikes", "disliked",
    "hate", "hates", "hated", "avoid", "skip", "exclude", "excluded", "bad", "negative", "✗", "✘", "❌",
}  # fmt: skip
BESIDE = {
    "they", "he", "she", "does", "do", "did", "i", "the", "this", "that", "it", "person", "user", "would", "will",
    "might", "probably", "likely", "definitely", "really", "think", "is", "be", "one", "them", "very", "much",
    "a", "lot",
}  # fmt: skip
MARKUP = " \t*_`#>-"  # of a line, at either end
GAP = " \t:,;=*_()[]-–—>"  # between a number or a title and a verdict
LONGEST_LIST = 300  # characters of a line of numbers
# may follow none and all
THESE = r"(?: (?:one )?of (?:them|these|those))?"
# names under which an object holds the answer, the first ones before the others
LIKED_NAMES = {"liked", "likes", "like", "would_like", "yes"}
ANSWER_NAMES = {"answer", "answers", "numbers", "items", "choices", "selected", "chosen", "recommended"}


def parse(text, finished, titles):
    """Places (0-based, sorted) of the items that an answer names, None where it cannot be read.

    Reasoning is dropped (llm/replies.py).  Of the rest, in this order:
        JSON: a list of numbers, an object that has one as "liked" or the like, or one verdict a number
        a line that is a list of numbers, or several lines of one number each
        lines that begin with a number, as the question's do, and go on with that number's title or a verdict
        a word for all or none
        one list of numbers in a sentence that says what they are

    What negates anything is not read, nor are the lines that it introduces.  Numbers outside the list are skipped,
    and alone are no answer.

    finished: False where the text was cut off.  Then nothing but a list in its first line counts: the rest may be
    thoughts about an answer that never came.  titles: (n,) of the items asked about, in the order shown.
    """
    answer = drop_reasoning(text)
    if answer is None:
        return None
    n = len(titles)
    if finished:
        found = find_json(without_fence(answer), "{[")
        if found is not None and not mentions_more(answer):
            return places_of_json(found, n)
    lines = clean_lines(answer)
    if not finished:
        lines = lines[:1] if len([line for line in lines if line]) > 1 else []

    lists = number_lists(lines)
    if lists:
        numbers = best_list(lists, finished)
        return None if numbers is None else places_of(numbers, n)
    if not finished:
        return None
    if any(re.fullmatch(LISTED, line) for line in lines):
        return places_of_listed(lines, titles)
    return from_words(" ".join(line for line in lines if line), n)


def names_others(text, n):
    """Whether an answer is a list with numbers beyond 1..n: they are skipped, but such a model only counts."""
    line = (drop_reasoning(text) or "").strip()
    if len(line) > LONGEST_LIST or not re.fullmatch(RUN, line):
        return False
    return any(not 1 <= int(number) <= n for number in re.findall(r"\d+", line))


# ----------------------------------------------------------------------------------------------------------- JSON


def without_fence(text):
    return re.sub(r"^\s*```\w*|```\s*$", "", text.strip(), flags=re.MULTILINE)


def mentions_more(answer):
    """Whether a text says more than JSON does: then its lines are read, which know negation."""
    outside = re.sub(r"\{[^{}]*\}|\[[^\[\]]*\]", "", without_fence(answer))
    return bool(re.search(r"\d", outside) or re.search(NEGATION, outside.lower()))


def places_of_json(found, n):
    """Places named by a JSON value, None where it is none of the kinds that parse() speaks of."""
    if isinstance(found, list):
        numbers = [whole_number(value) for value in found]
        return None if None in numbers else places_of(numbers, n, none=not numbers)
    verdicts = {whole_number(name): verdict_of(value) for name, value in found.items()}
    if verdicts and None not in verdicts and None not in verdicts.values():  # {"1": "yes", "2": "no"}
        return places_of_verdicts(verdicts, n)
    lists = {name.lower().strip(): value for name, value in found.items()}
    values = [lists[name] for name in LIKED_NAMES & lists.keys() or ANSWER_NAMES & lists.keys()]
    if len(values) != 1:
        return None
    value = values[0]
    if isinstance(value, str):
        return [] if value.lower().strip(" .") in ("none", "nothing", "") else parse_list(value, n)
    return places_of_json(value if isinstance(value, list) else [value], n)


def parse_list(text, n):
    match = re.fullmatch(RUN, text.strip())
    return places_of(re.findall(r"\d+", text), n) if match else None


def whole_number(value):
    """A number, or one written as a string, as a string of digits; None for anything else."""
    digits = str(value).strip()
    return digits if not isinstance(value, bool) and re.fullmatch(r"\d+", digits) else None


def verdict_of(value):
    """True for liked, False for not, None where it says neither."""
    if isinstance(value, bool):
        return value
    if not isinstance(value, str):
        return None
    words = set(re.findall(r"[\w']+|[✓✔✅✗✘❌]", value.lower().replace("’", "'")))
    if words <= YES | NO | BESIDE and words & (YES | NO):
        return not words & NO
    return None


# ---------------------------------------------------------------------------------------------------------- lines


def clean_lines(text):
    """The lines in lower case without markup, with every 2-4 spelled out; "" for an empty one."""
    lines = []
    for line in text.lower().strip().splitlines():
        line = line.strip(MARKUP)
        lines.append(re.sub(r"(\d+)\s*[-–]\s*(\d+)", spelled_out, line))
    return lines


def spelled_out(match):
    """2-4 -> 2, 3, 4"""
    first, last = int(match[1]), int(match[2])
    # 1990-1995 are years
    if not 0 < first < last < 100:
        return match[0]
    return ", ".join(map(str, range(first, last + 1)))


def number_lists(lines):
    """[(lead, numbers)] of every line that is nothing but a list of them, and that nothing negates.

    A negation counts for the lists after it, up to the next line of words, and for a list right before it.
    """
    lists, negated, after_list = [], False, False
    for line in lines:
        match = re.fullmatch(LIST, line) if len(line) <= LONGEST_LIST else None
        is_negation = bool(re.search(NEGATION, line))
        if match and not is_negation:
            if match[1]:  # words of its own
                negated = False
            if not negated:
                lists.append((match[1], re.findall(r"\d+", match[2])))
        elif line:
            if is_negation and after_list and not match:  # "2, 3" and below it "are bad"
                lists.pop()
            negated = is_negation
        after_list = bool(match) and not negated and bool(lists)
    return lists


def best_list(lists, finished):
    """The numbers meant: those called the answer, else the one list of several, else one number a line.

    None where two lists differ, and where a list with one number a line was cut off.
    """
    answers = [numbers for lead, numbers in lists if "answer" in lead]
    if answers:
        return answers[-1]
    several = [numbers for _, numbers in lists if len(numbers) > 1]
    if several:
        return several[0] if all(set(numbers) == set(several[0]) for numbers in several) else None
    # where the text was cut off, more might have followed
    return [numbers[0] for _, numbers in lists] if finished else None


def places_of_listed(lines, titles):
    """Places named by lines that begin with a number, None where one of them is unclear.

    Such a line counts by a verdict beside its number or title, or by the title of its number alone.  A line of words
    that negates something makes those below it negative.
    """
    verdicts, named, negated, after_one = {}, [], False, False
    for line in lines:
        match = re.fullmatch(LISTED, line)
        if not match:
            is_negation = bool(re.search(NEGATION, line))
            if line and is_negation and after_one:  # about those above it, or about the others?
                return None
            negated, after_one = is_negation if line else negated, False
            continue
        number, rest = match[1], match[2].strip(GAP)
        title, rest = split_title(rest, title_of(number, titles))
        verdict, after_one = verdict_of(rest), True
        if verdict is not None:
            verdicts[number] = verdict
        elif not title or re.search(NEGATION, rest):  # a number of the model's own, perhaps
            return None
        elif negated:
            verdicts[number] = False
        else:
            named.append(number)
    if verdicts and named and all(verdicts.values()):  # what one without a verdict means is a guess
        return None
    if verdicts:
        return places_of_verdicts(verdicts | dict.fromkeys(named, True), len(titles))
    # all of them: perhaps the question said again
    return None if len(named) == len(titles) else places_of(named, len(titles))


def title_of(number, titles):
    """The title of a number as it would stand in a line, "" where there is none."""
    if len(number) > 3 or not 1 <= int(number) <= len(titles):
        return ""
    return " ".join(clean_lines(titles[int(number) - 1])).strip(GAP)


def split_title(text, title):
    """(whether a line's text begins with the title, what comes after it).

    The year may be missing where nothing but a verdict follows: "Alien" is not "Alien: Resurrection".
    """
    without_year = re.sub(r"[\s(]*\d{4}$", "", title)
    for begin in (title, without_year):
        if begin and re.match(rf"{re.escape(begin)}(?!\w)", text):
            rest = text[len(begin) :].strip(GAP)
            if begin == title or not rest or verdict_of(rest) is not None:
                return True, rest
    return False, text


def places_of_verdicts(verdicts, n):
    """{number: whether liked} -> places.  Without a like, None unless every item has its verdict."""
    liked = [number for number, verdict in verdicts.items() if verdict]
    if liked:
        return places_of(liked, n)
    return [] if {str(number) for number in range(1, n + 1)} <= set(verdicts) else None


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


def places_of(numbers, n, none=False):
    """Numbers as written -> places (0-based, sorted), None where none of them is in 1..n.

    none: whether no number at all means none of the items.
    """
    places = set()
    for number in numbers:
        if len(number) < 4 and 1 <= int(number) <= n:
            places.add(int(number) - 1)
    return sorted(places) if places or none else None
