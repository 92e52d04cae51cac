"""Each signal: from where on it denies, what it does not count, and what resets it."""

import pytest

from control.looping import SECOND, Running, digest, echoed, signed
from saferun.control.loop import Echo, Loops, echo


def said(running: Running, tool: str, **args: object) -> tuple[str, str, int] | None:
    found = running.asked(tool, **args)
    return None if found is None else (found.step, found.signal, found.count)


def test_the_same_call_with_the_same_result_is_denied_after_six_and_told_after_three() -> None:
    running = Running()
    running.made("search", "page", q="x", times=2)
    assert said(running, "search", q="x") is None
    running.made("search", "page", q="x")
    assert said(running, "search", q="x") == ("nudge", "same_result", 3)
    running.made("search", "page", q="x", times=3)
    assert said(running, "search", q="x") == ("deny", "same_result", 6)


def test_repeats_that_wait_five_seconds_are_denied_after_twelve() -> None:
    running = Running()
    running.made("get_job", "running", after=5, times=11)
    running.now += 5 * SECOND
    assert said(running, "get_job") == ("nudge", "spaced_result", 11)
    running.made("get_job", "running", after=0)
    running.now += 5 * SECOND
    assert said(running, "get_job") == ("deny", "spaced_result", 12)


def test_known_calls_between_do_not_end_a_streak() -> None:
    running = Running()
    running.made("list", "a b c")
    running.made("help", "usage")
    for _ in range(6):
        running.made("search", "page", q="x")
        running.made("list", "a b c")
        running.made("help", "usage")
    assert said(running, "search", q="x") == ("deny", "same_result", 6)


def test_a_new_result_of_any_tool_ends_a_streak() -> None:
    running = Running()
    running.made("search", "page", q="x", times=6)
    running.made("next_mail", "mail 1")
    assert said(running, "search", q="x") is None


def test_a_new_call_that_returns_nothing_ends_a_streak() -> None:
    running = Running()
    running.made("run_tests", "2 failed", times=6)
    running.made("edit", None, line=7)
    assert said(running, "run_tests") is None


def test_a_new_search_that_finds_nothing_does_not_end_a_streak() -> None:
    running = Running()
    running.made("search", ["page"], q="a")
    for number in range(6):
        running.made("get_plan", "the plan")
        running.made("search", [], q=f"b{number}")
    assert said(running, "get_plan") == ("deny", "same_result", 6)


def test_a_call_that_fails_is_nothing_new() -> None:
    running = Running()
    running.made("search", "page", q="x", times=5)
    running.made("open", error="KeyError: no such page", id=4)
    running.made("search", "page", q="x")
    assert said(running, "search", q="x") == ("deny", "same_result", 6)


def test_the_same_error_is_denied_after_three_with_other_calls_between() -> None:
    running = Running()
    running.made("list", [1, 2])
    for _ in range(3):
        running.made("open", error="KeyError: no such page", id=4)
        running.made("list", [1, 2])
    assert said(running, "open", id=4) == ("deny", "same_error", 3)


def test_an_error_that_may_pass_is_denied_after_six_with_other_calls_between() -> None:
    running = Running()
    running.made("list", [1, 2])
    running.made("help", "usage")
    for number in range(6):
        running.made("fetch", error=f"HTTPError: status 50{number % 2 + 2}")
        running.made("list", [1, 2])
        running.made("help", "usage")
    assert said(running, "fetch") == ("deny", "transient_error", 6)


def test_a_call_that_may_have_happened_may_be_tried_again_three_times_and_no_more() -> None:
    running = Running()
    running.made("refund", status="unknown", error="OverdueError: out of time", order=1, times=4)
    assert said(running, "refund", order=1) == ("deny", "retries", 3)


def test_a_call_that_may_have_happened_is_denied_after_three_with_other_calls_between() -> None:
    running = Running()
    running.made("list", [1, 2])
    for number in range(3):
        running.made("refund", status="unknown", error=f"OverdueError: after {number}", order=1)
        running.made("list", [1, 2])
    assert said(running, "refund", order=1) == ("deny", "same_error", 3)


