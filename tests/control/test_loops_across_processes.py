"""A run that goes on in another process is caught at the same call as if it had stayed in one."""

import itertools
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driving import Agent, told
from saferun import Call, Gate, Outcome, guard
from saferun.call import Status, canonical
from saferun.control import echo, sign
from saferun.policy import loads
from saferun.store import Reader, Store
from saferun.store.trails import read_echo, read_sign, write_echo, write_sign

POLICY = """
version: 1
name: looked-after
default: allow
loops: {lifetime: 12, barren: 6}
breaker: off
tools:
  read: {effect: read, args: {what: {}}}
  wait: {effect: read, args: {what: {}}, poll: true}
  free: {effect: read, args: {what: {}}, loops: off}
"""

BEGAN = 1_767_225_600_000_000

RUN = {"run_id": "r"}
CHILD = {"run_id": "r/1", "parent": RUN}
Step = tuple[str, dict[str, Any]]


def call(what: Any, within: dict[str, Any] = RUN, tool: str = "read", **came_of_it: Any) -> Step:
    args = {"what": what}
    return "call", {"tool": tool, "args": args, "within": within, **came_of_it}


_hours = itertools.count(BEGAN, 3_600_000_000)


def play(steps: Sequence[Step], agents: Sequence[Agent], turns: Sequence[int]) -> list[Any]:
    """What the calls among the steps are told, each made by the agent whose turn it is.

    Whose turn ends writes down what still rides, as it would by itself a moment later.
    """
    began = next(_hours)
    found: list[Any] = []
    last: Agent | None = None
    for number, ((what, told_it), turn) in enumerate(zip(steps, turns, strict=True)):
        one = agents[turn]
        if last is not None and last is not one:
            last.does("flush")
        one.does("now", at=began + number * 1_000_000)
        answer = one.does(what, **told_it)
        if what == "call":
            found.append((told(answer), [each["used"] for each in answer["reasons"]]))
        last = one
    return found


@pytest.fixture(scope="module")
def crew(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Agent]]:
    """Three agents on one store, for runs that have nothing to do with each other."""
    file = tmp_path_factory.mktemp("crew") / "saferun.db"
    agents = [Agent(file, POLICY, at=BEGAN) for _ in range(3)]
    yield agents
    for each in agents:
        each.close()


def renamed(steps: Sequence[Step], run: str) -> list[Step]:
    """The same steps in another run, with its children."""

    def named(within: dict[str, Any]) -> dict[str, Any]:
        above = {"parent": named(within["parent"])} if "parent" in within else {}
        return {**within, "run_id": run + within["run_id"][1:], **above}

    return [
        (what, {**given, "within": named(given["within"])} if "within" in given else given)
        for what, given in steps
    ]


_runs = itertools.count()


def by_all(
    steps: Sequence[Step], crew: Sequence[Agent], splits: Sequence[Sequence[int]]
) -> list[Any]:
    """The one answer that one process gives and any number of them give too."""
    expected = play(renamed(steps, f"alone{next(_runs)}"), crew, [0] * len(steps))
    for turns in splits:
        assert play(renamed(steps, f"split{next(_runs)}"), crew, turns) == expected
    return expected


