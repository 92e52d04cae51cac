"""A run: which calls belong to it, wherever they are made from, and what it records."""

import asyncio
import contextvars
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import saferun
from guarding import entries, observing
from saferun import Gate, guard
from saferun.run import MAX_ID, Run, _no_gate, current


def tool(gate: Gate) -> Any:
    return guard(lambda: None, name="tool", gate=gate)


def atool(gate: Gate) -> Any:
    async def tool() -> None: ...

    return guard(tool, gate=gate)


def runs(gate: Gate) -> list[str | None]:
    """The run of every call, in order."""
    return [entry.get("run") for entry in entries(gate, "decision")]


def test_a_call_belongs_to_the_run_that_it_is_made_in():
    gate = observing()
    call = tool(gate)
    call()
    with saferun.run() as run:
        call()
    call()
    assert runs(gate) == [None, run.run_id, None]


async def test_the_same_holds_for_async_runs():
    gate = observing()
    call = atool(gate)
    async with saferun.run() as run:
        await call()
    await call()
    assert runs(gate) == [run.run_id, None]


def test_a_run_is_recorded_with_whom_it_is_for_at_its_first_call_and_with_its_end():
    gate = observing()
    about = {"agent": "support", "tenant": "acme", "prompt": "refund me", "plan": ["look", "pay"]}
    user = {"id": "maria", "tier": "gold"}
    with saferun.run(**about, user=user, context={"env": "prod"}) as run:
        tool(gate)()
    start, end = entries(gate, "run")
    for name, value in {**about, "user": user, "context": {"env": "prod"}}.items():
        assert start[name] == value
    assert (start["event"], start["run"], start["root"]) == ("start", run.run_id, run.run_id)
    assert (end["event"], end["run"]) == ("end", run.run_id)
    assert "error" not in end


def test_a_run_in_which_nothing_happens_leaves_nothing():
    gate = observing()
    with gate.run():
        pass
    assert entries(gate, "run") == []


def test_a_run_that_fails_is_recorded_with_the_kind_of_error_and_not_its_text():
    gate = observing()
    problem = ValueError("secret")

    def fail():
        with saferun.run():
            tool(gate)()
            raise problem

    with pytest.raises(ValueError) as raised:
        fail()
    assert raised.value is problem
    assert entries(gate, "run")[1]["error"] == "ValueError"


def test_a_user_may_be_an_id():
    assert saferun.run(user="maria").ref.user_id == "maria"
    assert saferun.run(user={"id": "maria", "tier": 1}).ref.user == {"id": "maria", "tier": 1}
    assert saferun.run().ref.user_id is None


def test_every_run_has_an_id_of_its_own_that_cannot_be_guessed():
    ids = {saferun.run().run_id for _ in range(100)}
    assert len(ids) == 100
    assert all(len(each) == 22 for each in ids)


def test_a_run_may_be_continued_by_its_id():
    gate = observing()
    for _ in range(2):
        with saferun.run(run_id="job-7", agent="a"):
            tool(gate)()
    assert runs(gate) == ["job-7", "job-7"]
    assert [entry["event"] for entry in entries(gate, "run")] == ["start", "end", "end"]


@pytest.mark.parametrize("name", ["run_id", "agent", "user", "tenant"])
@pytest.mark.parametrize("wrong", ["", "x" * (MAX_ID + 1), "a\nb", "\ud800", "a\0b"])
def test_an_id_that_cannot_be_a_key_is_refused(name, wrong):
    with pytest.raises(ValueError, match=f"{name} must be 1 to 200 printable characters"):
        saferun.run(**{name: wrong})


@pytest.mark.parametrize("wrong", [{"tier": "gold"}, {"id": 5}, {"id": None}])
def test_a_user_without_an_id_is_refused(wrong):
    with pytest.raises(ValueError, match="a string under 'id'"):
        saferun.run(user=wrong)


def test_a_user_that_stands_in_the_context_as_well_is_refused():
    with pytest.raises(ValueError, match="user is given twice"):
        saferun.run(user="maria", context={"user": {"tier": "gold"}})


def test_a_run_keeps_what_it_was_given():
    user, context = {"id": "maria"}, {"env": "prod"}
    run = saferun.run(user=user, context=context)
    user["id"] = context["env"] = "changed"
    assert (run.ref.user_id, run.ref.context) == ("maria", {"env": "prod"})


# Nested runs.


def test_a_run_inside_a_run_is_its_child_and_counts_at_the_root():
    gate = observing()
    call = tool(gate)
    with saferun.run() as outer:
        with saferun.run() as inner, saferun.run() as innermost:
            call()
        call()
    assert runs(gate) == [innermost.run_id, outer.run_id]
    assert inner.ref.parent == outer.run_id
    assert innermost.ref.parent == inner.run_id
    assert inner.ref.root == innermost.ref.root == outer.run_id
    start = entries(gate, "run")[0]
    assert (start["parent"], start["root"]) == (inner.run_id, outer.run_id)


