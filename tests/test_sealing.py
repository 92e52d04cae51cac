"""What is taken out of a value as sensitive, and that it is all there once it is opened."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saferun.ledger import opened, opens
from saferun.sealing import MOST, Sealing


def part(value: Any, *paths: str, name: str = "result") -> tuple[Any, dict[str, Any]]:
    """What is left of a value, and what was sealed by its path."""
    sealing = Sealing()
    steps = [tuple(path.split(".")) for path in paths]
    left = sealing.part(name, msgspec.json.encode(value), steps)
    for each in sealing.values:
        assert opens(each.commitment, each.opening)
    found = {each.opening.path: msgspec.json.decode(each.opening.value) for each in sealing.values}
    assert len(found) == len(sealing.names)
    return msgspec.json.decode(left), found


def test_a_member_is_sealed_and_its_neighbours_stay() -> None:
    left, found = part({"email": "m@x", "n": 5}, "email", name="args")
    assert found == {"args.email": "m@x"}
    assert left["n"] == 5
    assert list(left["email"]) == ["$sealed"]


@pytest.mark.parametrize(
    ("value", "path", "found"),
    [
        ({"a": {"b": 1, "c": 2}}, "a.b", {"result.a.b": 1}),
        ({"a": {"b": 1, "c": 2}}, "*.b", {"result.a.b": 1}),
        ({"a": 1, "b": [2]}, "*", {"result.a": 1, "result.b": [2]}),
        ([1, 2], "*", {"result.0": 1, "result.1": 2}),
        ([{"a": 1}, {"a": 2, "b": 3}], "a", {"result.0.a": 1, "result.1.a": 2}),
        ([{"a": 1}, {"a": 2}], "1.a", {"result.1.a": 2}),
        ("text", "*", {"result": "text"}),
        (None, "*", {"result": None}),
        ({"a": "text"}, "a.*", {"result.a": "text"}),
        ({"a": "text"}, "a.b", {}),
        ({"b": 1}, "a", {}),
        ({}, "*", {}),
    ],
)
def test_a_path_leads_where_it_does_for_redaction(value: Any, path: str, found: Any) -> None:
    assert part(value, path)[1] == found


def test_of_two_paths_the_outer_one_holds() -> None:
    value = {"a": {"b": 1, "c": 2}}
    assert part(value, "a.b", "a")[1] == part(value, "a", "a.b")[1] == {"result.a": value["a"]}


def test_two_values_that_are_alike_do_not_look_alike() -> None:
    left, _ = part({"a": 1, "b": 1}, "*")
    assert left["a"] != left["b"]


@pytest.mark.parametrize(
    "value",
    [
        {f"k{number}": number for number in range(MOST + 1)},
        {"k" * 3_000: 1},
        {"a\0b": 1},
        {"line\nbreak": 1},
    ],
)
def test_what_an_entry_has_no_room_for_is_sealed_whole(value: Any) -> None:
    assert part(value, "*")[1] == {"result": value}


def test_what_is_nested_too_deeply_is_sealed_whole() -> None:
    sealing = Sealing()
    data = b'{"a":' + b"[" * 5_000 + b"]" * 5_000 + b"}"
    sealing.part("result", data, [("a",)])
    assert [each.opening.value for each in sealing.values] == [data]


def test_the_very_bytes_are_kept() -> None:
    sealing = Sealing()
    whole = b'{"big":123456789012345678901234567890,"small":1.50}'
    left = sealing.part("args", whole, [("small",)])
    assert [each.opening.value for each in sealing.values] == [b"1.50"]
    assert left.startswith(b'{"big":123456789012345678901234567890,')


def test_where_no_path_leads_anywhere_nothing_is_written_anew() -> None:
    data = b'{"a": 1}'
    assert Sealing().part("args", data, [("b",)]) is data


def test_whatever_prints_the_work_does_not_print_the_value() -> None:
    sealing = Sealing()
    sealing.whole("error", b'"maria@example.com"')
    assert "maria" not in repr(sealing.values)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=12,
)
paths = st.lists(st.lists(st.sampled_from("abc*01"), min_size=1, max_size=3), max_size=3)


@given(values, paths)
def test_a_value_is_the_same_once_it_is_opened(value: Any, said: list[list[str]]) -> None:
    sealing = Sealing()
    data = msgspec.json.encode(value)
    left = msgspec.json.decode(sealing.part("result", data, [tuple(path) for path in said]))
    held = {each.commitment: each.opening for each in sealing.values}
    assert opened(left, sealing.names, held.get) == value
