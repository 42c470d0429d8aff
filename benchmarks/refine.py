"""The LLM stage with a causal model: is it exact in batches, and how much faster?

    python tests/helpers/tiny_llm.py tiny               make a test model, or take any folder with a causal model
    python benchmarks/refine.py tiny                    on the first 60 users of data/ML-100K
    python benchmarks/refine.py tiny --users 0          on all users (half an hour on one core)

"plain" reads the whole prompt of every item (mode score) alone, without padding and without a shared profile.  All on
the device and in the number type that main.py would use.
"""

import argparse
import sys
import time
from pathlib import Path

import torch

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from feedback import prompts
from feedback.causal import CausalLM
from feedback.questions import questions, whom_to_ask
from llm.answers import key
from llm.weights import model_folder
from machine import hardware
from options.refinement import RefinementSettings
from preparation.files import STARS, read_ratings
from preparation.locate import locate
from preparation.splits import prepare
from preparation.titles import item_table, item_texts
from runs import run_folder

PLAIN = 10  # questions whose items are also read one prompt at a time


def read_plainly(lm, whole, question, texts):
    """Score every item by its whole prompt, without padding and without a cache; returns how many there are.

    whole: the same model with all words of its head, which mode score leaves out but for two.
    """
    distinct = {texts[item] for item in question.items}
    for text in distinct:
        ids = lm.tokens.before(prompts.about(lm.domain, question, texts))
        ids += lm.tokens.after(prompts.whether(lm.domain, text, lm.tokens.chat))
        with torch.no_grad():
            whole.model(torch.tensor([ids], device=lm.device))
    return len(distinct)


def timed(lm, todo, train, texts):
    """({key: record}, seconds)"""
    start = time.perf_counter()
    records = {key(record): record for record in lm.answers(todo, train, texts)}
    return records, time.perf_counter() - start


def compare(lm, whole, mode, todo, train, texts):
    """Print questions a second in batches and one at a time, and how many answers are the same."""
    batched, seconds = timed(lm, todo, train, texts)
    lm.budget = 1  # one question at a time
    alone, seconds_alone = timed(lm, todo, train, texts)
    same = sum(batched[question]["verdicts"] == alone[question]["verdicts"] for question in alone)

    # a question of mode score is as much work as it has items with different texts
    number, unit = len(todo), "questions"
    if mode == "score":
        number, unit = 0, "items"
        for question in todo:
            number += len({texts[item] for item in question.items})
    tokens = sum(lm.show(question, texts)[1] for question in todo)  # a profile once, however often it is read
    print(f"{mode}: {len(todo)} questions about {len({question.user for question in todo})} users")
    print(f"  batched        {number / seconds:8.1f} {unit} a second, {tokens / seconds:.0f} tokens of prompts")
    faster = seconds_alone / seconds
    print(f"  one question   {number / seconds_alone:8.1f}   batched is {faster:.1f} x faster")
    if mode == "score":
        start = time.perf_counter()
        judged = sum(read_plainly(lm, whole, question, texts) for question in todo[:PLAIN])
        rate = judged / (time.perf_counter() - start)
        print(f"  plain          {rate:8.1f}   batched is {number / seconds / rate:.1f} x faster")
    print(f"  batched answers equal to those of one question at a time: {same} of {len(alone)}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("llm", type=Path, help="a causal model's folder, or a .gguf file")
    parser.add_argument("--data_dir", type=Path, default=ROOT / "data", help="where ML-100K is or goes")
    parser.add_argument("--users", type=int, default=60, help="ask about so many users; 0: all")
    options = parser.parse_args()
    name, raw, folder = locate("ML-100K", options.data_dir)
    prepare(name, raw, folder, log=lambda *_: None)
    ratings = read_ratings(folder / f"{name}_train_original.csv", ",", STARS)
    train = whom_to_ask(ratings, "confirmed")
    texts = item_texts(item_table(raw), train.item_ids, genres=False)
    device = hardware.pick_device("auto")
    machine = f"{hardware.device_name(device)}, torch {torch.__version__}"
    weights = model_folder(str(options.llm), options.data_dir)
    print(f"{machine}, commit {run_folder.commit()}, model {options.llm}\n")
    settings, chosen = RefinementSettings(), set(list(train.candidates)[: options.users or None])
    whole = CausalLM(weights, device, settings, "generate", "movies")
    for mode in ("score", "generate"):
        todo = [question for question in questions(train, mode, settings) if question.user in chosen]
        lm = CausalLM(weights, device, settings, mode, "movies")
        compare(lm, whole, mode, todo, train, texts)


if __name__ == "__main__":
    main()
