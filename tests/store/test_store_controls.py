"""What the controls keep in a store: exact across processes, moved with entries or not at all."""

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saferun.admission import HEALTH, Due
from saferun.call import Call, Reason, RunRef
from saferun.control import COST, Breaker, Finding, Limit, Switch
from saferun.control.amount import MAX
from saferun.control.limit import used
from saferun.ledger import ApprovalEntry, RunEntry, UserEntry, encode, read
from saferun.store import (
    Answer,
    Append,
    Enrol,
    Fared,
    Opening,
    Reader,
    Store,
    Turn,
    Watched,
)
from saferun.store.controls import held_amounts
from saferun.store.transaction import NOBODY
from saferun.store.work import Recover
from saferun.store.work.admit import AGGREGATED
from storing import FIRST, NOON, Clock, admit, asking, audit, due, kinds, settle

SECOND = 1_000_000
AFTER = "a-" + "2" * 20
MINUTE = 60 * SECOND

RUN = RunRef(run_id="r-1", root="r-1", agent="support", user={"id": "maria"}, tenant="acme")
CALL = Call(tool="refund", args={"order": "A-17"}, run=RUN)
BUDGET = Limit(id="money", max=10, per=("user",), sum=COST)


@pytest.fixture
def timed(open_store: Callable[..., Store], clock: Clock) -> Store:
    return open_store(clock=clock)


class Stands:
    """What a limit stands at for a call."""

    def __init__(self, store: Store, limit: Limit, call: Call = CALL) -> None:
        (self.charge,) = due(store, call, limit, cost=0).charges

    def apply(self, tx) -> int:
        state = tx.group(self.charge.key).get(self.charge.limit.name)
        return used(self.charge.limit, state, tx.now)


def entries(file: Path, kind: str | None = None) -> list[dict[str, Any]]:
    with Reader(file) as reader:
        found = [read(body) for _, body, _ in reader.rows()]
    return [
        {"seq": each.seq, "time": each.time, "kind": each.kind, **each.fields}
        for each in found
        if kind in (None, each.kind)
    ]


def groups(file: Path) -> dict[int, dict[str, Any]]:
    """What lies on disk, whoever put it there."""
    with contextlib.closing(sqlite3.connect(file)) as other:
        return {
            key: msgspec.msgpack.decode(data)
            for key, data in other.execute("SELECT key, data FROM control")
        }


# Limits.


def test_what_one_process_has_counted_the_other_counts_on(open_store: Callable[..., Store]) -> None:
    one, two = open_store(), open_store()
    limit = Limit(id="cap", max=5, per=("user",), window=MINUTE)
    verdicts = [
        store.commit(admit(store, due=due(store, CALL, limit))).verdict
        for store in (one, two, one, one, two, two, one)
    ]
    assert verdicts == ["allow"] * 5 + ["deny"] * 2


def test_a_limit_without_a_window_counts_for_good(
    open_store: Callable[..., Store], clock: Clock
) -> None:
    limit = Limit(id="once", max=1, per=("args.order",))
    first = open_store(clock=clock)
    assert first.commit(admit(first, due=due(first, CALL, limit))).starts
    first.close()
    clock.now += 400 * 24 * 60 * MINUTE
    later = open_store(clock=clock)
    other = msgspec.structs.replace(CALL, run=RunRef(run_id="r-9", root="r-9"))
    assert not later.commit(admit(later, due=due(later, other, limit))).starts


def test_a_denial_says_when_the_call_fits_again_and_then_it_does(
    timed: Store, clock: Clock
) -> None:
    limit = Limit(id="cap", max=1, per=("user",), window=MINUTE, on_limit="defer")
    asked = due(timed, CALL, limit)
    assert timed.commit(admit(timed, due=asked)).frees_at is None
    put_off = timed.commit(admit(timed, due=asked))
    assert put_off.verdict == "defer"
    assert put_off.frees_at is not None
    clock.now = put_off.frees_at - 1
    assert timed.commit(admit(timed, due=asked)).frees_at == put_off.frees_at
    clock.now = put_off.frees_at
    assert timed.commit(admit(timed, due=asked)).starts


