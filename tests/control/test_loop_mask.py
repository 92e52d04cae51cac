"""What makes two calls or two results differ, and what does not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.looping import echoed, signed
from saferun.control.loop import mask

SAME_CALLS = [
    ({"id": 1, "request_id": "a"}, {"id": 1, "request_id": "b"}),
    ({"id": 1, "requestId": "a"}, {"id": 1, "requestId": 'b "quoted"'}),
    ({"id": 1, "idempotency_key": "a"}, {"id": 1, "idempotency_key": "b"}),
    ({"id": 1, "attempt": 1}, {"id": 1, "attempt": 2}),
    ({"id": 1, "retry_count": 1}, {"id": 1, "retry_count": 12}),
    ({"timestamp": 1741000000}, {"timestamp": 1741000007}),
    ({"ts": 1741000000.25}, {"ts": 1741000007.5}),
    ({"at": "2025-03-03T09:00:07Z"}, {"at": "2025-03-03T09:01:12.5+01:00"}),
    ({"url": "http://x/?a=1&_=12"}, {"url": "http://x/?a=1&_=13"}),
    ({"cmd": "ls", "explanation": "Look."}, {"cmd": "ls", "explanation": "Look again."}),
]

OTHER_CALLS = [
    ({"id": 1}, {"id": 2}),
    ({"user_id": "u-1"}, {"user_id": "u-2"}),
    (
        {"order": "d3b07384-d113-4ec6-a7b5-0f0a2e7e8e3b"},
        {"order": "c157a79031e1c40f85931829bc5fc552"},
    ),
    ({"account": 1741000000}, {"account": 1741000007}),
    ({"day": "2025-03-03"}, {"day": "2025-03-04"}),
    ({"hour": "2025-03-03T09:00:00Z"}, {"hour": "2025-03-03T10:00:00Z"}),
    ({"thought": "a"}, {"thought": "b"}),
    ({"page": 1}, {"page": 2}),
    ({"cursor": "abc"}, {"cursor": "abd"}),
    ({"seed": 1}, {"seed": 2}),
    ({"url": "http://x/?page=1"}, {"url": "http://x/?page=2"}),
]

SAME_RESULTS = [
    ("2 failed in 0.31s", "2 failed in 12.07s"),
    ("Mon Mar  3 09:00:07 UTC 2025", "Mon Mar  3 09:02:11 UTC 2025"),
    ({"n": 1, "updated_at": 1741000000}, {"n": 1, "updated_at": 1741000009}),
    ({"n": 1, "elapsed_ms": 12}, {"n": 1, "elapsed_ms": 9.5}),
    ({"n": 1, "trace_id": "a"}, {"n": 1, "trace_id": "b"}),
    ("<a at 0x7f00ab12cd>", "<a at 0x7f00ab12ff>"),
    ("wrote /tmp/tmpabc/x", "wrote /tmp/tmpabd/x"),
    ("pid 12 is running", "pid 34 is running"),
    ("12:00 is 2025-03-03T09:00:07", "12:00 is 2025-03-03T09:00:08"),
]

OTHER_RESULTS = [
    ("2 failed in 0.31s", "1 failed in 0.31s"),
    ({"percent": 10}, {"percent": 11}),
    (
        {"id": "d3b07384-d113-4ec6-a7b5-0f0a2e7e8e3b"},
        {"id": "c157a790-31e1-c40f-8593-1829bc5fc552"},
    ),
    ("5 minutes left", "4 minutes left"),
    ({"price": 100.25}, {"price": 100.5}),
    ("11:22:33:44:55:66", "11:22:33:44:55:67"),
    ("ok", None),
]


@pytest.mark.parametrize(("one", "two"), SAME_CALLS)
def test_what_belongs_to_the_attempt_is_no_difference(one: dict, two: dict) -> None:
    first, second = signed("t", **one), signed("t", **two)
    assert first.masked == second.masked
    assert first.exact != second.exact


@pytest.mark.parametrize(("one", "two"), OTHER_CALLS)
def test_what_tells_one_thing_from_the_next_is_a_difference(one: dict, two: dict) -> None:
    assert signed("t", **one).masked != signed("t", **two).masked


def test_calls_of_two_tools_differ() -> None:
    assert signed("a", x=1).masked != signed("b", x=1).masked


@pytest.mark.parametrize(("one", "two"), SAME_RESULTS)
def test_when_and_how_long_is_no_difference_of_results(one: object, two: object) -> None:
    first, second = echoed(one), echoed(two)
    assert first.masked == second.masked
    assert first.exact != second.exact


@pytest.mark.parametrize(("one", "two"), OTHER_RESULTS)
def test_progress_is_a_difference_of_results(one: object, two: object) -> None:
    assert echoed(one).masked != echoed(two).masked


def test_both_ends_of_a_long_result_are_masked_and_what_lies_between_is_compared() -> None:
    page = "lorem ipsum " * 2_000
    one = echoed(f"09:00:07 {page} done in 0.31s")
    assert one.masked == echoed(f"09:00:08 {page} done in 0.35s").masked
    assert one.masked != echoed(f"09:00:07 {page}x{page} done in 0.31s").masked
    middle = echoed(f"{page} 09:00:07 {page}")
    assert middle.masked != echoed(f"{page} 09:00:08 {page}").masked


def test_masking_looks_at_a_bounded_part_of_what_is_hostile() -> None:
    hostile = b'{"a":"' + b'\\"nonce\\":\\"' * 500_000 + b'"}'
    assert len(mask.arguments(hostile)) > len(hostile) - 2 * mask.END
    assert len(mask.result(hostile)) > len(hostile) - 2 * mask.END


def test_a_sign_marks_the_words_of_a_question_and_not_its_ids() -> None:
    assert signed("t", query="refunds").words == signed("t", query="Refunded!").words != b""
    assert signed("t", topic="about A-17 or a@b.test").words == signed("t", topic="about it").words
    assert signed("t", order_id="A-17", email="dana@acme.test", region="emea").words == b""
    assert len(signed("t", query="one two three four five six seven eight").words) == 8


FRAGMENTS = st.sampled_from(
    [
        *('"request_id":', '"traceId":', '"span-id":', '"correlation_id":', '"invocation_id":'),
        *('"tool_call_id":', '"callId":', '"X-Request-Id":', '"idempotencyKey":', '"nonce":'),
        *('"etag":', '"eTag":', '"attempts":', '"retry_no":', '"timestamp":', '"ts":', '"now":'),
        *('"sentAt":', '"updated_at":', '"elapsed":', '"duration":', '"latency":', '"uptime":'),
        *('"took":', '"response_time":', '"wait_ms":', '"idle_seconds":', '"idle_secs":'),
        *('"x-1"', "1714000000", "1714000000123", "12", "1.5", "2026-05-04", "T", "Z", " PM"),
        *("09:05:33", "9:05:33", ":00", ".250", "?ts=", "&nonce=", "X-Request-ID: ", "?cb="),
        *("took ", " in ", " after ", " for ", "Elapsed: ", "duration ", " ms", " s", "seconds"),
        *("Request ID: ", "trace id=", "pid ", "0xdeadbeef", "/tmp/x-1", "abc", '"', ",", " "),
    ]
)


@given(st.lists(FRAGMENTS, max_size=12).map("".join))
def test_what_is_passed_over_at_a_glance_has_nothing_in_it_that_is_masked(text: str) -> None:
    data = text.encode()
    assert mask.result(data) == mask._RESULTS.sub(b"~", data)
    assert mask._masked(mask._ARGUMENTS, data, mask._may_vary) == mask._ARGUMENTS.sub(b"~", data)
