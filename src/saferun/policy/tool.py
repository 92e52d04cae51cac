"""What a policy says about one tool, compiled, and the objections it makes to a call."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from saferun.call import Call, Effect, Facts, Reason
from saferun.control import Breaker, Limit, Loops
from saferun.keeping import Keep
from saferun.policy.document import Cost, Rule, Tool
from saferun.policy.names import missing, values
from saferun.policy.reading import floats_in, look, written_alike
from saferun.policy.wording import complaint, listed, named, place

if TYPE_CHECKING:
    # Only compiling needs the schema library, and importing saferun shall not wait for it.
    from jsonschema_rs import Draft202012Validator

    from saferun.policy.matcher import Matcher

_WRITABLE = frozenset(("str", "int", "float", "bool", "NoneType", "list", "dict", "tuple", "bytes"))
"""Types of the values that a model's JSON can become on its way to a tool."""

_MAX_SENTENCES = 5
_MAX_EXPLAINED = 1_000
"""The most values that an argument may hold to be told in detail what is wrong with it.

Every single complaint costs the library some microseconds, and the model chooses how many.
"""


class Seen:
    """One call as the rules see it: its arguments, and what is known beside them."""

    __slots__ = ("_floats", "_values", "args", "call", "facts")

    def __init__(self, call: Call, args: dict[str, Any], facts: Facts) -> None:
        self.call = call
        self.args = args
        self.facts = facts
        self._floats: bool | None = None
        self._values: dict[str, Any] | None = None

    @property
    def floats(self) -> bool:
        """Whether there is a float in the arguments. Raises ValueError as `floats_in` does."""
        if self._floats is None:
            self._floats = floats_in(self.args)
        return self._floats

    @property
    def values(self) -> dict[str, Any]:
        """What conditions read; put together for the first one that asks."""
        if self._values is None:
            self._values = values(self.call, self.args, self.facts)
        return self._values


