"""The prompts of CoNRec: what they say, as control tokens and in words, and what a short context leaves out."""

import conrec_models
import pytest

from conrec.data.events import DISLIKE, LIKE, NEUTRAL
from conrec.decoder import prompts
from conrec.decoder.prompts import CONTROLS, END, TEMPLATES, Control
from conrec.decoder.vocabulary import WordVocabulary, words_of
from utils import InputError

RATED = [DISLIKE, LIKE, NEUTRAL]


@pytest.fixture(scope="module")
def catalog():
    return conrec_models.catalog()


@pytest.fixture(scope="module")
def vocabulary(catalog):
    return WordVocabulary(catalog)


def spelled(vocabulary, catalog, tokens):
    """Tokens as what they stand for, IDs as a_5."""
    words = {number: word for word, number in vocabulary.word_number.items()}
    names = []
    for token in tokens:
        level, code = divmod(token - vocabulary.first, catalog.K)
        if token < vocabulary.first:
            names.append(str(CONTROLS[token]))
        else:
            names.append(f"{'abc'[level]}_{code}" if level < 3 else words[token])
    return " ".join(names)


def ids(catalog, *items):
    return " ".join(
        f"{letter}_{code}" for item in items for letter, code in zip("abc", catalog.codes[item], strict=True)
    )


def test_the_tiny_forms(catalog, vocabulary):
    def said(parts):
        return spelled(vocabulary, catalog, vocabulary.tokens(parts))

    title = "The War, of 7"
    prompt, answer = prompts.translation(3, title, to_title=True)
    assert said(prompt) == f"<bos> <s2t> {ids(catalog, 3)} <ans>"
    assert said(answer) == "the war of 7 <eos>"
    prompt, answer = prompts.translation(3, title, to_title=False)
    assert said(prompt) == "<bos> <t2s> the war of 7 <ans>"
    assert said(answer) == ids(catalog, 3)
    prompt, answer = prompts.alignment([3, 1, 2], 1)
    assert said(prompt) == f"<bos> <opt> {ids(catalog, 3)} <opt> {ids(catalog, 1)} <opt> {ids(catalog, 2)} <ans>"
    assert said(answer) == ids(catalog, 1)
    shown = f"<bos> <dislike> {ids(catalog, 4)} <like> {ids(catalog, 5)} <neutral> {ids(catalog, 6)}"
    assert said(prompts.sequence([4, 5, 6], RATED)) == f"{shown} <dislike>"
    assert said(prompts.sequence([4, 5, 6], RATED, LIKE)) == f"{shown} <like>"
    assert said(prompts.sequence([], [])) == "<bos> <dislike>"


def test_a_row_of_events_asks_for_each_of_its_items(vocabulary):
    items, signs = [4, 5, 6], RATED
    whole = vocabulary.tokens([prompts.BOS, *prompts.row_of(items, signs)])
    for place in range(3):
        asked = vocabulary.tokens(prompts.sequence(items[:place], signs[:place], signs[place]))
        assert whole[: len(asked)] == asked


def test_words_are_the_most_frequent_ones_and_others_are_unknown(catalog, vocabulary):
    assert words_of("Schindler's List (1993), Drama") == ["schindler's", "list", "1993", "drama"]
    counted = {word for title in catalog.titles for word in words_of(title)}
    assert set(vocabulary.word_number) == counted  # fewer than 1,500
    assert vocabulary.tokens(["zebra film"]) == [vocabulary.unknown, vocabulary.word_number["film"]]
    assert vocabulary.size == len(CONTROLS) + 3 * catalog.K + len(counted)


def test_what_looks_like_a_control_token_in_a_title_is_text(vocabulary):
    assert vocabulary.tokens(["<like>"]) == [vocabulary.unknown]
    assert vocabulary.tokens([Control("<like>")]) == [CONTROLS.index("<like>")]


@pytest.mark.parametrize("template", range(TEMPLATES))
def test_the_forms_in_words_hold_everything_once_and_leave_no_brace(template):
    more = {"words": True, "domain": "movies", "template": template}

    def text(parts):
        return "".join(part if isinstance(part, str) else f"[{part}]" for part in parts)

    prompt, answer = prompts.translation(3, "Heat (1995)", True, **more)
    assert text(prompt).count("[3]") == 1 and answer == ["Heat (1995)", END]
    prompt, answer = prompts.translation(3, "Heat {one} (1995)", False, **more)
    assert text(prompt).count("Heat {one} (1995)") == 1 and answer == [3]
    prompt, answer = prompts.alignment([3, 1, 2], 1, **more)
    assert "[3], [1], [2]" in text(prompt) and answer == [1]
    asked = text(prompts.sequence([4, 5, 6], RATED, **more))
    assert "disliked [4], liked [5], found so-so [6]" in asked and "movie" in asked
    assert "dislike" in asked.split("so-so [6]")[1]
    assert asked != text(prompts.sequence([4, 5, 6], RATED, LIKE, **more))
    for said in (asked, text(prompt)):
        assert "{" not in said and "}" not in said


def test_the_oldest_events_go_and_the_last_one_stays(vocabulary):
    build, items, signs = prompts.sequence, [1, 2, 3], RATED
    for left_out in (0, 1, 2):
        expected = vocabulary.tokens(build(items[left_out:], signs[left_out:]))
        for room in (len(expected), len(expected) + 3):
            assert prompts.fitted(build, items, signs, vocabulary.tokens, room) == (expected, left_out)
    refused = f"takes {len(expected)} tokens, and the model's context has room for {len(expected) - 1}"
    with pytest.raises(InputError, match=refused):
        prompts.fitted(build, items, signs, vocabulary.tokens, len(expected) - 1)
