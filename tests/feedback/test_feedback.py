"""The refinement, on constructed users whose likes and dislikes are plain."""

import numpy as np
import pandas as pd
import pytest
import synthetic
import torch
from sklearn.metrics import roc_auc_score

from feedback import controls, embed
from feedback.questions import calibrate, one_each, questions, whom_to_ask
from feedback.refinement import refine
from feedback.report import auc_by_user, report
from feedback.report_text import report_lines
from feedback.verdicts import apply, merge, outcome
from llm import encoder
from llm_feedback import main
from options.refinement import RefinementSettings
from preparation.sources import DATASETS, DataSet
from preparation.titles import item_texts
from utils import InputError, git_blob_id

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
    train = whom_to_ask(ratings, "confirmed")
    return {question.user: embed.answer(question, train, vectors) for question in one_each(train)}


def refined(train, records, ratings, unasked_twos):
    pairs = zip(ratings.user, ratings.item, strict=True)
    return dict(zip(pairs, outcome(train, records, ratings, unasked_twos)[0], strict=True))


def named(train, user):
    return train.item_ids[train.candidates[user]].tolist()


def test_candidates_are_3s_and_2s_too_for_a_user_whose_mean_is_below_3(ratings):
    train = whom_to_ask(ratings, "confirmed")
    assert named(train, "anna") == ["a3", "b3"]
    assert named(train, "dora") == ["a2", "b3", "a3"]
    assert named(whom_to_ask(ratings, "ask"), "anna") == ["b2", "a3", "b3"]
    rest = ratings[~((ratings.user == "anna") & (ratings.rating == 3))]
    assert "anna" not in whom_to_ask(rest, "confirmed").candidates


def test_verdicts_follow_similarity_to_likes_and_dislikes(answers):
    verdict = {user: dict(zip(r["items"], r["verdicts"], strict=True)) for user, r in answers.items()}
    assert verdict["anna"] == {"a3": "liked", "b3": "disliked"}
    assert verdict["bert"] == {"a3": "disliked", "b3": "liked"}
    assert verdict["dora"] == {"a2": "liked", "b3": "disliked", "a3": "liked"}
    assert verdict["carl"] == {"a3": "unanswered"} and "no dislike" in answers["carl"]["reason"]


def test_a_thumb_down_is_compared_with_the_others_of_its_user(vectors):
    """anna's thumbs up are a's; of her thumbs down b1, b2, b3 are alike and a3 is like what she likes.  One alone is
    compared with nothing."""
    rows = [f"anna {item} {stars}" for item, stars in zip(("a1", "a2", "a3", "b1", "b2", "b3"), "552222", strict=True)]
    table = pd.DataFrame([row.split() for row in [*rows, "bert a1 5", "bert b1 2"]], columns=["user", "item", "token"])
    table = table.astype("category").assign(rating=table.token.astype(float))
    train = whom_to_ask(table, "ask")
    assert train.two_valued and not whom_to_ask(table.assign(rating=table.rating.replace(5, 3)), "ask").two_valued
    anna, bert = (embed.answer(question, train, vectors) for question in one_each(train))
    assert dict(zip(anna["items"], anna["verdicts"], strict=True)) == {
        "a3": "liked", "b1": "disliked", "b2": "disliked", "b3": "disliked"
    }  # fmt: skip
    assert bert["verdicts"] == ["unanswered"] and "no dislike" in bert["reason"]
    v = vectors  # a1 a2 a3 b1 b2 b3
    by_hand = v[2] @ v[:2].mean(0) - v[2] @ v[3:].mean(0)
    assert anna["scores"][anna["items"].index("a3")] == pytest.approx(by_hand, abs=1e-6)


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
    train = whom_to_ask(table, "confirmed")
    record = embed.answer(*one_each(train), train, random.randn(140, 5).astype(np.float32))
    assert sum(s >= record["threshold"] for s in record["known_scores"]) == 70
    assert record["verdicts"] == ["liked" if s >= record["threshold"] else "disliked" for s in record["scores"]]


