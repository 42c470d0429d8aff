"""Make a tiny causal language model that really works, as an ordinary local folder.  A TEST MODEL, good for no more.

    python tests/helpers/tiny_llm.py FOLDER                       train on data/ML-100K (fetched if need be) and save
    python main.py --dataset ML-100K --llm FOLDER         ask it

A Llama of two layers learns the product's own questions from the known ratings (1, 2, 4, 5) of every second user, so
its Yes or No about the others carries some signal: which films people like.  Asked to choose from a list it has learnt
how to answer, and to name the first and the last: no matter of taste, so that no answer hangs on a rounded digit.  It
learns until it does both by a margin, on whatever machine.  A base model, without a chat template; --chat gives it one
that ends as its lessons did.
"""

import argparse
import math
import sys
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from feedback import prompts
from feedback.questions import Question, whom_to_ask
from llm import messages
from preparation.files import STARS, read_ratings
from preparation.locate import locate
from preparation.splits import prepare
from preparation.titles import item_table, item_texts

DOMAIN, STEPS, BATCH_TOKENS, PROFILE = "movies", 500, 2048, 5
ROUNDS = 4  # of so many steps at most
LEAD, ORDERED = 1.5, 0.65  # what it must have learnt, see margins(); found after a round: 2.9 to 3.1, .70
VOCABULARY = 6000  # most words of the titles whole
CHAT = "{% for m in messages %}{{ m.content }}{{ '\\nAnswer:' if m.role == 'user' else '\\n' }}{% endfor %}"


def train_tokenizer(texts):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    special = ["<|end|>", "<|user|>", "<|assistant|>", "<|pad|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()  # so that any text can be spelled
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="<|end|>", pad_token="<|pad|>", model_max_length=1024,
        additional_special_tokens=special[1:3],
    )  # fmt: skip


def new_model(tokenizer):
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2,
            num_attention_heads=4, max_position_embeddings=1024, tie_word_embeddings=False,
            eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, bos_token_id=None,
        )
    )  # fmt: skip


def lesson(random, train, users, texts, score, shown):
    """(prompt, answer) as the product would ask in mode score or generate, about known ratings only.  shown: likes and
    dislikes in the profile at most.  In generate those at the ends of the list are liked, the others are not."""
    user = users[random.integers(len(users))]
    sides = [random.permutation(side) for side in train.likes_and_dislikes(user)]
    number = 1 if score else random.integers(4, 6)
    liked = random.random(1) < 0.5 if score else np.isin(np.arange(number), (0, number - 1))
    items = []
    for like in liked:
        items.append(sides[0][-1] if like else sides[1][-1])
        sides = [sides[0][:-1], sides[1]] if like else [sides[0], sides[1][:-1]]
    profile = [side[: random.integers(0, shown + 1)] for side in sides]
    question = Question(user, 0, 0, np.array(items), *profile)
    if score:
        content = prompts.about(DOMAIN, question, texts) + prompts.whether(DOMAIN, texts[items[0]], chat=False)
        answer = "Yes" if liked[0] else "No"
    else:
        content = prompts.pick(DOMAIN, question, texts, chat=False)
        answer = messages.answer([place + 1 for place in range(number) if liked[place]])
    return content, f" {answer}\n"


def teach(model, tokenizer, lessons, optimizer):
    """One step with as many (prompt, answer) of lessons() as fit into a batch."""
    rows, longest = [], 0
    while longest * (len(rows) + 1) < BATCH_TOKENS:
        prompt, answer = (tokenizer(part).input_ids for part in lessons())
        rows.append((prompt, answer))
        longest = max(longest, len(prompt) + len(answer))
    ids = torch.full((len(rows), longest), tokenizer.pad_token_id)
    labels = torch.full((len(rows), longest), -100)
    for row, (prompt, answer) in enumerate(rows):
        whole = torch.tensor(prompt + answer)
        ids[row, : len(whole)] = whole
        labels[row, len(prompt) : len(whole)] = whole[len(prompt) :]
    states = model.model(ids, attention_mask=(ids != tokenizer.pad_token_id).long()).last_hidden_state
    taught = labels[:, 1:] != -100  # (rows, tokens - 1)
    logits, truth = model.lm_head(states[:, :-1][taught]), labels[:, 1:][taught]  # (answer tokens, vocabulary)
    loss = torch.nn.functional.cross_entropy(logits, truth)
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


