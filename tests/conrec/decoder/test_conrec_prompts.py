"""The prompts of CoNRec: what they say, as control tokens and in words, and what a short context leaves out."""

import conrec_models
import pytest

from conrec.decoder import prompts
from conrec.decoder.prompts import CONTROLS, END, TEMPLATES, Control
from conrec.decoder.vocabulary import WordVocabulary, words_of
from utils import InputError


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
    assert said(prompts.sequence([4, 5])) == f"<bos> <neg> {ids(catalog, 4, 5)}"
    assert said(prompts.sequence([4], [6, 7])) == f"<bos> <pos> {ids(catalog, 6, 7)} <neg> {ids(catalog, 4)}"
    assert prompts.sequence([4], []) == prompts.sequence([4], None)
    options = f"<opt> {ids(catalog, 8)} <opt> {ids(catalog, 9)}"
    assert said(prompts.choice([4], None, [8, 9])) == f"<bos> <neg> {ids(catalog, 4)} {options} <ans>"


def test_words_are_the_most_frequent_ones_and_others_are_unknown(catalog, vocabulary):
    assert words_of("Schindler's List (1993), Drama") == ["schindler's", "list", "1993", "drama"]
    counted = {word for title in catalog.titles for word in words_of(title)}
    assert set(vocabulary.word_number) == counted  # fewer than 1,500
    assert vocabulary.tokens(["zebra film"]) == [vocabulary.unknown, vocabulary.word_number["film"]]
    assert vocabulary.size == len(CONTROLS) + 3 * catalog.K + len(counted)


def test_what_looks_like_a_control_token_in_a_title_is_text(vocabulary):
    assert vocabulary.tokens(["<neg>"]) == [vocabulary.unknown]
    assert vocabulary.tokens([Control("<neg>")]) == [CONTROLS.index("<neg>")]


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
    both = text(prompts.sequence([4, 5], [6, 7], **more))
    assert "[6], [7]" in both and both.index("[6], [7]") < both.index("[4], [5]") and "movie" in both
    assert "[6]" not in text(prompts.sequence([4, 5], None, **more))
    assert "[8], [9]" in text(prompts.choice([4], [5], [8, 9], **more))
    for parts in (prompt, prompts.choice([4], [5], [8, 9], **more)):
        assert "{" not in text(parts) and "}" not in text(parts)


def test_wordings_differ():
    for wordings in (prompts.TITLE_OF_ID, prompts.ID_OF_TITLE, prompts.ODD_ONE, prompts.NEXT, prompts.LIKED):
        assert len(set(wordings)) == TEMPLATES


def fit(vocabulary, room, negatives, positives):
    def build(negatives, positives):
        return prompts.choice(negatives, positives, [30, 31])

    return prompts.fitted(build, negatives, positives, vocabulary.tokens, room)


def test_the_oldest_positives_go_first_then_the_oldest_negatives_and_options_stay(vocabulary):
    negatives, positives = [1, 2, 3], [4, 5]
    whole = vocabulary.tokens(prompts.choice(negatives, positives, [30, 31]))
    assert fit(vocabulary, len(whole), negatives, positives) == (whole, 0)
    for left_out, rest in ((1, (negatives, [5])), (2, (negatives, [])), (3, ([2, 3], [])), (4, ([3], []))):
        expected = vocabulary.tokens(prompts.choice(*rest, [30, 31]))
        for room in (len(expected), len(expected) + 1):
            assert fit(vocabulary, room, negatives, positives) == (expected, left_out)


def test_without_positives_only_negatives_go(vocabulary):
    expected = vocabulary.tokens(prompts.choice([2, 3], None, [30, 31]))
    assert fit(vocabulary, len(expected), [1, 2, 3], None) == (expected, 1)


def test_one_negative_that_does_not_fit_is_refused(vocabulary):
    shortest = len(vocabulary.tokens(prompts.choice([3], None, [30, 31])))
    expected = f"takes {shortest} tokens, and the model's context has room for {shortest - 1}"
    with pytest.raises(InputError, match=expected):
        fit(vocabulary, shortest - 1, [1, 2, 3], [4, 5])
