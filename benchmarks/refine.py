"""The LLM stage with a causal model: is it exact in batches, how much faster, and does it survive kill -9?

    python tests/tiny_llm.py tiny                       make a test model, or take any local folder with a causal model
    python benchmarks/refine.py tiny                    on the first 60 users of data/ML-100K, 10 kills
    python benchmarks/refine.py tiny --users 0          on all users (an hour on two cores)

"plain" reads the whole prompt of every item (score) or question (generate) alone, without padding and without a shared
profile.  All on the device and in the number type that main.py would use.  The kills hit the whole command.
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
sys.path.insert(0, str(ROOT))

import run_folder  # noqa: E402
import utils  # noqa: E402
from atomic_files.files import STARS, read_ratings  # noqa: E402
from atomic_files.preparation import item_table, locate, prepare  # noqa: E402
from feedback import prompts  # noqa: E402
from feedback.answers import key, read  # noqa: E402
from feedback.causal import CausalLM  # noqa: E402
from feedback.questions import item_texts, questions, whom_to_ask  # noqa: E402
from main import parse  # noqa: E402


def plain_scores(lm, question, texts):
    for text in dict.fromkeys(texts[item] for item in question.items):
        ids = lm.tokens_before(prompts.about(lm.domain, question, texts))
        ids += lm.tokens_after(prompts.whether(lm.domain, text, lm.chat))
        with torch.no_grad():
            logits = lm.model(torch.tensor([ids], device=lm.device)).logits[0, -1].float()
        yield float(logits[lm.yes] - logits[lm.no])


def compare(lm, mode, todo, asked, texts, plain):
    """Print questions a second in batches and one at a time, and how many answers are the same."""
    start = time.perf_counter()
    batched = {key(record): record for record in lm.answers(todo, asked, texts)}
    seconds = time.perf_counter() - start
    lm.budget, start, alone = 1, time.perf_counter(), {}
    for record in lm.answers(todo, asked, texts):
        alone[key(record)] = record
    seconds_alone = time.perf_counter() - start
    same = sum(batched[k]["verdicts"] == alone[k]["verdicts"] for k in alone)
    number = sum(len({texts[i] for i in q.items}) for q in todo) if mode == "score" else len(todo)
    print(f"{mode}: {len(todo)} questions about {len({q.user for q in todo})} users")
    print(f"  batched        {number / seconds:8.1f} {'items' if mode == 'score' else 'questions'} a second")
    print(f"  one question   {number / seconds_alone:8.1f}   batched is {seconds_alone / seconds:.1f} x faster")
    if mode == "score":
        some = plain or todo
        start = time.perf_counter()
        judged = sum(len(list(plain_scores(lm, question, texts))) for question in some)
        rate = judged / (time.perf_counter() - start)
        print(f"  plain          {rate:8.1f}   batched is {number / seconds / rate:.1f} x faster")
    print(f"  batched answers equal to those of one question at a time: {same} of {len(alone)}", flush=True)


def kill(llm, mode, data_dir, kills):
    """Start the whole command over and over, kill -9 it at a random moment of the asking, and count what is left."""
    moment = random.Random(0)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "data" / "ML-100K"
        shutil.copytree(data_dir / "ML-100K", folder, ignore=shutil.ignore_patterns("feedback"))
        flags = ["--dataset", "ML-100K", "--llm", llm.resolve(), "--llm_mode", mode, "--data_dir", folder.parent]
        flags += ["--result_dir", Path(temporary) / "result", "--epochs", "1", "--llm_batch_tokens", "1024"]
        command = [sys.executable, str(ROOT / "main.py"), *map(str, flags)]
        path = folder / "feedback" / f"{llm.resolve().name}-{mode}" / "answers.jsonl"
        done, quiet = 0, {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        before, lost = set(), 0
        while done < kills:
            process = subprocess.Popen(command, **quiet)
            size = path.stat().st_size if path.exists() else 0
            while process.poll() is None and (path.stat().st_size if path.exists() else 0) <= size:
                time.sleep(0.005)
            time.sleep(moment.random() * 0.3)
            process.send_signal(signal.SIGKILL)
            if process.wait() != -signal.SIGKILL:
                break  # all was asked before the kills were used up
            done += 1
            now = {key(record) for record in read(path)[1]}
            lost += len(before - now)
            before = now
        subprocess.run(command, check=True, **quiet)
        keys = [key(record) for record in read(path)[1]]
        doubled = len(keys) - len(set(keys))
        print(f"kill -9, mode {mode}: {done} kills, {len(keys)} answers, {lost} lost, {doubled} doubled")
    return keys


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("llm", type=Path, help="a causal model's folder")
    parser.add_argument("--data_dir", type=Path, default=ROOT / "data", help="where ML-100K is or goes")
    parser.add_argument("--users", type=int, default=60, help="ask about so many users; 0: all")
    parser.add_argument("--kills", type=int, default=10, help="of the whole command; 0: none")
    options = parser.parse_args()
    name, raw, folder = locate("ML-100K", options.data_dir)
    prepare(name, raw, folder, log=lambda *_: None)
    asked = whom_to_ask(read_ratings(folder / f"{name}_train_original.csv", ",", STARS), "confirmed")
    texts, device = item_texts(item_table(raw), asked.item_ids, genres=False), utils.pick_device("auto")
    machine = f"{utils.device_name(device)}, torch {torch.__version__}, commit {run_folder.commit()}"
    print(f"{machine}, model {options.llm}\n")
    for mode in ("score", "generate"):
        flags = parse(["--dataset", name])
        todo = questions(asked, mode, flags)
        chosen = set(list(asked.candidates)[: options.users or None])
        todo = [question for question in todo if question.user in chosen]
        compare(CausalLM(options.llm, device, flags, mode, "movies"), mode, todo, asked, texts, todo[:10])
        if options.kills:
            keys = kill(options.llm, mode, options.data_dir, options.kills)
            every = {question.key for question in questions(asked, mode, flags)}
            print(f"  questions of all users without an answer: {len(every - set(keys))}", flush=True)


if __name__ == "__main__":
    main()