@pytest.mark.parametrize(("unasked_twos", "two_of_anna"), [("confirmed", 0.5), ("neutral", 2)])
def test_verdicts_become_4_5_and_0_5_and_everything_else_stays(ratings, answers, unasked_twos, two_of_anna):
    new = refined(whom_to_ask(ratings, unasked_twos), answers.values(), ratings, unasked_twos)
    assert new["anna", "a3"] == 4.5 and new["anna", "b3"] == 0.5
    assert new["anna", "b2"] == two_of_anna  # a 2 that nobody was asked about
    assert new["dora", "a2"] == 4.5 and new["dora", "b3"] == 0.5
    assert new["carl", "a3"] == 3  # unanswered is never silently one of the verdicts
    original = ratings.set_index(["user", "item"]).rating
    assert all(new[pair] == stars for pair, stars in original.items() if stars in (1, 4, 5))


@pytest.fixture
def untitled(ratings):
    """The ratings, of whose items b2 and b3 have no title."""
    rows = {"a1": "A1", "a2": "A2", "a3": "A3", "b1": "B1", "b2": " "}
    titles = pd.DataFrame({"title": rows.values(), "year": "1999", "genre": ""}, rows.keys())
    return whom_to_ask(ratings, "confirmed", titles)


@pytest.mark.parametrize("mode", ["generate", "score", "embed"])
def test_an_item_without_a_title_is_neither_asked_about_nor_shown(untitled, mode):
    options = RefinementSettings(llm_seed=1, llm_permutations=2)
    asked = one_each(untitled) if mode == "embed" else questions(untitled, mode, options)
    shown = {question.user: set() for question in asked}
    for question in asked:
        numbers = np.concatenate([question.items, question.likes, question.dislikes])
        shown[question.user].update(untitled.item_ids[numbers])
    everything = {"a1", "a2", "a3", "b1"}
    assert shown == {"anna": everything, "bert": everything, "carl": {"a1", "a2", "a3"}, "dora": everything}


def test_a_candidate_without_a_title_is_unanswered_and_neutral(untitled, ratings, vectors):
    records = [embed.answer(question, untitled, vectors) for question in one_each(untitled)]
    after = refined(untitled, records, ratings, "confirmed")
    assert after["anna", "b3"] == after["bert", "b3"] == 3
    # dora, who is harsh, would have been asked about b3, her 2; anna's b2, of a lenient user, is confirmed unasked
    assert after["dora", "b3"] == 2 and after["dora", "a2"] in (0.5, 4.5) and after["anna", "b2"] == 0.5
    card = outcome(untitled, records, ratings, "confirmed")[1]
    assert card["candidates"] == len(untitled.pairs) > card["answered"] > 0


def test_users_whose_candidates_all_lack_titles_are_counted_as_such(ratings):
    train = whom_to_ask(ratings, "confirmed", pd.DataFrame({"title": ["X"], "year": "", "genre": ""}, ["b3"]))
    assert [question.user for question in one_each(train)] == ["anna", "bert", "dora"]
    card = report(train, [{"user": "anna", "items": [], "verdicts": []}], {}, ratings, ratings.rating.to_numpy())
    assert card["users"]["unchanged"]["not asked about: no titles"] == 1


def test_an_encoder_reads_no_text_of_an_item_without_one(tmp_path):
    """Nor do such items shift the mean that all items share."""
    synthetic.write_encoder(tmp_path)
    texts = ["Film even 1", "Film odd 2 War", "Film odd 3 Drama"]
    plain = encoder.encode_texts(texts, tmp_path, torch.device("cpu"))
    mixed = encoder.encode_texts(["", *texts, *[""] * 70], tmp_path, torch.device("cpu"))
    np.testing.assert_array_equal(mixed[1:4], plain)


