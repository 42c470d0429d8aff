"""The model that reads prompts and continues them with semantic IDs: a tiny decoder from scratch, or any causal LM.

B prompts, W continuations of each, L tokens, V tokens in the vocabulary, K codes a level.  Prompts are lists of tokens.
"""


class Backbone:
    """.words: whether prompts are in words.  .K, .first: the token of (level, code) is first + level * K + code.
    .context: tokens a row may have.  .model: the module, whose train() turns dropout on and eval() off.
    .device; .dtype; .branches: whether branch() reads a prompt once (else whole rows, the slower oracle)."""

    def tokens(self, parts):
        """Parts of prompts.py -> tokens of a prompt (list of int), with its beginning, chat template, cue."""
        raise NotImplementedError

    def answer(self, parts):
        """Parts -> tokens of an answer, which follow those of the prompt."""
        raise NotImplementedError

    def logits(self, rows, keep=None):
        """(B, keep, V) float32 logits of what follows each of the last `keep` tokens (all of the longest row's) of rows
        of tokens.  Rows are padded on the left: [:, -1] is what follows each whole row."""
        raise NotImplementedError

    def read(self, prompts):
        """A Reading of the prompts (lists of tokens), with gradient where it is enabled."""
        raise NotImplementedError

    def branch(self, prompts, items, trie):
        """(B, W, 3) float32 log-probabilities, among the trie's children, of the tokens of items (B, W) int64 after
        each prompt.  With gradient where it is enabled."""
        raise NotImplementedError

    def trainable(self):
        """{name: parameter} that training moves: all of the tiny decoder; LoRA and new rows of a language model."""
        raise NotImplementedError

    def state(self):
        """{name: tensor} a copy of trainable(), on the CPU: for last.pt and the best so far."""
        raise NotImplementedError

    def restore(self, state):
        """Put a state() back.  Raises InputError where names or shapes are others."""
        raise NotImplementedError

    def keep_reference(self):
        """The weights as they are now become the reference policy."""
        raise NotImplementedError

    def reference(self):
        """Context in which the backbone computes with the reference policy's weights, without gradient."""
        raise NotImplementedError

    def save(self, folder):
        """The model (save_pretrained), or the adapter, as safetensors; every file written atomically."""
        raise NotImplementedError

    def read_weights(self, folder):
        """The trainable weights that save() wrote.  Raises InputError where they do not fit."""
        raise NotImplementedError


class Reading:
    """Prompts that were read once, and a growing tree of tokens after each."""

    def start(self, trie):
        """(B, K) log-probabilities among the root's children."""
        raise NotImplementedError

    def extend(self, trie, codes, nodes, parents):
        """Read one more token after each prompt or continuation -> (B, W, K) log-probabilities of what follows.

        codes (B, W): of the tokens; nodes (B, W): where they lead in the trie; parents (B, W): which column of the last
        extend() each follows, None for the prompt.
        """
        raise NotImplementedError


def tiny(catalog, seed, device="cpu", dropout=0.1):
    """A Qwen3 decoder of about a million weights from scratch.  catalog: sids.Catalog (codes, titles, K)."""
    raise NotImplementedError


def load(weights, catalog, seed, device="cpu", dtype="float32", rank=8, log=print):
    """A causal language model (a local folder, of feedback.weights.model_folder) with 3 K new tokens.

    rank: of LoRA, 0 trains all weights.  Raises InputError for an encoder, a tokenizer that already has <a_0>, a
    missing peft.
    """
    raise NotImplementedError
