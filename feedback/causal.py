"""A causal language model through transformers, asked in batches: modes "generate" and "score".

    answers            questions -> records, longest first
    complete           prompts -> greedy answers                       (mode generate)
    yes_minus_no       a shared profile, items after it -> logits      (mode score; the profile is read once)
"""

import copy
import inspect
import itertools
import json

import torch

from feedback import prompts
from feedback.batches import batches, padded, places
from feedback.prompts import ANSWER_TOKENS
from feedback.questions import picked, scored, too_long
from feedback.weights import load
from utils import InputError

TEMPLATE_OPTIONS = {"tokenize": False, "enable_thinking": False, "date_string": "1 January 2026"}  # not today's


def is_causal(weights):
    """Whether a model folder's config.json speaks of a causal language model."""
    try:
        architectures = json.loads((weights / "config.json").read_text(encoding="utf-8")).get("architectures") or [""]
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"--llm {weights}: has no readable config.json ({error})") from None
    return architectures[0].endswith(("ForCausalLM", "LMHeadModel"))


class CausalLM:
    def __init__(self, weights, device, options, mode, domain):
        """Loads tokenizer and safetensors weights from a local folder, never code.  Raises InputError."""
        from transformers import GenerationConfig

        self.name, self.device, self.mode, self.domain = f"--llm {weights}", device, mode, domain
        self.budget, self.constrained = options.llm_batch_tokens, options.llm_constrained
        self.tokenizer, self.model = load("AutoModelForCausalLM", weights, dtype_of(options, device), device)
        eos = self.model.generation_config.eos_token_id
        eos = self.tokenizer.eos_token_id if eos is None else eos
        if eos is None:
            raise InputError(f"{self.name}: names no end-of-sequence token in generation_config.json or its tokenizer")
        self.eos = eos if isinstance(eos, list) else [eos]
        self.pad = self.tokenizer.pad_token_id  # always masked, but it must be a token the model has
        if self.pad is None or self.pad >= self.model.get_input_embeddings().weight.shape[0]:
            self.pad = self.eos[0]
        # A fresh configuration: the model's own may ask for sampling or penalties.
        self.model.generation_config = GenerationConfig(
            do_sample=False, max_new_tokens=ANSWER_TOKENS, pad_token_id=self.pad, eos_token_id=self.eos
        )
        limits = (getattr(self.model.config, "max_position_embeddings", None), self.tokenizer.model_max_length)
        self.context = min(limit for limit in limits if limit)
        self.chat = bool(self.tokenizer.chat_template)
        self.templates = {}  # number of messages -> parts of the chat template as token ids
        self.tries = {}  # number of items -> the valid answers as a prefix tree of tokens
        if mode == "score":
            self.yes, self.no = (self.continuation(word)[0] for word in ("Yes", "No"))
            if self.yes == self.no or self.tokenizer.unk_token_id in (self.yes, self.no):
                raise InputError(f"{self.name}: its tokenizer cannot tell Yes from No; use --llm_mode generate")

    # ----------------------------------------------------------------------------------- text to tokens

    def tokens(self, *messages):
        """Token ids of a conversation: the user's messages and the model's answers in turn, up to the model's next.

        With a chat template the text of the messages is put in between the template's parts as plain text, so that
        nothing in a title counts as a control token.  Without one the messages simply follow each other.
        """
        if not self.chat:
            text = prompts.transcript(messages)
            start = self.tokenizer("").input_ids[:1]
            return [*(start if start == [self.tokenizer.bos_token_id] else []), *self.plain(text)]
        ids = []
        for message, part in itertools.zip_longest(messages, self.template(len(messages))[1:], fillvalue=""):
            ids += [*self.plain(message), *part]
        return [*self.template(len(messages))[0], *ids]

    def plain(self, text):
        return self.tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids

    def template(self, n):
        """The chat template around n messages: n + 1 parts as token ids."""
        if n in self.templates:
            return self.templates[n]
        marks = [f"\u27e6{i}\u27e7" for i in range(n)]
        turns = [{"role": ("user", "assistant")[i % 2], "content": mark} for i, mark in enumerate(marks)]
        text = self.tokenizer.apply_chat_template(turns, add_generation_prompt=True, **TEMPLATE_OPTIONS)
        parts = []
        for mark in marks:
            part, found, text = text.partition(mark)
            if not found:
                raise InputError(f"{self.name}: its chat template leaves out or reorders messages")
            parts.append(part)
        if n == 1:
            # Some templates put something between the prompt and an answer, such as a space: it belongs to the answer.
            turns.append({"role": "assistant", "content": "Yes"})
            whole = self.tokenizer.apply_chat_template(turns, **TEMPLATE_OPTIONS).partition(marks[0])[2]
            lead = whole[len(text) :].partition("Yes")[0] if whole.startswith(text) else ""
            self.anchor, self.lead = text, lead if not lead.strip() else ""
        self.templates[n] = [self.tokenizer(part, add_special_tokens=False).input_ids for part in (*parts, text)]
        return self.templates[n]

    def continuation(self, text):
        """Token ids of an answer that follows the prompt.  They are taken from the whole, since a tokenizer may treat
        the beginning of a text otherwise."""
        if self.chat:
            self.template(1)
        anchor, text = (self.anchor, self.lead + text) if self.chat else (prompts.CUE, f" {text}")
        before = self.tokenizer(anchor, add_special_tokens=False).input_ids
        whole = self.tokenizer(anchor + text, add_special_tokens=False).input_ids
        return whole[len(before) :] if whole[: len(before)] == before else self.plain(text.strip())

    def fit(self, question, build, room):
        """(token ids, items of the profile left out): build(question) with the longest profile that leaves `room`
        tokens of the context free; None where not even the question alone does.  What is asked about stays whole."""
        whole = len(question.likes) + len(question.dislikes)
        ids = build(question)
        if len(ids) + room <= self.context:
            return ids, 0
        low, high = -1, whole  # kept: low fits (or is -1), high does not
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (
                (middle, high)
                if len(build(question.shortened(middle))) + room <= self.context
                else (low, middle)
            )
        return None if low < 0 else (build(question.shortened(low)), whole - low)

    # ---------------------------------------------------------------------------------------- questions

    def answers(self, questions, asked, texts):
        """Yields a record for each question, batch by batch, the longest first."""
        ask = self.judge if self.mode == "score" else self.choose
        return ask(questions, asked, texts)

    def choose(self, questions, asked, texts):
        def build(question, *more):
            return self.tokens(prompts.pick(self.domain, question, texts, self.chat), *more)

        waiting = []
        for question in questions:
            fitted = self.fit(question, build, ANSWER_TOKENS)
            if fitted:
                waiting.append((question, *fitted))
            else:
                yield too_long(question, asked)
        waiting.sort(key=lambda row: -len(row[1]))
        for batch in batches(waiting, lambda row: (1, len(row[1]) + ANSWER_TOKENS), lambda: self.budget):
            sizes = [len(question.items) for question, _, _ in batch]
            answers = self.in_halves(self.complete, [ids for _, ids, _ in batch], sizes)
            raw = [[text] for text, _ in answers]
            chosen = [prompts.parse(*answer, n) for answer, n in zip(answers, sizes, strict=True)]
            again = {}  # place in the batch -> prompt with the reminder
            for place, (question, _, _) in enumerate(batch):
                more = (raw[place][0].strip()[:200], prompts.reminder(self.chat))
                fitted = chosen[place] is None and self.fit(question, lambda q, m=more: build(q, *m), ANSWER_TOKENS)
                if fitted:
                    again[place] = fitted[0]
            answers = self.in_halves(self.complete, list(again.values()), [sizes[p] for p in again]) if again else []
            for place, answer in zip(again, answers, strict=True):
                raw[place].append(answer[0])
                chosen[place] = prompts.parse(*answer, sizes[place])
            for (question, _, left_out), places_, texts_ in zip(batch, chosen, raw, strict=True):
                yield picked(question, asked, places_, texts_, profile_left_out=left_out, batch=len(batch))

    def judge(self, questions, asked, texts):
        def build(question):
            return self.tokens_before(prompts.about(self.domain, question, texts))

        after = {}  # item text -> token ids of the question about it
        for text in {texts[item] for question in questions for item in question.items}:
            after[text] = self.tokens_after(prompts.whether(self.domain, text, self.chat))
        waiting = []
        for question in questions:
            each = list(dict.fromkeys(texts[item] for item in question.items))  # one score a text, for twins too
            longest = max(len(after[text]) for text in each)
            fitted = self.fit(question, build, longest)
            if fitted:
                waiting.append((question, *fitted, each, longest))
            else:
                yield too_long(question, asked)
        waiting.sort(key=lambda row: -len(row[1]))
        for batch in batches(waiting, lambda row: (len(row[3]), len(row[1]) + row[4]), lambda: self.budget):
            pairs = [(ids, [after[text] for text in each]) for _, ids, _, each, _ in batch]
            for row, values in zip(batch, self.in_halves(self.yes_minus_no, pairs), strict=True):
                question, _, left_out, each, _ = row
                score_of = dict(zip(each, values, strict=True))
                scores = [round(score_of[texts[item]], 6) for item in question.items]
                yield scored(question, asked, scores, profile_left_out=left_out, batch=len(batch))

    def tokens_before(self, text):
        """The profile as the beginning of a prompt, and tokens_after, the question as its end: together `tokens`."""
        if self.chat:
            return [*self.template(1)[0], *self.plain(text)]
        return self.tokens(text)

    def tokens_after(self, text):
        return [*self.plain(text), *(self.template(1)[1] if self.chat else [])]

    # ---------------------------------------------------------------------------------------- the model

    @torch.no_grad()
    def complete(self, rows, sizes):
        """Greedy answers to prompts (token ids): [(text, whether it came to an end)].  sizes: items each asks about."""
        ids, mask = padded(rows, self.pad, self.device)  # (b, tokens)
        options = {"prefix_allowed_tokens_fn": self.only_answers(ids.shape[1], sizes)} if self.constrained else {}
        if not self.chat:
            options |= {"stop_strings": ["\n"], "tokenizer": self.tokenizer}  # a base model would go on and on
        output = self.model.generate(ids, attention_mask=mask, **options)  # (b, tokens + new tokens)
        answers = []
        for new in output[:, ids.shape[1] :].tolist():
            end = next((place for place, token in enumerate(new) if token in self.eos), len(new))
            text = self.tokenizer.decode(new[:end], skip_special_tokens=True)
            answers.append((text, end < ANSWER_TOKENS or (not self.chat and "\n" in text)))
        return answers

    def only_answers(self, start, sizes):
        """For generate(): the tokens that keep a row, from place `start` on, the beginning of a valid answer."""

        def allowed(row, ids):
            node = self.trie(sizes[row])
            for token in ids[start:].tolist():
                node = node.get(token, {})
            return list(node) or [self.eos[0]]

        return allowed

    def trie(self, n):
        """All valid answers to a question of n items as nested {token: what may follow}."""
        if n not in self.tries:
            root = {}
            for numbers in itertools.chain(*(itertools.combinations(range(1, n + 1), k) for k in range(n + 1))):
                answer = prompts.answer(numbers)
                spelled = [[*self.continuation(answer), end] for end in self.eos]
                if not self.chat:  # a base model ends its answer with a line break
                    spelled.append(self.continuation(f"{answer}\n"))
                for tokens in spelled:
                    node = root
                    for token in tokens:
                        node = node.setdefault(token, {})
            self.tries[n] = root
        return self.tries[n]

    @torch.no_grad()
    def yes_minus_no(self, pairs):
        """Logit of Yes minus logit of No as the next token: [(profile ids, [question ids])] -> [[float]].

        The profiles are run once; their keys and values then serve every question about them.
        """
        keep = {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(self.model.forward).parameters else {}
        ids, mask = padded([profile for profile, _ in pairs], self.pad, self.device)  # (p, tokens)
        profiles = self.model(ids, attention_mask=mask, position_ids=places(mask), use_cache=True, **keep)
        owner = [n for n, (_, questions) in enumerate(pairs) for _ in questions]
        rows = [question for _, questions in pairs for question in questions]
        step = max(1, self.budget // (ids.shape[1] + max(map(len, rows))))
        found = []
        for first in range(0, len(rows), step):
            own = torch.tensor(owner[first : first + step], device=self.device)  # (r,)
            cache = profiles.past_key_values
            cache = copy.deepcopy(cache) if first + step < len(rows) else cache  # it grows by what is read next
            try:
                cache.batch_select_indices(own)
            except AttributeError:
                raise InputError(f"{self.name}: its cache cannot be shared out; use --llm_mode generate") from None
            # Padded on the right: padding between profile and question would use up a sliding attention window.
            ids, after = padded(rows[first : first + step], self.pad, self.device, left=False)  # (r, tokens)
            position = mask[own].sum(1, keepdim=True) + places(after)
            whole = torch.cat([mask[own], after], 1)  # (r, profile tokens + tokens)
            last, place = (after.sum(1) - 1).unique(return_inverse=True)  # logits are made where a question ends only
            keep = {"logits_to_keep": last} if keep else {}
            out = self.model(ids, attention_mask=whole, position_ids=position, past_key_values=cache, **keep)
            place = place if keep else last[place]
            logits = out.logits[torch.arange(len(own)), place].float()  # (r, vocabulary)
            found += (logits[:, self.yes] - logits[:, self.no]).tolist()
        flat = iter(found)
        return [[next(flat) for _ in questions] for _, questions in pairs]

    def in_halves(self, run, *columns):
        """run(*columns), which returns a list of one result a row; where the device's memory does not suffice, the
        token budget is halved from now on, and so are the rows."""
        try:
            return run(*columns)
        except RuntimeError as error:  # torch.OutOfMemoryError, or the CPU allocator's own words
            if not (isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error)):
                raise
            if len(columns[0]) == 1 and self.budget < 64:
                raise InputError(f"{self.name}: one question does not fit into the memory of {self.device}") from None
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        self.budget //= 2
        middle = len(columns[0]) // 2
        parts = [slice(0, middle), slice(middle, None)] if middle else [slice(None)]
        return [row for part in parts for row in self.in_halves(run, *(column[part] for column in columns))]


def dtype_of(options, device):
    """Name of the model's number type: auto is float32 on a CPU, bfloat16 on a GPU."""
    if options.llm_dtype != "auto":
        return options.llm_dtype
    return "float32" if device.type == "cpu" else "bfloat16"
