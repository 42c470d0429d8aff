"""What people feed a program: files, flags, folders and environments that cannot be used, and what must be said.

Every case starts from the same good data set x of synthetic.py in {folder}, an encoder in {llm} and, where its
`before` asks for it, an earlier run of Popularity in {result}/x/before.  `spoil` is done to the folder, then the real
command runs with `flags` after the good ones.  It must end with exit code 2 and one line on stderr that `message`
matches, without a traceback, and leave all that was there as it was.
"""

import gzip
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Case:
    message: str
    flags: str = ""
    spoil: Callable = lambda base: None
    before: bool = False  # a finished run first


ANSWER = '{"user": "1", "permutation": 0, "part": 0, "items": ["1"], "verdicts": ["liked"]}\n'
PROFILE = '{"kind": "item", "id": "1", "summarization": "x", "reasoning": "x", "backend": "template", "status": "ok"}\n'
HEADER = "user_id:token\titem_id:token\trating:float\n"


def inter(text):
    return lambda base: (base / "x" / "x.inter").write_text(text)


def raw(content):
    return lambda base: (base / "x" / "x.inter").write_bytes(content)


def append(text):
    return lambda base: (base / "x" / "x.inter").open("a").write(text)


def item(text):
    return lambda base: (base / "x" / "x.item").write_text(text)


def edit(path, old, new):
    def spoil(base):
        text = (base / path).read_text()
        assert old in text
        (base / path).write_text(text.replace(old, new, 1))

    return spoil


def edit_all(base, stars):
    """Other stars for all ratings of some.  stars: {old: new}."""
    path = base / "x" / "x.inter"
    header, *rows = (line.split("\t") for line in path.read_text().splitlines())
    for row in rows:
        row[2] = stars.get(row[2], row[2])
    path.write_text("".join("\t".join(row) + "\n" for row in [header, *rows]))


def write(path, text):
    def spoil(base):
        (base / path).parent.mkdir(parents=True, exist_ok=True)
        (base / path).write_text(text)

    return spoil


def both(*spoils):
    return lambda base: [spoil(base) for spoil in spoils]


def folder_in_place_of(path):
    def spoil(base):
        (base / path).unlink()
        (base / path).mkdir()

    return spoil


def unfinished(base):
    (base / "result" / "x" / "before" / "summary.json").unlink()


def vectors(change):
    """A finished folder of hard negatives, {base}/made, in which change(vectors) has been done to vectors.npy."""

    def spoil(base):
        import hard_negatives  # which imports torch, and so does this process already
        import numpy as np

        import dataloader

        prepared = base / "data" / "x"
        data = dataloader.load(prepared, "x", prepared / "x_train_original.csv", "cpu")
        path = hard_negatives.write_folder(base / "made", data) / "vectors.npy"
        np.save(path, change(np.array(np.load(path))))

    return spoil


def fewer_train_rows(base):
    """As if somebody had given other splits: every second train row is gone."""
    path = base / "data" / "x" / "x_train_original.csv"
    header, *rows = path.read_text().splitlines(keepends=True)
    path.write_text("".join([header, *rows[::2]]))
    (path.parent / "prepared.json").unlink()


def not_a_number(array):
    array[3] = float("nan")
    return array


HN = "--model HNLMRec --hn_encoder {llm}"
MADE = "--model HNLMRec --path_name b --hn_folder {base}/made"
AUGMENTED = "user_id:token,item_id:token,rating:float\n"

