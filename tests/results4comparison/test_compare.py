"""compare.py: the published figures, the parser of logs, the checks and their exit codes."""

import json

import pytest

from results4comparison import compare

RUNS = json.loads((compare.HERE / "published" / "runs.json").read_text())


def a_log(counts=(938, 1008, 65841, 5018, 10514), loss=5.0, recall=0.2098, shift=0.0):
    """A short log that repeats the published ReFINe++ run on ML-100K, or departs from it."""
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


def compared(path, log, capsys):
    """(exit code, stdout, stderr)"""
    path.write_text(log)
    code = compare.main([str(path), "--dataset", "ML-100K", "--model", "ReFINe++"])
    return code, *capsys.readouterr()


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
def test_exit_code_names_the_first_check_that_fails(tmp_path, capsys, departure, code):
    found, said, _ = compared(tmp_path / "log.txt", a_log(**departure), capsys)
    assert found == code and ("FAIL" in said) == (code > 3), said


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
def test_a_run_folder_of_another_experiment_is_named_and_not_compared(tmp_path, capsys, llm, flags, log, differing):
    (tmp_path / "log.txt").write_text(log)
    summary = {"dataset": "ML-100K", "model": "ReFINe++", "llm": llm, "flags": flags}
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    code, said = compare.main([str(tmp_path)]), capsys.readouterr().out
    if differing:
        expected = f"Another experiment, not compared: it differs from the published run: {differing}\n"
        assert (code, said) == (3, expected)
    else:
        assert code == 0 and "recall@20" in said


def test_the_table_at_the_end_of_a_run_names_what_differs_and_is_none_where_nothing_was_published():
    reference = compare.published("ML-100K", "ReFINe++")
    run = {"dataset": "ML-100K", "model": "ReFINe++", "data": reference["data"], "test": reference["test"]}
    rule = {"llm": "rule", "flags": {"no_autoencoder": True, "top_k": [5, 20]}}
    first, *_ = compare.write_table(run | rule, reference)
    assert first == "This run differs from the published run: labels rule, --no_autoencoder, --top_k 5 20"
    assert compare.write_table(run | rule, None) == []
    assert compare.write_table(run | {"protocol": "hold_out_dislikes"}, reference) == []
    lines = compare.write_table(run | {"llm": "published", "flags": {}}, reference)
    assert "differs" not in " ".join(lines) and len(lines) == 2 + 12


def test_a_run_of_a_model_of_which_nothing_was_published_is_not_called_unfinished(tmp_path, capsys):
    """The log of a closed form has solutions, not epochs."""
    (tmp_path / "log.txt").write_text("Solution 1 of 8: lambda 10\n")
    summary = {"dataset": "ML-100K", "model": "EASE", "llm": None, "flags": {}}
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    assert compare.main([str(tmp_path)]) == 2 and "nothing published for" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Epoch: 001, Loss: 5.0", "lacks header counts"), (a_log().split("Final")[0], "is the run finished?"),
        (a_log().replace("Epoch: 001", "Epoch: nonsense"), "'Epoch: nonsense"),
    ],
)  # fmt: skip
def test_an_unfinished_or_foreign_log_is_refused_in_one_line(tmp_path, capsys, text, why):
    code, _, error = compared(tmp_path / "log.txt", text, capsys)
    assert code == 2 and error.startswith("error: ") and why in error and error.count("\n") == 1


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
    assert compare.measure_spread("D", "M") == {}
    third = run | {"llm": "published", "test": {"recall@20": 0.44}}
    (tmp_path / "ours" / "3.json").write_text(json.dumps(third))
    assert compare.measure_spread("D", "M")["recall@20"] == (pytest.approx(0.02), 3)


def test_of_an_epoch_that_a_resumed_run_printed_twice_the_last_counts(tmp_path):
    first = "Epoch: 001, Loss: 9.9\nPrecision@20: 0.1, Recall@20: 0.1, NDCG@20: 0.1\n"
    (tmp_path / "log.txt").write_text(a_log().replace("Epoch:", first + "Epoch:", 1))
    assert [epoch["loss"] for epoch in compare.parse_log(tmp_path / "log.txt")["epochs"]] == [5.0]
