"""Profiles and titles written by a model: the reader of replies, a tiny Llama that has learnt one reply, servers that
answer well and badly."""

# ruff: noqa: F811  fixtures of fake_server.py are arguments here

import json
import shutil
from collections import Counter
from types import SimpleNamespace

import fake_server
import pytest
import tiny_llm
import torch
from fake_server import serve  # noqa: F401  a fixture
from known import known_of

from llm.batches import padded
from negatives import writing
from negatives.writing import LocalWriter, ServerWriter, read_reply

CPU = torch.device("cpu")
OPTIONS = SimpleNamespace(
    hn_writer="template", hn_url=None, llm_dtype="float32", llm_batch_tokens=4096, llm_constrained=True,
    llm_concurrency=2, llm_timeout=20, llm_profile=2,
)  # fmt: skip
GOOD = '{"summarization": "for all who like war films", "reasoning": "war"}'

DRAFT = '{"summarization": "a thought that was dropped", "reasoning": "hm"}'


def profile(text):
    return read_reply(text, "summarization", 20)


# ---------------------------------------------------------------------------------------------------------- reader


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (GOOD, ("for all who like war films", "war", "ok")),
        (f"Sure! Here it is:\n```json\n{GOOD}\n```\nAnything else?", ("for all who like war films", "war", "ok")),
        ('{"reasoning": null, "summarization": " a \\n b "}', ("a b", "", "ok")),
        (GOOD + '{"summarization": "second", "reasoning": ""}', ("for all who like war films", "war", "ok")),
        (f"<think>\n{DRAFT}\n</think>\n{GOOD}", ("for all who like war films", "war", "ok")),
        (f"{DRAFT}\n</think>\n{GOOD}", ("for all who like war films", "war", "ok")),
        (f"<think>\n{DRAFT}", ("", "", "unreadable")),
        ("{not this} " + GOOD, ("for all who like war films", "war", "ok")),
        ('{"summarization": "no reason"}', ("", "", "unreadable")),
        ('{"reasoning": "no summary"}', ("", "", "unreadable")),
        ('{"summarization": ["a"], "reasoning": ""}', ("", "", "unreadable")),
        ('{"summarization": "a", "reasoning": 3}', ("", "", "unreadable")),
        ('["summarization"]', ("", "", "unreadable")),
        (GOOD[:-4], ("", "", "unreadable")),
        ("", ("", "", "unreadable")),
        ("for all who like war films", ("", "", "unreadable")),
        ('{"summarization": null, "reasoning": "who knows"}', ("", "who knows", "none")),
        ('{"summarization": "None.", "reasoning": ""}', ("", "", "none")),
        ('{"summarization": "", "reasoning": ""}', ("", "", "none")),
        (json.dumps({"summarization": "word " * 20, "reasoning": ""}), (" ".join(["word"] * 20), "", "ok")),
        (json.dumps({"summarization": "word " * 21, "reasoning": ""}), ("", "", "too_long")),
    ],
)
def test_what_is_read_of_a_reply(text, expected):
    assert profile(text) == expected


# --------------------------------------------------------------------------------------------------------- prompts


@pytest.fixture(scope="module")
def known():
    rows = {0: ("Alien", "1979", "Horror"), 1: ("Bambi", "1942", "Children's"), 2: ("<|end|>", "", "War")}
    return known_of({0: {0: 4, 1: 1, 2: 5}, 1: {1: 3, 2: 4}}, 3, rows)


def test_prompts_say_what_there_is(known):
    asked = list(writing.item_profiles(known, "movies", {("item", "1")}))
    assert [each.names["id"] for each in asked] == ["0", "2"]
    assert asked[0].build(asked[0].question).startswith("A movie: Alien (1979), Horror\nWho would enjoy it? ")
    summaries = ["space " * 40, "", ""]
    (first, second) = writing.user_profiles(known, "movies", set(), summaries, 20)
    lines = first.build(first.question).splitlines()
    shown = " ".join(["space"] * writing.SHOWN_WORDS)
    assert lines[1:6] == ["Liked:", "- <|end|>", f"- Alien (1979): {shown}", "Disliked:", "- Bambi (1942)"]
    assert "Disliked" not in second.build(second.question)
    (title,) = writing.titles(known, "movies", {("0", "0")}, [(0, 0), (0, 2)], ["likes war", ""], ["", "", "grim"])
    text = title.build(title.question)
    assert text.startswith("A person: likes war\nThey like the movie <|end|> (grim). ") and "20 words" in text
    assert title.names == {"user": "0", "item": "2"}


# ----------------------------------------------------------------------------------------------- a model at hand


@pytest.fixture(scope="module")
def parrot(known, tmp_path_factory):
    """A test model: a Llama with a chat template that has learnt to say GOOD to what it is asked about `known`."""
    folder = tmp_path_factory.mktemp("parrot") / "tiny"
    asked = list(writing.item_profiles(known, "movies", set()))
    asked += writing.user_profiles(known, "movies", set(), [""] * 3, 1)
    prompts = [each.build(each.question) for each in asked]
    tokenizer = tiny_llm.train_tokenizer([*prompts, GOOD, *map(chr, range(32, 127))])
    rows = [tokenizer(f"{prompt}\nAnswer:{GOOD}<|end|>").input_ids for prompt in prompts]
    taught = len(tokenizer(f"{GOOD}<|end|>").input_ids)
    ids, mask = padded(rows, tokenizer.pad_token_id, CPU)
    labels = ids.clone()
    labels[:, :-taught] = -100
    model = tiny_llm.new_model(tokenizer)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(80):  # each token of the reply then leads the next best one by 6 nats; after 40 by 1
        optimizer.zero_grad()
        model(ids, attention_mask=mask, labels=labels).loss.backward()
        optimizer.step()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(tiny_llm.CHAT)
    return folder


