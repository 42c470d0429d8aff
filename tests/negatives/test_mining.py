"""Templates, supervising negatives, the template's negatives and the filter of false ones, on hand-made data."""

import itertools

import numpy as np
import pytest
import synthetic
from known import known_of, table

from negatives import mining
from negatives.mining import Scores, Titles, choose_pairs, judge, plain, supervising_negative, template_negatives
from negatives.profiles import FEW, Known, Templates, over_represented
from negatives.vectors import DUPLICATE, KEPT, NONE, OUTSCORED, POSITIVE

# -------------------------------------------------------------------------------------------------------- templates


def two_tastes(order=1):
    """Six users like comedies of the 1980s, six like westerns of the 1950s; each dislikes one of the others."""
    rows = {item: (f"Comedy {item}", "1985", "Comedy") for item in range(6)}
    rows |= {item: (f"Western {item}", "1955", "Western Drama") for item in range(6, 12)}
    ratings = {}
    for user in range(12)[::order]:
        own, others = (range(6), range(6, 12)) if user < 6 else (range(6, 12), range(6))
        of = {item: 5 if item % 2 else 4 for item in own if item != own[user % 6]}
        of |= dict.fromkeys(list(others)[user % 3:user % 3 + 2], 1)
        ratings[user] = dict(list(of.items())[::order])
    return ratings, rows


def test_templates_say_what_the_counts_say():
    ratings, rows = two_tastes()
    records = {(r["kind"], r["id"]): r for r in Templates(known_of(ratings, 12, rows)).records()}
    user = records["user", "0"]
    assert user["summarization"].startswith("Likes Comedy. Mostly of the 1980s. Dislikes ")
    assert "Western" in user["summarization"] and "Favourites Comedy 1" in user["summarization"]
    item = records["item", "7"]
    assert item["summarization"].startswith("1950s Western, Drama. Close to Western ")
    assert item["reasoning"].startswith("5 likers; ") and " of them" in item["reasoning"]
    assert all(r["backend"] == "template" and r["status"] == "ok" for r in records.values())


def test_templates_do_not_depend_on_the_order_of_the_file():
    (one, rows), (other, _) = two_tastes(), two_tastes(-1)
    assert [*one] != [*other]
    one, other = known_of(one, 12, rows), known_of(other, 12, rows)
    assert list(Templates(one).records()) == list(Templates(other).records())
    np.testing.assert_array_equal(one.pairs, other.pairs)


def test_templates_of_what_little_is_known():
    """A user without dislikes, an item without genre or year, one with a single liker, one about which nothing is."""
    rows = {0: ("A", "", "Drama"), 1: ("B", "1999", ""), 2: ("", "", ""), 3: ("D", "V", "")}
    ratings = {user: {0: 5, 1: 4} for user in range(FEW)} | {FEW: {0: 3, 2: 1}, FEW + 1: {3: 5}}
    text = {(r["kind"], r["id"]): r["summarization"] for r in Templates(known_of(ratings, 4, rows)).records()}
    assert text["user", "0"] == "Mostly of the 1990s. Favourites A, B (1999)"  # one Drama is too few
    assert text["item", "0"] == "Drama. Close to B (1999)" and text["item", "1"] == "1990s. Close to A"
    assert text["item", "2"] == "" and text["item", "3"] == ""  # one liker: nothing is said of them


def test_over_represented_shrinks_what_was_counted_once():
    average = {"Drama": 80, "War": 20}
    # of War: 4 of 4, where a fifth is average; (4 + 5 * .2) / (4 + 5) / .2
    assert over_represented({"War": 4}, average, 3) == [("War", pytest.approx(5 / 9 / 0.2))]
    assert over_represented({"War": 1}, average, 3) == []  # too few
    assert over_represented({"War": 4, "Drama": 16}, average, 3) == []  # as on average
    assert over_represented({"War": 4}, average, 3, leave_out=["War"]) == []


def test_only_train_rows_are_known():
    """Known reads nothing of validation and test: there is nothing else in it to leak."""
    pairs = np.array([0, 1]), np.array([0, 1])
    data = synthetic.train_data(2, 3, *pairs, np.array([5.0, 4.0]))
    data.validation = data.test = data.seen = None
    known = Known(data, table({0: ("A", "", ""), 1: ("B", "", ""), 2: ("C", "", "")}))
    assert known.pairs.tolist() == [[0, 0], [1, 1]] and known.unrated(0).tolist() == [1, 2]


# ----------------------------------------------------------------------------------------------------------- mining