def test_what_is_unanswered_stays_neutral_although_its_user_has_other_verdicts(ratings):
    verdicts = {("anna", "a3"): "liked", ("anna", "b3"): "unanswered", ("dora", "a2"): "unanswered"}
    verdicts["dora", "a3"] = "liked"
    pairs = zip(ratings.user, ratings.item, strict=True)
    new = dict(zip(pairs, apply(ratings, verdicts, "confirmed"), strict=True))
    assert (new["anna", "a3"], new["anna", "b3"], new["bert", "a3"], new["dora", "a2"]) == (4.5, 3, 3, 2)


# ------------------------------------------------------------------------------------------- controls


def test_the_rule_calls_every_3_liked_and_every_2_disliked(ratings):
    train = whom_to_ask(ratings, "ask")
    new = refined(train, list(controls.answers(one_each(train), train, "rule", 0)), ratings, "neutral")
    code = {3: 4.5, 2: 0.5}
    assert all(new[u, i] == code.get(r, r) for u, i, r in zip(ratings.user, ratings.item, ratings.rating, strict=True))


def test_random_verdicts_come_at_the_published_rates_and_depend_on_the_seed_alone():
    rows = [(f"u{n % 7}", f"i{n}", 2 + n % 2) for n in range(20000)]
    table = pd.DataFrame(rows, columns=["user", "item", "rating"]).astype({"user": "category", "item": "category"})
    train = whom_to_ask(table, "ask")
    todo = one_each(train)
    records = list(controls.answers(todo, train, "random", 1))
    liked = merge(records)
    for star, share in ((2, 0.163), (3, 0.821)):
        pairs = [(u, i) for u, i, r in rows if r == star]
        assert np.mean([liked[pair][0] == "liked" for pair in pairs]) == pytest.approx(share, abs=0.015)
    assert records[0]["verdicts"] != records[2]["verdicts"]  # the same ratings, another user
    assert list(controls.answers(todo[::-1], train, "random", 1)) == records[::-1]
    assert list(controls.answers(todo, train, "random", 2)) != records


def test_shuffled_labels_are_as_many_on_the_same_rows():
    ratings = np.array([2.0, 3, 3, 3, 2, 5, 1, 3, 2] * 50)
    labels = np.where(ratings == 3, 4.5, np.where(ratings == 2, 0.5, ratings))
    labels[::3] = ratings[::3]  # unanswered
    labels[[1, 2, 4, 10]] = [0.5, 0.5, 4.5, 0.5]
    shuffled = controls.shuffle(ratings, labels, 1)
    for star in (1, 2, 3, 5):
        rows = ratings == star
        assert sorted(shuffled[rows]) == sorted(labels[rows])
    assert ((shuffled != ratings) == (labels != ratings)).all() and (shuffled != labels).any()
    assert (controls.shuffle(ratings, labels, 1) == shuffled).all()
    assert (controls.shuffle(ratings, labels, 2) != shuffled).any()


# ------------------------------------------------------------------------------ questions, several orders


@pytest.fixture
def many():
    """One user with 12 likes, 9 dislikes and 13 candidates, another with next to nothing."""
    stars = [5] * 6 + [4] * 6 + [1] * 4 + [2] * 5 + [3] * 13
    rows = [("u", f"i{n:02d}", star) for n, star in enumerate(stars)] + [("v", "i00", 4), ("v", "i01", 3)]
    table = pd.DataFrame(rows, columns=["user", "item", "rating"]).astype({"user": "category", "item": "category"})
    return whom_to_ask(table, "confirmed")


OPTIONS = {"llm_seed": 1, "llm_permutations": 3}


def of_u(train, mode="generate", **changed):
    made = questions(train, mode, RefinementSettings(**OPTIONS | changed))
    return [question for question in made if question.user == "u"]


