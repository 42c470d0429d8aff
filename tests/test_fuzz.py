"""Properties that must hold of whatever hypothesis makes up: the readers, the parser of answers, metrics, preparation.

derandomize: the same examples every time, so that a failure is found by whoever runs the tests next.
"""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feedback.reading import parse
from preparation import splits
from preparation.files import STARS, read_items, read_ratings, sort_ids
from preparation.rules import split
from training import evaluation
from utils import InputError

settings.register_profile(
    "fast", max_examples=80, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
settings.load_profile("fast")

# Ids as people have them: quotes, commas, Unicode, leading zeros, minus signs; not what separates cells and lines.
IDS = st.text(
    st.characters(exclude_characters="\t\r\n\0\x85\u2028\u2029", exclude_categories=["Cs", "Cc"]),
    min_size=1,
    max_size=6,
)
IDS = IDS | st.sampled_from(["007", "-3", '"', '"a', 'a"b"', "a,b", "NA", "nan", "é", " x", "1e5", "+1", "0.5"])
IDS = IDS.filter(lambda token: token.strip())
ROWS = st.lists(st.tuples(IDS, IDS, st.integers(1, 5)), min_size=1, max_size=25)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


def as_tsv(rows):
    return "".join(f"{user}\t{item}\t{rating}\n" for user, item, rating in [("user_id", "item_id", "rating"), *rows])


@given(rows=ROWS)
def test_an_inter_file_is_read_as_it_was_written(folder, rows):
    (folder / "x.inter").write_text(as_tsv(rows), encoding="utf-8")
    table = read_ratings(folder / "x.inter", "\t", STARS)
    assert list(zip(table.user.astype(str), table.item.astype(str), table.rating, strict=True)) == rows


@given(rows=ROWS)
def test_our_csvs_keep_every_id_as_it_is(folder, rows):
    """Written as prepare() writes, read as load() reads: quotes, commas and leading zeros survive."""
    table = pd.DataFrame(rows, columns=splits.COLUMNS)
    table.to_csv(folder / "x.csv", index=False, lineterminator="\n", encoding="utf-8")
    back = read_ratings(folder / "x.csv", ",", STARS)
    assert list(zip(back.user.astype(str), back.item.astype(str), back.rating, strict=True)) == rows


@given(content=st.binary(max_size=200) | ROWS.map(lambda rows: as_tsv(rows).encode("utf-16")))
@pytest.mark.parametrize(
    "read", [read_items, lambda path: read_ratings(path, "\t", (1, 5)), lambda path: read_ratings(path, ",", (1, 5))]
)
def test_any_bytes_are_a_table_or_one_clear_line(folder, read, content):
    (folder / "any").write_bytes(content)
    try:
        assert isinstance(read(folder / "any"), pd.DataFrame)
    except InputError as error:
        assert str(folder / "any") in str(error)


@given(tokens=st.lists(IDS | st.integers(-50, 50).map(str), min_size=1, unique=True))
def test_sorting_ids_loses_none_and_does_not_depend_on_their_order(tokens):
    found = sort_ids(tokens).tolist()
    assert sorted(found) == sorted(tokens) and found == sort_ids(tokens[::-1]).tolist()


WORDS = ["1", "2", "3", "9", "12", ", ", " and ", ": ", "\n", "\n\n", "liked", "no", "not", "Answer", "[", "]"]
WORDS += ["{", "}", " ", "Film 1 (1990)", "2. ", "<think>", "</think>", "-", "/", "all"]
WORDS += ["none", "these", "final", "analysis", '"']


@given(
    text=st.text(max_size=60)
    | st.text("0123456789 ,.-\nnoealikd", max_size=40)
    | st.lists(st.sampled_from(WORDS), max_size=14).map("".join),
    finished=st.booleans(),
    n=st.integers(1, 10),
)
def test_whatever_a_model_says_is_about_the_items_of_the_question_or_no_answer(text, finished, n):
    said = parse(text, finished, [f"Film {number} ({1989 + number})" for number in range(1, n + 1)])
    assert said is None or (len(said) == n and set(said) <= {True, False, None} and set(said) != {None})


@given(
    hits=st.lists(st.lists(st.booleans(), min_size=7, max_size=7), min_size=1, max_size=6),
    more=st.lists(st.integers(0, 9), min_size=6, max_size=6),
    k=st.integers(1, 7),
)
def test_metrics_agree_with_loops(hits, more, k):
    relevant = np.array([max(1, sum(row) + extra) for row, extra in zip(hits, more, strict=False)])
    found = evaluation.ranking_metrics(np.array(hits), relevant, [k])
    for user, row in enumerate(hits):
        right = sum(row[:k])
        gain = sum(1 / math.log2(rank + 2) for rank in range(k) if row[rank])
        ideal = sum(1 / math.log2(rank + 2) for rank in range(min(k, relevant[user])))
        expected = {f"precision@{k}": right / k, f"recall@{k}": right / relevant[user], f"ndcg@{k}": gain / ideal}
        for name, value in expected.items():
            assert found[name][user] == pytest.approx(value)


@st.composite
def dense_ratings(draw):
    """Up to 20 users and 18 items, most pairs rated and most of them liked, so that the cores keep something nearly
    always, but rarely everybody."""
    users, items = draw(st.integers(5, 20)), draw(st.integers(5, 18))
    seed, skipped = draw(st.integers(0, 2**20)), draw(st.integers(0, 4)) / 10
    random = np.random.RandomState(seed)
    stars = random.choice([1, 3, 4, 5], size=(users, items), p=[0.15, 0.1, 0.35, 0.4])
    rows = [(f"u{u}", f"i{i}", stars[u, i]) for u in range(users) for i in range(items)]
    rows = [rows[n] for n in random.permutation(len(rows)) if random.rand() > skipped]
    return rows or [("u", "i", 5)]


def prepared(folder, rows):
    """The three parts, as tables of text."""
    (folder / "x.inter").write_text(as_tsv(rows), encoding="utf-8")
    ratings = read_ratings(folder / "x.inter", "\t", STARS)
    parts = split(ratings, None, None, lambda *a: 0)
    return [part.set_axis(["user", "item", "rating"], axis=1).astype(str) for part in parts]


@given(rows=dense_ratings())
def test_preparation_leaks_nothing_and_accounts_for_every_row(folder, rows):
    train, validation, test = prepared(folder, rows)
    whole = pd.concat([train, validation, test])
    assert not whole.duplicated(["user", "item"]).any()  # no pair is in two parts
    given = {(user, item): str(rating) for user, item, rating in rows}
    for row in whole.itertuples():
        assert given[row.user, row.item] == row.rating
    likes = ["4", "5"]
    assert validation.rating.isin(likes).all() and test.rating.isin(likes).all()
    kept = whole[whole.rating.isin(likes)]
    for side in ("user", "item"):  # the 5-core of the positives
        assert (kept[side].value_counts() >= 5).all()
    users, items, in_train = set(kept.user), set(kept.item), set(zip(train.user, train.item, strict=True))
    for user, item, rating in rows:  # a dislike is kept just where its user and item are
        if rating < 4:
            assert ((user, item) in in_train) == (user in users and item in items)
    for user in users:
        n = (kept.user == user).sum()
        assert (test.user == user).sum() == int(0.2 * n)
        assert (validation.user == user).sum() == int(0.1 * n)


@given(rows=dense_ratings(), at=st.integers(0, 1000))
def test_of_a_pair_rated_twice_the_last_counts(folder, rows, at):
    user, item, rating = rows[at % len(rows)]
    other = {4: 5, 5: 4}.get(rating, rating)  # of the same sign
    once, twice = prepared(folder, rows), prepared(folder, [*rows, (user, item, other)])
    for part in twice:
        same = part[(part.user == user) & (part.item == item)]
        assert (same.rating == str(other)).all()
    assert sum(map(len, twice)) == sum(map(len, once))
