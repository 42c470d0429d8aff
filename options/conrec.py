"""The flags of CoNRec, and which have a use beside which.  Imports nothing heavy, so that --help is quick."""

from options.refinement import DEFAULT_LLM, REFINEMENT
from utils import InputError, absolute

SFT = ("translation", "alignment", "warmup")
GRPO = ("recent", "negatives", "both")
STAGES = (*SFT, *GRPO)
RATES = {"tiny": [1e-3, 1e-4], "llm": [5e-5, 1e-5]}  # AdamW, of SFT and of GRPO
SHARED = frozenset({"llm", "llm_domain", "llm_dtype", "llm_batch_tokens"})  # flags of the refinement it reads, too
# flags of every model that CoNRec has no use for: it ranks by beams and takes ratings as they are
FOREIGN = frozenset({"dataset_augment", "half_stars", "test_batch_size"})
OF_GRPO = {
    "conrec_steps", "conrec_reward", "conrec_gamma", "conrec_neighbours", "conrec_prompts", "conrec_group",
    "conrec_beta", "conrec_clean",
}  # fmt: skip
OF_IDS = {"conrec_encoder", "conrec_embeddings", "conrec_codes", "conrec_rq_epochs"}
OF_TRAINING = {
    "conrec_stages", "conrec_sft_steps", "conrec_warmup_context", "conrec_history", "conrec_rates", "conrec_lora_rank",
} | OF_GRPO  # fmt: skip
OF_EVENTS = {
    "conrec_negative", "conrec_clock", "conrec_day", "conrec_recent", "conrec_window", "conrec_order",
}  # fmt: skip
OF_SYSTEM = {"conrec_beams", "conrec_budget", "conrec_system", "conrec_reversed"}
FLAGS = frozenset(OF_IDS | OF_TRAINING | OF_EVENTS | OF_SYSTEM)
PRIMARY = "fhr@20"
METRICS = ("hr@20", PRIMARY, "luf@20", "lif@20", "lif-strict@20", "cand_ll", "auc")
BESIDE = ("two factors", "popularity, negatives")  # what a run is set against, user by user
LEAST = {  # smallest value of each number
    "conrec_negative": 1, "conrec_day": 1, "conrec_recent": 1, "conrec_window": 1, "conrec_codes": 2,
    "conrec_rq_epochs": 1, "conrec_sft_steps": 1, "conrec_steps": 1, "conrec_history": 1, "conrec_gamma": 0,
    "conrec_neighbours": 0, "conrec_prompts": 1, "conrec_group": 2, "conrec_beta": 0, "conrec_rates": 0,
    "conrec_lora_rank": 0, "conrec_beams": 20, "conrec_budget": 0, "filter_pool": 20,
}  # fmt: skip
MOST = {"conrec_negative": 2, "conrec_codes": 8192, "conrec_budget": 1}


def add_flags(add):
    """add: add_argument of an argparse group."""
    # ratings as events in time
    add("--conrec_negative", type=int, default=2, help="CoNRec: the most stars that are negative feedback, 1 or 2")
    add("--conrec_clock", default="auto", choices=["auto", "event", "wall"],
        help="CoNRec: what days are: event: a number of the user's ratings; wall: real days; auto: event where the "
        "median user's ratings span less than the window")
    add("--conrec_day", type=int, default=8, help="CoNRec: ratings of a day on the event clock")
    add("--conrec_recent", type=int, default=3, help="CoNRec: days of the short context")
    add("--conrec_window", type=int, default=7, help="CoNRec: days whose negatives are to be predicted")
    add("--conrec_order", default="timestamp", choices=["timestamp", "file"],
        help="CoNRec: file: the rows already lie in the order of events")
    # semantic IDs
    add("--conrec_encoder", default=DEFAULT_LLM, help="CoNRec: the encoder of the item texts")
    add("--conrec_embeddings", type=absolute, metavar="PATH",
        help="CoNRec: item vectors of your own, an .npz with item_id and embedding")
    add("--conrec_codes", type=int,
        help="CoNRec: codes of each of an ID's three levels (default: the power of two from 1.5 sqrt(items) up)")
    add("--conrec_rq_epochs", type=int, default=200, help="CoNRec: epochs of the RQ-VAE that makes the IDs")
    # stages
    add("--conrec_stages", nargs="+", default=list(STAGES), choices=STAGES,
        help="CoNRec: the trained stages, in this order, warmup among them; the last three are GRPO")
    add("--conrec_sft_steps", type=int, nargs=3, default=[750, 750, 1000],
        help="CoNRec: steps of translation, alignment and warmup")
    add("--conrec_steps", type=int, default=300, help="CoNRec: steps of each GRPO stage")
    add("--conrec_warmup_context", default="negatives", choices=["negatives", "both"],
        help="CoNRec: what warmup sees; both: positives, too")
    add("--conrec_history", type=int, nargs=2, default=[20, 40],
        help="CoNRec: most recent negatives and positives shown")
    add("--conrec_rates", type=float, nargs=2,
        help="CoNRec: learning rates of the first three stages and of GRPO (default: 0.001 0.0001; --llm: 5e-05 1e-05)")
    add("--conrec_lora_rank", type=int, default=8, help="CoNRec: with --llm: of the LoRA weights; 0: all are trained")
    # GRPO
    add("--conrec_reward", default="c", choices=["next", "a", "b", "c", "d", "e"],
        help="CoNRec: next: similarity to the next negative; a: to the window's negatives and their neighbours; "
        "b: a above .6; c: a less gamma times that to the window's positives; d: b likewise; e: codes in common")
    add("--conrec_gamma", type=float, default=0.5, help="CoNRec: weight of the window's positives in c and d")
    add("--conrec_neighbours", type=int, default=3, help="CoNRec: Swing neighbours of each of the window's negatives")
    add("--conrec_prompts", type=int, default=16, help="CoNRec: prompts of a step")
    add("--conrec_group", type=int, default=16, help="CoNRec: items sampled for a prompt")
    add("--conrec_beta", type=float, nargs=3, default=[1, 1, 1],
        help="CoNRec: weights of the KL divergence in recent, negatives and both")
    add("--conrec_clean", action="store_true",
        help="CoNRec: show prompts twice whose predictions lie nearer future positives than negatives")
    # predictions
    add("--conrec_beams", type=int, default=50, help="CoNRec: beams of the search for the top 20")
    add("--conrec_budget", type=float, default=0.01, help="CoNRec: share of liked items that its filter may remove")
    add("--conrec_system", default="conrec", choices=["conrec", "sasrec"],
        help="CoNRec: sasrec: a decoder over items, without semantic IDs, on the same instances")
    add("--conrec_reversed", type=absolute, metavar="RUN",
        help="CoNRec: train nothing, predict the items that this finished run scores lowest")  # fmt: skip


