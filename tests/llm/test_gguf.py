"""GGUF files as --llm: converted once, by what they hold, and refused where they cannot be read."""

import gguf as writer
import numpy as np
import pytest
import torch

from llm import gguf
from llm.weights import is_causal, load, model_folder, revision
from utils import InputError

WIDTH, HIDDEN, HEADS, WORDS = 32, 64, 2, 300


def write_gguf(path, leave_out=(), architecture="qwen2"):
    """A tiny Qwen2 with words of one byte, its large tensors in Q8_0; returns {name: array as it was written}."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    generator = np.random.default_rng(0)
    file = writer.GGUFWriter(path, architecture)
    file.add_block_count(1)
    file.add_context_length(128)
    file.add_embedding_length(WIDTH)
    file.add_feed_forward_length(HIDDEN)
    file.add_head_count(HEADS)
    file.add_head_count_kv(HEADS)
    file.add_rope_freq_base(10000.0)
    file.add_layer_norm_rms_eps(1e-6)
    tokens = [*bytes_to_unicode().values(), "Ye", "No", "<|end|>"]
    normal = len(tokens) - 1
    tokens += [f"<unused{n}>" for n in range(WORDS - len(tokens))]
    file.add_tokenizer_model("gpt2")
    file.add_tokenizer_pre("qwen2")
    file.add_token_list(tokens)
    file.add_token_types([1] * normal + [3] * (WORDS - normal))
    file.add_token_merges(["Y e", "N o"])
    file.add_eos_token_id(normal)
    shapes = {"token_embd": (WORDS, WIDTH), "output": (WORDS, WIDTH), "output_norm": (WIDTH,)}
    shapes |= {f"blk.0.{name}": (WIDTH, WIDTH) for name in ("attn_q", "attn_k", "attn_v", "attn_output")}
    shapes |= {"blk.0.ffn_gate": (HIDDEN, WIDTH), "blk.0.ffn_up": (HIDDEN, WIDTH), "blk.0.ffn_down": (WIDTH, HIDDEN)}
    shapes |= {"blk.0.attn_norm": (WIDTH,), "blk.0.ffn_norm": (WIDTH,)}
    arrays = {f"{name}.weight": shape for name, shape in shapes.items()}
    arrays |= {f"blk.0.attn_{part}.bias": (WIDTH,) for part in "qkv"}
    q8 = writer.GGMLQuantizationType.Q8_0
    for name, shape in arrays.items():
        arrays[name] = array = generator.normal(0, 0.3, shape).astype(np.float32)
        if name in leave_out:
            continue
        if len(shape) == 2:
            quantised = writer.quants.quantize(array, q8)
            arrays[name] = writer.quants.dequantize(quantised, q8)
            file.add_tensor(name, quantised, raw_dtype=q8)
        else:
            file.add_tensor(name, array)
    file.write_header_to_file()
    file.write_kv_data_to_file()
    file.write_tensors_to_file()
    file.close()
    return arrays


def test_a_gguf_file_becomes_a_folder_with_its_very_weights_once(tmp_path, monkeypatch):
    file = tmp_path / "tiny-Q8_0.gguf"
    arrays = write_gguf(file)
    folder = model_folder(str(file), tmp_path / "data")
    assert folder.parent == tmp_path / "data" / "llm" and folder.name.startswith("tiny-Q8_0-") and is_causal(folder)
    tokenizer, model = load("AutoModelForCausalLM", folder, "float32", torch.device("cpu"))
    weights = model.state_dict()
    names = {
        "model.embed_tokens.weight": "token_embd.weight",
        "lm_head.weight": "output.weight",
        "model.layers.0.mlp.down_proj.weight": "blk.0.ffn_down.weight",
        "model.layers.0.self_attn.q_proj.bias": "blk.0.attn_q.bias",
    }
    for name, written in names.items():
        np.testing.assert_array_equal(weights[name].numpy(), arrays[written])
    assert tokenizer.decode(tokenizer("Yes, No").input_ids) == "Yes, No"
    assert len(revision(folder)[file.name]) == 64

    monkeypatch.setattr(gguf, "unpack", lambda *_: pytest.fail("converted again"))
    assert model_folder(str(file), tmp_path / "data") == folder


def test_a_kill_while_converting_leaves_no_half_folder(tmp_path, monkeypatch):
    file = tmp_path / "tiny.gguf"
    write_gguf(file)
    real = gguf.unpack

    def killed(*arguments):
        real(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(gguf, "unpack", killed)
        gguf.convert(file, tmp_path / "llm")
    assert not [path for path in (tmp_path / "llm").iterdir() if path.is_dir()]
    assert is_causal(gguf.convert(file, tmp_path / "llm"))


def test_what_cannot_be_read_is_one_clear_line(tmp_path, monkeypatch):
    def refused(file):
        with pytest.raises(InputError) as error:
            gguf.convert(file, tmp_path / "llm")
        assert not list((tmp_path / "llm").glob("[!.]*"))
        return str(error.value)

    assert "cannot be read (No such file or directory)" in refused(tmp_path / "none.gguf")
    (tmp_path / "text.gguf").write_text("<html>")
    assert "is no GGUF file" in refused(tmp_path / "text.gguf")
    write_gguf(tmp_path / "part.gguf", leave_out=["blk.0.ffn_up.weight"])
    assert "lacks 1 tensors, such as model.layers.0.mlp.up_proj.weight" in refused(tmp_path / "part.gguf")
    write_gguf(tmp_path / "other.gguf", architecture="command-r")
    assert "transformers cannot read this GGUF file" in refused(tmp_path / "other.gguf")
    content = (tmp_path / "part.gguf").read_bytes()
    (tmp_path / "cut.gguf").write_bytes(content[: len(content) // 2])
    assert "transformers cannot read this GGUF file" in refused(tmp_path / "cut.gguf")

    monkeypatch.setattr(gguf.importlib.util, "find_spec", lambda name: None)
    assert "needs the package gguf; install it with `pip install gguf==" in refused(tmp_path / "part.gguf")
