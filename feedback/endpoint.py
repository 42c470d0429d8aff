"""A model behind an OpenAI-compatible interface (vLLM, `transformers serve`), asked by several requests at a time."""

import os
import random
import re
import time
from concurrent.futures import ThreadPoolExecutor, as_completed

import numpy as np
import requests

from feedback import prompts
from feedback.questions import picked, scored, too_long
from utils import InputError

TRIES = 6  # of one request, with pauses of about 1, 2, 4, 8, 16 seconds in between
PASSING = {408, 409, 425, 429, 500, 502, 503, 504}  # HTTP statuses worth another try
LEAST_LOGPROB = -100.0  # servers say -9999 or less for what they did not reckon
LONGEST_PAUSE = 60  # seconds, also where the server asks for more


class Refused(InputError):
    """The server understood the request and will not answer it: asking again would not help."""


class Endpoint:
    def __init__(self, options, mode, domain):
        """Asks the server which models it has.  A key goes into the environment variable OPENAI_API_KEY."""
        self.url, self.timeout = options.llm_url.rstrip("/"), options.llm_timeout
        self.workers, self.domain = options.llm_concurrency, domain
        self.mode = "generate" if mode == "auto" else mode
        if self.mode == "embed" or options.llm_constrained:
            flag = "--llm_mode embed" if self.mode == "embed" else "--llm_constrained"
            raise InputError(f"{flag}: works with a model on this machine only, not with --llm_url")
        if not self.url.startswith(("http://", "https://")):
            raise InputError(f"--llm_url {options.llm_url}: must begin with http:// or https://")
        self.session = requests.Session()
        self.session.mount(self.url, requests.adapters.HTTPAdapter(pool_maxsize=self.workers))
        secret = os.environ.get("OPENAI_API_KEY", "").strip()
        if not (secret.isascii() and secret.isprintable()):
            raise InputError("OPENAI_API_KEY: holds characters that no key has")
        if secret:
            self.session.headers["Authorization"] = f"Bearer {secret}"
        self.more = {"chat_template_kwargs": {"enable_thinking": False}}  # vLLM and transformers; taken back on refusal
        self.llm = options.llm
        if self.llm == "auto":
            self.llm = self.request("GET", "models", lambda reply: reply["data"][0]["id"])

    def answers(self, questions, asked, texts):
        """Yields a record for each question, in the order in which the answers come."""
        texts = [defused(text) for text in texts]
        ask = self.judge if self.mode == "score" else self.choose
        pool = ThreadPoolExecutor(self.workers)
        try:
            waiting = [pool.submit(ask, question, asked, texts) for question in questions]
            for future in as_completed(waiting):
                yield future.result()
        finally:  # also after the first failure: what was answered is kept, what was not is asked at the next start
            pool.shutdown(cancel_futures=True)

    def choose(self, question, asked, texts):
        def ask(shorter, *more):
            messages = [prompts.pick(self.domain, shorter, texts, chat=True), *more]
            return self.request("POST", "chat/completions", message_of, self.body(messages))

        def read(reply):
            text, finished = reply
            return prompts.parse(text, finished, len(question.items))

        fitted = self.shorten(question, ask)
        if not fitted:
            return too_long(question, asked)
        reply, left_out = fitted
        raw, chosen = [reply[0]], read(reply)
        if chosen is None:
            again = self.shorten(question, lambda shorter: ask(shorter, raw[0].strip()[:200] or "-", prompts.REMINDER))
            if again:
                raw, chosen = [*raw, again[0][0]], read(again[0])
        return picked(question, asked, chosen, raw, profile_left_out=left_out)

    def judge(self, question, asked, texts):
        each = sorted({texts[item] for item in question.items}, key=len, reverse=True)  # what may not fit comes first

        def ask(shorter):
            return {text: whether(prompts.about(self.domain, shorter, texts), text) for text in each}

        def whether(profile, text):
            body = self.body([profile + prompts.whether(self.domain, text, chat=True)])
            body |= {"max_tokens": 1, "logprobs": True, "top_logprobs": 20}
            return self.request("POST", "chat/completions", yes_minus_no, body)

        fitted = self.shorten(question, ask)
        if not fitted:
            return too_long(question, asked)
        score_of, left_out = fitted
        return scored(question, asked, [score_of[texts[item]] for item in question.items], profile_left_out=left_out)

    def shorten(self, question, ask):
        """(answer, items of the profile left out); the profile is halved each time the server says that the prompt is
        longer than its context, None where not even the question alone fits."""
        whole = kept = len(question.likes) + len(question.dislikes)
        while True:
            try:
                return ask(question.shortened(kept)), whole - kept
            except Refused as error:
                if not re.search(r"context|max(imum)?[ _](model[ _])?len|too long|too many tokens", str(error), re.I):
                    raise
                if not kept:
                    return None
                kept //= 2

    def body(self, messages):
        turns = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(messages)]
        body = {"model": self.llm, "messages": turns, "temperature": 0, "max_tokens": prompts.ANSWER_TOKENS}
        return body | self.more

    def request(self, method, path, read, body=None):
        """read(JSON reply).  What may pass (no connection, a time-out, a busy or failing server, a reply that is none)
        is tried again after a pause; raises Refused for other refusals, InputError after the last try."""
        for attempt in range(TRIES):
            pause = 0.0
            try:
                reply = self.session.request(method, f"{self.url}/{path}", json=body, timeout=self.timeout)
                if reply.status_code == 200:
                    return read(reply.json())
                problem = f"HTTP {reply.status_code} {' '.join(reply.text.split())[:200]}"
                if body and "chat_template_kwargs" in body and "chat_template_kwargs" in reply.text:
                    self.more, body = {}, {name: body[name] for name in body if name != "chat_template_kwargs"}
                    continue
                if reply.status_code not in PASSING:
                    raise Refused(f"--llm_url {self.url}/{path}: {problem}")
                after = reply.headers.get("Retry-After", "")
                pause = float(after) if after.isdigit() else 0.0
            except requests.RequestException as error:  # among them a reply that is no JSON
                problem = f"{type(error).__name__}: {error}"
            except (KeyError, IndexError, TypeError, AttributeError):
                problem = f"an unusable reply: {reply.text[:200]!r}"
            if attempt < TRIES - 1:
                time.sleep(min(max(pause, 2**attempt * random.uniform(0.7, 1.3)), LONGEST_PAUSE))
        raise InputError(
            f"--llm_url {self.url}/{path}: {TRIES} tries failed, the last with {problem}; answers so far are kept, the "
            "same command goes on with the rest"
        )


