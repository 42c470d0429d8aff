"""Fine-tuning of the encoder on supervising negatives.

    q = query(u,i),  a = doc(j*),  b = doc(i)        j*: the supervising negative of the pair (mining.py)
    L = mean over k, l of softplus((cos(q_k, n_l) - cos(q_k, a_k)) / TAU)    n: every b_l, and every a_l but a_k

Every liked item of the batch stands against every query, as released, and so does every other row's hard negative:
against liked items alone one and the same query would do for all pairs, that tells what is hard from what is liked.
Left out are the rows l whose liked item is row k's own j*, and whose hard negative is that, too, is of the same user,
or rated 1 or 2 by row k's user in train: it would suit row k as well.  LoRA and projectors are trained, nothing else.
tuning.pt is written every SAVE_STEPS steps, so that a tuning that was killed ends bit for bit as one left alone.
"""

import json
import time

import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

from llm.encoder import unit_rows
from machine.hardware import out_of_memory
from negatives.encoder import seeded
from negatives.inputs import Row
from negatives.mining import nearest_documents
from options.negatives import TUNING_BATCH
from training.checkpoint import BROKEN, save
from utils import InputError, write_atomically

TUNING_VERSION = 2  # raise it when the same triplets would give other weights
EPOCHS = 2  # passes over the triplets
TAU = 0.05
SAVE_STEPS = 25
LAST_STEPS = 25  # over which the loss at the end is averaged


def contrast(q, a, b, of_liked, of_wanted):
    """The loss.  q, a, b: (B, D).  of_liked, of_wanted: (B, B) bool, whether b_l and a_l are negatives of row k."""
    q, a, b = (F.normalize(side, dim=1) for side in (q, a, b))
    own = (q * a).sum(1, keepdim=True)  # (B, 1) cos(q_k, a_k)
    each = F.softplus((q @ torch.cat((b, a)).t() - own) / TAU)  # (B, 2 B)
    keep = torch.cat((of_liked, of_wanted), 1)
    return (each * keep).sum() / keep.sum()


def batch_loss(encoder, inputs, known, triplets):
    """triplets: (B, 3) array of user, liked item, supervising negative.  known: profiles.Known."""
    users, liked, wanted = triplets.T
    queries = [inputs.query(user, item) for user, item in zip(users, liked, strict=True)]
    documents = [inputs.document(item) for item in np.concatenate((wanted, liked))]
    a, b = encoder(documents).chunk(2)  # (B, D) each
    of_liked = wanted[:, None] != liked[None, :]  # (B, B)
    of_wanted = (wanted[:, None] != wanted[None, :]) & (users[:, None] != users[None, :])
    of_wanted &= ~np.stack([np.isin(wanted, known.disliked(user)) for user in users])
    keep = (torch.from_numpy(side).to(encoder.device) for side in (of_liked, of_wanted))
    return contrast(encoder(queries), a, b, *keep)


