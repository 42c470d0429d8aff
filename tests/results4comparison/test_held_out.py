"""Tables and the picture of runs with --hold_out dislikes."""

import json

import numpy as np
import pandas as pd
import pytest

from results4comparison import front, held_out, kept_runs, table
from results4comparison.differences import Measured, paired

USERS = [f"u{n}" for n in range(40)]
QUICK = held_out.QUICK["ML-100K"]


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
    for name, (summary, users) in runs.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / "summary.json").write_text(json.dumps(summary))
        users.to_csv(folder / "per_user.csv", index=False)
        table.main(["keep", str(folder), name])
    return {name: users.set_index("user") for name, (_, users) in runs.items()}


def rows(block):
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in block.splitlines() if line.startswith("| ")]


def printed(capsys):
    table.main(["dislikes"])
    return capsys.readouterr().out.strip().split("\n\n")


def test_runs_of_another_protocol_are_kept_apart_with_two_metrics_of_each_user(kept, tmp_path):
    assert not list((tmp_path / "ours").glob("*.json"))  # where those of the published protocol lie
    assert len(list((tmp_path / "ours" / "hold_out_dislikes").glob("*.json"))) == 15
    users = kept_runs.of_users("ML-100K", ["ease_1"], "dislikes@20", "hold_out_dislikes")
    assert users.index.tolist() == sorted(USERS) and set(users.ease_1) <= {0, 1}
    assert users.ease_1.to_dict() == kept["ease_1"]["dislikes@20"].to_dict()


def test_each_row_is_set_against_the_ratings_as_they_are_in_both_metrics(kept, capsys):
    words, quick, everything, _, _, one_seed = printed(capsys)
    assert words.startswith("Protocol: a fifth") and "--batch_size 4096" in quick
    header, _, *body = rows(everything)
    named = {row[2]: row for row in body}
    llama = named["the authors' Llama-2-7b (made with the held-out dislikes)"]
    assert llama[1] == "ReFINe++ quick --no_autoencoder" and llama[3] == "3"
    for metric, place in (("recall@20", 10), ("dislikes@20", 13)):
        sides = [[kept[f"{name}_{seed}"][metric] for seed in (1, 2, 3)] for name in ("llama", "plain")]
        found = paired(*(Measured(pd.concat(side, axis=1)) for side in sides))
        assert float(llama[place]) == pytest.approx(found.mean, abs=1e-4)
        assert [float(x) for x in llama[place + 1].split(" to ")] == pytest.approx([found.low, found.high], abs=1e-4)
    assert header[10:] == [
        "Recall@20, difference", "95 % interval", "p, Holm", "dislikes shown, difference", "95 % interval", "p, Holm",
    ]  # fmt: skip
    assert "kappa" not in everything and "--kappa 3.0" in one_seed  # of one seed no interval is known
    assert any(row[1] == "EASE" for row in body)  # a closed form needs but one


def test_the_named_comparisons_are_those_of_which_there_are_runs(kept, capsys):
    named = rows(printed(capsys)[3])
    assert [row[1] for row in named[2:]] == [
        "Llama-2-7b, or its labels shuffled?", "Llama-2-7b, or shuffled within users?",
    ]  # fmt: skip
    assert all(float(row[4]) >= 0 and float(row[7]) >= 0 for row in named[2:] if row[4][0] != "<")


def test_vectors_of_hnlmrec_are_set_against_the_same_shuffled(kept, tmp_path, capsys):
    for seed in (1, 2):
        for name, dislikes, flags in (("tuned", 0.2, {}), ("shuffled", 0.4, {"hard": "shuffled"})):
            flags = {"backbone": "MF", "hn_alpha": 0.3, "hn_folder": held_out.VECTORS[name]} | flags
            summary, users = shown(0.41, dislikes, seed, model="HNLMRec", flags=flags)
            folder = tmp_path / f"hn_{name}_{seed}"
            folder.mkdir()
            (folder / "summary.json").write_text(json.dumps(summary))
            users.to_csv(folder / "per_user.csv", index=False)
            table.main(["keep", str(folder), folder.name])
    header, _, row = rows(printed(capsys)[4])
    assert header[1:3] == ["HNLMRec's tuned vectors (made with the held-out dislikes)", "less"]
    assert row[1:3] == ["MF, alpha 0.3", "the same vectors, shuffled among the pairs"]
    sides = [
        kept_runs.of_users("ML-100K", [f"hn_{name}_{seed}" for seed in (1, 2)], "dislikes@20", "hold_out_dislikes")
        for name in ("tuned", "shuffled")
    ]
    assert float(row[6]) == pytest.approx(sides[0].mean().mean() - sides[1].mean().mean(), abs=1e-4)


def test_what_lets_dislikes_count_is_set_against_the_authors_labels(kept, capsys):
    header, _, row = rows(printed(capsys)[4])
    assert header[1:4] == ["dislikes count against", "less ReFINe++ on", "dislikes, of its"]
    assert row[1].startswith("EASE --ease_weights -0.6") and row[2] == "the authors' Llama-2-7b"
    theirs = pd.concat([kept[f"llama_{seed}"] for seed in (1, 2, 3)])
    own = kept["ease_minus_1"]
    assert row[3] == f"{own['dislikes@20'].mean() / theirs['dislikes@20'].mean():.0%}"
    assert float(row[4]) == pytest.approx(own["recall@20"].mean() - theirs["recall@20"].mean(), abs=1e-4)


def test_the_front_holds_what_nothing_beats_in_both(kept):
    random = np.random.default_rng(0)
    found = [front.Point(*random.random(2), {}, False) for _ in range(60)]
    on_it = front.front_of(found)
    for point in found:
        beaten = any(
            other.dislikes <= point.dislikes and other.recall >= point.recall and other is not point for other in found
        )
        assert (point in on_it) == (not beaten)
    assert [point.dislikes for point in on_it] == sorted(point.dislikes for point in on_it)


def test_the_picture_has_a_point_for_each_experiment_and_says_what_kind_it_is(kept, tmp_path):
    found = front.points("ML-100K")
    assert len(found) == 7 and sum(point.one_seed for point in found) == 1
    assert {front.kind_of(point.run) for point in found} == {"plain", "refined", "against"}
    figure = front.plot("ML-100K", least=0.1)
    (axis,) = figure.axes
    drawn = [tuple(place) for dots in axis.collections for place in dots.get_offsets().tolist()]
    assert sorted(drawn) == sorted((point.dislikes, point.recall) for point in found)
    front.main([str(tmp_path)])
    assert (tmp_path / "dislikes.png").stat().st_size > 10_000


def test_hnlmrec_without_vectors_is_called_by_its_backbone():
    named = [{}, {"hard": "none"}, {"hard": "none", "backbone": "MF", "sampler": "dns"}]
    runs = [{"model": "HNLMRec", "dataset_augment": "original", "flags": flags} for flags in named]
    assert [front.name_of(run) for run in runs] == ["HNLMRec", "LightGCN", "MF DNS"]
