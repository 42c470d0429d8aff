"""Ranking metrics, early stopping, the run folder."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from synthetic import train_data
from torch_geometric.metrics import LinkPredNDCG, LinkPredPrecision, LinkPredRecall

import run_folder
import utils

TOP_K = [1, 5, 20]


@pytest.fixture
def data():
    """30 users, 50 items; train, validation and test are disjoint random pairs; user 4 has no test row."""
    random = np.random.RandomState(0)
    pairs = random.permutation(30 * 50)
    train, validation, test = ((p // 50, p % 50) for p in np.split(pairs[:900], [600, 700]))
    test = tuple(column[test[0] != 4] for column in test)
    return train_data(30, 50, *train, np.arange(600) % 4 > 0, validation, test)


@pytest.fixture
def embeddings():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(30, 8, generator=generator), torch.randn(50, 8, generator=generator)


def masked_scores(embeddings, data):
    scores = embeddings[0] @ embeddings[1].t()
    scores[data.seen.entries(np.arange(30))] = -torch.inf
    return scores


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_metrics_agree_with_pyg_whatever_the_block(data, embeddings, block):
    metrics = utils.evaluate(embeddings, data, data.test, TOP_K, block)
    top = masked_scores(embeddings, data).topk(20).indices
    truth = torch.stack(data.test.entries(np.arange(30)))
    assert len(metrics["recall@20"]) == 29  # user 4 has nothing to find
    for name, metric in (("precision", LinkPredPrecision), ("recall", LinkPredRecall), ("ndcg", LinkPredNDCG)):
        for k in TOP_K:
            reference = metric(k)
            with_truth = np.flatnonzero(np.arange(30) != 4)
            renumber = torch.full((30,), -1)
            renumber[with_truth] = torch.arange(29)
            reference.update(top[with_truth, :k], torch.stack((renumber[truth[0]], truth[1])))
            assert metrics[f"{name}@{k}"].mean() == pytest.approx(reference.compute().item(), abs=1e-6)


def test_metrics_by_hand():
    """Hits at ranks 1 and 3 of 4; 2 relevant items for the first user, 5 for the second."""
    hits = np.array([[1, 0, 1, 0], [1, 0, 1, 0]], bool)
    metrics = utils.ranking_metrics(hits, np.array([2, 5]), [2, 4])
    assert metrics["precision@2"].tolist() == [0.5, 0.5]
    assert metrics["recall@4"].tolist() == [1.0, 0.4]
    ideal_2 = 1 + 1 / np.log2(3)
    assert metrics["ndcg@4"][0] == pytest.approx((1 + 1 / 2) / ideal_2)
    assert metrics["ndcg@2"][1] == pytest.approx(1 / ideal_2)


def test_train_items_are_never_recommended_and_validation_items_are(data, embeddings, tmp_path):
    """Also where a user has fewer than k items left: the list is then shorter."""
    items = pd.DataFrame({"title": [f"title {i}" for i in range(50)]}, index=data.item_ids)
    ranked = utils.rank(*embeddings, data.seen, np.arange(30), 25, 7)
    run_folder.write_recommendations(tmp_path / "r.csv", ranked, data, items)
    table = pd.read_csv(tmp_path / "r.csv")
    recommended = set(zip(table.user, table.item, strict=True))
    scores = masked_scores(embeddings, data)
    left = (scores > -torch.inf).sum(1)
    assert table.groupby("user").size().tolist() == left.clamp(max=25).tolist() and left.min() < 25
    np.testing.assert_allclose(table.score, scores[table.user, table.item], atol=1e-4)
    assert table[table.user == 3].item.tolist() == scores[3].argsort(descending=True)[: left[3].clamp(max=25)].tolist()
    assert set(table.title) == {f"title {item}" for item in table.item}
    assert {(u.item(), i.item()) for u, i in zip(*data.validation.entries(np.arange(30)), strict=True)} & recommended


def test_log_lines_have_the_published_form():
    metrics = {f"{name}@{k}": 0.12345 for name in ("precision", "recall", "ndcg") for k in (5, 10)}
    assert utils.metric_lines(metrics, [5, 10]) == [
        "Precision@5:  0.1235, Recall@5:  0.1235, NDCG@5:  0.1235",
        "Precision@10: 0.1235, Recall@10: 0.1235, NDCG@10: 0.1235",
    ]


# --------------------------------------------------------------------------------------- early stopping


def follow(stopping, scores):
    """Feed scores until the stopping is over; the state is the epoch itself.  Returns the epochs run."""
    for epoch, score in enumerate(scores, start=1):
        stopping.update(score, epoch, {"epoch": torch.tensor(epoch)})
        if stopping.over:
            break
    return epoch


def test_stops_after_patience_evaluations_without_improvement_and_keeps_the_best():
    stopping = utils.EarlyStopping(3)
    assert follow(stopping, [0.1, 0.3, 0.2, 0.2, 0.2, 0.9]) == 5
    assert (stopping.best_epoch, stopping.best_score, stopping.best_state["epoch"]) == (2, 0.3, 2)


def test_a_tie_counts_as_an_improvement():
    stopping = utils.EarlyStopping(2)
    assert follow(stopping, [0.3, 0.3, 0.1, 0.3, 0.1, 0.1, 0.1]) == 6
    assert stopping.best_epoch == 4


def test_without_early_stop_the_best_is_still_there():
    stopping = utils.EarlyStopping(50)
    assert follow(stopping, [0.1, 0.4, 0.2]) == 3 and not stopping.over
    assert stopping.best_state["epoch"] == 2


def test_the_kept_weights_are_a_copy():
    stopping, weight = utils.EarlyStopping(5), torch.ones(3)
    stopping.update(1.0, 1, {"w": weight})
    weight.zero_()
    assert stopping.best_state["w"].tolist() == [1, 1, 1]


def test_a_score_that_is_no_number_is_no_improvement():
    stopping = utils.EarlyStopping(5)
    assert stopping.update(0.1, 1, {}) and not stopping.update(float("nan"), 2, {})


# ---------------------------------------------------------------------------------------- files, device


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def write(temporary):
        temporary.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError):
        utils.write_atomically(path, write)
    assert [p.name for p in tmp_path.iterdir()] == ["file"] and path.read_text() == "old"


def test_a_hash_is_remembered_until_the_file_changes(tmp_path, monkeypatch):
    path, worked_out, sha256 = tmp_path / "file", [], utils.sha256
    monkeypatch.setattr(utils, "sha256", lambda p: worked_out.append(p) or sha256(p))
    path.write_text("hello")
    digest = utils.remembered_sha256(path)
    assert digest == sha256(path) == utils.remembered_sha256(path) and len(worked_out) == 1
    path.write_text("other")
    assert utils.remembered_sha256(path) == sha256(path) != digest and len(worked_out) == 2
    os.utime(path, (1, 1))
    assert utils.remembered_sha256(path) == sha256(path) and len(worked_out) == 3
    for spoilt in ("nonsense", "[]", '{"file": 3}', '{"file": []}'):
        (tmp_path / ".hashes").write_text(spoilt)
        assert utils.remembered_sha256(path) == sha256(path)
    (tmp_path / ".hashes").unlink()
    assert utils.remembered_sha256(path) == sha256(path)


def test_peak_memory_is_measured_anew_where_the_system_lets_us_and_since_the_start_elsewhere(monkeypatch, tmp_path):
    cpu = torch.device("cpu")
    utils.reset_peak_memory(cpu)
    before = utils.peak_memory_mb(cpu)
    block = torch.ones(2**26)  # 256 MiB
    assert 200 < utils.peak_memory_mb(cpu) - before < 400 and block[0] == 1
    monkeypatch.setattr(utils, "PROCESS", tmp_path / "nowhere")  # macOS, some containers
    utils.reset_peak_memory(cpu)
    assert utils.peak_memory_mb(cpu) > before
    assert utils.available_memory(cpu) is None or utils.available_memory(cpu) > 2**20
    assert utils.figure_in(tmp_path / "nowhere", "x") is None


def test_a_device_this_machine_lacks_is_refused_in_one_line():
    with pytest.raises(utils.InputError, match="--device cuda:99"):
        utils.pick_device("cuda:99")


def holder(folder):
    """A process that takes the folder's lock, says so and keeps it until it is killed or its stdin is closed."""
    code = "import sys, utils; from pathlib import Path\nwith utils.locked(Path(sys.argv[1])): print('in', flush=True)"
    code += "; sys.stdin.read()"
    command = [sys.executable, "-c", code, str(folder)]
    return subprocess.Popen(command, cwd=Path(utils.__file__).parent, stdin=-1, stdout=-1, text=True)