def test_a_call_that_was_put_off_may_come_again_under_its_id(timed: Store, clock: Clock) -> None:
    limit = Limit(id="cap", max=1, per=("user",), window=MINUTE, on_limit="defer")
    asked = due(timed, CALL, limit)
    timed.commit(admit(timed, due=asked))
    put_off = timed.commit(admit(timed, due=asked, key=b"k"))
    clock.now = put_off.frees_at or 0
    assert timed.commit(admit(timed, due=asked, key=b"k")).starts
    assert not timed.commit(admit(timed, due=asked, key=b"k")).starts


@pytest.mark.parametrize(
    ("status", "cost", "releasable", "stands"),
    [
        ("ok", 2, False, 2),
        ("ok", None, False, 6),
        ("ok", 11, False, 11),
        ("error", None, False, 6),
        ("error", None, True, 0),
        ("not_started", None, False, 0),
        ("unknown", None, True, 6),
    ],
)
def test_what_was_held_is_corrected_with_the_outcome(
    store: Store, status: str, cost: int | None, releasable: bool, stands: int
) -> None:
    admitted = store.commit(admit(store, due=due(store, CALL, BUDGET, cost=6)))
    assert store.commit(Stands(store, BUDGET)) == 6
    end = settle(
        store,
        admitted.seq,
        status,
        holds=admitted.holds,
        at=admitted.at,
        cost=cost,
        releasable=releasable,
    )
    # Told twice, it is corrected once.
    store.commit(end)
    store.commit(end)
    assert store.commit(Stands(store, BUDGET)) == stands


def test_an_outcome_of_another_process_corrects_nothing(open_store: Callable[..., Store]) -> None:
    one, two = open_store(), open_store()
    admitted = one.commit(admit(one, due=due(one, CALL, BUDGET, cost=6)))
    two.commit(settle(two, admitted.seq, "not_started", holds=admitted.holds, at=admitted.at))
    assert two.commit(Stands(two, BUDGET)) == 6


def test_of_a_call_whose_process_died_all_that_was_held_stays_spent(
    open_store: Callable[..., Store], file: Path
) -> None:
    dead = open_store()
    dead.commit(admit(dead, due=due(dead, CALL, BUDGET, cost=6)))
    with contextlib.closing(sqlite3.connect(file)) as other, other:
        # As if that process had been killed: nobody holds its lock.
        other.execute("UPDATE head SET boot = 'b-dead' WHERE seq >= 0")
    living = open_store()
    assert living.commit(Recover(living.boot, file.with_name(file.name + ".boots"))) == 0
    assert living.recovered == 1
    assert living.commit(Stands(living, BUDGET)) == 6
    assert audit(file).unknown == 1


def test_what_a_model_turn_has_cost_is_counted_whether_it_fits_or_not(
    store: Store, file: Path
) -> None:
    spent = due(store, CALL, BUDGET, cost=25)
    store.commit(Append([encode(UserEntry(run="r-1"))], store.boot, due=spent))
    assert store.commit(Stands(store, BUDGET)) == 25
    denied = store.commit(admit(store, due=due(store, CALL, BUDGET, cost=0)))
    assert (denied.verdict, denied.reasons[0].error) == ("deny", "BudgetExceeded")
    assert kinds(file)[-2:] == ["user", "decision"]


def test_a_cost_beyond_all_measure_stops_the_budget_and_never_the_store(store: Store) -> None:
    for _ in range(9):
        spent = due(store, CALL, BUDGET, cost=MAX)
        store.commit(Append([encode(UserEntry(run="r-1"))], store.boot, due=spent))
    assert store.commit(Stands(store, BUDGET)) == MAX
    assert not store.commit(admit(store, due=due(store, CALL, BUDGET, cost=1))).starts
    assert store.commit(admit(store)).starts


