"""llm_feedback.py show: what a model read about a user, said of each item, and what became of the rating."""

import json
import re
import shutil

import pandas as pd
import pytest

from feedback.decisions import decisions_of, read_refinement, read_train
from llm.messages import defused
from llm_feedback import main

USER = "u7"
WORDS = ("verdict", "score", "label")
BROKEN = [
    {"items": 3, "verdicts": 4, "permutation": 0, "part": 0},
    {"items": ["nothing"], "verdicts": ["liked"], "permutation": 0, "part": 0},
    {"items": ["i3"], "verdicts": ["liked"]},
]


def show(capsys, made, user, *folders, code=0):
    """The lines printed on stdout, or the one on stderr."""
    capsys.readouterr()
    words = [*map(str, folders), "--dataset", str(made.folder)]
    assert main(["show", user, *words]) == code
    printed = capsys.readouterr()
    if not code:
        return printed.out.splitlines()
    assert printed.err.startswith("error: ") and printed.err.count("\n") == 1
    return printed.err


def read(made, *folders):
    train = read_train(folders[0], made.folder)
    return train, [read_refinement(folder, train) for folder in folders]


def profile_in(lines):
    """{"liked": titles, "disliked": titles} as printed."""
    sides, side = {}, None
    for line in lines:
        head = re.fullmatch(r"The model read that the user (\w+): (\d+)", line)
        if head:
            side = sides.setdefault(head[1], [])
        elif side is not None and line.startswith("  "):
            side.append(line.split("  ", 2)[2])
        else:
            side = None
    return sides


def test_the_profile_shown_is_what_the_server_was_sent(made):
    """The oracle: the prompts that the server got.  Its context was too short for some, whose profiles lost items."""
    sent = {}  # what is asked about, in its order -> the profile before it
    for prompt in made.prompts:
        profile, asked = prompt.split("\n\nWhich of these", 1)
        sent[tuple(re.findall(r"^\d+\. (.*)$", asked.rsplit("none.", 1)[1], re.MULTILINE))] = profile
    train, (orders,) = read(made, made.orders)
    titles = [defused(title) for title in train.titles]
    assert len(orders.asked) == len(sent) and not any("cannot be told" in note for note in orders.notes)
    left_out = [record.get("profile_left_out") for records in orders.records.values() for record in records]
    assert any(left_out)
    for question in orders.asked.values():
        profile = sent[tuple(titles[item] for item in question.items)].split("\n\n", 1)[1].split("\n\n")
        for head, items in (("Liked:", question.likes), ("Disliked:", question.dislikes)):
            lines = next((lines for lines in profile if lines.startswith(head)), head).splitlines()
            assert lines[1:] == [f"- {titles[item]}" for item in items]


def test_a_profile_that_cannot_be_made_again_is_not_shown(made, tmp_path, capsys):
    shutil.copytree(made.orders.parents[1], tmp_path / "films")
    answers = tmp_path / "films" / "feedback" / "chat-generate"
    settings, first, *others = (answers / "answers.jsonl").read_text().splitlines()
    record = json.loads(first)
    record["items"] = record["items"][::-1]
    (answers / "answers.jsonl").write_text("\n".join([settings, json.dumps(record), *others]) + "\n")
    lines = show(capsys, made, USER, tmp_path / "films" / "feedback" / "chat-generate-2_orders")
    assert not profile_in(lines)
    assert "What the model read of likes and dislikes: it cannot be made again from the files at hand" in lines
    assert any("cannot be told" in line for line in lines)


