"""The tree is that of RFC 6962: against its published vectors, its definition, and pymerkle."""

from hashlib import sha256

import pymerkle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saferun.ledger import Frontier, TreeError, leaf_hash
from saferun.ledger.tree import node_hash

# The leaves and roots of Google's certificate-transparency tests, for 0 to 8 leaves.
PUBLISHED_LEAVES = [
    bytes.fromhex(leaf)
    for leaf in (
        *("", "00", "10", "2021", "3031", "40414243"),
        *("5051525354555657", "606162636465666768696a6b6c6d6e6f"),
    )
]
PUBLISHED_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]

bodies = st.lists(st.binary(max_size=40), max_size=300)


def grown(leaves):
    tree = Frontier()
    for body in leaves:
        tree.append(leaf_hash(body))
    return tree


def oracle(leaves):
    tree = pymerkle.InmemoryTree(algorithm="sha256")
    for body in leaves:
        tree.append_entry(body)
    return tree.get_root()


@pytest.mark.parametrize("size", range(9))
def test_the_roots_are_the_published_ones(size):
    assert grown(PUBLISHED_LEAVES[:size]).root().hex() == PUBLISHED_ROOTS[size]


def test_seven_leaves_leave_the_published_subtrees_on_the_edge():
    four = "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"
    two = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"
    one = "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f"
    assert grown(PUBLISHED_LEAVES[:7]).encode().hex() == f"{7:016x}" + four + two + one


@given(bodies)
def test_the_root_is_the_one_that_pymerkle_finds(leaves):
    if leaves:
        assert grown(leaves).root() == oracle(leaves)


@pytest.mark.parametrize("size", [1023, 1024, 1025, 4097])
def test_the_root_of_a_large_tree_is_the_one_that_pymerkle_finds(size):
    leaves = [b"%d" % number for number in range(size)]
    assert grown(leaves).root() == oracle(leaves)


def test_an_empty_tree_has_the_hash_of_nothing_for_its_root():
    assert Frontier().root() == sha256(b"").digest()


@given(bodies)
def test_size_counts_the_leaves(leaves):
    assert grown(leaves).size == len(leaves)


@given(bodies)
def test_a_frontier_comes_back_from_its_bytes(leaves):
    tree = grown(leaves)
    back = Frontier.decode(tree.encode())
    assert (back.size, back.root(), back.encode()) == (tree.size, tree.root(), tree.encode())


@given(bodies, bodies)
def test_a_decoded_frontier_grows_on_as_the_tree_itself_does(before, after):
    tree = Frontier.decode(grown(before).encode())
    for body in after:
        tree.append(leaf_hash(body))
    assert tree.root() == grown(before + after).root()


@given(bodies, st.binary(max_size=40))
def test_a_copy_grows_without_its_original(leaves, more):
    tree = grown(leaves)
    before = tree.encode()
    tree.copy().append(leaf_hash(more))
    assert tree.encode() == before


@given(bodies, st.integers(min_value=-32, max_value=32).filter(bool))
def test_bytes_of_the_wrong_length_are_no_frontier(leaves, off):
    encoded = grown(leaves).encode()
    damaged = encoded + b"\0" * off if off > 0 else encoded[:off]
    with pytest.raises(TreeError, match="their length is not that of their size"):
        Frontier.decode(damaged)


def test_nothing_at_all_is_no_frontier():
    with pytest.raises(TreeError):
        Frontier.decode(b"")


def test_a_leaf_that_is_no_hash_is_refused_and_leaves_the_tree_as_it_was():
    tree = grown([b"a", b"b", b"c"])
    before = tree.encode()
    with pytest.raises(TreeError, match="hash of 32 bytes, not of 900"):
        tree.append(b"x" * 900)
    assert tree.encode() == before


def test_two_leaves_cannot_pass_for_one_entry():
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    assert leaf_hash(left + right) != node_hash(left, right)
    assert leaf_hash(b"\x01" + left + right) != node_hash(left, right)
