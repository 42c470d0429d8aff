"""How a model's answer to "Which of these?" is read: by number, and only where every word around it is understood.

What is unclear stays unanswered.  A wrong label is worse than none, and the model is reminded once.  Words that are not
known make a line unclear: a list of all the ways to say no would never be complete.
"""

import re

from llm.replies import drop_reasoning, find_json

READING_VERSION = 2  # raise it when answers would be read otherwise, so that readings are not mixed

# numbers in a row: 3 / 1, 3 / 1, 3 and 4 / 1 3 4.  Each step takes what follows in one way only: it must not backtrack.
RUN = re.compile(r"\d+(?:[\s,;&]+(?:and\b[\s,;&]*)?\d+)*")
RANGE = re.compile(r"(?<!\d)(\d{1,2})[-–](\d{1,2})(?!\d)")
# a line that begins with a number as the question's do
LISTED = re.compile(r"[\[(]?(\d+)\s*[.):\]]\s*(.*)")
# a number that counts, or rates: "3 movies", "3 of", "3/5"
COUNT = re.compile(r"\d\s*(?:/|(?:of|items|movies|films|albums|books|numbers|stars)\b)")
AROUND = re.compile(r"[\s,.:;()\[\]*_\"'`!&–-]*")  # what may stand beside words and numbers

# what names an answer, and the words around it
POSITIVE = {
    "answer", "answers", "final", "like", "likes", "liked", "enjoy", "enjoys", "enjoyed", "love", "loves", "loved",
    "pick", "picks", "picked", "choose", "chosen", "choice", "choices", "select", "selected", "selection",
    "recommend", "recommended", "recommendation", "recommendations", "suitable", "match", "matches", "fit", "fits",
    "favourite", "favourites", "favorite", "favorites", "yes", "good", "here", "list", "numbers",
}  # fmt: skip
AROUND_WORDS = {
    "the", "a", "an", "my", "is", "are", "be", "this", "person", "they", "he", "she", "user", "would", "will",
    "probably", "likely", "might", "may", "that", "i", "i'd", "i'll", "think", "believe", "say", "these", "those",
    "item", "items", "number", "movie", "movies", "film", "films", "book", "books", "album", "albums", "following",
    "so", "sure", "ok", "okay", "for", "based", "on", "profile", "and", "to", "it", "them", "their", "taste", "ones",
    "who", "which", "thus", "therefore",
}  # fmt: skip
# a verdict is made of these words and BESIDE, so that "No Way Out" and "Good Will Hunting" are none
YES = {
    "yes", "true", "like", "likes", "liked", "love", "loves", "loved", "enjoy", "enjoys", "enjoyed", "keep", "good",
    "positive", "✓", "✔", "✅",
}  # fmt: skip
NOT = {"not", "don't", "doesn't", "wouldn't", "won't", "didn't"}
NO = {
    "no", "false", "dislike", "dislikes", "disliked", "hate", "hates", "hated", "avoid", "skip", "exclude", "excluded",
    "bad", "negative", "✗", "✘", "❌",
}  # fmt: skip
BESIDE = {
    "they", "he", "she", "does", "do", "did", "i", "the", "this", "that", "it", "person", "user", "would", "will",
    "might", "probably", "likely", "definitely", "really", "think", "is", "be", "one", "them", "very", "much", "a",
    "lot",
}  # fmt: skip
# of a comment below an answer: it may be about that answer, unless it speaks of the others
NEGATION = re.compile(
    r"\b(?:not|no|none|nothing|neither|never|except|but|without|cannot|too|un\w+|dis\w+|avoid\w*|exclud\w*|reject\w*"
    r"|remov\w*|omit\w*|skip\w*|hate\w*|bad|worst|worse|wrong|poor\w*|weak\w*|less|least|lack\w*|fail\w*)\b|n['’]t\b"
)
OTHERS = re.compile(r"\b(?:others?|rest|remaining|else)\b")
MARKUP = " \t*_`#>-"  # of a line, at either end
GAP = " \t:,;=*_()[]-–—>"  # between a number or a title and a verdict
LONGEST_LINE = 300  # characters of a line that can be a list
# may follow none and all
THESE = r"(?: (?:one )?of (?:them|these|those))?"
# names under which an object holds the answer, and of what may stand beside one that does not say "liked"
LIKED_NAMES = {"liked", "likes", "like", "would_like", "yes"}
ANSWER_NAMES = {"answer", "answers", "numbers", "items", "choices", "selected", "chosen", "recommended"}
TOLD_NAMES = {"reason", "reasons", "reasoning", "explanation", "thought", "thoughts", "comment", "confidence", "user"}


