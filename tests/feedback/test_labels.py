"""Refined ratings as tables: refine() against the stage of main.py, and what export writes, read by others."""

import re
import shutil

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import synthetic

import llm_feedback
import main
from feedback.labels import refine
from llm import answers as answers_file
from preparation.files import HALF_STARS, read_ratings
from preparation.titles import item_table
from utils import InputError

FEW = pd.DataFrame({"user": [1, 1, 1, 1, 2, 2], "item": ["a", "b", "c", "d", "a", "b"], "rating": [5, 3, 2, 1, 4, 3]})
TITLES = pd.DataFrame({"item": ["a", "b", "c", "d"], "title": ["A", "B", "C", "D"]})


def silent(*lines):
    pass


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """(base, encoder, ratings and items as DataFrames) of a data set that main.py has refined."""
    base = tmp_path_factory.mktemp("labels")
    synthetic.write_data_set(base / "blocks")
    inter = pd.read_csv(base / "blocks" / "blocks.inter", sep="\t")
    inter["timestamp:float"] = np.arange(len(inter)) + 1e9
    inter.to_csv(base / "blocks" / "blocks.inter", sep="\t", index=False)
    encoder = synthetic.write_encoder(base / "encoder")
    paths = ["--dataset", base / "blocks", "--data_dir", base / "data", "--result_dir", base / "result"]
    words = [*map(str, paths), "--model", "Popularity", "--dataset_augment", "augment", "--llm"]
    for llm in (["rule"], [str(encoder)], [str(encoder), "--unasked_twos", "neutral"]):
        main.main([*words, *llm])
    ratings = pd.read_csv(base / "data" / "blocks" / "blocks_train_original.csv")
    ratings.columns = ["user", "item", "rating"]
    return base, encoder, ratings, item_table(base / "blocks").reset_index()


def labels_of_main(base, name):
    table = pd.read_csv(base / "data" / "blocks" / "feedback" / name / "blocks_train_augment.csv")
    return table["rating:float"].tolist()


# -------------------------------------------------------------------------------------- from Python


def test_a_data_frame_is_refined_as_main_refines_a_data_set(world, tmp_path):
    base, encoder, ratings, items = world
    assert refine(ratings, llm="rule", log=silent).refined.tolist() == labels_of_main(base, "rule")
    table = refine(ratings, items, llm=encoder, folder=tmp_path / "kept", log=silent)
    assert table.refined.tolist() == labels_of_main(base, "encoder-embed")
    kept = (tmp_path / "kept" / "feedback" / "encoder-embed" / "answers.jsonl").read_text().splitlines()
    asked = (base / "data" / "blocks" / "feedback" / "encoder-embed" / "answers.jsonl").read_text().splitlines()
    assert kept[1:] == asked[1:]


def test_the_decision_says_what_became_of_a_rating():
    index = pd.Index(list("uvwxyz"))
    given = FEW.assign(timestamp=range(6)).set_index(index)
    table = refine(given, llm="rule", log=silent)
    assert table[["user", "item", "rating", "timestamp"]].equals(given) and table.index.equals(index)
    assert table.refined.tolist() == [5, 4.5, 0.5, 1, 4, 4.5]
    dislike = "confirmed negative"
    assert table.decision.tolist() == ["positive", "liked", dislike, dislike, "positive", "liked"]
    table = refine(FEW, llm="twos", log=silent)  # which leaves 3s open
    assert table.refined.tolist() == [5, 3, 0.5, 1, 4, 3] and table.decision[1] == "unanswered"


def test_what_nobody_asks_about_is_neutral_and_what_has_no_title_unanswered(world, tmp_path):
    _, encoder, ratings, items = world
    ratings = ratings[ratings.user.isin([f"u{n}" for n in range(6)])]
    few = refine(ratings, items.iloc[:20], llm=encoder, folder=tmp_path, unasked_twos="neutral", log=silent)
    means = ratings.groupby("user").rating.transform("mean")
    unasked = (ratings.rating == 2) & (means >= 3)
    assert unasked.any() and (few.decision[unasked] == "neutral").all() and (few.refined[unasked] == 2).all()
    without = (ratings.rating == 3) & ~ratings["item"].isin(items["item"][:20])
    assert without.any() and (few.decision[without] == "unanswered").all()