def draw(known, scores, texts, item=0, times=40):
    """The distinct supervising negatives of user 0 and a liked item."""
    generators = map(np.random.default_rng, range(times))
    return {supervising_negative(known, scores, texts, 0, item, generator) for generator in generators}


def test_supervising_negatives_are_the_third_to_seventh_likeliest_of_64_unrated():
    scores = np.arange(20.0)[::-1].copy()  # item 0 scores highest
    assert draw(known_of({0: {0: 5, 1: 2}}, 20), scores, np.eye(20)) == {4, 5, 6, 7, 8}  # of 2, 3, 4, ...
    drawn = draw(known_of({0: {0: 5}}, 400), -np.arange(400.0), np.eye(400), times=200)
    assert min(drawn) >= 3 and max(drawn) > 60  # the seventh of 64 drawn from 399


def test_supervising_negatives_pass_the_last_two_rules():
    known = known_of({0: {0: 5, 1: 4}}, 9)
    scores = np.array([0.0, 9, 8, 7, 6, 5, 4, -1, -2])  # 2 and 3 passed over; 4, 5, 6 above the liked item 0
    texts = np.eye(9, dtype=np.float32)
    assert draw(known, scores, texts) == {7, 8}
    texts[7] = texts[1]  # nearly the text of another liked item
    assert draw(known, scores, texts) == {8}
    texts[8] = texts[0]
    assert draw(known, scores, texts) == {None}


@pytest.mark.parametrize(("n_unrated", "found"), [(0, {None}), (2, {None}), (3, {2}), (7, {2, 3, 4, 5, 6})])
def test_supervising_negatives_of_a_user_with_little_unrated(n_unrated, found):
    known = known_of({0: {n_unrated + item: 5 for item in range(3)}}, n_unrated + 3)
    scores = np.concatenate((-1.0 - np.arange(n_unrated), np.zeros(3)))
    assert draw(known, scores, np.eye(n_unrated + 3), item=n_unrated) == found


def test_triplets_are_of_train_positives_and_unrated_items_and_the_same_every_time():
    ratings, rows = two_tastes()
    known = known_of(ratings, 30, rows | {item: (f"Film {item}", "1990", "War") for item in range(12, 30)})
    cf = np.random.default_rng(0).normal(size=(42, 4)).astype(np.float32)
    triplets = mining.supervising_triplets(known, Scores(cf, 12), np.eye(30), 40, 2024)
    positives = set(map(tuple, known.pairs.tolist()))
    assert 10 < len(triplets) <= 40 and triplets.dtype == np.int32
    for user, liked, wanted in triplets.tolist():
        assert (user, liked) in positives and wanted not in ratings[user]
        assert cf[user] @ cf[12 + wanted] <= cf[user] @ cf[12 + liked] + 1e-6
    fewer = mining.supervising_triplets(known, Scores(cf, 12), np.eye(30), 5, 2024)
    np.testing.assert_array_equal(triplets[:5], fewer)


def test_pairs_are_all_or_at_most_so_many_a_user():
    pairs = np.array([[0, 3], [0, 5], [0, 7], [1, 2], [2, 0], [2, 1]], np.int32)
    assert choose_pairs(pairs, 0, 1) is pairs
    chosen = {tuple(map(tuple, choose_pairs(pairs, 2, seed).tolist())) for seed in range(40)}
    rest = ((1, 2), (2, 0), (2, 1))
    assert chosen == {(*two, *rest) for two in itertools.combinations([(0, 3), (0, 5), (0, 7)], 2)}


def test_the_templates_negative_is_near_in_content_and_unlikely_by_behaviour():
    generator = np.random.default_rng(0)
    known = known_of({0: {0: 5, 1: 4, 2: 1}, 1: dict.fromkeys(range(8), 5)}, 8)
    cf = generator.normal(size=(10, 3)).astype(np.float32)
    texts = generator.normal(size=(8, 5))
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    found, cosines = template_negatives(known, known.pairs, Scores(cf, 2), texts)
    scores = cf[0] @ cf[2:].T
    for place, liked in enumerate((0, 1)):
        unrated = [3, 4, 5, 6, 7]
        rank = {item: sorted(scores[unrated]).index(scores[item]) / 4 for item in unrated}
        best = max(unrated, key=lambda item: texts[liked] @ texts[item] - 0.5 * rank[item])
        assert found[place] == best and cosines[place] == pytest.approx(texts[liked] @ texts[best], abs=1e-6)
    assert (found[2:] == -1).all()  # everything rated


