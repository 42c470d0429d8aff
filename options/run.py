"""The settings of every run: what to run, how to evaluate it, on what device, and where its files lie."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from options.flag import Settings, beside, flag, shared
from preparation.locate import protocol_of
from preparation.sources import DATASETS
from utils import InputError, require_table_path

READING = ("columns", "scale")
MODEL = "ReFINe++"  # the one that runs where none is named
GIVE_ONE = (
    "give --dataset to train, --recommend USER with --run PATH to look at a finished run (or --stars for somebody new, "
    "--similar ITEM), or --filter RUN with --run PATH to filter what it recommends"
)


@dataclass
class WhatToRun(Settings):
    """Which model is run on which data."""

    title = "what to run"

    dataset: str | None = flag(
        None, f"{', '.join(DATASETS)}, or the path of a folder or file with ratings of your own",
        named=False, common=True,
    )
    columns: str | None = flag(
        None, "which column of your own files is which, where their names do not say it: "
        "user=who,item=what,rating=how, also time, title, year and genre; - for none, numbers where a file has no line "
        "of names", named=False,
    )
    scale: str | None = flag(
        None, 'what your own ratings mean in stars: 1-10, 0.5-5 (half stars), "1=5,0=2", "1-10,0=drop": docs/data.md',
        named=False,
    )
    model: str = flag(MODEL, "the recommender to train", named=False, common=True)
    dataset_augment: str = flag(
        "original", "train on refined ratings, or on the ratings as they are (no refinement)",
        choices=["augment", "original"], named=False, common=True,
    )
    hold_out: str | None = flag(
        None, "hide a part of the dislikes (1s and 2s), too, and measure how many are shown: docs/dislikes.md",
        choices=["dislikes"], common=True,
    )
    split: str = flag(
        "random", "with --hold_out: what is held out of both kinds, as published or the last of a user's ratings",
        choices=["random", "time"],
    )
    random_seed: int = flag(
        2024, "of initial weights, shuffling and sampling", least=0, most=2**32 - 1, named=False, common=True
    )


@dataclass
class Evaluation(Settings):
    """How a model is evaluated, and where it computes."""

    title = "evaluation and device"

    test_batch_size: int = flag(
        1024, "users ranked at once: bounds memory, changes no result", least=1, named=False, free=True
    )
    top_k: list[int] = flag([5, 10, 15, 20], "cut-offs of the metrics", nargs="+", least=1)
    dislike_cost: float = flag(
        0, "with --hold_out: choose on validation by likes@20 less this times dislikes@20; 0: by Recall@20", least=0
    )
    device: str = flag("auto", "auto (CUDA if any), cpu, cuda, cuda:1", named=False, common=True)
    threads: int | None = flag(
        None, "of a CPU", least=1, named=False, action=True,
        default_words="as the machine has free and the model uses",
    )
    deterministic: bool = flag(False, "CUDA: the same numbers every time, slower; a CPU does so anyway", named=False)

    @property
    def chosen_by(self):
        """What score_of is called."""
        return f"likes@20 less {self.dislike_cost:g} x dislikes@20" if self.dislike_cost else "Recall@20"

    def score_of(self, metrics):
        """What epochs, grids and weights of blends are chosen by: Recall@20, or likes less dislikes shown at a cost.

        metrics: {"recall@20": mean, ...} on validation.
        """
        if not self.dislike_cost:
            return metrics["recall@20"]
        return metrics["likes@20"] - self.dislike_cost * metrics["dislikes@20"]


@dataclass
class Files(Settings):
    """Where the data sets and the run folders are."""

    title = "files"

    data_dir: Path = flag(Path("data"), "each data set has a folder in it", named=False, free=True)
    result_dir: Path = flag(
        Path("result"), "run folders are <result_dir>/<dataset>/<path_name>", named=False, free=True
    )
    path_name: str | None = flag(
        None, "name of the run folder", named=False, default_words="model, labels, changed flags and seed"
    )
    resume: bool = flag(
        False, "go on with the run in the run folder; with more --epochs also where these were all done",
        named=False, action=True, common=True,
    )
    json: bool = flag(
        False, "the last line on stdout is the result as one JSON object: summary.json and run_folder",
        named=False, action=True,
    )
    tensorboard: bool = flag(
        False, "write metrics.csv also as scalars for TensorBoard into the run folder (pip install tensorboard)",
        named=False, action=True,
    )


@dataclass
class RunSettings(Files, Evaluation, WhatToRun):
    """What every run has."""

    def __post_init__(self):
        self.top_k = sorted(set(self.top_k))

    def check(self):
        if self.path_name and Path(self.path_name).name != self.path_name:
            raise InputError(f"--path_name {self.path_name}: must be a name; --result_dir says where")
        if self.tensorboard and not find_spec("tensorboard"):
            raise InputError("--tensorboard: needs a package that is not installed; pip install tensorboard")

    @property
    def reading(self):
        """{flag: value} of how files of one's own are understood, without those that were not given."""
        return {name: value for name in READING if (value := getattr(self, name)) is not None}

    def idle(self):
        for name in READING:
            if getattr(self, name) is None:
                yield name, ""  # not given
        if self.hold_out is None:
            yield "hold_out", ""
            yield "split dislike_cost", "has no use without --hold_out dislikes"
        if self.device == "cpu":
            yield "deterministic", "--device cpu leaves it without a use; leave one of them out"

    @property
    def protocol(self):
        """The name of what is held out and how, "" for the published split."""
        return protocol_of(vars(self))

    @property
    def cut_offs(self):
        """--top_k and 20: early stopping needs Recall@20 whatever is printed."""
        return sorted({*self.top_k, 20})