def splits(steps: Sequence[Step]) -> list[list[int]]:
    """In turns, handed over once, and handed over to a third that hands it back."""
    count = len(steps)
    thirds = [0] * (count // 3) + [1] * (count // 3)
    return [
        [number % 2 for number in range(count)],
        [int(number >= count // 2) for number in range(count)],
        thirds + [0] * (count - len(thirds)),
        [number % 3 for number in range(count)],
    ]


CASES: dict[str, tuple[list[Step], str]] = {
    "the same result": ([call("a", result="x")] * 8, "same_result"),
    "the same error": ([call("a", status="error", error="KeyError: a")] * 5, "retries"),
    "an outcome that nobody knows": (
        [call("a", status="unknown", error="OverdueError: out of time")] * 5,
        "retries",
    ),
    "the same error with others between": (
        [
            call(what, status="error", error="KeyError: a") if what == "a" else call(what, result=1)
            for what in "bcdabadcabdac"
        ],
        "same_error",
    ),
    "a round of two": (
        [call("ab"[n % 2], result="xy"[n % 2]) for n in range(10)],
        "cycle",
    ),
    "changing times": (
        [
            call("a", result={"now": f"2026-01-0{n % 9 + 1}T10:00:{10 + n}Z", "v": 1})
            for n in range(14)
        ],
        "masked",
    ),
    "nothing found, in other words": (
        [call(f"refund of order {n}", result=[]) for n in range(9)],
        "barren",
    ),
    "seldom, with something new between": (
        [step for n in range(14) for step in (call("a", result="x"), call(n, result=f"new {n}"))],
        "lifetime",
    ),
    "a poller in haste": ([call("a", tool="wait", result="x")] * 14, "poll_burst"),
}


@pytest.mark.parametrize("case", list(CASES))
def test_a_loop_is_caught_at_the_same_call_wherever_the_run_goes_on(
    case: str, crew: list[Agent]
) -> None:
    steps, signal = CASES[case]
    found = by_all(steps, crew, splits(steps))
    assert any(signal in (used or "") for _, reasons in found for used in reasons)


def drawn(chance: random.Random, count: int) -> list[Step]:
    """Any steps: calls of a few kinds with a few outcomes, in a run and its children."""
    families = [RUN, RUN, CHILD, {"run_id": "r/2", "parent": CHILD}]
    outcomes: list[dict[str, Any]] = [
        *({"result": 1}, {"result": 1}, {"result": 1}, {"result": []}, {"result": None}),
        {"result": {"took_ms": chance.randrange(9), "v": 1}},
        {"status": "error", "error": "KeyError: gone"},
        {"status": "error", "error": "OSError: connection reset"},
        *({"status": "timeout"}, {"status": "cancelled"}, {"status": "not_started"}),
        {"status": "unknown", "error": "OverdueError: out of time"},
    ]
    whats = ["a", "a", "b", {"request_id": chance.randrange(9)}, "orders of dana", "dana orders"]
    steps: list[Step] = []
    while len(steps) < count:
        within = chance.choice(families)
        kind = chance.random()
        if kind < 0.03:
            steps.append(("say", {"within": within, "text": "Go on."}))
        elif kind < 0.06:
            steps.append(("end", {"within": within}))
        elif kind < 0.10:
            steps.append(("spend", {"within": within, "cost": 0.01}))
        else:
            tool = chance.choice(["read", "read", "read", "wait", "free"])
            again = chance.choice([1, 1, 2, 7])
            step = call(chance.choice(whats), within, tool, **chance.choice(outcomes))
            steps += [step] * again
    return steps


def any_runs(crew: list[Agent], chance: random.Random, times: int) -> None:
    caught = 0
    for _ in range(times):
        steps = drawn(chance, 40)
        turns = [chance.randrange(3) for _ in steps]
        runs = [turn for turn in turns for _ in range(4)][: len(steps)]
        found = by_all(steps, crew, [turns, runs])
        caught += any(verdict == "deny by loop" for verdict, _ in found)
    assert caught > times / 4


def test_any_run_is_judged_alike_in_one_process_and_in_three(crew: list[Agent]) -> None:
    any_runs(crew, random.Random(3), 12)


@pytest.mark.soak
def test_hundreds_of_runs_are_judged_alike_in_one_process_and_in_three(crew: list[Agent]) -> None:
    any_runs(crew, random.Random(), 400)


def outcomes(file: Path) -> int:
    with Reader(file) as reader:
        return sum(b'"outcome"' in body[:90] for _, body, _ in reader.rows())


SAME = {"tool": "read", "args": {"what": "a"}, "within": RUN}


def test_outcomes_that_ride_are_known_elsewhere_as_soon_as_they_are_written(
    agent: Callable[..., Agent], file: Path
) -> None:
    first, second = agent(POLICY), agent(POLICY)
    for _ in range(5):
        first.does("call", **SAME, result=1)
    # Nobody writes them down but the store itself, in a moment.
    while outcomes(file) < 5:
        threading.Event().wait(0.002)
    assert told(second.does("call", **SAME, result=1)) == "nudge"
    while outcomes(file) < 6:
        threading.Event().wait(0.002)
    assert told(first.does("call", **SAME, result=1)) == "deny by loop"
    assert told(second.does("call", **SAME, result=1)) == "deny by loop"


def test_a_loop_is_caught_after_a_kill_at_the_same_count(agent: Callable[..., Agent]) -> None:
    first = agent(POLICY, durability="full")
    for _ in range(4):
        first.does("call", **SAME, result=1)
    first.does("check", **SAME)
    first.kill()
    second = agent(POLICY)
    # Of the call that was under way nobody knows what came of it.
    assert second.recovered == 1
    told_then = [told(second.does("call", **SAME, result=1)) for _ in range(4)]
    assert told_then == ["allow", "nudge", "deny by loop", "deny by loop"]


def test_outcomes_that_a_kill_has_lost_delay_a_loop_by_no_more_than_they_are(
    agent: Callable[..., Agent],
) -> None:
    first = agent(POLICY, durability="process")
    for _ in range(5):
        assert told(first.does("call", **SAME, result=1)) in ("allow", "nudge")
    first.kill()
    second = agent(POLICY)
    lost = second.recovered
    found = [told(second.does("call", **SAME, result=1)) for _ in range(8)]
    assert found.index("deny by loop") == 1 + lost


def test_the_ladder_goes_on_elsewhere_up_to_the_stop_of_the_run(crew: list[Agent]) -> None:
    steps = [call("a", result=1)] * 14
    found = by_all(steps, crew, splits(steps))
    assert found[-1][0] == "deny by stop"


def test_a_round_goes_on_elsewhere_up_to_the_stop_of_the_run(crew: list[Agent]) -> None:
    steps = [call("ab"[number % 2], result=1) for number in range(14)]
    found = by_all(steps, crew, splits(steps))
    assert [verdict for verdict, _ in found[6:9]] == ["deny by loop"] * 3
    assert found[-1][0] == "deny by stop"


def test_a_call_that_kills_its_process_each_time_is_not_let_through_for_ever(
    agent: Callable[..., Agent],
) -> None:
    found = []
    for _ in range(5):
        one = agent(POLICY, durability="full")
        found.append(told(one.does("check", **SAME)))
        one.kill()
    assert found == ["allow", "allow", "allow", "nudge", "deny by loop"]


def test_a_message_of_the_user_in_another_process_lets_the_run_start_over(
    crew: list[Agent],
) -> None:
    message: Step = ("say", {"within": RUN, "text": "Do look once more."})
    in_child: Step = ("say", {"within": CHILD, "text": "Do look once more."})
    for step in (message, in_child):
        steps = [call("a", result=1)] * 5 + [step] + [call("a", result=1)] * 5
        found = by_all(steps, crew, [[0] * 5 + [1] * 6, [0] * 5 + [1] + [0] * 5, *splits(steps)])
        assert "deny by loop" not in [verdict for verdict, _ in found]


def test_a_message_resets_no_lifetime_count_wherever_it_came_from(crew: list[Agent]) -> None:
    message: Step = ("say", {"within": RUN, "text": "Go on."})
    steps = [step for _ in range(14) for step in (call("a", result=1), message)]
    found = by_all(steps, crew, splits(steps))
    assert found[12] == ("deny by loop", ["12 x lifetime"])


def test_a_run_that_was_stopped_and_resumed_elsewhere_starts_over(crew: list[Agent]) -> None:
    asked = {**SAME, "within": {"run_id": "resumed"}}

    def called(times: int) -> list[str]:
        found = []
        for number in range(times):
            one = crew[number % 2]
            found.append(told(one.does("call", **asked, result=1)))
            one.does("flush")
        return found

    stopped = called(14)
    assert (stopped.index("deny by loop"), stopped[-1]) == (6, "deny by stop")
    assert crew[2].does("turn", scope="run", value="resumed", on=False)
    assert called(7).index("deny by loop") == 6


def test_a_run_without_a_process_of_its_own_is_not_taken_for_another(crew: list[Agent]) -> None:
    for number in range(6):
        within = {"run_id": f"apart{number}"}
        asked = {**SAME, "within": within}
        assert told(crew[number % 3].does("call", **asked, result=1)) == "allow"


def test_calls_by_two_processes_at_once_are_all_known_to_the_next(
    agent: Callable[..., Agent], tmp_path: Path
) -> None:
    """What comes between the reading of a run and the admission is not passed over for good."""
    file = tmp_path / "both.db"
    gates = [Gate(policy=loads(POLICY), store=Store(f"sqlite:///{file}")) for _ in range(2)]
    runs = [gate.run(run_id="r", agent="a") for gate in gates]

    def look(which: int) -> str:
        asked = Call(tool="read", args={"what": "a"}, run=runs[which].ref)
        decision = gates[which].check(asked)
        if decision.starts:
            gates[which].settle(decision, Outcome(status="ok", result=1))
        return decision.verdict

    assert [look(0), look(1)] == ["allow", "allow"]
    followed = gates[0].store.trails.of("r")
    read = followed.read

    def overtaken() -> None:
        read()
        look(1)

    followed.read = overtaken  # type: ignore[method-assign]
    assert look(0) == "allow"
    followed.read = read  # type: ignore[method-assign]
    # Four were made: two by each. Two more, and the seventh is one too many.
    assert [look(0) for _ in range(3)] == ["allow", "allow", "deny"]
    for gate in gates:
        gate.close()


@pytest.mark.parametrize("durability", ["process", "full"])
def test_processes_that_repeat_a_call_at_once_are_all_caught(
    agent: Callable[..., Agent], durability: str
) -> None:
    crew = [agent(POLICY, durability=durability) for _ in range(4)]
    for each in crew:
        each.asked("insist", **SAME, result=1)
    made, answers = zip(*(each.answered() for each in crew), strict=True)
    assert {told(answer).removeprefix("deny by ") for answer in answers} <= {"loop", "stop"}
    # What nobody has written down yet counts where it was made, and for the others a moment later.
    assert 6 <= sum(made) <= 6 * len(crew)
    for each in crew:
        each.does("flush")
    assert {each.does("call", **SAME, result=1)["verdict"] for each in crew} == {"deny"}


def test_a_call_that_something_else_denies_leaves_nothing_unread(
    agent: Callable[..., Agent], tmp_path: Path
) -> None:
    """A run is read for a call that a limit stops; the calls elsewhere that follow count too."""
    first = agent(POLICY + "  once: {effect: read, args: {}, limits: [{id: o, max: 1, per: run}]}")
    second = agent(POLICY)
    once = {"tool": "once", "args": {}, "within": RUN}
    first.does("call", **once, result=1)
    second.does("call", **SAME, result=1)
    second.does("flush")
    assert told(first.does("call", **once, result=1)) == "deny by limit"
    for _ in range(5):
        second.does("call", **SAME, result=1)
    second.does("flush")
    assert told(first.does("call", **SAME, result=1)) == "deny by loop"


def test_a_denial_that_is_only_repeated_climbs_no_ladder(
    crew: list[Agent],
) -> None:
    within = {"run_id": "repeated"}
    asked = {**SAME, "within": within}
    for _ in range(6):
        crew[0].does("call", **asked, result=1)
    denied = [crew[0].does("check", **asked, call_id="c-1") for _ in range(20)]
    assert {told(each) for each in denied} == {"deny by loop"}
    assert len({each["seq"] for each in denied}) == 1
    # One denial was made, so what follows is the second and not the stop.
    assert told(crew[0].does("check", **asked, call_id="c-2")) == "deny by loop"


def keyed(data: bytes) -> bytes:
    return blake2b(data, key=b"k", digest_size=16).digest()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 1 << 40) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=6,
)


@given(
    st.dictionaries(
        st.sampled_from(["q", "query", "text", "request_id", "explanation", "id", "timestamp"]),
        JSON | st.sampled_from(["refund of the order", "2026-01-01T10:00:01Z"]),
    )
)
def test_a_call_is_compared_by_what_the_ledger_has_of_it(args: dict[str, Any]) -> None:
    made = sign("read", canonical.encode(args), keyed)
    assert read_sign("read", made.exact.hex(), write_sign(made)) == made


@given(
    st.sampled_from(["ok", "error", "timeout", "cancelled", "unknown", "not_started"]),
    st.none() | JSON,
    st.none() | st.text() | st.just("OSError: connection reset after 12 ms"),
)
def test_an_outcome_is_compared_by_what_the_ledger_has_of_it(
    status: Status, result: Any, error: str | None
) -> None:
    made = echo(status, canonical.encode(result), error, keyed)
    assert read_echo(write_echo(made)) == made


def test_a_stream_that_is_forgotten_while_its_run_is_judged_stands_in_nobodys_way(
    tmp_path: Path,
) -> None:
    """The garbage collector may end a call at any moment, in whatever thread it comes up."""
    gate = Gate(policy=loads(POLICY), store=Store(f"sqlite:///{tmp_path}/one.db"))
    forgotten: list[Any] = []

    def stream(what: int) -> Iterator[int]:
        yield from range(what)

    def judged() -> None:
        with gate.run(run_id="r", agent="a"):
            steps = guard(stream, name="read", gate=gate)(3)
            next(steps)
            forgotten.append(steps)
            del steps
            followed = gate.store.trails.of("r")
            trail = followed._trail

            class Collected:
                def __getattr__(self, name: str) -> Any:
                    forgotten.clear()
                    return getattr(trail, name)

            followed._trail = Collected()  # type: ignore[assignment]
            assert list(guard(stream, name="read", gate=gate)(4)) == [0, 1, 2, 3]

    thread = threading.Thread(target=judged, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    gate.store.flush()
    assert outcomes(gate.store.path) == 2
    gate.close()
