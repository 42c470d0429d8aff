"""GRPO within the catalog: golden values, samples, and a bandit that it solves."""

from types import SimpleNamespace

import conrec_models
import numpy as np
import pytest
import synthetic
import torch

from conrec.data.events import read
from conrec.data.instances import history
from conrec.decoder.policy import Policy
from conrec.learning import grpo, tasks

PROMPTS = [[1, 8], [1, 8, 20, 25, 13]]
# a group of four rewards
REWARDS = torch.tensor([[0.7, 0.3, 0.6, 0.3]])
ADVANTAGES = [1.259547, -0.979647, 0.699748, -0.979647]


@pytest.fixture(scope="module")
def made():
    return conrec_models.tiny()


def test_advantages_are_the_golden_values():
    found, same = grpo.advantages(REWARDS)
    assert found[0].tolist() == pytest.approx(ADVANTAGES, abs=1e-5) and not same.any()


def test_a_group_of_equal_rewards_has_no_advantage():
    found, same = grpo.advantages(torch.tensor([[0.1, 0.2], [0.3, 0.3], [0.1, 0.1 + 1e-7]]))
    assert same.tolist() == [False, True, True]
    assert found[0].abs().min() > 0.9 and (found[1:] == 0).all()


def test_the_gradient_of_j_is_the_golden_one_and_beta_pulls_towards_the_reference():
    gradients = []
    for beta in (0, 0.5):
        logits = torch.zeros(4, requires_grad=True)
        logprobs = logits.log_softmax(0).reshape(1, 4, 1)  # each of four items was sampled once
        reference = torch.tensor([0.4, 0.3, 0.2, 0.1]).log().reshape(1, 4, 1)
        loss, divergence = grpo.loss(logprobs, reference, grpo.advantages(REWARDS)[0], beta)
        loss.backward()
        gradients.append(-logits.grad)
        assert float(loss.detach()) == pytest.approx(beta * float(divergence.detach()), abs=1e-6) and divergence > 0
    assert gradients[0].tolist() == pytest.approx([0.314887, -0.244912, 0.174937, -0.244912], abs=1e-5)
    pull = gradients[1] - gradients[0]
    assert pull[0] > 0 and pull[3] < 0 and pull[0] > pull[1] > pull[2] > pull[3]


def test_k3_averaged_over_the_policy_is_the_exact_divergence():
    policy, reference = torch.tensor([0.5, 0.3, 0.2]).double(), torch.tensor([0.4, 0.4, 0.2]).double()
    estimate = grpo.k3(policy.log(), reference.log())
    assert (estimate >= 0).all()
    exact = (policy * (policy / reference).log()).sum()
    assert float((policy * estimate).sum()) == pytest.approx(0.025267, abs=1e-6)
    assert float(exact) == pytest.approx(0.025267, abs=1e-6)


def test_where_policy_and_reference_agree_there_is_no_divergence_and_no_gradient_of_it():
    logits = torch.randn(2, 3, 3, 5, generator=torch.Generator().manual_seed(0), requires_grad=True)
    logprobs = logits.log_softmax(3)[..., 0]
    loss, divergence = grpo.loss(logprobs, logprobs.detach(), torch.zeros(2, 3), beta=1.0)
    loss.backward()
    assert float(divergence.detach()) == 0 and (logits.grad == 0).all()


# ------------------------------------------------------------------------------------------ rollout


