"""The answers file: appended to, healed, refused, locked, and killed at random moments."""

import json
import os
import random
import signal
import time

import pytest

from llm.answers import Answers, key, read
from utils import InputError


def record(user, **more):
    return {"user": user, "permutation": 0, "part": 0, "items": ["1"], "verdicts": ["liked"]} | more


def write(path, settings, users):
    with Answers(path, settings) as answers:
        for user in users:
            answers.add(record(user))


def users(path):
    return [record["user"] for record in read(path)[1]]


def test_answers_are_found_again_and_go_on_after_the_last(tmp_path):
    path, settings = tmp_path / "a" / "answers.jsonl", {"llm": "x"}
    write(path, settings, ["1", "2"])
    write(path, settings, ["3"])
    with Answers(path, settings) as answers:
        assert [record["user"] for record in answers.records] == ["1", "2", "3"]
    assert [json.loads(line) for line in path.read_text().splitlines()] == [settings, *map(record, "123")]


@pytest.mark.parametrize("cut", [1, 5, 60])
def test_a_half_written_last_line_is_dropped_and_the_next_start_heals_it(tmp_path, cut):
    path, settings = tmp_path / "answers.jsonl", {"llm": "x"}
    write(path, settings, ["1", "2", "3"])
    path.write_bytes(path.read_bytes()[:-cut])
    assert users(path) == ["1", "2"]
    write(path, settings, ["3"])
    assert users(path) == ["1", "2", "3"] and len(path.read_text().splitlines()) == 4


def test_settings_without_an_answer_bind_nobody(tmp_path):
    path = tmp_path / "answers.jsonl"
    path.write_text('{"llm": ')  # cut off
    write(path, {"llm": "x"}, [])
    write(path, {"llm": "y"}, ["1"])
    assert read(path)[0] == {"llm": "y"} and users(path) == ["1"]


def test_answers_of_other_settings_are_refused_by_name_and_left_alone(tmp_path):
    path = tmp_path / "answers.jsonl"
    write(path, {"llm": "x", "dtype": "float32"}, ["1"])
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"answers\.jsonl: .* other dtype \(float32 there, float16 now\)"):
        write(path, {"llm": "x", "dtype": "float16"}, ["2"])
    assert path.read_bytes() == before


@pytest.mark.parametrize("line", ["nonsense", "[]", '{"user": "1"}', "\xff"])
def test_a_broken_line_in_the_middle_is_named(tmp_path, line):
    path = tmp_path / "answers.jsonl"
    path.write_text('{"llm": "x"}\n' + line + "\n" + json.dumps(record("1")) + "\n", encoding="latin-1")
    with pytest.raises(InputError, match=r"answers\.jsonl, line 2"):
        write(path, {"llm": "x"}, [])


def test_two_runs_do_not_ask_the_same_questions_at_once(tmp_path):
    path = tmp_path / "answers.jsonl"
    with Answers(path, {"llm": "x"}), pytest.raises(InputError, match="another run is asking"):
        write(path, {"llm": "x"}, ["1"])
    write(path, {"llm": "x"}, ["1"])


def ask(path, users):
    """What a run does, in a process of its own (a fork, so that thirty of them take no time)."""
    process = os.fork()
    if process:
        return process
    with Answers(path, {"llm": "x"}) as answers:
        done = {key(record) for record in answers.records}
        for user in users:
            if (user, 0, 0) not in done:
                answers.add(record(user, items=["1"] * 500, verdicts=["liked"] * 500))
    os._exit(0)


def test_thirty_kills_at_random_moments_lose_and_double_nothing(tmp_path):
    """kill -9 in a loop, each process going on where the last one was: what was there stays, line for line."""
    path, moment = tmp_path / "answers.jsonl", random.Random(0)
    everybody = list(map(str, range(100_000)))  # more than can be asked in the time
    before = []
    for _ in range(30):
        size = path.stat().st_size if path.exists() else 0
        process = ask(path, everybody)
        while not path.exists() or path.stat().st_size <= size:
            time.sleep(0.0005)  # until it has begun to write
        time.sleep(moment.random() * 0.01)
        os.kill(process, signal.SIGKILL)
        assert os.WIFSIGNALED(os.waitpid(process, 0)[1])
        found = users(path)
        assert found == everybody[: len(found)] and found[: len(before)] == before
        before = found
    rest = everybody[: len(before) + 50]
    assert os.waitpid(ask(path, rest), 0)[1] == 0
    assert [key(record) for record in read(path)[1]] == [(user, 0, 0) for user in rest]
