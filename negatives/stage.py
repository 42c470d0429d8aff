"""Hard negatives made by a language model, before HNLMRec is trained.

    prepare     train ratings, item texts, CF vectors -> the folder's vectors, and what they are worth

Profiles are written (negatives/profiles.py, writing.py), supervising negatives mined (mining.py), an encoder tuned on
them (inputs.py, encoder.py, tuning.py), the vector of each train positive made and filtered (making.py), and all of it
measured (report.py).  Each step is skipped when its result is on disk.  Only train rows and item texts enter it; the
report alone looks further.
"""

from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from llm.answers import Answers
from llm.weights import ATTENTION, dtype_of, is_causal, model_folder, revision
from negatives import mining, tuning, vectors, writing
from negatives.arrays import Progress, read_settings, write_array
from negatives.encoder import BATCH_SIZE, RANK
from negatives.inputs import FRAME_VERSION, Inputs, Texts
from negatives.making import Work, route_a, route_b
from negatives.profiles import TEMPLATE_VERSION, Known, Templates
from negatives.report import held_out_items, report, report_lines
from options.negatives import TUNING_BATCH
from preparation.titles import domain_of
from utils import InputError, hash_of, locked, remembered_sha256, sha256, write_json

VECTORS_VERSION = 1  # raise it when the same profiles would give other vectors


def prepare(name, folder, items, train_csv, data, cf_vectors, settings, device, log=print):
    """(vectors.HardNegatives, report card for summary.json, {"folder", "sha256", "width"} for config.json).

    items: titles.item_table.  train_csv: the file that `data` was loaded from.  cf_vectors: () -> (U + I, d)
    float32 array, called where cf.npy is not there.  settings: HnlmrecSettings.  Raises InputError.
    """
    if settings.hn_folder:
        out = Path(settings.hn_folder)
    else:
        with locked(folder / "negatives", log):
            out = Stage(name, folder, items, train_csv, data, settings, device, log).run(cf_vectors)
    hard = vectors.read(out, data, settings.hard, settings.random_seed, device)
    card = read_settings(out / "report.json")
    log(f"hard negatives: {out}", *(report_lines(card) if "yardsticks" in card else []))
    hashes = {file: remembered_sha256(out / file) for file in ("vectors.npy", "status.npy")}
    return hard, card, {"folder": str(out), "sha256": hashes, "width": hard.width}


def read_card(out):
    card = read_settings(out / "report.json")
    if "yardsticks" not in card:
        raise InputError(f"{out}/report.json: is no report card; delete it to have it made anew")
    return card


