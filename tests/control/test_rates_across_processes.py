"""Rates and windows over processes whose clocks are hours apart: time never goes back."""

import random
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import pytest

from driving import Agent, told
from saferun.ledger import read
from saferun.store import Reader

POLICY = """
version: 1
name: paced
loops: off
breaker: off
tools:
  pace: {effect: read, args: {}, limits: [{id: r, rate: 7/min, burst: 3, per: tenant}]}
  hour: {effect: read, args: {}, limits: [{id: w, max: 5, per: tenant, window: 1h}]}
"""

BEGAN = 1_767_225_600_000_000
SECOND = 1_000_000
HOUR = 3_600 * SECOND
MINUTE = 60 * SECOND


def call(one: Agent, tool: str, tenant: str, at: int) -> dict[str, object]:
    """One call by an agent whose host says that it is `at`."""
    one.does("now", at=at)
    within = {"run_id": f"r-{tenant}", "tenant": tenant}
    answer: dict[str, object] = one.does("call", tool=tool, args={}, within=within)
    one.does("flush")
    return answer


class Exact:
    """The rate of the policy as its definition has it: GCRA in fractions of a microsecond."""

    STEP = Fraction(MINUTE, 7)

    def __init__(self) -> None:
        self.due = Fraction(0)

    def admits(self, now: int) -> bool:
        if self.due - 2 * self.STEP > now:
            return False
        self.due = max(self.due, Fraction(now)) + self.STEP
        return True


def times(file: Path) -> list[int]:
    with Reader(file) as reader:
        return [read(body).time for _, body, _ in reader.rows()]


def clocks(
    crew: Sequence[Agent], file: Path, chance: random.Random, tenant: str, calls: int
) -> tuple[int, int]:
    """Calls by hosts whose clocks are hours apart: how many were let through, and over how long.

    Each is let through exactly if the model does so at the time that the ledger has it.
    """
    exact = Exact()
    truth = times(file)[-1] + 2 * HOUR
    hosts = [chance.randrange(-HOUR, HOUR) for _ in crew]
    through, first = 0, 0
    for _ in range(calls):
        truth += chance.choice([0, 0, 1, SECOND, 5 * SECOND, chance.randrange(20 * SECOND)])
        which = chance.randrange(len(crew))
        if chance.random() < 0.1:
            # Somebody sets a clock.
            hosts[which] = chance.randrange(-HOUR, HOUR)
        answer = call(crew[which], "pace", tenant, truth + hosts[which])
        with Reader(file) as reader:
            [body] = reader.bodies([int(str(answer["seq"]))])
        now = read(body).time
        first = first or now
        assert (told(answer) == "allow") == exact.admits(now)
        through += told(answer) == "allow"
    written = times(file)
    assert written == sorted(written)
    return through, written[-1] - first


@pytest.fixture
def crew(agent: Callable[..., Agent]) -> list[Agent]:
    return [agent(POLICY, at=BEGAN) for _ in range(2)]


def test_a_rate_is_exact_over_two_hosts_whose_clocks_are_hours_apart(
    crew: list[Agent], file: Path
) -> None:
    through, lasted = clocks(crew, file, random.Random(2), "acme", 150)
    assert 10 < through <= 3 + Fraction(lasted * 7, MINUTE)


@pytest.mark.soak
def test_rates_are_exact_whatever_the_clocks_say(crew: list[Agent], file: Path) -> None:
    for number in range(60):
        clocks(crew, file, random.Random(), f"t{number}", 150)


def test_a_host_that_is_an_hour_behind_gets_nothing_more(crew: list[Agent], file: Path) -> None:
    ahead, behind = crew
    now = BEGAN + 10 * HOUR
    assert [told(call(ahead, "pace", "t", now + HOUR)) for _ in range(3)] == ["allow"] * 3
    # To the one behind it is as late as the ledger has it, for two hours of its own.
    for minutes in (0, 30, 60, 119):
        assert told(call(behind, "pace", "t", now - HOUR + minutes * MINUTE)) == "deny by limit"
    # And once its clock says so, the next one falls due on the microsecond.
    due = now + HOUR + -(-MINUTE // 7)
    assert told(call(behind, "pace", "t", due - 1)) == "deny by limit"
    assert told(call(behind, "pace", "t", due)) == "allow"
    assert told(call(ahead, "pace", "t", due)) == "deny by limit"


def test_a_clock_that_is_put_back_opens_no_window_anew(crew: list[Agent], file: Path) -> None:
    one, two = crew
    now = BEGAN + 10 * HOUR
    assert [told(call(one, "hour", "t", now)) for _ in range(5)] == ["allow"] * 5
    for each in crew:
        for shift in (-HOUR, -24 * HOUR, 0, HOUR - 1):
            assert told(call(each, "hour", "t", now + shift)) == "deny by limit"
    # A slice of the window, a minute, is how much longer it may last.
    assert told(call(two, "hour", "t", now + HOUR + 2 * MINUTE)) == "allow"


def test_a_burst_is_one_for_two_processes_of_many_threads(crew: list[Agent]) -> None:
    within = {"run_id": "r", "tenant": "crowded"}
    for tool, most in (("pace", 3), ("hour", 5)):
        for one in crew:
            one.asked("crowd", threads=16, tool=tool, args={}, within=within)
        assert sum(each["starts"] for one in crew for each in one.answered()) == most


def test_what_is_denied_says_when_it_is_free_by_the_time_of_the_ledger(
    crew: list[Agent], file: Path
) -> None:
    ahead, behind = crew
    now = BEGAN + 10 * HOUR
    for _ in range(3):
        call(ahead, "pace", "t", now)
    answer = call(behind, "pace", "t", now - HOUR)
    assert answer["frees_at"] == now + -(-MINUTE // 7)
    assert times(file)[-1] == now