def test_each_order_asks_about_every_candidate_and_all_that_is_hidden_once_in_questions_of_like_size(many):
    hidden = []
    for permutation in range(3):
        own = [question for question in of_u(many) if question.permutation == permutation]
        shown = np.concatenate([question.items for question in own]).tolist()
        assert len(shown) == len(set(shown)) and set(many.candidates["u"]) <= set(shown)
        sizes = [len(question.items) for question in own]
        assert max(sizes) <= 5 and max(sizes) - min(sizes) <= 1
        assert not set(shown) & {*own[0].likes, *own[0].dislikes}
        hidden.append(set(shown) - set(many.candidates["u"]))
    likes, dislikes = many.likes_and_dislikes("u")
    assert hidden[0] == hidden[1] == hidden[2]
    assert len(hidden[0] & set(likes)) == 5 and len(hidden[0] & set(dislikes)) == 4  # at most 5, at most half


def test_orders_differ_and_depend_on_the_seed_alone(many):
    def items(*mode, **changed):
        return [question.items.tolist() for question in of_u(many, *mode, **changed)]

    whole, one_order = items(), items(llm_permutations=1)
    assert items() == whole != items(llm_seed=2) and one_order == whole[: len(one_order)]
    first, second, _ = items("score")
    assert sorted(first) == sorted(second) and first != second
    everybody = {question.user for question in questions(many, "score", RefinementSettings(**OPTIONS))}
    assert everybody == {"u", "v"}  # of v nothing can be hidden


def test_the_profile_begins_with_the_strongest_ratings_and_is_shortened_from_its_end(many):
    (question,) = of_u(many, "score", llm_permutations=1)
    star = dict(zip(*many.ratings["u"], strict=True))
    assert [star[item] for item in question.likes] == sorted((star[item] for item in question.likes), reverse=True)
    assert [star[item] for item in question.dislikes] == sorted(star[item] for item in question.dislikes)
    for kept in range(len(question.likes) + len(question.dislikes) + 1):
        shorter = question.shortened(kept)
        assert len(shorter.likes) + len(shorter.dislikes) == kept
        assert shorter.likes.tolist() == question.likes[: len(shorter.likes)].tolist()
        assert shorter.dislikes.tolist() == question.dislikes[: len(shorter.dislikes)].tolist()
        assert shorter.items is question.items


def test_the_threshold_weighs_what_is_hidden_by_what_it_stands_for(many):
    (question,) = of_u(many, "score", llm_permutations=1)
    likes, dislikes = many.likes_and_dislikes("u")
    hidden = [place for place, item in enumerate(question.items) if item in likes or item in dislikes]
    scores = np.zeros(len(question.items))
    # 5 hidden likes stand for 12, 4 hidden dislikes for 9: with every dislike below every like, 9 of 21 fall below
    for rank, place in enumerate(sorted(hidden, key=lambda place: question.items[place] in likes)):
        scores[place] = rank + 1
    assert calibrate(question, many, scores.tolist()) == 5  # the lowest of the likes: ranks 1-4 are the dislikes
    for place in hidden:
        scores[place] = -scores[place]  # the likes now lie below: 9 / (12 / 5) = 3.75, so three of them fall below
    assert calibrate(question, many, scores.tolist()) == -6
    missing = [None if item in dislikes else score for item, score in zip(question.items, scores, strict=True)]
    assert calibrate(question, many, missing) == -9  # nothing hidden that is disliked: the lowest like
    assert calibrate(question, many, [None] * len(scores)) == 0


def vote(permutation, **verdicts):
    record = {"user": "u", "permutation": permutation, "part": 0}
    return record | {"items": list(verdicts), "verdicts": list(verdicts.values())}


def test_the_majority_decides_a_draw_is_unanswered_and_silence_does_not_vote():
    yes, no, none = "liked", "disliked", "unanswered"
    records = [vote(0, a=yes, b=no, c=yes, d=none), vote(1, a=yes, b=no, c=none, d=none), vote(2, a=no, b=yes, c=no)]
    judged = {item: verdict for (_, item), (verdict, _) in merge(records).items()}
    assert judged == {"a": yes, "b": no, "c": none, "d": none}