def test_a_parent_may_be_named():
    gate = observing()
    with saferun.run() as outer:
        pass
    with saferun.run(parent=outer) as inner:
        tool(gate)()
    assert (inner.ref.parent, inner.ref.root) == (outer.run_id, outer.run_id)


WHO = {"agent": "support", "user": "maria", "tenant": "acme"}


def who(run: Run) -> dict[str, str | None]:
    return {"agent": run.ref.agent, "user": run.ref.user_id, "tenant": run.ref.tenant}


def test_a_child_is_for_whom_its_parent_is_unless_it_says_so_itself():
    with saferun.run(**WHO):
        with saferun.run() as child:
            assert who(child) == WHO
            assert who(saferun.run()) == WHO
        for name in WHO:
            assert who(saferun.run(**{name: "other"})) == {**WHO, name: "other"}
    assert who(saferun.run()) == dict.fromkeys(WHO)


def test_a_child_of_a_parent_that_is_named_is_for_whom_that_is():
    parent = saferun.run(**WHO)
    with saferun.run(agent="b", user="bob", tenant="other"):
        assert who(saferun.run(parent=parent)) == WHO


def test_a_child_has_its_parents_user_with_all_that_policy_reads_of_it():
    user = {"id": "maria", "tier": "gold"}
    with saferun.run(user=user):
        assert saferun.run().ref.user == user
        # Another user is another one, and not this one by another name.
        assert saferun.run(user="bob").ref.user == {"id": "bob"}


def test_what_belongs_to_the_parents_own_task_is_not_the_childs():
    with saferun.run(**WHO, prompt="refund me", plan=["pay"], context={"env": "prod"}):
        child = saferun.run()
    assert (child.ref.prompt, child.ref.plan, child.ref.context) == (None, None, {})


def test_whom_a_child_is_for_is_on_record_with_its_beginning():
    gate = observing()
    with saferun.run(**WHO), saferun.run(agent="refunds"):
        tool(gate)()
    (start,) = (entry for entry in entries(gate, "run") if entry["event"] == "start")
    assert (start["agent"], start["user"], start["tenant"]) == ("refunds", {"id": "maria"}, "acme")


def test_a_child_records_where_its_parent_does(tmp_path):
    gate = Gate(store=f"sqlite:///{tmp_path}/other.db")
    with gate.run(), saferun.run() as inner:
        inner.user("hello")
    assert [entry["run"] for entry in entries(gate, "user")] == [inner.run_id]


# Entering and leaving.


def test_the_end_of_a_child_is_recorded_also_where_another_gate_guards_its_tools():
    look, pay = tool(observing()), tool(observing())
    with saferun.run() as run:
        look()
        with saferun.run() as child:
            pay()
        with saferun.run(agent="thinks") as thinker:
            thinker.model("Nothing to do.")
    ended = [each["run"] for each in entries(observing(), "run") if each["event"] == "end"]
    assert ended == [child.run_id, thinker.run_id, run.run_id]


def test_a_run_is_entered_once():
    run = saferun.run()
    with run, pytest.raises(RuntimeError, match="entered once"):
        run.__enter__()
    with pytest.raises(RuntimeError, match="entered once"):
        run.__enter__()
    assert current() is None


def test_leaving_a_run_that_was_not_entered_does_nothing():
    with saferun.run() as outer:
        saferun.run().__exit__(None, None, None)
        assert current() is outer


def test_leaving_twice_ends_once():
    gate = observing()
    with saferun.run() as run:
        tool(gate)()
    run.__exit__(None, None, None)
    assert [entry["event"] for entry in entries(gate, "run")] == ["start", "end"]


def test_runs_of_generators_that_take_turns_do_not_put_each_other_back():
    def agent(name: str):
        with saferun.run(agent=name) as run:
            yield run
            yield run

    first, second = agent("a"), agent("b")
    one, two = next(first), next(second)
    assert current() is two
    first.close()
    assert current() is two
    second.close()
    assert current() is None
    assert one.ref.root != two.run_id


def test_a_run_may_be_left_in_another_context_than_it_was_entered_in():
    run = saferun.run()
    contextvars.copy_context().run(run.__enter__)
    run.__exit__(None, None, None)
    assert current() is None


async def test_a_run_that_an_async_generator_holds_may_be_closed_by_another_task():
    async def session():
        async with saferun.run() as run:
            yield run

    stream = session()
    run = await asyncio.create_task(anext(stream))
    await asyncio.create_task(stream.aclose())
    assert run.over
    assert current() is None


