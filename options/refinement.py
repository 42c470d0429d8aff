"""The settings of the refinement, which sorts each user's 2s and 3s."""

from dataclasses import dataclass
from pathlib import Path

from options.flag import Settings, beside, flag, own_names_of, shared
from options.run import RunSettings
from utils import absolute

DEFAULT_LLM = "sentence-transformers/all-MiniLM-L6-v2"
UNASKED = ["confirmed", "neutral", "ask"]
FOUND = ("published", "file")  # what a run calls labels that lay in the data folder
ENOUGH = 0.9  # of the items that a causal model is asked about: below, logs and tables say how many it answers
WITHOUT_MODEL = ("rule", "twos", "random", "shuffled", *FOUND)


@dataclass
class RefinementSettings(Settings):
    """Which language model is asked, and how."""

    title = "language model, which sorts each user's 2s and 3s"

    # which model, and where
    llm: str = flag(
        "auto", "a model's name or local folder; auto: the train_augment CSV in the data folder if "
        f"there is one, else {DEFAULT_LLM}; controls without a model: rule (3s are liked, 2s are "
        "not), twos (2s are not, 3s stay open), random (at the rates of the authors' ML-100K "
        "labels), shuffled (the labels of that CSV, permuted among the ratings it changed)", named=False, common=True,
    )
    llm_mode: str = flag(
        "auto", "how it is asked. generate: which of these; score: whether, one item at a time, by "
        "the logits of Yes and No; embed: similarity to the user's likes minus dislikes; auto: "
        "score, embed for an encoder, generate by URL", choices=["auto", "generate", "score", "embed"],
    )
    llm_url: str | None = flag(
        None, "ask a server with an OpenAI-compatible interface, such as http://localhost:8000/v1",
        metavar="URL", named=False, free=True, common=True,
    )
    # what it is asked
    llm_domain: str = flag(
        "auto", "what the items are called when asking; auto: as the data set has it, else items",
        choices=["auto", "movies", "music", "books", "items"],
    )
    llm_constrained: bool = flag(False, "mode generate: let the model say nothing but valid answers")
    llm_permutations: int = flag(1, "orders each question is asked in; the majority decides", least=1)
    llm_prompt: str | None = flag(
        None, "a text file with the question in your words; {likes}, {dislikes} and {items} (mode score: {item}) "
        "stand in it for titles, {example}, {one} and {several} for what docs/refinement.md says",
        type=absolute, metavar="FILE", named=False,
    )
    llm_answer_tokens: int = flag(
        48, "mode generate: tokens of an answer at most; a model that thinks before it answers needs more", least=1
    )
    llm_temperature: float = flag(0.0, "mode generate with --llm_url: above 0, answers are drawn", least=0, most=2)
    llm_users: int | None = flag(
        None, "ask about so many users only, drawn at random, the others keep their stars: a trial", least=1
    )
    llm_dry_run: bool = flag(
        False, "ask ten questions, show the first one whole and how long all would take, keep no answer and end",
        action=True, named=False,
    )
    llm_profile: int = flag(20, "known likes, and known dislikes, shown at most", least=0)
    llm_seed: int = flag(
        2024, "of the orders, of what is hidden, and of --llm random and shuffled", least=0, most=2**32 - 1
    )
    llm_shuffle: str = flag(
        "all", "with --llm shuffled: among whose ratings labels are permuted; user: each user's own",
        choices=["all", "user"],
    )
    llm_labels: str | None = flag(
        None, "with --llm shuffled: the folder of a refinement (data/<name>/.../feedback/...) whose labels are "
        "permuted, instead of the train_augment CSV", type=absolute, metavar="PATH",
    )
    # how fast, and in how much memory
    llm_dtype: str = flag(
        "auto", "numbers of a causal model; auto: float32 on a CPU, bfloat16 on a GPU",
        choices=["auto", "float32", "bfloat16", "float16"],
    )
    llm_batch_tokens: int = flag(16384, "tokens a causal model reads at once; bounds memory", least=1)
    llm_concurrency: int = flag(16, "requests to --llm_url at a time", least=1, named=False, free=True)
    llm_timeout: float = flag(
        120, "seconds to wait for an answer of --llm_url before trying again", least=1, named=False, free=True
    )
    # what its answers do not cover
    unasked_twos: str = flag(
        "confirmed", "2s of a user whose mean rating is at least 3: confirmed negatives unasked, left out, "
        "or asked about", choices=UNASKED,
    )

    data_dir: Path = shared(RunSettings, "data_dir")  # where the default model's files go

    def idle(self):
        """llm may also be one of FOUND.  A mode that only the model's files decide is taken for any."""
        mode = self.llm_mode
        if self.llm in WITHOUT_MODEL:
            used = {"llm"}
            if self.llm in ("random", "shuffled"):
                used.add("llm_seed")
            if self.llm == "shuffled":
                used |= {"llm_shuffle", "llm_labels"}
            yield all_but(used), beside(f"--llm {self.llm}")
            return
        yield "llm_shuffle llm_labels", "has no use without --llm shuffled"
        if self.llm_url:
            why = "is for a model on this machine, not for --llm_url; leave one of them out"
            yield "llm_dtype llm_batch_tokens llm_constrained", why
            if mode == "auto":
                mode = "generate"
        else:
            yield "llm_url llm_concurrency llm_timeout llm_temperature", "has no use without --llm_url"
            if mode == "auto" and self.llm in ("auto", DEFAULT_LLM):
                mode = "embed"
        if mode == "embed":
            why = "an encoder has no use for it; --llm names another model, or leave it out"
            if self.llm == "auto" and not self.llm_url:
                default = "without --llm the default model is an encoder, which reads no prompt"
                yield "llm_prompt", f"{default}; name a causal model with --llm, or a server with --llm_url"
            yield all_but({"llm", "llm_mode", "llm_url", "unasked_twos"}), why
        if mode == "score":
            yield "llm_constrained llm_answer_tokens llm_temperature", beside("--llm_mode score")


def all_but(used):
    """The other flags of the refinement, in one string."""
    return " ".join(name for name in own_names_of(RefinementSettings) if name not in used)
