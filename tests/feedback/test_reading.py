"""How what a model says is read: by number, or not at all."""

import itertools

import pytest

from feedback.reading import parse
from llm import messages

TITLES = ["Toy Story (1995)", "Alien (1979)", "Heat 2 (1995)", "Up (2009)", "E"]
QUESTION = "\n".join(f"{number}. {title}" for number, title in enumerate(TITLES, 1))

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
    "2) Alien (1979)\n4) Up": [2, 4],
    "1) Alien\n4) Up": None,  # numbers of the model's own
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
    "1. A: yes\n2. B: no\n3. C: yes": None,  # titles that nobody asked about
    QUESTION: None,  # the question again, or all of it?
    # a list that words introduce
    "I would exclude:\n2, 3": None,
    "They would not like:\n2, 3": None,
    "These this person hates:\n\n2, 3": None,
    "They dislike\n2\n3": None,
    "2, 3\nare bad.": None,
    "Not these:\n2, 3\n\nThese they like:\n1, 5": [1, 5],
    "Not these:\n2, 3\n\nAnswer: 1, 5": [1, 5],
    "Liked: 1\nNot liked: 2, 3": [1],
    "1\n\nI chose it since the person likes such things, and none of the others fit.": [1],
    "1, 2\n\n3, 4": None,  # which of them?
    "1, 2\nOn second thought\nFinal answer: 3, 4": [3, 4],
    # a rating, or a share
    "3/5": None,
    "Item 3/5": None,
    # a verdict beside each number, or each title
    "1: liked\n2: hated it": [1],
    "1: yes\n2: no\n3: they would like it\n4: No.\n5: no": [1, 3],
    "1: no\n2: no\n3: no\n4: no\n5: no": [],
    "1: no\n2: no": None,  # nothing is said of the others
    "1: yes, 2: no": None,
    "1: liked\n2: perhaps": None,
    "1. Toy Story (1995): liked\n2. Alien - no\n5. E: does not": [1],
    "1. Toy Story - liked\n2. Alien": None,  # is the second one liked, too?
    "1. Toy Story: liked\n2. Alien: a film that they would not mind": None,
    "2. Alien: Resurrection (1997)": None,  # another film
    "2. Alien (1979), since they like Heat": [2],
    "3: No Way Out": None,  # a title of the model's own, and no verdict
    "3: Good Will Hunting": None,
    "They would like:\n1. Toy Story (1995)\n\nThey would not like:\n2. Alien (1979)": [1],
    "I would exclude:\n1. Toy Story (1995)\n2. Alien (1979)": None,
    "1. Toy Story\n2. Alien\nThese are not for them.": None,
    # JSON
    "[1, 3] is the answer": [1, 3],
    '{"liked": [1, 3]}': [1, 3],
    '```json\n{"liked": [1]}\n```': [1],
    'Here it is:\n{"answer": ["1", "3"], "reason": "they like them"}': [1, 3],
    '{"liked": 1}': [1],
    '{"liked": "1, 3"}': [1, 3],
    '{"liked": []}': [],
    "[]": [],
    '{"liked": "none"}': [],
    '{"liked": [1], "disliked": [2, 3]}': [1],
    '{"disliked": [2, 3]}': None,
    '{"1": "yes", "2": "no", "3": true}': [1, 3],
    '{"1": "no", "2": false}': None,
    '{"liked": ["Toy Story"]}': None,
    '{"liked": [9]}': None,
    '{"liked": {"a": 1}}': None,
    '{"liked": [1], "likes": [2]}': None,
    "Not [2, 3]": None,
    "[1, 3], but not 2": None,
    # reasoning
    "<think>\nItems 1 to 5.\nWhat they hate:\n2, 3\n</think>\n\n1": [1],
    "Let me see.\n2, 3\nare good.\n</think>\n\n1": [1],
    "<think>a</think>2<think>b</think> 1": [1],
    "<think>\nMovies 2 and 3 are romances.": None,
    "1\n<think>\nor 2?": None,
    "[THINK]2, 3[/THINK]1": [1],
    "analysis: movies 2 and 3 are bad\nfinal\n1": [1],
    "analysisWe need 2, 3.assistantfinal1": [1],
    "analysis: movies 2 and 3": None,
    "<|channel|>analysis<|message|>2, 3<|end|><|start|>assistant<|channel|>final<|message|>1": [1],
    "<|channel|>analysis<|message|>2, 3": None,
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
    places = parse(text, True, TITLES)
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
        ("I think that\n1, 3\nare what they", None),  # thoughts about an answer that never came
        ("Movies 1 and 3 it is.\nSo", None),
        ('{"liked": [1, 3]}\nsince', None),
        ("<think>\n1, 3\nSo", None),
    ],
)
def test_a_line_that_was_cut_off_is_not_read(text, numbers):
    places = parse(text, False, ["A title"] * 12)
    assert places == (None if numbers is None else [number - 1 for number in numbers])


@pytest.mark.parametrize("n", [1, 2, 5, 10])
def test_every_valid_answer_is_read_as_what_it_means(n):
    for numbers in itertools.chain(*(itertools.combinations(range(1, n + 1), k) for k in range(n + 1))):
        assert parse(messages.answer(numbers), True, ["A title"] * n) == [number - 1 for number in numbers]


def test_a_long_line_is_read_at_once():
    """Its time grows with its length, not with the square."""
    assert parse("a " * 200_000 + "1", True, TITLES) is None
    assert parse("{" * 200_000 + "1", True, TITLES) is None
    assert parse("1. " + "film " * 100_000, True, TITLES) is None
