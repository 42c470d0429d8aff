"""The settings of CoNRec."""

from dataclasses import dataclass
from pathlib import Path

from options.flag import Settings, beside, flag, shared
from options.refinement import DEFAULT_LLM, RefinementSettings
from options.run import RunSettings
from utils import InputError, absolute

SFT = ("translation", "alignment", "stream", "warmup")
GRPO = ("recent", "negatives", "both")
STAGES = (*SFT, *GRPO)
RATES = {"tiny": [1e-3, 1e-4], "llm": [5e-5, 1e-5]}  # AdamW, of SFT and of GRPO
PRIMARY = "fhr@20"
EVERY, CHOOSING = "fhr-every@20", "fhr-validation@20"  # over all test instances; on validation
METRICS = (CHOOSING, "hr@20", PRIMARY, EVERY, "luf@20", "lif@20", "lif-strict@20", "cand_ll", "auc", "auc-odds")
SAME_LOSS = "at the same loss of likes"  # what a filter's report calls its comparison
BESIDE = "two factors, last 20 events"  # what a run is set against, user by user

OF_IDS = "conrec_encoder conrec_embeddings conrec_ids conrec_codes conrec_rq_epochs"
OF_GRPO = "conrec_steps conrec_reward conrec_gamma conrec_prompts conrec_group conrec_beta"


@dataclass
class ConrecSettings(Settings):
    """Of CoNRec (conrec/): events, semantic IDs, the stages, GRPO and what is predicted."""

    title = "CoNRec"

    conrec_negative: int = flag(2, "the most stars that are negative feedback, 1 or 2", least=1, most=2)
    # semantic IDs
    conrec_encoder: str = flag(DEFAULT_LLM, "the encoder of the item texts")
    conrec_embeddings: str | None = flag(
        None, "item vectors of your own, an .npz with item_id and embedding", type=absolute, metavar="PATH",
    )
    conrec_ids: str = flag(
        "both", "what IDs are made of: vectors: the encoder's or your own; both: beside these, which items users rate "
        "near each other in train",
        choices=["both", "vectors"],
    )
    conrec_codes: int | None = flag(
        None, "codes of each of an ID's three levels",
        least=2, most=8192, default_words="the power of two from 1.5 sqrt(items) up",
    )
    conrec_rq_epochs: int = flag(200, "epochs of the RQ-VAE that makes the IDs", least=1)
    # stages
    conrec_stages: list[str] = flag(
        ["stream"], f"the trained stages, in the order {' '.join(STAGES)}; stream or warmup among them, the last three "
        "are GRPO", nargs="+", choices=STAGES,
    )
    conrec_sft_steps: list[int] = flag(
        [750, 750, 1000, 1000], "steps of translation, alignment, stream and warmup", nargs=4, least=1,
    )
    conrec_steps: int = flag(300, "steps of each GRPO stage", least=1)
    conrec_history: list[int] = flag(
        [20, 30], "most recent dislikes shown, where no other events are, and most recent events", nargs=2, least=1,
    )
    conrec_rates: list[float] | None = flag(
        None, "learning rates of the first four stages and of GRPO",
        nargs=2, least=0, default_words="0.001 0.0001; --llm: 5e-05 1e-05",
    )
    conrec_lora_rank: int = flag(8, "with --llm: of the LoRA weights; 0: all are trained, in float32", least=0)
    # GRPO
    conrec_reward: str = flag(
        "c", "next: similarity to the next negative; a: to the window's negatives and their neighbours; b: a "
        "above .6; c: a less gamma times that to the window's positives; d: b likewise; e: codes in common",
        choices=["next", "a", "b", "c", "d", "e"],
    )
    conrec_gamma: float = flag(0.5, "weight of the window's positives in c and d", least=0)
    conrec_prompts: int = flag(16, "prompts of a step", least=1)
    conrec_group: int = flag(16, "items sampled for a prompt", least=2)
    conrec_beta: float = flag(1.0, "weight of the KL divergence", least=0)
    # predictions
    conrec_beams: int = flag(50, "beams of the search for the top 20", least=20)
    conrec_budget: float = flag(0.01, "share of liked items that its filter may remove", least=0, most=1)
    conrec_system: str = flag(
        "conrec", "sasrec: a decoder over items, without semantic IDs, on the same instances",
        choices=["conrec", "sasrec"],
    )

    # what it shares with the refinement and the run
    llm: str = shared(RefinementSettings, "llm")
    llm_domain: str = shared(RefinementSettings, "llm_domain")
    llm_dtype: str = shared(RefinementSettings, "llm_dtype")
    llm_batch_tokens: int = shared(RefinementSettings, "llm_batch_tokens")
    random_seed: int = shared(RunSettings, "random_seed")
    data_dir: Path = shared(RunSettings, "data_dir")

    def __post_init__(self):
        if self.conrec_rates is None:
            self.conrec_rates = list(RATES["tiny" if self.llm == "auto" else "llm"])

    def check(self):
        stages = self.conrec_stages
        words = "--conrec_stages " + " ".join(stages)
        if len(set(stages)) < len(stages):
            raise InputError(f"{words}: names a stage twice; each can be trained once")
        if stages != [stage for stage in STAGES if stage in stages]:
            raise InputError(f"{words}: must keep the order {' '.join(STAGES)}")
        if not {"stream", "warmup"} & set(stages):
            raise InputError(
                f"{words}: nothing is predicted, and GRPO has nothing to go on from, without stream or warmup; add one"
            )
        if 0 in self.conrec_rates:
            raise InputError("--conrec_rates: must be above 0")
        if self.llm in ("rule", "twos", "random", "shuffled"):
            raise InputError(f"--llm {self.llm}: CoNRec needs a causal language model, or leave it out")

    def idle(self):
        if self.conrec_embeddings:
            yield "conrec_encoder", beside("--conrec_embeddings")
        else:
            yield "conrec_embeddings", ""  # not given
        if self.llm == "auto":
            yield "conrec_lora_rank llm_dtype llm_domain", "the tiny decoder has no use for it; add --llm NAME"
        if self.conrec_system == "sasrec":
            names = f"{OF_IDS} {OF_GRPO} conrec_stages conrec_lora_rank conrec_beams conrec_budget"
            yield f"{names} llm llm_domain llm_dtype", beside("--conrec_system sasrec")
        words = beside(f"--conrec_stages {' '.join(self.conrec_stages)}")
        if "stream" not in self.conrec_stages:
            yield "conrec_budget", words
        if not set(self.conrec_stages) & set(GRPO):
            yield OF_GRPO, words
        if self.conrec_reward not in ("c", "d"):
            yield "conrec_gamma", beside(f"--conrec_reward {self.conrec_reward}")
