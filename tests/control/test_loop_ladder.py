"""The ladder: told, denied, asked about, and in the end the run is stopped."""

from control.looping import SECOND, Running, signed


def looping(**settings: int) -> Running:
    running = Running(**settings)
    running.made("search", "page", times=6)
    return running


def test_three_denials_then_two_asks_then_the_run_is_stopped() -> None:
    running = looping()
    rungs = [running.refused("search") for _ in range(7)]
    assert rungs == ["deny", "deny", "deny", "ask", "ask", "stop", "stop"]


def test_the_steps_of_the_ladder_are_settings() -> None:
    running = looping(denials=1, asks=1)
    assert [running.refused("search") for _ in range(3)] == ["deny", "ask", "stop"]
    running = looping(denials=0, asks=0)
    assert running.refused("search") == "stop"


def test_the_model_is_told_that_the_run_is_stopped_and_only_then() -> None:
    running = looping()
    messages = []
    for _ in range(6):
        running.now += SECOND
        found = running.asked("search")
        assert found is not None
        messages.append((found.step, found.message))
        running.trail.refused(signed("search"), running.now)
    stopped = " This run is stopped now; a person has to resume it."
    assert {step for step, said in messages if said.endswith(stopped)} == {"stop"}
    assert messages[5][1] == messages[0][1] + stopped


def test_the_ladder_is_of_the_run_and_not_of_a_call() -> None:
    running = looping()
    running.made("list", [1])
    running.made("search", "page", times=6)
    running.made("list", [1], times=6)
    assert [running.refused(tool) for tool in ("search", "list", "search", "list")] == [
        "deny",
        "deny",
        "deny",
        "ask",
    ]


def test_a_refusal_does_not_reset_a_streak() -> None:
    running = looping()
    for _ in range(3):
        running.refused("search")
    running.now += SECOND
    found = running.asked("search")
    assert found is not None
    assert (found.signal, found.count) == ("same_result", 6)


def test_whoever_asks_again_after_a_refusal_has_not_waited() -> None:
    running = looping()
    for _ in range(3):
        running.now += 3 * SECOND
        assert running.refused("search") == "deny"
    running.now += 5 * SECOND
    found = running.asked("search")
    assert found is not None
    assert found.step == "nudge"


def going_round(tools: str, rounds: int = 3, **settings: int) -> Running:
    running = Running(**settings)
    for tool in tools * rounds:
        running.made(tool, f"page of {tool}")
    return running


def test_a_refusal_does_not_end_a_round() -> None:
    running = going_round("ab")
    rungs = [running.refused("ab"[number % 2]) for number in range(7)]
    assert rungs == ["deny", "deny", "deny", "ask", "ask", "stop", "stop"]
    running = going_round("abcdefgh")
    assert [running.refused(tool) for tool in "abcdef"][-1] == "stop"


def test_a_round_stands_whichever_of_its_calls_comes_next() -> None:
    running = going_round("abc")
    assert [running.refused(tool) for tool in "aacb"] == ["deny", "deny", "deny", "ask"]


def test_rounds_that_were_refused_are_not_counted_as_made() -> None:
    running = going_round("ab")
    for number in range(5):
        running.refused("ab"[number % 2])
    found = running.asked("b")
    assert found is not None
    assert (found.signal, found.count) == ("cycle", 3)


def test_a_round_stands_at_the_pace_of_the_run_and_not_of_what_is_let_through() -> None:
    running = Running()
    for tool in "ababab":
        running.made(tool, "page", after=4)
    rungs = [running.refused("ab"[number % 2], after=4) for number in range(6)]
    assert rungs == ["deny", "deny", "deny", "ask", "ask", "stop"]


def test_other_work_in_between_ends_a_round() -> None:
    running = going_round("ab")
    running.refused("a")
    running.made("c", "page of c")
    assert running.asked("a") is None
    assert running.asked("b") is None


def test_another_outcome_of_one_of_its_calls_ends_a_round() -> None:
    running = going_round("ab")
    running.refused("a")
    # Its tool may be held to no rounds.
    running.made("b", "page of b")
    assert running.refused("a") == "deny"
    running.made("b", "another page")
    assert running.asked("a") is None


