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

from llm.answers import Answers
from llm.weights import ATTENTION, dtype_of, is_causal, model_folder, revision
from negatives import mining, tuning, vectors, writing
from negatives.arrays import Progress, read_settings, write_array
from negatives.encoder import BATCH_SIZE
from negatives.inputs import FRAME_VERSION, Inputs, Texts
from negatives.making import Work, route_a, route_b
from negatives.profiles import TEMPLATE_VERSION, Known, Templates
from negatives.report import held_out_items, report, report_lines
from preparation.titles import domain_of
from utils import InputError, hash_of, locked, remembered_sha256, sha256, write_json

VECTORS_VERSION = 1  # raise it when the same profiles would give other vectors


def prepare(name, folder, items, train_csv, data, cf_vectors, options, device, log=print):
    """(vectors.HardNegatives, report card for summary.json, {"folder", "sha256", "width"} for config.json).

    items: titles.item_table.  train_csv: the file that `data` was loaded from.  cf_vectors: () -> (U + I, d)
    float32 array, called where cf.npy is not there.  Raises InputError.
    """
    if options.hn_folder:
        out = Path(options.hn_folder)
    else:
        with locked(folder / "negatives", log):
            out = Stage(name, folder, items, train_csv, data, cf_vectors, options, device, log).run()
    hard = vectors.read(out, data, options.hard, options.random_seed, device)
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

    def __init__(self, name, folder, items, train_csv, data, cf_vectors, options, device, log):
        if items.empty:
            raise InputError(f"--dataset {name}: has no .item file, so no texts to make negatives of; add it")
        if options.hard in ("tuned", "shuffled") and options.hn_triplets < options.hn_tune_batch:
            few = f"less than one batch of --hn_tune_batch {options.hn_tune_batch}"
            raise InputError(f"--hn_triplets {options.hn_triplets}: {few}; take more, or a smaller batch")
        self.data, self.cf_vectors, self.options, self.device, self.log = data, cf_vectors, options, device, log
        self.source = vectors.SOURCES[options.hard]
        self.domain = domain_of(name, options)
        self.known = Known(data, items)
        self.base = folder / "negatives" / ratings_name(folder, train_csv)
        self.of_ratings = {"ratings": sha256(train_csv), "texts": hash_of(self.known.texts)}
        self.writer = self.pick_writer()
        self.writer_name = self.writer.name if self.writer else "template"
        is_path = Path(options.hn_encoder).is_dir()
        self.encoder_name = Path(options.hn_encoder).name if is_path else options.hn_encoder
        self.weights = model_folder(options.hn_encoder, options.data_dir, "--hn_encoder")
        self.written = {}  # kind -> how many answers have which status, for the card

    def pick_writer(self):
        """None for the template."""
        options = self.options
        if options.hn_url:
            return writing.ServerWriter(options, self.domain)
        if options.hn_writer == "template":
            return None
        weights = model_folder(options.hn_writer, options.data_dir, "--hn_writer")
        return writing.LocalWriter(weights, options, self.device, self.domain)

    def run(self):
        """Make what is not there yet; returns the folder."""
        texts, inputs = self.profiles(), None
        if not (self.base / "cf.npy").exists():
            # a model or --hn_tokens that will not do shows before the CF run, which takes minutes
            inputs = self.inputs(texts)
        cf = self.cf_table()
        scores = mining.Scores(cf, len(self.known.user_ids))
        out = self.base / f"{self.writer_name}-{Path(self.encoder_name).name}-{self.source}"
        progress = Progress(out, self.settings(texts))
        held_out = held_out_items(self.data)
        version = hash_of([f"{user}: {items.tolist()}" for user, items in held_out.items()])
        if progress.finished.get("report") == version and (out / "report.json").exists():
            return out
        self.log(f"hard negatives: making {out}")
        options, inputs = self.options, inputs or self.inputs(texts)
        pairs = mining.choose_pairs(self.known.pairs, options.hn_pairs, options.llm_seed)
        work = Work(progress, self.known, inputs, scores, pairs, self.source, self.weights, options, self.device)
        if self.source == "text":
            found = route_a(work, partial(self.titles, texts, scores, pairs))
        else:
            found = route_b(work)
        write_array(out / "status.npy", found.status)
        write_json(out / "ids.json", {"users": self.known.user_ids, "items": self.known.item_ids})
        card = {"writer": self.writer_name, "encoder": self.encoder_name, "source": self.source}
        card |= report(self.known, held_out, scores, found)
        card |= {"written": self.written, "tuning": progress.finished.get("tuning")}
        write_json(out / "report.json", card)
        progress.note("report", version)
        return out

    def settings(self, texts):
        """What the vectors depend on."""
        o = self.options
        causal = is_causal(self.weights, "--hn_encoder")
        settings = {
            "source": self.source, **self.of_ratings, "cf": sha256(self.base / "cf.npy"), "writer": self.writer_name,
            "profiles": hash_of([*texts.users, *texts.items]), "encoder": self.encoder_name,
            "revision": revision(self.weights), "attention": ATTENTION,
            "dtype": dtype_of(o, self.device) if causal else "float32", "pooling": "last" if causal else "mean",
            "frame": FRAME_VERSION, "method": VECTORS_VERSION, "tokens": o.hn_tokens, "pairs": o.hn_pairs,
            "batch_size": BATCH_SIZE, "seed": o.llm_seed,
        }  # fmt: skip
        if self.source == "tuned":
            settings |= {"tuning": tuning.TUNING_VERSION, "triplets": o.hn_triplets, "epochs": o.hn_tune_epochs}
            settings |= {"batch": o.hn_tune_batch, "rate": o.hn_tune_rate, "rank": o.hn_lora_rank}
        return settings

    # ------------------------------------------------------------------------------------------------ what is given

    def cf_table(self):
        """(U + I, d) float32: cf.npy, of the CF run with these ratings."""
        path = self.base / "cf.npy"
        progress = Progress(self.base, self.of_ratings | {"seed": self.options.llm_seed})
        if not path.exists():
            write_array(path, np.asarray(self.cf_vectors(), np.float32))
            write_json(self.base / "ids.json", {"users": self.known.user_ids, "items": self.known.item_ids})
            progress.note("cf")
        nodes = len(self.known.user_ids) + len(self.known.item_ids)
        return vectors.load_array(path, np.float32, (nodes, None))

    def inputs(self, texts):
        return Inputs(self.encoder_name, self.weights, texts, self.options.hn_tokens, slots=self.source == "tuned")

    # ------------------------------------------------------------------------------------------ profiles and titles

    def answers(self, file, fields):
        """An Answers file of the writer's."""
        settings = {**self.of_ratings, "writer": self.writer_name}
        if self.writer:
            settings |= {"prompts": writing.WRITING_VERSION, "domain": self.domain, **self.writer.settings}
            settings |= {"profile": self.options.llm_profile}
        else:
            settings |= {"template": TEMPLATE_VERSION}
        return Answers(self.base / self.writer_name / file, settings, fields)

    def profiles(self):
        """Texts: of every item, and then of every user; "" where the writer gave none."""
        with self.answers("profiles.jsonl", ("kind", "id", "summarization", "status")) as answers:
            done = {(record["kind"], record["id"]) for record in answers.records}
            for record in self.profile_records(answers, done):
                answers.add(record)
            records = answers.records
        for kind in ("item", "user"):
            self.written[f"{kind}s"] = Counter(record["status"] for record in records if record["kind"] == kind)
        items, users = self.summaries(records, "item"), self.summaries(records, "user")
        return Texts(users, items, self.known.titles)

    def profile_records(self, answers, done):
        if not self.writer:
            for record in Templates(self.known).records():
                if (record["kind"], record["id"]) not in done:
                    yield record
            return
        yield from self.ask(writing.item_profiles(self.known, self.domain, done), "item profiles")
        items = self.summaries(answers.records, "item")  # users' profiles are made of them
        users = writing.user_profiles(self.known, self.domain, done, items, self.options.llm_profile)
        yield from self.ask(users, "user profiles")

    def ask(self, asked, words):
        asked = list(asked)
        yield from writing.with_progress(self.writer.answer(asked), len(asked), words)

    def summaries(self, records, kind):
        """Profiles in number order, "" where there is none: raw text never becomes one."""
        text_of = {r["id"]: r["summarization"] for r in records if r["kind"] == kind and r["status"] == "ok"}
        ids = self.known.item_ids if kind == "item" else self.known.user_ids
        return [text_of.get(token, "") for token in ids]

    def titles(self, texts, scores, pairs, text_vectors):
        """Route A: (written title or "", item it is known to mean or -1), of each pair."""
        known, place_of = self.known, {token: item for item, token in enumerate(self.known.item_ids)}
        with self.answers("titles.jsonl", ("user", "item", "hard_negative", "status")) as answers:
            done = {(record["user"], record["item"]) for record in answers.records}
            if self.writer:
                asked = writing.titles(known, self.domain, done, pairs, texts.users, texts.items)
                records = self.ask(asked, "titles")
            elif len(done) < len(pairs):
                records = mining.template_titles(known, pairs, scores, text_vectors, done)
            else:
                records = ()
            for record in records:
                answers.add(record)
            record_of = {(record["user"], record["item"]): record for record in answers.records}
        catalogue, said, means = mining.Titles(known), [], []
        for user, item in pairs:
            record = record_of[known.user_ids[user], known.item_ids[item]]
            title = record["hard_negative"] if record["status"] == "ok" else ""
            meant = place_of[record["id"]] if "id" in record and title else catalogue.item(title)
            said.append(title)
            means.append(-1 if meant is None else meant)
        if not any(said):
            where = self.base / self.writer_name / "titles.jsonl"
            raise InputError(f"{where}: not one title in it can be read; take another --hn_writer, or --hard tuned")
        wanted = {(known.user_ids[user], known.item_ids[item]) for user, item in pairs}
        self.written["titles"] = Counter(record["status"] for key, record in record_of.items() if key in wanted)
        return said, np.array(means)


def ratings_name(folder, train_csv):
    """"original", "augment" for labels that came as a file, or the name of the refinement's folder."""
    if train_csv.parent != folder:
        return train_csv.parent.name
    return "original" if train_csv.name.endswith("_train_original.csv") else "augment"
