"""A causal language model through transformers, run in batches.

    complete           prompts -> greedy answers                       (mode generate)
    yes_minus_no       a shared profile, items after it -> logits      (mode score)

What it is asked is up to causal.py.
"""

import copy
import inspect

import torch

from llm.batches import longest, padded, places
from llm.messages import ANSWER_TOKENS
from llm.tokens import PromptTokens
from llm.weights import dtype_of, load
from machine.hardware import out_of_memory
from utils import InputError


class LanguageModel:
    def __init__(self, weights, device, settings, mode, constrained=False, flag="--llm"):
        """Loads tokenizer and safetensors weights from a local folder, never code.

        settings: has llm_batch_tokens and llm_dtype.  constrained: nothing but valid answers are said.  flag: to name
        in messages.
        """
        from transformers import GenerationConfig

        self.name, self.device = f"{flag} {weights}", device
        self.mode = mode
        self.budget, self.constrained = settings.llm_batch_tokens, constrained
        dtype = dtype_of(settings, device)
        self.tokenizer, self.model = load("AutoModelForCausalLM", weights, dtype, device, flag)
        self.eos = self.end_tokens()
        self.pad = self.padding_token()
        # a fresh configuration: the model's own may ask for sampling or penalties
        self.model.generation_config = GenerationConfig(
            do_sample=False,
            pad_token_id=self.pad,
            eos_token_id=self.eos,
        )
        positions = getattr(self.model.config, "max_position_embeddings", None)
        limits = (positions, self.tokenizer.model_max_length)
        self.context = min(limit for limit in limits if limit)
        self.tokens = PromptTokens(self.tokenizer, self.eos, self.name)
        if mode == "score":
            self.yes = self.tokens.continuation("Yes")[0]
            self.no = self.tokens.continuation("No")[0]
            # their first tokens must be words of their own
            if self.yes == self.no or self.tokenizer.unk_token_id in (self.yes, self.no):
                raise InputError(
                    f"{self.name}: its tokenizer cannot tell Yes from No; use --llm_mode generate"
                )

    def end_tokens(self):
        eos = self.model.generation_config.eos_token_id
        if eos is None:
            eos = self.tokenizer.eos_token_id
        if eos is None:
            raise InputError(
                f"{self.name}: names no end-of-sequence token in generation_config.json "
                "or its tokenizer"
            )
        return eos if isinstance(eos, list) else [eos]

    def padding_token(self):
        """Always masked, but it must be a token the model has."""
        pad = self.tokenizer.pad_token_id
        vocabulary = self.model.get_input_embeddings().weight.shape[0]
        if pad is None or pad >= vocabulary:
            return self.eos[0]
        return pad

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
            answers.append((text, end < new_tokens or stopped))
        return answers

    def only_answers(self, start, sizes):
        """For generate(): the tokens with which a row stays the beginning of a valid answer.

        start: the place where the answers begin.
        """

        def allowed(row, ids):
            node = self.tokens.answer_tree(sizes[row])
            for token in ids[start:].tolist():
                node = node.get(token, {})
            return list(node) or [self.eos[0]]  # a whole answer

        return allowed

    @torch.no_grad()
    def yes_minus_no(self, pairs):
        """Logit of Yes minus that of No as the next token.

        [(profile ids, [question ids])] -> [[float]].  The profiles are read once.  Their keys and
        values then serve every question about them.
        """
        # all profiles, all questions, and the place of the profile that each question is about
        profiles, rows, owner = [], [], []
        for place, (profile, questions) in enumerate(pairs):
            profiles.append(profile)
            rows += questions
            owner += [place] * len(questions)

        ids, mask = padded(profiles, self.pad, self.device)  # (p, tokens)
        position = places(mask)
        options = {"logits_to_keep": 1} if self.can_keep_logits() else {}  # they are not used
        states = self.model(
            ids, attention_mask=mask, position_ids=position, use_cache=True, **options
        )

        differences = []
        step = max(1, self.budget // (ids.shape[1] + longest(rows)))
        for first in range(0, len(rows), step):
            chunk = slice(first, first + step)
            cache = states.past_key_values
            if first + step < len(rows):  # needed again, and it grows by what is read
                cache = copy.deepcopy(cache)
            differences += self.read_on(cache, mask, owner[chunk], rows[chunk])

        # a list for each profile again
        found, first = [], 0
        for _, questions in pairs:
            found.append(differences[first : first + len(questions)])
            first += len(questions)
        return found

    def read_on(self, cache, mask, owner, rows):
        """Yes minus No of questions (token ids), each after the profile `owner` of the cache.

        mask: of the profiles.
        """
        owner = torch.tensor(owner, device=self.device)  # (r,)
        try:
            cache.batch_select_indices(owner)
        except AttributeError:
            raise InputError(
                f"{self.name}: its cache cannot be shared out; use --llm_mode generate"
            ) from None
        # Padded on the right: between profile and question it would use up a sliding window.
        ids, after = padded(rows, self.pad, self.device, left=False)  # (r, tokens)
        before = mask[owner]  # (r, profile tokens)
        position = before.sum(1, keepdim=True) + places(after)
        whole = torch.cat([before, after], 1)  # (r, profile tokens + tokens)
        place, options = after.sum(1) - 1, {}  # where each question ends
        if self.can_keep_logits():  # logits are made there only
            last, place = place.unique(return_inverse=True)
            options = {"logits_to_keep": last}
        out = self.model(
            ids, attention_mask=whole, position_ids=position, past_key_values=cache, **options
        )
        logits = out.logits[torch.arange(len(owner)), place].float()  # (r, vocabulary)
        return (logits[:, self.yes] - logits[:, self.no]).tolist()

    def can_keep_logits(self):
        return "logits_to_keep" in inspect.signature(self.model.forward).parameters

    def in_halves(self, run, *columns):
        """run(*columns), which returns a list of one result a row.

        Where the device's memory does not suffice, the token budget is halved from now on, and so
        are the rows.
        """
        try:
            return run(*columns)
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            if len(columns[0]) == 1 and self.budget < 64:
                raise InputError(
                    f"{self.name}: one question does not fit into the memory of {self.device}"
                ) from None
        # not in the handler, where the error still holds on to tensors
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        self.budget //= 2
        middle = len(columns[0]) // 2
        if not middle:  # one row: again, with fewer tokens at once
            return self.in_halves(run, *columns)
        first = self.in_halves(run, *(column[:middle] for column in columns))
        return first + self.in_halves(run, *(column[middle:] for column in columns))