def test_items_are_drawn_as_often_as_the_policy_says(made):
    """Closed: 40 items of the first prompt, among them all below some node of each level; one of the second."""
    model, trie, catalog = made
    nothing, forty, n = np.zeros(0, int), np.lexsort(catalog.codes.T[::-1])[:40], 1000
    for lists in ([nothing, nothing], [forty, np.array([7])]):
        closed = trie.closed(lists)
        drawn, entropy = grpo.rollout(model, trie, PROMPTS, np.random.default_rng(1).random((2, n, 3)), closed)
        assert (entropy >= 0).all() and (entropy <= np.log(catalog.K) + 1e-6).all()
        assert entropy[..., 0].std(1).max() < 1e-6  # at the root all have the same choice
        for place, (prompt, items) in enumerate(zip(PROMPTS, drawn.numpy(), strict=True)):
            open_items = np.setdiff1d(np.arange(len(catalog.codes)), lists[place])
            with torch.no_grad():
                logprobs = model.branch([prompt], open_items[None], trie, closed[[place]])
            chances = logprobs[0].sum(1).exp().numpy()
            assert chances.sum() == pytest.approx(1, abs=1e-5)
            shares = np.bincount(items, minlength=len(catalog.codes)) / n
            assert shares[open_items].sum() == pytest.approx(1)
            assert np.abs(shares[open_items] - chances).max() < 4 * np.sqrt(chances.max() / n)


def test_a_step_samples_nothing_that_the_user_has_rated(tmp_path, monkeypatch):
    events, _ = read(synthetic.write_planted(tmp_path, n_users=20, n_items=80, n_events=40))
    model, trie, catalog = conrec_models.tiny(conrec_models.catalog(events.n_items))
    policy = Policy(events, model, trie, shown=(5, 5), n_beams=20)
    options = SimpleNamespace(conrec_reward="c", conrec_gamma=0.5, conrec_prompts=20, conrec_group=16, conrec_beta=0.1)
    task = tasks.Grpo(policy, catalog, "both", None, options)
    drawn, rollout, scored, branch = [], grpo.rollout, [], model.branch
    monkeypatch.setattr(grpo, "rollout", lambda *given: drawn.append(rollout(*given)) or drawn[-1])
    monkeypatch.setattr(model, "branch", lambda *given: scored.append(given[3]) or branch(*given))
    examples = task.batch(np.random.default_rng(0))
    task.loss(examples)
    rated = [history(events, task.users[row], task.positions[row])[0] for _, row, _ in examples]
    for items, seen in zip(drawn[0][0].numpy(), rated, strict=True):
        assert len(seen) and not np.isin(items, seen).any()
    assert len(scored) == 2  # the reference and the policy in training are masked alike
    assert all(torch.equal(closed, trie.closed(rated)) for closed in scored)


def test_a_token_is_where_the_running_sum_passes_the_draw():
    logprobs = torch.tensor([0.0, 0.25, 0.0, 0.75, 0.0]).log().expand(6, 5)
    draws = torch.tensor([0.0, 0.2499, 0.2501, 0.9, 1 - 1e-16, 1 - 2**-53], dtype=torch.float64)
    assert grpo.sample_codes(logprobs, draws).tolist() == [1, 1, 3, 3, 3, 3]


def test_samples_do_not_depend_on_the_batch(made):
    model, trie, _ = made
    draws = np.random.default_rng(3).random((2, 8, 3))
    together, _ = grpo.rollout(model, trie, PROMPTS, draws)
    for place, prompt in enumerate(PROMPTS):
        assert torch.equal(grpo.rollout(model, trie, [prompt], draws[[place]])[0][0], together[place])


def test_a_bandit_learns_its_best_item():
    """One prompt, reward 1 for one item of 60 and more for those that share codes with it."""
    model, trie, catalog = conrec_models.tiny(noise=0)
    best = 17
    shared = np.cumprod(catalog.codes == catalog.codes[best], 1).sum(1) / 3
    worth = torch.from_numpy(shared).float()
    optimizer = torch.optim.AdamW(model.trainable().values(), lr=6e-3)
    model.keep_reference()
    target = torch.tensor([[best]])

    def chance():
        with torch.no_grad():
            return float(model.branch(PROMPTS[:1], target, trie).sum().exp())

    assert chance() < 0.1
    for step in range(15):
        draws = np.random.default_rng([0, step]).random((1, 16, 3))
        items, _ = grpo.rollout(model, trie, PROMPTS[:1], draws)
        with model.reference():
            reference = model.branch(PROMPTS[:1], items, trie)
        logprobs = model.branch(PROMPTS[:1], items, trie)
        loss, _ = grpo.loss(logprobs, reference, grpo.advantages(worth[items])[0], 0.001)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert chance() > 0.9
