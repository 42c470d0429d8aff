"""llm_feedback.py page: what lies in the file, and what a real browser makes of it."""

import json
import re
import shutil

import pandas as pd
import pytest
import refined
from browser import look_at

from feedback.decisions import decisions_of, read_refinement, read_train
from feedback.page import inert_json
from llm_feedback import main

USER = "u7"
USED = """
const text = (node) => node.textContent;
const byId = (id) => document.getElementById(id);
async function type(id, value) {
  byId(id).value = value;
  byId(id).dispatchEvent(new Event(id === "order" ? "change" : "input"));
  await tick();
}
const entries = () => [...document.querySelectorAll("details.user")];
async function open(place) { entries()[place].querySelector("summary").click(); await tick(); return entries()[place]; }
"""


@pytest.fixture(scope="module")
def page(made):
    """Two refinements and two runs, on one page."""
    path = made.base / "out" / "page.html"
    assert write(made, made.orders, made.rule, *made.runs.values(), "--out", path) == 0
    return path


def write(made, *words):
    return main(["page", *map(str, words), "--dataset", str(made.folder)])


def data_in(path):
    text = path.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1])


# ------------------------------------------------------------------------------------------- the file


def test_the_page_holds_what_show_prints(made, page):
    data = data_in(page)
    train = read_train(made.orders, made.folder)
    both = [read_refinement(folder, train) for folder in (made.orders, made.rule)]
    assert data["titles"] == train.titles and [row[0] for row in data["users"]] == both[0].train.user_ids.tolist()
    for user, n_rated, profiles, decisions, _ in data["users"]:
        expected_profiles, expected = decisions_of(both, user)
        assert n_rated == len(both[0].train.ratings[user][0])
        assert [row[:2] for row in decisions] == [[each.item, each.stars] for each in expected]
        assert [row[4] for row in decisions] == [each.differs for each in expected]
        for row, each in zip(decisions, expected, strict=True):
            assert row[2] == pytest.approx(100 * each.others, abs=0.5) and row[3] == each.raters
            for (code, score, places, label, known), said in zip(row[5], each.said, strict=True):
                assert data["verdicts"][code] == said.verdict and known == said.known
                assert score == (None if said.score is None else pytest.approx(said.score, rel=0.01))
                assert list(map(tuple, places)) == said.places
                assert label == {4.5: 1, 0.5: 2}.get(said.label, 3)
        for (likes, dislikes, answers, missing), profile in zip(profiles, expected_profiles, strict=True):
            for groups, side in ((likes, profile.likes), (dislikes, profile.dislikes)):
                assert sorted(item for _, items in groups for item in items) == sorted(side)
            assert missing == profile.missing and list(map(tuple, answers)) == profile.answers


def test_lists_and_marks_are_those_of_the_run(made, page):
    data = data_in(page)
    for place, (name, folder) in enumerate(made.runs.items()):
        table = pd.read_csv(folder / "recommendations.csv").query("user == @USER")
        splits = made.rule.parents[1]
        held_out = {}
        for part in ("validation", "test", "validation_dislikes", "test_dislikes"):
            rows = pd.read_csv(splits / f"films_{part}.csv")
            for item in rows[rows["user_id:token"] == USER]["item_id:token"]:
                held_out[item] = 2 if "dislikes" in part else 1
        (lists,) = (row[4] for row in data["users"] if row[0] == USER)
        rows, likes, dislikes = lists[place]
        item_ids = read_refinement(made.rule, read_train(made.rule, made.folder)).train.item_ids
        assert [item_ids[item] for item, _ in rows] == table.item.tolist(), name
        assert [mark for _, mark in rows] == [held_out.get(item, 0) for item in table.item]
        assert {1, 2} <= {mark for _, mark in rows}
        assert (likes, dislikes) == tuple(list(held_out.values()).count(kind) for kind in (1, 2))