def parse(text, finished, titles):
    """What an answer says of each item: [True for liked, False, None where it says nothing], None if it cannot be read.

    Reasoning is dropped (llm/replies.py).  The rest may be
        JSON: a list of numbers, an object that has one as "liked" or the like, or one verdict a number
        a list of numbers, one line or one a line, alone or among words that are all known (POSITIVE, AROUND_WORDS)
        lines that begin with a number, as the question's do, and go on with that number's title, a verdict, or both
        a word for all or none
    Of several lists the one called the answer counts.  Where they differ and none is, nothing does.  A line of other
    words makes those below it unclear.  Numbers outside the list are skipped, and alone are no answer.

    finished: False where the text was cut off.  Then nothing but a list in its first line counts: the rest may be
    thoughts about an answer that never came.  titles: (n,) of the items asked about, in the order shown.
    """
    answer = drop_reasoning(text)
    if answer is None:
        return None
    n, lines = len(titles), clean_lines(answer)
    if not finished:
        found = numbers_in(lines[0]) if len([line for line in lines if line]) > 1 else None
        return liked_alone(found[1], n) if found and len(found[1]) > 1 else None  # one number a line lacks the others
    is_json, verdicts = from_json(answer, n)
    if is_json:
        return verdicts
    return from_words(" ".join(line for line in lines if line), n) or from_lines(lines, titles)


def names_others(text, n):
    """Whether an answer is a list with numbers beyond 1..n, which are skipped."""
    line = (drop_reasoning(text) or "").strip()
    if len(line) > LONGEST_LINE or not RUN.fullmatch(line):
        return False
    return any(number_in_list(number, n) is None for number in re.findall(r"\d+", line))


def number_in_list(number, n):
    """Digits -> place (0-based), None for a number outside 1..n."""
    return int(number) - 1 if len(number) < 4 and 1 <= int(number) <= n else None


def liked_alone(numbers, n, none=False):
    """The items of these numbers are liked and all others are not; None where none of them is in 1..n.

    none: whether no number at all means none of the items.
    """
    places = {number_in_list(number, n) for number in numbers} - {None}
    if not places and not (none and not numbers):
        return None
    return [place in places for place in range(n)]


def from_verdicts(verdicts, n):
    """{number: whether liked} -> what is said of each item.  If only likes are named, the others are not liked."""
    if all(verdicts.values()):
        return liked_alone(verdicts, n)
    places = {number_in_list(number, n): verdict for number, verdict in verdicts.items()}
    return [places.get(place) for place in range(n)] if places.keys() - {None} else None


# ----------------------------------------------------------------------------------------------------------- JSON


def from_json(answer, n):
    """(whether the answer is JSON, what it says): beside a list all words must be known, else not negative."""
    text = re.sub(r"^\s*```\w*|```\s*$", "", answer.strip(), flags=re.MULTILINE)
    found, begin, end = find_json(text, "{[")
    outside = f"{text[:begin]} {text[end:]}".lower()
    if found is None or re.search(r"[\d\[{]", outside):
        return False, None
    known = isinstance(found, dict) or is_positive(outside, bare=True)
    return True, from_value(found, n) if known and not NEGATION.search(outside) else None


def from_value(found, n):
    """What a JSON value says, None where it is none of the kinds that parse() speaks of."""
    if isinstance(found, list):
        numbers = [whole_number(value) for value in found]
        return None if None in numbers else liked_alone(numbers, n, none=True)
    verdicts = {whole_number(name): verdict_of(value) for name, value in found.items()}
    if verdicts and None not in verdicts and None not in verdicts.values():  # {"1": "yes", "2": "no"}
        return from_verdicts(verdicts, n)
    values = {name.lower().strip(): value for name, value in found.items()}
    names = LIKED_NAMES & values.keys()
    if not names and values.keys() <= ANSWER_NAMES | TOLD_NAMES:
        names = ANSWER_NAMES & values.keys()
    if len(names) != 1:
        return None
    (value,) = (values[name] for name in names)
    if isinstance(value, str):
        if value.lower().strip(" .") in ("none", "nothing", ""):
            return [False] * n
        return liked_alone(re.findall(r"\d+", value), n) if RUN.fullmatch(value.strip()) else None
    return from_value(value if isinstance(value, list) else [value], n)


def whole_number(value):
    """A number, or one written as a string, as a string of digits; None for anything else."""
    digits = str(value).strip()
    return digits if not isinstance(value, bool) and re.fullmatch(r"\d{1,9}", digits) else None


def verdict_of(value):
    """True for liked, False for not, None where it says neither, or both ("not bad")."""
    if isinstance(value, bool):
        return value
    if not isinstance(value, str):
        return None
    words = words_of(value.lower())
    if not set(words) <= YES | NOT | NO | BESIDE:
        return None
    yes, no, negated = (sum(word in kind for word in words) for kind in (YES, NO, NOT))
    if no + negated > 1 or (yes and no) or not (yes or no or negated):
        return None
    return not (no or negated)


# ---------------------------------------------------------------------------------------------------------- lines


