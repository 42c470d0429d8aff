"""The Policy of a run: its backbone, tiny or a language model, over its catalog."""

from conrec.data.trie import Trie
from conrec.decoder import backbone, lora
from conrec.decoder.policy import Policy
from llm.weights import is_causal, model_folder
from preparation.titles import domain_of
from utils import InputError


def find_weights(settings):
    """The folder of --llm, or None where it is the tiny decoder.  Raises InputError for an encoder.

    settings: ConrecSettings.
    """
    if settings.llm == "auto":
        return None
    weights = model_folder(settings.llm, settings.data_dir)
    if not is_causal(weights):
        raise InputError(f"--llm {settings.llm}: is an encoder; CoNRec needs a causal language model")
    return weights


def load_policy(name, events, catalog, settings, device, k, log=print):
    """The Policy with a backbone as it is before any training.  name: of the data set.  k: items a list."""
    weights = find_weights(settings)
    if weights is None:
        model = backbone.tiny(catalog, settings.random_seed, device)
    else:
        model = lora.load(weights, catalog, settings, settings.random_seed, device, log)
    return Policy(
        events, model, Trie(catalog.codes, catalog.K, device), shown=settings.conrec_history,
        domain=domain_of(name, settings), n_beams=settings.conrec_beams, k=k, budget=settings.llm_batch_tokens,
    )  # fmt: skip
