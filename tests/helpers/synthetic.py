"""A constructed data set and a tiny encoder, for tests that run the whole command."""

from typing import NamedTuple

import numpy as np
import torch

from dataloader import Interactions, TrainData
from options import command_line
from options.flag import names_of
from options.models import MODELS, model_class
from options.run import RunSettings

USERS, ITEMS = 40, 60
PARTS = ("train_original", "validation", "test")  # the CSVs that preparation makes
TOPICS = ("Harbour", "Desert", "Winter", "Circus", "Robot", "Garden", "Pirate", "Jungle", "Castle", "Comet")


def train_data(n_users, n_items, users, items, rating, validation=None, test=None, device="cpu"):
    """TrainData of these train rows.  rating: an array of stars, or of bool (liked: 5, confirmed negative: 1).
    validation, test: (users, items), of which each is liked."""
    if rating.dtype == bool:
        rating = np.where(rating, 5.0, 1.0)
    nobody = np.zeros(0, int), np.zeros(0, int)
    held_out = [Interactions(*pairs, np.full(len(pairs[0]), 5.0)) for pairs in (validation or nobody, test or nobody)]
    ids = np.arange(n_users), np.arange(n_items)
    return TrainData(*ids, Interactions(users, items, rating), *held_out, device)


def options_of(name, *words):
    """command_line.Options of a model with these flags of main.py."""
    options = command_line.parse(["--dataset", "x", "--model", name, *words])
    options.fill_in_of_data_set("x")
    return options


def flags_of(name):
    """The model and training flags that a model has a use for."""
    row = MODELS[name]
    return {*names_of(row.settings), *names_of(row.run_settings)} - {*names_of(RunSettings)}


def words_of(name, sizes, given=()):
    """The words of main.py for those sizes, {flag: value}, that a model has a use for beside the words given."""
    usable = flags_of(name) | {"random_seed"}
    if "--no_autoencoder" in given:
        usable -= {"hidden_dim", "lambda_ae"}
    words = []
    for flag, value in sizes.items():
        if flag in usable:
            words += [f"--{flag}", *str(value).split()]
    return words


def paths_of(folder, base):
    """The words of main.py that have it read a data set, and write below base."""
    return ["--dataset", str(folder), "--data_dir", str(base / "data"), "--result_dir", str(base / "result")]


def built(name, data, *words):
    """A model with these flags of main.py, its weights and draws the same every time."""
    return made(name, data, *words)[0]


def made(name, data, *words):
    """The same and its TrainingSettings."""
    options = options_of(name, *words)
    torch.manual_seed(1)
    generator = torch.Generator(data.device).manual_seed(2)
    return model_class(name)(data, options.recommender, generator).to(data.device), options.run


class Silent:
    """A run folder that keeps nothing but the epochs."""

    def __init__(self, folder):
        self.folder, self.epochs = folder, []

    def log(self, *lines, shown=True):
        pass

    def add_epoch(self, row):
        self.epochs.append(row)


def write_table(path, columns, rows, sep="\t"):
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(sep.join(row) + "\n" for row in [columns.split(), *rows]), encoding="utf-8")


def write_inter(folder, ratings):
    write_table(folder / "tiny.inter", "user_id:token item_id:token rating:float", ratings)


def write_item(folder, items):
    write_table(folder / "tiny.item", "item_id:token title:token_seq year:token genre:token_seq", items)


def put_csvs(folder, train, validation, test):
    for part, rows in zip(PARTS, (train, validation, test), strict=True):
        rows = [row.split() for row in rows.split(", ")]
        write_table(folder / f"tiny_{part}.csv", "user_id:token item_id:token rating:float", rows, ",")


