"""Requests to a model behind an OpenAI-compatible interface, as vLLM has, several at a time.

Each server speaks a dialect: what one does not know is taken back and not sent again.
"""

import os
import queue
import random
import re
import sys
import threading
import time
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import NameResolutionError, NewConnectionError

from llm.messages import ANSWER_TOKENS, turns
from llm.replies import in_short
from utils import InputError

VERSIONED = r"/v\d+\w*$"  # the end of an address such as http://host/v1
TRIES = 6  # of one request, with pauses of about 1, 2, 4, 8, 16 seconds in between
# HTTP statuses worth another try; those of 520 to 529 are a proxy's and an overloaded server's
PASSING = {408, 409, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529}
ABOUT_THE_REQUEST = {400, 413, 422}  # statuses of a request that will not do as it is
TOO_LONG = r"context|max(imum)?[ _](model[ _])?len|too long|too many tokens"  # how servers say so
FILTERED = r"content[ _-]?(management[ _-]?)?(filter|policy)|moderation|safety (system|policy)"  # and this
LONGEST_PAUSE = 60  # seconds, also where the server asks for more
LISTED = 10  # models named in a message
CONNECTING = 10  # seconds in which a server must take a connection; an answer may take longer


class Refused(InputError):
    """Asking again would not help.  said: the server's own code and message, without the model's name."""

    def __init__(self, message, status=None, said=""):
        super().__init__(message)
        self.status, self.said = status, said

    def is_too_long(self):
        """Whether it is the prompt's length that was refused."""
        return self.status in ABOUT_THE_REQUEST and bool(re.search(TOO_LONG, self.said, re.IGNORECASE))


class Filtered(Refused):
    """A content filter keeps the answer to this one prompt back."""