def test_a_call_whose_process_died_is_one_more_that_may_have_happened() -> None:
    running = Running()
    running.made("list", [1, 2])
    for number in range(3):
        running.made("list", [1, 2])
        running.trail.started(signed("refund", order=1), 90 + number, running.now)
        # What the ledger has of it: its process could say nothing.
        died = Echo(status="unknown", exact=b"", masked=b"")
        overdue = echoed(error="OverdueError: out of time", status="unknown")
        running.trail.ended(90 + number, died if number % 2 else overdue, running.now)
    running.made("list", [1, 2])
    assert said(running, "refund", order=1) == ("deny", "same_error", 3)


def test_a_round_of_calls_that_may_have_happened_is_a_cycle() -> None:
    running = Running(same_error=None)
    for _ in range(2):
        running.made("refund", status="unknown", order=1)
        running.made("refund", status="unknown", order=2)
    assert said(running, "refund", order=1) == ("nudge", "cycle", 2)


def test_a_batch_of_which_nothing_is_known_is_no_loop() -> None:
    """The process died with forty calls under way, and the run goes on in another."""
    running = Running()
    for number in range(40):
        running.made("refund", status="unknown", order=number)
    assert running.asked("refund", order=40) is None
    assert running.asked("refund", order=7) is None


def test_other_errors_of_a_call_are_not_the_same_error() -> None:
    running = Running()
    for number in range(5):
        running.made("open", error=f"KeyError: {number}", id=4)
        running.made("list", [1, 2])
    assert said(running, "open", id=4) is None


def test_a_correction_between_ends_the_errors() -> None:
    running = Running()
    for number in range(5):
        running.made("create", error="ValueError: not allowed", name="x")
        running.made("allow", None, step=number)
    assert said(running, "create", name="x") is None


def test_a_call_that_fails_may_be_tried_again_at_once_three_times_whatever_the_error() -> None:
    running = Running()
    for number in range(4):
        found = running.asked("fetch")
        assert found is None or found.step == "nudge"
        running.made("fetch", error=f"OSError: {number}")
    assert said(running, "fetch") == ("deny", "retries", 3)


def test_a_success_ends_the_retries() -> None:
    running = Running()
    running.made("fetch", error="OSError: 1", times=3)
    running.made("fetch", "page")
    running.made("fetch", error="OSError: 1", times=3)
    assert said(running, "fetch") == ("nudge", "retries", 2)


def test_without_a_cap_of_retries_the_errors_count_at_once_as_well() -> None:
    running = Running(retries=None)
    running.made("open", error="KeyError: no such page", times=3)
    assert said(running, "open") == ("deny", "same_error", 3)


def test_calls_that_differ_in_their_request_ids_are_denied_after_ten() -> None:
    running = Running()
    for number in range(10):
        assert said(running, "get", request_id=f"r{number}") in (
            None,
            ("nudge", "masked", number),
        )
        running.made("get", {"state": "open"}, request_id=f"r{number}")
    assert said(running, "get", request_id="r10") == ("deny", "masked", 10)


def test_results_that_differ_in_the_time_they_took_are_the_same() -> None:
    running = Running()
    for number in range(10):
        running.made("run_tests", f"2 failed in {number}.31s")
    assert said(running, "run_tests") == ("deny", "masked", 10)


def test_masked_repeats_that_wait_get_as_long_as_others_that_wait() -> None:
    running = Running()
    for number in range(11):
        running.made("get_job", {"elapsed": number}, after=6)
    running.now += 6 * SECOND
    assert said(running, "get_job") == ("nudge", "masked", 11)
    running.made("get_job", {"elapsed": 11}, after=0)
    running.now += 6 * SECOND
    assert said(running, "get_job") == ("deny", "masked", 12)


@pytest.mark.parametrize("period", range(2, 9))
def test_a_cycle_is_denied_after_three_rounds(period: int) -> None:
    running = Running()
    for _ in range(2):
        for number in range(period):
            running.made("get", f"value {number}", key=number)
    assert said(running, "get", key=0) == ("nudge", "cycle", 2)
    for number in range(period):
        running.made("get", f"value {number}", key=number)
    assert said(running, "get", key=0) == ("deny", "cycle", 3)
    assert running.asked("get", key="another") is None


def test_a_cycle_of_nine_is_left_to_the_streaks_of_its_calls() -> None:
    running = Running()
    for _ in range(7):  # the first round is new
        found = running.asked("get", key=0)
        assert found is None or found.step == "nudge"
        for number in range(9):
            running.made("get", f"value {number}", key=number)
    assert said(running, "get", key=0) == ("deny", "same_result", 6)