def test_nothing_in_the_data_can_end_the_script_or_leave_ascii(page):
    text = page.read_bytes()
    data = re.search(rb'id="data">(.*?)</script>', text, re.DOTALL)[1]
    assert data.isascii() and not re.search(rb"[<>&]", data)
    assert text.count(b"<script") == 2 and text.count(b"</script>") == 2
    hostile = "</script><!-- \u2028 & {{policy}}"
    assert json.loads(inert_json([hostile])) == [hostile]
    with pytest.raises(ValueError, match="JSON compliant"):
        inert_json(float("nan"))


def test_the_page_names_no_address_and_the_script_never_writes_html(page):
    text = page.read_text(encoding="utf-8")
    code = text.replace(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1], "")
    assert not re.search(r"https?:|//[a-z]|url\(|@import|\bsrc=|\bhref=|fetch\(|XMLHttp|import\(", code)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", code)
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)[1]
    assert policy.startswith("default-src 'none'; ") and "unsafe" not in policy


def test_the_same_files_give_the_same_page_in_whatever_order_of_the_two_kinds(made, page, tmp_path):
    write(made, *made.runs.values(), made.orders, made.rule, "--out", tmp_path / "again.html")
    assert (tmp_path / "again.html").read_bytes() == page.read_bytes()


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        ("{rule} {base}", "{base}: holds neither labels"),
        ("{rule} {base}/none", "{base}/none: is no folder"),
        ("{run}", "give one or two folders of refinements"),
        ("{rule} {rule} {rule}", "give one or two folders of refinements"),
        ("{rule} {run} {run} {run}", "{run}: is a third run"),
        ("{rule} {unfinished}", "{unfinished}: holds no finished run"),
        ("{rule} {other}", "give folders of one split"),
        ("{otherwise} {run}", "{run}: is about "),
    ],
)
def test_what_cannot_be_put_on_a_page_is_one_line_and_nothing_is_written(made, tmp_path, capsys, folders, message):
    unfinished = shutil.copytree(made.runs["rule"], tmp_path / "unfinished")
    (unfinished / "summary.json").unlink()
    shutil.copytree(made.rule.parents[1], tmp_path / "films")
    (original,) = (tmp_path / "films").glob("*_train_original.csv")
    original.write_text(original.read_text().replace(",5\n", ",4\n", 1))
    other = tmp_path / "films" / "feedback" / made.shuffled.name
    names = {"base": tmp_path, "rule": made.rule, "run": made.runs["rule"], "unfinished": unfinished, "other": other}
    names["otherwise"] = other
    capsys.readouterr()
    out = tmp_path / "page.html"
    assert write(made, *folders.format(**names).split(), "--out", out) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and message.format(**names) in error
    assert not out.exists() and not list(tmp_path.glob(".*"))


# ------------------------------------------------------------------------------------------- the browser


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (400, True)])
def test_a_browser_shows_a_user_and_nothing_goes_wrong(made, page, tmp_path, width, dark):
    script = USED + """
      for (const details of document.querySelectorAll("details")) details.open = true;
      await tick();
      const [first] = entries();
      const tables = [...first.querySelectorAll("table")];
      const rows = tables.flatMap((table) => [...table.tBodies[0].rows]).map((row) => [...row.cells].map(text));
      const captions = tables.map((table) => text(table.caption));
      const paper = getComputedStyle(document.body).backgroundColor;
      const heading = text(first.querySelector("b"));
      return { users: entries().length, heading, captions, rows, body: text(first), paper };
    """
    seen = look_at(page, tmp_path, script, width, dark)
    assert (seen["width"], seen["dark"], seen["problems"], seen["requests"]) == (width, dark, [], [])
    assert seen["content"] <= width, "wider than the window"
    assert (seen["hacked"], seen["images"]) == ("undefined", 0)
    result = seen["result"]
    assert result["heading"] == f"User {refined.USER}" and result["users"] == 40
    assert result["paper"] == ("rgb(22, 23, 26)" if dark else "rgb(251, 250, 248)")
    data = data_in(page)
    (decisions,) = (row[3] for row in data["users"] if row[0] == refined.USER)
    differing, rows = sum(row[4] for row in decisions), result["rows"]
    captions = "Decisions on which A and B disagree", "The other decisions"
    counts = differing, len(decisions) - differing
    assert differing and result["captions"] == [f"{caption}: {n}" for caption, n in zip(captions, counts, strict=True)]
    assert [cells[0] for cells in rows] == [data["titles"][row[0]] for row in decisions]
    verdicts = {cells[3].removesuffix(" known rating") for cells in rows}
    assert {"▲ liked", "▼ disliked"} <= verdicts <= {"▲ liked", "▼ disliked", "not asked", "unanswered"}
    assert '1, 3 </script><img src=x onerror="hacked=true">' in result["body"]
    assert "held-out dislike" in result["body"] and "Recommended by" in result["body"]