# ------------------------------------------------------------------------------------------------- titles, filter


@pytest.mark.parametrize(
    ("written", "words", "year"),
    [
        ("Godfather, The (1972)", "the godfather", "1972"),
        ("THE  godfather", "the godfather", ""),
        ("1984 (1956)", "1984", "1956"),
        ("1984", "1984", ""),
        ("Miserables, Les 1995", "les miserables", "1995"),
        ("(1999)", "(1999)", ""),
        ("", "", ""),
    ],
)
def test_titles_are_compared_without_case_year_and_the_articles_place(written, words, year):
    assert plain(written) == (words, year)


def test_of_items_with_the_same_title_that_of_the_year_or_the_most_rated_is_meant():
    rows = {0: ("Sabrina", "1954", ""), 1: ("Sabrina", "1995", ""), 2: ("", "", ""), 3: ("Birds, The", "1963", "")}
    titles = Titles(known_of({0: {0: 5, 1: 1}, 1: {1: 5}, 2: {3: 4}}, 4, rows))
    assert titles.item("sabrina (1954)") == 0 and titles.item("Sabrina") == 1 and titles.item("Sabrina (1990)") == 1
    assert titles.item("The Birds") == 3
    assert titles.item("") == titles.item("Vertigo") == -1


def filtered(mapped, cosine=1.0, vector=None, has_vector=True, route_a=True):
    """The code of the pair (user 0, item 0).  The user likes 0 and 1 and has rated 2 with 1.  s_0j = j / 10 but for
    item 0, whose score is .45.  Texts of items are unit vectors."""
    known = known_of({0: {0: 5, 1: 4, 2: 1}}, 8)
    cf = np.array([[1.0], [0.45], *[[j / 10] for j in range(1, 8)]], np.float32)
    documents = np.eye(8, dtype=np.float32)
    vectors = documents[[mapped]] if vector is None else np.array([vector], np.float32)
    more = (np.array([cosine]), vectors, documents) if route_a else ()
    (code,) = judge(known, known.pairs[:1], Scores(cf, 1), np.array([mapped]), np.array([has_vector]), *more)
    return code


def test_each_rule_of_the_filter_has_its_code():
    assert filtered(3) == KEPT
    assert filtered(2) == KEPT  # a known dislike is what is wanted
    assert filtered(1) == POSITIVE and filtered(0) == POSITIVE
    assert filtered(1, cosine=0.89, vector=np.eye(8)[5]) == KEPT  # the title hardly means it
    assert filtered(1, cosine=0.9, vector=np.eye(8)[5]) == POSITIVE
    near = np.array([0, 0.96, 0, (1 - 0.96**2) ** 0.5, 0, 0, 0, 0])
    assert filtered(3, vector=near) == DUPLICATE
    assert filtered(3, vector=[0, 0.94, 0, (1 - 0.94**2) ** 0.5, 0, 0, 0, 0]) == KEPT
    assert filtered(4) == KEPT and filtered(5) == OUTSCORED
    assert filtered(3, has_vector=False) == NONE
    # the first rule that applies decides
    assert filtered(1, has_vector=False) == NONE
    assert filtered(1, vector=np.eye(8)[0]) == POSITIVE and filtered(7, vector=np.eye(8)[1]) == DUPLICATE
    # route B has neither threshold nor duplicates
    assert filtered(1, route_a=False) == POSITIVE and filtered(5, route_a=False) == OUTSCORED
    assert filtered(3, route_a=False) == KEPT


def test_nearest_documents_in_blocks_and_without_the_liked_items_own(monkeypatch):
    generator = np.random.default_rng(1)
    vectors, documents = generator.normal(size=(50, 6)), generator.normal(size=(9, 6))
    pairs = np.stack((np.zeros(50, int), generator.integers(9, size=50)), 1)
    monkeypatch.setattr(mining, "BLOCK", 27)
    cosine = vectors @ documents.T
    items, cosines = mining.nearest_documents(vectors, documents)
    np.testing.assert_array_equal(items, cosine.argmax(1))
    np.testing.assert_allclose(cosines, cosine.max(1), rtol=1e-5)
    cosine[np.arange(50), pairs[:, 1]] = -np.inf
    np.testing.assert_array_equal(mining.nearest_documents(vectors, documents, pairs)[0], cosine.argmax(1))
    lead = Scores(generator.normal(size=(60, 3)), 51).of_pairs(pairs[:, 0], pairs[:, 1])
    assert len(lead) == 50
