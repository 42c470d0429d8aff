"""Servers that misbehave, from the first question to the labels: nothing wrong is learnt from them in silence.

The "true" answer of every server here is the first item and no other.
"""

# ruff: noqa: F811  fixtures of fake_server.py are arguments here

import itertools
import json
import re
import signal
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_server import listed, no_waiting, said, serve  # noqa: F401  two fixtures

from feedback.refinement import refine
from feedback.report_text import report_lines
from llm.answers import read
from options.refinement import RefinementSettings
from preparation.titles import item_table
from utils import InputError

ROOT = Path(__file__).resolve().parents[2]
USERS, ITEMS = 60, 40


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A data set of films in which every user has likes, dislikes and 3s: some 120 questions of five items."""
    folder = tmp_path_factory.mktemp("world") / "films"
    folder.mkdir()
    generator = np.random.default_rng(0)
    rows = []
    for user in range(USERS):
        stars = np.repeat([5, 4, 3, 3, 3, 1], 3)
        items = generator.permutation(ITEMS)[: len(stars)]
        rows += [(f"u{user}", f"i{item}", star) for item, star in zip(items, stars, strict=True)]
    table = pd.DataFrame(rows, columns=["user_id:token", "item_id:token", "rating:float"])
    table.to_csv(folder / "films_train_original.csv", index=False)
    items = [f"i{item}\tFilm {chr(65 + item % 26)}{item}\t{1950 + item}\tDrama" for item in range(ITEMS)]
    head = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq"
    (folder / "films.item").write_text("\n".join([head, *items]) + "\n")
    return folder


@pytest.fixture
def films(world, tmp_path):
    return copy_of(world, tmp_path / "films")


def copy_of(world, folder):
    folder.mkdir()
    (folder / "films_train_original.csv").write_bytes((world / "films_train_original.csv").read_bytes())
    return folder


def refined(world, folder, server, log=lambda *_: None, **changed):
    """(records, report card, refined ratings) of a refinement by a server."""
    settings = {"llm": "fake", "llm_url": server.url, "llm_concurrency": 4, "llm_timeout": 5, "llm_domain": "movies"}
    options = RefinementSettings(**settings | changed)
    path, about = refine("films", folder, item_table(world), options, "cpu", log)
    answers = next(folder.rglob("answers.jsonl"))  # labels of a trial lie in a folder beside it
    return read(answers)[1], about["refinement"], pd.read_csv(path)


def note(lines):
    return lambda *more: lines.extend(more)


def check_first_item_alone(records):
    for record in records:
        assert record["verdicts"] == ["liked"] + ["disliked"] * (len(record["items"]) - 1), record["raw"]


def dressing(body):
    """What WAYS say of a question: its number of items, and a verdict on each from the third."""
    n = len(re.findall(r"(?m)^\d+\. ", body["messages"][0]["content"].rsplit("Which of these", 1)[-1]))
    return {"n": n, "rest": "".join(f"\n{number}. no" for number in range(3, n + 1))}


# --------------------------------------------------------------------------- what is said in odd ways, and read


WAYS = {
    "plain": "1",
    "think": "<think>\nItems 1 to {n} must be judged.\nThese they hate:\n2, 3, 4\n</think>\n\n1",
    "opentag": "Let me see.\n2, 3\nare bad.\n</think>\n\n1",
    "harmony": "analysis: movies 2 and 3 are bad\nfinal\n1",
    "fence": "```json\n[1]\n```",
    "jsonobj": '```json\n{{"liked": [1]}}\n```',
    "comment": "1\n\nI chose it since the person likes such things, and none of the others fit.",
    "verdicts": "1: liked\n2: hated it{rest}",
}


def test_an_answer_is_read_however_it_is_dressed(world, films, serve):
    turns = itertools.cycle(WAYS)
    server = serve(lambda path, body: said(WAYS[next(turns)].format(**dressing(body))))
    records, card, _ = refined(world, films, server)
    check_first_item_alone(records)
    assert len(records) > 10 * len(WAYS)
    assert card["answered"] == card["candidates"] and card["questions_reminded"] == 0


# ---------------------------------------------------------------------------------------- what is no answer


SILENT = {
    "thinkcut": said("<think>\nOkay, the person hates romances. Movies 2 and 3 are romances.\nSo those", "length"),
    "thoughts without a tag, cut off": said("The person hates romances.\n2, 3\nSo those I would", "length"),
    "length": said("1, 2", "length"),
    "null": said(None),
    "nocontent": (200, {}, {"choices": [{"finish_reason": "length", "message": {"reasoning": "hm"}}]}),
    "prose": said("What a person likes is hard to say."),
    "excluding": said("I would exclude:\n2, 3"),
    "ratings": said("3/5"),
}


@pytest.mark.parametrize("way", SILENT)
def test_a_model_that_does_not_answer_ends_the_run_and_shows_what_it_said(world, films, serve, way):
    server = serve(lambda path, body: SILENT[way])
    with pytest.raises(InputError, match=r"of the first 100 questions only 0% of the items are answered") as stopped:
        refined(world, films, server)
    asked = len(server.seen)
    with pytest.raises(InputError, match=r"of the first 1\d\d questions only 0%"):
        refined(world, films, server)
    assert len(server.seen) < asked + 10  # nothing but what was on its way
    message = SILENT[way][2]["choices"][0]["message"]
    shown = " ".join((message.get("content") or "").split())
    assert (shown[:60] in str(stopped.value)) and "--llm_answer_tokens" in str(stopped.value)
    assert not list(films.rglob("*_train_augment.csv"))  # nothing to train on
    reason = "reasoning without an end" if way == "thinkcut" else "no readable answer"
    (path,) = films.rglob("answers.jsonl")
    assert {record["reason"] for record in read(path)[1]} == {reason}


def test_too_few_answers_at_the_end_stop_and_few_are_warned_of(world, films, serve):
    """One hundred answers, then none: half of the questions is enough at the first look, and not at the end."""
    count, lock = [0], threading.Lock()

    def until(number):
        def reply(path, body):
            with lock:
                count[0] += body is not None  # else it is asked for its models
                return said("1" if count[0] <= number else "hm")

        return reply

    lines = []
    total = len(refined(world, films, serve(lambda path, body: said("1")), note(lines))[0])
    assert total > 110 and not any("WARNING: only" in line for line in lines)

    def start(number):
        count[0] = 0
        again = copy_of(world, films.with_name(f"films{number}"))
        return refined(world, again, serve(until(number)), note(lines), llm_concurrency=1)

    _, card, _ = start(int(total * 0.8))
    assert any("WARNING: only 8" in line and "'hm'" in line for line in lines)
    share = card["answered"] / card["candidates"]
    assert 0.7 < share < 0.9
    assert any("coverage" in line and f"({share:.1%})" in line for line in report_lines(card))
    with pytest.raises(InputError, match=r"of all questions only [34]\d% of the items"):
        start(55)  # enough of the first hundred, and not of all


# ------------------------------------------------------------------------------------------------- refusals


def test_an_unknown_model_whose_name_holds_context_is_not_too_long(world, films, serve):
    for status, message in ((404, "The model `{}` does not exist."), (400, "{} is not for chat")):

        def reply(path, body, status=status, message=message):
            return status, {}, {"error": {"message": message.format(body["model"]), "code": "unsupported"}}

        with pytest.raises(InputError, match=rf"HTTP {status}.*any-long-context"):
            refined(world, films, serve(reply), llm="any-long-context")
        (path,) = films.rglob("answers.jsonl")
        assert not read(path)[1]


def test_one_filtered_prompt_is_unanswered_and_the_rest_goes_on(world, films, serve):
    asked = []

    def is_kept_back(body):
        return not zlib.crc32(body["messages"][0]["content"].encode()) % 10

    def reply(path, body):
        kept_back = is_kept_back(body)
        asked.append(body)
        if not kept_back:
            return said("1")
        if len(asked) % 2:
            return said("", "content_filter")
        return 400, {}, {"error": {"message": "The prompt was refused by our policy.", "code": "content_filter"}}

    server = serve(reply)
    records, card, _ = refined(world, films, server)
    left = [record for record in records if "reason" in record]
    assert len(left) == sum(map(is_kept_back, asked)) > 3
    assert {record["reason"] for record in left} == {"content filter"}
    check_first_item_alone([record for record in records if "reason" not in record])

    # asked again once the labels are deleted, and they may pass then; one record counts
    again, lines = serve(lambda path, body: said("1")), []
    assert refined(world, films, again, note(lines))[1] == card and not again.seen
    assert any("refused questions stay unanswered; delete" in line for line in lines)
    (labels,) = films.rglob("*_train_augment.csv")
    labels.unlink()
    whole, card, _ = refined(world, films, again)
    assert len(again.seen) == len(left) and len(whole) == len(records) + len(left)
    assert card["answered"] == card["candidates"] and card["questions"] == len(records)


def test_many_refusals_are_made_good_at_the_next_start(world, films, serve):
    """The old refusals must not count against the answers that take their place."""
    with pytest.raises(InputError, match=r"only 0% of the items"):
        refined(world, films, serve(lambda path, body: said("", "content_filter")))
    _, card, _ = refined(world, films, serve(lambda path, body: said("1")))
    assert card["coverage"] == 1


def test_a_filter_costs_one_question_in_mode_score_too(world, films, serve):
    count, lock = [0], threading.Lock()

    def reply(path, body):
        with lock:
            count[0] += 1
            number = count[0]
        if number == 40:
            return said("", "content_filter")
        like = zlib.crc32(body["messages"][0]["content"].encode()) % 2
        return listed(Yes=-1 - like, No=-2 + like)

    records, _, _ = refined(world, films, serve(reply), llm_mode="score", llm_users=10)
    assert [record["reason"] for record in records if "reason" in record] == ["content filter"]


# ---------------------------------------------------------------------------------- what a server does not know


def not_knowing(**unknown):
    """A server that refuses a field that it does not know, and how it says so."""

    def reply(path, body):
        for name, (is_wrong, message) in unknown.items():
            if name in body and is_wrong(body[name]):
                return 400, {}, {"error": {"message": message, "type": "invalid_request_error", "code": 400}}
        return said("1")

    return reply


@pytest.mark.parametrize(
    ("unknown", "expected"),
    [
        (
            {"max_tokens": (lambda _: True, "'max_tokens' is not supported. Use 'max_completion_tokens' instead.")},
            {"max_completion_tokens": 77, "temperature": 0},
        ),
        ({"temperature": (lambda t: t != 1, "'temperature' does not support 0")}, {"max_tokens": 77}),
        (
            {"chat_template_kwargs": (lambda _: True, "Extra inputs are not permitted")},
            {"max_tokens": 77, "temperature": 0},
        ),
    ],
)
def test_what_a_server_does_not_know_is_taken_back_once(world, films, serve, capsys, unknown, expected):
    server = serve(not_knowing(**unknown))
    records, _, _ = refined(world, films, server, llm_answer_tokens=77)
    check_first_item_alone(records)
    last = server.seen[-1][1]
    thinking = {"chat_template_kwargs": {"enable_thinking": False}}
    if "chat_template_kwargs" not in unknown:
        expected = expected | thinking
    assert last == expected | {"messages": last["messages"], "model": "fake"}
    assert len(server.seen) <= len(records) + 4  # refused as often as there are workers
    assert ("takes no temperature" in capsys.readouterr().err) == ("temperature" in unknown)


def test_fewer_listed_tokens_are_asked_for_where_a_server_lists_fewer(world, films, serve):
    def reply(path, body):
        if body["top_logprobs"] > 5:
            return 400, {}, {"error": {"message": "top_logprobs must be at most 5"}}
        like = "Film A" in body["messages"][0]["content"].rsplit("Would this person", 1)[-1]
        return listed(Yes=-0.1, No=-3) if like else listed(Yes=-3, No=-0.1)

    server = serve(reply)
    records, _, _ = refined(world, films, server, llm_mode="score", llm_users=10)
    assert {score for record in records for score in record["scores"]} == {2.9, -2.9}
    assert server.seen[-1][1]["top_logprobs"] == 5


def test_what_a_proxy_says_of_a_busy_server_passes(world, films, serve):
    statuses = iter([520, 522, 524, 529])

    def reply(path, body):
        status = next(statuses, None)
        return (status, {}, {"error": "overloaded"}) if status else said("1")

    check_first_item_alone(refined(world, films, serve(reply))[0])


@pytest.mark.parametrize(
    ("address", "llm"),
    [("{base}", "fake"), ("{base}/", "auto"), ("{base}/v1/chat/completions", "auto"), ("{base}/v1/models", "fake")],
)
def test_an_address_is_understood_without_v1_and_with_more(world, films, serve, address, llm):
    def reply(path, body):
        if path not in ("/v1/models", "/v1/chat/completions"):
            return 404, {}, {"detail": "Not Found"}
        return (200, {}, {"data": [{"id": "fake"}]}) if body is None else said("1")

    server = serve(reply)
    server.url = address.format(base=server.url.removesuffix("/v1"))
    check_first_item_alone(refined(world, films, server, llm=llm, llm_users=5)[0])


def test_an_address_where_nothing_lies_is_explained(world, films, serve):
    server = serve(lambda path, body: (404, {}, {"detail": "Not Found"}))
    with pytest.raises(InputError, match=r"HTTP 404.*is the address right, as in http://host/v1"):
        refined(world, films, server)


# ----------------------------------------------------------------------------------------------- flags of asking


def test_the_temperature_asked_for_is_sent_and_part_of_what_answers_depend_on(world, films, serve):
    server = serve(lambda path, body: said("1"))
    refined(world, films, server, llm_temperature=0.7)
    assert server.seen[-1][1]["temperature"] == 0.7
    with pytest.raises(InputError, match="temperature"):
        refined(world, films, server, llm_temperature=0.5)


def test_a_trial_asks_some_users_and_the_whole_goes_on_from_there(world, films, serve):
    server = serve(lambda path, body: said("1"))
    records, _, ratings = refined(world, films, server, llm_users=20, llm_concurrency=1)
    assert len({record["user"] for record in records}) == 20
    changed = ratings[ratings["rating:float"].isin([0.5, 4.5])]
    assert set(changed["user_id:token"]) == {record["user"] for record in records}
    asked = len(server.seen)
    every, whole, _ = refined(world, films, server)
    assert len({record["user"] for record in every}) == USERS and len(server.seen) == len(every)
    assert asked == len(records) < len(every) and every[:asked] == records
    again, card, ratings_again = refined(world, films, server, llm_users=20, llm_concurrency=1)
    assert len(server.seen) == len(every)  # nobody was asked again
    assert again == every and ratings_again.equals(ratings)  # the file holds all; the labels are of 20 users
    assert card["coverage"] == 1 and 0 < card["candidates"] < whole["candidates"]


def test_a_dry_run_shows_a_prompt_and_an_answer_and_writes_nothing(world, films, serve):
    server, lines = serve(lambda path, body: said("1")), []
    before = sorted(films.rglob("*"))
    with pytest.raises(SystemExit) as ended:
        refined(world, films, server, note(lines), llm_dry_run=True)
    assert ended.value.code == 0 and sorted(films.rglob("*")) == before
    shown = "\n".join(lines)
    sent = {body["messages"][0]["content"] for _, body, _ in server.seen}
    assert len(server.seen) == 10 and any(prompt in shown for prompt in sent)
    answers = [line for line in lines if line.startswith("It said: ")]
    assert len(answers) == 10 and answers[0].startswith("It said: '1' -> liked 1; disliked 2, 3")
    assert "10 of 10 questions are answered" in shown and re.search(r"s a question, \d+ seconds for all", shown)
    assert re.search(r"All \d+ questions have about [\d,]+ tokens", shown) and "no answer was kept" in shown

    server, lines = serve(lambda path, body: listed(Yes=-1, No=-2)), []
    with pytest.raises(SystemExit):
        refined(world, films, server, note(lines), llm_dry_run=True, llm_mode="score")
    assert "In mode score a question is one user, with a request for each candidate" in lines
    (requests,) = re.findall(r"each, ([\d,]+) requests", "\n".join(lines))
    assert int(requests.replace(",", "")) == pytest.approx(len(server.seen) / 10 * USERS, rel=0.01)


PROMPT = "I watch {several}.\nGood:\n{likes}\nBad:\n{dislikes}\n{example}\nWhich would I like?\n{items}\nNumbers only."


def test_a_prompt_of_ones_own_is_asked_and_its_answers_lie_apart(world, films, serve, tmp_path):
    server, file = serve(lambda path, body: said("1")), tmp_path / "mine.txt"
    file.write_text(PROMPT + "\n")
    refined(world, films, server, llm_prompt=str(file))
    text = server.seen[-1][1]["messages"][0]["content"]
    assert text.startswith("I watch movies.\nGood:\n- Film ") and text.endswith("\nNumbers only.") and "{" not in text
    assert text.count("\nAnswer: ") == 1
    file.write_text(PROMPT.replace("Numbers only", "Numbers alone"))
    refined(world, films, server, llm_prompt=str(file))
    folders = [path for path in (films / "feedback").iterdir() if path.is_dir()]
    assert len(folders) == 2
    assert all(re.fullmatch(r"fake-generate-mine-[0-9a-f]{8}", path.name) for path in folders)
    assert file.read_text() + "\n" in [(path / "prompt.txt").read_text() for path in folders]


def test_a_summary_names_the_prompt_and_the_users_and_a_log_the_unknown_placeholders(world, films, serve, tmp_path):
    server, file, lines = serve(lambda path, body: said("1")), tmp_path / "mine.txt", []
    file.write_text(PROMPT + '{exampel} {exampel} {"liked": [1]} {}')
    settings = {"llm": "fake", "llm_url": server.url, "llm_prompt": str(file), "llm_users": 5}
    options = RefinementSettings(**settings)
    _, about = refine("films", films, item_table(world), options, "cpu", note(lines))
    (folder,) = (films / "feedback").glob("*-5_users")
    assert (about["prompt"], about["users"]) == ("mine.txt", 5)
    assert folder.name == f"fake-generate-mine-{about['prompt_hash']}-5_users"
    (warning,) = [line for line in lines if "placeholder" in line]
    assert all(lines)  # none is empty
    assert warning.startswith("WARNING: {exampel} is no placeholder and is sent as it stands; known: {likes}, ")


@pytest.mark.parametrize("llm", ["rule", "twos"])
def test_a_control_without_3s_is_no_model_that_tells_nothing_apart(world, films, llm):
    path, lines = films / "films_train_original.csv", []
    path.write_text(path.read_text().replace(",3\n", ",2\n"))
    refine("films", films, item_table(world), RefinementSettings(llm=llm), "cpu", note(lines))
    assert not any("WARNING" in line for line in lines)


def test_a_prompt_for_mode_score_is_read_once_a_user(world, films, serve, tmp_path):
    file = tmp_path / "mine.txt"
    file.write_text("Good:\n{likes}\nBad:\n{dislikes}\nIs the {one} {item} good? Yes or No.")
    server = serve(lambda path, body: listed(Yes=-1, No=-2))
    refined(world, films, server, llm_prompt=str(file), llm_mode="score", llm_users=5)
    text = server.seen[-1][1]["messages"][0]["content"]
    assert re.search(r"\nIs the movie Film \w+ \(\d{4}\) good\? Yes or No\.$", text)


@pytest.mark.parametrize(
    ("content", "mode", "message"),
    [
        ("{likes} {dislikes}", "generate", r"\{items\} stands in it 0 times"),
        ("{likes} {dislikes} {items} {items}", "generate", r"\{items\} stands in it 2 times"),
        ("{likes} {items}", "generate", r"\{dislikes\} stands in it 0 times"),
        ("{likes} {dislikes} {items} {item}", "generate", r"\{item\} is for the other --llm_mode"),
        ("{likes} {dislikes} {items}", "score", r"\{item\} stands in it 0 times"),
        ("{likes} {dislikes} {item}", "score", r"\{item\} must stand on a line below"),
        ("{likes}\n{dislikes}\n{item} {example}", "score", r"\{example\} is for the other"),
        (b"\xff", "generate", "no UTF-8 text"),
        (None, "generate", "cannot be read"),
    ],
)
def test_a_prompt_that_cannot_be_asked_is_refused(world, films, serve, tmp_path, content, mode, message):
    file = tmp_path / "mine.txt"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    server = serve(lambda path, body: said("1"))
    with pytest.raises(InputError, match=message):
        refined(world, films, server, llm_prompt=str(file), llm_mode=mode)
    assert not server.seen


# ---------------------------------------------------------------------------------------------- being ended


def test_sigterm_is_obeyed_while_a_server_hangs_and_answers_are_kept(world, films, serve, tmp_path):
    """The child says how long it took from the signal to its last line: this machine's start-up does not count."""
    hung, questions = threading.Event(), itertools.count(1)

    def reply(path, body):
        if body["messages"] and next(questions) > 10:  # TypeError of a request for models: there are none
            hung.wait(60)
        return said("1")

    server = serve(reply)
    job = (
        "import sys; from machine import shell; from feedback.refinement import refine\n"
        "from options.refinement import RefinementSettings; from preparation.titles import item_table\n"
        "from pathlib import Path\n"
        f"options = RefinementSettings(llm='fake', llm_url={server.url!r}, llm_timeout=60)\n"
        f"job = lambda _: refine('films', Path({str(films)!r}), item_table(Path({str(world)!r})), options, 'cpu')\n"
        "sys.exit(shell.cli(job))\n"
    )
    child = subprocess.Popen([sys.executable, "-c", job], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    path = films / "feedback" / "fake-generate" / "answers.jsonl"
    while child.poll() is None and not (path.exists() and path.read_text().count("\n") == 11):
        time.sleep(0.05)
    child.send_signal(signal.SIGTERM)
    _, err = child.communicate(timeout=40)  # below the server's minute: it did not wait for an answer
    hung.set()
    assert child.returncode == 128 + signal.SIGTERM and "interrupted" in err
    settings, *answers = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(answers) == 10 and settings["llm"] == "fake"
