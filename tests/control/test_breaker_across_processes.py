"""A breaker is one for all processes: what they see of a tool together opens it for each."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from driving import Agent, told
from saferun.ledger import ControlEntry, parse
from saferun.store import Reader

POLICY = """
version: 1
name: careful
loops: off
tools:
  pay:
    effect: write
    args: {n: {type: integer}}
    breaker: {min_calls: 20, failure_rate: 0.5, open_for: 30s, probes: 2, successes: 3, lease: 60s}
  other: {effect: write, args: {n: {type: integer}}}
"""

BEGAN = 1_767_225_600_000_000
SECOND = 1_000_000
BROKEN = {"status": "error", "error": "OSError: gone"}


def pay(n: int = 0, tenant: str | None = "acme", tool: str = "pay") -> dict[str, Any]:
    about = {} if tenant is None else {"tenant": tenant}
    return {"tool": tool, "args": {"n": n}, "within": {"run_id": f"r-{tenant}", **about}}


def to_all(crew: list[Agent], at: int) -> None:
    for each in crew:
        each.does("now", at=at)


def opened(crew: list[Agent]) -> None:
    """Twenty calls have ended, ten of them failed, and no process saw more than five."""
    for number in range(20):
        one = crew[number % len(crew)]
        assert told(one.does("call", **pay(number), **(BROKEN if number % 2 else {}))) == "allow"
        one.does("flush")


def transitions(file: Path) -> list[tuple[str, str | None, str | None]]:
    with Reader(file) as reader:
        read = (parse(body).entry for _, body, _ in reader.rows())
        return [
            (each.event, each.value, each.tenant) for each in read if isinstance(each, ControlEntry)
        ]


@pytest.fixture
def crew(agent: Callable[..., Agent]) -> list[Agent]:
    return [agent(POLICY, at=BEGAN) for _ in range(4)]


def test_failures_split_over_processes_open_it_for_all_at_exactly_the_minimum(
    crew: list[Agent], file: Path
) -> None:
    for number in range(19):
        one = crew[number % 4]
        assert told(one.does("call", **pay(number), **BROKEN)) == "allow"
        one.does("flush")
    # The twentieth is a success, and it is what reaches the minimum.
    assert told(crew[3].does("call", **pay(19))) == "allow"
    crew[3].does("flush")
    for each in crew:
        answer = each.does("check", **pay())
        assert told(answer) == "deny by breaker"
        assert answer["reasons"][0]["error"] == "CircuitOpen"
        assert 24 * SECOND <= answer["frees_at"] - BEGAN <= 36 * SECOND
    assert transitions(file) == [("opened", "pay", "acme")]
    # Only that tool, and only for that tenant.
    for one, given in ((crew[0], pay(tenant="other")), (crew[1], pay(tool="other"))):
        assert told(one.does("call", **given)) == "allow"


def test_two_failures_in_three_open_it_though_never_three_come_in_a_row(crew: list[Agent]) -> None:
    """Whoever counts failures in a row never opens here."""
    for number in range(20):
        answer = crew[number % 4].does("call", **pay(number), **(BROKEN if number % 3 else {}))
        crew[number % 4].does("flush")
        assert told(answer) == "allow"
    assert {told(each.does("check", **pay())) for each in crew} == {"deny by breaker"}


@pytest.mark.parametrize("threads", [5])
def test_of_twenty_probes_at_once_exactly_as_many_as_allowed_get_through(
    crew: list[Agent], file: Path, threads: int
) -> None:
    opened(crew)
    to_all(crew, BEGAN + 40 * SECOND)
    for each in crew:
        each.asked("crowd", threads=threads, **pay())
    answers = [(one, answer) for one in crew for answer in one.answered()]
    assert len(answers) == 20
    through = [(one, answer) for one, answer in answers if answer["starts"]]
    assert len(through) == 2
    assert {told(answer) for _, answer in answers if not answer["starts"]} == {"deny by breaker"}
    # Until one has ended, nobody else gets through.
    assert {told(each.does("check", **pay())) for each in crew} == {"deny by breaker"}
    for one, answer in through:
        one.does("settle", seq=answer["seq"])
        one.does("flush")
    # The third success in a row closes it, whoever has it, and then all get through.
    assert transitions(file) == [("opened", "pay", "acme")]
    assert told(crew[0].does("call", **pay())) == "allow"
    crew[0].does("flush")
    assert transitions(file)[-1] == ("closed", "pay", "acme")
    for each in crew:
        each.asked("crowd", threads=threads, **pay())
    assert sum(answer["starts"] for one in crew for answer in one.answered()) == 20


def test_a_failure_of_one_probe_opens_again_for_all_and_for_longer(crew: list[Agent]) -> None:
    opened(crew)
    first = crew[0].does("check", **pay())["frees_at"] - BEGAN
    at = BEGAN + 40 * SECOND
    to_all(crew, at)
    probes = [one.does("check", **pay()) for one in crew[:2]]
    assert all(each["starts"] for each in probes)
    crew[0].does("settle", seq=probes[0]["seq"], **BROKEN)
    crew[0].does("flush")
    again = crew[3].does("check", **pay())
    assert told(again) == "deny by breaker"
    assert 48 * SECOND <= again["frees_at"] - at <= 72 * SECOND > first
    # The other probe ends well, and decides nothing any more.
    crew[1].does("settle", seq=probes[1]["seq"])
    crew[1].does("flush")
    assert crew[2].does("check", **pay())["frees_at"] == again["frees_at"]


def test_the_place_of_a_probe_that_was_killed_is_free_again_after_its_lease(
    crew: list[Agent], agent: Callable[..., Agent]
) -> None:
    opened(crew)
    at = BEGAN + 40 * SECOND
    to_all(crew, at)
    for one in crew[:2]:
        assert one.does("check", **pay())["starts"]
        one.kill()
    left = [crew[2], agent(POLICY, at=at)]
    assert left[1].recovered == 2
    for each in left:
        answer = each.does("check", **pay())
        assert (told(answer), answer["frees_at"]) == ("deny by breaker", at + 60 * SECOND)
    to_all(left, at + 60 * SECOND - 1)
    assert told(left[0].does("check", **pay())) == "deny by breaker"
    to_all(left, at + 60 * SECOND)
    for each in left:
        each.asked("crowd", threads=5, **pay())
    assert sum(answer["starts"] for one in left for answer in one.answered()) == 2


def test_a_probe_that_never_started_gives_its_place_back_at_once(crew: list[Agent]) -> None:
    opened(crew)
    to_all(crew, BEGAN + 40 * SECOND)
    for status in ("not_started", "cancelled") * 3:
        probes = [one.does("check", **pay()) for one in crew[:3]]
        assert [each["starts"] for each in probes] == [True, True, False]
        for one, probe in zip(crew[:2], probes, strict=False):
            one.does("settle", seq=probe["seq"], status=status)
            one.does("flush")


def test_what_was_let_through_before_the_opening_has_no_say_in_the_trial(
    crew: list[Agent], file: Path
) -> None:
    late = [crew[3].does("check", **pay()) for _ in range(6)]
    opened(crew)
    to_all(crew, BEGAN + 40 * SECOND)
    probe = crew[0].does("check", **pay())
    for each in late:
        crew[3].does("settle", seq=each["seq"])
    crew[3].does("flush")
    assert transitions(file) == [("opened", "pay", "acme")]
    for each in (crew[1], crew[2]):
        each.asked("crowd", threads=4, **pay())
    assert sum(answer["starts"] for one in crew[1:3] for answer in one.answered()) == 1
    crew[0].does("settle", seq=probe["seq"], **BROKEN)
    crew[0].does("flush")
    assert transitions(file)[-1] == ("opened", "pay", "acme")


def test_calls_that_die_with_their_process_neither_open_nor_close(
    crew: list[Agent], agent: Callable[..., Agent], file: Path
) -> None:
    """Nobody knows whether they failed."""
    for number in range(30):
        assert crew[0].does("check", **pay(number))["starts"]
    crew[0].kill()
    assert agent(POLICY, at=BEGAN).recovered == 30
    assert told(crew[1].does("call", **pay())) == "allow"
    assert transitions(file) == []


def test_nothing_of_a_policy_is_needed_for_a_breaker(agent: Callable[..., Agent]) -> None:
    crew = [agent("", at=BEGAN), agent("", at=BEGAN)]

    def call(number: int, one: Agent) -> str:
        # A run for each: one run alone would be told that it goes in circles.
        given = {"tool": "pay", "args": {"n": 1}, "within": {"run_id": f"r-{number}"}}
        answer = told(one.does("call", **given, **BROKEN))
        one.does("flush")
        return answer

    assert [call(number, crew[number % 2]) for number in range(20)] == ["allow"] * 20
    assert [call(20 + number, each) for number, each in enumerate(crew)] == ["deny by breaker"] * 2