def test_with_scores_the_mean_margin_decides():
    first = vote(0, a="liked", b="disliked", c="liked") | {"scores": [1.0, -1.0, 0.0], "threshold": 0.0}
    second = vote(1, a="disliked", b="liked", c="liked") | {"scores": [1.0, 6.0, 2.0], "threshold": 2.5}
    judged = merge([first, second])
    assert judged["u", "a"] == ("disliked", -0.25) and judged["u", "b"][0] == "liked"
    assert judged["u", "c"][0] == "disliked"
    alone = merge([vote(0, a="liked") | {"scores": [1.0], "threshold": 1.0}])
    assert alone["u", "a"] == ("liked", 0.0)


# ---------------------------------------------------------------------------------------- the report card


def test_report_card_counts_and_aucs(ratings, answers):
    train = whom_to_ask(ratings, "confirmed")
    card = outcome(train, list(answers.values()), ratings, "confirmed")[1]
    assert (card["candidates"], card["answered"], card["liked"], card["questions"]) == (8, 7, 4, 4)
    assert card["users"] == {"all": 4, "changed": 3, "unchanged": {"unanswered: no dislike to calibrate on": 1}}
    assert card["changed"] == {"2->4.5": 1, "2->0.5": 2, "2->2": 0, "3->4.5": 3, "3->0.5": 2, "3->3": 1}
    assert card["liked_share_of_changed_2s"] == 0.3333 and card["liked_share_of_changed_3s"] == 0.6
    assert card["liked_by_rating"]["3"] == [5, 3] and card["liked_by_position"] == [] and card["agreement"] is None
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
    assert not any("WARNING" in line for line in report_lines(card))
    error = np.std(expected, ddof=1) / 3**0.5
    assert card["auc_error"] == pytest.approx(error, abs=1e-4)
    assert f"{card['auc']['model']:.3f} +- {error:.3f} known likes" in report_lines(card)[-1]


@pytest.mark.parametrize(
    ("auc", "error", "warning"),
    [
        (0.45, 0.02, "worse than chance"),
        (0.47, 0.02, "not distinguishable from chance (0.5)"),
        (0.53, 0.02, "not distinguishable from chance (0.5)"),
        (0.55, 0.02, None),
        (0.49, None, "worse than chance"),  # cards of earlier versions have no error
        (0.51, None, None),
    ],
)
def test_the_card_warns_where_the_auc_is_no_better_than_chance(ratings, answers, auc, error, warning):
    card = outcome(whom_to_ask(ratings, "confirmed"), list(answers.values()), ratings, "confirmed")[1]
    card["auc"]["model"], card["auc_error"] = auc, error
    last = report_lines(card)[-1]
    assert last.startswith(f"  WARNING       {warning}" if warning else "  AUC")


def test_report_card_by_position_and_agreement(ratings):
    train = whom_to_ask(ratings, "confirmed")

    def record(user, permutation, items, verdicts):
        return {"user": user, "permutation": permutation, "part": 0, "items": items, "verdicts": verdicts, "raw": [""]}

    records = [
        record("anna", 0, ["a3", "b3"], ["liked", "disliked"]),
        record("anna", 1, ["b3", "a3"], ["liked", "liked"]),
        record("bert", 0, ["b3", "a3"], ["unanswered", "unanswered"]) | {"reason": "no readable answer"},
    ]
    card = report(train, records, merge(records), ratings, ratings.rating.to_numpy())
    assert card["liked_by_position"] == [[2, 2], [2, 1]]
    assert card["agreement"] == 0.5  # a3 twice liked, b3 once
    assert card["questions_unanswered"] == 1
    why = {"asked about, without a verdict": 1, "not asked yet": 2, "unanswered: no readable answer": 1}
    assert card["users"]["unchanged"] == why and card["candidates"] == 8
    text = "\n".join(report_lines(card))
    assert "100.0%, 50.0% liked" in text and "50.0% of the items judged alike" in text


