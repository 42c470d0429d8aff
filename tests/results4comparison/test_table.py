"""table.py: tables of kept runs, their CSVs, and tables of run folders."""

import json

import pandas as pd
import pytest

from machine import shell
from options.models import HnlmrecSettings
from results4comparison import kept_runs, names, table
from results4comparison.differences import Measured, paired


def a_run(folder, seed, llm, recalls, **flags):
    """A finished run of ReFINe++ with these Recall@20 of users; of another model where llm is a dict."""
    folder.mkdir()
    metrics = {"recall@20": sum(recalls) / len(recalls), "ndcg@20": 0.3, "precision@20": 0.2}
    summary = {"dataset": "D", "model": "ReFINe++", "random_seed": seed, "train_seconds": 60.0, "flags": flags}
    summary |= {"dataset_augment": "augment", "llm": llm, "llm_mode": None}
    if isinstance(llm, dict):
        summary |= {"dataset_augment": "original", "llm": None} | llm
    summary |= {"test": metrics, "validation": metrics, "best_epoch": seed}
    (folder / "summary.json").write_text(json.dumps(summary))
    rows = [f"{user},{recall},0.5" for user, recall in zip("abcdef", recalls, strict=True)]
    (folder / "per_user.csv").write_text("\n".join(["user,recall@20,ndcg@20", *rows]))
    return folder


RULE_1, RULE_2 = [0.4, 0.5, 0.6, 0.7, 0.8, 0.9], [0.6, 0.5, 0.6, 0.5, 0.8, 0.7]
AUTHORS_1, AUTHORS_2 = [0.3, 0.5, 0.5, 0.6, 0.7, 0.9], [0.3, 0.4, 0.5, 0.7, 0.6, 0.9]


def keep(folder, runs, dataset="D"):
    """runs: {NAME_SEED: (labels, Recall@20 of each user, flags)}."""
    for name, (llm, recalls, flags) in runs.items():
        run = a_run(folder / f"{dataset}_{name}", int(name[-1]), llm, recalls, **flags)
        summary = json.loads((run / "summary.json").read_text()) | {"dataset": dataset}
        (run / "summary.json").write_text(json.dumps(summary))
        kept_runs.add(run, name)


@pytest.fixture
def kept(tmp_path, monkeypatch):
    monkeypatch.setattr(kept_runs, "OURS", tmp_path)
    runs = {
        "rule_1": ("rule", RULE_1, {}),
        "rule_2": ("rule", RULE_2, {}),
        "authors_1": ("published", AUTHORS_1, {}),
        "authors_2": ("published", AUTHORS_2, {}),
        "bpr_1": ("published", [0.4, 0.6, 0.5, 0.7, 0.8, 0.8], {"loss": "bpr", "no_autoencoder": True}),
        "plain_1": ("published", [0.2, 0.4, 0.5, 0.6, 0.7, 0.9], {"no_autoencoder": True}),
    }
    keep(tmp_path, runs)


def cells(line):
    return [cell.strip() for cell in line.split("|")[1:-1]]


def test_the_csvs_hold_all_figures_of_the_tables(tmp_path):
    """Refreshed by `python results4comparison/table.py write`."""
    table.write_all(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in table.FOLDER.iterdir()}
    for path in tmp_path.iterdir():
        kept = pd.read_csv(table.FOLDER / path.name)
        pd.testing.assert_frame_equal(pd.read_csv(path), kept, rtol=1e-3, atol=1e-4)


def test_kept_runs_are_tested_against_each_other_user_by_user(kept, capsys):
    table.main(["labels"])
    first, second = capsys.readouterr().out.split("Recall@20 with some labels less others:")
    assert "Llama-2-7b | 2 | 0.5750 ± 0.0118 |" in first and "3s liked, 2s not | 2 | 0.6333 ± 0.0236 |" in first
    found = paired(*(Measured(pd.DataFrame(side).T) for side in ([RULE_1, RULE_2], [AUTHORS_1, AUTHORS_2])))
    expected = f"{found.mean:+.4f} ({found.low:+.4f} to {found.high:+.4f}) | {found.p:.4f} |"
    assert f"| no model: 3s liked, 2s not | the authors' Llama-2-7b | {expected}" in second