def margins(model, tokenizer, scoring, choosing):
    """(how far each right token leads the best other one, in nats, where it leads least; share of pairs of a liked and
    a disliked item in the right order by Yes minus No) over lessons of the two kinds."""
    yes, no = (tokenizer(f" {word}").input_ids[0] for word in ("Yes", "No"))
    leads, is_yes, scores = [], [], []
    with torch.no_grad():
        for prompt, answer in scoring:
            logits = model(torch.tensor([tokenizer(prompt).input_ids])).logits[0, -1]
            is_yes.append(answer == " Yes\n")
            scores.append(float(logits[yes] - logits[no]))
        for prompt, answer in choosing:
            prompt, answer = (tokenizer(part).input_ids for part in (prompt, answer))
            logits = model(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1]
            right = torch.tensor(answer)[:, None]
            others = logits.scatter(1, right, -torch.inf).max(1).values
            leads.append(float((logits.gather(1, right)[:, 0] - others).min()))
    return min(leads), float(roc_auc_score(is_yes, scores))


def build(folder, ratings, items, steps=STEPS):
    """Train and save to `folder`.  ratings: of read_ratings; items: titles.item_table; steps: of a round; 0: random
    weights.  A round that has not taught enough is followed by another one."""
    train = whom_to_ask(ratings, "confirmed")
    texts = item_texts(items, train.item_ids, genres=False)
    users = []
    for user in train.user_ids[::2]:
        if user in train.candidates and min(map(len, train.likes_and_dislikes(user))) > 5:
            users.append(user)
    random = np.random.default_rng(0)
    sample = ["".join(lesson(random, train, users, texts, score, PROFILE)) for score in [True, False] * 200]
    tokenizer = train_tokenizer([*texts, *sample, *map(str, range(100))])
    model = new_model(tokenizer)
    others = np.random.default_rng(1)
    trials = [lesson(others, train, users, texts, True, PROFILE * (n % 2)) for n in range(300)]
    trials = trials, [lesson(others, train, users, texts, False, 4 * PROFILE * (n % 2)) for n in range(60)]
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, betas=(0.9, 0.98), weight_decay=0.01)
    for _ in range(ROUNDS if steps else 0):
        for step in range(steps):
            rate = min(1, (step + 1) / 30) * (0.02 + math.cos(math.pi / 2 * step / steps))
            optimizer.param_groups[0]["lr"] = 2e-3 * rate
            kind = random.random() < 0.75, PROFILE if random.random() < 0.3 else 0
            teach(model, tokenizer, lambda kind=kind: lesson(random, train, users, texts, *kind), optimizer)
        lead, ordered = margins(model, tokenizer, *trials)
        print(f"tiny_llm: lead {lead:.2f}, {ordered:.3f} of pairs in order")
        if lead > LEAD and ordered > ORDERED:
            break
    if steps and (lead <= LEAD or ordered <= ORDERED):
        raise RuntimeError(f"has not learnt enough: lead {lead:.2f}, {ordered:.3f} of pairs in order")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    torch.set_num_threads(1)  # faster: there is little to share out
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="where to save it")
    parser.add_argument("--data_dir", type=Path, default=Path("data"))
    parser.add_argument("--chat", action="store_true", help="with a chat template")
    parser.add_argument("--steps", type=int, default=STEPS, help="of training; 0: random weights")
    options = parser.parse_args()
    name, raw, folder = locate("ML-100K", options.data_dir)
    prepare(name, raw, folder)
    ratings = read_ratings(folder / f"{name}_train_original.csv", ",", STARS)
    build(options.folder, ratings, item_table(raw), options.steps)
    if options.chat:
        (options.folder / "chat_template.jinja").write_text(CHAT)
    print(f"{options.folder}: a test model, good for nothing but trying things out")
