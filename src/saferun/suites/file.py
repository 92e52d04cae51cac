"""Reads a test file.

    policy: production.yaml             # without it, the file beside it that is called alike
    given: {user: {id: maria, tier: basic}, environment: production}
    cases:
      - name: A small refund is simply made.
        call: {tool: refund, args: {order_id: A-17, amount: 4000}}
        expect: allow

It is read as a policy is: nothing is ignored, and what is wrong comes with its line.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from saferun.call import Outcome
from saferun.policy.form import parse_duration
from saferun.policy.parse.demand import MAX_APPROVALS
from saferun.policy.part import Part
from saferun.policy.source import MAX_BYTES, Source, TooManyFaultsError, read
from saferun.policy.wording import found
from saferun.suites.case import Case, Expectation, Expected, Step, Suite
from saferun.suites.fault import SuiteError
from saferun.suites.given import GIVEN, Values, changed, given, situation

ENDING = ".test.yaml"

MAX_CALLS = 100_000
"""Calls that one file may ask for: some seconds of deciding."""

VERDICTS: tuple[Expected, ...] = ("allow", "ask", "deny", "defer")

_FILE = ("policy", "given", "cases")
_CASE = ("name", "call", "calls", "set", "without", "expect", "table")
_ROW = ("name", "set", "without", "expect")
_CALL = ("tool", "args")
_STEP = (
    *("tool", "args", "times", "after", "approve", "cost_usd", "expect"),
    *("result", "error"),
)
_ASKED = ("ask", "approvals", "expires", "edits")
_EXPECT = ("verdict", "rules", "groups", "args", "control", "message", "shadow", "missing", *_ASKED)


def load(path: Path) -> Suite:
    """The tests in a file. Raises SuiteError with all that is wrong, and the line of each."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1)
    except OSError as problem:
        source = Source()
        source.fault((), "value", f"the tests cannot be read: {problem.strerror}")
        raise SuiteError(source.faults, str(path)) from None
    return loads(text, path)


def loads(text: str | bytes, path: Path) -> Suite:
    """The tests in a text that came from `path`. Raises SuiteError as `load` does."""
    source = read(text) if text.strip() else Source()
    suite = None
    if not source.faults:
        try:
            suite = _Reading(source, path).suite()
        except TooManyFaultsError:
            suite = None
    if suite is None or source.faults:
        raise SuiteError(source.faults, str(path))
    return suite


