"""The flags of the stage that makes hard negatives (llm_negatives.py).  Imports nothing, so that --help is quick."""

TUNING = {"hn_triplets", "hn_tune_epochs", "hn_tune_batch", "hn_tune_rate", "hn_lora_rank"}
STAGE = {"hn_writer", "hn_url", "hn_encoder", "hn_tokens", "hn_pairs", "hn_folder"} | TUNING
LEAST = {  # smallest value of each number
    "hn_triplets": 1, "hn_tune_epochs": 1, "hn_tune_batch": 2, "hn_tune_rate": 0, "hn_lora_rank": 1, "hn_tokens": 1,
    "hn_pairs": 0,
}  # fmt: skip
DEFAULT_ENCODER = "sentence-transformers/all-MiniLM-L6-v2"


def add_flags(add):
    """add: add_argument of an argparse group."""
    # who writes profiles and titles
    add("--hn_writer", default="template",
        help="who writes profiles and titles: template (made from train ratings, no model), or a causal model's name "
        "or local folder; with --hn_url the server's name for it, template then means the first it lists")
    add("--hn_url", help="ask a server with an OpenAI-compatible interface, such as http://localhost:11434/v1")
    # who turns them into vectors
    add("--hn_encoder", default=DEFAULT_ENCODER,
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