class RulePolicy(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """One rule, compiled. `reason` is what it says where it applies.

    `conditional` says that no schema can tell at a glance whether it speaks. `reads` are the
    paths that its condition looks at.
    """

    said: Rule
    reason: Reason
    matchers: "Mapping[str, Matcher]"
    conditional: bool = False
    reads: tuple[tuple[str, ...], ...] = ()

    def applies(self, seen: Seen) -> bool:
        """Whether all that the rule asks for holds: scope, arguments and condition.

        Every argument that it looks at has to be there. Raises where it cannot be told; the
        rule then denies.
        """
        said = self.said
        for name, matcher in self.matchers.items():
            if name not in seen.args:
                return False
            # What lets a call through has to hold in every reading of its numbers.
            holds = matcher.admits if said.answer == "allow" else matcher.catches
            if not holds(seen.args[name], floats=seen.floats):
                return False
        # After the arguments: a call that the rule is not about is told so at a glance, and
        # both answers have to be the same.
        if said.scope is not None:
            covered = said.scope.covers(seen.call, seen.facts.environment)
            if covered is None and said.answer != "allow":
                raise ValueError
            if not covered:
                return False
        return said.when is None or said.when.holds(seen.values)

    def lacking(self, seen: Seen) -> tuple[str, ...]:
        """What the rule would have to know of the run and does not."""
        scope = self.said.scope
        unknown: tuple[str, ...] = ()
        if scope is not None and scope.covers(seen.call, seen.facts.environment) is None:
            unknown = scope.unknown(seen.call, seen.facts.environment)
        return (*unknown, *missing(self.reads, seen.values))

    def failed(self, lacking: Sequence[str]) -> Reason:
        """What it says where it cannot be told whether it applies."""
        why = f", since {listed(lacking)} is not known" if lacking else ""
        message = f"the rule cannot be evaluated{why}, so it denies"
        return replace(self.reason, effect="deny", message=message, failed=True)

    def changed(self, args: dict[str, Any]) -> dict[str, Any]:
        """The arguments as the rule wants them, the same dict where they are that already."""
        new = {
            name: _fresh(value)
            for name, value in self.said.sets.items()
            if name not in args or not written_alike(args[name], value)
        }
        for name, clamp in self.said.clamps.items():
            value = args.get(name)
            if clamp.minimum is not None and value is not None and value < clamp.minimum:
                new[name] = clamp.minimum
            elif clamp.maximum is not None and value is not None and value > clamp.maximum:
                new[name] = clamp.maximum
        return {**args, **new} if new else args


class ToolPolicy(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """What a policy says about one tool, compiled.

    `limits` holds the tool's own and those over all tools. `loops` and `breaker` are None where
    that control is off, `timeout` is in microseconds and None for no end, and `cost` is None for
    a tool that costs nothing. `redact` and `sensitive` hold paths as tuples of steps, such as
    `("args", "card_number")`; the step `*` is any key or position. `results` is how much is kept
    of its results. `subject` is the argument that says whose the sensitive values are, None for
    the user of the run. `opaque` names the arguments that are never taken down or decided on, and
    `paths` those that are paths, or lists of them, to be resolved before they are.

    `matchers` has one for each argument, and is None where arguments are not checked.
    `rules` has every rule that answers, `changes` those that change arguments instead, and
    `conditional` those of either kind that no schema speaks for.
    `otherwise` is what is said where no rule decides, None where that is to allow.
    `fitting` is the schema of all arguments at once, and `quiet` that of the arguments
    which no rule speaks about either; it is None where something speaks about every call.
    Both are answers at a glance: where `exacting` is true, they read floats more
    generously than the matchers do, whose answer then counts.
    """

    said: Tool
    name: str
    effect: Effect
    limits: tuple[Limit, ...] = ()
    redact: tuple[tuple[str, ...], ...] = ()
    sensitive: tuple[tuple[str, ...], ...] = ()
    results: Keep = "whole"
    subject: str | None = None
    idempotent: bool = False
    loops: Loops | None = Loops()
    breaker: Breaker | None = Breaker()
    poll: bool = False
    timeout: int | None = None
    cost: Cost | None = None
    releasable: bool = False
    opaque: frozenset[str] = frozenset()
    paths: frozenset[str] = frozenset()
    matchers: "Mapping[str, Matcher] | None" = None
    defaults: Mapping[str, Any] = {}
    rules: tuple[RulePolicy, ...] = ()
    changes: tuple[RulePolicy, ...] = ()
    conditional: tuple[RulePolicy, ...] = ()
    otherwise: Reason | None = None
    fitting: "Draft202012Validator | None" = None
    quiet: "Draft202012Validator | None" = None
    exacting: bool = False

    def filled(self, call: Call) -> dict[str, Any]:
        """The arguments with the policy's defaults where the caller left them out.

        They go before the tool's own defaults, which may be wider than what the policy
        allows. The same dict comes back where nothing changes.
        """
        args = call.args
        left = {
            name: _fresh(default)
            for name, default in self.defaults.items()
            if name not in args
            or (name in call.defaulted and not written_alike(args[name], default))
        }
        return {**args, **left} if left else args

    def checked(self, call: Call, args: dict[str, Any]) -> dict[str, Any]:
        """The arguments that the policy has to do with.

        What the caller left to the tool's own default and the policy does not name is
        the application's choice, not the caller's.
        """
        if not call.defaulted or self.matchers is None:
            return args
        ours = call.defaulted.difference(self.matchers)
        return {name: value for name, value in args.items() if name not in ours}

    def is_quiet(self, call: Call, args: dict[str, Any], facts: Facts) -> bool:
        """Whether it is certain that nothing speaks about this call; False says nothing."""
        if not self._holds(self.quiet, call, args):
            return False
        if not self.conditional:
            return True
        seen = Seen(call, self.checked(call, args), facts)
        try:
            # A loop and not `any`, which would make a generator for every call.
            for rule in self.conditional:
                if rule.applies(seen):
                    return False
        except Exception:  # noqa: BLE001 - a rule that fails has something to say
            return False
        return True

    def _holds(
        self, schema: "Draft202012Validator | None", call: Call, args: dict[str, Any]
    ) -> bool:
        if schema is None or call.problems or call.opaque:
            return False
        try:
            if floats_in(args) and self.exacting:
                return False
            return schema.is_valid(self.checked(call, args))
        except ValueError:
            return False

    def objection(self, call: Call, args: dict[str, Any]) -> Reason | None:
        """Why the arguments do not fit, None where they do. The message names no value."""
        if self._holds(self.fitting, call, args):
            return None
        message = None
        sentences = list(call.problems or self._unlisted(call))
        if not sentences:
            # What could not be taken down is not in `args` and would be missing as well.
            sentences = list(self._complaints(self.checked(call, args)))
            message = self.said.message
        if not sentences:
            return None
        return Reason(
            id=f"{self.said.name}.args",
            effect="deny",
            source="args",
            message=message or "; ".join(list(dict.fromkeys(sentences))[:_MAX_SENTENCES]),
            line=self.said.line,
        )

    def _unlisted(self, call: Call) -> Iterator[str]:
        for name, kind in call.opaque.items():
            if name not in self.opaque:
                yield (
                    f"{named(name)} is a {named(kind)}, which cannot be checked or recorded; "
                    "if the application passes it, list it under `opaque` of the tool"
                )
            elif kind.removeprefix("builtins.") in _WRITABLE:
                # Nothing looks at what is opaque, so it must be something no model can write.
                yield f"{named(name)} is an object of the application, and not a plain value"

    def _complaints(self, args: Mapping[str, Any]) -> Iterator[str]:
        if self.matchers is None:
            yield from (f"{named(name)} {_UNPLAIN}" for name in args if not _is_plain(name, args))
            return
        if strange := [named(name) for name in args if name not in self.matchers]:
            many = "are not arguments" if len(strange) > 1 else "is not an argument"
            known = f"; it allows {listed(self.matchers) or 'none'}" if self.said.disclose else ""
            yield f"{listed(strange)} {many} that the policy allows{known}"
        for name, matcher in self.matchers.items():
            if name in args:
                yield from self._misfits(name, matcher, args[name])
            elif self.said.args and self.said.args[name].required:
                yield f"{name} is missing"

    def _misfits(self, name: str, matcher: "Matcher", value: Any) -> Iterator[str]:
        try:
            floats, size = look({name: value})
            if matcher.admits(value, floats=floats):
                return
        except ValueError:
            yield f"{name} {_UNPLAIN}"
            return
        if not self.said.disclose:
            yield f"{name} is outside what the policy allows"
        elif size > _MAX_EXPLAINED:
            yield complaint(name, "", None)
        else:
            yield from self._told(name, matcher, value)

    def _told(self, name: str, matcher: "Matcher", value: Any) -> Iterator[str]:
        try:
            for path, keyword, constant in matcher.complaints(value):
                yield complaint(place((name, *path)), keyword, constant)
        except ValueError:
            # The library judges values of any depth and describes only shallow ones.
            yield complaint(name, "", None)


_UNPLAIN = "holds something that is not plain data: a number without end, say, or broken text"


def _is_plain(name: str, args: Mapping[str, Any]) -> bool:
    try:
        look({name: args[name]})
    except ValueError:
        return False
    return True


def _fresh(default: Any) -> Any:
    # The tool may change what it is given, and the next call must not see that.
    if isinstance(default, dict):
        return {key: _fresh(value) for key, value in default.items()}
    if isinstance(default, list):
        return [_fresh(value) for value in default]
    return default