def test_search_and_order_in_a_browser(made, page, tmp_path):
    script = USED + """
      const names = () => entries().map((entry) => text(entry.querySelector("b")));
      const found = {};
      await type("by-user", "u7"); found.user = names();
      await type("by-user", ""); await type("by-title", "\\x3c/SCRIPT>\\x3cimg"); found.hostile = names();
      found.marked = text((await open(0)).querySelector(".hit"));
      await type("by-title", "no such title"); found.none = names(); found.count = text(byId("count"));
      await type("by-title", "");
      for (const order of ["most decisions", "largest share liked", "smallest share liked", "most disagreements"]) {
        await type("order", order);
        found[order] = names();
      }
      return found;
    """
    seen = look_at(page, tmp_path, script)
    assert seen["problems"] == [] and (seen["hacked"], seen["images"]) == ("undefined", 0)
    found, data = seen["result"], data_in(page)
    assert found["user"] == ["User u7"]
    hostile = next(number for number, title in enumerate(data["titles"]) if title.startswith("</script>"))
    assert found["hostile"] == [f"User {row[0]}" for row in data["users"] if hostile in items_of(row)]
    assert 0 < len(found["hostile"]) < 40 and found["marked"] == data["titles"][hostile]
    assert found["none"] == [] and found["count"] == "0 users of 40"

    def share(row):
        labels = [decision[5][0][3] for decision in row[3]]
        return labels.count(1) / (labels.count(1) + labels.count(2))

    keys = {
        "most decisions": lambda row: -len(row[3]),
        "largest share liked": lambda row: -share(row),
        "smallest share liked": share,
        "most disagreements": lambda row: -sum(decision[4] for decision in row[3]),
    }
    for order, key in keys.items():
        assert found[order] == [f"User {row[0]}" for row in sorted(data["users"], key=key)], order


def items_of(row):
    """The numbers of all items that a user's entry names."""
    items = {decision[0] for decision in row[3]}
    for likes, dislikes, *_ in row[2]:
        items.update(item for group in [*likes, *dislikes] for item in group[1])
    for list_ in row[4]:
        items.update(item for item, _ in list_[0])
    return items


def test_an_address_with_a_user_opens_the_user(page, tmp_path):
    script = USED + 'await tick(); return entries().map((entry) => [text(entry.querySelector("b")), entry.open]);'
    seen = look_at(page, tmp_path, script, fragment="#user-u7")
    assert seen["result"] == [["User u7", True]] and seen["problems"] == []


def test_one_refinement_without_runs_in_a_browser(made, tmp_path):
    """Labels without answers: no profile, no disagreements, no lists, and all of that said."""
    write(made, made.shuffled, "--out", tmp_path / "one.html")
    script = USED + "return [document.body.innerText, text(await open(0))];"
    seen = look_at(tmp_path / "one.html", tmp_path, script, 400)
    whole, body = seen["result"]
    assert seen["problems"] == [] and seen["content"] <= 400
    assert "There are labels but no answers" in whole and "Training" not in body
    assert "Not shown: no answers are kept with these labels" in body and "not kept" in body
    assert "disagree" not in body and "Recommended" not in body
