"""What the stages learn from: the stream's rows and loss, and gains that must show in users who did not choose them."""

from types import SimpleNamespace

import conrec_models
import numpy as np
import pytest
import synthetic
import torch

from conrec.data.events import DISLIKE, LIKE, NEUTRAL, read
from conrec.decoder import prompts
from conrec.decoder.decoder import Decoder
from conrec.decoder.policy import Policy
from conrec.learning import steps, tasks
from conrec.learning.stage_folders import read_rows
from preparation.rules import TRAIN


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    return read(synthetic.write_planted(tmp_path_factory.mktemp("tasks"), n_users=20, n_items=60, n_events=30))[0]


@pytest.fixture(scope="module")
def policy(events):
    backbone, trie, _ = conrec_models.tiny(conrec_models.catalog(n=events.n_items))
    return Policy(events, backbone, trie, shown=(5, 6))


# --------------------------------------------------------------------------------------- the stream


def draws(events, thinned, n):
    """n rows as places of the events, with their signs."""
    rows, random = tasks.StreamRows(events, 6, thinned), np.random.default_rng(0)
    rows.events = events._replace(items=np.arange(len(events.items)))  # of each event its place, to find it by
    return [rows.draw(random) for _ in range(n)]


def test_rows_are_train_events_of_a_user_in_order_with_their_signs(events):
    thinned = 0
    for places, signs in draws(events, 0.5, 2000):
        assert (events.parts[places] == TRAIN).all() and (np.diff(places) > 0).all()
        assert len(set(events.users[places])) == 1 and 2 <= len(places) <= 7 and places[-1] - places[0] <= 12
        stars = events.ratings[places]
        assert signs.tolist() == np.select([stars <= 2, stars == 3], [DISLIKE, NEUTRAL], LIKE).tolist()
        thinned += places[-1] - places[0] > len(places) - 1
    assert 500 < thinned < 1900


def test_every_event_is_learned_as_often_as_any_other(events):
    """The last ones of train, too, next to which validation lies."""
    times = np.zeros(len(events.items))
    for places, _ in draws(events, 0, 20000):
        times[places] += 1
    from_end = events.cuts[events.users, 0] - 1 - events.positions
    train = events.parts == TRAIN
    assert (times[train] > 0).all() and not times[~train].any()
    usual = times[train & (from_end > 7) & (events.positions > 7)].mean()
    for near in range(4):
        assert times[train & (from_end == near)].mean() == pytest.approx(usual, rel=0.15), near


def test_what_comes_after_train_changes_no_row(events):
    random = np.random.default_rng(0)
    later = events.parts != TRAIN
    spoilt = events._replace(
        items=np.where(later, random.integers(events.n_items, size=len(later)), events.items),
        ratings=np.where(later, random.integers(1, 6, len(later)), events.ratings),
    )
    ours, theirs = (tasks.StreamRows(each, 6, 0.5) for each in (events, spoilt))
    for seed in range(100):
        drawn = ours.draw(np.random.default_rng(seed))
        assert np.array_equal(drawn, theirs.draw(np.random.default_rng(seed)))


def test_the_loss_is_of_the_items_given_their_signs_among_those_still_open(policy):
    """As GRPO's policy has them: asked one by one, with the row's earlier items closed."""
    stream = tasks.Stream(policy, validation=None)
    rows, terms = stream.batch(np.random.default_rng(0))[:6], []
    assert len({len(items) for items, _ in rows}) > 1
    for items, signs in rows:
        for place, item in enumerate(items):
            prompt = [prompts.BOS, *prompts.row_of(items[:place], signs[:place]), prompts.SIGNS[signs[place]]]
            closed = policy.trie.closed([items[:place]])
            chances = policy.backbone.branch([policy.backbone.tokens(prompt)], [[item]], policy.trie, closed)
            terms += chances.flatten().tolist()
    loss, _ = stream.loss(rows)
    assert loss.item() == pytest.approx(-np.mean(terms), abs=1e-5)
    assert 3 * sum(map(stream.weight, rows)) == len(terms)
    assert [stream.size(row) for row in rows] == [sum(map(len, stream.row_of(*row))) for row in rows]
    loss.backward()
    grown = [weight.grad for weight in policy.backbone.trainable().values() if weight.grad is not None]
    assert grown and all(gradient.isfinite().all() for gradient in grown)
    policy.backbone.model.zero_grad()


