"""The stage that makes hard negatives, from top to bottom: what it leaves, no leak, kills anywhere, its report."""

# ruff: noqa: F811  fixtures of stage.py are arguments here

import json
import shutil

import numpy as np
import pytest
from stage import CPU, SOURCES, made, run_stage, whole, world  # noqa: F401  fixtures among them

import dataloader
import llm_feedback
from llm.answers import Answers, read
from negatives import arrays, making, report, vectors
from negatives.profiles import Known
from preparation import titles
from utils import InputError


@pytest.mark.parametrize("hard", SOURCES)
def test_what_the_stage_leaves(world, whole, hard):
    hard_negatives, card, origin = whole.results[hard]
    folder = whole.base / "data" / "x" / "negatives" / "original" / f"template-encoder-{vectors.SOURCES[hard]}"
    assert origin["folder"] == str(folder) and origin["width"] == 16 == hard_negatives.width
    names = {path.name for path in folder.iterdir()} - {".hashes"}
    expected = {f"{name}.npy" for name in ("pairs", "vectors", "items", "mean", "status")}
    expected |= {f"{name}.json" for name in ("settings", "ids", "report")}
    if hard == "tuned":
        expected |= {"triplets.npy", "adapter_model.safetensors", "adapter_config.json", "projectors.safetensors"}
        expected |= {"tuning.jsonl"}
    assert names == expected  # neither raw states nor a checkpoint are left
    pairs, status = np.load(folder / "pairs.npy"), np.load(folder / "status.npy")
    assert np.bincount(pairs[:, 0]).max() == 6 and card["pairs"] == len(pairs) == len(status)
    assert card["status"]["kept"] == (status == 0).sum() == int(hard_negatives.kept.sum())
    assert card["written"]["items"] == {"ok": 60} and (card["tuning"] is not None) == (hard == "tuned")
    lines = report.report_lines(card)
    assert lines[0] == f"Hard negatives of template, encoder, {vectors.SOURCES[hard]}" and len(lines) >= 9


def test_the_settings_hold_what_the_vectors_depend_on(world, whole):
    settings = json.loads((whole.base / "data/x/negatives/original/template-encoder-tuned/settings.json").read_text())
    assert settings["pooling"] == "mean" and settings["rank"] == 32 and settings["revision"]["config.json"]
    with pytest.raises(InputError, match=r"settings\.json: was made with other triplets \(60 there, 40 now\); del"):
        run_stage(world, whole.base, "tuned", "--hn_triplets", "40")
    assert made(whole.base) == whole.files


def test_a_second_start_makes_nothing_anew(world, whole, monkeypatch):
    monkeypatch.setattr("negatives.stage.Inputs", None)  # not even a tokenizer is loaded
    for hard in SOURCES:
        run_stage(world, whole.base, hard, cf=None)
    assert made(whole.base) == whole.files
    shuffled, _, _ = run_stage(world, whole.base, "shuffled")
    assert sorted(shuffled.rows) == sorted(whole.results["tuned"][0].rows)
    assert (shuffled.rows != whole.results["tuned"][0].rows).any()


def test_text_vectors_are_the_documents_of_the_titles(whole):
    """Templates name items of the catalogue, which users have not rated."""
    folder = whole.base / "data/x/negatives/original/template-encoder-text"
    _, records, _ = read(folder.parent / "template" / "titles.jsonl", ("user", "item", "hard_negative"))
    ids = json.loads((folder / "ids.json").read_text())
    number = {token: place for place, token in enumerate(ids["items"])}
    named = np.array([number[record["id"]] for record in records])
    array, documents = np.load(folder / "vectors.npy"), np.load(folder / "items.npy")
    np.testing.assert_allclose(array.astype(float), documents[named].astype(float), atol=2e-3)
    assert whole.results["text"][1]["catalogue"] == {"equal": 1.0, "near": 1.0}
    assert all(record["backend"] == "template" for record in records)