def test_a_lock_makes_the_second_wait_until_the_first_is_done(tmp_path):
    """The second process says that it waits, and goes on after the first has let go; a folder under it is not made."""
    with utils.locked(tmp_path / "data" / "x"):
        second = holder(tmp_path / "data" / "x")
        assert second.stdout.readline().startswith("waiting for another run")
        assert second.poll() is None
    assert second.communicate()[0] == "in\n" and second.returncode == 0
    assert [path.name for path in (tmp_path / "data").iterdir()] == [".x.lock"]


def test_a_killed_process_leaves_no_lock_behind(tmp_path):
    process = holder(tmp_path / "x")
    assert process.stdout.readline() == "in\n"
    lock = utils.lock_of(tmp_path / "x")
    assert not utils.take(lock)
    process.kill()
    process.communicate()
    assert utils.take(lock) and lock.is_locked
    lock.release()


@pytest.mark.parametrize("error", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_said_and_not_fatal(tmp_path, monkeypatch, error):
    def flock(*given):
        raise OSError(error, "no locks here")

    monkeypatch.setattr("fcntl.flock", flock)
    lines = []
    with utils.locked(tmp_path / "x", lines.append):
        assert len(lines) == 1 and ".x.lock: cannot be locked (no locks here)" in lines[0]
    with run_folder.Run(tmp_path / "run") as run:
        run.open({}, {}, False, [])
        assert ".run.lock: cannot be locked (no locks here)" in (tmp_path / "run" / "log.txt").read_text()


def test_where_nothing_may_be_written_nothing_needs_a_lock(tmp_path):
    (tmp_path / "file").write_text("")
    with utils.locked(tmp_path / "file" / "x"):
        assert [path.name for path in tmp_path.iterdir()] == ["file"]
