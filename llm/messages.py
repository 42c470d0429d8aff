"""What a causal language model is told and answers, as text and as chat messages."""

import re

ANSWER_TOKENS = 48  # room for an answer, with some prose around it
CUE = "Answer:"  # without a chat template it ends the prompt, and the model goes on with the answer


def transcript(messages):
    """Messages and answers in turn as one text, for a model without a chat template."""
    text = ""
    for place, message in enumerate(messages):
        is_answer = place % 2 == 1
        text += f" {message}" if is_answer else message
    return text


def turns(messages):
    """The same as chat messages: what an OpenAI-compatible server and a chat template take."""
    roles = ("user", "assistant")
    return [{"role": roles[place % 2], "content": text} for place, text in enumerate(messages)]


def answer(numbers):
    """The answer that names these numbers (1-based), as the example shows it.

    Constrained output spells it so, too.
    """
    return ", ".join(map(str, numbers)) or "none"


def defused(text):
    """A text in which nothing looks like a control token: a server reads it and the template as one."""
    text = re.sub(r"\[(?=/?[A-Z_]+\])", "[ ", text)  # [INST]
    return re.sub(r"<(?=[^\s<>]+>)", "< ", text)  # <|im_start|>
