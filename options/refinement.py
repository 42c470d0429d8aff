"""The flags of the refinement, and which of them have a use beside which.  Nothing here takes long to import."""

import argparse

from utils import InputError

DEFAULT_LLM = "sentence-transformers/all-MiniLM-L6-v2"
UNASKED = ("confirmed", "neutral", "ask")
FOUND = ("published", "file")  # what a run calls labels that lay in the data folder
WITHOUT_MODEL = ("rule", "random", "shuffled", *FOUND)


def add_flags(add):
    """add: add_argument of an argparse group."""
    # which model, and where
    add("--llm", default="auto",
        help="a model's name or local folder; auto: the train_augment CSV in the data folder if "
        f"there is one, else {DEFAULT_LLM}; controls without a model: rule (3s are liked, 2s are "
        "not), random (at the rates of the authors' ML-100K labels), shuffled (the labels of that "
        "CSV, permuted among the ratings it changed)")
    add("--llm_mode", default="auto", choices=["auto", "generate", "score", "embed"],
        help="how it is asked. generate: which of these; score: whether, one item at a time, by "
        "the logits of Yes and No; embed: similarity to the user's likes minus dislikes; auto: "
        "score, embed for an encoder, generate by URL")
    add("--llm_url", metavar="URL",
        help="ask a server with an OpenAI-compatible interface, such as http://localhost:8000/v1")
    # what it is asked
    add("--llm_domain", default="auto", choices=["auto", "movies", "music", "books", "items"],
        help="what the items are called when asking; auto: as the data set has it, else items")
    add("--llm_constrained", action="store_true",
        help="mode generate: let the model say nothing but valid answers")
    add("--llm_permutations", type=int, default=1,
        help="orders each question is asked in; the majority decides")
    add("--llm_question_size", type=int, default=5,
        help="mode generate: items a question, at most 10")
    add("--llm_profile", type=int, default=20,
        help="known likes, and known dislikes, shown at most")
    add("--llm_seed", type=int, default=2024,
        help="of the orders, of what is hidden, and of --llm random and shuffled")
    # how fast, and in how much memory
    add("--llm_dtype", default="auto", choices=["auto", "float32", "bfloat16", "float16"],
        help="numbers of a causal model; auto: float32 on a CPU, bfloat16 on a GPU")
    add("--llm_batch_tokens", type=int, default=16384,
        help="tokens a causal model reads at once; bounds memory")
    add("--llm_concurrency", type=int, default=16, help="requests to --llm_url at a time")
    add("--llm_timeout", type=float, default=120,
        help="seconds to wait for an answer of --llm_url before trying again")
    # what its answers do not cover
    add("--unasked_twos", default="confirmed", choices=UNASKED,
        help="2s of a user whose mean rating is at least 3: confirmed negatives unasked, left out, "
        "or asked about")  # fmt: skip


def defaults():
    """{flag: default}"""
    parser = argparse.ArgumentParser()
    add_flags(parser.add_argument)
    return vars(parser.parse_args([]))


DEFAULTS = defaults()
REFINEMENT = frozenset(DEFAULTS)


def idle(llm, mode, url):
    """Yields (flags, why they change nothing) beside this --llm, --llm_mode and --llm_url.

    llm may also be one of FOUND.  A mode that only the model's files decide is taken for any.
    """
    if llm in WITHOUT_MODEL:
        used = {"llm"} if llm in ("rule", *FOUND) else {"llm", "llm_seed"}
        yield REFINEMENT - used, f"--llm {llm} leaves it without a use; leave one of them out"
        return
    if url:
        local = {"llm_dtype", "llm_batch_tokens", "llm_constrained"}
        yield local, "is for a model on this machine, not for --llm_url; leave one of them out"
        mode = "generate" if mode == "auto" else mode
    else:
        yield {"llm_url", "llm_concurrency", "llm_timeout"}, "has no use without --llm_url"
        if mode == "auto" and llm in ("auto", DEFAULT_LLM):
            mode = "embed"
    if mode == "embed":
        used = {"llm", "llm_mode", "llm_url", "unasked_twos"}
        yield REFINEMENT - used, "an encoder has no use for it; --llm names another model, or leave it out"
    if mode == "score":
        only_generate = {"llm_question_size", "llm_constrained"}
        yield only_generate, "--llm_mode score leaves it without a use; leave one of them out"


def refuse_idle(options, idle, defaults):
    """Raises InputError where one of these flags was given.  idle: (flags, why).  defaults: {flag: default}."""
    for names, why in idle:
        for name in sorted(names):
            if getattr(options, name, defaults[name]) != defaults[name]:
                raise InputError(f"--{name}: {why}")
