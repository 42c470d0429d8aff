"""What a reply holds besides its answer: reasoning before it, and JSON in it."""

import json
import re

# How models mark their reasoning: the end, and what opened it.  Tags in the text, or channels.
ENDS = {
    "</think>": "<think>",
    "</thinking>": "<thinking>",
    "</thought>": "<thought>",
    "</reasoning>": "<reasoning>",
    "</seed:think>": "<seed:think>",
    "[/THINK]": "[THINK]",
    "◁/think▷": "◁think▷",
    "<|end_of_thought|>": "<|begin_of_thought|>",
    "<channel|>": "<|channel>",
    "<|channel|>final<|message|>": "<|channel|>",
}
# The channels of the last line, where a server or a tokenizer has taken the control tokens away.
ANALYSIS = re.compile(r"\s*(?:assistant)?analysis\b|\s*analysis(?=[A-Z])")
FINAL = re.compile(r"assistant\s*final(?:\b|(?=[A-Z\d]))|^\s*final\b", re.MULTILINE)
LONGEST, MOST_TRIES = 20_000, 50  # characters looked at, and places where an object may begin


def drop_reasoning(text):
    """What comes after the last end of reasoning: the answer.  None where reasoning begins and does not end.

    A block may lack its opening tag, which some chat templates put into the prompt.
    """
    after = max((text.rfind(end) + len(end) for end in ENDS if end in text), default=0)
    answer = text[after:]
    if any(opening in answer for opening in ENDS.values()):
        return None
    if not after and ANALYSIS.match(answer):
        finals = list(FINAL.finditer(answer))
        return answer[finals[-1].end() :].lstrip(" :") if finals else None
    return answer


def in_short(text):
    """As much of a reply as a model knows it by, without its reasoning; never empty, which some servers refuse."""
    return (drop_reasoning(text) or "").strip()[:200] or "-"


def opened_by(prompt):
    """The tag with which a prompt's end has begun reasoning, "" where it has not."""
    begun = prompt.rstrip()
    return next((opening for opening in ENDS.values() if begun.endswith(opening)), "")


def find_json(text, kinds="{["):
    """The first JSON object or array in a text that can be decoded, whatever is around it; None where there is none.

    kinds: what it may begin with.
    """
    text, decoder = text[:LONGEST], json.JSONDecoder()
    begins = [match.start() for match in re.finditer(f"[{re.escape(kinds)}]", text)]
    for place in begins[:MOST_TRIES]:
        try:
            return decoder.raw_decode(text, place)[0]
        except (ValueError, RecursionError):
            continue
    return None
