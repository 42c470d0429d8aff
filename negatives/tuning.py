"""Fine-tuning of the encoder on supervising negatives.

    q = query(u,i),  a = doc(j*),  b = doc(i)        j*: the supervising negative of the pair (mining.py)
    L = mean over k, l of softplus((cos(q_k, b_l) - cos(q_k, a_k)) / TAU)

Every liked item of the batch stands against every query, but for the rows l whose liked item is row k's own j*.  LoRA
and projectors are trained, nothing else.  tuning.pt is written every SAVE_STEPS steps, so that a tuning that was killed
ends bit for bit as one left alone.
"""

import json
import time

import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

from machine.hardware import out_of_memory
from negatives.encoder import seeded
from negatives.mining import held_out_users
from training.checkpoint import BROKEN, save
from utils import InputError, write_atomically

TUNING_VERSION = 1  # raise it when the same triplets would give other weights
TAU = 0.05
SAVE_STEPS = 25
LAST_STEPS = 25  # over which the loss at the end is averaged


def contrast(q, a, b, keep):
    """The loss.  q, a, b: (B, D).  keep: (B, B) bool, False for the pairs (k, l) left out."""
    q, a, b = (F.normalize(side, dim=1) for side in (q, a, b))
    own = (q * a).sum(1, keepdim=True)  # (B, 1) cos(q_k, a_k)
    each = F.softplus((q @ b.t() - own) / TAU)  # (B, B)
    return (each * keep).sum() / keep.sum()


def batch_loss(encoder, inputs, triplets):
    """triplets: (B, 3) array of user, liked item, supervising negative."""
    users, liked, wanted = triplets.T
    queries = [inputs.query(user, item) for user, item in zip(users, liked, strict=True)]
    documents = [inputs.document(item) for item in np.concatenate((wanted, liked))]
    a, b = encoder(documents).chunk(2)  # (B, D) each
    keep = torch.from_numpy(wanted[:, None] != liked[None, :]).to(encoder.device)  # (B, B)
    return contrast(encoder(queries), a, b, keep)


class Tuning:
    """A tuning on its way, from tuning.pt on where there is one."""

    def __init__(self, encoder, inputs, triplets, options, folder):
        """triplets: (n, 3), without those held out.  Raises InputError where they do not make a batch."""
        self.encoder, self.inputs, self.triplets = encoder, inputs, triplets
        self.options, self.folder = options, folder
        self.batch_size = options.hn_tune_batch
        if len(triplets) < self.batch_size:
            raise InputError(
                f"--hn_triplets {options.hn_triplets}: {len(triplets)} are left to tune on, less than --hn_tune_batch "
                f"{self.batch_size}; take more triplets or a smaller batch"
            )
        self.steps_an_epoch = len(triplets) // self.batch_size
        self.n_steps = options.hn_tune_epochs * self.steps_an_epoch
        self.step, self.losses, self.seconds = 0, [], 0.0
        self.path = folder / "tuning.pt"

    def run(self):
        """Tune, and save the adapter."""
        encoder, options = self.encoder, self.options
        with seeded(options.llm_seed, encoder.device):  # initial values and dropout
            encoder.add_lora(options.hn_lora_rank)
            weights = encoder.trainable()
            self.optimizer = torch.optim.AdamW(weights.values(), lr=options.hn_tune_rate)
            self.go_on()
            encoder.train()
            began = time.perf_counter() - self.seconds
            with tqdm(total=self.n_steps, initial=self.step, desc="tuning", unit="step", disable=None) as bar:
                while self.step < self.n_steps:
                    self.one_step(list(weights.values()))
                    bar.update()
                    if self.step % SAVE_STEPS == 0 or self.step == self.n_steps:
                        self.seconds = time.perf_counter() - began
                        self.save()
            encoder.eval()
        encoder.save(self.folder)

    def figures(self):
        """Of the log, as JSON values."""
        return {
            "steps": self.n_steps,
            "loss_first": self.losses[0],
            "loss_last": round(float(np.mean(self.losses[-LAST_STEPS:])), 6),
            "seconds_per_step": round(self.seconds / self.n_steps, 3),
        }

    def one_step(self, weights):
        loss = batch_loss(self.encoder, self.inputs, self.triplets[self.places()])
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        self.optimizer.step()
        self.losses.append(round(loss.item(), 6))
        self.step += 1

    def places(self):
        """The triplets of the next step; each epoch has an order of its own."""
        epoch, step = divmod(self.step, self.steps_an_epoch)
        order = np.random.default_rng([self.options.llm_seed, 5, epoch]).permutation(len(self.triplets))
        return order[step * self.batch_size : (step + 1) * self.batch_size]

    def save(self):
        generators = {"torch": torch.get_rng_state()}  # of dropout
        if self.encoder.device.type == "cuda":
            generators["cuda"] = torch.cuda.get_rng_state(self.encoder.device)
        state = {
            "weights": self.encoder.trainable(), "optimizer": self.optimizer.state_dict(), "generators": generators,
            "step": self.step, "losses": self.losses, "seconds": self.seconds,
        }  # fmt: skip
        lines = "".join(json.dumps({"step": n, "loss": loss}) + "\n" for n, loss in enumerate(self.losses, 1))
        write_atomically(self.folder / "tuning.jsonl", lambda path: path.write_text(lines, encoding="utf-8"))
        save(self.path, state)

    def go_on(self):
        """Put back what tuning.pt holds.  Raises InputError where it is not whole, or of another tuning."""
        if not self.path.exists():
            return
        try:
            state = torch.load(self.path, weights_only=True, map_location=self.encoder.device)
            with torch.no_grad():
                for name, weight in self.encoder.trainable().items():
                    weight.copy_(state["weights"][name])
            self.optimizer.load_state_dict(state["optimizer"])
            torch.set_rng_state(state["generators"]["torch"].cpu())
            if "cuda" in state["generators"]:
                torch.cuda.set_rng_state(state["generators"]["cuda"].cpu(), self.encoder.device)
            self.step, self.losses, self.seconds = state["step"], state["losses"], state["seconds"]
        except BROKEN as error:
            if out_of_memory(error):
                raise
            why = f"is no whole checkpoint of this tuning ({' '.join(str(error).split())[:80]})"
            raise InputError(f"{self.path}: {why}; delete it to tune anew") from None


