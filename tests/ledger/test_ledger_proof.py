"""Proofs are those of RFC 6962: by tlog-scales, by their definition, and against every change."""

from functools import cache

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tlog_scales import tlog

from saferun.ledger import Frontier, leaf_hash
from saferun.ledger.proof import (
    MAX_HASHES,
    ProofError,
    consistency,
    inclusion,
    proves_consistency,
    proves_inclusion,
)
from saferun.ledger.tree import TreeError, node_hash, spans, subtree_root

LEAVES = [leaf_hash(b"%d" % number) for number in range(5_000)]


@cache
def nodes(level, place):
    """The root of a perfect subtree, from its leaves and the definition of the tree."""
    if level == 0:
        return LEAVES[place]
    return node_hash(nodes(level - 1, 2 * place), nodes(level - 1, 2 * place + 1))


def tree(size):
    grown = Frontier()
    for leaf in LEAVES[:size]:
        grown.append(leaf)
    return grown


@st.composite
def an_entry(draw, most=5_000):
    size = draw(st.integers(1, most))
    return draw(st.integers(0, size - 1)), size


@st.composite
def two_sizes(draw, most=5_000):
    new = draw(st.integers(0, most))
    return draw(st.integers(0, new)), new


# The tree of eight leaves of Google's certificate-transparency tests, and its proofs there.
PUBLISHED = [
    leaf_hash(bytes.fromhex(leaf))
    for leaf in (
        *("", "00", "10", "2021", "3031", "40414243"),
        *("5051525354555657", "606162636465666768696a6b6c6d6e6f"),
    )
]
A = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
B = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
AB = "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
CD = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
ABCD = "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"
E = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
EF = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"
GH = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
EFGH = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"


def published(level, place):
    if level == 0:
        return PUBLISHED[place]
    return node_hash(published(level - 1, 2 * place), published(level - 1, 2 * place + 1))


@pytest.mark.parametrize(
    ("index", "size", "path"),
    [
        (0, 1, []),
        (0, 8, [B, CD, EFGH]),
        (5, 8, [E, GH, ABCD]),
        (2, 3, [AB]),
        (1, 5, [A, CD, E]),
    ],
)
def test_inclusion_proofs_are_the_published_ones(index, size, path):
    assert [each.hex() for each in inclusion(index, size, published)] == path


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [(1, 1, []), (1, 8, [B, CD, EFGH]), (6, 8, [EF, GH, ABCD]), (2, 5, [CD, E])],
)
def test_consistency_proofs_are_the_published_ones(old, new, path):
    assert [each.hex() for each in consistency(old, new, published)] == path


@settings(max_examples=60, deadline=None)
@given(an_entry())
def test_an_inclusion_proof_is_accepted_by_tlog_scales(entry):
    index, size = entry
    hashes = inclusion(index, size, nodes)
    tlog.InclusionProof(index, size, hashes).check(LEAVES[index], tree(size).root())


@settings(max_examples=60, deadline=None)
@given(two_sizes())
def test_a_consistency_proof_is_accepted_by_tlog_scales(sizes):
    old, new = sizes
    assume(old)
    hashes = consistency(old, new, nodes)
    tlog.ConsistencyProof(old, new, hashes).check(tree(old).root(), tree(new).root())


@pytest.mark.parametrize("size", range(1, 34))
def test_every_entry_of_a_small_tree_is_proven(size):
    root = tree(size).root()
    for index in range(size):
        assert proves_inclusion(inclusion(index, size, nodes), index, size, LEAVES[index], root)


@pytest.mark.parametrize("new", range(34))
def test_every_beginning_of_a_small_tree_is_proven(new):
    roots = [tree(size).root() for size in range(new + 1)]
    for old in range(new + 1):
        hashes = consistency(old, new, nodes)
        assert proves_consistency(hashes, old, new, roots[old], roots[new])


@settings(max_examples=60, deadline=None)
@given(an_entry(), st.data())
def test_any_other_leaf_place_size_root_or_hash_is_not_proven(entry, data):
    index, size = entry
    hashes, leaf, root = inclusion(index, size, nodes), LEAVES[index], tree(size).root()
    other = data.draw(st.binary(min_size=32, max_size=32))
    assert not proves_inclusion(hashes, index, size, other, root)
    assert not proves_inclusion(hashes, index, size, leaf, other)
    elsewhere = data.draw(st.integers(-1, size).filter(lambda at: at != index))
    assert not proves_inclusion(hashes, elsewhere, size, leaf, root)
    assert not proves_inclusion([*hashes, other], index, size, leaf, root)
    assert not proves_inclusion(hashes[:-1] or [other], index, size, leaf, root)
    if hashes:
        at = data.draw(st.integers(0, len(hashes) - 1))
        changed = [*hashes[:at], other, *hashes[at + 1 :]]
        assert not proves_inclusion(changed, index, size, leaf, root)