class Stage:
    """One folder of vectors, from top to bottom."""

    def __init__(self, name, folder, items, train_csv, data, settings, device, log):
        if items.empty:
            raise InputError(f"--dataset {name}: has no .item file, so no texts to make negatives of; add it")
        self.data, self.settings, self.device, self.log = data, settings, device, log
        self.source = vectors.SOURCES[settings.hard]
        self.known = Known(data, items)
        self.base = folder / "negatives" / ratings_name(folder, train_csv)
        self.of_ratings = {"ratings": sha256(train_csv), "texts": hash_of(self.known.texts)}
        self.domain = domain_of(name, settings)
        self.writer = None  # the template
        if settings.hn_url:
            self.writer = writing.ServerWriter(settings)
        elif settings.hn_writer != "template":
            weights = model_folder(settings.hn_writer, settings.data_dir, "--hn_writer")
            self.writer = writing.LocalWriter(weights, settings, device)
        self.writer_name = self.writer.name if self.writer else "template"
        is_path = Path(settings.hn_encoder).is_dir()
        self.encoder_name = Path(settings.hn_encoder).name if is_path else settings.hn_encoder
        self.weights = model_folder(settings.hn_encoder, settings.data_dir, "--hn_encoder")
        self.written = {}  # kind -> how many answers have which status, for the card

    def run(self, cf_vectors):
        """Make what is not there yet; returns the folder."""
        texts, inputs = self.write_profiles(), None
        if not (self.base / "cf.npy").exists():
            # a model or --hn_tokens that will not do shows before the CF run, which takes minutes
            inputs = self.make_inputs(texts)
        cf = self.cf_table(cf_vectors)
        out = self.base / f"{self.writer_name}-{Path(self.encoder_name).name}-{self.source}"
        progress = Progress(out, self.made_of(texts))
        held_out = held_out_items(self.data)
        version = hash_of([f"{user}: {items.tolist()}" for user, items in held_out.items()])
        if progress.finished.get("report") == version and (out / "report.json").exists():
            return out
        self.log(f"hard negatives: making {out}")
        known, settings = self.known, self.settings
        scores = mining.Scores(cf, len(known.user_ids))
        pairs = mining.choose_pairs(known.pairs, settings.hn_pairs, settings.llm_seed)
        inputs = inputs or self.make_inputs(texts)
        work = Work(progress, known, inputs, scores, pairs, self.source, self.weights, settings, self.device)
        if self.source == "text":
            found = route_a(work, partial(self.write_titles, texts, scores, pairs))
        else:
            found = route_b(work)
        write_array(out / "status.npy", found.status)
        self.write_ids(out)
        card = {"writer": self.writer_name, "encoder": self.encoder_name, "source": self.source}
        card |= report(known, held_out, scores, found)
        card |= {"written": self.written, "tuning": progress.finished.get("tuning")}
        write_json(out / "report.json", card)
        progress.note("report", version)
        return out

    def made_of(self, texts):
        """What the vectors depend on, for settings.json."""
        o = self.settings
        causal = is_causal(self.weights, "--hn_encoder")
        made_of = {
            "source": self.source, **self.of_ratings, "cf": sha256(self.base / "cf.npy"), "writer": self.writer_name,
            "profiles": hash_of([*texts.users, *texts.items]), "encoder": self.encoder_name,
            "revision": revision(self.weights), "attention": ATTENTION,
            "dtype": dtype_of(o, self.device) if causal else "float32", "pooling": "last" if causal else "mean",
            "frame": FRAME_VERSION, "method": VECTORS_VERSION, "tokens": o.hn_tokens, "pairs": o.hn_pairs,
            "batch_size": BATCH_SIZE, "seed": o.llm_seed,
        }  # fmt: skip
        if self.source == "tuned":
            made_of |= {"tuning": tuning.TUNING_VERSION, "triplets": o.hn_triplets, "epochs": tuning.EPOCHS}
            made_of |= {"batch": TUNING_BATCH, "rate": o.hn_tune_rate, "rank": RANK}
        return made_of

    def make_inputs(self, texts):
        return Inputs(self.encoder_name, self.weights, texts, self.settings.hn_tokens, slots=self.source == "tuned")

    def cf_table(self, cf_vectors):
        """(U + I, d) float32: cf.npy, of the CF run with these ratings."""
        path = self.base / "cf.npy"
        progress = Progress(self.base, self.of_ratings | {"seed": self.settings.llm_seed})
        if not path.exists():
            write_array(path, np.asarray(cf_vectors(), np.float32))
            self.write_ids(self.base)
            progress.note("cf")
        nodes = len(self.known.user_ids) + len(self.known.item_ids)
        return vectors.load_array(path, np.float32, (nodes, None))

    def write_ids(self, folder):
        write_json(folder / "ids.json", {"users": self.known.user_ids, "items": self.known.item_ids})

    # ------------------------------------------------------------------------------------------ profiles and titles

    def answers(self, file, fields):
        """An Answers file of the writer's."""
        made_with = {**self.of_ratings, "writer": self.writer_name}
        if self.writer:
            made_with |= {"prompts": writing.WRITING_VERSION, "domain": self.domain, **self.writer.settings}
            made_with |= {"profile": self.settings.llm_profile}
        else:
            made_with |= {"template": TEMPLATE_VERSION}
        return Answers(self.base / self.writer_name / file, made_with, fields)

    def ask(self, asked, answers, words):
        """Have the writer answer, and write down what it says."""
        asked = list(asked)
        for record in tqdm(self.writer.answer(asked), total=len(asked), desc=words, unit="answer", disable=None):
            answers.add(record)

    def write_profiles(self):
        """Texts: of every item, and then of every user; "" where the writer gave none."""
        known = self.known
        with self.answers("profiles.jsonl", ("kind", "id", "summarization", "status")) as answers:
            records = answers.records
            done = {(record["kind"], record["id"]) for record in records}
            if self.writer:
                self.ask(writing.item_profiles(known, self.domain, done), answers, "item profiles")
                items = summaries(records, "item", known.item_ids)  # users' profiles are made of them
                users = writing.user_profiles(known, self.domain, done, items, self.settings.llm_profile)
                self.ask(users, answers, "user profiles")
            else:
                for record in Templates(known).records():
                    if (record["kind"], record["id"]) not in done:
                        answers.add(record)
        for kind in ("item", "user"):
            self.written[f"{kind}s"] = Counter(record["status"] for record in records if record["kind"] == kind)
        items, users = summaries(records, "item", known.item_ids), summaries(records, "user", known.user_ids)
        return Texts(users, items, known.titles)

    def write_titles(self, texts, scores, pairs, text_vectors):
        """Route A: (written title or "", item it is known to mean or -1), of each pair."""
        known = self.known
        with self.answers("titles.jsonl", ("user", "item", "hard_negative", "status")) as answers:
            done = {(record["user"], record["item"]) for record in answers.records}
            if self.writer:
                asked = writing.titles(known, self.domain, done, pairs, texts.users, texts.items)
                self.ask(asked, answers, "titles")
            elif len(done) < len(pairs):
                for record in mining.template_titles(known, pairs, scores, text_vectors, done):
                    answers.add(record)
            record_of = {(record["user"], record["item"]): record for record in answers.records}
        number_of = {token: item for item, token in enumerate(known.item_ids)}
        catalogue, titles, meant = mining.Titles(known), [], []
        self.written["titles"] = Counter()
        for user, item in pairs:
            record = record_of[known.user_ids[user], known.item_ids[item]]
            title = record["hard_negative"] if record["status"] == "ok" else ""
            titles.append(title)
            # a template names the item itself, since several may have the same title
            meant.append(number_of[record["id"]] if title and "id" in record else catalogue.item(title))
            self.written["titles"][record["status"]] += 1
        if not any(titles):
            where = self.base / self.writer_name / "titles.jsonl"
            raise InputError(f"{where}: not one title in it can be read; take another --hn_writer, or --hard tuned")
        return titles, np.array(meant)


def summaries(records, kind, ids):
    """The profiles of these ids, "" where there is none: raw text never becomes one."""
    text_of = {r["id"]: r["summarization"] for r in records if r["kind"] == kind and r["status"] == "ok"}
    return [text_of.get(token, "") for token in ids]


def ratings_name(folder, train_csv):
    """"original", "augment" for labels that came as a file, or the name of the refinement's folder."""
    if train_csv.parent != folder:
        return train_csv.parent.name
    return "original" if train_csv.name.endswith("_train_original.csv") else "augment"