def test_a_message_of_the_user_and_a_yes_end_a_round() -> None:
    running = going_round("ab")
    running.refused("a")
    running.trail.told(running.now)
    assert running.asked("a") is None
    running = going_round("ab")
    running.refused("a")
    running.trail.answered(signed("a"))
    found = running.asked("b")
    assert found is not None
    assert (found.step, found.signal) == ("nudge", "same_result")


def test_a_refused_call_is_no_call_between() -> None:
    running = Running()
    running.made("fetch", error="OSError: 1", times=4)
    running.trail.refused(signed("other"), running.now)
    found = running.asked("fetch")
    assert found is not None
    assert found.signal == "retries"


def test_twenty_new_things_forgive_earlier_refusals() -> None:
    running = looping()
    for _ in range(3):
        running.refused("search")
    for number in range(19):
        running.made("get", number, key=number)
    running.made("search", "page", times=6)
    assert running.refused("search") == "ask"
    for number in range(20, 40):
        running.made("get", number, key=number)
    running.made("search", "page", times=6)
    assert running.refused("search") == "deny"


def test_calls_that_are_made_at_once_are_refused_as_one() -> None:
    running = Running(effect="read")
    for number in range(12):
        running.made("search", [], query=f"refund policy v{number}")
    for number in range(8):
        # The model has not read the first refusal when it makes the eighth of these.
        running.trail.refused(signed("search", query=f"refund {number}"), running.now + number)
    assert running.refused("search", query="refund policy") == "deny"


def test_what_is_refused_at_once_is_on_the_same_rung() -> None:
    running = Running(effect="read", denials=1, asks=1)
    for number in range(12):
        running.made("search", [], query=f"refund policy v{number}")
    rungs = []
    for turn in range(3):
        running.now += SECOND
        rungs += [running.refused("search", after=0, query=f"refund {turn} {n}") for n in range(8)]
    assert rungs == ["deny"] * 8 + ["ask"] * 8 + ["stop"] * 8


def refusals_until_stopped(running: Running, after: float, *queries: str) -> int:
    """How many refusals it takes, of searches made one after the other without any rest."""
    for number in range(1000):
        query = queries[number % len(queries)]
        if running.refused("search", after=after, query=query) == "stop":
            return number
    raise AssertionError


def test_a_loop_is_stopped_however_fast_it_is() -> None:
    for after in (0, 0.001, 0.02, 0.049):
        running = Running(effect="read")
        for number in range(12):
            running.made("search", [], query=f"refund policy v{number}")
        queries = [f"refund {number}" for number in range(1000)]
        assert refusals_until_stopped(running, after, *queries) <= 5 * 16
        running = going_round("ab")
        rungs = [running.refused("ab"[number % 2], after=after) for number in range(11)]
        assert rungs[-1] == "stop"


def test_the_same_call_again_is_never_refused_as_one() -> None:
    running = looping()
    for _ in range(3):
        running.trail.refused(signed("search"), running.now)
    assert running.refused("search") == "ask"


def test_a_message_of_the_user_puts_the_run_at_the_foot_of_the_ladder() -> None:
    running = looping()
    for _ in range(5):
        running.refused("search")
    running.trail.told(running.now)
    assert running.asked("search") is None
    running.made("search", "page", times=6)
    assert running.refused("search") == "deny"


def test_a_person_who_approves_lets_the_streak_start_over() -> None:
    running = looping()
    for _ in range(4):
        running.refused("search")
    running.trail.answered(signed("search"))
    assert running.asked("search") is None
    running.made("search", "page", times=6)
    assert running.refused("search") == "deny"


def test_a_person_who_approves_one_call_has_not_approved_another() -> None:
    running = looping()
    running.made("list", [1])
    running.made("search", "page", times=6)
    running.made("list", [1], times=6)
    running.trail.answered(signed("search"))
    assert running.asked("search") is None
    found = running.asked("list")
    assert found is not None
    assert found.step == "deny"


def test_a_person_who_approves_lets_the_lifetime_of_that_call_start_over() -> None:
    running = Running()
    for call in ("read_inbox", "read_news"):
        for number in range(40):
            running.made(call, "nothing new", of="today")
            running.made("think", "ok", thought=f"{call} {number}")
    running.trail.answered(signed("read_inbox", of="today"))
    running.made("read_inbox", "nothing new", of="today")
    assert running.asked("read_inbox", of="today") is None
    found = running.asked("read_news", of="today")
    assert found is not None
    assert found.signal == "lifetime"
