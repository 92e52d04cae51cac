"""What a policy file says, once it has been read and found sound. Plain records."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec

from saferun.call import Call, Demand, Effect
from saferun.control import Breaker, Limit, Loops
from saferun.control.amount import micro
from saferun.keeping import WHOLE, Keeping

if TYPE_CHECKING:
    from saferun.policy.expression import Expression, Quantity

Answer: TypeAlias = Literal["allow", "ask", "deny"]
"""What a rule or a `default` may say. Only controls defer."""

UNSET = msgspec.UNSET

_NOISE = 9
"""Decimals of a dollar after which the arithmetic of an expression is no longer trusted."""


class Argument(msgspec.Struct, frozen=True, kw_only=True):
    """One argument that a tool may be given.

    `schema` is JSON Schema, draft 2020-12, with the forms of `saferun.policy.form`, without
    the policy's own words `default`, `optional` and `use`. `default` is filled in where the
    caller leaves the argument out.
    """

    schema: dict[str, Any]
    required: bool
    default: Any = UNSET


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """For whom something holds: each that is named has to be one of the values.

    An empty tuple means anyone. All of it comes from the application and its configuration,
    and nothing from a model.
    """

    user: tuple[str, ...] = ()
    tenant: tuple[str, ...] = ()
    agent: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()

    def covers(self, call: Call, environment: str | None) -> bool | None:
        """Whether a call is in it, None where something that it names is not known."""
        known = True
        for _, allowed, found in self._held_against(call, environment):
            if found is None:
                known = False
            elif found not in allowed:
                return False
        return True if known else None

    def unknown(self, call: Call, environment: str | None) -> tuple[str, ...]:
        """What it names and the call does not say."""
        return tuple(
            name for name, _, found in self._held_against(call, environment) if found is None
        )

    def _held_against(
        self, call: Call, environment: str | None
    ) -> Iterator[tuple[str, tuple[str, ...], str | None]]:
        """Each thing that it names, with the values that are allowed and the one that is found."""
        run = call.run
        if self.user:
            yield "user", self.user, run.user_id if run is not None else None
        if self.tenant:
            yield "tenant", self.tenant, run.tenant if run is not None else None
        if self.agent:
            yield "agent", self.agent, run.agent if run is not None else None
        if self.environment:
            yield "environment", self.environment, environment

    @property
    def weight(self) -> tuple[int, ...]:
        """How specific it is: by how many things it names, and then in the order of its fields."""
        named = [bool(values) for values in (self.user, self.tenant, self.agent, self.environment)]
        return (sum(named), *named)

    def meets(self, other: "Scope") -> bool:
        """Whether some call could be in both."""
        return all(
            not mine or not theirs or not set(mine).isdisjoint(theirs)
            for mine, theirs in (
                (self.user, other.user),
                (self.tenant, other.tenant),
                (self.agent, other.agent),
                (self.environment, other.environment),
            )
        )

    def sentence(self) -> str:
        """`agent support or ops, tenant acme`, as a reader would say it."""
        return ", ".join(
            f"{name} {' or '.join(getattr(self, name))}"
            for name in self.__struct_fields__
            if getattr(self, name)
        )


class Clamp(msgspec.Struct, frozen=True, kw_only=True):
    """The range that a number is brought into, both ends in it; None leaves an end open."""

    minimum: int | float | None = None
    maximum: int | float | None = None


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One rule of a tool.

    `answer` is None for a rule that changes arguments, by `sets` and `clamps`, and says nothing
    about the call. `args` holds a schema for each argument that must match, `when` a condition
    and `scope` whom it concerns; each is None where the rule does not look. `demand` is whose yes
    an `ask` wants, and None for every other answer.
    """

    id: str
    answer: Answer | None
    demand: Demand | None = None
    args: Mapping[str, dict[str, Any]] | None = None
    when: "Expression | None" = None
    scope: Scope | None = None
    sets: Mapping[str, Any] = msgspec.field(default_factory=dict)
    clamps: Mapping[str, Clamp] = msgspec.field(default_factory=dict)
    message: str | None = None
    shadow: bool = False
    line: int | None = None


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What a call of a tool costs, in US dollars.

    `most` is the most that it may come to, which is held while it runs: micro-dollars, or an
    expression over what conditions may speak of, whose number is dollars. `source` leads to
    the true cost in the tool's result, in dollars; None where `most` is what it costs.
    """

    most: "int | Quantity"
    source: tuple[str, ...] | None = None

    @property
    def reads(self) -> frozenset[tuple[str, ...]]:
        """The paths that it looks at, as conditions have them."""
        return frozenset() if isinstance(self.most, int) else self.most.reads

    def true(self, result: bytes, held: int) -> int:
        """What a call truly cost, in micro-dollars, by its result as JSON.

        A result is not to be believed that names no price: then it cost what was `held`.
        """
        if self.source is None:
            return held
        value: Any = msgspec.json.decode(result)
        for step in self.source:
            value = value.get(step) if isinstance(value, dict) else None
        try:
            return micro(value)
        except ValueError:
            return held

    def of(self, values: Mapping[str, Any]) -> int:
        """The most that a call may cost, in micro-dollars, by what conditions read of it.

        Raises EvaluationError where it cannot be told, and ValueError where it is no amount:
        less than nothing, or beyond what can be counted.
        """
        if isinstance(self.most, int):
            return self.most
        # 3 * 0.1 is 0.30000000000000004 to a computer. Amounts are rounded up, and without
        # this one would come out a millionth above a limit that it just meets.
        return micro(round(self.most.of(values), _NOISE))


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy says about one tool, or about all whose names begin alike (`mcp.*`).

    `args` is None where they are not checked (`any`). `scope` is None where the entry holds
    for everyone. `path` is where the entry stands in the file's values.

    `loops` and `breaker` have what the policy says for all tools where this one says nothing,
    and are None where that control is off. `sensitive` has the paths of what is kept encrypted,
    and `subject` is the argument that says whose it is, None for the user of the run. `poll`
    says that the tool is asked again and again until something changes. `timeout` is in
    microseconds, None for no end. `releasable` says that an error of the tool means that nothing
    happened.
    """

    name: str
    path: tuple[str | int, ...] = ()
    effect: Effect
    args: Mapping[str, Argument] | None
    scope: Scope | None = None
    default: Answer = "allow"
    rules: tuple[Rule, ...] = ()
    limits: tuple[Limit, ...] = ()
    redact: tuple[tuple[str, ...], ...] = ()
    sensitive: tuple[tuple[str, ...], ...] = ()
    subject: str | None = None
    idempotent: bool = False
    loops: Loops | None = Loops()
    breaker: Breaker | None = Breaker()
    poll: bool = False
    timeout: int | None = None
    cost: Cost | None = None
    releasable: bool = False
    opaque: frozenset[str] = frozenset()
    disclose: bool = True
    message: str | None = None
    line: int | None = None

    @property
    def prefix(self) -> str | None:
        """What the names begin with that the entry is about, None where it is about one tool."""
        return self.name[:-1] if self.name.endswith("*") else None


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """A whole policy, with all that it includes.

    `version` is the hash of its canonical form, in hexadecimal, and `value` that form's value:
    what the file says with its includes and lists in place, so that it can be kept and read
    again anywhere. `inputs` maps what conditions may speak of, as dotted names, to JSON Schemas.
    `tools` has every entry, also those of scopes, in the order of the file. `loops` and
    `breaker` hold for tools that no entry is about, and are None where that control is off.
    `record` is how much is kept of what the runs say that it guards, and of its tools' results.
    """

    name: str
    version: str
    value: Mapping[str, Any]
    default: Answer = "deny"
    mode: Literal["enforce", "shadow"] = "enforce"
    urgent: bool = False
    inputs: Mapping[str, dict[str, Any]] = msgspec.field(default_factory=dict)
    limits: tuple[Limit, ...] = ()
    loops: Loops | None = Loops()
    breaker: Breaker | None = Breaker()
    record: Keeping = WHOLE
    tools: tuple[Tool, ...] = ()