def test_one_call_whose_results_come_again_is_no_cycle() -> None:
    running = Running()
    for number in range(49):
        running.made("step", f"line {number % 3}")
    assert said(running, "step") == ("nudge", "changing", 49)


def test_rounds_that_wait_are_no_cycle() -> None:
    running = Running()
    running.made("sleep", None, seconds=10)
    for _ in range(11):
        running.made("get_job", "running", after=10)
        running.made("sleep", None, after=1, seconds=10)
    running.now += 10 * SECOND
    assert said(running, "get_job") == ("nudge", "spaced_result", 11)


def test_an_outage_is_no_cycle() -> None:
    running = Running()
    for _ in range(5):
        running.made("fetch", error="ConnectionError: reset", url="a")
        running.made("fetch", error="ConnectionError: reset", url="b")
    assert said(running, "fetch", url="a") == ("nudge", "transient_error", 5)


def test_twelve_searches_in_other_words_that_find_nothing_are_denied() -> None:
    running = Running(effect="read")
    for number in range(12):
        running.made("search", [], query=f"refund policy v{number}")
    assert said(running, "search", query="policy for refunds") == ("deny", "barren", 12)


def test_twelve_calls_that_fail_in_other_ways_are_denied() -> None:
    running = Running()
    for number in range(12):
        running.made("get_order", error=f"KeyError: {number}", order_id=f"A-{number}")
    assert said(running, "get_order", order_id="A-99") == ("deny", "barren", 12)


def test_an_outage_is_not_barren() -> None:
    running = Running()
    for number in range(30):
        running.made("get_order", error="HTTPError: status 503", order_id=f"A-{number}")
    assert running.asked("get_order", order_id="A-99") is None


def test_lookups_of_other_things_that_find_nothing_go_on_three_times_as_long() -> None:
    running = Running(effect="read")
    for number in range(36):
        found = running.asked("find", email=f"p{number}@acme.test")
        assert found is None or found.step == "nudge"
        running.made("find", [], email=f"p{number}@acme.test")
    assert said(running, "find", email="x@acme.test") == ("deny", "barren", 36)


def test_a_tool_that_always_returns_none_is_not_barren() -> None:
    running = Running()
    for number in range(60):
        running.made("close_order", None, text=f"close order number {number}")
    assert running.asked("close_order", text="close order number 99") is None


def test_emptiness_of_other_things_counts_in_a_tool_that_has_returned_something_before() -> None:
    running = Running()
    for number in range(50):
        running.made("find", [], email=f"p{number}@acme.test")
    assert running.asked("find", email="x@acme.test") is None
    running.made("find", ["dana"], email="dana@acme.test")
    for number in range(50, 86):
        running.made("find", [], email=f"p{number}@acme.test")
    assert said(running, "find", email="x@acme.test") == ("deny", "barren", 36)


def test_a_question_in_other_words_counts_in_every_tool() -> None:
    running = Running()
    for number in range(12):
        running.made("search", "No results found.", topic=f"refund policy v{number}")
    assert said(running, "search", topic="refund rules") == ("deny", "barren", 12)


def test_two_searches_in_turn_do_not_count_as_new_to_each_other() -> None:
    running = Running()
    for number in range(12):
        running.made("search_docs", [], query=f"refund policy v{number}")
        running.made("search_web", [], query=f"refund policy v{number}")
    assert said(running, "search_docs", query="refund rules") == ("deny", "barren", 12)


def test_what_is_judged_or_written_is_no_question() -> None:
    running = Running(effect="read")
    for number in range(30):
        running.made("moderate", {"flags": []}, text=f"comment {number} on the product")
        found = running.asked("moderate", text="another comment on the product")
        assert found is None or found.step == "nudge"


def test_a_batch_over_ids_with_the_same_ok_is_work() -> None:
    running = Running()
    for number in range(200):
        assert running.asked("close", order_id=f"A-{number}") is None
        running.made("close", "ok", order_id=f"A-{number}")


def test_something_new_ends_what_is_barren() -> None:
    running = Running(effect="read")
    for number in range(11):
        running.made("search", [], query=f"refund policy v{number}")
    running.made("search", ["page"], query="money back")
    assert running.asked("search", query="refund policy") is None


