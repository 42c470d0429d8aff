"""What a model is told."""

import numpy as np
import pytest

from feedback import prompts
from feedback.questions import Question

TEXTS = [f"Film {letter} (199{n})" for n, letter in enumerate("ABCDEFGH")]


def question(likes=(0, 1), dislikes=(2, 3), items=(4, 5, 6)):
    return Question("u", 0, 0, *(np.array(side, int) for side in (items, likes, dislikes)))


def test_the_prompt_shows_profile_example_and_candidates_in_the_order_of_the_question():
    text = prompts.pick("movies", question(items=(6, 4, 5)), TEXTS, chat=False)
    profile, example, asked = text.split("Which of these movies ")
    assert profile.index(TEXTS[0]) < profile.index(TEXTS[1]) < profile.index("Disliked") < profile.index(TEXTS[2])
    shown = [line.split(". ", 1)[1] for line in example.splitlines()[1:5]]
    liked = ", ".join(str(place) for place, text in enumerate(shown, 1) if text in TEXTS[:2])
    assert sorted(shown) == TEXTS[:4] and example.splitlines()[5] == f"Answer: {liked}"
    assert asked.splitlines()[1:] == [f"1. {TEXTS[6]}", f"2. {TEXTS[4]}", f"3. {TEXTS[5]}", "Answer:"]


def test_the_example_teaches_neither_a_place_nor_a_count_nor_a_length():
    examples = [
        prompts.worked_example(question(likes=(0, 1, 4, 5), dislikes=(2, 3, 6), items=(n, n + 1))) for n in range(200)
    ]
    assert {(len(items), len(numbers)) for items, numbers in examples} == {
        (likes + dislikes, likes) for likes in (1, 2, 3) for dislikes in (1, 2, 3)
    }
    liked_at = [sum(place in numbers for _, numbers in examples) for place in (1, 2)]
    assert all(70 < times < 130 for times in liked_at)
    for items, numbers in examples:  # the strongest of each side come first in the profile
        assert {items[place - 1] for place in numbers} < {0, 1, 4, 5}


def test_without_dislikes_there_is_no_example_that_would_teach_all_of_them():
    text = prompts.pick("books", question(dislikes=()), TEXTS, chat=True)
    assert text.count("Which of these books") == 1 and "Disliked" not in text and not text.endswith("Answer:")


@pytest.mark.parametrize("domain", prompts.DOMAINS)
def test_every_domain_has_its_own_words(domain):
    text = prompts.about(domain, question(), TEXTS) + prompts.whether(domain, TEXTS[4], chat=True)
    assert [other for other in prompts.DOMAINS if prompts.DOMAINS[other][0] in text] == [domain]


def test_profile_and_question_of_mode_score_share_their_beginning():
    two = [prompts.about("music", question(items=(n,)), TEXTS) for n in (4, 5)]
    assert two[0] == two[1]
