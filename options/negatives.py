"""The flags of the stage that makes hard negatives (llm_negatives.py), and which have a use beside which.

Imports nothing that takes long, so that --help is quick.
"""

from options.refinement import DEFAULT_LLM

TUNING = {"hn_triplets", "hn_tune_epochs", "hn_tune_batch", "hn_tune_rate", "hn_lora_rank"}
STAGE = {"hn_writer", "hn_url", "hn_encoder", "hn_tokens", "hn_pairs", "hn_folder"} | TUNING
OF_VECTORS = {"hn_alpha", "hn_lambda", "hn_adapter", "hn_temperature", "hn_unfiltered"}  # how training uses them


def add_flags(add):
    """add: add_argument of an argparse group."""
    # who writes profiles and titles
    add("--hn_writer", default="template",
        help="who writes profiles and titles: template (made from train ratings, no model), or a causal model's name "
        "or local folder; with --hn_url the server's name for it, template then means the first it lists")
    add("--hn_url", help="ask a server with an OpenAI-compatible interface, such as http://localhost:11434/v1")
    # who turns them into vectors
    add("--hn_encoder", default=DEFAULT_LLM,
        help="the model whose hidden states are the vectors: an encoder, or a decoder without encoder")
    add("--hn_tokens", type=int, default=96, help="tokens that it reads at most; profiles are cut to fit")
    add("--hn_pairs", type=int, default=0, help="train positives a user that get a vector, drawn at random; 0: all")
    add("--hn_folder", help="a finished folder of the stage, used as it is: made on another machine, say")
    # how it is fine-tuned
    add("--hn_triplets", type=int, default=2000,
        help="train positives with a supervising negative; those of a tenth of the users measure the tuning")
    add("--hn_tune_epochs", type=int, default=2, help="passes over the triplets")
    add("--hn_tune_batch", type=int, default=16, help="triplets a step; each liked item stands against every query")
    add("--hn_tune_rate", type=float, default=2e-4, help="learning rate; 2e-5 for a model of billions of weights")
    add("--hn_lora_rank", type=int, default=32, help="rank of the LoRA weights; their scale is twice that")


def wants_vectors(options):
    """Whether a run of HNLMRec needs data.hard: else it is its backbone, with whatever ranking loss."""
    return options.hard != "none" and bool(options.hn_alpha or options.hn_lambda)


def idle(options):
    """Yields (flags, why they change nothing) beside the others of these options of HNLMRec."""
    if not wants_vectors(options):
        yield STAGE, "--hn_alpha 0 and --hn_lambda 0 leave it without a use; leave it out"
        return
    if options.hn_folder:
        yield STAGE - {"hn_folder"}, "--hn_folder leaves it without a use; leave one of them out"
        return
    yield {"hn_folder"}, ""  # not given
    if not options.hn_url:
        yield {"hn_url"}, ""


def shared(options):
    """The flags of the refinement that the stage reads, too."""
    if not wants_vectors(options) or options.hn_folder:
        return frozenset()
    used = {"llm_seed"}
    if options.hn_url:
        used |= {"llm_domain", "llm_profile", "llm_concurrency", "llm_timeout"}
    elif options.hn_writer != "template":
        used |= {"llm_domain", "llm_profile", "llm_dtype", "llm_batch_tokens"}
    if options.hn_encoder != DEFAULT_LLM:  # which its files alone show to be a causal model
        used.add("llm_dtype")
    return used
