"""The LLM stage with a causal model: is it exact in batches, how much faster, and does it survive kill -9?

    python tests/helpers/tiny_llm.py tiny               make a test model, or take any folder with a causal model
    python benchmarks/refine.py tiny                    on the first 60 users of data/ML-100K, 10 kills
    python benchmarks/refine.py tiny --users 0          on all users (an hour on two cores)

"plain" reads the whole prompt of every item (score) or question (generate) alone, without padding
and without a shared profile.  All on the device and in the number type that main.py would use.  The
kills hit the whole command.
"""

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

ROOT = Path(__file__).parent.parent
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
sys.path.insert(0, str(ROOT))

from feedback import prompts
from feedback.causal import CausalLM
from feedback.questions import questions, whom_to_ask
from llm.answers import key, read
from llm.weights import model_folder
from machine import hardware
from options.refinement import RefinementSettings
from preparation.files import STARS, read_ratings
from preparation.locate import locate
from preparation.splits import prepare
from preparation.titles import item_table, item_texts
from runs import run_folder


def plain_scores(lm, whole, question, texts):
    """The whole prompt of every item read alone, without padding and without a cache.

    whole: the same model with all words of its head, which mode score leaves out but for two.
    """
    for text in dict.fromkeys(texts[item] for item in question.items):
        ids = lm.tokens.before(prompts.about(lm.domain, question, texts))
        ids += lm.tokens.after(prompts.whether(lm.domain, text, lm.tokens.chat))
        with torch.no_grad():
            logits = whole.model(torch.tensor([ids], device=lm.device)).logits[0, -1].float()
        yield float(logits[lm.yes] - logits[lm.no])


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
    users = {question.user for question in todo}
    faster = seconds_alone / seconds
    tokens = sum(lm.show(question, texts)[1] for question in todo)  # a profile once, however often it is read
    print(f"{mode}: {len(todo)} questions about {len(users)} users")
    print(f"  batched        {number / seconds:8.1f} {unit} a second, {tokens / seconds:.0f} tokens of prompts")
    print(f"  one question   {number / seconds_alone:8.1f}   batched is {faster:.1f} x faster")
    if mode == "score":
        start = time.perf_counter()
        judged = 0
        for question in todo[:10]:
            judged += len(list(plain_scores(lm, whole, question, texts)))
        rate = judged / (time.perf_counter() - start)
        print(f"  plain          {rate:8.1f}   batched is {number / seconds / rate:.1f} x faster")
    print(
        f"  batched answers equal to those of one question at a time: {same} of {len(alone)}",
        flush=True,
    )


def kill(llm, mode, data_dir, kills):
    """Start the whole command over and over, and kill -9 it at a random moment of the asking.

    Prints what is left of the answers; returns their keys.
    """
    moment = random.Random(0)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "data" / "ML-100K"
        shutil.copytree(data_dir / "ML-100K", folder, ignore=shutil.ignore_patterns("feedback"))
        flags = ["--dataset", "ML-100K", "--llm", llm.resolve(), "--llm_mode", mode]
        flags += ["--data_dir", folder.parent, "--result_dir", Path(temporary) / "result"]
        flags += ["--epochs", "1", "--llm_batch_tokens", "1024"]
        command = [sys.executable, str(ROOT / "main.py"), *map(str, flags)]
        path = folder / "feedback" / f"{llm.resolve().name}-{mode}" / "answers.jsonl"
        done, before, lost = 0, set(), 0
        while done < kills:
            process = subprocess.Popen(command, **QUIET)
            wait_for_answers(process, path)
            time.sleep(moment.random() * 0.3)
            process.send_signal(signal.SIGKILL)
            if process.wait() != -signal.SIGKILL:
                break  # all was asked before the kills were used up
            done += 1
            now = set(keys_in(path))
            lost += len(before - now)  # what was there must stay
            before = now
        # once more to the end
        subprocess.run(command, check=True, **QUIET)
        keys = keys_in(path)
        doubled = len(keys) - len(set(keys))
        print(
            f"kill -9, mode {mode}: {done} kills, {len(keys)} answers, "
            f"{lost} lost, {doubled} doubled"
        )
    return keys


def wait_for_answers(process, path):
    """Until the process has written some, or has ended."""
    before = size(path)
    while process.poll() is None and size(path) <= before:
        time.sleep(0.005)


def size(path):
    return path.stat().st_size if path.exists() else 0


def keys_in(path):
    _, records, _ = read(path)
    return [key(record) for record in records]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("llm", type=Path, help="a causal model's folder, or a .gguf file")
    parser.add_argument(
        "--data_dir", type=Path, default=ROOT / "data", help="where ML-100K is or goes"
    )
    parser.add_argument("--users", type=int, default=60, help="ask about so many users; 0: all")
    parser.add_argument("--kills", type=int, default=10, help="of the whole command; 0: none")
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
    for mode in ("score", "generate"):
        flags = RefinementSettings()
        every_question = questions(train, mode, flags)
        chosen = set(list(train.candidates)[: options.users or None])
        todo = [question for question in every_question if question.user in chosen]
        lm = CausalLM(weights, device, flags, mode, "movies")
        whole = CausalLM(weights, device, flags, "generate", "movies")
        compare(lm, whole, mode, todo, train, texts)
        if options.kills:
            keys = kill(options.llm, mode, options.data_dir, options.kills)
            every = {question.key for question in every_question}
            missing = every - set(keys)
            print(f"  questions of all users without an answer: {len(missing)}", flush=True)


if __name__ == "__main__":
    main()