def test_an_interrupted_call_goes_on_where_it_was(world, tmp_path, monkeypatch):
    _, encoder, ratings, items = world
    add, n = answers_file.Answers.add, []

    def killed(answers, record):
        add(answers, record)
        n.append(record)
        if len(n) == 10:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(answers_file.Answers, "add", killed)
        with pytest.raises(KeyboardInterrupt):
            refine(ratings, items, llm=encoder, folder=tmp_path, log=silent)
    said = []
    resumed = refine(ratings, items, llm=encoder, folder=tmp_path, log=lambda *lines: said.extend(lines))
    assert any(re.search(r" \d+ questions to ask, 10 answered earlier", line) for line in said)
    pd.testing.assert_frame_equal(resumed, refine(ratings, items, llm=encoder, folder=tmp_path / "whole", log=silent))


def test_what_is_kept_is_looked_at_and_exported_as_any_refinement(tmp_path, capsys):
    titles = TITLES.assign(title=["A", 'B "b"', "C\tc\nc", None], year=[1995.0, None, 2001, 2002], genre="Drama|War")
    table = refine(FEW, titles, llm="random", folder=tmp_path, log=silent)
    found = item_table(tmp_path)
    assert found.title.tolist() == ["A", 'B "b"', "C c c", ""] and found.genre.tolist() == 4 * ["Drama War"]
    assert found.year.tolist() == ["1995", "", "2001", "2002"]
    folder = str(tmp_path / "feedback" / "random-2024")
    assert llm_feedback.main(["show", "1", folder]) == 0 and 'B "b"' in capsys.readouterr().out
    assert llm_feedback.main(["export", folder, "--format", "csv", "--out", str(tmp_path / "a.csv")]) == 0
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "a.csv"), table, check_dtype=False)


@pytest.mark.parametrize(
    ("ratings", "more", "message"),
    [
        (FEW.drop(columns="item"), {}, "ratings: has no column item; it needs user, item, rating, and has user"),
        (FEW[:0], {}, "ratings: is empty"),
        (FEW.assign(rating=3.5), {}, "ratings, row 0: rating 3.5, expected whole stars"),
        (FEW.assign(rating="good"), {}, "ratings, row 0: rating good, expected whole stars"),
        (FEW.assign(user=[1, None, 1, 1, 2, 2]), {}, "ratings, column user, row 1: '' is no id"),
        (FEW.assign(item=["a\tb", *"bcdab"]), {}, r"ratings, column item, row 0: 'a\\tb' is no id"),
        (FEW.assign(item="a"), {}, "ratings: user 1 has rated item a twice; ratings.drop_duplicates"),
        (FEW, {"items": TITLES[["item"]]}, "items: has no column title; it needs item, title"),
        (FEW, {"llm_mod": "score"}, "refine, llm_mod: is no argument; did you mean llm_mode"),
        (FEW, {"llm_mode": "ask"}, "refine, llm_mode ask: must be one of auto, generate, score, embed"),
        (FEW, {"llm_mode": "score"}, "--llm_mode: --llm rule leaves it without a use"),
        (FEW, {"llm": "random", "llm_seed": -1}, "--llm_seed -1: must be a number of at least 0"),
        (FEW, {"llm": "shuffled"}, "refine, llm shuffled: needs labels to shuffle"),
        (FEW, {"llm": "some/model"}, "refine, llm some/model: needs folder=PATH, where answers are kept"),
    ],
)
def test_what_cannot_be_refined_is_named(tmp_path, ratings, more, message):
    with pytest.raises(InputError, match=message):
        refine(ratings, log=silent, **{"items": TITLES, "llm": "rule"} | more)
    assert not list(tmp_path.iterdir())


def test_a_folder_is_about_one_set_of_ratings_and_a_model_needs_titles(world, tmp_path):
    _, encoder, *_ = world
    refine(FEW, folder=tmp_path, log=silent)
    with pytest.raises(InputError, match="was begun with other ratings; give another folder"):
        refine(FEW[1:], folder=tmp_path, log=silent)
    with pytest.raises(InputError, match="no rated item has a title to ask about"):
        refine(FEW, llm=encoder, folder=tmp_path, log=silent)


# ----------------------------------------------------------------------------------------------- export


@pytest.fixture
def export(world, tmp_path, capsys):
    """run(format, out) -> (path, what was printed) of the encoder's labels, some of them neutral."""
    folder = world[0] / "data" / "blocks" / "feedback" / "encoder-embed-neutral"

    def run(kind, out, folder=folder, code=0):
        capsys.readouterr()
        words = [str(folder), "--format", kind, "--out", str(tmp_path / out), "--dataset", str(world[0] / "blocks")]
        assert llm_feedback.main(["export", *words]) == code
        printed = capsys.readouterr()
        return tmp_path / out, printed.out if not code else printed.err

    return run