class _Reading:
    """One pass over one file; what is wrong with it ends up in its source."""

    def __init__(self, source: Source, path: Path) -> None:
        self._source = source
        self._path = path
        self._calls = 0
        self._names: dict[str, int | None] = {}

    def suite(self) -> Suite:
        file = Part(self._source, (), self._source.value, _FILE)
        values = given(Part(self._source, ("given",), file["given"] or {}, GIVEN))
        bodies = file.list("cases")
        if not bodies:
            file.fault(("cases",), "value", "expected a list of `cases`, with one at least")
        cases = tuple(
            case for at, body in enumerate(bodies) for case in self._cases(at, body, values)
        )
        if self._calls > MAX_CALLS:
            most = f"a file of tests makes at most {MAX_CALLS:,} calls"
            file.fault(("cases",), "value", f"{most}, and these make {self._calls:,}")
        return Suite(path=self._path, policy=self._policy(file), cases=cases)

    def _policy(self, file: Part) -> Path:
        named = file.sentence("policy")
        if named is None:
            return self._path.with_name(self._path.name.removesuffix(ENDING) + ".yaml")
        ending = "" if named.endswith((".yaml", ".yml")) else ".yaml"
        return self._path.parent / f"{named}{ending}"

    def _called(self, name: str, part: Part) -> str:
        """The name of a case, which no other has: reports and `-k` tell cases apart by it."""
        if name in self._names:
            what = f"a case is called like this in line {self._names[name]}; give it another name"
            part.fault(("name",), "duplicate", what)
        self._names.setdefault(name, part.line)
        return name

    def _cases(self, at: int, body: Any, values: Values) -> Iterator[Case]:
        """A case, or one for each row of its table."""
        part = Part(self._source, ("cases", at), body, _CASE)
        name = part.sentence("name")
        if name is None:
            part.fault(("name",), "value", "a case has a `name` that says what is expected")
        if "call" not in part and "calls" not in part:
            part.fault((), "value", "a case makes a `call`, or several `calls`")
            return
        call = Part(self._source, (*part.path, "call"), part["call"] or {}, _CALL)
        if "call" in part:
            values = {**values, "args": call.mapping("args")}
        values = changed(part, values)
        if "calls" in part:
            for key in ("call", "expect", "table"):
                if key in part:
                    each = f"`{key}` does not go with `calls`; each of them says what it expects"
                    part.fault((key,), "value", each)
            yield self._sequence(part, self._called(name or "", part), values)
        elif "table" in part:
            if "expect" in part:
                part.fault(("expect",), "value", "each row of a `table` has its own `expect`")
            for row, said in enumerate(part.list("table")):
                line = Part(self._source, (*part.path, "table", row), said, _ROW)
                told = f"{name} [{line.sentence('name') or f'row {row + 1}'}]"
                yield self._single(call, self._called(told, line), line, changed(line, values))
        else:
            yield self._single(call, self._called(name or "", part), part, values)

    def _single(self, call: Part, name: str, where: Part, values: Values) -> Case:
        """A case of one call. `where` says what is expected: the case itself, or a row."""
        self._calls += 1
        step = Step(
            tool=_tool(call),
            args=dict(values.get("args", {})),
            expect=self._expectation(where),
            line=where.line,
        )
        return Case(name=name, situation=situation(values), steps=(step,), line=where.line)

    def _sequence(self, part: Part, name: str, values: Values) -> Case:
        if "args" in values and "call" not in part:
            part.fault(("set",), "value", "each of the `calls` has arguments of its own")
        if not part.list("calls"):
            part.fault(("calls",), "value", "expected a list of calls, with one at least")
        steps = tuple(
            self._step(Part(self._source, (*part.path, "calls", at), body, _STEP))
            for at, body in enumerate(part.list("calls"))
        )
        return Case(name=name, situation=situation(values), steps=steps, line=part.line)

    def _step(self, part: Part) -> Step:
        times = _said(part, "times", 1)
        if type(times) is not int or not 1 <= times <= MAX_CALLS:
            what = f"expected a whole number from 1 to {MAX_CALLS:,}"
            part.fault(("times",), "value", f"{what}; {found(times)}")
            times = 1
        self._calls += times
        spent = _said(part, "cost_usd", 0.0)
        if isinstance(spent, bool) or not isinstance(spent, int | float) or spent < 0:
            part.fault(("cost_usd",), "value", f"expected dollars, such as `0.25`; {found(spent)}")
            spent = 0.0
        approve = part.flag("approve", default=False)
        # A call that only leads up to another one is made all the same, and counts as one
        # that was: where it is not let through, the case is not about what it says.
        led = Expectation(verdict="ask" if approve else "allow")
        return Step(
            tool=_tool(part),
            args=part.mapping("args"),
            expect=self._expectation(part) if "expect" in part else led,
            times=times,
            after=_after(part),
            approve=approve,
            cost_usd=float(spent),
            outcome=_outcome(part),
            line=part.line,
        )

    def _expectation(self, part: Part) -> Expectation:
        said = part["expect"]
        if "expect" not in part:
            what = f"a case says what to `expect`: one of {', '.join(VERDICTS)}, or a mapping"
            part.fault(("expect",), "value", what)
            return Expectation()
        if not isinstance(said, dict):
            return Expectation(verdict=part.choice("expect", VERDICTS, "allow"))
        expect = Part(self._source, (*part.path, "expect"), said, _EXPECT)
        if said == {}:
            expect.fault((), "value", "an expectation says at least a `verdict`")
        verdict = said.get("verdict", "ask")
        for key in _ASKED if verdict in VERDICTS and verdict != "ask" else ():
            if key in expect:
                what = f"nobody is asked where the verdict is {verdict!r}, so `{key}` says nothing"
                expect.fault((key,), "value", what)
        return Expectation(
            verdict=expect.choice("verdict", VERDICTS, "allow") if "verdict" in expect else None,
            rules=_names(expect, "rules"),
            groups=_names(expect, "groups"),
            args=expect.mapping("args") if "args" in expect else None,
            control=expect.sentence("control"),
            message=expect.sentence("message"),
            shadow=_names(expect, "shadow"),
            missing=_names(expect, "missing"),
            ask=_ask(expect),
            approvals=_approvals(expect),
            expires=expect.duration("expires"),
            edits=_names(expect, "edits"),
        )


def _said(part: Part, key: str, default: Any) -> Any:
    """What stands there, a null too, which is no way to leave it out."""
    return part[key] if key in part else default  # noqa: SIM401 - a Part has no `get`


def _tool(part: Part) -> str:
    tool = part["tool"]
    if isinstance(tool, str) and tool:
        return tool
    part.fault(("tool",), "value", f"expected the name of a tool; {found(tool)}")
    return ""


def _outcome(part: Part) -> Outcome | None:
    """What comes of a call, where the file says so."""
    if "result" in part and "error" in part:
        part.fault(("error",), "value", "a call gives a `result` or an `error`, and not both")
    if "error" in part:
        return Outcome(status="error", error=part.sentence("error"))
    return Outcome(status="ok", result=part["result"]) if "result" in part else None


def _after(part: Part) -> int:
    if "after" not in part:
        return 0
    try:
        return parse_duration(part["after"])
    except ValueError as problem:
        part.fault(("after",), "value", str(problem))
        return 0


def _ask(part: Part) -> tuple[str, ...] | None:
    """Who is asked, nobody in particular where it is `true`."""
    if "ask" not in part or part["ask"] is True:
        return () if "ask" in part else None
    if isinstance(part["ask"], list) and part["ask"]:
        return _names(part, "ask")
    what = "expected a list of groups or people, or `true` for anyone"
    part.fault(("ask",), "type", f"{what}; {found(part['ask'])}")
    return None


def _approvals(part: Part) -> int | None:
    if "approvals" not in part:
        return None
    said = part["approvals"]
    if type(said) is int and 1 <= said <= MAX_APPROVALS:
        return said
    what = f"expected how many different people have to approve, 1 to {MAX_APPROVALS}"
    part.fault(("approvals",), "value", f"{what}; {found(said)}")
    return None


def _names(part: Part, key: str) -> tuple[str, ...] | None:
    if key not in part:
        return None
    for at, name in enumerate(part.list(key)):
        if not isinstance(name, str):
            part.fault((key, at), "type", f"expected a name; {found(name)}")
    return tuple(name for name in part.list(key) if isinstance(name, str))
