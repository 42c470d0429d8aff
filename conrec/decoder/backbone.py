"""The model that reads prompts and continues them with semantic IDs: a tiny decoder from scratch, or any causal LM.

B prompts, W continuations of each, V tokens in the vocabulary, K codes a level.  Prompts are lists of tokens.
"""

import torch

from conrec.data.trie import LEVELS
from conrec.decoder.decoder import CONTEXT, Decoder, from_scratch
from conrec.decoder.shared_prefix import Reading
from conrec.decoder.vocabulary import WordVocabulary
from llm.batches import padded, places
from utils import InputError

DROPOUT = 0.1  # of the tiny decoder; three codes an item are slower to learn than one number


class Backbone(Decoder):
    """A Decoder of prompts and semantic IDs.

    .words              whether prompts are in words
    .K, .first          the token of (level, code) is first + level * K + code
    .tokens(parts)      parts of prompts.py as a prompt, with its beginning, chat template and cue
    .answer(parts)      parts as an answer, whose tokens follow those of the prompt
    """

    def __init__(self, model, vocabulary, catalog, context, device, name):
        """vocabulary: WordVocabulary or ModelVocabulary; name: for messages."""
        super().__init__(model, vocabulary.pad, context, device, name)
        self.vocabulary, self.words = vocabulary, vocabulary.words
        self.tokens, self.answer = vocabulary.tokens, vocabulary.answer
        self.K, self.first = catalog.K, vocabulary.first
        self.codes = torch.from_numpy(catalog.codes).to(self.device)  # (I, 3)

    def code_logits(self, rows, keep):
        """(B, keep, 3 K): logits() of the tiny decoder for the codes' tokens alone, without those of words."""
        ids, mask = padded(rows, self.pad, self.device)
        hidden = self.model.model(input_ids=ids, attention_mask=mask, position_ids=places(mask), use_cache=False)
        codes = slice(self.first, self.first + LEVELS * self.K)
        return hidden.last_hidden_state[:, -keep:] @ self.model.lm_head.weight[codes].T

    def branch(self, prompts, items, trie, closed=None):
        """(B, W, 3) float32 log-probabilities, among the trie's children, of the tokens of items (B, W) int64 after
        each prompt.  With gradient where it is enabled.  closed: of Trie.closed; these items must be open."""
        items = torch.as_tensor(items, device=self.device)
        nodes = torch.from_numpy(trie.path).to(self.device)[items]  # (B, W, 3)
        codes = self.codes[items]  # (B, W, 3)
        reading = Reading(self, prompts, closed)
        first = reading.start(trie).squeeze(1).gather(1, codes[..., 0])  # (B, W)
        after_one = reading.extend(trie, codes[..., 0], nodes[..., 0])  # (B, W, K)
        columns = torch.arange(items.shape[1], device=self.device).expand_as(items)
        after_two = reading.extend(trie, codes[..., 1], nodes[..., 1], columns)
        second = after_one.gather(2, codes[..., 1:2]).squeeze(2)
        third = after_two.gather(2, codes[..., 2:]).squeeze(2)
        return torch.stack([first, second, third], 2)

    @torch.no_grad()
    def check_reading(self):
        """Raises InputError where a Reading is not what whole rows are.

        The tokens are ordinary ones: the new ID tokens are much alike, so that a wrong mask would hardly show.
        """
        generator = torch.Generator().manual_seed(0)
        prompts = [torch.randint(self.first, (length,), generator=generator).tolist() for length in (7, 4)]
        one, two = torch.randint(self.first, (2, 2, 3), generator=generator)  # (2, 3) each
        parents = torch.tensor([[2, 0, 0], [1, 1, 2]])  # a column of `one` for each of `two`
        reading = Reading(self, prompts)
        reading.next_logits(one.to(self.device), None)
        once = reading.next_logits(two.to(self.device), parents.to(self.device)).flatten(0, 1).float()
        rows = []
        for prompt, first, second in zip(prompts, one.gather(1, parents).tolist(), two.tolist(), strict=True):
            rows += [[*prompt, *tokens] for tokens in zip(first, second, strict=True)]
        whole = self.logits(rows, keep=1)[:, -1]
        difference = float((once - whole).abs().mean() / whole.std())
        exact = (self.dtype or next(self.model.parameters()).dtype) in (torch.float32, torch.float64)
        if not difference < (1e-3 if exact else 0.05):
            why = "its attention takes no mask of our own, which CoNRec needs"
            raise InputError(f"{self.name}: {why}; take another model")


def tiny(catalog, seed, device="cpu"):
    """A Qwen3 decoder of about a million weights from scratch.  catalog: sids.Catalog (codes, titles, K)."""
    vocabulary = WordVocabulary(catalog)
    model = from_scratch(vocabulary.size, seed, vocabulary.pad, DROPOUT)
    return Backbone(model, vocabulary, catalog, CONTEXT, device, "the tiny decoder")
