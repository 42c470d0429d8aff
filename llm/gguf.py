"""GGUF files, as llama.cpp has them, turned once into a folder that transformers reads.

The quantised weights are unpacked to float32, the same numbers in four to eight times the room.
"""

import importlib.util
import shutil
import sys
import tempfile
from pathlib import Path

import torch

from utils import InputError, locked, remembered_sha256, write_json

GGUF = "gguf==0.19.0"  # optional: no other kind of model needs it
MAGIC = b"GGUF"
SOURCE = "from_gguf.json"  # of a converted folder: which file it came from


def convert(file, parent, flag="--llm", log=print):
    """The folder of a GGUF file's model below `parent`, made where it is not there yet.

    Its name holds the beginning of the file's SHA-256, so another file of that name is another folder.
    A kill leaves no half a folder.  Raises InputError for a file that cannot be unpacked.
    """
    file = Path(file)
    try:
        with open(file, "rb") as f:
            begins = f.read(len(MAGIC))
    except OSError as error:
        raise InputError(f"{flag} {file}: cannot be read ({error.strerror}); give the path of a .gguf file") from None
    if begins != MAGIC:
        raise InputError(f"{flag} {file}: is no GGUF file (its first bytes are not GGUF); fetch it anew")
    digest = remembered_sha256(file)
    folder = Path(parent) / f"{file.stem}-{digest[:8]}"
    with locked(folder, log):  # another process may be converting it
        if not (folder / SOURCE).exists():
            if importlib.util.find_spec("gguf") is None:  # transformers imports it
                how = f"install it with `pip install {GGUF}`"
                raise InputError(f"{flag} {file}: a GGUF file needs the package gguf; {how}")
            log(f"{file}: is converted to {folder}, once (minutes)")
            with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
                half = Path(temporary) / folder.name  # a folder inside, which has the usual rights
                half.mkdir()
                unpack(file, half, flag)
                write_json(half / SOURCE, {file.name: digest})
                shutil.rmtree(folder, ignore_errors=True)
                half.rename(folder)
    return folder


def unpack(file, folder, flag):
    """Write config, tokenizer and safetensors weights of a GGUF file into a folder."""
    import transformers

    if not sys.stderr.isatty():  # a progress bar would fill a log file
        transformers.utils.logging.disable_progress_bar()
    names = {"gguf_file": file.name, "local_files_only": True}
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(file.parent, **names)
        model, found = transformers.AutoModelForCausalLM.from_pretrained(
            file.parent, **names, dtype=torch.float32, output_loading_info=True
        )
    except Exception as error:  # of three packages, each with kinds of its own
        reason = (str(error) or type(error).__name__).splitlines()[0]
        how = "serve it with llama.cpp and give --llm_url, or take the model's safetensors"
        raise InputError(f"{flag} {file}: transformers cannot read this GGUF file ({reason}); {how}") from None
    if found["missing_keys"]:  # they would be random numbers; one of several files lacks the others', say
        lacking = f"{len(found['missing_keys'])} tensors, such as {min(found['missing_keys'])}"
        raise InputError(f"{flag} {file}: lacks {lacking}; give a file with the whole model (llama-gguf-split --merge)")
    # a fresh model takes the weights over: the loaded one counts as quantised
    config = model.config
    del config.quantization_config
    config.architectures = [type(model).__name__]
    fresh = type(model)(config)
    fresh.load_state_dict(model.state_dict())
    fresh.generation_config = model.generation_config
    fresh.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