def test_validation_and_test_leak_into_nothing_but_the_report(world, whole, tmp_path):
    shutil.copytree(whole.base / "data", tmp_path / "data")
    folder = tmp_path / "data" / "x"
    for old in ("original/template-encoder-tuned", "original/template-encoder-text", "original/template"):
        shutil.rmtree(folder / "negatives" / old)
    one, other = folder / "x_validation.csv", folder / "x_test.csv"
    content = one.read_bytes()
    one.write_bytes(other.read_bytes()[: len(other.read_bytes()) // 2].rpartition(b"\n")[0] + b"\n")
    other.write_bytes(content)
    for hard in ("tuned", "text"):
        run_stage(world, tmp_path, hard, cf=None)
    now = made(tmp_path)
    assert now.keys() == whole.files.keys()
    differing = {path for path in now if now[path] != whole.files[path]}
    reports = {f"data/x/negatives/original/template-encoder-{source}/report.json" for source in ("tuned", "text")}
    settings = {path.replace("report", "settings") for path in reports}  # which hold the version of the report
    assert differing == reports | settings
    for path in settings:
        for files in (now, whole.files):
            files[path] = json.loads(json.dumps(files[path]))
            files[path]["finished"].pop("report")
        assert now[path] == whole.files[path]


class Killed(BaseException):
    pass


@pytest.mark.parametrize("hard", ["tuned", "text", "untuned"])
def test_a_stage_that_is_killed_anywhere_ends_as_one_left_alone(world, whole, tmp_path, monkeypatch, hard):
    """Killed at random places: between answers, in tuning, between batches of vectors, before notes of progress."""
    random = np.random.default_rng(len(hard))
    monkeypatch.setattr(arrays, "NOTE_SECONDS", 0)
    monkeypatch.setattr(making.tuning, "SAVE_STEPS", 2)
    monkeypatch.setattr(making, "ROWS_AT_ONCE", 50)
    places = [(arrays.Progress, "note"), (making.tuning.Tuning, "one_step"), (making.Encoder, "encode")]
    places += [(Answers, "add"), (arrays, "open_array")]
    kills, left = 0, random.integers(1, 120)
    for owner, name in places:
        whole_function = getattr(owner, name)

        def killer(*args, whole_function=whole_function, **more):
            nonlocal left, kills
            left -= 1
            if left == 0:
                kills += 1
                left = random.integers(1, 300)
                raise Killed
            return whole_function(*args, **more)

        monkeypatch.setattr(owner, name, killer)
    for _ in range(60):
        try:
            run_stage(world, tmp_path, hard)
            break
        except Killed:
            pass
    assert kills > 0
    out = f"data/x/negatives/original/template-encoder-{hard}/"
    now = {path: content for path, content in made(tmp_path).items() if path.startswith(out)}
    before = {path: content for path, content in whole.files.items() if path.startswith(out)}
    assert now.keys() == before.keys()
    for path in now:
        if not path.endswith("settings.json"):
            assert now[path] == before[path], path


def test_a_killed_array_goes_on_where_it_was_noted_and_one_that_does_not_fit_is_begun_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(arrays, "NOTE_SECONDS", 0)
    batches, asked = np.arange(8).reshape(4, 2), []

    def fill(stop=None, width=3):
        def make(rows):
            if rows[0] == stop:
                raise Killed
            asked.append(int(rows[0]))
            return np.repeat(rows[:, None], width, 1)

        return arrays.fill(arrays.Progress(tmp_path, {"source": "x"}), "a", (8, width), batches, make, "x")

    with pytest.raises(Killed):
        fill(stop=4)
    path = tmp_path / "a.npy"
    assert path.stat().st_blocks * 512 >= 8 * 3 * 2  # allocated whole, no hole
    assert asked == [0, 2] and arrays.Progress(tmp_path, {"source": "x"}).finished == {"a": 2}
    assert fill()[:, 0].tolist() == [*range(8)] and asked == [0, 2, 4, 6]
    path.write_bytes(path.read_bytes()[:-8])  # cut short
    fill()
    fill(width=4)
    assert asked[4:] == [0, 2, 4, 6] * 2


# ---------------------------------------------------------------------------------------------------------- report


def test_the_figures_of_the_report_against_brute_force(world, whole):
    folder = whole.base / "data" / "x"
    data = dataloader.load(folder, "x", folder / "x_train_original.csv", CPU)
    known = Known(data, titles.item_table(world / "x"))
    out = folder / "negatives/original/template-encoder-untuned"
    card = whole.results["untuned"][1]
    pairs, array, items = np.load(out / "pairs.npy"), np.load(out / "vectors.npy"), np.load(out / "items.npy")
    cf = np.load(out.parent / "cf.npy")
    status = np.load(out / "status.npy")
    likes = {user: {*data.validation.entries([user])[1].tolist(), *data.test.entries([user])[1].tolist()}
             for user in range(data.n_users)}  # fmt: skip
    false, disliked, lead = [], [], []
    for (user, item), vector in zip(pairs, array.astype(np.float32), strict=True):
        nearest = max((j for j in range(60) if j != item), key=lambda j: vector @ items[j].astype(np.float32))
        false.append(nearest in likes[user])
        disliked.append(nearest in known.disliked(user))
        lead.append(cf[user] @ (cf[40 + nearest] - cf[40 + item]))
    kept = status == 0
    assert card["fhns"] == pytest.approx(np.mean(false), abs=1e-4)
    assert card["fhns_kept"] == pytest.approx(np.array(false)[kept].mean(), abs=1e-4)
    assert card["dislike"] == pytest.approx(np.mean(disliked), abs=1e-4)
    assert card["hardness"] == pytest.approx(np.mean(lead), abs=1e-3)
    assert card["outscoring"] == pytest.approx(np.mean(np.array(lead) > 0), abs=1e-4)
    uniform = [np.mean([j in likes[user] for j in known.unrated(user)]) for user, _ in pairs]
    assert card["yardsticks"]["fhns_uniform"] == pytest.approx(np.mean(uniform), abs=1e-4)
    of_users = []
    for user in range(data.n_users):
        mean = array[pairs[:, 0] == user].astype(np.float32).mean(0)
        score = items.astype(np.float32) @ mean
        if len(known.disliked(user)) and likes[user]:
            lead = score[known.disliked(user)][:, None] - score[[*likes[user]]]
            of_users.append(np.mean((lead > 0) + (lead == 0) / 2))
    assert card["auc"]["vectors"] == pytest.approx(np.mean(of_users), abs=1e-4)
    assert card["auc"]["users"] == len(of_users)


def test_the_report_command(whole, capsys):
    folder = whole.base / "data/x/negatives/original/template-encoder-tuned"
    assert llm_feedback.main(["report", str(folder)]) == 0
    assert "tuning" in capsys.readouterr().out
    assert llm_feedback.main(["report", str(whole.base)]) == 2
    assert "is neither a train_augment CSV nor a finished folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--hn_tokens", "40"), ("--hn_triplets", "48"), ("--hn_tune_rate", "1e-3"), ("--llm_seed", "7"),
        ("--hn_pairs", "5"),
    ],
)  # fmt: skip
def test_each_flag_changes_the_vectors(world, whole, tmp_path, flag, value):
    changed, _, _ = run_stage(world, tmp_path, "tuned", flag, value)
    before = whole.results["tuned"][0].vectors
    assert changed.vectors.shape != before.shape or (np.asarray(changed.vectors) != np.asarray(before)).any()
