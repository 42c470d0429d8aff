"""Gradients and predictions of a small policy by as many processes as torchrun starts; the first writes them to a file.

    python -m torch.distributed.run --nproc_per_node 2 tests/helpers/two_processes.py WORLD FILE
"""

import sys
from pathlib import Path
from types import SimpleNamespace

import conrec_models
import torch

from conrec.data.events import read
from conrec.decoder.policy import Policy
from conrec.learning import steps, tasks
from conrec.learning.chain import Known
from machine import processes
from utils import is_first

OPTIONS = SimpleNamespace(conrec_reward="c", conrec_gamma=0.5, conrec_prompts=5, conrec_group=4, conrec_beta=0.1)


def results(world):
    """{name: tensor}"""
    processes.join(torch.device("cpu"))
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    events, _ = read(Path(world))
    backbone, trie, catalog = conrec_models.tiny(conrec_models.catalog(events.n_items))
    policy, known = Policy(events, backbone, trie, shown=(5, 5), n_beams=20, budget=400), Known(events)
    by_name = {
        "warmup": tasks.Warmup(policy, None),
        "grpo": tasks.Grpo(policy, catalog, "both", None, OPTIONS),
    }
    found = {}
    for number, (name, task) in enumerate(by_name.items()):
        loop = steps.Loop(backbone, task, steps.Plan(name, number, 10, 1e-3, 7, 400))
        figures = loop.gradients(task.batch(loop.rng()))  # no dropout: the backbone is in eval()
        found |= {f"{name} {key}": torch.tensor(value) for key, value in figures.items()}
        for key, weight in backbone.trainable().items():
            found[f"{name} {key}"] = weight.grad.clone()
    items, logprobs = policy.predict(known.test.users, known.test.positions, "both")
    return found | {"items": torch.from_numpy(items), "logprobs": torch.from_numpy(logprobs)}


if __name__ == "__main__":
    with processes.together():
        content = results(sys.argv[1])
        if is_first():
            torch.save(content, sys.argv[2])
