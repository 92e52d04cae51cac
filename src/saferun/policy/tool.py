"""What a policy says about one tool, compiled, and the objections it makes to a call."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from saferun.call import Call, Effect, Reason
from saferun.control import Limit
from saferun.policy.document import Rule, Tool
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


class RulePolicy(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """One rule, compiled. `reason` is what it says where it applies."""

    said: Rule
    reason: Reason
    matchers: "Mapping[str, Matcher]"

    def says(self, args: Mapping[str, Any], *, floats: bool) -> Reason | None:
        """Its reason where the rule applies, and a denial where that cannot be told."""
        try:
            return self.reason if self.applies(args, floats=floats) else None
        except Exception:  # noqa: BLE001
            return replace(
                self.reason, effect="deny", message="the rule cannot be evaluated, so it denies"
            )

    def applies(self, args: Mapping[str, Any], *, floats: bool) -> bool:
        """Whether every argument that the rule looks at is there and matches."""
        for name, matcher in self.matchers.items():
            if name not in args:
                return False
            # What lets a call through has to hold in every reading of its numbers.
            holds = matcher.admits if self.said.answer == "allow" else matcher.catches
            if not holds(args[name], floats=floats):
                return False
        return True


class ToolPolicy(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """What a policy says about one tool, compiled.

    `limits` holds the tool's own and those over all tools. `redact` holds paths as
    tuples of steps, such as `("args", "card_number")`; the step `*` is any key or
    position. `opaque` names the arguments that are never taken down or decided on.

    `matchers` has one for each argument, and is None where arguments are not checked.
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
    idempotent: bool = False
    opaque: frozenset[str] = frozenset()
    matchers: "Mapping[str, Matcher] | None" = None
    defaults: Mapping[str, Any] = {}
    rules: tuple[RulePolicy, ...] = ()
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

    def is_quiet(self, call: Call, args: dict[str, Any]) -> bool:
        """Whether it is certain that nothing speaks about this call; False says nothing."""
        return self._holds(self.quiet, call, args)

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