def test_without_the_titles_asked_about_neither_they_nor_the_profile_are_shown(made, tmp_path, capsys):
    (data,) = (folder for folder in made.embed.parents if (folder / "atomic").is_dir())
    copied = shutil.copytree(data, tmp_path / "films")
    shutil.rmtree(copied / "atomic")
    assert main(["show", USER, str(copied / made.embed.relative_to(data))]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert not profile_in(lines) and any("items have no title here; --dataset FOLDER" in line for line in lines)
    assert any(re.search(r"  item i\d+$", line) for line in lines)


@pytest.mark.parametrize("name", ["embed", "rule", "orders", "shuffled"])
def test_each_row_has_stars_others_mean_and_label_of_the_files(made, name):
    folder = getattr(made, name)
    train, (refinement,) = read(made, folder)
    stars = {(row.user, row.item): row.rating for row in train.ratings.itertuples()}
    (labels,) = folder.glob("*_train_augment.csv")
    labels = pd.read_csv(labels).set_index(["user_id:token", "item_id:token"])["rating:float"]
    for user in refinement.train.user_ids:
        _, decisions = decisions_of([refinement], user)
        low = {item for (whose, item), given in stars.items() if whose == user and given in (2, 3)}
        ids = [refinement.train.item_ids[decision.item] for decision in decisions]
        known = {item for item, decision in zip(ids, decisions, strict=True) if decision.said[0].known}
        assert len(ids) == len(set(ids)) and {item for item in ids if item not in known} | (known & low) == low
        for item, decision in zip(ids, decisions, strict=True):
            assert decision.stars == stars[user, item] and decision.said[0].label == labels[user, item]
            others = [given for (whose, what), given in stars.items() if what == item and whose != user]
            assert decision.raters == len(others) and decision.others == pytest.approx(sum(others) / len(others))
    assert bool(known) == (name == "orders")  # an encoder is shown no hidden ones, a rule has none


def test_scores_are_above_the_threshold_and_verdicts_as_recorded(made):
    _, (embed,) = read(made, made.embed)
    (record,) = embed.records[USER]
    _, decisions = decisions_of([embed], USER)
    said = {embed.train.item_ids[decision.item]: decision.said[0] for decision in decisions}
    for item, verdict, score in zip(record["items"], record["verdicts"], record["scores"], strict=True):
        assert said[item].verdict == verdict and said[item].score == pytest.approx(score - record["threshold"])
    not_asked = {item for item, each in said.items() if each.verdict == "not asked"}
    assert not_asked == set(said) - set(record["items"]) and not_asked


def test_raw_answers_and_where_they_name_an_item_are_shown(made, capsys):
    train, (orders,) = read(made, made.orders)
    lines = show(capsys, made, USER, made.orders)
    answers = [line for line in lines if line.startswith("Answer ")]
    assert answers[0] == 'Answer 1: 1, 3 </script><img src=x onerror="hacked=true">'  # on one line
    assert len(answers) == len(orders.records[USER])
    items = orders.records[USER][1]["items"]
    row = next(line for line in lines if line.endswith(f"  {train.titles[orders.train.number[items[2]]]}"))
    assert "no. 3 of answer 2" in row  # and in another answer of the second order
    assert len(re.findall(r"of answer", row)) == 2
    assert any(line.startswith("Note: The answers lie in") and "2 order(s)" in line for line in lines)
    assert " (known)" in "\n".join(lines) and "(known): a known rating" in lines[-1]


def test_two_refinements_disagreements_first(made, capsys):
    _, both = read(made, made.embed, made.rule)
    _, decisions = decisions_of(both, USER)
    differs = [len({each.label for each in decision.said}) > 1 for decision in decisions]
    assert differs == sorted(differs, reverse=True) and 0 < sum(differs) < len(differs)
    assert [decision.differs for decision in decisions] == differs
    lines = show(capsys, made, USER, made.embed, made.rule)
    assert sum(line.startswith("Verdicts by") for line in lines) == 2
    first = lines.index(f"Decisions on which they disagree: {sum(differs)} of {len(differs)}")
    heads = re.split(r"  +", lines[first + 1].strip())
    assert heads == ["stars", "others", *(f"{word} {name}" for name in "AB" for word in WORDS), "title"]
    assert lines.index(f"The other decisions: {len(differs) - sum(differs)}") == first + sum(differs) + 3
    assert f"A: {made.embed}" in lines and f"B: {made.rule}" in lines


def test_labels_without_answers_and_answers_without_labels_say_so(made, capsys):
    lines = show(capsys, made, USER, made.shuffled)
    assert any(line.startswith("Note: There are labels but no answers") for line in lines)
    assert not any(line.startswith("Verdicts by") for line in lines)
    rows = lines[lines.index(next(line for line in lines if line.startswith("Decisions"))) + 2 :]
    assert rows and all(" not kept " in row for row in rows)
    lines = show(capsys, made, USER, made.answers)
    assert any("There are answers but no labels here" in line for line in lines)
    assert any("none yet" in line for line in lines)


def test_labels_of_one_order_are_shown_beside_the_answers_of_that_order(made, tmp_path):
    """A run without --llm_permutations leaves its labels beside the answers, to which another run may add orders."""
    shutil.copytree(made.orders.parents[1], tmp_path / "films")
    of_both = tmp_path / "films" / "feedback" / made.orders.name
    of_one = tmp_path / "films" / "feedback" / made.answers.name
    for labels in of_both.glob("*.csv"):
        labels.rename(of_one / labels.name)
    for folder, orders in ((of_one, {0}), (made.orders, {0, 1})):
        _, (refinement,) = read(made, folder)
        assert {record["permutation"] for records in refinement.records.values() for record in records} == orders


def test_labels_of_some_users_are_shown_beside_the_answers_about_those(made):
    """The answers are by now about all users, which must not look as if one of the files had changed."""
    _, (some, whole) = read(made, made.some, made.answers)
    assert len(some.records) == len(some.train.candidates) == 5 < len(whole.records)
    assert not any("not what these answers make" in note for note in some.notes)
    assert some.card["coverage"] == 1


def test_what_cannot_be_shown_is_one_line(made, tmp_path, capsys):
    assert "user nobody: not among the 40 users" in show(capsys, made, "nobody", made.rule, code=2)
    assert f"{tmp_path}: holds neither labels" in show(capsys, made, USER, tmp_path, code=2)
    assert "is no folder" in show(capsys, made, USER, tmp_path / "none", code=2)
    assert "is a run; main.py --recommend u7 --run" in show(capsys, made, USER, made.runs["rule"], code=2)
    assert "give one or two folders" in show(capsys, made, USER, *[made.rule] * 3, code=2)
    assert main(["show", USER, str(made.rule), "--dataset", str(tmp_path)]) == 2
    assert "no .item file lies there" in capsys.readouterr().err
    shutil.copytree(made.rule.parents[1], tmp_path / "films")
    (original,) = (tmp_path / "films").glob("*_train_original.csv")
    other = tmp_path / "films" / "feedback" / "rule"
    original.write_text(original.read_text().replace(",5\n", ",4\n", 1))
    assert "give folders of one split" in show(capsys, made, USER, made.rule, other, code=2)
    assert "its questions were not made from" in show(capsys, made, USER, other, code=2)


@pytest.mark.parametrize("broken", BROKEN)
def test_answers_that_do_not_fit_are_one_line(made, tmp_path, capsys, broken):
    shutil.copytree(made.rule.parents[1], tmp_path / "films")
    answers = tmp_path / "films" / "feedback" / "rule" / "answers.jsonl"
    answers.write_text(answers.read_text() + json.dumps({"user": USER} | broken) + "\n")
    fits = "holds an answer that does not fit" if "permutation" in broken else "is no answer; delete the line"
    assert fits in show(capsys, made, USER, answers.parent, code=2)
    next(answers.parent.glob("*.csv")).unlink()  # a refinement that was interrupted
    assert fits in show(capsys, made, USER, answers.parent, code=2)
