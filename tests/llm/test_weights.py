"""Where a language model comes from, and what is said where it cannot be had."""

import huggingface_hub
import pytest
from huggingface_hub import errors

from llm.weights import model_folder
from utils import InputError


def failing_hub(monkeypatch, error):
    asked = []

    def fail(name, **more):
        asked.append(name)
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    return asked


@pytest.mark.parametrize("llm", ["../folder", "./x", "/no/where", "~/models/x", "a/b/c", "models/", ".hidden"])
def test_what_looks_like_a_path_is_not_looked_for_on_the_hub(monkeypatch, tmp_path, llm):
    asked = failing_hub(monkeypatch, OSError("asked"))
    with pytest.raises(InputError, match=f"--llm {llm}: no such folder; give one"):
        model_folder(llm, tmp_path)
    assert not asked


def of_hub(kind):
    """An error of the hub's client as made without a reply at hand."""
    error = kind.__new__(kind)
    error.args = ("<html>\nraw text",)
    return error


@pytest.mark.parametrize(
    ("error", "cure"),
    [
        (of_hub(errors.GatedRepoError), r"accept its terms at https://huggingface\.co/org/x, and set HF_TOKEN"),
        (of_hub(errors.RepositoryNotFoundError), r"hub has none of that name \(a private one needs HF_TOKEN\)"),
        (errors.LocalEntryNotFoundError("raw text"), r"hf download org/x --local-dir FOLDER, then give --llm FOLDER"),
        (OSError(28, "No space left on device"), r"hub: \[Errno 28\] No space left on device"),
    ],
)
def test_a_name_that_cannot_be_fetched_says_what_to_do(monkeypatch, tmp_path, error, cure):
    asked = failing_hub(monkeypatch, error)
    with pytest.raises(InputError, match=rf"--llm org/x: there is no such folder, and .*{cure}") as refused:
        model_folder("org/x", tmp_path)
    assert asked == ["org/x"] and "raw text" not in str(refused.value)
