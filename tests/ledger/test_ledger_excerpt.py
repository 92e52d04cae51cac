"""Excerpts: some leaves, and the roots between them, lead to the root of the whole tree."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saferun.ledger import Frontier, leaf_hash
from saferun.ledger.excerpt import KEPT, Regrown, stand_ins
from saferun.ledger.proof import ProofError
from saferun.ledger.tree import subtree_root


def tree(size: int):
    leaves = [leaf_hash(b"%d" % number) for number in range(size)]

    def nodes(level: int, place: int) -> bytes:
        whole = Frontier()
        for leaf in leaves[place << level : (place + 1) << level]:
            whole.append(leaf)
        assert whole.size == 1 << level
        return whole.root()

    return leaves, nodes


def regrown(leaves, nodes, seqs, size):
    grown = Regrown()
    for seq, gap in stand_ins(seqs, size, nodes):
        grown.skip(seq, iter(gap))
        if seq < size:
            grown.append(leaves[seq])
    return grown


@given(st.integers(1, 300), st.data())
def test_any_choice_of_entries_leads_to_the_root(size, data):
    leaves, nodes = tree(size)
    seqs = sorted(data.draw(st.sets(st.integers(0, size - 1), min_size=1)))
    whole = Frontier.at(size, nodes)
    grown = regrown(leaves, nodes, seqs, size)
    assert grown.root() == whole.root()
    assert grown.frontier() == whole.encode()


@given(st.integers(2, 200), st.data())
def test_a_changed_leaf_or_root_leads_elsewhere(size, data):
    leaves, nodes = tree(size)
    seqs = sorted(data.draw(st.sets(st.integers(0, size - 1), min_size=1)))
    root = Frontier.at(size, nodes).root()
    gaps = [gap for _, gap in stand_ins(seqs, size, nodes)]
    places = [("leaf", seq) for seq in seqs]
    places += [("gap", (at, each)) for at, gap in enumerate(gaps) for each in range(len(gap))]
    kind, place = data.draw(st.sampled_from(places))
    if kind == "leaf":
        leaves[place] = leaf_hash(b"another")
    else:
        gaps[place[0]][place[1]] = leaf_hash(b"another")
    grown = Regrown()
    for seq, gap in zip([*seqs, size], gaps, strict=True):
        grown.skip(seq, iter(gap))
        if seq < size:
            grown.append(leaves[seq])
    assert grown.root() != root


def test_entries_that_lie_together_need_only_what_surrounds_them():
    _, nodes = tree(256)
    hashes = [each for _, gap in stand_ins(range(64, 128), 256, nodes) for each in gap]
    assert len(hashes) == 2


def test_the_nodes_that_are_given_are_those_of_the_tree():
    leaves, nodes = tree(200)
    grown = regrown(leaves, nodes, [*range(40), 130, 199], 200)
    assert all(found == nodes(level, place) for level, place, found in grown.nodes)
    assert {level for level, place, _ in grown.nodes if place << level < 32} == {KEPT}


def test_an_entry_stands_once_and_in_its_order():
    with pytest.raises(ProofError, match="Entry 3 has no place"):
        list(stand_ins([3, 3], 10, lambda level, place: bytes(32)))
    grown = Regrown()
    grown.append(bytes(32))
    with pytest.raises(ProofError, match="stands twice"):
        grown.skip(0, iter([]))


@pytest.mark.parametrize("roots", [[], [b"short"]])
def test_a_root_that_is_missing_or_none_is_no_gap(roots):
    with pytest.raises(ProofError, match="not all there"):
        Regrown().skip(1, iter(roots))


def test_what_is_wider_than_a_leaf_is_one_root():
    leaves, nodes = tree(8)
    [(_, gap), _] = stand_ins([4], 8, nodes)
    assert gap == [subtree_root(0, 4, nodes)]
    assert regrown(leaves, nodes, [4], 8).root() == subtree_root(0, 8, nodes)
