"""What came of a call: what is empty, what is an error, and what may pass."""

import pytest

from control.looping import digest, echoed
from saferun.control.loop import echo

EMPTY = [
    None,
    "",
    [],
    {},
    {"items": []},
    {"results": [], "total": 0},
    {"data": {"rows": [], "next": None}},
    "No results found for your query.",
    "0 matches",
    "nothing found",
    {"text": "No matching documents."},
    "None",
]

FULL = [
    0,
    False,
    "ok",
    "0",
    {"total": 3},
    {"suppressed": False},
    {"errors": []},
    {"total": 0.5},
    {"items": [], "total": 10},
    {"flags": [], "note": ""},
    {"exit_code": 0, "stdout": ""},
    ["a"],
    {"items": [0]},
    "No problem: the order is on its way.",
    "Notes found in the attic",
    "x" * 5_000,
]


@pytest.mark.parametrize("result", EMPTY)
def test_a_result_that_holds_nothing_is_empty(result: object) -> None:
    assert echoed(result).empty


@pytest.mark.parametrize("result", FULL)
def test_a_result_that_says_something_is_not_empty(result: object) -> None:
    assert not echoed(result).empty


def test_none_and_an_empty_text_are_silence_and_an_empty_list_is_an_answer() -> None:
    assert echoed(None).silent
    assert echoed("").silent
    assert echoed({}).silent
    assert not echoed([]).silent
    assert echo("ok", None, None, digest) == echoed(None)


@pytest.mark.parametrize(
    "result",
    [
        "Error: no such user",
        "ERROR: Invalid tool get_list provided.",
        "ValueError: no such user",
        {"error": "no such user"},
        {"success": False, "reason": "locked"},
        {"content": [{"type": "text", "text": "no"}], "isError": True},
    ],
)
def test_an_error_that_is_handed_back_as_a_result_is_an_error(result: object) -> None:
    assert echoed(result).failed


@pytest.mark.parametrize(
    "result",
    [{"error": None, "data": 1}, {"errors": []}, "Errors were found by nobody", {"success": True}],
)
def test_a_result_that_only_speaks_of_errors_is_none(result: object) -> None:
    assert not echoed(result).failed


@pytest.mark.parametrize(
    "error",
    [
        "TimeoutError: timed out",
        "ReadTimeout: ",
        "ConnectionResetError: [Errno 104] Connection reset by peer",
        "HTTPStatusError: Server error '503 Service Unavailable' for url 'https://a.test'",
        "HTTPError: status 502",
        "RateLimitError: Error code: 429 - slow down",
        "OperationalError: database is locked",
        "ServerOverloadedError: overloaded",
    ],
)
def test_an_error_of_a_kind_that_passes_is_transient(error: str) -> None:
    assert echoed(error=error).transient


@pytest.mark.parametrize(
    "error",
    [
        "KeyError: 'A-503'",
        "ValueError: amount must be below 500",
        "PermissionError: denied",
        "HTTPError: status 404",
        "ValidationError: line 502 is too long",
    ],
)
def test_an_error_that_stays_is_not_transient(error: str) -> None:
    assert not echoed(error=error).transient


def test_a_timeout_is_an_error_that_may_pass_whatever_it_says() -> None:
    came = echo("timeout", None, None, digest)
    assert came.failed
    assert came.transient


@pytest.mark.parametrize(
    "error", [None, "OverdueError: refund ran out of its time", "ConnectionError: reset"]
)
def test_what_may_have_happened_has_failed_and_does_not_pass_by_itself(error: str | None) -> None:
    came = echo("unknown", None, error, digest)
    assert came.known
    assert came.failed
    assert not came.transient


@pytest.mark.parametrize("status", ["cancelled", "not_started"])
def test_what_was_cancelled_or_never_began_came_to_nothing(status: str) -> None:
    came = echo(status, None, None, digest)
    assert not came.known
    assert not came.failed


def test_an_echo_holds_no_text_of_what_came() -> None:
    came = echoed("a secret page")
    assert {type(getattr(came, name)) for name in came.__struct_fields__} == {str, bytes, bool}
    assert (len(came.exact), len(came.masked)) == (16, 16)


def test_hostile_results_are_looked_at_in_bounded_time() -> None:
    for hostile in (b"[" * 500 + b"]" * 500, b'"":' * 300, b'{"":{"":' * 100, b'"' * 1000):
        assert isinstance(echo("ok", hostile, None, digest).empty, bool)
    assert echo("error", None, "time" * 1_000_000, digest).failed
