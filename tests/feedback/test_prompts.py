"""What a model is told, and how what it says is read."""

import itertools

import numpy as np
import pytest

from feedback import prompts
from feedback.questions import Question
from llm import messages

TEXTS = [f"Film {letter} (199{n})" for n, letter in enumerate("ABCDEFGH")]


def question(likes=(0, 1), dislikes=(2, 3), items=(4, 5, 6)):
    return Question("u", 0, 0, *(np.array(side, int) for side in (items, likes, dislikes)))


READ = {  # an answer to a question about five items -> the numbers it names, None where it is no answer
    "1, 3": [1, 3],
    " 1,3\n": [1, 3],
    "3": [3],
    "1 and 3": [1, 3],
    "[1, 3]": [1, 3],
    "(2)": [2],
    "1 3 5": [1, 3, 5],
    "1\n3\n4": [1, 3, 4],
    "5\n1, 3": [1, 3],  # a list of several says more than a number on its own
    "- 1\n- 3": [1, 3],
    "2-4": [2, 3, 4],
    "**1, 3**": [1, 3],
    "1, 3.": [1, 3],
    "Answer: 1, 3.": [1, 3],
    "The numbers are: 1, 4": [1, 4],
    "The person would like 1, 3 and 5.": [1, 3, 5],
    "Sure! Here is the list:\n\n1, 3\n": [1, 3],
    "I believe that items 2 and 4 fit this taste.": [2, 4],
    "1. Toy Story (1995)\n3. Heat 2 (1995)": [1, 3],
    "**2.** Alien": [2],
    "1) Alien\n4) Up": [1, 4],
    "none": [],
    "None of these.": [],
    "Answer: none": [],
    "They would like: nothing": [],
    "All of them": [1, 2, 3, 4, 5],
    "1, 1, 3, 3": [1, 3],  # repeats
    "1, 9": [1],  # out of range, beside one that is not
    "9": None,
    "0": None,
    "1995": None,
    "": None,
    "\n\n": None,
    "I cannot tell.": None,
    "Terminator 2": None,  # a title, not a choice
    "I would give it 4.5 stars": None,
    "not 2": None,
    "Items 1 and 3, but not 2": None,  # which of them it means is a guess
    "I'd say 2, because 5 is bad": None,
    "1. A: yes\n2. B: no\n3. C: yes": None,  # the question again, with remarks
    "1. A\n2. B\n3. C\n4. D\n5. E": None,  # the question again, or all of it?
    "Yes": None,
    "The person would not like: 2, 4": None,
    "I don't think they would like 3": None,
    "none of the numbers are 1, 2": None,
    "They would like all except number 2": None,
    "This person likes 3 of these movies.": None,
    "Movies 1 through 3": None,
}


@pytest.mark.parametrize("text", READ)
def test_answers_are_read_by_number_or_not_at_all(text):
    places = prompts.parse(text, True, 5)
    assert places == (None if READ[text] is None else [number - 1 for number in READ[text]])


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("1, 3, 1", None),
        ("1, 3\nBecause the per", [1, 3]),
        ("1. Alien\n3. U", None),
        ("1\n3\n4", None),
        ("none", None),
        ("", None),
    ],
)
def test_a_line_that_was_cut_off_is_not_read(text, numbers):
    places = prompts.parse(text, False, 12)
    assert places == (None if numbers is None else [number - 1 for number in numbers])


@pytest.mark.parametrize("n", [1, 2, 5, 10])
def test_every_valid_answer_is_read_as_what_it_means(n):
    for numbers in itertools.chain(*(itertools.combinations(range(1, n + 1), k) for k in range(n + 1))):
        assert prompts.parse(messages.answer(numbers), True, n) == [number - 1 for number in numbers]


def test_the_prompt_shows_profile_example_and_candidates_in_the_order_of_the_question():
    text = prompts.pick("movies", question(items=(6, 4, 5)), TEXTS, chat=False)
    profile, example, asked = text.split("Which of these movies ")
    assert profile.index(TEXTS[0]) < profile.index(TEXTS[1]) < profile.index("Disliked") < profile.index(TEXTS[2])
    shown = [line.split(". ", 1)[1] for line in example.splitlines()[1:5]]
    liked = ", ".join(str(place) for place, text in enumerate(shown, 1) if text in TEXTS[:2])
    assert sorted(shown) == TEXTS[:4] and example.splitlines()[5] == f"Answer: {liked}"
    assert asked.splitlines()[1:] == [f"1. {TEXTS[6]}", f"2. {TEXTS[4]}", f"3. {TEXTS[5]}", "Answer:"]


def test_the_example_teaches_no_place():
    places = {tuple(prompts.worked_example(question(items=(n, n + 1)))[1]) for n in range(60)}
    assert len(places) == 6  # two of four, in any way


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
