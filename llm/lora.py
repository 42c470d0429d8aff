"""LoRA (Hu et al., 2021): trainable weights of low rank beside a language model's frozen ones, by the package peft."""

import json
import warnings

from safetensors.torch import load_file, save_file

from utils import InputError, write_atomically

ADAPTER, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"  # names that peft gives LoRA's files
DROPOUT = 0.05


def add_lora(model, rank, alpha, targets, flag, **more):
    """The model with trainable LoRA weights; all else is frozen.

    targets: the layers that get them.  flag: what needs peft.  more: of LoraConfig.  Raises InputError where peft is
    not installed.
    """
    try:
        import peft  # takes seconds, for which only LoRA need wait
    except ImportError:
        raise InputError(f"{flag}: needs the package peft; install it with `pip install peft==0.21.2`") from None
    config = peft.LoraConfig(
        r=rank, lora_alpha=alpha, lora_dropout=DROPOUT, target_modules=targets, bias="none", **more
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft on names that transformers has given up, and on layers of older models
        return peft.get_peft_model(model, config)


def save_lora(folder, model, base, metadata=None, **more):
    """LoRA's weights as peft writes them, and its settings, of whose base the name is kept instead of a path.

    metadata: of the weights' file.  more: of peft's get_peft_model_state_dict.
    """
    import peft

    write_tensors(folder / ADAPTER, peft.get_peft_model_state_dict(model, **more), metadata)
    config = model.peft_config["default"].to_dict() | {"base_model_name_or_path": base}
    config = {key: sorted(value) if isinstance(value, set) else value for key, value in config.items()}
    text = json.dumps(config, indent=2, sort_keys=True, default=str) + "\n"
    write_atomically(folder / ADAPTER_CONFIG, lambda path: path.write_text(text, encoding="utf-8"))


def load_lora(folder, model, **more):
    """The weights that save_lora left.  Raises OSError, ValueError or SafetensorError where they are not this model's.
    """
    import peft

    found = load_file(folder / ADAPTER)
    expected = peft.get_peft_model_state_dict(model, **more)
    if shapes_of(found) != shapes_of(expected):
        raise ValueError("other weights than this model's")
    peft.set_peft_model_state_dict(model, found)


def shapes_of(tensors):
    return {name: tensor.shape for name, tensor in tensors.items()}


def write_tensors(path, tensors, metadata=None):
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_atomically(path, lambda temporary: save_file(tensors, temporary, metadata=metadata))
