"""results4comparison: the published figures, the parser of logs, the checks and their exit codes."""

import json
import subprocess
import sys

import pandas as pd
import pytest

from options.models import HnlmrecSettings
from results4comparison import compare, hard_negatives, kept_runs, table
from results4comparison.differences import Measured, holm, paired

RUNS = json.loads((compare.HERE / "published" / "runs.json").read_text())


def a_log(counts=(938, 1008, 65841, 5018, 10514), loss=5.0, recall=0.2098, shift=0.0):
    """A short log in the published format that repeats the published ReFINe++ run on ML-100K, or departs from it."""
    test = RUNS["ReFINe++_ML-100K"]["test"]
    lines = [
        f"user: {counts[0]},  item: {counts[1]}",
        f"train interations: {counts[2]}",
        f"valid interations: {counts[3]}",
        f"test interations: {counts[4]}",
        f"Epoch: 001, Loss: {loss:.4f}",
        f"Precision@20: 0.0484, Recall@20: {recall:.4f}, NDCG@20: 0.1310",
        "Final Test Results",
    ]
    for k in (5, 10, 15, 20):
        p, r, n = (test[f"{name}@{k}"] + shift for name in ("precision", "recall", "ndcg"))
        lines.append(f"Precision@{k}: {p:.4f}, Recall@{k}: {r:.4f}, NDCG@{k}: {n:.4f}")
    return "\n".join(lines)


def compared(path, log):
    path.write_text(log)
    command = [sys.executable, str(compare.__file__), str(path), "--dataset", "ML-100K", "--model", "ReFINe++"]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("departure", "code"),
    [
        ({}, 0),
        ({"counts": (938, 1008, 65840, 5018, 10514)}, 3),
        ({"loss": 5.021}, 4),
        ({"recall": 0.2197}, 0),
        ({"recall": 0.2199}, 4),
        ({"shift": -0.02}, 5),
        ({"shift": -0.002}, 0),
        ({"shift": +0.02}, 0),
    ],
)
def test_exit_code_names_the_first_check_that_fails(tmp_path, departure, code):
    done = compared(tmp_path / "log.txt", a_log(**departure))
    assert done.returncode == code, done.stdout
    assert ("FAIL" in done.stdout) == (code > 3)


@pytest.mark.parametrize(
    ("llm", "flags", "log", "differing"),
    [
        ("published", {}, a_log(), ""),
        ("shuffled", {}, a_log(), "labels shuffled"),
        (None, {}, a_log(), "labels none"),
        ("published", {"r": 2}, a_log(), "--r 2"),
        ("rule", {"no_autoencoder": True, "loss": "bpr"}, a_log(), "labels rule, --no_autoencoder, --loss bpr"),
        ("rule", {}, a_log((938, 1008, 9, 5018, 10514)), "labels rule"),  # which explains the other count
        ("published", {}, a_log((938, 1008, 9, 5018, 8)), "train 9 instead of 65841, test 8 instead of 10514"),
    ],
)
def test_a_run_folder_of_another_experiment_is_named_as_such_and_not_compared(tmp_path, llm, flags, log, differing):
    (tmp_path / "log.txt").write_text(log)
    summary = {"dataset": "ML-100K", "model": "ReFINe++", "llm": llm, "flags": flags}
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    done = subprocess.run([sys.executable, str(compare.__file__), str(tmp_path)], capture_output=True, text=True)
    if differing:
        said = f"Another experiment, not compared: it differs from the published run: {differing}\n"
        assert (done.returncode, done.stdout) == (3, said)
    else:
        assert done.returncode == 0 and "recall@20" in done.stdout


def test_a_log_of_other_counts_is_not_compared(tmp_path):
    done = compared(tmp_path / "log.txt", a_log((938, 1008, 65840, 5018, 10514)))
    assert done.returncode == 3 and done.stdout.count("\n") == 1 and "train 65840 instead of 65841" in done.stdout


def test_the_table_at_the_end_of_a_run_names_what_differs_and_is_none_where_nothing_was_published():
    reference = compare.published("ML-100K", "ReFINe++")
    run = {"dataset": "ML-100K", "model": "ReFINe++", "data": reference["data"], "test": reference["test"]}
    rule = {"llm": "rule", "flags": {"no_autoencoder": True, "top_k": [5, 20]}}
    first, *_ = compare.table(run | rule, reference)
    assert first == "This run differs from the published run: labels rule, --no_autoencoder, --top_k 5 20"
    assert compare.table(run | rule, None) == []
    assert compare.table(run | {"protocol": "hold_out_dislikes"}, reference) == []
    lines = compare.table(run | {"llm": "published", "flags": {}}, reference)
    assert "differs" not in " ".join(lines) and len(lines) == 2 + 12