def test_the_same_outcome_is_denied_after_forty_in_a_run_whatever_is_new_between() -> None:
    running = Running()
    for number in range(40):
        found = running.asked("read_inbox")
        assert found is None or found.step == "nudge"
        running.made("read_inbox", ["mail 1"])
        running.made("think", "ok", thought=f"thought {number}")
    assert said(running, "read_inbox") == ("deny", "lifetime", 40)


def test_one_call_in_a_row_is_denied_after_fifty_whatever_its_results() -> None:
    running = Running()
    for number in range(50):
        running.made("next_ticket", {"number": number})
    assert said(running, "next_ticket") == ("deny", "changing", 50)
    running.made("help", "usage")
    assert running.asked("next_ticket") is None


def test_a_poller_may_see_the_same_for_an_hour() -> None:
    running = Running(poll=True)
    heard = [running.heard("get_job", "running", after=30) for _ in range(120)]
    assert [each for each in heard if each is not None] == [("poll_for", 1800 * SECOND)]
    running.now += 30 * SECOND
    assert said(running, "get_job") == ("deny", "poll_for", 3600 * SECOND)


def test_a_poller_may_find_nothing_for_as_long() -> None:
    running = Running(poll=True, effect="read")
    running.made("check_inbox", [], after=30, times=59)
    assert running.asked("check_inbox") is None


def test_a_poller_that_sees_a_change_starts_its_hour_anew() -> None:
    running = Running(poll=True)
    for percent in range(0, 100, 10):
        running.made("get_job", {"percent": percent}, after=60, times=29)
        found = running.asked("get_job")
        assert found is None


def test_a_poller_without_any_waiting_is_denied_after_ten_in_ten_seconds() -> None:
    running = Running(poll=True)
    running.made("get_job", "running", after=0.5, times=10)
    assert said(running, "get_job") == ("deny", "poll_burst", 10)
    running.now += 20 * SECOND
    assert running.asked("get_job") is None


def test_a_poller_of_what_does_not_exist_is_denied() -> None:
    running = Running(poll=True)
    running.made("get_job", error="KeyError: no job", after=30, times=3)
    assert said(running, "get_job") == ("deny", "same_error", 3)


def test_a_message_of_the_user_resets_all_but_the_lifetime() -> None:
    running = Running()
    running.made("get_balance", 12, times=39)
    running.trail.told(running.now)
    assert said(running, "get_balance") == ("nudge", "lifetime", 39)
    running.made("get_balance", 12)
    running.trail.told(running.now)
    assert said(running, "get_balance") == ("deny", "lifetime", 40)


def test_a_call_that_was_cancelled_or_never_began_is_neither_new_nor_a_repeat() -> None:
    running = Running()
    running.made("search", "page", q="x", times=6)
    known = signed("fetch", url="a")
    for number, status in enumerate(("cancelled", "not_started"), 90):
        running.trail.started(known, number, running.now)
        running.trail.ended(number, echo(status, None, None, digest), running.now)
    assert said(running, "search", q="x") == ("deny", "same_result", 6)


def test_an_end_without_a_start_is_passed_over() -> None:
    running = Running()
    before = running.asked("search")
    running.trail.ended(4711, echoed("page"), running.now)
    assert running.asked("search") == before


def test_a_signal_that_is_off_says_nothing() -> None:
    off = {name: None for name in Loops.__struct_fields__ if name not in ("denials", "asks")}
    running = Running(**off)
    running.made("search", "page", times=100)
    running.made("fetch", error="KeyError: x", times=100)
    assert running.asked("search") is None
    assert running.asked("fetch") is None


def test_a_retry_is_a_call_that_failed_the_last_time() -> None:
    running = Running()
    assert not running.trail.retried(signed("fetch"))
    running.made("fetch", error="OSError: 1")
    running.made("list", [])
    assert running.trail.retried(signed("fetch"))
    running.made("fetch", "page")
    assert not running.trail.retried(signed("fetch"))


def heard(running: Running, calls: int, tool: str, *results: object, **args: object) -> list:
    """After how many calls the model hears something, and what."""
    found = [
        (number, running.heard(tool, results[number % len(results)], **args))
        for number in range(calls)
    ]
    return [(number, *each) for number, each in found if each is not None]


