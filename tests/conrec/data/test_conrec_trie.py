"""The tree of semantic IDs, against sets of prefixes."""

import numpy as np
import pytest
import torch

from conrec.data.trie import Trie

K = 6


@pytest.fixture(scope="module")
def codes():
    everything = np.stack(np.unravel_index(np.arange(K**3), (K, K, K)), 1)
    return np.random.default_rng(0).permutation(everything)[:50]


def prefixes(codes, length):
    return sorted({tuple(row[:length]) for row in codes.tolist()})


def test_nodes_are_the_prefixes_in_order_and_children_those_that_go_on(codes):
    trie = Trie(codes, K)
    everyone = [prefix for length in range(4) for prefix in prefixes(codes, length)]
    assert len(trie) == len(everyone)
    number = {prefix: node for node, prefix in enumerate(everyone)}
    for item, row in enumerate(codes.tolist()):
        assert trie.path[item].tolist() == [number[tuple(row[:length])] for length in (1, 2, 3)]
    children = trie.children(torch.arange(len(trie)))
    for node, prefix in enumerate(everyone):
        assert trie.below[node] == sum(tuple(row[: len(prefix)]) == prefix for row in codes.tolist())
        assert children[node].tolist() == [number.get((*prefix, code), -1) for code in range(K)]
    assert (trie.item[trie.path[:, 2]] == np.arange(len(codes))).all() and (trie.item >= 0).sum() == len(codes)


def test_masked_probabilities_of_a_node_sum_to_one(codes):
    trie = Trie(codes, K)
    inner = torch.from_numpy(np.flatnonzero(trie.item < 0))
    logits = torch.randn(len(inner), K, generator=torch.Generator().manual_seed(0))
    chances = trie.log_softmax(logits, inner).exp()
    assert torch.allclose(chances.sum(1), torch.ones(len(inner)))
    children = trie.children(inner) >= 0
    assert torch.equal(chances > 0, children)
    one = trie.log_softmax(logits[:1], inner[:1])[0]
    assert torch.allclose(one[children[0]], logits[0][children[0]].log_softmax(0))


@pytest.mark.parametrize("codes", [[[0, 1, 6]], [[0, 1, -1]], [[0, 1]], [[0, 1, 2], [0, 1, 2]]])
def test_other_codes_are_refused(codes):
    with pytest.raises(ValueError, match="semantic IDs must be"):
        Trie(codes, K)


def test_open_children_are_those_that_the_items_before_do_not_close(codes):
    """Row by row, place by place, as closed() of the row's earlier items; also where a node is emptied by them."""
    trie, random = Trie(codes, K), np.random.default_rng(1)
    topic = np.flatnonzero(codes[:, 0] == codes[0, 0])  # a whole first code: it closes with its last item
    rows = [random.permutation(topic), random.permutation(len(codes))[: len(topic) - 2]]
    items = np.full((2, len(topic)), -1)
    for place, row in enumerate(rows):
        items[place, -len(row) :] = row
    real = torch.from_numpy(items >= 0)
    nodes = torch.zeros(items.shape, dtype=torch.long)
    emptied = 0
    for level in range(3):
        chosen = torch.from_numpy(codes[items][..., level])
        found = trie.open_children(nodes, chosen, real)
        for row, column in np.argwhere(items >= 0):
            before = items[row, :column][items[row, :column] >= 0]
            shut = trie.shut(trie.children(nodes[row, column])[None], trie.closed([before]))[0]
            assert torch.equal(found[row, column], ~shut)
            emptied += int((shut & (trie.children(nodes[row, column]) >= 0)).sum())
        nodes = torch.from_numpy(trie.path[items][..., level])
    assert emptied > 10