@settings(max_examples=60, deadline=None)
@given(two_sizes(), st.data())
def test_any_other_root_or_hash_is_no_beginning(sizes, data):
    old, new = sizes
    hashes, roots = consistency(old, new, nodes), (tree(old).root(), tree(new).root())
    other = data.draw(st.binary(min_size=32, max_size=32))
    assert not proves_consistency(hashes, old, new, other, roots[1])
    # Of nothing at all, every tree is a continuation.
    assert proves_consistency(hashes, old, new, roots[0], other) == (old == 0 < new)
    assert not proves_consistency([*hashes, other], old, new, *roots)
    if hashes:
        at = data.draw(st.integers(0, len(hashes) - 1))
        assert not proves_consistency([*hashes[:at], other, *hashes[at + 1 :]], old, new, *roots)
        assert not proves_consistency(hashes[:-1], old, new, *roots)


def test_an_inner_node_does_not_pass_for_a_leaf():
    root = tree(4).root()
    left, right = nodes(1, 0), nodes(1, 1)
    assert node_hash(left, right) == root
    # The proof is sound for a tree of two leaves, and the root is that of four.
    assert proves_inclusion([right], 0, 2, left, root)
    assert not proves_inclusion([right], 0, 4, left, root)
    assert leaf_hash(LEAVES[0] + LEAVES[1]) != left


def test_a_proof_of_more_hashes_than_any_tree_needs_is_refused():
    hashes = [bytes(32)] * (MAX_HASHES + 1)
    assert not proves_inclusion(hashes, 0, 1 << 70, bytes(32), bytes(32))
    assert not proves_consistency(hashes, 1, 1 << 70, bytes(32), bytes(32))


@pytest.mark.parametrize("length", [0, 31, 33, 900])
def test_what_is_no_hash_is_refused(length):
    odd = b"x" * length
    assert not proves_inclusion([odd], 0, 2, LEAVES[0], tree(2).root())
    assert not proves_inclusion([], 0, 1, odd, odd)
    assert not proves_consistency([odd], 1, 2, LEAVES[0], tree(2).root())


@pytest.mark.parametrize(("index", "size"), [(0, 0), (1, 1), (-1, 4), (4, 4)])
def test_an_entry_that_is_not_there_has_no_proof(index, size):
    with pytest.raises(ProofError, match="There is no entry"):
        inclusion(index, size, nodes)


@pytest.mark.parametrize(("old", "new"), [(2, 1), (-1, 3)])
def test_a_ledger_is_no_beginning_of_a_shorter_one(old, new):
    with pytest.raises(ProofError, match="is no beginning"):
        consistency(old, new, nodes)


def test_a_proof_over_a_million_leaves_asks_for_few_subtrees():
    asked = []

    def counted(level, place):
        asked.append((level, place))
        return bytes(32)

    hashes = inclusion(654_321, 1_000_000, counted)
    assert len(hashes) <= 20
    assert len(asked) <= 60


@given(st.integers(0, 5_000), st.integers(0, 5_000))
def test_spans_cover_each_leaf_once_and_in_order(first, length):
    covered = []
    for level, place in spans(first, first + length):
        covered.extend(range(place << level, (place + 1) << level))
    assert covered == list(range(first, first + length))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 5_000))
def test_the_frontier_that_a_tree_had_is_found_again(size):
    assert Frontier.at(size, nodes).encode() == tree(size).encode()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 100])
def test_the_root_over_all_leaves_is_that_of_the_tree(size):
    assert subtree_root(0, size, nodes) == tree(size).root()


@given(st.integers(0, 20), st.integers(0, 64))
def test_a_tree_that_was_grown_apart_is_added_at_once(blocks, more):
    whole = tree(64 * blocks)
    apart = Frontier()
    for leaf in LEAVES[64 * blocks : 64 * blocks + more]:
        apart.append(leaf)
    whole.extend(apart)
    assert whole.encode() == tree(64 * blocks + more).encode()


def test_a_subtree_that_cannot_begin_here_is_refused_and_leaves_the_tree_as_it_was():
    grown = tree(6)
    with pytest.raises(TreeError, match="No subtree of 4 leaves begins at leaf 6"):
        grown.graft(2, bytes(32))
    assert grown.encode() == tree(6).encode()
