"""The run folder."""

import run_folder


def test_nothing_is_written_before_the_run_is_opened(tmp_path):
    run = run_folder.Run(tmp_path / "run")
    run.log("early")
    assert not run.folder.exists()
    run.open({}, {}, [])
    run.log("late", "later")
    assert (run.folder / "log.txt").read_text() == "early\nlate\nlater\n"
