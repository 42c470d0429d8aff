"""The refinement's questions to a model behind an OpenAI-compatible interface."""

import numpy as np

from feedback import prompts
from feedback.questions import FILTERED, TOO_LONG, picked, scored, unanswered
from llm.messages import defused
from llm.server import Filtered, Refused, Server, choice_of
from utils import InputError

LEAST_LOGPROB = -100.0  # servers say -9999 or less for what they did not reckon


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
        self.template = prompts.read_template(options.llm_prompt, self.mode)
        self.room = options.llm_answer_tokens
        super().__init__(
            options.llm_url, options.llm, options.llm_concurrency, options.llm_timeout,
            temperature=options.llm_temperature,
        )  # fmt: skip

    def answers(self, questions, train, texts):
        """Yields a record for each question, in the order in which the answers come."""
        texts = [defused(text) for text in texts]

        def answer(question):
            try:
                if self.mode == "score":
                    return self.judge(question, train, texts)
                return picked(self.ask(self.request(question, texts)), train)
            except Filtered:  # this one; the others may pass
                return unanswered(question, train, FILTERED)

        return self.ask_all(answer, questions)

    def request(self, question, texts):
        return prompts.which_of_these(self.domain, question, texts, True, self.template, self.room)

    def show(self, question, texts):
        """(prompt of a request, None for its tokens, which the server counts, requests of a question)"""
        texts = [defused(text) for text in texts]
        if self.mode == "generate":
            return self.request(question, texts).write(question.profile)[0], None, 1
        items = {texts[item] for item in question.items}
        return self.whether(question, texts, texts[question.items[0]]), None, len(items)

    def whether(self, question, texts, text):
        """The prompt of mode score about the item with this text."""
        profile = prompts.about(self.domain, question, texts, self.template)
        return profile + prompts.whether(self.domain, text, chat=True, template=self.template)

    def judge(self, question, train, texts):
        """Mode score: would this person like it?  One request an item."""
        distinct = {texts[item] for item in question.items}
        # so that what may not fit shows at once, and in an order that is the same every time
        longest_first = sorted(distinct, key=lambda text: (-len(text), text))

        def ask(kept):
            scores = {}
            for text in longest_first:
                body = self.body([self.whether(question.shortened(kept), texts, text)], max_tokens=1)
                body |= {"logprobs": True, "top_logprobs": 20}
                scores[text] = self.send("POST", "chat/completions", yes_minus_no, body)
            return scores

        fitted = self.shorten(question.profile, ask)
        if not fitted:
            return unanswered(question, train, TOO_LONG)
        score_of, left_out = fitted
        scores = [score_of[texts[item]] for item in question.items]
        return scored(question, train, scores, profile_left_out=left_out)


def yes_minus_no(reply):
    """Log-probability of Yes minus that of No as the first token, in any spelling.

    A word that is not among the listed tokens counts as the least probable of them.  None where neither is.
    Raises Refused where there are no logprobs, Filtered where a filter has kept the answer back.
    """
    found = choice_of(reply).get("logprobs")
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
