"""Taking values down: what was read is what arrives, in its own type, or nothing is."""

import array
import collections
import copy
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import math
import pathlib
import uuid
from typing import Any, NamedTuple

import attrs
import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guarding import enforcing, entries, observing
from saferun import Denied, guard
from saferun.call import canonical
from saferun.plain import MAX_DEPTH, MAX_ITEMS, NotPlainError, encode_result, take_down


class Colour(enum.Enum):
    RED = "red"
    PAIR = (1, [2])


class Size(enum.IntEnum):
    SMALL = 1


class Word(str):
    __slots__ = ()


class Count(int):
    pass


class Ratio(float):
    pass


class Row(dict):
    pass


class Rows(list):
    pass


class Pair(tuple):
    __slots__ = ()


class Bag(set):
    pass


class Point(NamedTuple):
    x: int
    tags: list[str]


@dataclasses.dataclass
class Line:
    start: Point
    end: Point | None = None
    notes: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Frozen:
    items: list[int]


@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    items: list[int]


@dataclasses.dataclass
class Started:
    seed: dataclasses.InitVar[int]
    value: int = dataclasses.field(init=False)

    def __post_init__(self, seed: int) -> None:
        self.value = seed * 2


@attrs.define
class Attrs:
    items: list[int]


@attrs.frozen
class FrozenAttrs:
    items: list[int]


class Struct(msgspec.Struct):
    items: list[int]


class FrozenStruct(msgspec.Struct, frozen=True):
    items: list[int]


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    items: list[int]
    _mark: str = "kept"


class FrozenModel(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True)
    inner: Model


NOON = dt.datetime(2026, 3, 14, 12, tzinfo=dt.UTC)

KEPT: list[tuple[Any, Any]] = [
    (None, None),
    (True, True),
    (0, 0),
    (2**1023, 2**1023),
    (-(2**1023), -(2**1023)),
    (0.1, 0.1),
    (-0.0, -0.0),
    ("", ""),
    ("naïve 😀\n\x7f", "naïve 😀\n\x7f"),
    ([1, [2, "x"]], [1, [2, "x"]]),
    ({"a": {"b": [None]}}, {"a": {"b": [None]}}),
    ((1, (2,)), [1, [2]]),
    ((), []),
    ({3, 1, 2}, [1, 2, 3]),
    (frozenset(), []),
    (b"\x00\xff", "AP8="),
    (bytearray(b"ab"), "YWI="),
    (decimal.Decimal("12.50"), "12.50"),
    (decimal.Decimal("1E+9000"), "1E+9000"),
    (NOON, "2026-03-14T12:00:00+00:00"),
    (NOON.date(), "2026-03-14"),
    (dt.time(1, 2, 3, 4), "01:02:03.000004"),
    (dt.timedelta(days=1, microseconds=5), "P1DT0.000005S"),
    (uuid.UUID(int=5), "00000000-0000-0000-0000-000000000005"),
    (pathlib.PurePosixPath("a/b"), "a/b"),
    (Colour.RED, "red"),
    (Colour.PAIR, [1, [2]]),
    (Size.SMALL, 1),
    (Word("w"), "w"),
    (Count(7), 7),
    (Ratio(0.5), 0.5),
    (Row(a=[1]), {"a": [1]}),
    (collections.OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
    (collections.defaultdict(list, a=[1]), {"a": [1]}),
    (collections.Counter("aab"), {"a": 2, "b": 1}),
    (Rows([1, {"a": 2}]), [1, {"a": 2}]),
    (Pair((1, 2)), [1, 2]),
    (Bag({1}), [1]),
    (Point(1, ["a"]), {"x": 1, "tags": ["a"]}),
    (Line(Point(1, [])), {"start": {"x": 1, "tags": []}, "end": None, "notes": {}}),
    (Frozen([1]), {"items": [1]}),
    (Slotted([1]), {"items": [1]}),
    (Started(4), {"value": 8}),
    (Attrs([1]), {"items": [1]}),
    (FrozenAttrs([1]), {"items": [1]}),
    (Struct([1]), {"items": [1]}),
    (FrozenStruct([1]), {"items": [1]}),
    (Model(items=[1], more={"a": 1}), {"items": [1], "more": {"a": 1}}),
    (FrozenModel(inner=Model(items=[])), {"inner": {"items": []}}),
    ([Frozen([Colour.RED])], [{"items": ["red"]}]),
]


@pytest.mark.parametrize(("value", "plain"), KEPT, ids=repr)
def test_a_value_arrives_in_its_own_type_and_policy_reads_its_plain_form(value, plain):
    taken, live = take_down(value, "x")
    assert taken == plain
    assert type(taken) is type(plain)
    assert type(live) is type(value)
    assert live == value
    assert msgspec.json.decode(canonical.encode(taken)) == plain


@pytest.mark.parametrize(("value", "plain"), KEPT, ids=repr)
def test_a_value_passes_the_gate_unchanged(value, plain):
    got = []
    gate = enforcing()
    guard(lambda x: got.append(x), name="tool", gate=gate)(value)
    assert type(got[0]) is type(value)
    assert got == [value]
    (entry,) = entries(gate, "decision")
    assert entry["args"] == {"x": plain}


def test_state_beside_the_fields_is_kept():
    model = Model(items=[])
    model._mark = "changed"
    assert take_down(model, "x")[1]._mark == "changed"


def changed(value: Any) -> None:
    """Change whatever can be changed in a value, all the way down."""
    if isinstance(value, dict):
        for item in value.values():
            changed(item)
        value["new"] = 1
    elif isinstance(value, list):
        for item in value:
            changed(item)
        value.append("new")
    elif isinstance(value, set):
        value.add("new")
    elif isinstance(value, bytearray):
        value.append(1)
    elif isinstance(value, tuple):
        for item in value:
            changed(item)
    elif not isinstance(value, enum.Enum):
        for name in ("items", "inner", "start", "notes", "value"):
            if hasattr(value, name):
                inner = getattr(value, name)
                changed(inner)
                try:
                    setattr(value, name, "new")
                except (AttributeError, TypeError, ValueError):
                    continue


@pytest.mark.parametrize("at", range(len(KEPT)), ids=[repr(value) for value, _ in KEPT])
def test_what_the_caller_changes_afterwards_changes_nothing(at):
    value = copy.deepcopy(KEPT[at][0])
    taken, live = take_down(value, "x")
    before = copy.deepcopy((taken, live))
    changed(value)
    assert (taken, live) == before


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), inner
        )
    ),
    max_leaves=20,
)