# Threads and tasks.


def test_a_thread_has_the_run_where_its_context_was_copied_and_none_elsewhere():
    gate = observing()
    call = tool(gate)
    with saferun.run() as run:
        inside = contextvars.copy_context()
        with ThreadPoolExecutor(1) as pool:
            pool.submit(inside.run, call).result()
            pool.submit(call).result()
    assert runs(gate) == [run.run_id, None]


async def test_to_thread_takes_the_run_along():
    gate = observing()
    async with saferun.run() as run:
        await asyncio.to_thread(tool(gate))
    assert runs(gate) == [run.run_id]


async def test_tasks_inherit_the_run_and_keep_their_own():
    gate = observing()
    call = atool(gate)
    seen: dict[str, str] = {}

    async def sub(name: str) -> None:
        async with saferun.run(agent=name) as run:
            await asyncio.sleep(0)
            await call()
            seen[name] = run.run_id

    async with saferun.run() as outer:
        async with asyncio.TaskGroup() as group:
            for name in ("a", "b", "c"):
                group.create_task(sub(name))
        await call()
        assert current() is outer
    assert sorted(runs(gate)) == sorted([*seen.values(), outer.run_id])


async def test_what_a_task_began_within_a_run_stays_in_it_after_its_end():
    gate = observing()
    call = atool(gate)
    go = asyncio.Event()

    async def late() -> None:
        await go.wait()
        await call()

    async with saferun.run() as run:
        task = asyncio.create_task(late())
        await asyncio.sleep(0)
    go.set()
    await task
    assert runs(gate) == [run.run_id]


def test_of_two_threads_that_enter_one_run_at_once_one_is_refused():
    run, ready, refused = saferun.run(), threading.Barrier(2), []

    def enter() -> None:
        ready.wait()
        try:
            run.__enter__()
        except RuntimeError as problem:
            refused.append(problem)

    threads = [threading.Thread(target=enter) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 1


# What it records.


def test_a_model_turn_is_recorded_with_what_it_took():
    gate = observing()
    with gate.run() as run:
        run.model(
            {"content": "hi"},
            model="m-1",
            input_tokens=812,
            output_tokens=96,
            cost_usd=0.01,
            latency=1.5,
        )
    (entry,) = entries(gate, "model")
    assert {name: entry[name] for name in entry if name not in ("seq", "host", "boot")} == {
        "kind": "model",
        "run": run.run_id,
        "output": {"content": "hi"},
        "model": "m-1",
        "input_tokens": 812,
        "output_tokens": 96,
        "cost_usd": 0.01,
        "latency": 1_500_000,
    }


def test_what_the_user_says_is_recorded():
    gate = observing()
    with gate.run() as run:
        run.user("and the other order, too")
    (entry,) = entries(gate, "user")
    assert (entry["text"], entry["run"]) == ("and the other order, too", run.run_id)


def test_frames_come_in_the_order_in_which_they_happened():
    gate = observing()
    with gate.run() as run:
        run.user("one")
        tool(gate)()
        run.model("two")
    kinds = [entry["kind"] for entry in entries(gate)]
    assert kinds == ["ledger", "run", "user", "decision", "outcome", "model", "run"]


def test_a_run_that_no_gate_has_seen_records_by_the_configuration():
    with saferun.run() as run:
        run.model("first")
        tool(observing())()
    (entry,) = entries(observing(), "model")
    assert entry["run"] == run.run_id


@pytest.mark.parametrize(
    "output",
    [object(), "\ud800", float("nan"), b"\xff", {1: {2}}, "x" * 200_000, [[[[]]]]],
    ids=type,
)
def test_whatever_a_model_says_recording_it_breaks_nothing(output):
    gate = observing()
    with gate.run() as run:
        run.model(output, model="\ud800", cost_usd=float("inf"))
        run.model(output)
        run.user("\ud800" if isinstance(output, str) else "x" * 100_000)
        tool(gate)()
    assert runs(gate) == [run.run_id]
    assert len(entries(gate, "model")) >= 1


@pytest.mark.parametrize("name", ["prompt", "plan", "context"])
def test_what_a_run_says_of_itself_is_kept_up_to_a_bound(name):
    gate = observing()
    about = {"note": "x" * 100_000} if name == "context" else "x" * 100_000
    with saferun.run(**{name: about}):
        tool(gate)()
    assert len(str(entries(gate, "run")[0][name])) < 10_000


def test_a_run_without_any_gate_says_how_to_get_one(monkeypatch):
    monkeypatch.setattr(sys.modules["saferun.run"], "_by_default", _no_gate)
    with pytest.raises(RuntimeError, match=r"import saferun, or start it with gate\.run"):
        saferun.run().user("hello")
