"""A model behind an OpenAI-compatible interface, asked by several requests at a time.

Such as vLLM and `transformers serve` have.
"""

import os
import random
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from urllib.parse import urlsplit

import numpy as np
import requests

from feedback import prompts
from feedback.questions import picked, scored, too_long
from utils import InputError

TRIES = 6  # of one request, with pauses of about 1, 2, 4, 8, 16 seconds in between
PASSING = {408, 409, 425, 429, 500, 502, 503, 504}  # HTTP statuses worth another try
LEAST_LOGPROB = -100.0  # servers say -9999 or less for what they did not reckon
TOO_LONG = r"context|max(imum)?[ _](model[ _])?len|too long|too many tokens"  # how servers say so
LONGEST_PAUSE = 60  # seconds, also where the server asks for more


class Refused(InputError):
    """The server understood the request and will not answer it: asking again would not help."""


class Server:
    """Requests to a model behind a URL, whatever they are about."""

    def __init__(self, url, llm, workers, timeout, flag="--llm_url"):
        """Asks the server for its models' names where llm is "auto".

        workers: requests at a time.  timeout: seconds.  flag: to name in messages.  A key goes into
        the environment variable OPENAI_API_KEY.
        """
        self.url, self.flag, self.workers, self.timeout = url.rstrip("/"), flag, workers, timeout
        if not self.url.startswith(("http://", "https://")):
            raise InputError(f"{flag} {url}: must begin with http:// or https://")
        self.session = session_for(self.url, workers)
        # vLLM and transformers understand this; taken back where a server does not (see request)
        self.more = {"chat_template_kwargs": {"enable_thinking": False}}
        self.llm = llm
        if self.llm == "auto":
            self.llm = self.request("GET", "models", first_model)

    def ask_all(self, ask, questions):
        """Yields ask(question) of each, in the order in which the answers come."""
        pool = ThreadPoolExecutor(self.workers)
        try:
            waiting = [pool.submit(ask, question) for question in questions]
            for future in as_completed(waiting):
                yield future.result()
        finally:
            # Also after the first failure.  What was answered is kept, the rest is asked at the next start.
            pool.shutdown(cancel_futures=True)

    def shorten(self, question, ask):
        """(answer, items of the profile left out), None where not even the question alone fits.

        The profile is halved each time the server says that the prompt is longer than its context.
        """
        whole = len(question.likes) + len(question.dislikes)
        kept = whole
        while True:
            try:
                return ask(question.shortened(kept)), whole - kept
            except Refused as error:
                if not re.search(TOO_LONG, str(error), re.IGNORECASE):
                    raise
                if not kept:
                    return None
                kept //= 2

    def say(self, messages, max_tokens=prompts.ANSWER_TOKENS):
        """(text, whether it came to an end): the answer to messages and answers in turn."""
        return self.request("POST", "chat/completions", message_of, self.body(messages, max_tokens))

    def body(self, messages, max_tokens=prompts.ANSWER_TOKENS):
        body = {"model": self.llm, "messages": prompts.turns(messages)}
        body |= {"temperature": 0, "max_tokens": max_tokens}
        return body | self.more

    def request(self, method, path, read, body=None):
        """read(JSON reply).

        What may pass is tried again after a pause: no connection, a time-out, a busy or failing
        server, a reply that is none.  Raises Refused for other refusals, InputError after the last
        try.
        """
        url = f"{self.url}/{path}"
        for attempt in range(TRIES):
            asked_pause = 0.0
            try:
                reply = self.session.request(method, url, json=body, timeout=self.timeout)
                if reply.status_code == 200:
                    return read(reply.json())
                problem = f"HTTP {reply.status_code} {' '.join(reply.text.split())[:200]}"
                if body and "chat_template_kwargs" in body and "chat_template_kwargs" in reply.text:
                    # the server does not know it: again at once, and from now on without
                    self.more = {}
                    body = body.copy()
                    del body["chat_template_kwargs"]
                    continue
                if reply.status_code not in PASSING:
                    raise Refused(f"{self.flag} {url}: {problem}")
                asked_pause = retry_after(reply)
            except requests.RequestException as error:  # among them a reply that is no JSON
                problem = f"{type(error).__name__}: {error}"
            except (KeyError, IndexError, TypeError, AttributeError):  # of read()
                problem = f"an unusable reply: {reply.text[:200]!r}"
            if attempt < TRIES - 1:
                # random, so that not all workers come back at the same moment
                pause = 2**attempt * random.uniform(0.7, 1.3)
                time.sleep(min(max(asked_pause, pause), LONGEST_PAUSE))
        raise InputError(
            f"{self.flag} {url}: {TRIES} tries failed, the last with {problem}; "
            "answers so far are kept, the same command goes on with the rest"
        )


