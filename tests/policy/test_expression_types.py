"""The types that JSON Schemas stand for."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saferun.policy.expression import (
    BOOL,
    DOUBLE,
    DYN,
    INT,
    NULL,
    STRING,
    EvaluationError,
    ListOf,
    MapOf,
    ObjectOf,
    Type,
    compile_expression,
    from_schema,
)
from saferun.policy.matcher import Matcher


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"type": "integer", "minimum": 1}, INT),
        ({"type": "number"}, DOUBLE),
        ({"type": "string", "maxLength": 5}, STRING),
        ({"type": "boolean"}, BOOL),
        ({"type": "null"}, NULL),
        ({"type": ["integer"]}, INT),
        ({"type": ["integer", "number"]}, DOUBLE),
        ({"type": ["string", "null"]}, DYN),
        ({"enum": ["USD", "EUR"]}, STRING),
        ({"enum": [1, 2]}, INT),
        ({"enum": [1, 2.5]}, DYN),
        ({"enum": ["a", None]}, DYN),
        ({"enum": []}, DYN),
        ({"const": "a"}, STRING),
        ({"const": None}, NULL),
        ({"const": True}, BOOL),
        ({"const": [1]}, DYN),
        ({"type": "string", "enum": ["a"]}, STRING),
        ({"anyOf": [{"type": "string"}]}, DYN),
        ({}, DYN),
        (True, DYN),
        ({"type": "array", "items": {"type": "string"}}, ListOf(STRING)),
        ({"type": "array"}, ListOf(DYN)),
        ({"type": "array", "items": {"type": "array"}}, ListOf(ListOf(DYN))),
        ({"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}]}, ListOf(DYN)),
        (
            {"type": "array", "prefixItems": [{"type": "string"}], "items": False},
            ListOf(STRING),
        ),
        ({"type": "object"}, MapOf(DYN)),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, MapOf(DYN)),
        (
            {"type": "object", "properties": {"a": {"type": "integer"}}},
            ObjectOf({"a": INT}, open=True),
        ),
        (
            {
                "type": "object",
                "properties": {"a": {"type": "integer"}},
                "additionalProperties": False,
            },
            ObjectOf({"a": INT}),
        ),
    ],
)
def test_a_schema_has_the_type_of_what_it_lets_through(schema: Any, kind: Type) -> None:
    assert from_schema(schema) == kind


SCHEMAS = st.recursive(
    st.sampled_from(
        [
            *({"type": each} for each in ("integer", "number", "string", "boolean", "null")),
            {"type": ["string", "null"]},
            {"enum": [1, "a", 2.5]},
            {"const": 5},
            {},
        ]
    ),
    lambda inner: (
        st.builds(lambda item: {"type": "array", "items": item}, inner)
        | st.builds(
            lambda first, rest: {"type": "array", "prefixItems": [first], "items": rest},
            inner,
            inner,
        )
        | st.builds(
            lambda properties, closed: {
                "type": "object",
                "properties": properties,
                **({"additionalProperties": False} if closed else {}),
            },
            st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
            st.booleans(),
        )
    ),
    max_leaves=4,
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats(-9, 9, width=16)
    | st.sampled_from(["", "a", "b"]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2)
    ),
    max_leaves=4,
)


@given(SCHEMAS, VALUES)
def test_whatever_a_schema_lets_through_can_be_read_as_its_type(schema: Any, value: Any) -> None:
    if not Matcher(schema).admits(value, floats=True):
        return
    asked = compile_expression("dyn(x) == dyn(x)", {"x": from_schema(schema)})
    assert asked.holds({"x": value})


@given(VALUES)
def test_a_value_that_no_schema_of_its_type_lets_through_is_an_error(value: Any) -> None:
    for name in ("integer", "string", "boolean", "null", "array", "object"):
        schema = {"type": name}
        asked = compile_expression("dyn(x) == dyn(x)", {"x": from_schema(schema)})
        if Matcher(schema).admits(value, floats=True):
            assert asked.holds({"x": value})
        else:
            with pytest.raises(EvaluationError):
                asked.holds({"x": value})