def ask(known, writer):
    return list(writer.answer(list(writing.item_profiles(known, "movies", set()))))


def options(**changed):
    return SimpleNamespace(**vars(OPTIONS) | changed)


def local(folder, **changed):
    return LocalWriter(folder, options(hn_writer=str(folder), **changed), CPU)


def test_a_model_at_hand_writes(known, parrot):
    """Also where --llm_constrained asks the refinement's model for numbers."""
    writer = local(parrot)
    records = ask(known, writer)
    assert sorted(record["id"] for record in records) == ["0", "1", "2"]
    for record in records:
        assert record["summarization"] == "for all who like war films" and record["reasoning"] == "war"
        assert record["status"] == "ok" and record["backend"]["model"] == "tiny" and record["kind"] == "item"
    (record, _) = writer.answer(list(writing.user_profiles(known, "movies", set(), [""] * 3, 1)))
    assert record["kind"] == "user" and record["status"] == "ok"


def test_a_reply_that_cannot_be_read_is_asked_for_once_more(known, parrot, monkeypatch):
    """The model knows no hard_negative_item, so it fails, and is reminded once."""
    writer = local(parrot)
    (asked,) = writing.titles(known, "movies", set(), [(0, 2)], ["", ""], [""] * 3)
    spoken, read = [], writing.read_reply
    monkeypatch.setattr(writing, "read_reply", lambda text, *more: spoken.append(text) or read(text, *more))
    (record,) = writer.answer([asked])
    assert len(spoken) == 2
    assert record == {
        "user": "0", "item": "2", "hard_negative": "", "reasoning": "", "backend": writer.backend,
        "status": "unreadable",
    }  # fmt: skip


def test_a_base_model_goes_on_from_the_opening_of_the_object(known, parrot, tmp_path, monkeypatch):
    base = tmp_path / "base"
    shutil.copytree(parrot, base, ignore=shutil.ignore_patterns("*.jinja"))
    writer = local(base)
    rows = []

    def complete(self, ids, sizes, new_tokens):
        rows.extend(self.tokenizer.decode(row) for row in ids)
        assert new_tokens == writing.ROOM["summarization"]
        return [('all", "reasoning": ""}', True)] * len(ids)

    monkeypatch.setattr(writing.LanguageModel, "complete", complete)
    records = ask(known, writer)
    assert [record["summarization"] for record in records] == ["all"] * 3
    assert all(row.endswith('\n{"summarization": "') for row in rows)


# --------------------------------------------------------------------------------------------------------- servers


def through(server, **changed):
    return ServerWriter(options(hn_url=server.url, hn_writer="m", **changed))


def reply_with(*replies):
    """A server's function that answers every prompt with these in turn, counted by prompt."""
    turns = Counter()

    def reply(path, body):
        prompt = body["messages"][0]["content"]
        turns[prompt] += 1
        return fake_server.said(replies[min(turns[prompt], len(replies)) - 1])

    return reply


@pytest.mark.parametrize(
    ("replies", "status"),
    [
        ((GOOD,), "ok"),
        (("what?", GOOD), "ok"),
        (("what?", "what?", GOOD), "unreadable"),  # one reminder, no more
        ((json.dumps({"summarization": "w " * 201, "reasoning": ""}), GOOD), "ok"),
        (('{"summarization": "None", "reasoning": ""}', GOOD), "none"),  # an answer
    ],
)
def test_what_servers_say(known, serve, replies, status):
    server = serve(reply_with(*replies))
    records = ask(known, through(server))
    assert sorted(record["id"] for record in records) == ["0", "1", "2"]
    assert {record["status"] for record in records} == {status}
    assert all((record["summarization"] != "") == (status == "ok") for record in records)
    assert records[0]["backend"] == {"endpoint": server.url, "model": "m"}
    assert {body["max_tokens"] for _, body, _ in server.seen} == {writing.ROOM["summarization"]}
    assert not any("<|end|>" in body["messages"][0]["content"] for _, body, _ in server.seen)


def test_a_long_prompt_is_shortened_by_its_entries(known, serve):
    def reply(path, body):
        long = body["messages"][0]["content"].count("\n- ") > 1
        return (400, {}, {"message": "maximum context length exceeded"}) if long else fake_server.said(GOOD)

    users = writing.user_profiles(known, "movies", set(), [""] * 3, 20)
    assert {record["status"] for record in through(serve(reply)).answer(users)} == {"ok"}
    never = serve(lambda path, body: (400, {}, {"message": "maximum context length exceeded"}))
    assert {record["status"] for record in ask(known, through(never))} == {"failed"}


def test_a_prompt_that_a_filter_keeps_back_fails_alone(known, serve):
    def reply(path, body):
        hidden = "Alien" in body["messages"][0]["content"]
        refusal = {"error": {"message": "refused by the content policy", "code": "content_filter"}}
        return (400, {}, refusal) if hidden else fake_server.said(GOOD)

    statuses = [record["status"] for record in ask(known, through(serve(reply)))]
    assert sorted(statuses) == ["failed", "ok", "ok"]
