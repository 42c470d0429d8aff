"""The whole command on data that are no stars: thumbs, clicks, half stars."""

import json

import layouts
import pytest
import synthetic

import main
from conrec.data import events
from preparation import splits
from preparation.titles import item_table
from recommend import load_run
from utils import InputError

SMALL = ["--epochs", "1", "--embedding_dim", "8", "--device", "cpu", "--batch_size", "100"]


def run(base, folder, name, *flags):
    where = ["--data_dir", str(base / "data"), "--result_dir", str(base / "result")]
    main.main(["--dataset", str(folder), *where, "--path_name", name, *flags])
    return base / "result" / folder.name / name


@pytest.fixture
def clicks(tmp_path):
    layouts.clicks(tmp_path / "clicks")
    return tmp_path / "clicks"


@pytest.mark.parametrize("model", ["LightGCN", "MF", "EASE", "Popularity", "Random", "ReFINe++"])
def test_what_can_be_learned_from_clicks_is(tmp_path, clicks, model):
    flags = SMALL if model in ("LightGCN", "MF", "ReFINe++") else []
    if model == "ReFINe++":
        flags = [*flags, "--dataset_augment", "original", "--no_autoencoder"]
    summary = json.loads((run(tmp_path, clicks, "a", "--model", model, *flags) / "summary.json").read_text())
    assert summary["data"]["users"] == 20 and summary["test"]["recall@20"] >= 0


@pytest.mark.parametrize("model", ["ReFINe++", "ReFINe", "SiReN", "Stars", "ItemMean", "CoNRec"])
def test_what_needs_dislikes_is_refused_by_name(tmp_path, clicks, model):
    why = "clicks: has no .item file" if model == "CoNRec" else (
        "holds no rating below 4, and (a refinement sorts|--model .* learns from) these; from likes alone learn"
    )  # fmt: skip
    with pytest.raises(InputError, match=why):
        run(tmp_path, clicks, "a", "--model", model)
    with pytest.raises(InputError, match=r"--hold_out dislikes: .* holds 0 ratings of 1 or 2"):
        run(tmp_path, clicks, "b", "--model", "EASE", "--hold_out", "dislikes")
    assert not list(tmp_path.glob("result/*/*/summary.json"))


def test_thumbs_down_are_asked_about_or_confirmed_as_one_says(tmp_path):
    layouts.thumbs(tmp_path / "votes")
    encoder = str(synthetic.write_encoder(tmp_path / "encoder"))
    flags = ["--columns", layouts.THUMBS["columns"], "--scale", layouts.THUMBS["scale"], *SMALL, "--hidden_dim", "9"]
    with pytest.raises(InputError, match=r"holds no 3s, .* --unasked_twos ask asks .*, --llm twos takes"):
        run(tmp_path, tmp_path / "votes", "none", "--llm", encoder, *flags)
    down = sum(stars < 3 for _, _, stars, _ in layouts.RATINGS)
    for words in (["--llm", encoder, "--unasked_twos", "ask"], ["--llm", "twos"]):
        folder = run(tmp_path, tmp_path / "votes", words[-1], *words, *flags)
        card = json.loads((folder / "summary.json").read_text())["refinement"]
        assert card["candidates"] == down
    assert card["changed"]["2->0.5"] == down
    made = load_run(folder, device="cpu").recommend("u1", 3)
    assert set(made.title) <= {f"Title {item}" for item in layouts.ITEMS}
    assert json.loads((folder / "config.json").read_text())["settings"]["scale"] == "up=5,down=2"


def test_conrec_reads_half_stars_as_it_reads_the_rounded_ones(tmp_path):
    synthetic.write_planted_world(tmp_path / "whole", n_users=20)
    (tmp_path / "half").mkdir()
    text = (tmp_path / "whole" / "whole.inter").read_text().replace("\t4\t", "\t3.5\t")
    (tmp_path / "half" / "half.inter").write_text(text)
    (tmp_path / "half" / "half.item").write_text((tmp_path / "whole" / "whole.item").read_text())
    with splits.brought("half", tmp_path / "half", tmp_path / "data", {"scale": "0.5-5"}) as atomic:
        made = events.to_frame(events.read(atomic.folder)[0])
        assert len(item_table(atomic.folder)) == 200
    assert made.equals(events.to_frame(events.read(tmp_path / "whole")[0]))


def test_an_error_names_the_file_that_one_gave(tmp_path):
    layouts.thumbs(tmp_path / "votes")
    flags = ["--columns", "user=who,rating=thumb", "--scale", "up=5,down=2", "--model", "EASE"]
    with pytest.raises(InputError, match=r"votes\.tsv: has no column timestamp"):
        run(tmp_path, tmp_path / "votes", "a", *flags, "--hold_out", "dislikes", "--split", "time")
    assert not list((tmp_path / "data").rglob("*.inter"))