@dataclass
class Training(Settings):
    """How a model that learns by gradient is trained."""

    title = "training"

    learning_rate: float = flag(1e-3, "of Adam", least=0)
    batch_size: int = flag(1024, "train edges a step", least=1)
    epochs: int = flag(1000, "at most this many", least=1, common=True)
    early_stopping_step: int = flag(50, "evaluations in a row without a better Recall@20", least=1)
    average_decay: float = flag(
        0, "evaluate and keep the running mean of the weights over steps, with this decay (such as 0.9995); 0: don't",
        least=0, most=0.999999,
    )
    evaluation_step: int = flag(1, "epochs between two evaluations", least=1)


@dataclass
class TrainingSettings(Training, RunSettings):
    """What a run of a model that learns by gradient has."""


@dataclass
class Looking(Settings):
    """Which finished run is looked at, and for what."""

    title = "looking at a finished run, instead of --dataset"

    recommend: str | None = flag(
        None, "print what the run recommends to this user and knows of them; with --out: or all, or a file of ids",
        metavar="USER", common=True,
    )
    stars: list[str] | None = flag(
        None, "print what the run recommends to somebody new who gave these stars, such as 50=5 172=4 1=2",
        nargs="+", metavar="ITEM=STARS",
    )
    similar: str | None = flag(None, "print the items that the run finds most like this one", metavar="ITEM")
    out: Path | None = flag(
        None, "write the lists of --recommend, --stars or --similar to this file instead, a .csv, .jsonl or .parquet"
    )
    filter: str | None = flag(
        None, "take likely dislikes out of the lists of a run or a CSV, by the CoNRec run --run",
        metavar="RUN", common=True,
    )
    filter_pool: int = flag(100, "with --filter: best items of a user, of which 20 are left", least=20)
    run: Path | None = flag(None, "the run folder", common=True)


@dataclass
class LookingSettings(Looking):
    """What a command has that looks at a finished run."""

    top_k: list[int] = shared(RunSettings, "top_k")
    device: str = shared(RunSettings, "device")
    data_dir: Path | None = shared(RunSettings, "data_dir", default=None)  # None: the run knows where it was

    def __post_init__(self):
        self.top_k = sorted(set(self.top_k))

    def check(self):
        if [self.recommend, self.stars, self.similar, self.filter].count(None) != 3 or self.run is None:
            raise InputError(GIVE_ONE)
        if self.stars:
            stars_by_item(self.stars)
        if self.out:
            require_table_path(self.out)

    def idle(self):
        if self.filter is None:
            yield "filter_pool", "has no use without --filter"
        else:
            yield "out", beside("--filter")
            if Path(self.filter).is_file():
                yield "filter_pool", "the lists of a CSV are not filled up; leave it out"


def stars_by_item(words):
    """{item id: number} of words such as 50=5.  Raises InputError for other words, and for an item given twice."""
    found = {}
    for word in words:
        item, _, number = word.rpartition("=")
        try:
            stars = float(number)
        except ValueError:
            stars = None
        if not item or stars is None:
            raise InputError(f"--stars {word}: expected ITEM=STARS, such as 50=5, with spaces between several")
        if item in found:
            raise InputError(f"--stars {word}: item {item} is given twice; leave one of them out")
        found[item] = int(stars) if stars.is_integer() else stars
    return found