def test_an_item_that_fails_leaves_the_groups_as_they_were(store: Store) -> None:
    limit = Limit(id="cap", max=2, per=("user",))
    asked = due(store, CALL, limit)

    class Bad:
        def apply(self, tx) -> None:
            admit(store, due=asked).apply(tx)
            raise RuntimeError("half done")

    class Batch:
        def apply(self, tx) -> list[str]:
            told = []
            for work in (admit(store, due=asked), Bad(), admit(store, due=asked), Bad()):
                tx.begin_item()
                try:
                    told.append(work.apply(tx).verdict)
                except RuntimeError:
                    tx.undo()
            return told

    assert store.commit(Batch()) == ["allow", "allow"]
    assert store.commit(Stands(store, limit)) == 2


def test_a_commit_that_fails_leaves_the_groups_as_they_were(store: Store, file: Path) -> None:
    limit = Limit(id="cap", max=1, per=("user",))

    class Bad:
        def apply(self, tx) -> None:
            admit(store, due=due(store, CALL, limit)).apply(tx)
            tx.write("INSERT INTO nowhere VALUES (1)")

    with pytest.raises(Exception, match="nowhere"):
        store.commit(Bad())
    assert groups(file) == {}
    assert store.commit(admit(store, due=due(store, CALL, limit))).starts


def test_neither_a_key_nor_a_value_of_a_group_stands_in_the_database_by_itself(
    store: Store, file: Path
) -> None:
    limit = Limit(id="per-order", max=1, per=("args.order",))
    store.commit(admit(store, due=due(store, CALL, limit)))
    ((key, kept),) = groups(file).items()
    assert kept == {limit.name: 1}
    # Keyed: who knows the order's number cannot look it up.
    assert key == store.group(store_key(limit))
    assert key != Store(f"sqlite:///{file.parent}/other/other.db").group(store_key(limit))


def store_key(limit: Limit) -> bytes:
    from saferun.control import Groups

    return Groups().of(limit.per, CALL, "test").key


def test_what_an_open_call_may_come_to_cost_can_be_looked_at(store: Store, file: Path) -> None:
    counted = Limit(id="cap", max=5, per=("user",))
    admitted = store.commit(admit(store, due=due(store, CALL, BUDGET, counted, cost=6)))

    def spoken_for() -> list[tuple[str, int]]:
        with Reader(file) as reader:
            return [(name, amount) for (_, name), amount in held_amounts(reader).items()]

    assert spoken_for() == [(BUDGET.name, 6)]
    store.commit(settle(store, admitted.seq))
    assert spoken_for() == []


costs = st.lists(
    st.tuples(st.integers(0, 4), st.sampled_from(["ok", "not_started", "unknown", None])),
    max_size=25,
)


