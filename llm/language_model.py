"""A causal language model through transformers, run in batches.

    ask                Requests -> the same, answered                  (mode generate)
    yes_minus_no       a shared profile, items after it -> logits      (mode score)
"""

import copy
from functools import partial

import torch

from llm.batches import batches, padded, places
from llm.messages import ANSWER_TOKENS
from llm.replies import in_short
from llm.request import most_that_fits
from llm.tokens import PromptTokens
from llm.weights import dtype_of, load
from machine.hardware import out_of_memory
from utils import InputError

LEAST_FILLED = 0.8  # of the longest row's tokens, that a row read beside it must have


class LanguageModel:
    def __init__(self, weights, device, settings, mode, constrained=False, flag="--llm"):
        """Loads tokenizer and safetensors weights from a local folder, never code.

        settings: has llm_batch_tokens and llm_dtype.  constrained: only valid answers are said.  flag: for messages.
        """
        from transformers import GenerationConfig

        self.name, self.device, self.mode = f"{flag} {weights}", device, mode
        self.budget, self.constrained = settings.llm_batch_tokens, constrained
        dtype = dtype_of(settings, device)
        self.tokenizer, self.model = load("AutoModelForCausalLM", weights, dtype, device, flag)
        eos = self.model.generation_config.eos_token_id
        if eos is None:
            eos = self.tokenizer.eos_token_id
        if eos is None:
            where = "generation_config.json or its tokenizer"
            raise InputError(f"{self.name}: names no end-of-sequence token in {where}")
        self.eos = eos if isinstance(eos, list) else [eos]
        # padding is always masked, but it must be a token the model has
        self.pad = self.tokenizer.pad_token_id
        if self.pad is None or self.pad >= self.model.get_input_embeddings().weight.shape[0]:
            self.pad = self.eos[0]
        # a fresh configuration: the model's own may ask for sampling or penalties
        greedy = {"do_sample": False, "pad_token_id": self.pad, "eos_token_id": self.eos}
        self.model.generation_config = GenerationConfig(**greedy)
        positions = getattr(self.model.config, "max_position_embeddings", None)
        limits = (positions, self.tokenizer.model_max_length)
        self.context = min(limit for limit in limits if limit)
        self.tokens = PromptTokens(self.tokenizer, self.eos, self.name)
        if mode == "score":
            self.yes = self.tokens.continuation("Yes")[0]
            self.no = self.tokens.continuation("No")[0]
            # their first tokens must be words of their own
            if self.yes == self.no or self.tokenizer.unk_token_id in (self.yes, self.no):
                raise InputError(f"{self.name}: its tokenizer cannot tell Yes from No; use --llm_mode generate")
            self.keep_two_words()

    def keep_two_words(self):
        """Let the model's head know Yes and No alone: 262,144 words would be most of the work of a question."""
        head = self.model.get_output_embeddings()
        words = [self.yes, self.no]
        two = torch.nn.Linear(head.in_features, 2, bias=head.bias is not None, device="meta")
        two.weight = torch.nn.Parameter(head.weight[words].detach().clone(), requires_grad=False)
        if head.bias is not None:
            two.bias = torch.nn.Parameter(head.bias[words].detach().clone(), requires_grad=False)
        self.model.set_output_embeddings(two)

    def ask(self, requests):
        """Yields each Request as it is answered, batch by batch; first those that do not fit."""
        waiting = []  # (request, tokens of its prompt)
        for request in requests:
            fitted = self.fit(request)
            if fitted:
                ids, kept = fitted
                request.left_out = request.profile - kept
                waiting.append((request, ids))
            else:
                yield request

        # by length, for little padding; the longest first, so that a lack of memory shows at once
        waiting.sort(key=lambda pair: -len(pair[1]))
        for batch in batches(waiting, lambda pair: (1, len(pair[1]) + pair[0].room), lambda: self.budget):
            self.say(batch)

            # what cannot be read is asked for once more, with a reminder of how to answer
            again = []
            for request, _ in batch:
                if request.said is not None:
                    continue
                fitted = self.fit(request, in_short(request.raw[0]))
                if fitted:
                    again.append((request, fitted[0]))
            self.say(again)

            for request, _ in batch:
                request.batch = len(batch)
                yield request

    def fit(self, request, *said):
        """(tokens of the prompt, items of the profile in it), None where not even the question alone fits."""

        def build(kept):
            return self.tokens.conversation(*request.write(kept, *said))

        return most_that_fits(build, request.profile, self.context - request.room)

    def say(self, batch):
        """Let the model answer (request, tokens) pairs."""
        if not batch:
            return
        rows, choices = [ids for _, ids in batch], [request.choices for request, _ in batch]
        complete = partial(self.complete, new_tokens=batch[0][0].room)
        for (request, _), answer in zip(batch, self.in_halves(complete, rows, choices), strict=True):
            request.take(*answer)

    @torch.no_grad()
    def complete(self, rows, sizes, new_tokens=ANSWER_TOKENS):
        """Greedy answers to prompts (token ids): [(text, whether it came to an end)].

        sizes: how many items each asks about.  new_tokens: of an answer, at most.
        """
        ids, mask = padded(rows, self.pad, self.device)  # (b, tokens)
        start = ids.shape[1]
        options = {"max_new_tokens": new_tokens}
        if self.constrained:
            options["prefix_allowed_tokens_fn"] = self.only_answers(start, sizes)
        if not self.tokens.chat:  # a base model would go on and on
            options |= {"stop_strings": ["\n"], "tokenizer": self.tokenizer}
        # (b, tokens + new tokens)
        output = self.model.generate(ids, attention_mask=mask, **options)
        # what comes after the end is padding
        answers = []
        for new in output[:, start:].tolist():
            ends = [place for place, token in enumerate(new) if token in self.eos]
            end = ends[0] if ends else len(new)
            text = self.tokenizer.decode(new[:end], skip_special_tokens=True)
            stopped = not self.tokens.chat and "\n" in text
            if not self.constrained:  # where the chat template has begun to think, the answer ends that
                text = self.tokens.thinking + text
            answers.append((text, end < new_tokens or stopped))
        return answers

    def only_answers(self, start, sizes):
        """For generate(): the tokens that may follow in a valid answer.  start: where answers begin."""

        def allowed(row, ids):
            node = self.tokens.answer_tree(sizes[row])
            for token in ids[start:].tolist():
                node = node.get(token, {})
            return list(node) or [self.eos[0]]  # a whole answer

        return allowed

    @torch.no_grad()
    def yes_minus_no(self, pairs):
        """Logit of Yes minus that of No as the next token.

        [(profile ids, [question ids])] -> [[float]].  The profiles are read once, with the tokens that all
        questions begin with.  Their keys and values then serve every question about them.
        """
        # all profiles, all questions, and the place of the profile that each question is about
        shared = common_beginning([question for _, questions in pairs for question in questions])
        profiles, rows, owner = [], [], []
        for place, (profile, questions) in enumerate(pairs):
            beginning = questions[0][:shared] if questions else []
            profiles.append([*profile, *beginning])
            rows += [question[shared:] for question in questions]
            owner += [place] * len(questions)

        ids, mask = padded(profiles, self.pad, self.device)  # (p, tokens)
        position = places(mask)
        states = self.model(ids, attention_mask=mask, position_ids=position, use_cache=True)

        differences = [0.0] * len(rows)
        chunks = list(self.chunks(rows, ids.shape[1]))
        for chunk in chunks:
            cache = states.past_key_values
            if chunk is not chunks[-1]:  # needed again, and it grows by what is read
                cache = copy.deepcopy(cache)
            owners, questions = [owner[row] for row in chunk], [rows[row] for row in chunk]
            for row, value in zip(chunk, self.read_on(cache, mask, owners, questions), strict=True):
                differences[row] = value

        # a list for each profile again
        found, first = [], 0
        for _, questions in pairs:
            found.append(differences[first : first + len(questions)])
            first += len(questions)
        return found

    def chunks(self, rows, before):
        """The places of rows (token ids) in lists of nearly one length: padding was a third of the work.

        before: tokens of what each row comes after.
        """

        def beside(first, row):
            return len(rows[row]) >= LEAST_FILLED * len(rows[first])

        order = sorted(range(len(rows)), key=lambda row: -len(rows[row]))
        return batches(order, lambda row: (1, before + len(rows[row])), lambda: self.budget, beside)

    def read_on(self, cache, mask, owner, rows):
        """Yes minus No of questions (token ids), each after the profile `owner` of the cache."""
        owner = torch.tensor(owner, device=self.device)  # (r,)
        try:
            cache.batch_select_indices(owner)
        except AttributeError:
            raise InputError(f"{self.name}: its cache cannot be shared out; use --llm_mode generate") from None
        # Padded on the right: between profile and question it would use up a sliding window.
        ids, after = padded(rows, self.pad, self.device, left=False)  # (r, tokens)
        before = mask[owner]  # (r, profile tokens)
        position = before.sum(1, keepdim=True) + places(after)
        whole = torch.cat([before, after], 1)  # (r, profile tokens + tokens)
        place = after.sum(1) - 1  # where each question ends
        out = self.model(ids, attention_mask=whole, position_ids=position, past_key_values=cache)
        logits = out.logits[torch.arange(len(owner)), place].float()  # (r, 2): Yes and No
        return (logits[:, 0] - logits[:, 1]).tolist()

    def in_halves(self, run, *columns):
        """run(*columns), which returns a list of one result a row.

        Where the device's memory does not suffice, the budget is halved from now on, and so are the rows.
        """
        try:
            return run(*columns)
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            if len(columns[0]) == 1 and self.budget < 64:
                raise InputError(f"{self.name}: one question does not fit into the memory of {self.device}") from None
        # not in the handler, where the error still holds on to tensors
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        self.budget //= 2
        middle = len(columns[0]) // 2
        if not middle:  # one row: again, with fewer tokens at once
            return self.in_halves(run, *columns)
        first = self.in_halves(run, *(column[:middle] for column in columns))
        return first + self.in_halves(run, *(column[middle:] for column in columns))


def common_beginning(rows):
    """How many tokens all rows begin with alike, leaving each at least one."""
    if not rows:
        return 0
    first, last = min(rows), max(rows)  # the rest lies in between, in the order of the alphabet
    most = min(len(row) for row in rows) - 1
    for place in range(most):
        if first[place] != last[place]:
            return place
    return most
