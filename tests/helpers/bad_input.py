"""What people feed a program: files, flags, folders and environments that cannot be used, and what must be said.

Every case starts from the same good data set x of synthetic.py in {folder}, an encoder in {llm} and, where its
`before` asks for it, an earlier run of Popularity in {result}/x/before.  `spoil` is done to the folder, then the real
command runs with `flags` after the good ones.  It must end with exit code 2 and one line on stderr that `message`
matches, without a traceback, and leave all that was there as it was.
"""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Case:
    message: str
    flags: str = ""
    spoil: Callable = lambda base: None
    before: bool = False  # a finished run first


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


HN = "--model HNLMRec --hn_encoder {llm}"
AUGMENTED = "user_id:token,item_id:token,rating:float\n"

CASES = {
    # ------------------------------------------------------------------------------------------ .inter and .item
    "UTF-16": Case(r"x\.inter: is UTF-16; save it as UTF-8", spoil=raw((HEADER + "a\tb\t5\n").encode("utf-16"))),
    "no user column": Case(
        r"which columns are user.*x\.inter \(tabs; item_id, rating\)", spoil=inter("item_id\trating\n1\t2\n")
    ),
    "text in ratings": Case(r"x\.inter, line 1802: rating 'good'", spoil=append("u1\ti1\tgood\n")),
    "a half star": Case(r"line 1802: rating '3\.5'.*half stars", spoil=append("u1\ti1\t3.5\n")),
    "a scale of a known data set": Case(r"--scale 0.5-5: .*ML-1M has whole stars", "--dataset ML-1M --scale 0.5-5"),
    "a scale of splits laid down by hand": Case(
        r"--scale 0.5-5: .*are used as found", "--scale 0.5-5",
        lambda base: (base / "data" / "x" / "prepared.json").unlink(), before=True,
    ),
    "no .inter file": Case(
        r"no file of ratings, found x\.item; expected.*user_id:token item_id:token rating:float.*alice tt0083658 5",
        spoil=lambda base: (base / "x" / "x.inter").unlink(),
    ),
    "a folder for a file": Case(r"x\.inter: cannot be read \(Is a directory\)", spoil=folder_in_place_of("x/x.inter")),
    "nobody with ten likes": Case(
        r"x\.inter.*validation needs a user with 10",
        spoil=inter(HEADER + "".join(f"u{u}\ti{i}\t5\n" for u in range(6) for i in range(6))),
    ),
    "items of another data set": Case(r"no rated item has a title", spoil=item("item_id\ttitle\nother\tFilm\n")),
    "no titles to ask about": Case(r"no rated item has a title", spoil=lambda base: (base / "x" / "x.item").unlink()),
    # --------------------------------------------------------------------------------------------------- our files
    "a split changed after it was made": Case(
        r"x_test\.csv: was changed after it was prepared; delete it", "--path_name b",
        edit("data/x/x_test.csv", ",4\n", ",5\n"), before=True,
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
    "nothing to shuffle": Case(r"--llm shuffled: needs .*x_train_augment\.csv", "--llm shuffled"),
    "answers that are none": Case(
        r"answers\.jsonl, line 2: is no answer; delete the line",
        spoil=write("data/x/feedback/llm-embed/answers.jsonl", '{"llm": "x"}\n[1, 2]\n'),
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
    "recommendations of nobody": Case(r"give --dataset to train, --recommend USER", "--recommend u1"),
    # ------------------------------------------------------------------------------------------------------- flags
    "no such data set": Case(r"neither one of ML-100K", "--dataset nowhere"),
    "nearly a name": Case(r"did you mean ML-100K", "--dataset ml100k"),
    "k beyond the catalogue": Case(r"--top_k 500: .* only 60 items", "--top_k 500 --llm rule"),
    "k of zero": Case(r"--top_k 0", "--top_k 0 5"),
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
    "a blend of nothing": Case(r"--model Blend: needs --blend RUN RUN", "--model Blend --dataset_augment original"),
    "no number": Case(r"--epochs: invalid int value: 'many'", "--epochs many"),
    "a path for a name": Case(r"--path_name \.\./up: must be a name", "--path_name ../up"),
    "a device this machine lacks": Case(r"--device cuda:99: not usable", "--device cuda:99"),
    "nobody at the address": Case(
        r"--llm_url http://127\.0\.0\.1:1/v1: no server answers there \(Connection refused\); start it",
        "--llm_url http://127.0.0.1:1/v1",
    ),
    "no such folder of a language model": Case(r"--llm \.\./nowhere: no such folder; give one", "--llm ../nowhere"),
    "a model that cannot be fetched": Case(
        r"--llm who/what: there is no such folder, and .* hub cannot be reached; where it can, hf download who/what",
        "--llm who/what",
    ),
    # --------------------------------------------------------------------------- hard negatives: models and folders
    "a writer that cannot write": Case(r"--hn_writer .*llm: is an encoder, which cannot", f"{HN} --hn_writer {{llm}}"),
    "an encoder that also decodes": Case(
        r"--hn_encoder .*t5: is an encoder-decoder", "--model HNLMRec --hn_encoder {base}/t5", both(
            write("t5/config.json", '{"model_type": "t5", "architectures": ["T5Model"]}'),
            write("t5/model.safetensors", ""),
        ),
    ),
    "negatives without texts": Case(
        r"--dataset x: has no \.item file, so no texts to make negatives of", HN,
        lambda base: (base / "x" / "x.item").unlink(),
    ),
    "a folder that holds no negatives": Case(
        r"x: holds no hard negatives \(no settings\.json\)", "--model HNLMRec --hn_folder {folder}",
    ),
    # --------------------------------------------------------------------------------------- folders, environment
    "a file for the result folder": Case(r"f/x/.*: Not a dir", "--result_dir {base}/f --llm rule", write("f", "")),
    "a result folder that is read-only": Case(
        r"/sys/r.*: (Operation not|Permission)", "--result_dir /sys/r --llm rule"
    ),
}  # fmt: skip
