"""Sets of entry numbers as bytes."""

from hypothesis import given
from hypothesis import strategies as st

from saferun.store import postings
from saferun.store.postings import CHUNK

SETS = st.sets(st.integers(0, CHUNK - 1), max_size=60) | st.builds(
    lambda first, many: set(range(first, min(first + many, CHUNK))),
    st.integers(0, CHUNK - 1),
    st.integers(0, 9_000),
)


@given(SETS, st.lists(st.integers(1, 3_000), max_size=6))
def test_what_is_added_is_what_is_there_in_whatever_pages_it_came(
    members: set[int], pages: list[int]
) -> None:
    left, held = sorted(members), b""
    for many in (*pages, CHUNK):
        page, left = left[:many], left[many:]
        held = postings.added(held, page) if page else held
    assert set(postings.places(postings.bits(held), newest=False)) == members
    assert len(held) <= CHUNK // 8


@given(SETS, SETS)
def test_what_two_sets_have_in_common_is_one_operation(one: set[int], other: set[int]) -> None:
    both = postings.of(sorted(one)) & postings.of(sorted(other))
    assert list(postings.places(both, newest=False)) == sorted(one & other)
    assert list(postings.places(both, newest=True)) == sorted(one & other, reverse=True)


@given(SETS, SETS, st.booleans())
def test_how_much_two_sets_have_in_common_is_counted_without_spreading_either(
    one: set[int], other: set[int], twice: bool
) -> None:
    held = postings.added(b"", sorted(one))
    # One that was taken up again.
    held = postings.added(held, sorted(one)[:3]) if twice else held
    marks = postings.marked(postings.of(sorted(other)))
    assert postings.common(held, marks) == len(one & other)


@given(st.integers(0, CHUNK), st.integers(0, CHUNK))
def test_a_range_has_its_beginning_and_not_its_end(first: int, size: int) -> None:
    found = postings.between(first, size)
    assert found.bit_count() == max(size - first, 0)
    assert not found or (found.bit_length() == size and found & -found == 1 << first)


@given(st.binary(max_size=100) | st.binary(min_size=CHUNK // 8, max_size=CHUNK // 8))
def test_bytes_that_are_no_set_of_ours_are_one_of_something(held: bytes) -> None:
    assert 0 <= postings.bits(held) < 1 << CHUNK
