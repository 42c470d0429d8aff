"""A causal decoder: rows of tokens in, logits out; its weights kept, restored, saved.  Knows no prompts and no IDs.

B rows, V tokens in the vocabulary.  Nothing here splits a batch that is too large for memory: that is up to the caller.
"""

import inspect
import json
from contextlib import contextmanager

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch.nn.functional import dropout as dropout_of

from llm.batches import longest, padded, places
from utils import InputError, write_atomically

WEIGHTS = "model.safetensors"
CONTEXT = 1024  # tokens of the tiny decoder
ATTENTION_DROPOUT = 0.1


class Decoder:
    """.model: the module, whose train() turns dropout on and eval() off.  .context: tokens a row may have.  .dtype: the
    torch.dtype in which matrices are multiplied where that is not the weights' own, else None."""

    dtype = None

    def __init__(self, model, pad, context, device, name):
        """pad: any token, it is always masked; name: for messages."""
        self.model, self.pad, self.context, self.name = model.to(device).eval(), pad, context, name
        self.device = torch.device(device)
        self.keeps_logits = "logits_to_keep" in inspect.signature(model.forward).parameters
        self.kept = None  # the reference policy's weights

    def forward(self, ids, mask, positions, cache=None, keep=0):
        """(B, tokens, V) logits in the dtype of the computation, of the last `keep` tokens only where that is not 0."""
        options = {"logits_to_keep": keep} if keep and self.keeps_logits else {}
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None):
            logits = self.model(
                input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache,
                use_cache=cache is not None, **options,
            ).logits  # fmt: skip
        return logits[:, -keep:]

    def logits(self, rows, keep=None):
        """(B, keep, V) float32 logits of what follows each of the last `keep` tokens (all of the longest row's) of rows
        of tokens.  Rows are padded on the left: [:, -1] is what follows each whole row."""
        ids, mask = padded(rows, self.pad, self.device)
        return self.forward(ids, mask, places(mask), keep=keep or longest(rows)).float()

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


def from_scratch(size, seed, pad, dropout):
    """Qwen3ForCausalLM with `size` tokens, random weights that depend on the seed alone.

    Where train() turns it on, dropout falls on attention weights, on embeddings and on what each half of a layer adds.
    The library has only the first, and without the others it knows users' train events by heart after a few epochs.
    dropout: of these others.
    """
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        vocab_size=size, hidden_size=128, intermediate_size=384, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, head_dim=32, tie_word_embeddings=True, max_position_embeddings=CONTEXT,
        attention_dropout=ATTENTION_DROPOUT, pad_token_id=pad, bos_token_id=None, eos_token_id=None,
        attn_implementation="sdpa",
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen3ForCausalLM(config)
    dropped = [model.get_input_embeddings()]
    for layer in model.model.layers:
        dropped += [layer.self_attn.o_proj, layer.mlp.down_proj]
    for module in dropped:
        module.register_forward_hook(lambda module, _, output: dropout_of(output, dropout, module.training))
    return model