class Endpoint(Server):
    """The refinement's questions to a server."""

    def __init__(self, options, mode, domain):
        self.mode = "generate" if mode == "auto" else mode
        self.domain = domain
        local_only = "works with a model on this machine only, not with --llm_url"
        if self.mode == "embed":
            raise InputError(f"--llm_mode embed: {local_only}")
        if options.llm_constrained:
            raise InputError(f"--llm_constrained: {local_only}")
        super().__init__(options.llm_url, options.llm, options.llm_concurrency, options.llm_timeout)

    def answers(self, questions, train, texts):
        """Yields a record for each question, in the order in which the answers come."""
        texts = [defused(text) for text in texts]
        ask = self.judge if self.mode == "score" else self.choose
        return self.ask_all(lambda question: ask(question, train, texts), questions)

    def choose(self, question, train, texts):
        """Mode generate: which of these?"""

        def ask(shorter, *more):
            messages = [prompts.pick(self.domain, shorter, texts, chat=True), *more]
            return self.say(messages)

        fitted = self.shorten(question, ask)
        if not fitted:
            return too_long(question, train)
        (text, finished), left_out = fitted
        raw = [text]
        chosen = prompts.parse(text, finished, len(question.items))
        if chosen is None:
            # once more, with what was said and a reminder of how to answer
            said = text.strip()[:200] or "-"  # some servers refuse an empty message
            fitted = self.shorten(question, lambda shorter: ask(shorter, said, prompts.REMINDER))
            if fitted:
                (text, finished), _ = fitted
                raw.append(text)
                chosen = prompts.parse(text, finished, len(question.items))
        return picked(question, train, chosen, raw, profile_left_out=left_out)

    def judge(self, question, train, texts):
        """Mode score: would this person like it?  One request an item."""
        distinct = {texts[item] for item in question.items}
        # so that what may not fit shows at once, and in an order that is the same every time
        longest_first = sorted(distinct, key=lambda text: (-len(text), text))

        def ask(shorter):
            profile = prompts.about(self.domain, shorter, texts)
            scores = {}
            for text in longest_first:
                body = self.body([profile + prompts.whether(self.domain, text, chat=True)])
                body |= {"max_tokens": 1, "logprobs": True, "top_logprobs": 20}
                scores[text] = self.request("POST", "chat/completions", yes_minus_no, body)
            return scores

        fitted = self.shorten(question, ask)
        if not fitted:
            return too_long(question, train)
        score_of, left_out = fitted
        scores = [score_of[texts[item]] for item in question.items]
        return scored(question, train, scores, profile_left_out=left_out)


def session_for(url, workers):
    session = requests.Session()
    session.mount(url, requests.adapters.HTTPAdapter(pool_maxsize=workers))
    secret = os.environ.get("OPENAI_API_KEY", "").strip()  # read from a file, it ends in a line break
    if not (secret.isascii() and secret.isprintable()):
        raise InputError("OPENAI_API_KEY: holds characters that no key has")
    if secret:
        session.headers["Authorization"] = f"Bearer {secret}"
        host = urlsplit(url).hostname
        if url.startswith("http://") and host not in ("localhost", "127.0.0.1", "::1"):
            print(f"warning: OPENAI_API_KEY goes to {host} unencrypted; https keeps it secret", file=sys.stderr)
    return session


def retry_after(reply):
    """Seconds that the server asks to wait."""
    seconds = reply.headers.get("Retry-After", "")
    return float(seconds) if seconds.isdigit() else 0.0


def first_model(reply):
    return reply["data"][0]["id"]


def message_of(reply):
    """(text, whether it came to an end) of a chat completion."""
    choice = reply["choices"][0]
    finished = choice.get("finish_reason") != "length"
    text = choice["message"]["content"]
    if text is None:  # all that was said is thinking or a refusal
        return "", finished
    # adding to it raises a TypeError where it is not text, which makes the reply an unusable one
    return text + "", finished


def yes_minus_no(reply):
    """Log-probability of Yes minus that of No as the first token, in any spelling.

    A word that is not among the listed tokens counts as the least probable of them.  None where
    neither is.  Raises Refused where there are no logprobs.
    """
    found = reply["choices"][0].get("logprobs")
    if not found:
        raise Refused("--llm_mode score: the server gives no logprobs; use --llm_mode generate")
    listed, given = [], {"yes": [], "no": []}
    for each in found["content"][0]["top_logprobs"]:
        word, logprob = each["token"].strip().lower(), each["logprob"]
        listed.append(logprob)
        if word in given:
            given[word].append(logprob)
    if not listed:
        raise KeyError("top_logprobs")  # an unusable reply, which is asked for again
    # at most as probable as the last one listed
    least = max(min(listed), LEAST_LOGPROB)
    if not given["yes"] and not given["no"]:
        return None
    yes = np.logaddexp.reduce(given["yes"] or [least])
    no = np.logaddexp.reduce(given["no"] or [least])
    return round(float(max(yes, LEAST_LOGPROB) - max(no, LEAST_LOGPROB)), 6)


def defused(text):
    """A title in which nothing looks like a control token.

    Here it cannot be kept apart from the template: the server reads the whole prompt at once.
    """
    text = re.sub(r"\[(?=/?[A-Z_]+\])", "[ ", text)  # [INST]
    return re.sub(r"<(?=[^\s<>]+>)", "< ", text)  # <|im_start|>
