"""When places are gone to: a clock and an event that the tests hold, and no waiting."""

import threading
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saferun.anchor import Round, Schedule, follow
from saferun.anchor.rounds import LAST
from saferun.anchor.schedule import FIRST
from saferun.errors import StoreError
from saferun.store import Anchored


def test_at_the_beginning_every_place_is_due() -> None:
    schedule = Schedule(["a", "b"], 60)
    assert (schedule.due(1e6), schedule.wait(1e6)) == (["a", "b"], 0)


def test_a_place_that_went_well_is_due_again_after_as_long_as_it_should() -> None:
    schedule = Schedule(["a"], 60)
    schedule.heard(100, {"a": True})
    assert (schedule.due(159), schedule.wait(159)) == ([], 1)
    assert schedule.due(160) == ["a"]


def test_a_place_that_failed_is_due_sooner_and_the_others_are_not() -> None:
    schedule = Schedule(["a", "b"], 60, chance=lambda: 1.0)
    schedule.heard(100, {"a": True, "b": False})
    assert schedule.wait(100) == FIRST
    assert schedule.due(100 + FIRST) == ["b"]


def test_pauses_double_up_to_the_schedule_and_begin_anew_once_it_went_well() -> None:
    schedule = Schedule(["a"], 60, chance=lambda: 1.0)
    pauses = []
    for _ in range(8):
        schedule.heard(0, {"a": False})
        pauses.append(schedule.wait(0))
    assert pauses == [2, 4, 8, 16, 32, 60, 60, 60]
    schedule.heard(0, {"a": True})
    schedule.heard(0, {"a": False})
    assert schedule.wait(0) == 2


@given(st.floats(1, 1e6), st.integers(1, 5_000), st.floats(0, 1, exclude_max=True))
def test_no_pause_is_longer_than_the_schedule_or_nothing(every, failures, chance) -> None:
    schedule = Schedule(["a"], every, chance=lambda: chance)
    for _ in range(failures):
        schedule.heard(0, {"a": False})
    assert min(every, FIRST) / 2 <= schedule.wait(0) <= every


class Named:
    kind, seconds = "witness", 10.0

    def __init__(self, name: str) -> None:
        self.name = name

    def take(self, *_: Any) -> bytes:
        raise AssertionError


class World:
    """A clock, and an event whose waits move the clock instead of taking time."""

    def __init__(self, rounds: int) -> None:
        self.now, self.left = 0.0, rounds
        self.waits: list[float] = []
        self.went: list[tuple[float, list[str], float | None]] = []
        self.told: list[object] = []
        self.outcomes: dict[str, str | None] = {}
        self.against = False

    def wait(self, seconds: float) -> bool:
        if self.left == 0:
            return True
        self.left -= 1
        self.waits.append(seconds)
        self.now += seconds
        return False

    def go(self, places: Sequence[Named], most: float | None) -> Round:
        self.went.append((self.now, [place.name for place in places], most))
        visited: Any = [(place, self.kept(place.name)) for place in places]
        return Round("o", 5, visited)

    def kept(self, name: str) -> Anchored:
        return Anchored(name, 5, 1, b"", 1, self.outcomes.get(name), self.against)

    def follow(self, *names: str, go: Any = None) -> None:
        schedule = Schedule(names, 60, chance=lambda: 1.0)
        places: Any = [Named(name) for name in names]
        leaving: Any = self
        follow(places, schedule, go or self.go, self.told.append, leaving, lambda: self.now)


def test_places_are_gone_to_on_the_schedule_and_once_more_at_the_end() -> None:
    world = World(rounds=3)
    world.follow("a", "b")
    both = ["a", "b"]
    assert world.went == [(0, both, None), (60, both, None), (120, both, None), (120, both, LAST)]
    assert len(world.told) == 4


def test_only_the_place_that_failed_is_gone_to_sooner() -> None:
    world = World(rounds=3)
    world.outcomes["b"] = "It is down."
    world.follow("a", "b")
    assert [(at, names) for at, names, _ in world.went[:3]] == [
        (0, ["a", "b"]),
        (2, ["b"]),
        (6, ["b"]),
    ]


def test_what_speaks_against_the_ledger_is_not_asked_again_at_once() -> None:
    world = World(rounds=2)
    world.outcomes["a"], world.against = "It has seen more.", True
    world.follow("a")
    assert [at for at, _, _ in world.went[:2]] == [0, 60]


def test_an_error_of_the_store_is_told_and_does_not_end_it() -> None:
    world = World(rounds=3)

    def go(places: Sequence[Named], most: float | None) -> Round:
        world.went.append((world.now, [], most))
        raise StoreError("The disk is full.")

    world.follow("a", go=go)
    assert [at for at, _, _ in world.went[:3]] == [0, 2, 6]
    assert [str(told) for told in world.told] == ["The disk is full."] * 4


def test_who_is_told_to_leave_at_once_goes_once() -> None:
    world = World(rounds=0)
    world.follow("a")
    assert world.went == [(0, ["a"], LAST)]


def test_leaving_ends_a_real_wait() -> None:
    world, leaving = World(rounds=0), threading.Event()
    went = threading.Event()

    def go(places: Any, most: float | None) -> Round:
        went.set()
        return world.go(places, most)

    places: Any = [Named("a")]
    loop = threading.Thread(
        target=follow, args=(places, Schedule(["a"], 3_600), go, world.told.append, leaving)
    )
    loop.start()
    assert went.wait(30)
    leaving.set()
    loop.join(30)
    assert not loop.is_alive()


@pytest.mark.parametrize("names", [[], ["a"]])
def test_a_schedule_always_says_how_long_to_wait(names) -> None:
    schedule = Schedule(names, 60)
    schedule.heard(0, dict.fromkeys(names, True))
    assert schedule.wait(0) == 60
