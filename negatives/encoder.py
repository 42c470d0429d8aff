"""Route B: two profiles and two CF vectors in, the pooled hidden state of a language model out.

What goes in: inputs.py.  How the model is tuned: tuning.py.  B rows of a batch, D width of the model, d width of the CF
vectors.
"""

from contextlib import contextmanager

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from llm.batches import padded
from llm.lora import add_lora, load_lora, save_lora, write_tensors
from llm.weights import dtype_of, load
from utils import InputError

OF_BERT = ["query", "key", "value", "attention.output.dense"]
OF_LLAMA = ["q_proj", "k_proj", "v_proj", "o_proj"]
TARGETS = {  # the layers that get LoRA, by model_type; "all-linear" for what is not listed
    "bert": OF_BERT, "roberta": OF_BERT,
    "llama": OF_LLAMA, "mistral": OF_LLAMA, "qwen2": OF_LLAMA, "qwen3": OF_LLAMA,
}  # fmt: skip
RANK = 32  # of the LoRA weights; their scale is twice that
BATCH_SIZE = 64  # rows encoded at once
PROJECTORS = "projectors.safetensors"


class Projector(nn.Module):
    """g(e) = s y / |y|,  y = W2 GELU(W1 e + b1) + b2;  s: mean norm of the word embeddings.

    The CF vectors are a frozen table, divided by the root of the mean of their squared entries.
    """

    def __init__(self, table, width, scale):
        """table: (n, d) float32 array."""
        super().__init__()
        table = torch.as_tensor(np.array(table))
        rms = table.square().mean().sqrt().clamp(min=1e-12)
        self.register_buffer("table", table / rms, persistent=False)
        self.layers = nn.Sequential(nn.Linear(table.shape[1], width), nn.GELU(), nn.Linear(width, width))
        self.scale = scale

    def forward(self, numbers):
        y = self.layers(self.table[numbers])  # (n, D)
        return self.scale * torch.nn.functional.normalize(y, dim=1)


class Encoder(nn.Module):
    """A pretrained model with pooled output.  It is frozen; slots and LoRA, which are not, can be added."""

    def __init__(self, weights, inputs, settings, device):
        """weights: folder of the model that `inputs` are for."""
        from transformers.utils import logging as transformers_logging  # takes seconds

        super().__init__()
        self.name, self.device, self.pad, self.causal = inputs.name, device, inputs.pad, inputs.causal
        dtype = dtype_of(settings, device) if self.causal else "float32"
        # it would list the weights of a causal model's head, which pooled states have no use for
        transformers_logging.set_verbosity_error()
        _, self.model = load("AutoModel", weights, dtype, device, "--hn_encoder")
        self.model.requires_grad_(False)
        self.words = [self.model.get_input_embeddings()]  # in a list: not to be saved and counted twice
        self.width = self.words[0].embedding_dim
        self.projectors = None

    def add_slots(self, users, items, seed):
        """Projectors for the CF vectors users (U, d) and items (I, d), float32 arrays."""
        scale = float(self.words[0].weight.detach().float().norm(dim=1).mean())
        with seeded(seed, self.device):
            sides = {"user": Projector(users, self.width, scale), "item": Projector(items, self.width, scale)}
        self.projectors = nn.ModuleDict(sides).to(self.device)

    def forward(self, rows):
        """Rows -> pooled hidden states (B, D), float32."""
        ids, mask = padded([row.ids for row in rows], self.pad, self.device, left=False)  # (B, tokens)
        embedded = self.words[0](ids)  # (B, tokens, D)
        for kind in ("user", "item"):
            embedded = self.fill_slots(embedded, rows, kind)
        states = self.model(inputs_embeds=embedded, attention_mask=mask).last_hidden_state  # (B, tokens, D)
        return pool(states, mask, last=self.causal)

    def fill_slots(self, embedded, rows, kind):
        """Put the projected CF vectors of users or items in their places."""
        found = []
        for row, content in enumerate(rows):
            found += [(row, place, number) for place, of_kind, number in content.slots if of_kind == kind]
        if not found:
            return embedded
        row, place, number = torch.tensor(found, device=self.device).t()
        projected = self.projectors[kind](number).to(embedded.dtype)  # (slots, D)
        return embedded.index_put((row, place), projected)

    @torch.inference_mode()
    def encode(self, rows):
        """Rows, as many as fit at once -> (B, D) float32 array."""
        return self(rows).cpu().numpy()

    def encode_all(self, rows):
        """(n, D) float32 array of any number of rows, in batches of like length."""
        order = np.argsort([len(row.ids) for row in rows], kind="stable")
        vectors = np.zeros((len(rows), self.width), np.float32)
        for first in range(0, len(order), BATCH_SIZE):
            chunk = order[first : first + BATCH_SIZE]
            vectors[chunk] = self.encode([rows[place] for place in chunk])
        return vectors

    # ------------------------------------------------------------------------------------------------------ LoRA

    def add_lora(self):
        """Trainable weights of low rank beside the attention's.  Raises InputError where peft is not installed."""
        targets = TARGETS.get(self.model.config.model_type, "all-linear")
        self.model = add_lora(self.model, RANK, 2 * RANK, targets, "--hard tuned").eval()

    def trainable(self):
        """{name: weight} of LoRA and projectors."""
        return {name: weight for name, weight in self.named_parameters() if weight.requires_grad}

    def save(self, folder):
        save_lora(folder, self.model, self.name)
        write_tensors(folder / PROJECTORS, self.projectors.state_dict())

    def load(self, folder):
        """The LoRA and projectors of a tuning that has ended.  Raises InputError where they are not of this model."""
        self.add_lora()
        try:
            load_lora(folder, self.model)
            self.projectors.load_state_dict(load_file(folder / PROJECTORS))
        except Exception as error:  # of safetensors, torch or peft, all of which mean the same
            reason = " ".join(str(error).split())[:80]
            raise InputError(f"{folder}: its LoRA weights do not fit {self.name} ({reason}); delete it") from None


@contextmanager
def seeded(seed, device):
    """Random numbers of torch's own generators that depend on the seed alone, and leave no trace behind."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def pool(states, mask, last):
    """(B, tokens, D) -> (B, D) float32: the mean over the attended positions, or the last of them.

    mask: (B, tokens), 1 where a token is; padding comes behind.
    """
    if last:
        return states[torch.arange(len(states), device=states.device), mask.sum(1) - 1].float()
    weight = mask.unsqueeze(-1)  # (B, tokens, 1)
    return ((states * weight).sum(1) / weight.sum(1)).float()