CASES = {
    # ------------------------------------------------------------------------------------------ .inter and .item
    "a web page": Case(r"x\.inter.*web page", spoil=inter("<!DOCTYPE html><html></html>")),
    "a git-LFS pointer": Case(r"x\.inter.*git-LFS", spoil=inter("version https://git-lfs.github.com/spec/v1\n")),
    "an empty file": Case(r"x\.inter.*empty", spoil=inter("")),
    "a header alone": Case(r"x\.inter.*too few ratings", spoil=inter(HEADER)),
    "a compressed file": Case(r"x\.inter", spoil=raw(gzip.compress(HEADER.encode()))),
    "UTF-16": Case(r"x\.inter: is UTF-16; save it as UTF-8", spoil=raw((HEADER + "a\tb\t5\n").encode("utf-16"))),
    "zeros": Case(r"x\.inter", spoil=raw(bytes(5000))),
    "likes alone, and few": Case(r"x\.inter: too few", spoil=inter("user_id:token\titem_id:token\n1\t2\n")),
    "no user column": Case(
        r"which columns are user.*x\.inter \(tabs; item_id, rating\)", spoil=inter("item_id\trating\n1\t2\n")
    ),
    "blanks between cells": Case(
        r"x\.inter \(.*user_id item_id rating\)", spoil=inter("user_id item_id rating\n1 2 3\n")
    ),
    "text in ratings": Case(r"x\.inter, line 1802: rating 'good'", spoil=append("u1\ti1\tgood\n")),
    "a half star": Case(r"line 1802: rating '3\.5'.*half stars", spoil=append("u1\ti1\t3.5\n")),
    "a code for a star": Case(r"line 1802: rating '4\.5'.*half stars", spoil=append("u1\ti1\t4.5\n")),
    "a scale of a known data set": Case(r"--scale 0.5-5: .*ML-1M has whole stars", "--dataset ML-1M --scale 0.5-5"),
    "a scale of splits laid down by hand": Case(
        r"--scale 0.5-5: .*are used as found", "--scale 0.5-5",
        lambda base: (base / "data" / "x" / "prepared.json").unlink(), before=True,
    ),
    "a timestamp that is none": Case(
        r"x\.inter, line 3: time 'May' is neither a number nor a date",
        spoil=inter("user_id\titem_id\trating\ttimestamp\nu1\ti1\t5\t9\nu1\ti2\t4\tMay\n"),
    ),
    "NaN": Case(r"line 1802: rating 'NaN', expected one of 1, 2", spoil=append("u1\ti1\tNaN\n")),
    "infinity": Case(r"line 1802: rating 'inf', expected", spoil=append("u1\ti1\tinf\n")),
    "a negative rating": Case(r"line 1802: rating '-1', expected", spoil=append("u1\ti1\t-1\n")),
    "ten stars": Case(r"line 1802: rating '10', expected", spoil=append("u1\ti1\t10\n")),
    "a ragged row": Case(r"x\.inter.*line 1802", spoil=append("u1\ti1\t3\t4\t5\n")),
    "rows longer than the header": Case(
        r"x\.inter.*line 2 has 4 cells, the first line 3", spoil=inter("user_id\titem_id\trating\n1\t2\t3\t4\n")
    ),
    "a file cut off": Case(r"x\.inter.*cut off", spoil=append("u1\ti1")),
    "two .inter files": Case(r"x\.inter, y\.inter may each hold the ratings", spoil=write("x/y.inter", HEADER)),
    "GroupLens' half stars": Case(
        r"ratings\.csv, line 3: rating '3\.5', .*--scale 0\.5-5",
        spoil=both(lambda base: (base / "x" / "x.inter").unlink(),
                   write("x/ratings.csv", "userId,movieId,rating,timestamp\n1,1,4.0,964982703\n1,3,3.5,964981247\n")),
    ),
    "no .inter file": Case(
        r"no file of ratings, found x\.item; expected.*user_id:token item_id:token rating:float.*alice tt0083658 5",
        spoil=lambda base: (base / "x" / "x.inter").unlink(),
    ),
    "a folder for a file": Case(r"x\.inter: cannot be read \(Is a directory\)", spoil=folder_in_place_of("x/x.inter")),
    "too little data": Case(r"x\.inter.*too few ratings", spoil=inter(HEADER + "u1\ti1\t5\n")),
    "no likes": Case(r"x\.inter.*too few ratings", spoil=inter(HEADER + "u1\ti1\t3\n" * 50)),
    "nobody with ten likes": Case(
        r"x\.inter.*validation needs a user with 10",
        spoil=inter(HEADER + "".join(f"u{u}\ti{i}\t5\n" for u in range(6) for i in range(6))),
    ),
    "items of another data set": Case(r"no rated item has a title", spoil=item("item_id\ttitle\nother\tFilm\n")),
    "an item file without ids": Case(r"x\.item.*no column item_id", spoil=item("title\nFilm\n")),
    "an item file without titles": Case(r"x\.item.*no column title", spoil=item("item_id\tyear\ni1\t1999\n")),
    "an item file that is a web page": Case(r"x\.item.*web page", spoil=item("<html>")),
    "no titles to ask about": Case(r"no rated item has a title", spoil=lambda base: (base / "x" / "x.item").unlink()),
    # --------------------------------------------------------------------------------------------------- our files
    "a split changed after it was made": Case(
        r"x_test\.csv: was changed after it was prepared; delete it", "--path_name b",
        edit("data/x/x_test.csv", ",4\n", ",5\n"), before=True,
    ),
    "a stamp that is no JSON": Case(
        r"prepared\.json: is not JSON", "--path_name b", write("data/x/prepared.json", "{"), before=True
    ),
    "one split of three": Case(
        r"x_train_original\.csv: missing beside the other splits; add it", spoil=write("data/x/x_test.csv", AUGMENTED)
    ),
    "splits without likes": Case(
        r"x_train_original\.csv: holds no rating of 4", "--model Popularity",
        both(*(write(f"data/x/x_{part}.csv", AUGMENTED + "u1,i1,3\n") for part in ("train_original",)),
             *(write(f"data/x/x_{part}.csv", AUGMENTED + "u1,i1,5\n") for part in ("validation", "test"))),
    ),
    "a test part about strangers": Case(
        r"x_test\.csv: no row is about a user and an item", "--model Popularity",
        both(*(write(f"data/x/x_{part}.csv", AUGMENTED + "u1,i1,5\n") for part in ("train_original", "validation")),
             write("data/x/x_test.csv", AUGMENTED + "who,what,5\n")),
    ),
    "dislikes in the test part": Case(
        r"x_test\.csv, line 2: rating '2', expected one of 4, 5", "--model Popularity",
        both(*(write(f"data/x/x_{part}.csv", AUGMENTED + "u1,i1,5\n") for part in ("train_original", "validation")),
             write("data/x/x_test.csv", AUGMENTED + "u1,i1,2\n")),
    ),
    "labels of other ratings": Case(
        r"x_train_augment\.csv", "--llm auto --path_name b",
        write("data/x/x_train_augment.csv", AUGMENTED + "u1,i1,4.5\n"), before=True,
    ),
    "labels that are no codes": Case(
        r"x_train_augment\.csv, line 2: rating '3\.7'", "--llm auto --path_name b",
        write("data/x/x_train_augment.csv", AUGMENTED + "u1,i1,3.7\n"), before=True,
    ),
    "nothing to shuffle": Case(r"--llm shuffled: needs .*x_train_augment\.csv", "--llm shuffled"),
    "answers that are none": Case(
        r"answers\.jsonl, line 2: is no answer; delete the line",
        spoil=write("data/x/feedback/llm-embed/answers.jsonl", '{"llm": "x"}\n[1, 2]\n'),
    ),
    "answers of other settings": Case(
        r"answers\.jsonl: was made with other ratings",
        spoil=write("data/x/feedback/llm-embed/answers.jsonl", '{"llm": "x"}\n' + ANSWER),
    ),
    # -------------------------------------------------------------------------------------------------- run folder
    "a finished run": Case(r"holds a finished run; --path_name", "--model Popularity --path_name before", before=True),
    "an unfinished run": Case(
        r"holds a run; --resume goes on", "--model Popularity --path_name before", unfinished, before=True
    ),
    "nothing to resume": Case(r"holds no run to resume", "--resume"),
    "resuming as another model": Case(
        r"--model EASE: the run to resume .* has Popularity", "--model EASE --path_name before --resume",
        unfinished, before=True,
    ),
    "a run whose settings are broken": Case(
        r"config\.json: is not JSON", "--model Popularity --path_name before --resume",
        both(unfinished, write("result/x/before/config.json", "{")), before=True,
    ),
    "metrics of another run": Case(
        r"metrics\.csv: is not of this run", "--model Popularity --path_name before --resume",
        both(unfinished, write("result/x/before/metrics.csv", "nonsense\n1\n")), before=True,
    ),
    "a run of an older version": Case(
        r"the run to resume knows other flags \(--hidden_dim\)", "--model Popularity --path_name before --resume",
        both(unfinished, edit("result/x/before/config.json", '"top_k"', '"hidden_dim": 600, "top_k"')), before=True,
    ),
    "lists of no finished run": Case(r"--out: has no use without --run", "--llm rule --out lists.csv"),
    "recommendations of nobody": Case(r"give --dataset to train, --recommend USER", "--recommend u1"),
    # ------------------------------------------------------------------------------------------------------- flags
    "no such data set": Case(r"neither one of ML-100K", "--dataset nowhere"),
    "nearly a name": Case(r"did you mean ML-100K", "--dataset ml100k"),
    "k beyond the catalogue": Case(r"--top_k 500: .* only 60 items", "--top_k 500 --llm rule"),
    "k of zero": Case(r"--top_k 0", "--top_k 0 5"),
    "negative layers": Case(r"--layers -1: must be", "--layers -1"),
    "no epochs": Case(r"--epochs 0: must be a number of at least 1", "--epochs 0"),
    "no batch": Case(r"--batch_size 0: must be", "--batch_size 0"),
    "a learning rate that is none": Case(r"--learning_rate nan: must be", "--learning_rate nan"),
    "an infinite weight": Case(r"--lambda_reg inf: must be", "--lambda_reg inf"),
    "a seed beyond numpy's": Case(r"--random_seed 4294967296: must be at most", "--random_seed 4294967296"),
    "a negative seed": Case(r"--random_seed -1: must be", "--random_seed -1"),
    "no such model": Case(r"--model: invalid choice: 'NGCF'", "--model NGCF"),
    "a flag of another model": Case(r"--hidden_dim: LightGCN has no use for it", "--model LightGCN --hidden_dim 9"),
    "a flag that a control ignores": Case(r"--llm_mode: --llm rule leaves it", "--llm rule --llm_mode score"),
    "a flag that an encoder ignores": Case(r"--llm_dtype: an encoder has no use for it", "--llm_dtype float16"),
    "a cost of dislikes that nobody holds out": Case(
        r"--dislike_cost: has no use without --hold_out dislikes", "--model EASE --dislike_cost 2"
    ),
    "a split in time of likes alone": Case(r"--split: has no use without --hold_out", "--model EASE --split time"),
    "a split in time without times": Case(
        r"x\.inter: has no column timestamp, .*; leave out --split time",
        "--model EASE --hold_out dislikes --split time",
    ),
    "nothing disliked to hold out": Case(
        r"--hold_out dislikes: .*train_original\.csv holds 0 ratings of 1 or 2", "--model EASE --hold_out dislikes",
        lambda base: edit_all(base, {"1": "3", "2": "3"}),
    ),
    "labels that are not there to shuffle": Case(
        r"--llm shuffled: needs .*/x_train_augment\.csv", "--llm shuffled --llm_labels {base}/nowhere"
    ),
    "whom to shuffle among, and nothing shuffled": Case(
        r"--llm_shuffle: has no use without --llm shuffled", "--llm_shuffle user"
    ),
    "stars that all count against": Case(
        r"--ease_weights -1 0 0 0 0: must be finite numbers, at least one of them above 0",
        "--model EASE --ease_weights -1 0 0 0 0",
    ),
    "a flag of a server without one": Case(r"--llm_timeout: has no use without --llm_url", "--llm_timeout 9"),
    "a flag that labels as found ignore": Case(
        r"--unasked_twos: .*x_train_augment\.csv is used as it is.*leave this out", "--llm auto --unasked_twos ask",
        write("data/x/x_train_augment.csv", AUGMENTED + "u1,i1,4.5\n"),
    ),
    "the same numbers on a CPU": Case(r"--deterministic: --device cpu leaves it", "--device cpu --deterministic"),
    "dropout of everything": Case(r"--siren_dropout 1\.0: must be at most", "--model SiReN --siren_dropout 1"),
    "negative ridge": Case(r"--ease_lambdas -1\.0: must be", "--model EASE --ease_lambdas -1"),
    "stars that weigh nothing": Case(r"--ease_weights 0 0 0 0 0: must be", "--model EASE --ease_weights 0 0 0 0 0"),
    "a star that weighs nothing": Case(r"--star_weights 0\.0: must be", "--star_weights 0 1 1"),
    "a blend of nothing": Case(r"--model Blend: needs --blend RUN RUN", "--model Blend --dataset_augment original"),
    "unknown flag": Case(r"unrecognized arguments: --layer 3", "--layer 3"),
    "no number": Case(r"--epochs: invalid int value: 'many'", "--epochs many"),
    "a path for a name": Case(r"--path_name \.\./up: must be a name", "--path_name ../up"),
    "another device": Case(r"--device mps: must be auto, cpu", "--device mps"),
    "a device this machine lacks": Case(r"--device cuda:99: not usable", "--device cuda:99"),
    "a mode that does not fit": Case(r"--llm_mode score: .*llm is an encoder", "--llm_mode score"),
    "no server": Case(r"--llm_url localhost:1: must begin with http", "--llm_url localhost:1"),
    "nobody at the address": Case(
        r"--llm_url http://127\.0\.0\.1:1/v1: no server answers there \(Connection refused\); start it",
        "--llm_url http://127.0.0.1:1/v1",
    ),
    "no such folder of a language model": Case(r"--llm \.\./nowhere: no such folder; give one", "--llm ../nowhere"),
    "a model that cannot be fetched": Case(
        r"--llm who/what: there is no such folder, and .* hub cannot be reached; where it can, hf download who/what",
        "--llm who/what",
    ),
    "pickled weights": Case(
        r"no \.safetensors", "--llm {folder}", write("x/pytorch_model.bin", ""),
    ),
    # --------------------------------------------------------------------------- hard negatives: models and folders
    "a writer that cannot write": Case(r"--hn_writer .*llm: is an encoder, which cannot", f"{HN} --hn_writer {{llm}}"),
    "an encoder that also decodes": Case(
        r"--hn_encoder .*t5: is an encoder-decoder", "--model HNLMRec --hn_encoder {base}/t5", both(
            write("t5/config.json", '{"model_type": "t5", "architectures": ["T5Model"]}'),
            write("t5/model.safetensors", ""),
        ),
    ),
    "an encoder without weights": Case(
        r"--hn_encoder .*x: the folder has no \.safetensors", "--model HNLMRec --hn_encoder {folder}",
    ),
    "negatives without texts": Case(
        r"--dataset x: has no \.item file, so no texts to make negatives of", HN,
        lambda base: (base / "x" / "x.item").unlink(),
    ),
    "a writer at no address": Case(r"--hn_url localhost:1: must begin with http", f"{HN} --hn_url localhost:1"),
    "fewer tokens than the frame": Case(r"--hn_tokens 7: the frame alone takes", f"{HN} --hn_tokens 7"),
    "more tokens than the encoder reads": Case(r"--hn_tokens 9999: llm reads at most 512", f"{HN} --hn_tokens 9999"),
    "fewer triplets than a batch": Case(r"--hn_triplets 15: must be a number of at least 16", f"{HN} --hn_triplets 15"),
    "profiles of other ratings": Case(
        r"profiles\.jsonl: was made with other ratings", HN,
        write("data/x/negatives/original/template/profiles.jsonl", '{"ratings": "other"}\n' + PROFILE),
    ),
    "a broken line among profiles": Case(
        r"profiles\.jsonl, line 2: is no answer; delete the line", HN,
        write("data/x/negatives/original/template/profiles.jsonl", '{"ratings": "other"}\n{\n{}\n'),
    ),
    "a folder that holds no negatives": Case(
        r"x: holds no hard negatives \(no settings\.json\)", "--model HNLMRec --hn_folder {folder}",
    ),
    "tuning what is not tuned": Case(r"--hn_triplets: --hard text leaves it", f"{HN} --hard text --hn_triplets 50"),
    "negatives for a model without": Case(r"--hn_pairs: LightGCN has no use", "--model LightGCN --hn_pairs 2"),
    # --------------------------------------------------------------------------- hard negatives: arrays and flags
    "vectors cut short": Case(
        r"vectors\.npy: is no whole array of numbers .*; delete the folder", MADE,
        both(vectors(lambda a: a), lambda base: os.truncate(base / "made" / "vectors.npy", 500)), before=True,
    ),
    "vectors that are no numbers": Case(
        r"vectors\.npy, row 3: has norm nan, expected 1", MADE, vectors(not_a_number), before=True
    ),
    "vectors of zeros": Case(r"vectors\.npy, row 0: has norm 0", MADE, vectors(lambda a: 0 * a), before=True),
    "too few vectors": Case(r"vectors\.npy: holds float16 .*, expected", MADE, vectors(lambda a: a[1:]), before=True),
    "vectors of another source": Case(
        r"made: holds vectors of source tuned, --hard text needs text", f"{MADE} --hard text",
        vectors(lambda a: a), before=True,
    ),
    "vectors of other ratings": Case(
        r"pairs\.npy, row \d+: is no train positive here; .* other ratings", MADE,
        both(vectors(lambda a: a), fewer_train_rows), before=True,
    ),
    "a share above one": Case(r"--hn_alpha 1\.5: must be at most 1", f"{HN} --hn_alpha 1.5"),
    "vectors where none are used": Case(r"--hn_alpha: --hard none leaves it", f"{HN} --hard none --hn_alpha 1"),
    "more to draw from than drawn": Case(
        r"--sampler_top 9: must be at most --sampler_candidates, 8",
        "--model MF --sampler dns --sampler_candidates 8 --sampler_top 9",
    ),
    "hardness that rises": Case(r"--ahns 1 1 1: must be three", "--model MF --sampler ahns --ahns 1 1 1"),
    "layers of a table": Case(r"--layers: --backbone MF leaves it without a use", f"{HN} --backbone MF --layers 2"),
    # --------------------------------------------------------------------------------------- folders, environment
    "a file for the result folder": Case(r"f/x/.*: Not a dir", "--result_dir {base}/f --llm rule", write("f", "")),
    "a file for the data folder": Case(r"f/x.*: Not a dir", "--data_dir {base}/f", write("f", "")),
    "a result folder that is read-only": Case(
        r"/sys/r.*: (Operation not|Permission)", "--result_dir /sys/r --llm rule"
    ),
    "a data folder that is read-only": Case(r"/sys/d.*: (Operation not|Permission|No such)", "--data_dir /sys/d"),
    "a folder that is gone": Case(r"neither one of ML-100K", spoil=lambda base: shutil.rmtree(base / "x")),
}  # fmt: skip