def write_data_set(folder):
    """Two tastes: even users rate even items 4-5 and odd items 1-2, odd users the reverse, with 3s in between.

    Written as RecBole writes: folder/<name>.inter and .item.
    """
    folder.mkdir(parents=True)
    random = np.random.RandomState(0)
    inter = ["user_id:token\titem_id:token\trating:float"]
    for user in range(USERS):
        for item in random.permutation(ITEMS)[:45]:
            same = user % 2 == item % 2
            rating = random.choice([3, 4, 5], p=[0.2, 0.4, 0.4]) if same else random.choice([1, 2, 3])
            inter.append(f"u{user}\ti{item}\t{rating}")
    item = ["item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq"]
    item += [f"i{i}\tFilm {'even' if i % 2 == 0 else 'odd'} {i}\t{1950 + i}\tDrama War" for i in range(ITEMS)]
    (folder / f"{folder.name}.inter").write_text("\n".join(inter) + "\n")
    (folder / f"{folder.name}.item").write_text("\n".join(item) + "\n")
    return folder


class Planted(NamedTuple):
    """What write_planted_world has put into the ratings, by user and item number (ids u0, u1, ... and i0, i1, ...)."""

    likes: np.ndarray  # (U,) the topic a user likes
    dislikes: np.ndarray  # (U,) the one they dislike
    topics: np.ndarray  # (I,) an item's topic


def write_planted_world(folder, n_users=300, n_items=200, n_events=60, seed=0):
    """Ratings in time from which dislikes can be foretold.  Returns Planted.

    Ten topics, named in the titles.  A user likes one and dislikes the one three further on.  Which items a user rates
    is left to chance; of other topics nearly all are neutral, some positive and a few negative.
    Written as folder/<name>.inter, with timestamps a minute apart, and .item.
    """
    folder.mkdir(parents=True)
    random = np.random.RandomState(seed)
    topics = np.arange(n_items) % len(TOPICS)
    likes = random.randint(len(TOPICS), size=n_users)
    dislikes = (likes + 3) % len(TOPICS)
    inter = ["user_id:token\titem_id:token\trating:float\ttimestamp:float"]
    for user in range(n_users):
        for place, item in enumerate(random.permutation(n_items)[:n_events]):
            if topics[item] == likes[user]:
                rating = random.choice([4, 5])
            elif topics[item] == dislikes[user]:
                rating = random.choice([1, 2])
            else:
                rating = random.choice([2, 3, 4], p=[0.04, 0.76, 0.2])
            inter.append(f"u{user}\ti{item}\t{rating}\t{1_000_000 + 60 * place}")
    item = ["item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq"]
    item += [f"i{i}\t{TOPICS[topics[i]]} tale {i}\t{1950 + i % 70}\t{TOPICS[topics[i]]}" for i in range(n_items)]
    (folder / f"{folder.name}.inter").write_text("\n".join(inter) + "\n")
    (folder / f"{folder.name}.item").write_text("\n".join(item) + "\n")
    return Planted(likes, dislikes, topics)


def write_planted(base, **sizes):
    """A planted world and the vectors of its items beside it: base/world, which is returned, and base/vectors.npz."""
    write_planted_world(base / "world", **sizes)
    write_planted_vectors(base / "vectors.npz", **{"n_items": sizes["n_items"]} if "n_items" in sizes else {})
    return base / "world"


def write_planted_vectors(path, n_items=200, seed=0):
    """The items of write_planted_world as vectors, those of a topic together: an .npz of item_id (I,) and embedding
    (I, 24) float32."""
    topics = np.arange(n_items) % len(TOPICS)
    noise = np.random.RandomState(seed).normal(scale=0.1, size=(n_items, 24))
    embedding = np.eye(24)[topics] + noise
    np.savez(path, item_id=np.array([f"i{i}" for i in range(n_items)]), embedding=embedding.astype(np.float32))


def write_encoder(folder):
    """A real, untrained BERT encoder of a few thousand weights, saved as any model folder is."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "film", "Film", "even", "odd", "Drama", "War", *map(str, range(60))]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    BertModel(config).save_pretrained(folder)
    return folder
