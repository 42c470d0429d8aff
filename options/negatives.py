"""The settings of the stage that makes HNLMRec's hard negatives (negatives/)."""

from dataclasses import dataclass
from pathlib import Path

from options.flag import Settings, flag, shared
from options.refinement import DEFAULT_LLM, RefinementSettings
from options.run import RunSettings

TUNING_BATCH = 16  # triplets a step: each one's liked item and hard negative stand against the other queries
TUNING = "hn_triplets hn_tune_rate"


@dataclass
class StageSettings(Settings):
    """Who writes profiles and titles, who turns them into vectors, and how that encoder is fine-tuned."""

    title = "hard negatives of HNLMRec, made by a language model"

    # who writes profiles and titles
    hn_writer: str = flag(
        "template", "who writes profiles and titles: template (made from train ratings, no model), or a causal model's "
        "name or local folder; with --hn_url the server's name for it, template then means the first it lists",
    )
    hn_url: str | None = flag(
        None, "ask a server with an OpenAI-compatible interface, such as http://localhost:11434/v1", free=True
    )
    # who turns them into vectors
    hn_encoder: str = flag(
        DEFAULT_LLM, "the model whose hidden states are the vectors: an encoder, or a decoder without encoder"
    )
    hn_tokens: int = flag(96, "tokens that it reads at most; profiles are cut to fit", least=1)
    hn_pairs: int = flag(0, "train positives a user that get a vector, drawn at random; 0: all", least=0)
    hn_folder: str | None = flag(
        None, "a finished folder of the stage, used as it is: made on another machine, say", free=True
    )
    # how it is fine-tuned
    hn_triplets: int = flag(
        2000, "train positives with a supervising negative; those of a tenth of the users measure the tuning",
        least=TUNING_BATCH,
    )
    hn_tune_rate: float = flag(2e-4, "learning rate; 2e-5 for a model of billions of weights", least=0)

    # what it shares with the refinement and the run
    llm_domain: str = shared(RefinementSettings, "llm_domain")
    llm_profile: int = shared(RefinementSettings, "llm_profile")
    llm_seed: int = shared(RefinementSettings, "llm_seed")
    llm_dtype: str = shared(RefinementSettings, "llm_dtype")
    llm_batch_tokens: int = shared(RefinementSettings, "llm_batch_tokens")
    llm_concurrency: int = shared(RefinementSettings, "llm_concurrency")
    llm_timeout: float = shared(RefinementSettings, "llm_timeout")
    random_seed: int = shared(RunSettings, "random_seed")
    data_dir: Path = shared(RunSettings, "data_dir")

    def idle_in_stage(self):
        """Yields (flags, why they change nothing), of the stage where it is made here."""
        writes_here = self.hn_url is None and self.hn_writer != "template"
        if self.hn_url is None:
            yield "hn_url llm_concurrency llm_timeout", ""  # not given
        if not writes_here:
            yield "llm_batch_tokens", ""
        if self.hn_url is None and not writes_here:
            yield "llm_domain llm_profile", ""
        if self.hn_encoder == DEFAULT_LLM and not writes_here:  # of another encoder its files alone show what it is
            yield "llm_dtype", ""


STAGE = " ".join(name for name in StageSettings.__annotations__ if name.startswith("hn_"))
SHARED = " ".join(name for name in StageSettings.__annotations__ if name.startswith("llm_"))