class Tuning:
    """A tuning on its way, from tuning.pt on where there is one."""

    def __init__(self, encoder, inputs, known, triplets, settings, folder):
        """triplets: (n, 3), without those held out.  Raises InputError where they do not make a batch."""
        if len(triplets) < TUNING_BATCH:
            few = f"{len(triplets)} are left to tune on, less than one batch of {TUNING_BATCH}"
            raise InputError(f"--hn_triplets {settings.hn_triplets}: {few}; take more triplets")
        self.encoder, self.inputs, self.known, self.triplets = encoder, inputs, known, triplets
        self.settings, self.folder, self.path = settings, folder, folder / "tuning.pt"
        self.step, self.losses, self.seconds = 0, [], 0.0

    def run(self):
        """Tune, and save the adapter; returns figures of the log, as JSON values."""
        encoder, settings = self.encoder, self.settings
        n_steps = EPOCHS * (len(self.triplets) // TUNING_BATCH)
        with seeded(settings.llm_seed, encoder.device):  # initial values and dropout
            encoder.add_lora()
            weights = list(encoder.trainable().values())
            self.optimizer = torch.optim.AdamW(weights, lr=settings.hn_tune_rate)
            self.go_on()
            encoder.train()
            began = time.perf_counter() - self.seconds
            with tqdm(total=n_steps, initial=self.step, desc="tuning", unit="step", disable=None) as bar:
                while self.step < n_steps:
                    self.one_step(weights)
                    bar.update()
                    if self.step % SAVE_STEPS == 0 or self.step == n_steps:
                        self.seconds = time.perf_counter() - began
                        self.save()
            encoder.eval()
        encoder.save(self.folder)
        return {
            "steps": n_steps,
            "loss_first": self.losses[0],
            "loss_last": round(float(np.mean(self.losses[-LAST_STEPS:])), 6),
            "seconds_per_step": round(self.seconds / n_steps, 3),
        }

    def one_step(self, weights):
        # each epoch has an order of its own
        epoch, step = divmod(self.step, len(self.triplets) // TUNING_BATCH)
        order = np.random.default_rng([self.settings.llm_seed, 5, epoch]).permutation(len(self.triplets))
        batch = self.triplets[order[step * TUNING_BATCH : (step + 1) * TUNING_BATCH]]
        loss = batch_loss(self.encoder, self.inputs, self.known, batch)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        self.optimizer.step()
        self.losses.append(round(loss.item(), 6))
        self.step += 1

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


def measure(encoder, inputs, known, triplets, seed):
    """What the tuning is worth on triplets of users it has not seen, as JSON values, None where nothing can be said.

    above_liked       share with cos(q,a) > cos(q,b): what was trained, and what a constant query can do
    above_random      share with cos(q,a) > cos(q, an item drawn from the unrated ones); chance is .5
    above_others      the same with the hard negative of another user, drawn from those that this one has not rated
    other_vectors     above_random with the CF vectors of other users and items in the slots: what the text alone gives
    distinct_items    different items among those whose documents are nearest to the queries
    distinct_wanted   different items among the supervising negatives
    query_cosine      mean cosine of two queries

    A constant query shows as above_others of .5, few distinct_items and a query_cosine near 1.
    """
    generator, n = np.random.default_rng([seed, 6]), len(triplets)
    users, liked, wanted = triplets.T
    random = np.array([generator.choice(known.unrated(user)) for user in users], int)
    documents = unit_rows(encoder.encode_all([inputs.document(item) for item in range(len(known.item_ids))]))  # (I, D)
    queries = [inputs.query(user, item) for user, item in zip(users, liked, strict=True)]
    q = unit_rows(encoder.encode_all(queries))  # (n, D)
    changed = unit_rows(encoder.encode_all(with_other_vectors(queries, known, generator)))
    others = draw_hard_for_others(known, triplets, generator)

    def share_above(queries, items):
        among = items >= 0
        above = (queries * documents[wanted]).sum(1) > (queries * documents[items]).sum(1)
        return round(float(above[among].mean()), 4) if among.any() else None

    nearest, _ = nearest_documents(q, documents, triplets[:, :2])
    cosine = round(float((np.square(q.sum(0)).sum() - n) / (n * (n - 1))), 4) if n > 1 else None
    return {
        "triplets": n,
        "above_liked": share_above(q, liked),
        "above_random": share_above(q, random),
        "above_others": share_above(q, others),
        "other_vectors": share_above(changed, random),
        "distinct_items": len(np.unique(nearest)) if n else None,
        "distinct_wanted": len(np.unique(wanted)) if n else None,
        "query_cosine": cosine,
    }


def draw_hard_for_others(known, triplets, generator):
    """(n,) for each triplet a hard negative of another user that its own user has not rated, -1 where there is none."""
    users, _, wanted = triplets.T
    drawn = np.full(len(triplets), -1)
    for row, user in enumerate(users):
        fitting = (users != user) & (wanted != wanted[row]) & np.isin(wanted, known.unrated(user))
        if fitting.any():
            drawn[row] = generator.choice(wanted[fitting])
    return drawn


def with_other_vectors(rows, known, generator):
    """The same rows with random users and items in the slots."""
    many = {"user": len(known.user_ids), "item": len(known.item_ids)}
    changed = []
    for row in rows:
        slots = [(place, kind, int(generator.integers(many[kind]))) for place, kind, _ in row.slots]
        changed.append(Row(row.ids, slots))
    return changed
