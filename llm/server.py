"""Requests to a model behind an OpenAI-compatible interface, several at a time.

Such as vLLM and `transformers serve` have.
"""

import os
import random
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import NameResolutionError, NewConnectionError

from llm.messages import ANSWER_TOKENS, turns
from utils import InputError

TRIES = 6  # of one request, with pauses of about 1, 2, 4, 8, 16 seconds in between
PASSING = {408, 409, 425, 429, 500, 502, 503, 504}  # HTTP statuses worth another try
TOO_LONG = r"context|max(imum)?[ _](model[ _])?len|too long|too many tokens"  # how servers say so
LONGEST_PAUSE = 60  # seconds, also where the server asks for more
CONNECTING = 10  # seconds in which a server must take a connection; an answer may take longer


class Refused(InputError):
    """The server understood the request and will not answer it: asking again would not help."""


class Server:
    """A model behind a URL, whatever it is asked about."""

    def __init__(self, url, llm, workers, timeout, flag="--llm_url"):
        """Asks the server for its models' names where llm is "auto".

        workers: requests at a time.  timeout: seconds.  flag: to name in messages.  A key goes into
        the environment variable OPENAI_API_KEY.
        """
        self.url, self.flag, self.workers = url.rstrip("/"), flag, workers
        self.timeout = min(CONNECTING, timeout), timeout
        if not self.url.startswith(("http://", "https://")):
            raise InputError(f"{flag} {url}: must begin with http:// or https://")
        self.session = session_for(self.url, workers)
        # vLLM and transformers understand this; taken back where a server does not (see request)
        self.more = {"chat_template_kwargs": {"enable_thinking": False}}
        self.reached = False  # whether the server has ever replied
        self.answered = False  # whether a question of this start has been
        self.llm = llm
        if self.llm == "auto":
            self.llm = self.request("GET", "models", first_model)

    def ask_all(self, ask, questions):
        """Yields ask(question) of each, in the order in which the answers come."""
        pool = ThreadPoolExecutor(self.workers)
        try:
            waiting = [pool.submit(ask, question) for question in questions]
            for future in as_completed(waiting):
                record = future.result()
                self.answered = True
                yield record
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

    def say(self, messages, max_tokens=ANSWER_TOKENS):
        """(text, whether it came to an end): the answer to messages and answers in turn."""
        return self.request("POST", "chat/completions", message_of, self.body(messages, max_tokens))

    def body(self, messages, max_tokens=ANSWER_TOKENS):
        body = {"model": self.llm, "messages": turns(messages)}
        body |= {"temperature": 0, "max_tokens": max_tokens}
        return body | self.more

    def request(self, method, path, read, body=None):
        """read(JSON reply).

        What may pass is tried again after a pause: a broken connection, a time-out, a busy or
        failing server, a reply that is none, and a server that was there before.  Raises Refused
        for other refusals, InputError after the last try, and at once where no server was found.
        """
        url = f"{self.url}/{path}"
        for attempt in range(TRIES):
            asked_pause = 0.0
            try:
                reply = self.session.request(method, url, json=body, timeout=self.timeout)
                self.reached = True
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
                problem = in_words(error)
                if not self.reached:
                    self.refuse_nobody(error)
            except (KeyError, IndexError, TypeError, AttributeError):  # of read()
                problem = f"an unusable reply: {reply.text[:200]!r}"
            if attempt < TRIES - 1:
                # random, so that not all workers come back at the same moment
                pause = 2**attempt * random.uniform(0.7, 1.3)
                time.sleep(min(max(asked_pause, pause), LONGEST_PAUSE))
        kept = "answers so far are kept, " if self.answered else ""
        raise InputError(
            f"{self.flag} {url}: {TRIES} tries failed, the last with {problem}; "
            f"{kept}the same command goes on with what is left to ask"
        )

    def refuse_nobody(self, error):
        """Raises InputError where there was nobody to connect to: waiting would not change that."""
        why = unreachable(error)
        if why:
            raise InputError(
                f"{self.flag} {self.url}: no server answers there ({why}); start it, or mend the address"
            ) from None


def unreachable(error):
    """Why no connection came about, in words.  None where one did, and something broke later."""
    reason = getattr(error.args[0], "reason", None) if error.args else None  # of urllib3
    if isinstance(error, requests.exceptions.InvalidURL):
        return "it is no address"
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy in between cannot be reached"
    if isinstance(error, requests.exceptions.SSLError):
        return "it speaks no https, or its certificate is not trusted"
    if isinstance(error, requests.ConnectTimeout):
        return f"it takes no connection within {CONNECTING} seconds"
    if isinstance(reason, NameResolutionError):
        return f"no host of the name {urlsplit(error.request.url).hostname} is known"
    if isinstance(reason, NewConnectionError):
        return getattr(reason.__cause__, "strerror", None) or "no connection"
    return None


def in_words(error):
    """What came instead of a reply."""
    if isinstance(error, requests.ReadTimeout):
        return "no answer within --llm_timeout"
    if isinstance(error, requests.JSONDecodeError):
        return "a reply that is no JSON"
    return unreachable(error) or "a connection that broke"


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
