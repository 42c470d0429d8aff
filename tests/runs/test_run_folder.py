"""The run folder."""

import pytest

from runs import run_folder
from utils import InputError


def test_nothing_is_written_before_the_run_is_opened(tmp_path):
    with run_folder.Run(tmp_path / "run") as run:
        run.log("early")
        assert not run.folder.exists()
        run.open({}, {}, False, [])
        run.log("late", "later")
        assert (run.folder / "log.txt").read_text() == "early\nlate\nlater\n"


@pytest.mark.parametrize("resume", [False, True])
def test_a_run_folder_belongs_to_one_process_at_a_time(tmp_path, resume):
    """Both may have passed check() before either opened."""
    first, second = (run_folder.Run(tmp_path / "run") for _ in range(2))
    with first, second:
        first.open({}, {}, False, [])
        with pytest.raises(InputError, match="another process is at it"):
            second.open({}, {}, resume, [])
    with run_folder.Run(tmp_path / "run") as third:
        third.open({}, {}, True, [])


def test_a_run_that_another_process_has_finished_meanwhile_is_not_run_over(tmp_path):
    with run_folder.Run(tmp_path / "run") as first:
        first.open({}, {}, False, [])
        (first.folder / "summary.json").write_text("{}")
    with run_folder.Run(tmp_path / "run") as second, pytest.raises(InputError, match="holds a finished run"):
        second.open({}, {}, True, [])


@pytest.mark.parametrize("name", ["log.txt", "metrics.csv"])
def test_a_full_disk_is_reported_with_the_file(tmp_path, name):
    with run_folder.Run(tmp_path / "run") as run:
        run.open({}, {}, False, ["epoch", "recall@20"])
        (run.folder / name).unlink(missing_ok=True)
        (run.folder / name).symlink_to("/dev/full")
        with pytest.raises(OSError) as caught:
            (run.log("line") if name == "log.txt" else run.add_epoch({"epoch": 1}))
        assert caught.value.filename == str(run.folder / name) and "No space" in caught.value.strerror


def test_metrics_are_read_as_written_but_for_a_row_cut_short(tmp_path):
    columns = ["lambda", "recall@20"]
    with run_folder.Run(tmp_path / "run") as run:
        run.open({}, {}, False, columns)
        assert run.read_epochs() == []
        for row in (rows := [{"lambda": 10.0, "recall@20": 1 / 3}, {"lambda": 20.0, "recall@20": 0.1 + 0.2}]):
            run.add_epoch(row)
        path = run.folder / "metrics.csv"
        path.write_text(path.read_text() + "50.0,0.4")
        assert run.read_epochs() == rows
        path.write_text("lambda,recall@20\n10.0,much\n")
        with pytest.raises(InputError, match=r"metrics\.csv: is not of this run"):
            run.read_epochs()