def add_looking_flags(add):
    """The flags that filter a finished run."""
    add("--filter", metavar="RUN",
        help="filter what this run recommends (a run folder, or a CSV with user and item) by the CoNRec run --run")
    add("--filter_pool", type=int, default=100,
        help="with --filter: best items of a user, of which 20 are left")  # fmt: skip


def check(options):
    """Raises InputError for stages that cannot follow each other.  options: of CoNRec."""
    stages = options.conrec_stages
    words = "--conrec_stages " + " ".join(stages)
    if len(set(stages)) < len(stages):
        raise InputError(f"{words}: names a stage twice; each can be trained once")
    if stages != [stage for stage in STAGES if stage in stages]:
        raise InputError(f"{words}: must keep the order {' '.join(STAGES)}")
    if "warmup" not in stages:
        raise InputError(f"{words}: nothing is predicted, and GRPO has nothing to go on from, without warmup; add it")
    if options.conrec_order == "file" and options.conrec_clock == "wall":
        raise InputError("--conrec_order file: says nothing of real time; leave out --conrec_clock wall")
    if 0 in options.conrec_rates:
        raise InputError("--conrec_rates: must be above 0")
    if options.llm in ("rule", "random", "shuffled"):
        raise InputError(f"--llm {options.llm}: CoNRec needs a causal language model, or leave it out")


def fill_in(options):
    """What depends on other flags, where it is not given."""
    if options.conrec_rates is None:
        options.conrec_rates = list(RATES["tiny" if options.llm == "auto" else "llm"])


def idle(options):
    """Yields (flags, why they change nothing) beside the others of these options of CoNRec."""
    yield REFINEMENT - SHARED, "CoNRec refines no ratings; leave it out"
    yield FOREIGN, "CoNRec has no use for it; leave it out"
    if options.conrec_embeddings:
        yield {"conrec_encoder"}, "--conrec_embeddings leaves it without a use; leave one of them out"
    else:
        yield {"conrec_embeddings"}, ""  # not given
    if options.conrec_clock == "wall":
        yield {"conrec_day"}, "--conrec_clock wall leaves it without a use; leave one of them out"
    if options.llm == "auto":
        yield {"conrec_lora_rank", "llm_dtype", "llm_domain"}, "the tiny decoder has no use for it; add --llm NAME"
    yield from idle_beside_system(options)
    yield from idle_beside_stages(options)


def idle_beside_system(options):
    if options.conrec_reversed:
        names = OF_IDS | OF_TRAINING | SHARED | {"conrec_beams", "conrec_budget", "conrec_system"}
        yield names, "--conrec_reversed leaves it without a use; leave one of them out"
        return
    yield {"conrec_reversed"}, ""  # not given
    if options.conrec_system == "sasrec":
        names = OF_IDS | OF_GRPO | {"conrec_stages", "conrec_lora_rank", "conrec_beams", "conrec_budget"}
        yield names | SHARED - {"llm_batch_tokens"}, "--conrec_system sasrec leaves it without a use; leave it out"


def idle_beside_stages(options):
    if not set(options.conrec_stages) & set(GRPO):
        words = f"--conrec_stages {' '.join(options.conrec_stages)}"
        yield OF_GRPO, f"{words} leaves it without a use; leave it out"
    why = f"--conrec_reward {options.conrec_reward} leaves it without a use; leave it out"
    if options.conrec_reward not in ("c", "d"):
        yield {"conrec_gamma"}, why
    if options.conrec_reward == "next":
        yield {"conrec_neighbours"}, why
