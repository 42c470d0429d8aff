"""What a reply holds besides its answer: reasoning before it, and JSON in it."""

import json
import re

# How models mark their reasoning: by tags, whatever their case, or by channels.
NAMES = "think|thinking|thought|thoughts|reasoning|reflection|analysis|seed:think"
OPENS = re.compile(
    rf"<(?:{NAMES})>|\[THINK\]|◁think▷|<\|begin_of_thought\|>|<\|channel>|<\|channel\|>(?!final)", re.IGNORECASE
)
ENDS = re.compile(
    rf"</(?:{NAMES})>|\[/THINK\]|◁/think▷|<\|end_of_thought\|>|<channel\|>|<\|channel\|>final<\|message\|>",
    re.IGNORECASE,
)
# The same channels where a server or a tokenizer has taken the control tokens away.
ANALYSIS = re.compile(r"\s*(?:assistant)?analysis\b|\s*analysis(?=[A-Z])")
FINAL = re.compile(r"assistant\s*final(?:\b|(?=[A-Z\d]))|^\s*final\b", re.MULTILINE)
LONGEST, MOST_TRIES = 20_000, 50  # characters looked at, and places where an object may begin


def drop_reasoning(text):
    """What comes after the last end of reasoning: the answer.  None where reasoning begins and does not end.

    A block may lack its opening tag, which some chat templates put into the prompt.
    """
    after = max((end.end() for end in ENDS.finditer(text)), default=0)
    answer = text[after:]
    if OPENS.search(answer):
        return None
    if not after and ANALYSIS.match(answer):
        finals = list(FINAL.finditer(answer))
        return answer[finals[-1].end() :].lstrip(" :") if finals else None
    return answer


def in_short(text):
    """The beginning of a reply without its reasoning; never empty, which some servers refuse."""
    return (drop_reasoning(text) or "").strip()[:200] or "-"


def opened_by(prompt):
    """The tag with which a prompt's end has begun reasoning, "" where it has not."""
    last = list(OPENS.finditer(prompt))[-1:]
    return last[0][0] if last and not prompt[last[0].end() :].strip() else ""


def find_json(text, kinds):
    """(value, begin, end) of the first JSON value in a text, whatever is around it; (None, 0, 0) where there is none.

    kinds: what it may begin with, as "{[".
    """
    text, decoder = text[:LONGEST], json.JSONDecoder()
    for begin in [match.start() for match in re.finditer(f"[{re.escape(kinds)}]", text)][:MOST_TRIES]:
        try:
            value, end = decoder.raw_decode(text, begin)
            return value, begin, end
        except (ValueError, RecursionError):
            continue
    return None, 0, 0
