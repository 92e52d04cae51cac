"""What a test file says, once it has been read and found sound. Plain records."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec

from saferun.call import Call, Outcome, Past, RunRef

Expected: TypeAlias = Literal["allow", "ask", "deny", "defer"]

RUN = "test"
"""The run that all calls of a case belong to."""


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """What is known beside a call: all that conditions can read, save the arguments.

    `now` is in microseconds since 1970, UTC. `past` is what the run has done before the first
    call of the case; its `began` lies as far back as the file says that the run has lasted.
    """

    now: int
    past: Past
    user: Mapping[str, Any] = msgspec.field(default_factory=dict)
    agent: str | None = None
    tenant: str | None = None
    environment: str | None = None
    context: Mapping[str, Any] = msgspec.field(default_factory=dict)

    def call(self, tool: str, args: dict[str, Any]) -> Call:
        run = RunRef(
            run_id=RUN,
            root=RUN,
            agent=self.agent,
            user=self.user,
            tenant=self.tenant,
            context=self.context,
        )
        return Call(tool=tool, args=args, run=run)


class Expectation(msgspec.Struct, frozen=True, kw_only=True):
    """What has to come of a call. What is None is not looked at.

    `rules` are the ids of all that spoke, in any order; `args` are some of the final arguments;
    `message` is a part of what one of the reasons says; `missing` names what conditions asked
    of the run and were not told. `shadow` are rules and limits in shadow that would have spoken,
    beside others perhaps. `ask` are the people and groups who are asked at first, none of them
    where anybody may answer; `approvals` is the most that one rule takes, `expires` how long the
    question stands, in microseconds, and `edits` are the arguments that may be changed.
    """

    verdict: Expected | None = None
    rules: tuple[str, ...] | None = None
    groups: tuple[str, ...] | None = None
    args: Mapping[str, Any] | None = None
    control: str | None = None
    message: str | None = None
    shadow: tuple[str, ...] | None = None
    missing: tuple[str, ...] | None = None
    ask: tuple[str, ...] | None = None
    approvals: int | None = None
    expires: int | None = None
    edits: tuple[str, ...] | None = None

    @property
    def asks(self) -> bool:
        """Whether it says anything of the people who are asked."""
        said = (self.ask, self.approvals, self.expires, self.edits)
        return any(each is not None for each in said)


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One call of a case, made `times` times.

    `after` is how long after the call before it is made, in microseconds, each of the times.
    With `approve`, a person who is asked says yes. `cost_usd` is what model turns cost before.
    `outcome` is what comes of it where it is let through; with None it is still under way.
    """

    tool: str
    args: dict[str, Any]
    expect: Expectation
    times: int = 1
    after: int = 0
    approve: bool = False
    cost_usd: float = 0.0
    outcome: Outcome | None = None
    line: int | None = None


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a policy is expected to do: calls of one run, in order."""

    name: str
    situation: Situation
    steps: tuple[Step, ...]
    line: int | None = None


class Suite(msgspec.Struct, frozen=True, kw_only=True):
    """A whole test file, and the file of the policy that it is about."""

    path: Path
    policy: Path
    cases: tuple[Case, ...]