@given(costs)
def test_a_budget_is_exact_whatever_two_processes_make_of_it(tmp_path_factory, calls) -> None:
    url = f"sqlite:///{tmp_path_factory.mktemp('two')}/saferun.db"
    stores = [Store(url, durability="process") for _ in range(2)]
    try:
        spent = 0
        for at, (most, status) in enumerate(calls):
            store = stores[at % 2]
            admitted = store.commit(admit(store, due=due(store, CALL, BUDGET, cost=most)))
            fits = spent + most <= BUDGET.max and (most > 0 or spent < BUDGET.max)
            assert admitted.starts == fits
            if fits:
                spent += most
                if status is not None:
                    end = {"holds": admitted.holds, "at": admitted.at, "cost": most // 2}
                    store.commit(settle(store, admitted.seq, status, **end))
                    spent += -most if status == "not_started" else most // 2 - most
            assert store.commit(Stands(store, BUDGET)) == spent <= BUDGET.max
    finally:
        for store in stores:
            store.close()


# A person is asked because a control asks.

ASKS = Limit(id="asks", max=1, per=("user",), window=MINUTE, on_limit="ask")


def answer(own: str, said: Any) -> Answer:
    return Answer(own, said, ApprovalEntry(id=own, event=said, by="dana"))


@pytest.fixture
def asked(timed: Store) -> Due:
    """A limit that is used up, so that the next call asks."""
    passes = due(timed, CALL, ASKS)
    assert timed.commit(admit(timed, due=passes)).starts
    return passes


def test_a_control_that_asks_wants_the_question_prepared_first(
    timed: Store, asked: Due, file: Path
) -> None:
    before = kinds(file)
    assert timed.commit(admit(timed, due=asked)).again == "request"
    assert kinds(file) == before
    waits = timed.commit(admit(timed, due=asked, request=asking(timed)))
    assert (waits.verdict, waits.approval_id, waits.starts) == ("ask", FIRST, False)
    told = entries(file, "approval")[-1]
    assert [reason["id"] for reason in told["reasons"]] == ["asks"]


def test_a_yes_overrides_the_limit_once_and_counts_beyond_it(
    timed: Store, asked: Due, file: Path
) -> None:
    timed.commit(admit(timed, due=asked, request=asking(timed)))
    timed.commit(answer(FIRST, "approved"))
    started = timed.commit(admit(timed, due=asked, request=asking(timed)))
    assert (started.starts, started.approval_id) == (True, FIRST)
    told = entries(file, "decision")[-1]
    assert (told["verdict"], told["approval"]) == ("allow", FIRST)
    assert [(reason["id"], reason["effect"]) for reason in told["reasons"]] == [("asks", "ask")]
    assert timed.commit(Stands(timed, ASKS)) == 2
    timed.commit(settle(timed, started.seq, approval=started.approval_id))
    again = timed.commit(admit(timed, due=asked, request=asking(timed)))
    assert not again.starts
    assert entries(file, "decision")[-1]["verdict"] == "deny"


@pytest.mark.parametrize("said", ["rejected", "cancelled", "expired"])
def test_without_a_yes_the_call_does_not_run_even_if_the_limit_has_freed_itself(
    timed: Store, asked: Due, clock: Clock, said: str
) -> None:
    timed.commit(admit(timed, due=asked, request=asking(timed)))
    timed.commit(answer(FIRST, said))
    clock.now += 2 * MINUTE
    refused = timed.commit(admit(timed, due=asked, request=asking(timed)))
    assert (refused.verdict, refused.starts) == ("deny", False)


@pytest.mark.parametrize("mode", ["enforce", "observe"])
def test_a_yes_is_used_up_even_if_the_limit_has_freed_itself(
    timed: Store, asked: Due, clock: Clock, mode: str
) -> None:
    asks = {"due": asked, "request": asking(timed), "entry": {"mode": mode}}
    timed.commit(admit(timed, **asks))
    clock.now += 2 * MINUTE
    timed.commit(answer(FIRST, "approved"))
    started = timed.commit(admit(timed, **asks))
    assert (started.starts, started.approval_id) == (True, FIRST)
    assert not timed.commit(admit(timed, **asks)).starts


def test_what_objects_only_since_the_yes_is_a_new_question(timed: Store, asked: Due) -> None:
    timed.commit(admit(timed, due=asked, request=asking(timed)))
    timed.commit(answer(FIRST, "approved"))
    loop = Finding(step="ask", signal="cycle", count=3, limit=3, message="It turns in circles.")
    more = msgspec.structs.replace(asked, loop=loop)
    # What stands is stale, and the call comes back with another question.
    assert timed.commit(admit(timed, due=more, request=asking(timed))).again == "request"
    waits = timed.commit(admit(timed, due=more, request=asking(timed, AFTER)))
    assert (waits.verdict, waits.approval_id) == ("ask", AFTER)
    assert {reason.id for reason in waits.reasons} == {"asks", "loops"}


def test_what_denies_denies_whatever_a_person_has_said(timed: Store, asked: Due) -> None:
    timed.commit(admit(timed, due=asked, request=asking(timed)))
    timed.commit(answer(FIRST, "approved"))
    denies = Limit(id="denies", max=1, per=("user",))
    both = due(timed, CALL, ASKS, denies)
    timed.commit(admit(timed, due=due(timed, CALL, denies)))
    refused = timed.commit(admit(timed, due=both, request=asking(timed)))
    assert (refused.verdict, refused.reasons[0].id) == ("deny", "denies")
    assert timed.commit(Stands(timed, ASKS)) == 1


def test_where_nobody_can_be_asked_it_is_denied_and_counts_nothing(
    timed: Store, asked: Due
) -> None:
    nobody = Reason(id="approval", effect="deny", source="approval", message="nobody")
    refused = timed.commit(admit(timed, due=asked, nobody=nobody))
    assert (refused.verdict, refused.starts) == ("deny", False)
    assert {reason.id for reason in refused.reasons} == {"asks", "approval"}
    assert timed.commit(Stands(timed, ASKS)) == 1


def test_where_calls_are_only_watched_a_control_that_asks_binds_all_the_same(
    timed: Store, asked: Due
) -> None:
    watching = {"due": asked, "request": asking(timed), "entry": {"mode": "observe"}}
    assert timed.commit(admit(timed, **watching)).verdict == "ask"
    timed.commit(answer(FIRST, "rejected"))
    refused = timed.commit(admit(timed, **watching))
    assert (refused.verdict, refused.mode, refused.starts) == ("deny", "enforce", False)


def test_in_shadow_nothing_is_asked_and_nothing_counted(timed: Store, asked: Due) -> None:
    ran = timed.commit(admit(timed, due=asked, entry={"mode": "shadow"}))
    assert (ran.verdict, ran.mode, ran.starts, ran.holds) == ("ask", "shadow", True, ())
    assert timed.commit(Stands(timed, ASKS)) == 1


# Stop switches.


def turn(scope: Any, value: str | None, *, on: bool = True, secret: bytes = b"s") -> Turn:
    switch = Switch(scope=scope, value=value, by="dana", reason="incident 4")
    return Turn(switch=switch, on=on, credential=secret)


@pytest.fixture
def switched(timed: Store) -> Store:
    timed.commit(Enrol("dana", b"s"))
    return timed


@pytest.mark.parametrize(
    ("scope", "value"),
    [
        ("all", None),
        ("tool", "refund"),
        ("run", "r-1"),
        ("agent", "support"),
        ("user", "maria"),
        ("tenant", "acme"),
    ],
)
def test_what_is_stopped_does_not_run_until_it_is_resumed(
    switched: Store, file: Path, scope: str, value: str | None
) -> None:
    assert switched.commit(turn(scope, value)) is not None
    stopped = switched.commit(admit(switched, run=RUN, key=b"k1", entry={"mode": "observe"}))
    assert (stopped.verdict, stopped.mode, stopped.starts) == ("deny", "enforce", False)
    assert stopped.reasons[0].error == "Stopped"
    if scope != "all":
        elsewhere = RunRef(run_id="r-2", root="r-2", agent="b", user={"id": "c"}, tenant="d")
        other = {"run": elsewhere, "entry": {"tool": "mail"}}
        assert switched.commit(admit(switched, **other)).starts
    assert switched.commit(turn(scope, value, on=False)) is not None
    assert switched.commit(admit(switched, run=RUN, key=b"k2")).starts
    told = [(each["event"], each["scope"], each.get("value")) for each in entries(file, "control")]
    assert told == [("stopped", scope, value), ("resumed", scope, value)]
    assert {each["by"] for each in entries(file, "control")} == {"dana"}


def test_a_switch_holds_in_every_process_at_once(open_store: Callable[..., Store]) -> None:
    one, two = open_store(), open_store()
    one.commit(Enrol("dana", b"s"))
    assert two.commit(admit(two)).starts
    one.commit(turn("all", None))
    assert not two.commit(admit(two)).starts
    one.commit(turn("all", None, on=False))
    assert two.commit(admit(two)).starts


def test_a_switch_that_is_on_already_is_not_turned_again(switched: Store, file: Path) -> None:
    assert switched.commit(turn("tool", "refund")) is not None
    assert switched.commit(turn("tool", "refund")) is None
    assert switched.commit(turn("tool", "mail", on=False)) is None
    assert len(entries(file, "control")) == 1


def test_only_whose_name_it_is_turns_a_switch(switched: Store, file: Path) -> None:
    with pytest.raises(Exception, match="not dana's"):
        switched.commit(turn("all", None, secret=b"x"))
    assert switched.commit(admit(switched)).starts
    assert entries(file, "control") == []


def test_a_stopped_agent_that_keeps_calling_fills_no_ledger(
    switched: Store, file: Path, clock: Clock
) -> None:
    switched.commit(turn("all", None))
    same = {"run": RUN, "entry": {"digest": "00"}}
    first = switched.commit(admit(switched, **same))
    again = [switched.commit(admit(switched, **same)) for _ in range(50)]
    assert {(each.seq, each.verdict, each.starts) for each in again} == {(first.seq, "deny", False)}
    # Another call, or the same one later, has an entry of its own.
    switched.commit(admit(switched, run=RUN, entry={"digest": "01"}))
    clock.now += AGGREGATED
    switched.commit(admit(switched, **same))
    told = [(each["digest"], each.get("repeats", 0)) for each in entries(file, "decision")]
    assert told == [("00", 0), ("01", 0), ("00", 50)]


def test_a_call_with_an_id_that_is_stopped_has_its_own_entry(switched: Store, file: Path) -> None:
    switched.commit(turn("all", None))
    for key in (b"k1", b"k2", b"k1"):
        assert not switched.commit(admit(switched, key=key)).starts
    assert len(entries(file, "decision")) == 2


# Breakers.

QUICK = Breaker(min_calls=2, open_for=30 * SECOND, jitter=0.0, successes=1)


def guarded(store: Store) -> Due:
    about = (("tool", "refund"), ("tenant", "acme"))
    return Due(breaker=QUICK, health=store.group(b"refund"), about=about)


def ended(store: Store, of: int, status: str) -> None:
    fared = Fared(
        key=store.group(b"refund"),
        breaker=QUICK,
        about=(("tool", "refund"), ("tenant", "acme")),
        failed={"ok": False, "error": True}.get(status),
    )
    store.commit(settle(store, of, status, fared=fared))


def test_a_breaker_opens_probes_and_closes_and_each_turn_is_on_record(
    timed: Store, file: Path, clock: Clock
) -> None:
    passes = guarded(timed)
    for _ in range(2):
        ended(timed, timed.commit(admit(timed, due=passes)).seq, "error")
    refused = timed.commit(admit(timed, due=passes))
    assert (refused.verdict, refused.reasons[0].error) == ("deny", "CircuitOpen")
    assert refused.frees_at == NOON + 30 * SECOND
    clock.now += 30 * SECOND
    probe = timed.commit(admit(timed, due=passes))
    assert probe.starts
    ended(timed, probe.seq, "error")
    clock.now += 60 * SECOND
    ended(timed, timed.commit(admit(timed, due=passes)).seq, "ok")
    assert timed.commit(admit(timed, due=passes)).starts
    told = entries(file, "control")
    assert [each["event"] for each in told] == ["opened", "opened", "closed"]
    assert told[0]["until"] == NOON + 30 * SECOND
    assert {(each["scope"], each["value"], each["tenant"], each["by"]) for each in told} == {
        ("tool", "refund", "acme", "saferun")
    }
    assert audit(file).problem is None


def test_how_a_tool_fares_is_the_same_for_another_process(
    open_store: Callable[..., Store], file: Path
) -> None:
    one, two = open_store(), open_store()
    for store in (one, two):
        ended(store, store.commit(admit(store, due=guarded(store))).seq, "error")
    assert not one.commit(admit(one, due=guarded(one))).starts
    assert [list(kept) for kept in groups(file).values()] == [[HEALTH]]


def test_where_calls_are_only_watched_an_open_breaker_denies_and_in_shadow_it_does_not(
    timed: Store,
) -> None:
    for _ in range(2):
        ended(timed, timed.commit(admit(timed, due=guarded(timed))).seq, "error")
    watched = timed.commit(admit(timed, due=guarded(timed), entry={"mode": "observe"}))
    assert (watched.verdict, watched.mode, watched.starts) == ("deny", "enforce", False)
    shadow = timed.commit(admit(timed, due=guarded(timed), entry={"mode": "shadow"}))
    assert (shadow.verdict, shadow.mode, shadow.starts) == ("deny", "shadow", True)


# Loops: who has seen all of a run, and what is stopped by them.


def opening() -> Opening:
    return Opening("r-1", "r-1", b"maria", encode(RunEntry(event="start", run="r-1", root="r-1")))


def watching(store: Store, *, fresh: bool = False, whole: bool = False, **about: Any):
    watched = Watched("r-1", fresh=fresh, whole=whole)
    return admit(store, run=RUN, opening=opening(), watched=watched, **about)


class Follower:
    def apply(self, tx) -> str | None:
        return tx.follower("r-1")


def test_a_new_run_is_decided_at_once_and_one_with_an_unknown_past_is_read_first(
    open_store: Callable[..., Store], file: Path
) -> None:
    one, two = open_store(), open_store()
    assert one.commit(watching(one, fresh=True)).starts
    assert one.commit(watching(one)).starts
    before = kinds(file)
    unread = two.commit(watching(two, fresh=True))
    assert (unread.again, unread.seq, unread.starts) == ("trail", -1, False)
    assert kinds(file) == before
    assert two.commit(watching(two, whole=True)).starts
    assert one.commit(watching(one)).again == "trail"
    assert two.commit(watching(two)).starts


def test_an_end_in_another_process_leaves_nobody_who_has_seen_all(
    open_store: Callable[..., Store],
) -> None:
    one, two = open_store(), open_store()
    began = one.commit(watching(one, fresh=True))
    two.commit(watching(two, whole=True))
    assert two.commit(Follower()) == two.boot
    one.commit(settle(one, began.seq, root="r-1"))
    assert two.commit(Follower()) == NOBODY
    assert two.commit(watching(two)).again == "trail"


def test_a_message_in_another_process_leaves_nobody_who_has_seen_all(
    open_store: Callable[..., Store],
) -> None:
    one, two = open_store(), open_store()
    one.commit(watching(one, fresh=True))
    two.commit(Append([encode(UserEntry(run="r-1"))], two.boot, opening()))
    assert one.commit(watching(one)).again == "trail"


def test_a_loop_at_its_last_step_stops_the_run_and_a_person_resumes_it(
    switched: Store, file: Path
) -> None:
    loop = Finding(step="stop", signal="cycle", count=3, limit=3, message="It turns in circles.")
    assert switched.commit(watching(switched, fresh=True)).starts
    stopped = switched.commit(watching(switched, due=Due(loop=loop)))
    assert stopped.reasons[0].error == "LoopDetected"
    assert switched.commit(watching(switched)).reasons[0].error == "Stopped"
    child = RunRef(run_id="r-2", root="r-1")
    assert switched.commit(admit(switched, run=child)).reasons[0].error == "Stopped"
    told = entries(file, "control")[-1]
    assert (told["event"], told["scope"], told["value"]) == ("stopped", "run", "r-1")
    assert (told["by"], told["reason"], told["run"]) == ("saferun", "loops", "r-1")
    switched.commit(turn("run", "r-1", on=False))
    # What has been counted of it is forgotten by whoever reads that.
    assert switched.commit(watching(switched)).again == "trail"
    assert switched.commit(watching(switched, whole=True)).starts


def test_a_nudge_is_on_record_and_the_call_runs(store: Store, file: Path) -> None:
    loop = Finding(step="nudge", signal="cycle", count=2, limit=3, message="It turns in circles.")
    nudged = store.commit(admit(store, due=Due(loop=loop)))
    assert (nudged.starts, nudged.nudge) == (True, "It turns in circles.")
    assert entries(file, "decision")[-1]["nudge"] == "It turns in circles."