def words_of(text):
    return re.findall(r"[^\W\d_][\w']*|[✓✔✅✗✘❌]", text.replace("’", "'"))


def clean_lines(text):
    """The lines in lower case without markup; "" for an empty one."""
    return [line.strip(MARKUP) for line in text.lower().strip().splitlines()] or [""]


def is_positive(text, bare):
    """Whether words are all known and name an answer.  bare: whether no words at all will do."""
    words = set(words_of(text))
    if not AROUND.fullmatch(re.sub(r"[^\W\d_][\w'’]*", "", text)):
        return False
    return bare if not words else words <= POSITIVE | AROUND_WORDS and bool(words & POSITIVE)


def spelled_out(match):
    """2-4 -> 2, 3, 4"""
    first, last = int(match[1]), int(match[2])
    return ", ".join(map(str, range(first, last + 1))) if 0 < first < last else match[0]


def numbers_in(line):
    """(words, numbers) of a line that is a list of numbers, alone or among known words; else None."""
    if len(line) > LONGEST_LINE or COUNT.search(line):
        return None
    line = RANGE.sub(spelled_out, line)
    runs = list(RUN.finditer(line))
    if len(runs) != 1:
        return None
    begin, end = runs[0].span()
    words = f"{line[:begin]} {line[end:]}"
    return (words, re.findall(r"\d+", runs[0][0])) if is_positive(words, bare=True) else None


def from_lines(lines, titles):
    """What lines say of each item, None where they are unclear."""
    lists = []  # [is the answer, is one of single numbers, numbers]
    listed = []  # (number, rest of the line, whether the words above are known)
    denied = set()  # numbers below or among words that negate
    understood, is_answer, unclear, comment = True, False, False, ""
    for line in lines:
        if not line:
            continue
        numbers, match = numbers_in(line), LISTED.fullmatch(line)
        is_title, verdict, _ = beside_number(*match.groups(), titles) if match else (False, None, "")
        if is_title or verdict is not None:
            listed.append((match[1], match[2], understood))
            comment = ""
        elif numbers:
            words, numbers = numbers
            if words_of(words):
                understood, is_answer = True, bool({"answer", "final"} & set(words_of(words)))
            if not understood:
                denied.update(numbers if NEGATION.search(comment) else [])
                comment = ""
                continue
            single = len(numbers) == 1
            if single and lists and lists[-1][1] and not comment and not words_of(words):
                lists[-1][2] += numbers  # one number a line
            else:
                lists.append([is_answer, single, numbers])
            unclear, comment = unclear and not is_answer, ""  # what comes before the answer is no part of it
        elif re.search(r"\d", line):
            negated = NEGATION.search(line) and len(RUN.findall(line)) == 1 and not match
            understood = False
            denied.update(re.findall(r"\d+", line) if negated else [])
            unclear = unclear or not negated
        else:
            comment = f"{comment} {line}"
            understood = is_positive(line, bare=False)
            is_answer = understood and bool({"answer", "final"} & set(words_of(line)))
    # what stands below an answer may take it back
    if unclear or (NEGATION.search(comment) and not OTHERS.search(comment)):
        return None
    answers = [place for place, (is_answer, *_) in enumerate(lists) if is_answer]
    if answers:
        lists, listed = lists[answers[-1] :], []
    if lists and listed:
        return None
    if lists:
        clear = all(set(numbers) == set(lists[0][2]) for _, _, numbers in lists) and not denied & set(lists[0][2])
        return liked_alone(lists[0][2], len(titles)) if clear else None
    return from_listed(listed, titles) if listed else None


def beside_number(number, rest, titles):
    """(whether a line goes on with its number's title, the verdict in it or None, what stands beside)"""
    place = number_in_list(number, len(titles))
    title = "" if place is None else " ".join(clean_lines(titles[place])).strip(GAP)
    is_title, rest = split_title(rest.strip(GAP), title)
    return is_title, verdict_of(rest), rest


def from_listed(listed, titles):
    """What lines that begin with a number say, None where one of them is unclear."""
    verdicts, named = {}, []
    for number, rest, understood in listed:
        _, verdict, rest = beside_number(number, rest, titles)
        if verdict is None and NEGATION.search(rest):
            return None
        if verdict is not None:
            if verdicts.setdefault(number, verdict) != verdict:
                return None
        elif understood:
            named.append(number)
    if verdicts:  # what a line without a verdict means among them is a guess
        return None if named else from_verdicts(verdicts, len(titles))
    # all of them: perhaps the question said again
    return None if len(named) == len(titles) else liked_alone(named, len(titles))


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


def from_words(said, n):
    """A word for none or all."""
    match = re.fullmatch(rf"\W*(?:([a-z' ]+):\s*)?(none|nothing|neither|all){THESE}\W*", said[: LONGEST_LINE + 1])
    if not match or not is_positive(match[1] or "", bare=True):
        return None
    return [match[2] == "all"] * n