@given(json_values)
def test_what_is_plain_already_is_itself_on_both_sides(value):
    taken, live = take_down(value, "x")
    assert taken == live == value
    assert taken is live
    assert taken is not value or not isinstance(value, list | dict)


# What is refused.


@dataclasses.dataclass
class Moving:
    start: int

    def __getattribute__(self, name: str) -> Any:
        if name == "start":
            seen = object.__getattribute__(self, "__dict__")
            seen["start"] += 1
            return seen["start"]
        return object.__getattribute__(self, name)


@dataclasses.dataclass
class Shared:
    items: list[int]

    def __copy__(self) -> "Shared":
        return self


class Sticky(dict):
    def update(self, *args, **kwargs):
        super().update({"amount": 1_000_000})


class Raising:
    @property
    def __dataclass_fields__(self):
        raise RuntimeError("secret")


class BadModel(pydantic.BaseModel):
    amount: int

    def model_copy(self, *, update=None, deep=False):
        return BadModel(amount=1_000_000)


class TwoTexts(str):
    __slots__ = ()

    def __str__(self):
        return "other"


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def circle() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


REFUSED = [
    (math.nan, "x is not a finite number"),
    (-math.inf, "x is not a finite number"),
    (decimal.Decimal("NaN"), "x is not a finite number"),
    (decimal.Decimal("sNaN"), "x is not a finite number"),
    (2**1025, "x is an integer of more than 1024 bits"),
    ("a\0b", "x holds a NUL character"),
    ("\ud800", "x holds half of a surrogate pair"),
    ({"a": [1, {"b": "\0"}]}, r"x.a\[1\].b holds a NUL character"),
    ({1: 2}, "x has a key that is not text"),
    ({"a": {(): 1}}, "x.a has a key that is not text"),
    ({"\ud800": 1}, "holds half of a surrogate pair"),
    (deep(MAX_DEPTH + 1), "is nested deeper than 100 levels"),
    (deep(10_000), "is nested deeper than 100 levels"),
    (circle(), "is nested deeper than 100 levels"),
    ([0] * (MAX_ITEMS + 1), "has more than 1,000,000 values"),
    (pathlib.Path("a\0b"), "x holds a NUL character"),
    (pathlib.Path("\udcff"), "x holds half of a surrogate pair"),
    (TwoTexts("this"), "x does not keep its values"),
    (Moving(1), "x does not keep its values"),
    (Shared([1]), "x does not keep its values"),
    (Sticky(amount=1), "x does not keep its values"),
    (BadModel(amount=1), "x does not keep its values"),
    (Raising(), "x cannot be read"),
    (object(), "x is a builtins.object, which cannot be taken down"),
    (iter([1]), "x is a builtins.list_iterator"),
    ((each for each in [1]), "x is a builtins.generator"),
    (map(str, [1]), "x is a builtins.map"),
    (len, "x is a builtins.builtin_function_or_method"),
    (int, "x is a builtins.type"),
    (fractions.Fraction(1, 3), "x is a fractions.Fraction"),
    (1 + 2j, "x is a builtins.complex"),
    (range(3), "x is a builtins.range"),
    (array.array("i", [1]), "x is a array.array"),
    (memoryview(b"a"), "x is a builtins.memoryview"),
    (collections.deque([1]), "x is a collections.deque"),
    ([1, (2, object())], r"x\[1\]\[1\] is a builtins.object"),
]