def test_ablations_are_set_against_the_model_without_autoencoders(kept, capsys):
    table.main(["ablations"])
    _, _, header, _, plain, whole, bpr = capsys.readouterr().out.splitlines()
    # the reference has one seed: no interval, no p value
    assert cells(header)[-2:] == ["train seconds", "difference (95 % interval)"] and cells(plain)[-1] == ""
    assert (cells(whole)[0], cells(whole)[-1]) == ("ReFINe++", "+0.0250")
    assert (cells(bpr)[0], cells(bpr)[-1]) == ("ReFINe++, BPR, no autoencoders", "+0.0833")


LARGE = names.LARGE_BATCHES["ML-1M"]


@pytest.mark.parametrize(
    ("run", "name"),
    [
        ({"model": "EASE", "flags": names.EASE_STARS | names.RIDGES}, "EASE, star weights"),
        ({"model": "ReFINe++", "flags": {"kappa": 0.3, "star_weights": [0.3, 1.0, 1.2]} | LARGE},
         "ReFINe++, κ 0.3, stars 0.3 1 1.2, large batches"),
        ({"model": "ReFINe++", "flags": names.DISLIKES_COUNT | {"no_autoencoder": True} | LARGE},
         "ReFINe++, fewer dislikes"),
        ({"model": "SiReN", "flags": {"lambda_reg": 0.1, "negative_c": 2}}, "SiReN, λ 0.1, --negative_c 2"),
        ({"model": "Blend", "flags": {"blend": ["5 x stars_quick", "ease_words"], "dislike_cost": 2.0}},
         "Blend: 5 x ReFINe++ + EASE, cost 2"),
    ],
)  # fmt: skip
def test_recipes_have_short_names_whose_flags_are_listed(run, name):
    assert names.shorten(run) == name
    for line in names.list_recipes([run | {"dataset": "D"}]):
        assert line.startswith(f"- {name.split(', ')[-1]} (D): `--")


OF_HNLMREC = {
    "model": "HNLMRec",
    "negatives": {"writer": "template", "encoder": "sentence-transformers/all-MiniLM-L6-v2"},
}


def test_negatives_are_set_against_the_plain_run_of_the_same_backbone(kept, tmp_path):
    plain, mf = {"model": "HNLMRec", "negatives": None}, {"model": "MF"}
    runs = {
        "tuned_1": (OF_HNLMREC, RULE_1, {}),
        "tuned_2": (OF_HNLMREC, RULE_2, {}),
        "none_1": (plain, AUTHORS_1, {"hard": "none"}),
        "none_2": (plain, AUTHORS_2, {"hard": "none"}),
        "text_1": (OF_HNLMREC, [0.45, 0.5, 0.55, 0.6, 0.8, 0.85], {"hard": "text"}),
    }
    for seed in (1, 2):
        runs[f"mf_{seed}"] = (mf, RULE_2, {})
        runs[f"mf_ahns_{seed}"] = (mf, RULE_1, {"sampler": "ahns", "learning_rate": 0.1})
        runs[f"mf_fast_{seed}"] = (mf, AUTHORS_1, {"learning_rate": 0.1})
    keep(tmp_path, runs)
    keep(tmp_path, {"elsewhere_1": (OF_HNLMREC | mf, RULE_1, {})}, "E")  # a data set without HNLMRec
    rows, named, tried = (one.rows for one in table.TABLES["negatives"]().values())
    assert rows["difference"].fillna(0).round(4).groupby(rows["model"]).first().to_dict() == {
        "HNLMRec": 0.0583, "HNLMRec, no vectors": 0, "MF": 0, "MF, --learning_rate 0.1": 0,
        "MF, AHNS, --learning_rate 0.1": 0.0667,  # not against the MF of another rate
    }  # fmt: skip
    alpha = f"LightGCN, alpha {HnlmrecSettings.hn_alpha:g}"
    assert named[["tuned vectors", "less"]].to_numpy().tolist() == [[alpha, "no vectors"]]
    # of one seed there is no test: what was tried is listed by validation
    assert tried[["model", "seed"]].to_numpy().tolist() == [["HNLMRec, vectors of titles", 1]]


def test_a_user_of_some_runs_only_is_kept(kept, tmp_path):
    folder = a_run(tmp_path / "late_1", 1, "rule", [0.1] * 6)
    (folder / "per_user.csv").write_text("user,recall@20,ndcg@20\na,0.25,0.5\nnew,0.75,0.5\n")
    kept_runs.add(folder, "late_1")
    recalls = kept_runs.read_users({"protocol": "", "data set": "D", "names": ["late_1", "rule_1"]})
    assert recalls.loc["new", "late_1"] == 0.75 and recalls.loc["a"].tolist() == [0.25, 0.4]
    assert len(recalls) == 7 and recalls.isna().sum().tolist() == [5, 1]


