"""The refinement, on constructed users whose likes and dislikes are plain."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from data.sources import DATASETS, DataSet
from dataloader import git_blob_id
from feedback import embed
from feedback.answers import Answers
from feedback.questions import item_texts, whom_to_ask
from feedback.report import report, report_lines
from llm_feedback import apply, refine
from utils import InputError

# Two kinds of items, a* and b*.  anna likes a and dislikes b; bert the reverse; carl has no dislike; dora is harsh.
RATINGS = """
anna a1 5, anna a2 4, anna b1 1, anna b2 2, anna a3 3, anna b3 3
bert b1 5, bert b2 4, bert a1 1, bert a2 1, bert a3 3, bert b3 3
carl a1 5, carl a2 4, carl a3 3
dora a1 4, dora b1 1, dora b2 1, dora a2 2, dora b3 2, dora a3 3
"""


@pytest.fixture
def ratings():
    rows = [row.split() for row in RATINGS.replace("\n", ", ").split(", ") if row]
    table = pd.DataFrame(rows, columns=["user", "item", "token"], dtype="category")
    table["rating"] = table.token.astype(str).astype(float)
    return table


@pytest.fixture
def vectors():
    """Items in id order a1 a2 a3 b1 b2 b3: the a's near one axis, the b's near the other."""
    v = np.array([[1, 0.1], [1, 0.2], [1, 0], [0.1, 1], [0.2, 1], [0, 1]], np.float32)
    return v / np.linalg.norm(v, axis=1, keepdims=True)


@pytest.fixture
def answers(ratings, vectors):
    asked = whom_to_ask(ratings, "confirmed")
    return {user: embed.answer(user, asked, vectors) for user in asked.candidates}


def named(asked, user):
    return asked.item_ids[asked.candidates[user]].tolist()


def test_candidates_are_3s_and_2s_too_for_a_user_whose_mean_is_below_3(ratings):
    asked = whom_to_ask(ratings, "confirmed")
    assert named(asked, "anna") == ["a3", "b3"]
    assert named(asked, "dora") == ["a2", "b3", "a3"]


def test_a_user_without_3s_is_not_asked_about(ratings):
    assert "anna" not in whom_to_ask(ratings[~((ratings.user == "anna") & (ratings.rating == 3))], "confirmed").candidates


def test_verdicts_follow_similarity_to_likes_and_dislikes(answers):
    verdict = {user: dict(zip(r["items"], r["verdicts"], strict=True)) for user, r in answers.items()}
    assert verdict["anna"] == {"a3": "liked", "b3": "disliked"}
    assert verdict["bert"] == {"a3": "disliked", "b3": "liked"}
    assert verdict["dora"] == {"a2": "liked", "b3": "disliked", "a3": "liked"}


def test_without_a_dislike_nothing_is_answered_and_the_reason_is_given(answers):
    assert answers["carl"]["verdicts"] == ["unanswered"] and "no dislike" in answers["carl"]["reason"]


def test_a_known_rating_is_hidden_from_its_own_score(vectors):
    """Its score is what it would be if the user had never rated it."""
    likes, dislikes = np.array([0, 1]), np.array([3, 4])
    with_it = embed.score(np.array([0]), likes, dislikes, vectors)
    without_it = embed.score(np.array([0]), likes[1:], dislikes, vectors)
    np.testing.assert_allclose(with_it, without_it, rtol=1e-6)
    assert not np.allclose(with_it, vectors[0] @ vectors[[0, 1]].mean(0) - vectors[0] @ vectors[[3, 4]].mean(0))


def test_the_threshold_calls_the_same_share_of_the_known_ratings_liked_as_the_user_did():
    random = np.random.RandomState(0)
    rows = [("u", f"i{n:03d}", 4 if n < 70 else 1 if n < 100 else 3) for n in range(140)]
    table = pd.DataFrame(rows, columns=["user", "item", "rating"]).astype({"user": "category", "item": "category"})
    record = embed.answer("u", whom_to_ask(table, "confirmed"), random.randn(140, 5).astype(np.float32))
    assert sum(s >= record["threshold"] for s in record["known_scores"]) == 70
    assert record["verdicts"] == ["liked" if s >= record["threshold"] else "disliked" for s in record["scores"]]


@pytest.mark.parametrize(("unasked_twos", "two_of_anna"), [("confirmed", 0.5), ("neutral", 2)])
def test_verdicts_become_4_5_and_0_5_and_everything_else_stays(ratings, answers, unasked_twos, two_of_anna):
    pairs = zip(ratings.user, ratings.item, strict=True)
    refined = dict(zip(pairs, apply(ratings, answers, unasked_twos), strict=True))
    assert refined["anna", "a3"] == 4.5 and refined["anna", "b3"] == 0.5
    assert refined["anna", "b2"] == two_of_anna  # a 2 that nobody was asked about
    assert refined["dora", "a2"] == 4.5 and refined["dora", "b3"] == 0.5
    assert refined["carl", "a3"] == 3  # unanswered is never silently one of the verdicts
    original = ratings.set_index(["user", "item"]).rating
    assert all(refined[pair] == stars for pair, stars in original.items() if stars in (1, 4, 5))


def test_an_unanswered_3_stays_neutral_although_its_user_has_other_verdicts(ratings):
    answers = {"anna": {"items": ["a3", "b3"], "verdicts": ["liked", "unanswered"]}}
    pairs = zip(ratings.user, ratings.item, strict=True)
    refined = dict(zip(pairs, apply(ratings, answers, "confirmed"), strict=True))
    assert (refined["anna", "a3"], refined["anna", "b3"], refined["bert", "a3"]) == (4.5, 3, 3)


def test_report_card_counts_and_aucs(ratings, answers):
    asked = whom_to_ask(ratings, "confirmed")
    card = report(asked, answers, ratings, apply(ratings, answers, "confirmed"))
    assert (card["candidates"], card["answered"], card["liked"]) == (8, 7, 4)
    assert card["users_unanswered"] == {"no dislike to calibrate on": 1}
    assert card["changed"] == {"2->4.5": 1, "2->0.5": 2, "2->2": 0, "3->4.5": 3, "3->0.5": 2, "3->3": 1}
    assert card["unasked_twos_confirmed"] == 1  # anna's b2; dora's b3 was asked about
    # anna's and bert's likes stand above their dislikes; dora likes a1, dislikes a2 (a 2), b1, b2, b3
    dora = dict(zip(answers["dora"]["known_items"], answers["dora"]["known_scores"], strict=True))
    stars = [4, 1, 1, 2, 2]
    expected = [1.0, 1.0, roc_auc_score(np.array(stars) >= 4, [dora[i] for i in ("a1", "b1", "b2", "a2", "b3")])]
    assert card["auc_users"] == 3 and card["auc"]["model"] == pytest.approx(np.mean(expected), abs=1e-4)
    # Item means without one's own rating, worked out by hand.  anna's likes a1 (5+1+4-> bert 1, carl 5, dora 4),
    # a2 (1, 4, 2); dislikes b1 (5, 1), b2 (4, 1): 10/3, 7/3 against 3, 5/2 -> 2 of 4 pairs.  bert: likes b1 (1, 1),
    # b2 (2, 1) against a1 (5, 5, 4), a2 (4, 4, 2) -> 0.  dora: a1 11/3 against b1 3, b2 3, a2 3, b3 3 -> 1.
    assert card["auc"]["item_mean"] == pytest.approx((0.5 + 0 + 1) / 3, abs=1e-4)
    assert any("7 of 8" in line for line in report_lines(card))


def test_item_texts_hold_title_year_and_genres_and_miss_nothing_that_is_absent():
    rows = [("Arrival", "2016", "Drama Sci-Fi"), ("X", "", "")]
    items = pd.DataFrame(rows, columns=["title", "year", "genre"], index=["7", "8"])
    assert item_texts(items, ["8", "7", "9"]) == ["X", "Arrival (2016), Drama, Sci-Fi", ""]


@pytest.mark.parametrize(("labels", "llm"), [("4.5", "published"), ("0.5", "file")])
def test_only_the_authors_own_labels_count_as_published(tmp_path, monkeypatch, labels, llm):
    path = tmp_path / "Tiny_train_augment.csv"
    rows = "user_id,item_id,rating\n1,2,{}\n"
    (tmp_path / "Tiny_train_original.csv").write_text(rows.format(3))
    path.write_text(rows.format(4.5))
    monkeypatch.setitem(DATASETS, "Tiny", DataSet({}, [], labels=git_blob_id(path)))
    path.write_text(rows.format(labels))
    found, said = refine("Tiny", tmp_path, None, SimpleNamespace(llm="auto"), "cpu")
    assert found == path and said["llm"] == llm


def test_labels_about_other_pairs_than_the_train_file_are_refused(tmp_path):
    (tmp_path / "x_train_original.csv").write_text("user_id,item_id,rating\n1,2,3\n1,3,5\n")
    (tmp_path / "x_train_augment.csv").write_text("user_id,item_id,rating\n1,2,4.5\n")
    with pytest.raises(InputError, match=r"x_train_augment\.csv: .*1 pairs"):
        refine("x", tmp_path, None, SimpleNamespace(llm="auto"), "cpu")


# -------------------------------------------------------------------------------------- the answers file


def write(path, settings, users):
    with Answers(path, settings).append() as add:
        for user in users:
            add({"user": user, "items": [], "verdicts": []})


def test_answers_are_found_again_and_go_on_after_the_last(tmp_path):
    path, settings = tmp_path / "answers.jsonl", {"llm": "x"}
    write(path, settings, ["1", "2"])
    write(path, settings, ["3"])
    assert list(Answers(path, settings).by_user) == ["1", "2", "3"]
    assert len(path.read_text().splitlines()) == 4


def test_appending_twice_through_one_object_loses_nothing(tmp_path):
    answers = Answers(tmp_path / "answers.jsonl", {"llm": "x"})
    for user in ("1", "2"):
        with answers.append() as add:
            add({"user": user, "items": [], "verdicts": []})
    assert list(Answers(answers.path, answers.settings).by_user) == ["1", "2"]


@pytest.mark.parametrize("cut", [1, 5, 30])
def test_a_half_written_last_line_is_dropped_and_the_next_start_heals_it(tmp_path, cut):
    path, settings = tmp_path / "answers.jsonl", {"llm": "x"}
    write(path, settings, ["1", "2", "3"])
    path.write_bytes(path.read_bytes()[:-cut])
    assert list(Answers(path, settings).by_user) == ["1", "2"]
    write(path, settings, ["3"])
    assert [json.loads(line).get("user") for line in path.read_text().splitlines()] == [None, "1", "2", "3"]


def test_answers_of_other_settings_are_refused_by_name(tmp_path):
    path = tmp_path / "answers.jsonl"
    write(path, {"llm": "x", "dtype": "float32"}, ["1"])
    with pytest.raises(InputError, match=r"answers\.jsonl: .* other dtype \(float32 there, float16 now\)"):
        Answers(path, {"llm": "x", "dtype": "float16"})


def test_a_broken_line_in_the_middle_is_named(tmp_path):
    path = tmp_path / "answers.jsonl"
    path.write_text('{"llm": "x"}\nnonsense\n{"user": "1"}\n')
    with pytest.raises(InputError, match="line 2"):
        Answers(path, {"llm": "x"})