def test_a_run_of_a_model_of_which_nothing_was_published_is_not_called_unfinished(tmp_path):
    """The log of a closed form has solutions, not epochs."""
    (tmp_path / "log.txt").write_text("Solution 1 of 8: lambda 10\n")
    summary = {"dataset": "ML-100K", "model": "EASE", "llm": None, "flags": {}}
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    done = subprocess.run([sys.executable, str(compare.__file__), str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 2 and "nothing published for" in done.stderr


@pytest.mark.parametrize("text", ["", "Epoch: 001, Loss: 5.0", a_log().split("Final")[0]])
def test_an_unfinished_or_foreign_log_is_refused_in_one_line(tmp_path, text):
    done = compared(tmp_path / "log.txt", text)
    assert done.returncode == 2 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


def test_published_figures_are_those_of_the_design():
    """Best epoch, epochs, best validation R@20, test P@20, R@5, R@10, R@15, R@20, N@20, epoch-1 loss."""
    design = """
    ReFINe++_ML-100K 400 450 .4395 .1907 .2049 .3141 .3885 .4420 .3783 5.0000
    ReFINe++_ML-1M 157 207 .3194 .2139 .1347 .2144 .2743 .3228 .3376 5.1983
    ReFINe++_Netflix-1M 182 232 .2588 .1905 .1051 .1700 .2194 .2593 .2863 5.6714
    ReFINe++_Amazon_Digital_Music 195 245 .3094 .0321 .1910 .2741 .3287 .3673 .2041 6.1136
    ReFINe++_Amazon_Books 43 93 .1591 .0528 .0687 .1067 .1364 .1600 .1254 7.1898
    ReFINe_ML-100K 421 471 .4219 .1834 .1914 .2993 .3688 .4296 .3661 .6857
    ReFINe_ML-1M 352 402 .3030 .2074 .1232 .1994 .2574 .3053 .3196 .4457
    ReFINe_Netflix-1M 466 516 .2398 .1828 .0943 .1542 .2002 .2404 .2697 .4181
    """
    for line in design.strip().splitlines():
        key, *figures = line.split()
        run = compare.published(*reversed(key.split("_", 1)))
        epochs = run["epochs"].set_index("epoch")
        names = ["precision@20", "recall@5", "recall@10", "recall@15", "recall@20", "ndcg@20"]
        found = [run["best_epoch"], run["epochs_run"], epochs.loc[run["best_epoch"], "recall@20"]]
        found += [run["test"][name] for name in names] + [epochs.loc[1, "loss"]]
        assert found == [float(figure) for figure in figures]
        assert len(epochs) == run["epochs_run"] and epochs["recall@20"].max() == found[2]


def test_spread_needs_three_runs_with_the_authors_labels(tmp_path, monkeypatch):
    monkeypatch.setattr(compare, "HERE", tmp_path)
    (tmp_path / "ours").mkdir()
    for seed, (recall, llm) in enumerate([(0.40, "published"), (0.42, "published"), (0.9, "other")]):
        run = {"dataset": "D", "model": "M", "llm": llm, "test": {"recall@20": recall}}
        (tmp_path / "ours" / f"{seed}.json").write_text(json.dumps(run))
    assert compare.spread("D", "M") == {}
    (tmp_path / "ours" / "3.json").write_text(json.dumps(run | {"llm": "published", "test": {"recall@20": 0.44}}))
    assert compare.spread("D", "M")["recall@20"] == (pytest.approx(0.02), 3)


def test_of_an_epoch_that_a_resumed_run_printed_twice_the_last_counts(tmp_path):
    first = "Epoch: 001, Loss: 9.9\nPrecision@20: 0.1, Recall@20: 0.1, NDCG@20: 0.1\n"
    (tmp_path / "log.txt").write_text(a_log().replace("Epoch:", first + "Epoch:", 1))
    assert [epoch["loss"] for epoch in compare.parse_log(tmp_path / "log.txt")["epochs"]] == [5.0]


def a_run(folder, seed, llm, recalls, **flags):
    """A finished run of ReFINe++ with these Recall@20 of users a, b, c, ...; of HNLMRec where llm is a dict."""
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
    for name, (llm, recalls, flags) in runs.items():
        kept_runs.add(a_run(tmp_path / name, int(name[-1]), llm, recalls, **flags), name)


def cells(line):
    return [cell.strip() for cell in line.split("|")[1:-1]]


def test_kept_runs_are_tested_against_each_other_user_by_user(kept, capsys):
    table.main(["labels"])
    _, _, authors, rule, _, _, _, pair = capsys.readouterr().out.splitlines()
    assert "Llama-2-7b | 2 | 0.5750 ± 0.0118 |" in authors and "3s liked, 2s not | 2 | 0.6333 ± 0.0236 |" in rule
    sides = [[AUTHORS_1, AUTHORS_2], [RULE_1, RULE_2]]
    found = paired(*(Measured(pd.DataFrame(side).T) for side in sides))
    assert cells(pair)[3:5] == ["6", "-0.0583"] and float(cells(pair)[6]) == pytest.approx(found.p, abs=1e-4)
    interval = [float(c) for c in cells(pair)[5].split(" to ")]
    assert interval == pytest.approx([found.low, found.high], abs=1e-4) and cells(pair)[7] == cells(pair)[6]


def test_labels_of_a_data_set_are_compared_at_its_flags_and_adjusted_for_their_number(kept, tmp_path, capsys):
    runs = {  # of another data set, at the flags for it and at others
        "rule_1": ("rule", RULE_1, table.LABELS["ML-1M"]),
        "rule_2": ("rule", RULE_2, table.LABELS["ML-1M"]),
        "authors_1": ("published", AUTHORS_1, table.LABELS["ML-1M"]),
        "authors_2": ("published", AUTHORS_2, table.LABELS["ML-1M"]),
        "random_1": ("random", [0.3, 0.4, 0.6, 0.6, 0.8, 0.9], table.LABELS["ML-1M"]),
        "random_2": ("random", [0.2, 0.4, 0.6, 0.6, 0.9, 0.9], table.LABELS["ML-1M"]),
        "default_1": ("shuffled", [0.3, 0.4, 0.6, 0.6, 0.8, 0.9], {}),
    }
    for name, (llm, recalls, flags) in runs.items():
        folder = a_run(tmp_path / f"1m_{name}", 1, llm, recalls, **flags)
        summary = json.loads((folder / "summary.json").read_text()) | {"dataset": "ML-1M"}
        (folder / "summary.json").write_text(json.dumps(summary))
        kept_runs.add(folder, name)
    table.main(["labels"])
    tests = [cells(line) for line in capsys.readouterr().out.split("\n\n")[1].splitlines()[2:]]
    assert [row[0] for row in tests] == ["D", "ML-1M", "ML-1M", "ML-1M"]
    assert tests[0][6] == tests[0][7]  # the only one of its data set
    p_values = [float(row[6]) for row in tests[1:]]
    assert [float(row[7]) for row in tests[1:]] == pytest.approx(holm(p_values), abs=3e-4)
    assert "shuffled" not in str(tests)


def test_of_runs_in_large_batches_those_with_the_rules_labels_stand_among_the_systems(kept, tmp_path, capsys):
    for name, llm, more in (("a_1", "rule", {}), ("b_1", "rule", {"no_autoencoder": True}), ("c_1", "random", {})):
        kept_runs.add(a_run(tmp_path / name, 1, llm, [0.4, 0.5, 0.6, 0.7, 0.8, 0.9], **table.QUICK, **more), name)
    table.main(["systems"])
    found = [cells(line) for line in capsys.readouterr().out.splitlines() if "16384" in line]
    assert ["--no_autoencoder" in row[1] for row in found] == [False, True]


def test_precisions_are_compared_at_the_same_flags(kept, tmp_path, capsys):
    for name, more in (("fast_1", {}), ("bf16_1", {"precision": "bfloat16"})):
        recalls = [0.4, 0.5, 0.6, 0.7, 0.8, 0.7 + len(more) / 10]
        kept_runs.add(a_run(tmp_path / name, 1, "rule", recalls, **table.PRECISION, **more), name)
    table.main(["precision"])
    _, _, plain, half = map(cells, capsys.readouterr().out.splitlines())
    assert "bfloat16" in half[1] and half[-1] == "+0.0167" and plain[-1] == ""


def test_ablations_are_set_against_the_model_without_autoencoders(kept, capsys):
    table.main(["ablations"])
    header, _, plain, whole, bpr = map(cells, capsys.readouterr().out.splitlines())
    # the reference has one seed: no column of intervals, nor of p values
    assert header[-2:] == ["users", "difference"] and plain[-2:] == ["", ""]
    assert whole[1] == "ReFINe++" and whole[-1] == "+0.0250"
    assert bpr[1] == "ReFINe++ --loss bpr --no_autoencoder" and bpr[-1] == "+0.0833"


def test_systems_hold_refine_plus_plus_without_flags_only(kept, capsys):
    table.main(["systems"])
    assert "bpr" not in capsys.readouterr().out


OF_HNLMREC = {
    "model": "HNLMRec",
    "negatives": {"writer": "template", "encoder": "sentence-transformers/all-MiniLM-L6-v2"},
}


@pytest.fixture
def hard(kept, tmp_path, monkeypatch):
    """Runs about negatives beside those of ReFINe++, two seeds each but of titles."""
    rivals = {"LightGCN": {"DNS(64, 5)": {"sampler": "dns", "sampler_top": 5}}, "MF": {}}
    monkeypatch.setattr(hard_negatives, "RIVALS", rivals)
    none, plain = {"hard": "none"}, {"model": "HNLMRec", "negatives": None}
    runs = {
        "tuned_1": (OF_HNLMREC, [0.4, 0.5, 0.6, 0.7, 0.8, 0.9], {}),
        "tuned_2": (OF_HNLMREC, [0.6, 0.5, 0.6, 0.5, 0.8, 0.7], {}),
        "none_1": (plain, [0.4, 0.4, 0.5, 0.5, 0.7, 0.8], none),
        "none_2": (plain, [0.3, 0.5, 0.4, 0.6, 0.7, 0.8], none),
        "dns_1": (plain, [0.1, 0.9, 0.6, 0.8, 0.7, 0.9], {"sampler": "dns", "sampler_top": 5} | none),
        "dns_2": (plain, [0.2, 0.8, 0.6, 0.9, 0.7, 0.8], {"sampler": "dns", "sampler_top": 5} | none),
        "text_1": (OF_HNLMREC, [0.45, 0.5, 0.55, 0.6, 0.8, 0.85], {"hard": "text"}),
    }
    for seed in (1, 2):
        mf, fast = {"model": "MF"}, {"learning_rate": 0.1}
        runs[f"mf_{seed}"] = (mf, [0.3, 0.5, 0.6, 0.7, 0.7, 0.6], {})
        runs[f"mf_ahns_{seed}"] = (mf, [0.3, 0.5, 0.7, 0.7, 0.7, 0.9], {"sampler": "ahns"} | fast)
        runs[f"mf_fast_{seed}"] = (mf, [0.3, 0.5, 0.6, 0.7, 0.6, 0.6], fast)
        share = {"backbone": "MF", "hn_alpha": 0.3}
        runs[f"of_mf_{seed}"] = (OF_HNLMREC, [0.3, 0.5, 0.6, 0.7, 0.7, 0.7], share)
        runs[f"noise_{seed}"] = (OF_HNLMREC, [0.3, 0.5, 0.5, 0.7, 0.7, 0.7], share | {"hard": "noise_gauss"})
    for name, (llm, recalls, flags) in runs.items():
        kept_runs.add(a_run(tmp_path / name, int(name[-1]), llm, recalls, **flags), name)


NAMED = "HNLMRec (templates, all-MiniLM-L6-v2)"


def test_negatives_are_set_against_the_plain_run_of_the_same_backbone(hard, capsys):
    table.main(["negatives"])
    rows = {cells(line)[1]: cells(line) for line in capsys.readouterr().out.split("\n\n")[0].splitlines()[2:]}
    of_mf = f"{NAMED} --backbone MF --hn_alpha 0.3"
    assert set(rows) == {
        NAMED, "HNLMRec --hard none", "MF", "MF --learning_rate 0.1", of_mf, f"{of_mf} --hard noise_gauss",
        "HNLMRec --sampler dns --sampler_top 5 --hard none", "MF --sampler ahns --learning_rate 0.1",
    }  # fmt: skip
    assert rows[NAMED][2] == "2" and rows[NAMED][-4] == "+0.0833" and rows["HNLMRec --hard none"][-4] == ""
    assert rows["MF"][-4] == rows["MF --learning_rate 0.1"][-4] == rows[of_mf][-4] == ""  # nothing to set it against
    assert rows["MF --sampler ahns --learning_rate 0.1"][-4] == "+0.0833"  # not against the MF of another rate


def test_a_data_set_without_hnlmrec_is_not_among_the_negatives(hard, tmp_path, capsys):
    folder = a_run(tmp_path / "elsewhere_1", 1, {"model": "MF"}, [0.5] * 6)
    summary = json.loads((folder / "summary.json").read_text()) | {"dataset": "E"}
    (folder / "summary.json").write_text(json.dumps(summary))
    kept_runs.add(folder, "elsewhere_1")
    table.main(["negatives"])
    rows = capsys.readouterr().out.split("\n\n")[0].splitlines()[2:]
    assert len(rows) == 8 and all(cells(row)[0] == "D" for row in rows)


def test_named_comparisons_have_p_values_adjusted_for_their_number(hard, capsys):
    table.main(["negatives"])
    _, second, note, third = capsys.readouterr().out.split("\n\n")
    none, dns, noise = (cells(line) for line in second.splitlines()[2:])
    alpha = f"LightGCN, alpha {HnlmrecSettings.hn_alpha:g}"
    assert none[1:3] == [alpha, "no vectors"] and dns[1:3] == ["LightGCN, default", "DNS(64, 5)"]
    assert noise[1:3] == ["MF, alpha 0.3", "Gaussian noise"] and note.startswith("3 tests")
    users = [[[0.4, 0.5, 0.6, 0.7, 0.8, 0.9], [0.6, 0.5, 0.6, 0.5, 0.8, 0.7]]]
    users.append([[0.4, 0.4, 0.5, 0.5, 0.7, 0.8], [0.3, 0.5, 0.4, 0.6, 0.7, 0.8]])
    p = paired(*(Measured(pd.DataFrame(side).T) for side in users)).p
    assert float(none[6]) == pytest.approx(p, abs=1e-4)
    assert float(none[7]) == pytest.approx(min(1, 3 * p), abs=2e-4)
    # of one seed there is no test: what was tried is listed by validation
    (text,) = (cells(line) for line in third.strip().splitlines()[2:])
    assert text[1:3] == [f"{NAMED} --hard text", "1"]


def test_systems_hold_hnlmrec_without_flags_and_no_other_sampler(hard, capsys):
    table.main(["systems"])
    names = {cells(line)[1] for line in capsys.readouterr().out.splitlines()[2:]}
    assert {name for name in names if "ReFINe" not in name} == {
        NAMED, "MF", "MF --learning_rate 0.1",
    }  # fmt: skip


def test_a_user_of_some_runs_only_is_kept(kept, tmp_path):
    folder = a_run(tmp_path / "late_1", 1, "rule", [0.1] * 6)
    (folder / "per_user.csv").write_text("user,recall@20,ndcg@20\na,0.25,0.5\nnew,0.75,0.5\n")
    kept_runs.add(folder, "late_1")
    recalls = kept_runs.of_users("D", ["late_1", "rule_1"])
    assert recalls.loc["new", "late_1"] == 0.75 and recalls.loc["a"].tolist() == [0.25, 0.4]
    assert len(recalls) == 7 and recalls.isna().sum().tolist() == [5, 1]


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
    """Three finished runs of two experiments, an unfinished one, and the file that study.py leaves beside them."""
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
    assert bpr[:5] == ["D", "ReFINe++ --loss bpr", table.AUTHORS, "1", "0.5833"]
    assert rule[:5] == ["D", "ReFINe++", "no model: 3s liked, 2s not", "2", "0.6333 ± 0.0236"]
    names = ["ReFINe++, no model: 3s liked, 2s not", f"ReFINe++ --loss bpr, {table.AUTHORS}"]
    assert pair[:5] == ["D", *names, "6", "+0.0500"] and not any(pair[5:])  # one seed of the second best
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


def test_runs_of_one_row_with_the_same_seed_are_named(folders, tmp_path, capsys):
    twin = a_run(tmp_path / "twin_1", 1, "rule", [0.6] * 6)
    *_, said = printed(capsys, folders[0], twin)
    assert said == [f"{folders[0]}, {twin}: one row, although their seed is the same, too (1)"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sistems"], "sistems: no such run folder (nor systems, labels, ablations, keep)"),
        (["."], "no finished run among the folders given"),
        (["keep", "nowhere", "x"], "nowhere: holds no finished run"),
    ],
)
def test_what_is_no_run_folder_is_one_line(arguments, message):
    done = subprocess.run([sys.executable, table.__file__, *arguments], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.splitlines()[-1] == f"error: {message}"
    assert "Traceback" not in done.stderr


def test_an_epoch_without_number_and_loss_is_named(tmp_path):
    (tmp_path / "log.txt").write_text(a_log().replace("Epoch: 001", "Epoch: nonsense"))
    with pytest.raises(ValueError, match="'Epoch: nonsense"):
        compare.parse_log(tmp_path / "log.txt")
