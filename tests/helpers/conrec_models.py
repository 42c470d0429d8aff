"""Small catalogs and backbones that several tests of CoNRec share."""

from types import SimpleNamespace

import numpy as np
import tiny_llm
import torch

from conrec.data.semantic_ids import Catalog
from conrec.data.trie import Trie
from conrec.decoder import backbone, llm_backbone

CPU = torch.device("cpu")
CHAT = (
    "{{ '<|user|>' }}{% for m in messages %}{{ m.content }}"
    "{{ '<|assistant|>' if m.role == 'user' else '<|end|>' }}{% endfor %}"
)


def catalog(n=60, K=5, seed=0):
    """n items whose IDs share prefixes."""
    everything = np.stack(np.unravel_index(np.arange(K**3), (K, K, K)), 1)
    codes = np.random.default_rng(seed).permutation(everything)[:n]
    topics = ["day", "night", "war", "love"]
    titles = [f"The film of {topics[item % 4]} number {item}" for item in range(n)]
    E = np.random.default_rng(seed).normal(size=(n, 8)).astype(np.float32)
    E /= np.linalg.norm(E, axis=1, keepdims=True)
    return Catalog(codes, E, titles, K, np.array([str(item) for item in range(n)]))


def tiny(of=None, seed=0, noise=0.3):
    """(backbone, trie, catalog): the tiny decoder; larger weights, so that its probabilities are not all alike."""
    of = of or catalog()
    model = backbone.tiny(of, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        embeddings = model.model.get_input_embeddings().weight
        embeddings += noise * torch.randn(embeddings.shape, generator=generator)
    return model, Trie(of.codes, of.K), of


def write_llm(folder, tied=False, chat=False, spare=0):
    """tiny_llm.py's model, untrained, as a folder.  spare: rows of its matrices beyond the tokenizer's tokens."""
    from transformers import LlamaForCausalLM

    tokenizer = tiny_llm.train_tokenizer(catalog().titles)
    config = tiny_llm.new_model(tokenizer).config
    config.tie_word_embeddings, config.vocab_size = tied, len(tokenizer) + spare
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if chat:
        (folder / "chat_template.jinja").write_text(CHAT)
    return folder


def load_llm(folder, of=None, rank=4, dtype="float32"):
    options = SimpleNamespace(llm_dtype=dtype, llm_batch_tokens=4096, conrec_lora_rank=rank)
    of = of or catalog()
    return llm_backbone.load(folder, of, options, 0, CPU), Trie(of.codes, of.K), of


def by_whole_rows(model, catalog, prompts, items):
    """Log-probabilities (B, W, 3) of the tokens of items (B, W): plain forward passes, no mask, no padding, no trie."""
    found = []
    for prompt, own in zip(prompts, items.tolist(), strict=True):
        for item in own:
            row = list(prompt)
            for level, code in enumerate(catalog.codes[item].tolist()):
                logits = model.model(input_ids=torch.tensor([row])).logits[0, -1]
                same = (catalog.codes[:, :level] == catalog.codes[item, :level]).all(1)
                children = sorted(set(catalog.codes[same, level].tolist()))
                first = model.first + level * catalog.K
                logprobs = logits[[first + child for child in children]].log_softmax(0)
                found.append(logprobs[children.index(code)])
                row.append(first + code)
    return torch.stack(found).reshape(*items.shape, 3)


def gradients(model, logprobs):
    """{name: tensor} of a sum that weighs each log-probability differently."""
    weight = torch.arange(logprobs.numel()).reshape(logprobs.shape) / logprobs.numel()
    model.model.zero_grad()
    (logprobs * weight).sum().backward()
    return {name: weight.grad.clone() for name, weight in model.trainable().items()}
