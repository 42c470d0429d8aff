"""Tables and the picture of runs with --hold_out dislikes."""

import json

import numpy as np
import pandas as pd
import pytest

from results4comparison import held_out, kept_runs, names, table
from results4comparison.differences import Measured, paired

USERS = [f"u{n}" for n in range(40)]
QUICK = names.LARGE_BATCHES["ML-100K"]


def shown(recall, dislikes, seed, model="ReFINe++", llm=None, **more):
    """(summary, per_user.csv) of a run that differs from user to user and from seed to seed."""
    random = np.random.default_rng([seed, len(str(more)), len(model)])
    users = pd.DataFrame({"user": USERS, "recall@20": (recall + 0.05 * random.normal(size=40)).round(4)})
    users["dislikes@20"] = random.random(40) < dislikes
    users["dislikes@20"] = users["dislikes@20"].astype(float)
    figures = {"recall@20": users["recall@20"].mean(), "dislikes@20": users["dislikes@20"].mean(), "likes@20": 3.0}
    figures |= {"dislike_recall@20": 0.1, "dislikes_per_like@20": 0.1, "like_auc": 0.7, "ndcg@20": 0.1}
    figures |= {"precision@20": 0.1}
    summary = {"dataset": "ML-100K", "model": model, "random_seed": seed, "train_seconds": 1.0, "best_epoch": 3}
    summary |= {"protocol": "hold_out_dislikes", "dataset_augment": "augment" if llm else "original", "llm": llm}
    summary |= {"llm_mode": None, "validation": figures, "test": figures, "flags": {}} | more
    return summary, users


def keep(folder, runs):
    """runs: {name: (summary, per_user.csv)}."""
    for name, (summary, users) in runs.items():
        run = folder / name
        run.mkdir()
        (run / "summary.json").write_text(json.dumps(summary))
        users.to_csv(run / "per_user.csv", index=False)
        table.main(["keep", str(run), name])


@pytest.fixture
def kept(tmp_path, monkeypatch):
    monkeypatch.setattr(kept_runs, "OURS", tmp_path / "ours")
    (tmp_path / "ours").mkdir()
    without, saw = {"flags": QUICK | {"no_autoencoder": True}}, {"labels_saw_dislikes": True}
    runs = {}
    for seed in (1, 2, 3):
        runs[f"plain_{seed}"] = shown(0.40, 0.3, seed, **without)
        runs[f"llama_{seed}"] = shown(0.44, 0.5, seed, llm="published", **without, **saw)
        runs[f"shuffled_{seed}"] = shown(0.45, 0.5, seed, llm="shuffled", **without, **saw)
        runs[f"within_{seed}"] = shown(0.45, 0.5, seed, llm="shuffled", llm_shuffle="user", **without, **saw)
    runs["ease_1"] = shown(0.39, 0.25, 1, model="EASE")
    minus = {"ease_weights": [-0.6, -0.6, 0.3, 1.0, 1.2]}
    runs["ease_minus_1"] = shown(0.42, 0.1, 1, model="EASE", flags=minus)
    kappa = QUICK | {"no_autoencoder": True, "kappa": 3.0}
    runs["kappa_1"] = shown(0.46, 0.2, 1, llm="rule", flags=kappa)
    keep(tmp_path, runs)
    return {name: users.set_index("user") for name, (_, users) in runs.items()}


def rows_of(name):
    return held_out.compare_dislikes()[name].rows


def test_runs_of_another_protocol_are_kept_apart_with_two_metrics_of_each_user(kept, tmp_path):
    assert not list((tmp_path / "ours").glob("*.json"))  # where those of the published protocol lie
    assert len(list((tmp_path / "ours" / "hold_out_dislikes").glob("*.json"))) == 15
    experiment = {"data set": "ML-100K", "names": ["ease_1"], "protocol": "hold_out_dislikes"}
    users = kept_runs.read_users(experiment, "dislikes@20")
    assert users.index.tolist() == sorted(USERS) and set(users.ease_1) <= {0, 1}
    assert users.ease_1.to_dict() == kept["ease_1"]["dislikes@20"].to_dict()


def test_each_row_is_set_against_the_ratings_as_they_are_in_both_metrics(kept, capsys):
    rows = rows_of("dislikes")
    (llama,) = rows[rows["labels"] == held_out.LLAMA].to_dict("records")
    assert llama["model"] == "ReFINe++, no autoencoders, large batches" and llama["seeds"] == 3
    for metric, title in held_out.METRICS.items():
        sides = [[kept[f"{name}_{seed}"][metric] for seed in (1, 2, 3)] for name in ("llama", "plain")]
        found = paired(*(Measured(pd.concat(side, axis=1)) for side in sides))
        columns = [f"{title}, {word}" for word in ("difference", "difference low", "difference high", "p")]
        assert [llama[column] for column in columns] == pytest.approx(found[1:], abs=1e-4)
    assert rows["Recall@20, p, Holm"].min() >= rows["Recall@20, p"].min()
    assert "EASE" in set(rows["model"])  # a closed form needs but one
    assert not rows["model"].str.contains("κ").any()  # of one seed no interval is known
    assert rows_of("dislikes_one_seed")["model"].tolist() == ["ReFINe++, no autoencoders, κ 3, large batches"]
    table.main(["dislikes"])
    assert "- large batches (ML-100K): `--learning_rate 0.006 --batch_size 4096" in capsys.readouterr().out


def test_the_named_comparisons_are_those_of_which_there_are_runs(kept):
    assert rows_of("dislikes_named")["the first, or the second?"].tolist() == [
        "Llama-2-7b, or its labels shuffled?", "Llama-2-7b, or shuffled within users?",
    ]  # fmt: skip


def test_vectors_of_hnlmrec_are_set_against_the_same_shuffled(kept, tmp_path):
    for seed in (1, 2):
        for name, dislikes, flags in (("tuned", 0.2, {}), ("shuffled", 0.4, {"hard": "shuffled"})):
            flags = {"backbone": "MF", "hn_alpha": 0.3, "hn_folder": held_out.VECTORS[name]} | flags
            keep(tmp_path, {f"hn_{name}_{seed}": shown(0.41, dislikes, seed, model="HNLMRec", flags=flags)})
    (row,) = rows_of("dislikes_vectors").to_dict("records")
    assert (row["tuned vectors"], row["less"]) == ("MF, alpha 0.3", "the same vectors, shuffled among the pairs")
    means = []
    for name in ("tuned", "shuffled"):
        experiment = {"data set": "ML-100K", "protocol": "hold_out_dislikes"}
        users = kept_runs.read_users(experiment | {"names": [f"hn_{name}_1", f"hn_{name}_2"]}, "dislikes@20")
        means.append(users.mean().mean())
    assert row["dislikes shown, difference"] == pytest.approx(means[0] - means[1], abs=1e-4)


def test_what_lets_dislikes_count_is_set_against_the_authors_labels(kept):
    (row,) = rows_of("dislikes_goals").to_dict("records")
    assert row["model"] == "EASE, stars -0.6 -0.6 0.3 1 1.2" and row["less ReFINe++ on"] == "the authors' Llama-2-7b"
    theirs = pd.concat([kept[f"llama_{seed}"] for seed in (1, 2, 3)]).mean()
    own = kept["ease_minus_1"].mean()
    assert row["dislikes, of its"] == f"{own['dislikes@20'] / theirs['dislikes@20']:.0%}"
    assert row["Recall@20, difference"] == pytest.approx(own["recall@20"] - theirs["recall@20"], abs=1e-4)
