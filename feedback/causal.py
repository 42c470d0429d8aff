"""The refinement's questions to a causal language model at hand: modes "generate" and "score"."""

from dataclasses import dataclass, field
from functools import partial

from feedback import prompts, reading
from feedback.questions import TOO_LONG, Question, picked, scored, too_long
from llm.batches import batches, longest
from llm.language_model import LanguageModel
from llm.messages import ANSWER_TOKENS
from llm.replies import in_short


@dataclass
class Prompt:
    """A question on its way through the model."""

    question: Question
    ids: list  # tokens of the whole prompt, or of the profile alone (mode score)
    left_out: int  # items of the profile that the context has no room for
    room: int  # tokens that what follows may have: the answer, or the longest question of mode score
    # mode score: item text -> tokens of the question about it
    endings: dict = field(default_factory=dict)
    # mode generate: what the model said, before and after a reminder, and what is read from that
    raw: list = field(default_factory=list)
    liked: list | None = None

    def shape(self):
        """(sequences, tokens in each) that reading it takes."""
        if not self.endings:
            return 1, len(self.ids) + self.room
        return len(self.endings), len(self.ids) + longest(self.endings.values())


class CausalLM(LanguageModel):
    def __init__(
        self, weights, device, settings, mode, domain, constrained=False, flag="--llm", template=None,
        room=ANSWER_TOKENS,
    ):  # fmt: skip
        """template: of --llm_prompt.  room: tokens of an answer in mode generate.  The rest as LanguageModel has it."""
        super().__init__(weights, device, settings, mode, constrained, flag)
        self.domain, self.template, self.room = domain, template, room

    def answers(self, questions, train, texts):
        """Yields a record for each question, batch by batch, the longest first."""
        ask = self.judge if self.mode == "score" else self.choose
        return ask(questions, train, texts)

    def show(self, question, texts):
        """(prompt of a question as it is read, tokens of it, 1 request); mode score: with the first of its items."""
        if self.mode == "generate":
            prompt, endings = self.pick_prompt(question, texts), [[]]
        else:
            endings = list(self.endings(question, texts, {}).values())
            prompt = self.profile_prompt(question, texts, longest(endings))
        if prompt is None:
            return f"({TOO_LONG}: it is not asked)", 0, 1
        return self.tokenizer.decode(prompt.ids + endings[0]), len(prompt.ids) + sum(map(len, endings)), 1

    def choose(self, questions, train, texts):
        """Mode generate: which of these?"""
        # what the context has no room for is not asked
        waiting = []
        for question in questions:
            prompt = self.pick_prompt(question, texts)
            if prompt:
                waiting.append(prompt)
            else:
                yield too_long(question, train)

        for batch in self.batches(waiting):
            self.say(batch, texts)

            # what cannot be read is asked for once more, with a reminder of how to answer
            again = []
            for prompt in batch:
                if prompt.liked is None and self.add_reminder(prompt, texts):
                    again.append(prompt)
            self.say(again, texts)

            for prompt in batch:
                more = {"profile_left_out": prompt.left_out, "batch": len(batch)}
                yield picked(prompt.question, train, prompt.liked, prompt.raw, **more)

    def pick_prompt(self, question, texts, *more):
        """more: what was said before, and the reminder."""

        def build(shorter):
            message = prompts.pick(self.domain, shorter, texts, self.tokens.chat, self.template)
            return self.tokens.conversation(message, *more)

        return self.fit(question, build, self.room)

    def add_reminder(self, prompt, texts):
        """Make what was said, and a reminder, part of the prompt; returns whether they fit."""
        reminder = prompts.reminder(self.tokens.chat)
        reminded = self.pick_prompt(prompt.question, texts, in_short(prompt.raw[0]), reminder)
        if reminded:
            prompt.ids = reminded.ids
        return bool(reminded)

    def say(self, batch, texts):
        """Let the model answer, and read what it says."""
        if not batch:
            return
        sizes = [len(prompt.question.items) for prompt in batch]
        complete = partial(self.complete, new_tokens=self.room)
        answers = self.in_halves(complete, [prompt.ids for prompt in batch], sizes)
        for prompt, (text, finished) in zip(batch, answers, strict=True):
            prompt.raw.append(text)
            prompt.liked = reading.parse(text, finished, [texts[item] for item in prompt.question.items])

    def judge(self, questions, train, texts):
        """Mode score: would this person like it?  For each item."""
        # what the context has no room for is not asked
        waiting = []
        ending_of = {}  # many users are asked about the same item, in the same words
        for question in questions:
            endings = self.endings(question, texts, ending_of)
            prompt = self.profile_prompt(question, texts, longest(endings.values()))
            if prompt:
                prompt.endings = endings
                waiting.append(prompt)
            else:
                yield too_long(question, train)

        for batch in self.batches(waiting):
            # one score for each text, then one for each item
            pairs = [(prompt.ids, list(prompt.endings.values())) for prompt in batch]
            for prompt, values in zip(batch, self.in_halves(self.yes_minus_no, pairs), strict=True):
                score_of = dict(zip(prompt.endings, values, strict=True))
                scores = [round(score_of[texts[item]], 6) for item in prompt.question.items]
                more = {"profile_left_out": prompt.left_out, "batch": len(batch)}
                yield scored(prompt.question, train, scores, **more)

    def profile_prompt(self, question, texts, room):
        """The profile that the questions about items follow, which take `room` tokens each."""

        def build(shorter):
            return self.tokens.before(prompts.about(self.domain, shorter, texts, self.template))

        return self.fit(question, build, room)

    def endings(self, question, texts, ending_of):
        """{item text: tokens of the question about it}; items with the same text share a question."""
        endings = {}
        for item in question.items:
            text = texts[item]
            if text not in ending_of:
                message = prompts.whether(self.domain, text, self.tokens.chat, self.template)
                ending_of[text] = self.tokens.after(message)
            endings[text] = ending_of[text]
        return endings

    def batches(self, waiting):
        """By length, for little padding.  The longest first: a lack of memory shows at once."""
        waiting.sort(key=lambda prompt: -len(prompt.ids))
        return batches(waiting, Prompt.shape, lambda: self.budget)

    def fit(self, question, build, room):
        """The Prompt build(question) with the longest profile that leaves `room` tokens free.

        None where not even the question alone does.  What is asked about stays whole.
        """
        whole = len(question.likes) + len(question.dislikes)
        ids = build(question)
        if len(ids) + room <= self.context:
            return Prompt(question, ids, 0, room)
        # bisection: a profile of `fits` items does (or it is -1), one of `beyond` items does not
        fits, beyond = -1, whole
        while beyond - fits > 1:
            middle = (fits + beyond) // 2
            if len(build(question.shortened(middle))) + room <= self.context:
                fits = middle
            else:
                beyond = middle
        if fits < 0:  # not even without a profile
            return None
        return Prompt(question, build(question.shortened(fits)), whole - fits, room)
