"""How what a model says is read: by number, or not at all."""

import itertools

import pytest

from feedback.reading import names_others, parse
from llm import messages

TITLES = ["Toy Story (1995)", "Alien (1979)", "Heat 2 (1995)", "Up (2009)", "E"]
QUESTION = "\n".join(f"{number}. {title}" for number, title in enumerate(TITLES, 1))

READ = {  # an answer to a question about five items -> the numbers it names, None where it is no answer
    "1, 3": [1, 3],
    "3": [3],
    "1 and 3": [1, 3],
    "[1, 3]": [1, 3],
    "1 3 5": [1, 3, 5],
    "1\n3\n4": [1, 3, 4],
    "5\n1, 3": None,  # which of them?
    "- 1\n- 3": [1, 3],
    "2-4": [2, 3, 4],
    "**1, 3**": [1, 3],
    "Answer: 1, 3.": [1, 3],
    "The numbers are: 1, 4": [1, 4],
    "The person would like 1, 3 and 5.": [1, 3, 5],
    "Sure! Here is the list:\n\n1, 3\n": [1, 3],
    "I believe that items 2 and 4 fit this taste.": [2, 4],
    "1. Toy Story (1995)\n3. Heat 2 (1995)": [1, 3],
    "**2.** Alien": [2],
    "1) Alien\n4) Up": None,  # numbers of the model's own
    "none": [],
    "None of these.": [],
    "Answer: none": [],
    "They would like: nothing": [],
    "All of them": [1, 2, 3, 4, 5],
    "1, 1, 3, 3": [1, 3],  # repeats
    "1, 9": [1],  # out of range, beside one that is not
    "9": None,
    "1995": None,
    "": None,
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
    "These this person hates:\n\n2, 3": None,
    "They dislike\n2\n3": None,
    "2, 3\nare bad.": None,
    "Not these:\n2, 3\n\nThese they like:\n1, 5": [1, 5],
    "Not these:\n2, 3\n\nAnswer: 1, 5": [1, 5],
    "Liked: 1\nNot liked: 2, 3": [1],
    "2, 3\n2, 3 are not liked": None,
    "1, 3\nNot 2": [1, 3],
    "1\n\nI chose it since the person likes such things, and none of the others fit.": [1],
    "1, 2\n\n3, 4": None,  # which of them?
    "1, 2\nOn second thought\nFinal answer: 3, 4": [3, 4],
    # a rating, or a share
    "3/5": None,
    "Item 3/5": None,
    # a verdict beside each number, or each title
    "1: yes\n2: no\n3: they would like it\n4: No.\n5: no": [1, 3],
    "1: no\n2: no\n3: no\n4: no\n5: no": [],
    "1: yes, 2: no": None,
    "1: liked\n2: perhaps": None,
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
    '{"liked": ["Toy Story"]}': None,
    '{"liked": [9]}': None,
    '{"liked": {"a": 1}}': None,
    '{"liked": [1], "likes": [2]}': None,
    "Not [2, 3]": None,
    "[1, 3], but not 2": None,
    "Unsuitable: [1, 2]\nSuitable: [3]": [3],
    "Toy Story [1] and Heat [3]": None,
    "Weak matches: [2, 3]. Strong matches: [1]": None,
    "Unsuitable: [1, 2]": None,
    "Answer: [1]\n\nOn reflection: [2, 3]": None,
    '{"verdict": "dislike", "items": [3, 4]}': None,
    '{"disliked": [4], "items": [1, 2, 3, 4, 5]}': None,
    '{"reason": "they like them", "items": [3, 4]}': [3, 4],
    # ratings, counts and refusals
    "1 - 5\n2 - 2\n3 - 1\n4 - 2\n5 - 3": None,
    "The number of movies this person would like is 2.": None,
    "They like 3 movies": None,
    "My confidence is 5": None,
    "I am unable to judge movies 1, 2, 3, 4 and 5": None,
    "I would need more information about movies 2 and 4.": None,
    "The person has probably seen movies 1 and 2.": None,
    # words that nobody thought of
    "Suitable:\n1\nUnsuitable:\n3": [1],
    "Unsuitable:\n1, 2": None,
    "Too scary:\n1, 4": None,
    "Recommended:\n1. Toy Story (1995)\n\nUnsuitable:\n2. Alien (1979)": [1],
    "Least liked: 3, 4": None,
    "I'd pass on items 2 and 3": None,
    "Disliked: none": None,
    "They dislike: all of them": None,
    "2, 3\n\nThese seem too scary.": None,
    # an enumeration, and the answer
    "1, 2, 3, 4, 5\n\nMy pick:\n3": None,
    "Candidates:\n1\n2\n3\n4\n5\n\nAnswer:\n1": [1],
    "Let me list 1, 2, 3 and 4 first.\nAnswer: 2": [2],
    "Answer: 2\nOr perhaps 1, 3": None,
    # two words that make a third
    "1: not bad\n2: yes\n3: no\n4: no\n5: no": None,
    "1: yes\n2: yes\n1: no": None,
    # reasoning
    "<Thinking>\n2, 3\n</Thinking>\n1": [1],
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
    liked = parse(text, True, TITLES)
    assert liked == (None if READ[text] is None else [number in READ[text] for number in range(1, 6)])


PARTLY = {  # what is said of each item, None where nothing is
    "1: liked\n2: hated it": [True, False, None, None, None],
    "1: no\n2: no": [False, False, None, None, None],
    "1. Toy Story (1995): liked\n2. Alien - no\n5. E: does not": [True, False, None, None, False],
    '{"1": "yes", "2": "no", "3": true}': [True, False, True, None, None],
    '{"1": "no", "2": false}': [False, False, None, None, None],
}


@pytest.mark.parametrize("text", PARTLY)
def test_where_some_are_said_to_be_disliked_the_others_stay_open(text):
    assert parse(text, True, TITLES) == PARTLY[text]


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
    liked = parse(text, False, ["A title"] * 12)
    assert liked == (None if numbers is None else [number in numbers for number in range(1, 13)])


@pytest.mark.parametrize("n", [1, 2, 5, 10])
def test_every_valid_answer_is_read_as_what_it_means(n):
    for numbers in itertools.chain(*(itertools.combinations(range(1, n + 1), k) for k in range(n + 1))):
        liked = [number in numbers for number in range(1, n + 1)]
        assert parse(messages.answer(numbers), True, ["A title"] * n) == liked


LONG = {
    "words": "a " * 200_000 + "1",
    "braces": "{" * 200_000 + "1",
    "a title": "1. " + "film " * 100_000,
    "separators": "1" + " , " * 60 + "x",
    "separators in a sentence": "They like items 1" + " , " * 60 + "x",
    "digits": "1" * 5000 + "-2",
    "a number": "1" * 5000,
    "a list of them": ", ".join(["1" * 5000] * 3),
    "a number in JSON": '{"liked": [' + "1" * 4000 + "]}",
}


@pytest.mark.parametrize("name", LONG)
def test_what_a_model_in_a_loop_says_is_no_answer_and_read_at_once(name):
    """The test's own end is the proof: what grows with the square or faster would take hours."""
    for text in (LONG[name], f"{LONG[name]}\n1, 3"):
        assert parse(LONG[name], True, TITLES) is None
        parse(text, False, TITLES)
        names_others(text, 5)