def test_kept_blends_whose_parts_have_commas_are_one_row_with_new_ones():
    old, new = ({"model": "Blend", "flags": {"blend": [f"5 x EASE_ease_weights_0{mark}1_ease"]}} for mark in ",+")
    assert names.write_flags(old) == names.write_flags(new) == "--blend 5 x EASE_ease_weights_0+1_ease"
    assert names.shorten(old) == names.shorten(new) == "Blend: 5 x EASE 0 1"


# ------------------------------------------------------------------------------------------ run folders


def printed(capsys, *folders):
    """(rows of cells of the table, of the tests, lines on stderr) of table.py FOLDERS."""
    table.main(list(map(str, folders)))
    out, err = capsys.readouterr()
    everything, _, tests = out.partition("\n\n")
    rows = [[cells(line) for line in part.splitlines()] for part in (everything, tests)]
    return *rows, err.splitlines()


@pytest.fixture
def folders(tmp_path):
    """Three finished runs of two experiments, an unfinished one, and a file of study.py."""
    rule = [
        a_run(tmp_path / "rule_1", 1, "rule", [0.4, 0.5, 0.6, 0.7, 0.8, 0.9]),
        a_run(tmp_path / "rule_2", 2, "rule", [0.6, 0.5, 0.6, 0.5, 0.8, 0.7]),
    ]
    bpr = a_run(tmp_path / "bpr_1", 1, "published", [0.3, 0.5, 0.5, 0.6, 0.7, 0.9], loss="bpr")
    (tmp_path / "begun").mkdir()
    (tmp_path / "rule_1.out").write_text("")
    return [*rule, bpr, tmp_path / "begun", tmp_path / "rule_1.out"]


def test_run_folders_make_a_table_of_the_finished_and_a_test_of_the_best_two(folders, capsys):
    (header, _, bpr, rule), (_, _, pair), said = printed(capsys, *folders)
    assert header[:5] == ["data set", "model", "refined by", "seeds", "test recall@20"]
    assert "published recall@20" not in header  # nothing is, for this data set
    assert bpr[:5] == ["D", "ReFINe++ --loss bpr", names.AUTHORS, "1", "0.5833"]
    assert rule[:5] == ["D", "ReFINe++", "no model: 3s liked, 2s not", "2", "0.6333 ± 0.0236"]
    best = ["ReFINe++, no model: 3s liked, 2s not", f"ReFINe++ --loss bpr, {names.AUTHORS}"]
    assert pair[:5] == ["D", *best, "6", "+0.0500"] and not any(pair[5:])  # one seed of the second best
    assert said == [f"left out: {folders[3]}: holds no finished run"]


def test_runs_of_another_protocol_have_a_table_of_their_own_and_never_share_a_row(folders, capsys):
    shown = {"likes@20": 3.5, "dislikes@20": 0.25, "dislike_recall@20": 0.1, "dislikes_per_like@20": 0.0714}
    summary = json.loads((folders[0] / "summary.json").read_text())
    summary["test"] |= shown | {"like_auc": None}  # no user has both
    (folders[0] / "summary.json").write_text(json.dumps(summary | {"protocol": "hold_out_dislikes"}))
    table.main([str(folder) for folder in folders[:3]])
    published, tests, words, own = capsys.readouterr().out.strip().split("\n\n")
    assert [cells(line)[3:5] for line in published.splitlines()[2:]] == [["1", "0.5833"], ["1", "0.6167"]]
    assert len(tests.splitlines()) == 3 and words.startswith("Dislikes held out: a fifth")
    header, _, row = map(cells, own.splitlines())
    assert header[4:7] == ["Recall@20", "likes shown", "dislikes shown"]
    assert row[3:] == ["1", "0.6500", "3.5000", "0.2500", "0.1000", "0.0714"]  # a column without a figure is left out


def test_run_folders_of_older_versions_are_read_and_broken_ones_left_out(folders, capsys):
    old, lacking, broken = folders[:3]
    summary = json.loads((old / "summary.json").read_text())
    for key in ("flags", "llm_mode", "dataset_augment", "random_seed"):
        del summary[key]
    (old / "summary.json").write_text(json.dumps(summary | {"another": "version"}))
    (old / "per_user.csv").unlink()
    (lacking / "summary.json").write_text(json.dumps({"dataset": "D", "model": "ReFINe++"}))
    (broken / "summary.json").write_text("[")
    (_, _, row), tests, said = printed(capsys, *folders[:3])
    assert row[2:5] == ["no model: 3s liked, 2s not", "1", "0.6500"] and not tests
    assert said[0] == f"left out: {lacking}/summary.json: lacks 'test'"
    assert said[1] == f"left out: {broken}/summary.json: is not the summary of a run"
    assert said[2] == f"{old}: has no per_user.csv, so it is in no test"