def test_the_report_command_reads_labels_and_answers_alike(ml_100k, tmp_path, capsys):
    """The authors' figures need their labels, which the tests do not have: here the 3s become 4.5 by hand."""
    original = ml_100k / "ML-100K_train_original.csv"
    labels = tmp_path / "ML-100K_train_augment.csv"
    (tmp_path / original.name).write_bytes(original.read_bytes())
    labels.write_text(original.read_text().replace(",3\n", ",4.5\n"))
    assert main(["report", str(labels)]) == 0
    printed = capsys.readouterr().out
    assert "25638 -> liked, 0 -> confirmed negative, 0 as they were (100.0% of the changed ones liked)" in printed
    assert "3 no 2s or 3s" in printed and "coverage" not in printed


def test_the_report_command_says_in_one_line_what_is_wrong(tmp_path, capsys):
    alone = tmp_path / "a" / "b" / "c" / "d.csv"
    alone.parent.mkdir(parents=True)
    alone.write_text("user_id,item_id,rating\n1,2,3\n")
    for path, message in ((tmp_path / "x", "is neither"), (alone, "no ..._train_original.csv in its folder")):
        assert main(["report", str(path)]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1 and message in error


def test_item_texts_hold_title_year_and_genres_and_miss_nothing_that_is_absent():
    rows = [("Arrival", "2016", "Drama Sci-Fi"), ("X", "", "")]
    items = pd.DataFrame(rows, columns=["title", "year", "genre"], index=["7", "8"])
    assert item_texts(items, ["8", "7", "9"], genres=True) == ["X", "Arrival (2016), Drama, Sci-Fi", ""]


@pytest.mark.parametrize(("labels", "llm"), [("4.5", "published"), ("0.5", "file")])
def test_only_the_authors_own_labels_count_as_published(tmp_path, monkeypatch, labels, llm):
    path = tmp_path / "Tiny_train_augment.csv"
    rows = "user_id,item_id,rating\n1,2,{}\n"
    (tmp_path / "Tiny_train_original.csv").write_text(rows.format(3))
    path.write_text(rows.format(4.5))
    monkeypatch.setitem(DATASETS, "Tiny", DataSet({}, [], labels=git_blob_id(path)))
    path.write_text(rows.format(labels))
    found, said = refine("Tiny", tmp_path, None, RefinementSettings(), "cpu")
    assert found == path and said["llm"] == llm
    assert said["refinement"]["changed"][f"3->{labels}"] == 1  # the report card is in every run folder


def test_labels_about_other_pairs_than_the_train_file_are_refused(tmp_path):
    (tmp_path / "x_train_original.csv").write_text("user_id,item_id,rating\n1,2,3\n1,3,5\n")
    (tmp_path / "x_train_augment.csv").write_text("user_id,item_id,rating\n1,2,4.5\n")
    with pytest.raises(InputError, match=r"x_train_augment\.csv: .*1 pairs"):
        refine("x", tmp_path, None, RefinementSettings(), "cpu")


@pytest.mark.parametrize("seed", range(2))
def test_auc_by_user_is_that_of_scikit_learn_user_by_user(seed):
    """With ties, and users who have only likes, only dislikes, or one of each."""
    random = np.random.RandomState(seed)
    users, is_like = random.randint(40, size=300), random.rand(300) < 0.6
    scores = random.randint(6, size=300) / 3.0
    expected = []
    for user in range(users.max() + 1):
        own = users == user
        if len(set(is_like[own])) == 2:
            expected.append(roc_auc_score(is_like[own], scores[own]))
    np.testing.assert_allclose(auc_by_user(users, is_like, scores), expected)
    assert len(auc_by_user(users[:0], is_like[:0], scores[:0])) == 0