def card(encoder, inputs, known, triplets, seed):
    """What the tuning is worth on triplets of users it has not seen, as JSON values.

    above_liked     share with cos(q,a) > cos(q,b): what was trained
    above_random    share with cos(q,a) > cos(q, an item drawn from the unrated ones); chance is .5
    other_vectors   the same with the CF vectors of other users and items in the slots: what the text alone gives
    """
    if not len(triplets):
        return {"triplets": 0, "above_liked": None, "above_random": None, "other_vectors": None}
    generator = np.random.default_rng([seed, 6])
    random = np.array([generator.choice(known.unrated(user)) for user in triplets[:, 0]])
    documents = {}
    for name, items in (("wanted", triplets[:, 2]), ("liked", triplets[:, 1]), ("random", random)):
        documents[name] = unit(encoder, [inputs.document(item) for item in items])
    queries = [inputs.query(user, item) for user, item, _ in triplets]
    q = unit(encoder, queries)
    others = unit(encoder, with_other_vectors(queries, known, generator))

    def share_above(queries, name):
        return round(float(((queries * documents["wanted"]).sum(1) > (queries * documents[name]).sum(1)).mean()), 4)

    figures = {"above_liked": share_above(q, "liked"), "above_random": share_above(q, "random")}
    return {"triplets": len(triplets), **figures, "other_vectors": share_above(others, "random")}


def with_other_vectors(rows, known, generator):
    """The same rows with random users and items in the slots."""
    many = {"user": len(known.user_ids), "item": len(known.item_ids)}
    changed = []
    for row in rows:
        slots = [(place, kind, int(generator.integers(many[kind]))) for place, kind, _ in row.slots]
        changed.append(type(row)(row.ids, slots))
    return changed


def unit(encoder, rows):
    """Unit vectors (n, D) of rows."""
    vectors = encoder.encode_all(rows)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def split(triplets, known, seed):
    """(triplets to tune on, triplets of the users held out)"""
    held_out = held_out_users(len(known.user_ids), seed)[triplets[:, 0]]
    return triplets[~held_out], triplets[held_out]
