"""Spans, from documents of OTLP in JSON: whole ones (`resourceSpans`), or one resource's.

https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding. Numbers of 64 bits may be
strings, ids are taken as they are, and what is not known is passed over.
"""

import math
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from saferun import convention as names

MAX_SPANS = 200_000
"""Spans of one file: all of them are held, since those of one run may stand anywhere in it."""

MAX_ATTRIBUTES = 20_000
"""Attributes of one span. OpenInference writes several for each message of a conversation."""

_MAX_ID = 64

_KEPT = (
    *("gen_ai.", "openinference.", "llm.", "input.", "output.", "tool.", "tool_call."),
    *("session.", "user.", "enduser.", "agent.", "saferun.", "error."),
)
_BEGINS = re.compile(rb'\s*\{\s*"(resourceSpans|scopeSpans|resource|schemaUrl)"')
_NUMBER = re.compile(r"-?[0-9]{1,20}")


class OtlpError(ValueError):
    """What is wrong with a document, as the rest of a sentence."""


class Span(msgspec.Struct, frozen=True):
    """One span: times are in nanoseconds since 1970, and `line` is where its document begins."""

    line: int
    trace: str
    id: str
    parent: str | None
    name: str
    start: int
    end: int
    attributes: dict[str, Any]
    failed: bool


class _Value(msgspec.Struct, rename="camel"):
    string_value: str | None = None
    bool_value: bool | None = None
    int_value: int | str | None = None
    double_value: float | str | None = None
    array_value: "_Array | None" = None
    kvlist_value: "_Pairs | None" = None
    bytes_value: str | None = None


class _Array(msgspec.Struct):
    values: list[_Value] = []


class _Pair(msgspec.Struct):
    key: str
    value: _Value | None = None


class _Pairs(msgspec.Struct):
    values: list[_Pair] = []


class _Event(msgspec.Struct):
    attributes: list[_Pair] = []


class _Status(msgspec.Struct):
    code: int | str = 0


class _Span(msgspec.Struct, rename="camel"):
    trace_id: str
    span_id: str
    parent_span_id: str | None = None
    name: str = ""
    start_time_unix_nano: int | str = 0
    end_time_unix_nano: int | str = 0
    attributes: list[_Pair] = []
    events: list[_Event] = []
    status: _Status | None = None


class _Scope(msgspec.Struct):
    spans: list[_Span] = []


class _Resource(msgspec.Struct, rename="camel"):
    scope_spans: list[_Scope] = []


class _Document(msgspec.Struct, rename="camel"):
    resource_spans: list[_Resource] | None = None
    scope_spans: list[_Scope] | None = None


_DOCUMENTS = msgspec.json.Decoder(_Document)
_KEYS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def looks_like_spans(text: bytes) -> bool:
    """Whether a file that begins with this line holds spans: by what is in it, not by a name."""
    try:
        found = _KEYS.decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        # A document over several lines, which begins here.
        return _BEGINS.match(text) is not None or text.strip() == b"{"
    if "run_id" in found:
        return False
    return "resourceSpans" in found or "scopeSpans" in found


def spans_of(text: bytes, line: int) -> Iterator[Span]:
    """The spans of one document that begins at that line. Raises OtlpError."""
    try:
        document = _DOCUMENTS.decode(text)
    except (msgspec.MsgspecError, ValueError) as problem:
        raise OtlpError(f"this is no OTLP document: {str(problem).rstrip('.')[:200]}") from None
    except RecursionError:
        raise OtlpError("this is no OTLP document: it is nested too deeply") from None
    if document.resource_spans is None and document.scope_spans is None:
        raise OtlpError("this is no OTLP document: it has neither resourceSpans nor scopeSpans")
    scopes = [scope for each in document.resource_spans or () for scope in each.scope_spans]
    for scope in (*scopes, *(document.scope_spans or ())):
        for span in scope.spans:
            yield _span(span, line)


def _span(said: _Span, line: int) -> Span:
    for name, value in (("traceId", said.trace_id), ("spanId", said.span_id)):
        if not 0 < len(value) <= _MAX_ID:
            raise OtlpError(f"a span's {name} has no characters, or more than {_MAX_ID}")
    pairs = [*(pair for event in said.events for pair in event.attributes), *said.attributes]
    if len(pairs) > MAX_ATTRIBUTES:
        raise OtlpError(f"a span may have {MAX_ATTRIBUTES:,} attributes, and one has more")
    try:
        attributes = {pair.key: _plain(pair.value) for pair in pairs if pair.key.startswith(_KEPT)}
    except RecursionError:
        raise OtlpError("an attribute is nested too deeply") from None
    code = said.status.code if said.status is not None else 0
    return Span(
        line=line,
        trace=said.trace_id.lower(),
        id=said.span_id.lower(),
        parent=said.parent_span_id.lower() if said.parent_span_id else None,
        name=said.name,
        start=_number(said.start_time_unix_nano),
        end=_number(said.end_time_unix_nano),
        attributes=attributes,
        failed=code in (2, "2", "STATUS_CODE_ERROR") or names.ERROR in attributes,
    )


def _plain(value: _Value | None) -> Any:
    if value is None:
        return None
    if value.string_value is not None:
        return value.string_value
    if value.bool_value is not None:
        return value.bool_value
    if value.int_value is not None:
        return _number(value.int_value)
    if value.double_value is not None:
        return _finite(value.double_value)
    if value.array_value is not None:
        return [_plain(each) for each in value.array_value.values]
    if value.kvlist_value is not None:
        return {pair.key: _plain(pair.value) for pair in value.kvlist_value.values}
    return value.bytes_value


def _number(said: int | str) -> int:
    if isinstance(said, str) and _NUMBER.fullmatch(said) is None:
        raise OtlpError("a number of a span is none")
    return int(said)


def _finite(said: float | str) -> float | None:
    try:
        value = float(said)
    except ValueError:
        raise OtlpError("a number of a span is none") from None
    return value if math.isfinite(value) else None