def message_of(reply):
    """(text, whether it came to an end) of a chat completion."""
    choice = reply["choices"][0]
    text = choice["message"]["content"]  # null where all that was said is thinking or a refusal
    return ("" if text is None else text + ""), choice.get("finish_reason") != "length"


def yes_minus_no(reply):
    """Log-probability of Yes minus that of No as the first token, in any spelling.  A word that is not among the listed
    tokens counts as the least probable of them; None where neither is.  Raises Refused where there are no logprobs."""
    found = reply["choices"][0].get("logprobs")
    if not found:
        raise Refused("--llm_mode score: the server gives no logprobs; use --llm_mode generate")
    listed = [(each["token"].strip().lower(), each["logprob"]) for each in found["content"][0]["top_logprobs"]]
    least = max(min(value for _, value in listed), LEAST_LOGPROB)
    given = {word: [value for token, value in listed if token == word] for word in ("yes", "no")}
    if not any(given.values()):
        return None
    yes, no = (np.logaddexp.reduce(given[word] or [least]) for word in ("yes", "no"))
    return round(float(max(yes, LEAST_LOGPROB) - max(no, LEAST_LOGPROB)), 6)


def defused(text):
    """A title in which nothing looks like a control token, since here the server reads the whole prompt at once."""
    return re.sub(r"<(?=[^\s<>]+>)", "< ", re.sub(r"\[(?=/?[A-Z_]+\])", "[ ", text))