def test_a_row_too_long_for_the_decoder_loses_its_oldest_events(policy, monkeypatch):
    monkeypatch.setattr(policy.backbone, "context", 14)  # <bos> and three events
    stream = tasks.Stream(policy, validation=None)
    rows, whole = stream.batch(np.random.default_rng(0)), stream.rows
    random = np.random.default_rng(0)
    for row in rows:
        items, signs = whole.draw(random)
        assert np.array_equal(row, (items[-3:], signs[-3:]))


def test_a_language_model_is_asked_for_one_event_and_its_sign(events, tmp_path):
    of = conrec_models.catalog(n=events.n_items)
    backbone, trie, _ = conrec_models.load_llm(conrec_models.write_llm(tmp_path), of)
    policy = Policy(events, backbone, trie, shown=(5, 6), domain="movies")
    stream, texts = tasks.StreamInWords(policy, validation=None), set()
    decode = backbone.vocabulary.prompt_tokens.tokenizer.decode
    for prompt, answer in stream.batch(np.random.default_rng(0)):
        assert len(answer) == 3 and min(answer) >= backbone.first
        texts.add(decode([token for token in prompt if token < backbone.first]).rpartition(":")[0])
    said = " ".join(texts)
    assert all(word in said for word in ("disliked", "liked", "found so-so"))


# ------------------------------------------------------------------------- gains that are confirmed


class Climber(Decoder):
    """A model of one weight, which a step raises by 1, and the task to raise it: a score and a figure to confirm."""

    every, patience, dropout, steps = 1, None, False, 0

    def __init__(self, scores, confirms):
        super().__init__(torch.nn.Linear(1, 1, bias=False), 0, 1, "cpu", "the climber")
        self.scores, self.confirms = scores, confirms
        torch.nn.init.zeros_(self.model.weight)

    def save(self, folder):
        torch.save(self.state(), folder / "weights.pt")

    def batch(self, random):
        return [1]

    def weight(self, example):
        return 1

    size = weight

    def loss(self, examples):
        return -self.model.weight.sum(), {}

    def validate(self):
        step = self.steps
        self.steps += 1
        return {"fhr@20": self.scores[step], "confirm": self.confirms[step]}, (self.scores[step],)


PLAN = steps.Plan("both", 5, 3, 0.1, 0, 100)


@pytest.mark.parametrize(
    "confirms, best, words",
    [([0.3, 0.2, 0.4, 0.1], 2, "all steps done"), ([0.3, 0.2, 0.3, 0.9], 0, "the gain of step 2 does not show in")],
)
def test_a_gain_that_does_not_show_in_the_other_users_is_given_back(tmp_path, confirms, best, words):
    climber = Climber([0.1, 0.2, 0.5, 0.4], confirms)
    report = steps.train(climber, climber, PLAN, tmp_path, log=lambda *lines: None)
    assert report["best_step"] == best and words in report["ended"]
    kept = torch.load(tmp_path / "model" / "weights.pt")["weight"].item()
    assert (kept > 0) == (best > 0) and kept == climber.model.weight.item()
    assert [row["confirm"] for row in read_rows(tmp_path / "metrics.csv")] == list(map(str, confirms))


def test_the_other_half_of_the_users_confirms(policy, monkeypatch):
    hits = np.array([1, 0, 1, 0, 1, 1, 0])
    figures = {"fhr@20": hits.astype(float), "frecall@20": hits / 2}
    monkeypatch.setattr(tasks.metrics, "measure_lists", lambda *of: figures)
    monkeypatch.setattr(policy, "predict", lambda *of: (None, None))
    truth = SimpleNamespace(users=np.arange(7), positions=np.arange(7))
    validation = tasks.Validation(policy, truth)
    assert validation("both") == ({"fhr@20": 4 / 7, "frecall@20": 2 / 7}, (4 / 7, 2 / 7))
    found, score = validation.by_halves("both")
    assert score == (3 / 4, 3 / 8) and found["confirm"] == 1 / 3 and found["fhr@20"] == 4 / 7
