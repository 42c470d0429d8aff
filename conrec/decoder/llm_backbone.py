"""Any causal language model as a backbone: 3 K new tokens, LoRA (Hu et al., 2021) beside frozen weights.

Of the embeddings, and of the head where it is a matrix of its own, only the rows of the new tokens train.  peft is
imported only where LoRA is asked for.
"""

from types import SimpleNamespace

import torch
from safetensors import SafetensorError

from conrec.data.trie import LEVELS
from conrec.decoder.backbone import Backbone
from conrec.decoder.vocabulary import ModelVocabulary
from llm.language_model import LanguageModel
from llm.lora import ADAPTER, add_lora, load_lora, save_lora
from llm.weights import dtype_of, is_causal
from utils import InputError

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
ALPHA = 32
NOISE = 0.1  # of a new row, in standard deviations of the old ones


def load(weights, catalog, options, seed, device, log=print):
    """The Backbone of a local folder (llm.weights.model_folder).

    options: ConrecSettings; conrec_lora_rank 0 trains all weights.  What trains is float32, of which an update at 1e-5
    would mostly be rounded away in bfloat16; matrices are multiplied in --llm_dtype all the same.
    Raises InputError for an encoder, a tokenizer that already has <a_0>, a missing peft.
    """
    if not is_causal(weights):
        raise InputError(f"--llm {weights}: is not a causal language model; CoNRec needs one that writes")
    dtype = dtype_of(options, device)
    kept_in = dtype if options.conrec_lora_rank else "float32"
    loading = SimpleNamespace(llm_dtype=kept_in, llm_batch_tokens=options.llm_batch_tokens)
    language_model = LanguageModel(weights, device, loading, "generate")
    model, tokenizer = language_model.model, language_model.tokenizer
    known = tokenizer.get_vocab()
    if "<a_0>" in known:
        raise InputError(f"--llm {weights}: its tokenizer already has <a_0>; take the model as it was before CoNRec")
    first = max(known.values()) + 1
    add_rows(model, first, LEVELS * catalog.K, seed)
    vocabulary = ModelVocabulary(language_model.tokens, first, language_model.pad, catalog)
    model.requires_grad_(True)
    if options.conrec_lora_rank:
        model = with_lora(model, options.conrec_lora_rank, range(first, first + LEVELS * catalog.K), seed)
    windows = [language_model.context, getattr(model.config, "sliding_window", None)]  # a mask of our own has no window
    context = min(window for window in windows if window)
    kind = Adapted if options.conrec_lora_rank else Backbone
    backbone = kind(model, vocabulary, catalog, context, device, language_model.name)
    if dtype != kept_in:
        backbone.dtype = getattr(torch, dtype)
    backbone.check_reading()
    return backbone


def add_rows(model, first, n, seed):
    """Rows first .. first + n - 1 of embeddings and head: the mean of the old ones and a little noise.

    Many models have spare rows beyond their tokenizer's last token; those are used up before the matrix grows.
    """
    size = model.get_input_embeddings().weight.shape[0]
    if first + n > size:
        model.resize_token_embeddings(first + n, mean_resizing=False)
    generator = torch.Generator().manual_seed(seed)
    embeddings, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    with torch.no_grad():
        for matrix in [embeddings] if head is embeddings else [embeddings, head]:
            old = matrix[: min(first, size)].float()
            noise = torch.randn(n, matrix.shape[1], generator=generator).to(matrix.device)
            matrix[first : first + n] = (old.mean(0) + NOISE * old.std(0) * noise).to(matrix.dtype)


def with_lora(model, rank, new_tokens, seed):
    """The model with trainable LoRA weights and new rows, in float32; all else is frozen."""
    names = {name.rpartition(".")[2]: name for name, _ in model.named_modules()}
    targets = [name for name in TARGETS if name in names] if "q_proj" in names else "all-linear"
    rows = {name_of(model, model.get_input_embeddings()): list(new_tokens)}
    head = model.get_output_embeddings()
    if head.weight is not model.get_input_embeddings().weight:  # a tied head follows the embeddings by itself
        rows[name_of(model, head)] = list(new_tokens)
    more = {"task_type": "CAUSAL_LM", "trainable_token_indices": rows}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return add_lora(model, rank, ALPHA, targets, "--model CoNRec --llm", **more)  # makes what trains float32


def name_of(model, module):
    """The last part of a module's name."""
    return next(name for name, other in model.named_modules() if other is module).rpartition(".")[2]


class Adapted(Backbone):
    """Saves what peft saves, and reads it back: adapter_model.safetensors, adapter_config.json (base model by name)."""

    def save(self, folder):
        base = self.name.removeprefix("--llm ")
        save_lora(folder, self.model, base, {"format": "pt"}, save_embedding_layers=False)

    def read_weights(self, folder):
        try:
            load_lora(folder, self.model, save_embedding_layers=False)
        except (OSError, ValueError, SafetensorError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"{folder / ADAPTER}: does not fit {self.name} ({reason}); delete the folder") from None
