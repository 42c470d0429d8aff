"""The model that reads prompts and continues them with semantic IDs: a tiny decoder from scratch, or any causal LM.

B prompts, W continuations of each, V tokens in the vocabulary, K codes a level.  Prompts are lists of tokens.  Nothing
here splits a batch that is too large for memory: that is up to the caller.
"""

import inspect
import json
from contextlib import contextmanager

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from conrec.reading import Reading, WholeRows
from conrec.vocabulary import WordVocabulary
from feedback.batches import longest, padded, places
from utils import InputError, write_atomically

WEIGHTS = "model.safetensors"
CONTEXT = 1024  # tokens of the tiny decoder
TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-3}  # of branch() against whole rows; others are coarser


class Backbone:
    """.words: whether prompts are in words.  .K, .first: the token of (level, code) is first + level * K + code.
    .context: tokens a row may have.  .model: the module, whose train() turns dropout on and eval() off.
    .branches: whether prompts are read once and then continued, or whole rows each time."""

    def __init__(self, model, vocabulary, catalog, context, device, name):
        """vocabulary: WordVocabulary or ModelVocabulary; name: for messages."""
        self.model, self.vocabulary, self.name = model.to(device).eval(), vocabulary, name
        self.device, self.context = torch.device(device), context
        self.codes = torch.from_numpy(catalog.codes).to(device)  # (I, 3)
        self.K, self.first, self.pad, self.words = catalog.K, vocabulary.first, vocabulary.pad, vocabulary.words
        self.keeps_logits = "logits_to_keep" in inspect.signature(model.forward).parameters
        self.kept = None  # the reference policy's weights
        self.branches = True

    # ------------------------------------------------------------------------------------------- reading

    def tokens(self, parts):
        """Parts of prompts.py -> tokens of a prompt (list of int), with its beginning, chat template, cue."""
        return self.vocabulary.tokens(parts)

    def answer(self, parts):
        """Parts -> tokens of an answer, which follow those of the prompt."""
        return self.vocabulary.answer(parts)

    def forward(self, ids, mask, positions, cache=None, keep=0):
        """(B, tokens, V) float32 logits, of the last `keep` tokens only where that is not 0."""
        options = {"logits_to_keep": keep} if keep and self.keeps_logits else {}
        logits = self.model(
            input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache,
            use_cache=cache is not None, **options,
        ).logits  # fmt: skip
        return logits[:, -keep:].float()

    def logits(self, rows, keep=None):
        """(B, keep, V) float32 logits of what follows each of the last `keep` tokens (all of the longest row's) of rows
        of tokens.  Rows are padded on the left: [:, -1] is what follows each whole row."""
        ids, mask = padded(rows, self.pad, self.device)
        return self.forward(ids, mask, places(mask), keep=keep or longest(rows))

    def read(self, prompts):
        """A Reading of the prompts (lists of tokens), with gradient where it is enabled."""
        return Reading(self, prompts) if self.branches else WholeRows(self, prompts)

    def branch(self, prompts, items, trie):
        """(B, W, 3) float32 log-probabilities, among the trie's children, of the tokens of items (B, W) int64 after
        each prompt.  With gradient where it is enabled."""
        items = torch.as_tensor(items, device=self.device)
        nodes = torch.from_numpy(trie.path).to(self.device)[items]  # (B, W, 3)
        codes = self.codes[items]  # (B, W, 3)
        reading = self.read(prompts)
        first = reading.start(trie).gather(1, codes[..., 0])  # (B, W)
        after_one = reading.extend(trie, codes[..., 0], nodes[..., 0])  # (B, W, K)
        columns = torch.arange(items.shape[1], device=self.device).expand_as(items)
        after_two = reading.extend(trie, codes[..., 1], nodes[..., 1], columns)
        second = after_one.gather(2, codes[..., 1:2]).squeeze(2)
        third = after_two.gather(2, codes[..., 2:]).squeeze(2)
        return torch.stack([first, second, third], 2)

    @torch.no_grad()
    def check_branches(self, log=print):
        """Compare a Reading with whole rows; where they differ, whole rows are what is used from now on.

        The tokens are ordinary ones: the new ID tokens are much alike, so that a wrong mask would hardly show.
        """
        generator = torch.Generator().manual_seed(0)
        prompts = [torch.randint(self.first, (length,), generator=generator).tolist() for length in (7, 4)]
        one, two = torch.randint(self.first, (2, 2, 3), generator=generator).to(self.device)  # (2, 3) each
        parents = torch.tensor([[2, 0, 0], [1, 1, 2]], device=self.device)
        found = []
        for kind in (Reading, WholeRows):
            reading = kind(self, prompts)
            found.append(torch.cat([reading.next_logits(one, None), reading.next_logits(two, parents)]))
        once, whole = found
        difference = float((once - whole).abs().mean() / whole.std())
        self.branches = difference < TOLERANCE.get(next(self.model.parameters()).dtype, 0.05)
        if not self.branches:
            log(f"{self.name}: its attention takes no mask of our own, so every continuation is read as a whole row")

    # ------------------------------------------------------------------------------------------- weights

    def trainable(self):
        """{name: parameter} that training moves: all of the tiny decoder; LoRA and new rows of a language model."""
        return {name: weight for name, weight in self.model.named_parameters() if weight.requires_grad}

    def state(self):
        """{name: tensor} a copy of trainable(), on the CPU: for last.pt and the best so far."""
        return {name: weight.detach().cpu().clone() for name, weight in self.trainable().items()}

    def restore(self, state):
        """Put a state() back.  Raises InputError where names or shapes are others."""
        weights = self.trainable()
        shapes = {name: weight.shape for name, weight in weights.items()}
        if shapes != {name: weight.shape for name, weight in state.items()}:
            raise InputError(f"the kept weights are not those of {self.name}: delete their folder to train anew")
        with torch.no_grad():
            for name, weight in weights.items():
                weight.copy_(state[name])

    def keep_reference(self):
        """The weights as they are now become the reference policy."""
        self.kept = [weight.detach().clone() for weight in self.trainable().values()]

    @contextmanager
    def reference(self):
        """Context in which the backbone computes with the reference policy's weights, without gradient."""
        self.swap_reference()
        try:
            with torch.no_grad():
                yield
        finally:
            self.swap_reference()

    def swap_reference(self):
        for place, weight in enumerate(self.trainable().values()):
            weight.data, self.kept[place] = self.kept[place], weight.data

    def save(self, folder):
        """The trainable weights and the configuration, each file written atomically."""
        state = {name: tensor.contiguous() for name, tensor in self.state().items()}
        write_atomically(folder / WEIGHTS, lambda path: save_file(state, path, metadata={"format": "pt"}))
        config = json.dumps(self.model.config.to_dict(), indent=2, sort_keys=True, default=str) + "\n"
        write_atomically(folder / "config.json", lambda path: path.write_text(config, encoding="utf-8"))

    def read_weights(self, folder):
        """The trainable weights that save() wrote.  Raises InputError where they do not fit."""
        try:
            state = load_file(folder / WEIGHTS)
        except (OSError, SafetensorError) as error:
            raise InputError(f"{folder / WEIGHTS}: cannot be read ({error}); delete the folder") from None
        self.restore(state)


def tiny(catalog, seed, device="cpu", dropout=0.1):
    """A Qwen3 decoder of about a million weights from scratch.  catalog: sids.Catalog (codes, titles, K)."""
    vocabulary = WordVocabulary(catalog)
    model = decoder(vocabulary.size, seed, vocabulary.pad, dropout)
    backbone = Backbone(model, vocabulary, catalog, CONTEXT, device, "the tiny decoder")
    backbone.check_branches()
    return backbone


def decoder(size, seed, pad, dropout):
    """Qwen3ForCausalLM with `size` tokens, random weights that depend on the seed alone."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        vocab_size=size, hidden_size=128, intermediate_size=384, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, head_dim=32, tie_word_embeddings=True, max_position_embeddings=CONTEXT,
        attention_dropout=dropout, pad_token_id=pad, bos_token_id=None, eos_token_id=None, attn_implementation="sdpa",
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Qwen3ForCausalLM(config)