class Dialect:
    """What a server does not know of a request, found out as it refuses."""

    def __init__(self):
        self.left_out, self.renamed, self.most_listed = set(), {}, None
        self.lock = threading.Lock()  # several requests fail at a time, and one of them is to learn from it

    def translate(self, body):
        """A request's body as the server takes it."""
        body = {self.renamed.get(name, name): value for name, value in body.items() if name not in self.left_out}
        if self.most_listed and "top_logprobs" in body:
            body["top_logprobs"] = min(body["top_logprobs"], self.most_listed)
        return body

    def learn(self, body, sent, said):
        """Whether a refused request is to be sent again at once, in other words.  body: as it was meant."""
        with self.lock:
            return self.translate(body) != sent or self.give_way(sent, said)

    def give_way(self, sent, said):
        unknown = re.search(r"chat_template_kwargs|extra|unrecogni|unknown|unexpected", said, re.IGNORECASE)
        if "max_tokens" in sent and "max_completion_tokens" in said:
            self.renamed["max_tokens"] = "max_completion_tokens"
        elif "temperature" in sent and "temperature" in said:
            self.left_out.add("temperature")
            warn("the server takes no temperature: it draws its answers as it likes, and others the next time")
        elif sent.get("top_logprobs", 0) > 1 and "top_logprobs" in said:
            below = [int(number) for number in re.findall(r"\d+", said) if 0 < int(number) < sent["top_logprobs"]]
            self.most_listed = max(below, default=sent["top_logprobs"] // 2)
        elif "chat_template_kwargs" in sent and unknown:
            self.left_out.add("chat_template_kwargs")
        else:
            return False
        return True


class Server:
    """A model behind a URL, whatever it is asked about."""

    def __init__(self, url, llm, workers, timeout, flag="--llm_url", temperature=0.0):
        """Asks the server for its models' names where llm is "auto".

        workers: requests at a time.  timeout: seconds.  flag: for messages.
        """
        # the address of one thing that a server does is taken for the server's
        self.url = re.sub(r"/(chat/completions|completions|models)$", "", url.rstrip("/"))
        self.flag, self.workers, self.temperature = flag, workers, temperature
        self.timeout = min(CONNECTING, timeout), timeout
        if not self.url.startswith(("http://", "https://")):
            raise InputError(f"{flag} {url}: must begin with http:// or https://")
        self.session = session_for(self.url, workers)
        self.dialect = Dialect()
        self.reached = False  # whether the server has ever replied
        self.found = False  # whether the address is one that answers
        self.answered = False  # whether a question of this start has been
        self.ended = threading.Event()  # nobody waits for answers any more
        self.llm = llm
        if llm == "auto":
            listed = self.send("GET", "models", names_in)
            if not listed:
                raise Refused(f"{flag} {self.url}: lists no model; give the name of one, or have it load one")
            self.llm = listed[0]

    def ask_all(self, ask, questions):
        """Yields ask(question) of each, in the order in which the answers come.

        After the first failure, or where nobody wants more, no further question is asked, and nobody waits for
        the answers on their way: a server may hang.
        """
        waiting, answers = queue.SimpleQueue(), queue.SimpleQueue()
        self.ended.clear()
        questions = list(questions)
        for question in questions:
            waiting.put(question)

        def work():
            while not self.ended.is_set():
                try:
                    question = waiting.get_nowait()
                except queue.Empty:
                    return
                try:
                    answers.put((ask(question), None))
                except BaseException as error:  # raised below, in the thread that reads the answers
                    answers.put((None, error))

        for _ in range(min(self.workers, len(questions))):
            # a daemon, since the end of the program does not wait for it
            threading.Thread(target=work, daemon=True).start()
        try:
            for _ in questions:
                record, error = answers.get()
                if error:
                    raise error
                if not self.answered:
                    self.warn_of_other_models()
                self.answered = True
                yield record
        finally:
            self.ended.set()

    def warn_of_other_models(self):
        """Some servers answer for models that they do not list, under any name; the others refuse."""
        try:
            reply = self.session.request("GET", f"{self.url}/models", timeout=self.timeout[0])
            listed = names_in(reply.json())
        except (requests.RequestException, KeyError, TypeError):  # it makes no list
            return
        if self.llm not in listed:
            names = ", ".join(listed[:LISTED]) or "no model"
            warn(f"{self.flag} {self.url}: answers as {self.llm}, although it lists {names}")

    def ask(self, request):
        """The Request, answered; raises Filtered where a content filter keeps the answer back."""

        def say(*said):
            return self.shorten(request.profile, lambda kept: self.say(request.write(kept, *said), request.room))

        fitted = say()
        if fitted:
            answer, request.left_out = fitted
            request.take(*answer)
            # what cannot be read is asked for once more, with a reminder of how to answer
            if request.said is None:
                fitted = say(in_short(request.raw[0]))
                if fitted:
                    request.take(*fitted[0])
        return request

    def shorten(self, most, ask):
        """(ask(kept), most - kept) for what can be kept of `most` items, None where even none are too many.

        They are halved each time the server says that the prompt is longer than its context.
        """
        kept = most
        while True:
            try:
                return ask(kept), most - kept
            except Refused as error:
                if not error.is_too_long():
                    raise
                if not kept:
                    return None
                kept //= 2

    def say(self, messages, max_tokens=ANSWER_TOKENS):
        """(text, whether it came to an end): the answer to messages and answers in turn."""
        return self.send("POST", "chat/completions", message_of, self.body(messages, max_tokens))

    def body(self, messages, max_tokens=ANSWER_TOKENS):
        body = {"model": self.llm, "messages": turns(messages)}
        body |= {"temperature": self.temperature, "max_tokens": max_tokens}
        # vLLM and transformers understand this
        return body | {"chat_template_kwargs": {"enable_thinking": False}}

    def send(self, method, path, read, body=None):
        """read(JSON reply).

        What may pass is tried again after a pause: a broken connection, a busy server, a reply that is none.
        Raises Refused for other refusals, InputError after the last try, and at once where no server was found.
        urllib3's Retry does not fit: it cannot read a reply, nor say it in another dialect.
        """
        attempt = 0
        while attempt < TRIES and not (attempt and self.ended.is_set()):
            url, asked_pause = f"{self.url}/{path}", 0.0
            sent = body and self.dialect.translate(body)
            try:
                reply = self.session.request(method, url, json=sent, timeout=self.timeout)
                self.reached = True
                if reply.status_code == 200:
                    self.found = True
                    return read(reply.json())
                problem = f"HTTP {reply.status_code} {' '.join(reply.text.split())[:200]}"
                refusal = self.refusal(url, problem, reply)
                about = sent and reply.status_code in ABOUT_THE_REQUEST and not refusal.is_too_long()
                if about and self.dialect.learn(body, sent, refusal.said):
                    continue
                if reply.status_code == 404 and self.try_version(url, path):
                    continue
                if reply.status_code not in PASSING:
                    raise refusal
                seconds = reply.headers.get("Retry-After", "")
                asked_pause = float(seconds) if seconds.isdigit() else 0.0
            except requests.RequestException as error:  # among them a reply that is no JSON
                problem = in_words(error)
                why = None if self.reached else unreachable(error)
                if why:  # there is nobody to connect to, and waiting would not change that
                    what = f"no server answers there ({why}); start it, or mend the address"
                    raise InputError(f"{self.flag} {self.url}: {what}") from None
            except (KeyError, IndexError, TypeError, AttributeError):  # of read()
                problem = f"an unusable reply: {reply.text[:200]!r}"
            attempt += 1
            if attempt < TRIES and not self.ended.is_set():
                # random, so that not all workers come back at the same moment
                pause = 2 ** (attempt - 1) * random.uniform(0.7, 1.3)
                time.sleep(min(max(asked_pause, pause), LONGEST_PAUSE))
        kept = "answers so far are kept, " if self.answered else ""
        raise InputError(
            f"{self.flag} {url}: {TRIES} tries failed, the last with {problem}; "
            f"{kept}the same command goes on with what is left to ask"
        )

    def try_version(self, url, path):
        """Whether an address without a server is worth another try, with the /v1 that servers have."""
        with self.dialect.lock:
            if url != f"{self.url}/{path}":
                return True  # another thread has put it there
            if self.found or re.search(VERSIONED, self.url):
                return False
            self.url += "/v1"
            return True

    def refusal(self, url, problem, reply):
        """The exception for a reply that is neither an answer nor worth another try."""
        said = code_and_message(reply).replace(self.llm, "")
        if reply.status_code in {*ABOUT_THE_REQUEST, 403, 451} and re.search(FILTERED, said, re.IGNORECASE):
            return Filtered(f"{self.flag} {url}: {problem}", reply.status_code, said)
        if reply.status_code == 404 and not self.found:
            problem += f"; is there a model {self.llm}, and is the address right, as in http://host/v1?"
        return Refused(f"{self.flag} {url}: {problem}", reply.status_code, said)


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
            warn(f"OPENAI_API_KEY goes to {host} unencrypted; https keeps it secret")
    return session


def names_in(reply):
    """The models in a server's list."""
    return [str(model["id"]) for model in reply["data"] or []]


def code_and_message(reply):
    """What a refusal says of its reason: the codes and messages of its JSON, or its text."""
    try:
        error = reply.json()
    except ValueError:
        return reply.text
    if isinstance(error, dict):
        error = error.get("error", error)
    if not isinstance(error, dict):
        return str(error)
    names = ("code", "type", "message", "detail", "innererror")
    return " ".join(str(error[name]) for name in names if error.get(name))


def warn(line):
    print(f"warning: {line}", file=sys.stderr)


def choice_of(reply):
    """The answer in a chat completion.  Raises Filtered for one that a filter has kept back."""
    choice = reply["choices"][0]
    if choice.get("finish_reason") == "content_filter":
        raise Filtered("the answer was kept back by a content filter")
    return choice


def message_of(reply):
    """(text, whether it came to an end) of a chat completion"""
    choice = choice_of(reply)
    finished = choice.get("finish_reason") != "length"
    message = choice["message"]
    # a server that parses reasoning leaves the content out where the answer was never reached
    parsed = any(name.startswith("reasoning") for name in message)
    text = message.get("content") if parsed else message["content"]
    if text is None:  # all that was said is thinking or a refusal
        return "", finished
    # adding to it raises a TypeError where it is not text, which makes the reply an unusable one
    return text + "", finished