def test_the_table_has_what_refine_returns(world, tmp_path, export):
    _, encoder, ratings, items = world
    path, printed = export("csv", "labels.csv")
    more = {"folder": tmp_path / "kept", "unasked_twos": "neutral", "log": silent}
    expected = refine(ratings, items, llm=encoder, **more)
    pd.testing.assert_frame_equal(pd.read_csv(path), expected, check_dtype=False)
    counts = expected.decision.value_counts()
    assert all(f"{n} {decision}" in printed for decision, n in counts.items()) and counts["neutral"]


def test_the_atomic_file_is_read_by_our_reader_and_has_the_timestamps_of_the_raw_one(world, tmp_path, export):
    base, _, ratings, _ = world
    path, printed = export("recbole", "refined")
    file = path / "refined.inter"
    assert f'dataset="refined" and data_path="{path.parent}"' in printed and "with timestamps" in printed
    rows = read_ratings(file, "\t", (*HALF_STARS,), timed=True)
    assert rows.user.tolist() == ratings.user.tolist() and rows["item"].tolist() == ratings["item"].tolist()
    assert rows.rating.tolist() == labels_of_main(base, "encoder-embed-neutral")
    raw = pd.read_csv(base / "blocks" / "blocks.inter", sep="\t", index_col=[0, 1])["timestamp:float"]
    assert rows.timestamp.tolist() == [raw[pair] for pair in zip(rows.user, rows["item"], strict=True)]
    assert file.read_text().splitlines()[0] == "user_id:token\titem_id:token\trating:float\ttimestamp:float"

    # without a raw file there are none
    without = shutil.copytree(base / "data" / "blocks", tmp_path / "blocks")
    shutil.rmtree(without / "atomic")
    words = [str(without / "feedback" / "rule"), "--format", "recbole", "--out", str(tmp_path / "plain")]
    assert llm_feedback.main(["export", *words]) == 0
    assert (tmp_path / "plain" / "plain.inter").read_text().startswith("user_id:token\titem_id:token\trating:float\n")


def test_the_matrix_is_read_by_scipy_and_signs_what_is_liked_and_confirmed(world, export):
    base, _, ratings, _ = world
    path, printed = export("implicit", "new/weights.npz")
    matrix = scipy.sparse.load_npz(path)
    ids = np.load(path.with_name("weights_ids.npz"))  # without pickle
    assert matrix.format == "csr" and matrix.shape == (len(ids["user_ids"]), len(ids["item_ids"]))
    dense = pd.DataFrame(matrix.toarray(), ids["user_ids"], ids["item_ids"])
    labels = labels_of_main(base, "encoder-embed-neutral")
    for user, item, refined in zip(ratings.user, ratings["item"], labels, strict=True):
        assert dense.loc[user, item] == (1 if refined >= 4 else -1 if refined <= 1 else 0)
    neutral = sum(1 < refined < 4 for refined in labels)
    assert neutral and matrix.nnz == len(ratings) - neutral and f"{neutral} neutral ratings left out" in printed


@pytest.mark.parametrize(
    ("kind", "out", "message"),
    [
        ("surprise", "x.csv", r"--format: invalid choice: 'surprise' \(choose from '?csv'?, '?recbole'?, '?implicit'?"),
        ("csv", "x.txt", r"x\.txt: what form is meant\?"),
        ("csv", "folder.csv", r"folder\.csv: is a folder"),
        ("implicit", "x.csv", r"x\.csv: must be a file whose name ends in \.npz"),
        ("recbole", "file", "file: must be a folder, of which RecBole"),
    ],
)
def test_a_form_or_place_that_there_is_not_is_named(tmp_path, export, kind, out, message):
    (tmp_path / "file").touch()
    (tmp_path / "folder.csv").mkdir()
    _, printed = export(kind, out, code=2)
    assert printed.count("\n") == 1 and re.search(message, printed)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.csv"]


def test_a_folder_without_labels_is_named(world, tmp_path, export):
    _, printed = export("csv", "x.csv", folder=tmp_path, code=2)
    assert "holds neither labels" in printed
    data = shutil.copytree(world[0] / "data" / "blocks", tmp_path / "blocks")
    (data / "feedback" / "rule" / "blocks_train_augment.csv").unlink()
    _, printed = export("csv", "x.csv", folder=data / "feedback" / "rule", code=2)
    assert re.search(r"rule: holds answers but no labels \(\.\.\._train_augment\.csv\) yet", printed)
    _, printed = export("csv", "x.csv", folder=next((world[0] / "result" / "blocks").glob("[!.]*")), code=2)
    assert "is a run; main.py --recommend all --run" in printed and not (tmp_path / "x.csv").exists()
