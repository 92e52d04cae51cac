"""What a yes is bound to besides the arguments: the function that people were asked about."""

import functools
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

import saferun
from answering import PEOPLE, settings
from guarding import entries
from saferun import ApprovalPending, Call, Denied, Gate, guard
from saferun.approval import Request
from saferun.call import FunctionRef, Parameter
from saferun.desk import Desk, Permit
from saferun.policy import loads
from saferun.store import Requests

POLICY = """
version: 1
name: money
tools:
  refund:
    effect: write
    args: any
    rules: [{id: big, ask: [finance], when: args.amount > 100}]
"""


class Nobody:
    """A channel that brings questions to nobody."""

    name = "nobody"

    def unreachable(self) -> str | None:
        return None

    def bring(self, request: Request, desk: object, receipt: str | None) -> str | None:
        return receipt or "shown"


class Shop:
    """A gate, and what was asked and run through it."""

    def __init__(self, policy: str = POLICY) -> None:
        self.settings = settings("", PEOPLE)
        self.gate = self.through(policy)
        self.desk = Desk(self.gate.store, self.settings)
        self.ran: list[Any] = []

    def through(self, policy: str) -> Gate:
        return Gate(policy=loads(policy), approvals=Nobody(), settings=self.settings)

    def tool(self, raw: Any, gate: Gate | None = None, **about: Any) -> Any:
        about = {"name": "refund", **about}
        return guard(raw, gate=gate or self.gate, on_ask="suspend", **about)

    def left(self, tool: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
        within = self.gate.run(run_id="r-1", agent="support", user="maria")
        with within, pytest.raises(ApprovalPending) as pending:
            tool(*args, **kwargs)
        return pending.value.approval_id

    def yes(self, request: str, **more: Any) -> None:
        answered = self.desk.vote(
            request, by="dana", approved=True, channel="test", revision=0, **more
        )
        assert answered.counted, answered.why

    def approved(self, tool: Any, *args: Any, **kwargs: Any) -> str:
        request = self.left(tool, *args, **kwargs)
        self.yes(request)
        return request

    def state(self, request: str) -> str:
        self.gate.store.flush()
        with Requests(self.gate.store.path) as requests:
            found = requests.state(request)
        assert found is not None
        return found[0]


def pay(amount: int) -> str:
    return f"paid {amount}"


def keep(amount: int) -> str:
    return f"kept {amount}"


def pay_with_more(amount: int, note: str = "") -> str:
    return f"paid {amount} {note}"


def pay_to(whom: str, amount: int) -> str:
    return f"paid {amount} to {whom}"


class Account:
    def pay(self, amount: int) -> str:
        return f"{type(self).__name__} paid {amount}"


class Savings(Account):
    pass


class Tool:
    """As frameworks have them: of one class, with the function inside."""

    name = "refund"

    def __init__(self, func: Callable[..., Any]) -> None:
        self.func = func

    def invoke(self, amount: int) -> Any:
        return self.func(amount)

    async def ainvoke(self, amount: int) -> Any:
        return self.func(amount)


@pytest.mark.parametrize(
    ("asked", "now", "why"),
    [
        (pay, keep, "another function"),
        (Account().pay, pay, "another function"),
        (Account().pay, Savings().pay, "an object of another class"),
        (Tool(pay), Tool(keep), "another function"),
        (functools.partial(pay_to, whom="a"), functools.partial(pay_to, "a"), "otherwise"),
        (functools.partial(pay_to, "a"), functools.partial(pay_to, "b"), "other values fixed"),
    ],
)
def test_what_was_approved_for_one_function_runs_no_other_and_is_not_used_up(
    asked: Any, now: Any, why: str
) -> None:
    shop = Shop()
    first, second = shop.tool(asked), shop.tool(now)
    request = shop.approved(getattr(first, "invoke", first), amount=500)
    for _ in range(2):
        with pytest.raises(Denied, match=why) as denied:
            saferun.resume(request, second)
        assert type(denied.value) is Denied
        assert shop.state(request) == "approved"
    assert "paid" in saferun.resume(request, first)
    assert shop.state(request) == "succeeded"


def test_the_same_function_that_takes_other_arguments_by_now_does_not_run() -> None:
    shop = Shop()
    request = shop.approved(shop.tool(pay), 500)

    def changed(amount: int, note: str = "") -> str:
        return f"paid {amount} {note}"

    changed.__qualname__ = pay.__qualname__
    with pytest.raises(Denied, match="takes its arguments otherwise"):
        saferun.resume(request, shop.tool(changed))
    assert shop.state(request) == "approved"


def test_the_same_function_with_other_code_and_annotations_is_what_was_approved() -> None:
    shop = Shop()
    request = shop.approved(shop.tool(pay), 500)

    def mended(amount: float) -> str:
        """With a mistake less."""
        return f"truly paid {amount}"

    mended.__qualname__ = pay.__qualname__
    assert saferun.resume(request, shop.tool(mended)) == "truly paid 500"


def test_a_method_is_bound_to_the_class_of_its_object_and_not_to_the_object() -> None:
    shop = Shop()

    class Till:
        def __init__(self, name: str) -> None:
            self.name = name

        def pay(self, amount: int) -> str:
            return f"{self.name} paid {amount}"

    # As the decorator sees it in the body of a class of a module.
    Till.pay.__qualname__ = "Till.pay"
    Till.pay = shop.tool(Till.pay)

    class Safe(Till):
        pass

    request = shop.approved(Till("first").pay, 500)
    with pytest.raises(Denied, match="an object of another class"):
        saferun.resume(request, Safe("third").pay)
    assert saferun.resume(request, Till("second").pay) == "second paid 500"


async def test_an_awaited_tool_is_bound_as_well() -> None:
    shop = Shop()

    async def one(amount: int) -> str:
        return f"one {amount}"

    async def other(amount: int) -> str:
        return f"other {amount}"

    first = shop.tool(one)
    with shop.gate.run(run_id="r-1", agent="support"), pytest.raises(ApprovalPending) as pending:
        await first(500)
    request = pending.value.approval_id
    shop.yes(request)
    with pytest.raises(Denied, match="another function"):
        await saferun.aresume(request, shop.tool(other))
    assert await saferun.aresume(request, first) == "one 500"


async def test_of_the_ways_into_an_object_the_one_that_was_asked_about_is_taken() -> None:
    shop = Shop()
    tool = shop.tool(Tool(pay))
    with shop.gate.run(run_id="r-1", agent="support"), pytest.raises(ApprovalPending) as pending:
        await tool.ainvoke(500)
    shop.yes(pending.value.approval_id)
    with pytest.raises(TypeError, match="is awaited"):
        saferun.resume(pending.value.approval_id, tool)
    assert await saferun.aresume(pending.value.approval_id, tool) == "paid 500"


def test_who_calls_the_gate_says_which_function_or_has_none_bound() -> None:
    shop = Shop()
    call = Call(tool="refund", args={"amount": 500}, function=FunctionRef(module="a", name="f"))
    request = shop.gate.check(call, leaves=True).approval_id
    assert request is not None
    shop.yes(request)
    none = msgspec.structs.replace(call, function=None)
    assert not shop.gate.check(none, resumes=request).starts
    assert not shop.gate.check(
        msgspec.structs.replace(call, function=FunctionRef(module="b", name="f")), resumes=request
    ).starts
    assert shop.gate.check(call, resumes=request).starts


def test_a_call_with_an_id_joins_no_request_of_another_function() -> None:
    shop = Shop()
    call = Call(
        tool="refund",
        args={"amount": 500},
        call_id="c-1",
        function=FunctionRef(module="a", name="f"),
    )
    request = shop.gate.check(call, leaves=True).approval_id
    assert request is not None
    shop.yes(request)
    other = msgspec.structs.replace(call, function=FunctionRef(module="b", name="f"))
    assert "no longer what would run" in shop.gate.check(other).for_model


def test_a_grant_lets_no_other_function_of_that_name_run() -> None:
    shop = Shop()
    first, second = shop.tool(pay), shop.tool(keep)
    shop.yes(shop.left(first, 500), permit=Permit(span=60_000_000))
    with shop.gate.run(run_id="r-1", agent="support", user="maria"):
        assert first(500) == "paid 500"
    shop.left(second, 500)


def test_the_entry_of_a_request_names_what_would_run_by_a_keyed_digest() -> None:
    shop = Shop()
    shop.left(shop.tool(pay), 500)
    shop.left(shop.tool(pay), 600)
    shop.left(shop.tool(keep), 500)
    first, again, other = [
        each["function"] for each in entries(shop.gate, "approval") if each["event"] == "requested"
    ]
    assert first == again != other
    assert len(bytes.fromhex(first)) == len(
        bytes.fromhex(entries(shop.gate, "approval")[0]["digest"])
    )


def test_a_refusal_for_another_function_is_in_the_ledger() -> None:
    shop = Shop()
    request = shop.approved(shop.tool(pay), 500)
    with pytest.raises(Denied):
        saferun.resume(request, shop.tool(keep))
    last = entries(shop.gate, "decision")[-1]
    assert (last["verdict"], last["reasons"][0]["id"]) == ("deny", "approval")


@pytest.mark.parametrize("mode", ["shadow", "observe"])
def test_what_was_approved_where_it_is_enforced_runs_through_no_gate_that_only_watches(
    mode: str,
) -> None:
    shop = Shop()
    asked = shop.approved(shop.tool(pay), 500)
    watching = (
        shop.through(POLICY + "mode: shadow\n")
        if mode == "shadow"
        else Gate(approvals=Nobody(), settings=shop.settings)
    )
    assert watching.policy is None or watching.policy.mode == "shadow"
    call = shop.gate.taken_up(asked)
    assert isinstance(call, Call)
    # Outside of its run, which would keep the version that it began with.
    decision = watching.check(call, resumes=asked)
    assert (decision.starts, decision.mode, decision.verdict) == (False, "enforce", "deny")


FILLS = """
version: 1
name: money
tools:
  refund:
    effect: write
    args:
      amount: {type: integer}
      note: {type: string, optional: true}
    rules:
      - {id: big, ask: [finance], edits: [amount, note], args: {amount: {minimum: 100}}}
      - {id: huge, set: {note: "look at this"}, args: {amount: {minimum: 1000}}}
"""


def test_nobody_is_asked_about_a_call_that_the_tool_cannot_take() -> None:
    shop = Shop(FILLS)
    tool = shop.tool(pay)
    with pytest.raises(Denied, match="the tool takes no argument note"):
        tool(5_000)
    shop.left(tool, 500)
    assert len(shop.desk.open()) == 1


def test_nobody_is_asked_about_a_call_that_lacks_what_the_tool_needs() -> None:
    shop = Shop()
    with pytest.raises(Denied, match="the tool needs an argument whom"):
        shop.tool(pay_to)(amount=500)
    assert shop.desk.open() == []


@pytest.mark.parametrize("args", [{"note": "mine"}, {"amount": 5_000}])
def test_an_edit_that_the_tool_cannot_take_is_refused(args: dict[str, Any]) -> None:
    shop = Shop(FILLS)
    request = shop.left(shop.tool(pay), 500)
    answered = shop.desk.edit(request, by="dana", args=args, channel="test", revision=0)
    assert (answered.counted, answered.why) == (False, "the tool takes no argument note")
    shop.yes(request)
    assert saferun.resume(request, shop.tool(pay)) == "paid 500"


def test_what_cannot_be_called_when_it_is_resumed_has_not_used_up_its_yes() -> None:
    shop = Shop(FILLS)
    takes = FunctionRef(module="a", name="f", takes=(Parameter("amount", "any", needed=True),))
    call = Call(tool="refund", args={"amount": 500}, function=takes)
    request = shop.gate.check(call, leaves=True).approval_id
    assert request is not None
    shop.yes(request)
    filled = msgspec.structs.replace(call, args={"amount": 500, "note": "x"})
    assert "takes no argument note" in shop.gate.check(filled, resumes=request).for_model
    assert shop.state(request) == "approved"
    assert shop.gate.check(call, resumes=request).starts
