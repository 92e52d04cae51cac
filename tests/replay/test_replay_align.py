"""Aligning two sequences: right, and quick whatever is compared."""

import random
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from saferun.replay import align
from saferun.replay.align import aligned

few = st.lists(st.sampled_from("abc"), max_size=30)
many = st.lists(st.integers(0, 200), max_size=60)


@given(few | many, few | many)
def test_pairs_are_equal_and_both_ascend(one, other) -> None:
    pairs = aligned(one, other)
    assert all(one[at] == other[there] for at, there in pairs)
    assert all(a < c and b < d for (a, b), (c, d) in pairwise(pairs))


@given(many)
def test_a_sequence_is_aligned_with_itself_place_by_place(one) -> None:
    assert aligned(one, one) == [(place, place) for place in range(len(one))]


@given(st.lists(st.integers(), max_size=40, unique=True), st.data())
def test_what_was_taken_out_is_all_that_is_missing(one, data) -> None:
    kept = [each for each in one if data.draw(st.booleans())]
    assert [one[at] for at, _ in aligned(one, kept)] == kept


def test_few_differences_without_anchors_take_the_shortest_way() -> None:
    one, other = "abababab", "abaababab"
    assert len(aligned(one, other)) == 8


def looked_at(one, other) -> int:
    """How often elements were compared or hashed."""

    class Counted(str):
        __slots__ = ()
        count = 0

        def __eq__(self, other):
            Counted.count += 1
            return str.__eq__(self, other)

        def __hash__(self):
            Counted.count += 1
            return str.__hash__(self)

    aligned([Counted(each) for each in one], [Counted(each) for each in other])
    return Counted.count


def hostile(size: int):
    draw = random.Random(7)
    yield ["a", "b"] * (size // 2), ["b", "b", "a"] * (size // 3)
    yield draw.choices("ab", k=size), draw.choices("ab", k=size)
    yield draw.choices("abcdefgh", k=size), draw.choices("abcdefgh", k=size)
    order = [str(each) for each in range(size)]
    yield order, draw.sample(order, size)
    yield order, order[::-1]
    yield ["a"] * size, ["b"] * size
    # Anchors within anchors: each becomes the only one of its kind once the one around it is cut.
    nested = [str(each) for each in range(size // 2)]
    yield [*nested, *nested], [*nested[::-1], *nested]


def test_ten_thousand_elements_each_take_no_more_than_a_few_million_looks() -> None:
    looks = [looked_at(one, other) for one, other in hostile(10_000)]
    # Every one with every other would be a hundred million.
    assert max(looks) < 3 * align.BUDGET