def test_a_model_hears_of_a_repeat_half_way_and_at_the_last_call_before_the_denial() -> None:
    assert heard(Running(), 6, "search", "page") == [(3, "same_result", 3), (5, "same_result", 5)]
    assert heard(Running(), 50, "step", *range(7)) == [(25, "changing", 25), (49, "changing", 49)]
    assert heard(Running(same_result=4), 4, "search", "page") == [
        (2, "same_result", 2),
        (3, "same_result", 3),
    ]
    assert heard(Running(same_result=2), 2, "search", "page") == []


def test_a_model_that_seldom_comes_back_hears_the_same_only_twice() -> None:
    running = Running()
    found = []
    for number in range(40):
        found.append(running.heard("read_inbox", ["mail 1"]))
        running.made("think", "ok", thought=f"thought {number}")
    assert [each for each in found if each is not None] == [("lifetime", 20), ("lifetime", 39)]


def test_a_count_that_stands_still_is_told_once() -> None:
    running = Running()
    found = []
    for number in range(90):
        # Every third look finds what it has found most often, the others something new.
        found.append(running.heard("read_inbox", ["old"] if number % 3 == 0 else [number]))
        running.made("think", "ok", thought=f"thought {number}")
    assert [each for each in found if each is not None] == [("lifetime", 20)]


def test_what_a_tool_could_not_find_is_not_told_again_while_it_finds_what_is_known() -> None:
    running = Running(effect="read")
    running.made("search", ["page"], query="money back")
    for number in range(6):
        running.made("search", [], query=f"refund policy v{number}")
    assert running.heard("search", ["page"], query="money back") == ("barren", 6)
    assert running.heard("search", ["page"], query="money back") is None


def test_calls_that_are_made_at_once_hear_what_they_have_passed_together_once() -> None:
    running = Running()
    found = []
    for turn in range(3):
        running.now += SECOND
        for number in range(4 * turn, 4 * turn + 4):
            found.append(said(running, "search"))
            running.trail.started(signed("search"), number, running.now)
        for number in range(4 * turn, 4 * turn + 4):
            running.trail.ended(number, echoed("page"), running.now)
    told = [each for each in found if each is not None]
    assert told == [("nudge", "same_result", 4), *[("deny", "same_result", 8)] * 4]


@pytest.mark.parametrize("pace", [1.05, 1.2, 1.9, 2, 2.3])
def test_a_poller_that_keeps_its_pace_is_not_told_so_each_time(pace: float) -> None:
    running = Running(poll=True)
    found = [running.heard("get_job", "running", after=pace) for _ in range(600)]
    assert len([each for each in found if each is not None]) <= 2


def test_the_message_of_a_call_that_may_have_happened_says_that_it_may() -> None:
    running = Running()
    running.made("refund", status="unknown", error="OverdueError: out of time", times=4)
    found = running.asked("refund")
    assert found is not None
    assert found.message == (
        "refund has been tried again 3 times, and its outcome is unknown. "
        "It may have happened: find out before you call it again, or say that nobody knows."
    )
    running.made("refund", "done")
    running.made("refund", error="OSError: 1", times=3)
    found = running.asked("refund")
    assert found is not None
    assert "failed each time" in found.message


def test_the_message_of_what_is_barren_fits_what_fails_and_what_finds_nothing() -> None:
    failing, searching = Running(), Running(effect="read")
    for number in range(12):
        failing.made("close", error=f"KeyError: {number}", order=number)
        searching.made("close", [], query=f"refund policy v{number}")
    found = [failing.asked("close", order=99), searching.asked("close", query="refund policy")]
    said_of_both = (
        "close has failed or found nothing 12 times, without anything new in between. Other "
        "arguments have not helped: use another way, or say that it cannot be done or found."
    )
    assert [None if each is None else each.message for each in found] == [said_of_both] * 2


def test_the_message_says_what_was_repeated_and_not_with_what() -> None:
    running = Running()
    running.made("search", "the secret page", q="a secret", times=6)
    found = running.asked("search", q="a secret")
    assert found is not None
    assert found.message == (
        "search has been called 6 times with the same arguments and the same result. "
        "Use the result that you have, or do something else."
    )