@pytest.mark.parametrize(("value", "why"), REFUSED, ids=[why for _, why in REFUSED])
def test_what_has_no_faithful_plain_form_is_refused_by_name(value, why):
    with pytest.raises(NotPlainError, match=why):
        take_down(value, "x")


@pytest.mark.parametrize(("value", "why"), REFUSED, ids=[why for _, why in REFUSED])
def test_under_a_policy_it_is_denied_with_a_sentence_that_names_the_argument(value, why):
    ran = []
    with pytest.raises(Denied) as caught:
        guard(lambda x: ran.append(x), name="tool", gate=enforcing())(value)
    assert ran == []
    assert "x" in caught.value.for_model
    assert caught.value.decision.seq is not None


@pytest.mark.parametrize(("value", "why"), REFUSED, ids=[why for _, why in REFUSED])
def test_where_it_is_only_observed_it_passes_as_it_is_and_is_recorded_by_type(value, why):
    got = []
    gate = observing()
    guard(lambda x: got.append(x), name="tool", gate=gate)(value)
    assert got[0] is value
    (entry,) = entries(gate, "decision")
    assert "x" not in entry["args"]
    assert list(entry["opaque"]) == ["x"]


def test_an_opaque_argument_of_the_policy_passes_unread():
    gate = enforcing(
        """
        version: 1
        name: opaque
        tools:
          query: {effect: read, args: {sql: {type: string}}, opaque: [connection]}
        """
    )
    connection = iter([1, 2])
    got = []
    guard(lambda sql, connection: got.append(connection), name="query", gate=gate)(
        "select 1", connection=connection
    )
    assert got[0] is connection
    assert list(connection) == [1, 2]
    (entry,) = entries(gate, "decision")
    assert entry["opaque"] == {"connection": "builtins.list_iterator"}


def test_a_relative_path_is_decided_on_and_given_as_the_file_that_it_means(tmp_path, monkeypatch):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    monkeypatch.chdir(tmp_path)
    got = []
    gate = enforcing()
    guard(lambda path: got.append(path), name="tool", gate=gate)(pathlib.Path("link/../link/a"))
    assert got == [tmp_path / "real" / "a"]
    assert entries(gate, "decision")[0]["args"] == {"path": str(tmp_path / "real" / "a")}


def test_deeply_nested_records_are_walked_once_a_level():
    node = Line(Point(1, []))
    for _ in range(40):
        node = Line(Point(1, []), notes={"next": node})
    taken, live = take_down(node, "x")
    assert live == node
    assert len(canonical.encode(taken)) < 5_000


def test_an_error_of_the_object_s_own_code_is_not_repeated():
    with pytest.raises(NotPlainError) as caught:
        take_down(Raising(), "x")
    assert "secret" not in str(caught.value)
    assert caught.value.opaque


def test_a_large_argument_arrives_whole():
    got = []
    text = "x" * 10_000_000
    gate = enforcing()
    guard(lambda x: got.append(x), name="tool", gate=gate)([text])
    assert got == [[text]]
    assert "$blob" in entries(gate, "decision")[0]["args"]


# Results.


@given(
    st.recursive(
        st.none() | st.integers() | st.floats() | st.text() | st.binary() | st.complex_numbers(),
        lambda inner: (
            st.lists(inner)
            | st.tuples(inner)
            | st.sets(st.integers())
            | st.dictionaries(st.text() | st.integers() | st.tuples(st.integers()), inner)
        ),
        max_leaves=10,
    )
)
def test_a_result_is_always_recorded_as_json(value):
    msgspec.json.decode(encode_result(value))


@pytest.mark.parametrize(
    ("result", "recorded"),
    [
        (object(), {"$type": "builtins.object"}),
        ([1, object()], [1, {"$type": "builtins.object"}]),
        (Line(Point(1, [])), {"start": [1, []], "end": None, "notes": {}}),
        (Model(items=[1]), {"items": [1]}),
        (b"ab", "YWI="),
        ("\ud800", {"$type": "builtins.str", "$why": "not recorded: UnicodeEncodeError"}),
        (deep(100_000), {"$type": "builtins.list", "$why": "not recorded: RecursionError"}),
        ({(1, 2): 3}, {"$type": "builtins.dict", "$why": "not recorded: RecursionError"}),
        (iter([1]), {"$type": "builtins.list_iterator"}),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else type(value).__name__,
)
def test_what_a_result_cannot_say_is_recorded_by_type_and_reason(result, recorded):
    assert msgspec.json.decode(encode_result(result)) == recorded


def test_a_result_whose_fields_cannot_be_read_is_recorded_as_that():
    class Foreign:
        _fields = ("a",)

        @property
        def a(self):
            raise KeyError("secret")

    said = msgspec.json.decode(encode_result(Foreign()))
    assert said["$why"] == "not recorded: it cannot be read"
