"""The refinement's questions to a causal language model at hand: modes "generate" and "score"."""

from dataclasses import dataclass
from functools import cache

from feedback import prompts
from feedback.questions import TOO_LONG, Question, picked, scored, unanswered
from llm.batches import batches, longest
from llm.language_model import LanguageModel
from llm.messages import ANSWER_TOKENS
from llm.request import most_that_fits


@dataclass
class Profile:
    """What mode score reads once for all items of a question."""

    question: Question
    ids: list  # its tokens
    left_out: int  # items that the context has no room for
    endings: dict  # item text -> tokens of the question about it

    def shape(self):
        """(sequences, tokens in each) that reading it takes."""
        return len(self.endings), len(self.ids) + longest(self.endings.values())


class CausalLM(LanguageModel):
    def __init__(
        self, weights, device, settings, mode, domain, constrained=False, template=None, room=ANSWER_TOKENS
    ):  # fmt: skip
        """template: of --llm_prompt.  room: tokens of an answer.  The rest as LanguageModel has it."""
        super().__init__(weights, device, settings, mode, constrained)
        self.domain, self.template, self.room = domain, template, room
        self.ending = cache(self.ending)  # many users are asked about the same item, in the same words

    def answers(self, questions, train, texts):
        """Yields a record for each question, batch by batch, the longest first."""
        if self.mode == "score":
            return self.judge(questions, train, texts)
        requests = [self.request(question, texts) for question in questions]
        return (picked(request, train, batch=request.batch) for request in self.ask(requests))

    def request(self, question, texts):
        return prompts.which_of_these(self.domain, question, texts, self.tokens.chat, self.template, self.room)

    def show(self, question, texts):
        """(prompt of a question, its tokens, 1 request); in mode score the text has the first item alone."""
        endings = [[]]
        if self.mode == "generate":
            fitted = self.fit(self.request(question, texts))
        else:
            endings = list(self.endings(question, texts).values())
            fitted = self.profile(question, texts, longest(endings))
        if fitted is None:
            return f"({TOO_LONG}: it is not asked)", 0, 1
        ids = fitted[0]
        return self.tokenizer.decode(ids + endings[0]), len(ids) + sum(map(len, endings)), 1

    def judge(self, questions, train, texts):
        """Mode score: would this person like it?  For each item."""
        # what the context has no room for is not asked
        waiting = []
        for question in questions:
            endings = self.endings(question, texts)
            fitted = self.profile(question, texts, longest(endings.values()))
            if fitted:
                ids, kept = fitted
                waiting.append(Profile(question, ids, question.profile - kept, endings))
            else:
                yield unanswered(question, train, TOO_LONG)

        # by length, for little padding; the longest first, so that a lack of memory shows at once
        waiting.sort(key=lambda profile: -len(profile.ids))
        for batch in batches(waiting, Profile.shape, lambda: self.budget):
            # one score for each text, then one for each item
            pairs = [(profile.ids, list(profile.endings.values())) for profile in batch]
            for profile, values in zip(batch, self.in_halves(self.yes_minus_no, pairs), strict=True):
                score_of = dict(zip(profile.endings, values, strict=True))
                scores = [round(score_of[texts[item]], 6) for item in profile.question.items]
                more = {"profile_left_out": profile.left_out, "batch": len(batch)}
                yield scored(profile.question, train, scores, **more)

    def profile(self, question, texts, room):
        """(tokens of the profile, items in it), None where no profile leaves `room` tokens for the longest item."""

        def build(kept):
            return self.tokens.before(prompts.about(self.domain, question.shortened(kept), texts, self.template))

        return most_that_fits(build, question.profile, self.context - room)

    def endings(self, question, texts):
        """{item text: tokens of the question about it}"""
        return {texts[item]: self.ending(texts[item]) for item in question.items}

    def ending(self, text):
        return self.tokens.after(prompts.whether(self.domain, text, self.tokens.chat, self.template))
