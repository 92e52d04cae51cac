"""Structural differences of JSON values: exact where they are small, bounded where they are not."""

from hypothesis import given
from hypothesis import strategies as st

from saferun.replay.changes import MOST, Change, changes

json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(json)
def test_a_value_does_not_differ_from_itself(value) -> None:
    assert changes(value, value).changes == ()


@given(json, json)
def test_two_values_differ_exactly_where_they_are_not_the_same(one, other) -> None:
    assert bool(changes(one, other).changes) == (repr(one) != repr(other) and not same(one, other))


def same(one, other) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


def test_each_part_is_named_by_its_path() -> None:
    before = {"to": {"name": "maria", "tags": ["a", "b"]}, "old": 1}
    after = {"to": {"name": "mario", "tags": ["a"]}, "new": None}
    assert changes(before, after).changes == (
        Change(path=("to", "name"), before="maria", after="mario"),
        Change(path=("to", "tags", 1), before="b"),
        Change(path=("old",), before=1),
        Change(path=("new",), after=None),
    )


def test_true_is_not_one_and_a_float_is_no_integer() -> None:
    assert len(changes([True, 1.0], [1, 1]).changes) == 2


def test_no_more_are_told_than_can_be_read() -> None:
    found = changes(list(range(10_000)), list(range(1, 10_001)))
    assert (len(found.changes), found.whole) == (MOST, False)


def test_a_large_value_that_is_the_same_is_not_looked_at_without_end() -> None:
    assert not changes([0] * 1_000_000, [0] * 1_000_000).whole


def test_a_deep_value_is_one_difference_as_a_whole() -> None:
    one: list = []
    other: list = [1]
    for _ in range(500):
        one, other = [one], [other]
    [only] = changes(one, other).changes
    assert len(only.path) == 20
