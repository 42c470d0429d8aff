"""Recall@20 by user and item group against brute force over the files of a run."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import synthetic

import main
import recommend
from machine import shell
from results4comparison import groups
from utils import InputError


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    base = tmp_path_factory.mktemp("groups")
    world = synthetic.write_data_set(base / "blocks")
    paths = {"--dataset": world, "--data_dir": base / "data", "--result_dir": base / "result"}
    words = [str(part) for pair in paths.items() for part in pair]
    main.main([*words, "--model", "Popularity", "--top_k", "20", "--path_name", "a"])
    return base / "result" / "blocks" / "a"


def files(run):
    """train positives and test rows as pairs of tokens, and the recommended pairs."""
    folder = run.parents[2] / "data" / "blocks"
    read = lambda part: pd.read_csv(folder / f"blocks_{part}.csv").set_axis(["user", "item", "rating"], axis=1)  # noqa: E731
    train = read("train_original")
    recommended = pd.read_csv(run / "recommendations.csv")
    return train[train.rating >= 4], read("test"), set(zip(recommended.user, recommended.item, strict=True))


def test_each_group_against_a_walk_through_users_and_items(run):
    train, test, recommended = files(run)
    data = recommend.load_run(run, device="cpu").data
    found = list(groups.measure(run).itertuples(index=False, name=None))
    for kind, tokens in (("user", data.user_ids.tolist()), ("item", data.item_ids.tolist())):
        count = {token: (train[kind] == token).sum() for token in tokens}
        if kind == "user":  # in thirds, the least active first
            tokens.sort(key=count.__getitem__)
            thirds = [tokens[:14], tokens[14:27], tokens[27:]]  # of 40 users
        else:  # the most popular first, a group ends where a third of the positives is reached
            tokens.sort(key=lambda token: -count[token])
            thirds, passed = [[], [], []], 0
            for token in tokens:
                thirds[3 * passed // len(train)].append(token)
                passed += count[token]
        for own in thirds:
            rows = [pair for pair in zip(test.user, test.item, strict=True) if pair[kind == "item"] in own]
            held = [count[token] for token in own]
            name = f"{kind}s with {min(held)} to {max(held)} train positives"
            assert found.pop(0) == (name, sum(pair in recommended for pair in rows), len(rows))


def test_thirds_of_users_and_of_positives_on_hand_made_counts():
    assert groups.group_users(np.array([9, 1, 5, 2, 7, 3])).tolist() == [2, 0, 1, 0, 2, 1]
    # 12 positives: the first item holds 4 of them, the next two 4, the rest 4
    assert groups.group_items(np.array([1, 4, 2, 1, 2, 1, 1])).tolist() == [2, 0, 1, 2, 1, 2, 2]
    assert groups.group_items(np.array([10, 1, 1])).tolist() == [0, 2, 2]


def test_kept_runs_are_averaged_over_their_seeds(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(groups, "OURS", tmp_path)
    whole = groups.measure(run)
    monkeypatch.setattr(groups, "measure", lambda folder: whole)
    groups.keep(run, "dns_1")
    monkeypatch.setattr(groups, "measure", lambda folder: whole.assign(hits=0))
    groups.keep(run, "dns_2")
    groups.keep(run, "dns_2")  # again: not twice
    groups.main(["kept", "dns"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + len(whole)
    for line, (_, row) in zip(lines[2:], whole.iterrows(), strict=True):
        assert line == f"| {row.group} | {row.hits / row.rows / 2:.4f} | {row.rows} |"
    with pytest.raises(InputError, match=r"other: no kept run of ours/ is called other_<seed>"):
        groups.main(["kept", "other"])


def test_a_folder_without_a_finished_run_is_one_line(run, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "config.json").write_text(json.dumps({"settings": {}}))
    for arguments in ([], ["keep", str(tmp_path), "x"], ["keep", str(tmp_path / "run"), "x"]):
        assert shell.cli(groups.main, arguments) == 2
        assert capsys.readouterr().err.count("\n") == 1