def test_runs_with_other_prompts_or_numbers_of_users_are_rows_of_their_own(tmp_path, capsys):
    mine = {"prompt": "mine.txt", "prompt_hash": "1a2b3c4d"}
    asked = [
        {},
        mine,
        mine | {"users": 40},
        mine | {"prompt_hash": "99999999"},
        {"prompt": "other.txt", "prompt_hash": "55555555"},
    ]
    folders = []
    for seed, one in enumerate(asked):
        model = {"llm": "x/fake", "llm_mode": "generate", "dataset_augment": "augment"} | one
        folders.append(a_run(tmp_path / f"run_{seed}", seed, model, [0.1 * seed] * 6))
    rows, _, said = printed(capsys, *folders)
    assert [row[2] for row in rows[2:]] == [
        "our fake, generate",
        "our fake, generate, prompt mine.txt 1a2b3c4d",
        "our fake, generate, prompt mine.txt 1a2b3c4d, 40 users",
        "our fake, generate, prompt mine.txt 99999999",
        "our fake, generate, prompt other.txt",
    ]
    rows, *_ = printed(capsys, *folders[:3])  # where the name tells, no hash
    assert rows[-1][2] == "our fake, generate, prompt mine.txt, 40 users"
    assert not said


def test_every_row_is_tested_against_the_one_of_a_named_run(folders, tmp_path, capsys):
    seeds = [a_run(tmp_path / f"bpr_{seed}", seed, "published", AUTHORS_2, loss="bpr") for seed in (2, 3)]
    plain = [a_run(tmp_path / f"plain_{seed}", seed, "published", [0.1 * seed] * 6) for seed in (1, 2)]
    runs = [*folders[:3], *seeds, *plain]
    for folder in runs[:-1]:  # the last lacks a metric of its users
        users = (folder / "per_user.csv").read_text().replace("ndcg@20", "dislikes@20")
        (folder / "per_user.csv").write_text(users)
    table.main(["--against", f"{folders[0].parent}/./rule_1", *map(str, runs)])
    recall, dislikes = capsys.readouterr().out.split("less that of ReFINe++, no model: 3s liked, 2s not:")[1:]
    recall = recall.split("\n\n")[1]
    header, _, *rows = [cells(line) for line in recall.strip().splitlines()]
    assert header == ["data set", "model", "refined by", "difference (95 % interval)", "p, Holm"]
    theirs = Measured(pd.DataFrame([RULE_1, RULE_2]).T)
    authors = [AUTHORS_1, AUTHORS_2, AUTHORS_2]
    found = [paired(Measured(pd.DataFrame(own).T), theirs) for own in ([[0.1] * 6, [0.2] * 6], authors)]
    assert [row[1] for row in rows] == ["ReFINe++", "ReFINe++ --loss bpr"]
    for row, one in zip(rows, found, strict=True):
        assert row[3] == f"{one.mean:+.4f} ({one.low:+.4f} to {one.high:+.4f})"
    p = sorted(one.p for one in found)
    assert sorted(float(row[4]) for row in rows) == pytest.approx([2 * p[0], max(2 * p[0], p[1])], abs=1e-3)
    assert "ReFINe++ --loss bpr" in dislikes


def test_runs_of_one_row_with_the_same_seed_are_named(folders, tmp_path, capsys):
    twin = a_run(tmp_path / "twin_1", 1, "rule", [0.6] * 6)
    *_, said = printed(capsys, folders[0], twin)
    assert said == [f"{folders[0]}, {twin}: one row, although their seed is the same, too (1)"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sistems"], "sistems: no such run folder (nor systems, labels, ablations, keep)"),
        (["."], "no finished run among the folders given"),
        (["--against", ".", "."], "no finished run among the folders given"),
        (["keep", "nowhere", "x"], "nowhere: holds no finished run"),
    ],
)
def test_what_is_no_run_folder_is_one_line(capsys, arguments, message):
    assert shell.cli(table.main, arguments) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"error: {message}"
