"""Arguments by name: how a tool is called, and how it is called again with what was decided.

A tool's signature is read once, when it is wrapped. Each call is then bound by name,
positional, keyword, default and variadic arguments alike, since a policy speaks of names;
and the values that were taken down are put back into the places they came from.

Nothing is refused here. What does not fit the signature is bound all the same, under a name
that no policy allows, so that the refusal is a decision with an entry in the ledger; and
where nothing is decided, the tool itself raises what it always raised.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from saferun.plain import NotPlainError, take_down

IDEMPOTENCY = "idempotency_key"
"""A parameter of this name is the gate's to fill and is hidden from callers."""


_NONE: frozenset[str] = frozenset()


class Bound(NamedTuple):
    """The arguments of one call: `plain` to decide on, `live` to run with (see `plain`)."""

    plain: dict[str, Any]
    live: dict[str, Any]
    defaulted: frozenset[str]
    opaque: dict[str, str]
    problems: tuple[str, ...]


class Binding:
    """One tool's signature, ready to bind calls.

    `receiver` says that the first parameter is the object that a method belongs to: it is
    part of the tool and no argument. Raises TypeError where there is no signature to read.
    """

    def __init__(self, tool: Callable[..., Any], *, receiver: bool = False) -> None:
        try:
            signature = inspect.signature(tool)
        except (TypeError, ValueError):
            raise TypeError(
                f"{tool!r} has no signature that can be read; wrap it in a function of its own"
            ) from None
        parameters = list(signature.parameters.values())
        self.takes_key = any(parameter.name == IDEMPOTENCY for parameter in parameters)
        self.signature = signature.replace(
            parameters=[each for each in parameters if each.name != IDEMPOTENCY]
        )
        if receiver:
            parameters = parameters[1:]
        self._places: tuple[str, ...] = ()
        self._first: set[str] = set()
        self._rest: str | None = None
        self._names: str | None = None
        self._defaults: dict[str, tuple[Any, Any]] = {}
        for parameter in parameters:
            self._add(parameter)

    def _add(self, parameter: inspect.Parameter) -> None:
        name = parameter.name
        if name == IDEMPOTENCY:
            return
        if parameter.kind is parameter.VAR_POSITIONAL:
            self._rest = name
            return
        if parameter.kind is parameter.VAR_KEYWORD:
            self._names = name
            return
        if parameter.kind is not parameter.KEYWORD_ONLY:
            self._places = (*self._places, name)
        if parameter.kind is parameter.POSITIONAL_ONLY:
            self._first.add(name)
        if parameter.default is not parameter.empty:
            try:
                self._defaults[name] = take_down(parameter.default, name)
            except NotPlainError:
                # A sentinel of the tool's own. The tool fills it in; no caller can pass it.
                return

    def bind(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], unread: frozenset[str] = _NONE
    ) -> Bound:
        """The arguments of one call by name. `args` come without the receiver.

        `unread` names the arguments that policy has declared opaque: they are passed on as
        they are, whatever they are.
        """
        given: dict[str, Any] = dict(zip(self._places, args, strict=False))
        extra = args[len(self._places) :]
        if extra:
            given[self._rest or f"*{len(self._places)}"] = list(extra)
        for name, value in kwargs.items():
            # A name that is taken already, or that only a place may fill, is no such argument:
            # `f(1, a=2)` on `def f(a)`. The star keeps it apart from every name a policy knows.
            clash = name in given or name in self._first or name in (self._rest, self._names)
            given[f"**{name}" if clash and name != self._names else name] = value
        plain: dict[str, Any] = {}
        live: dict[str, Any] = {}
        opaque: dict[str, str] = {}
        problems: list[str] = []
        for name, value in given.items():
            if name in unread:
                live[name] = value
                opaque[name] = _type_of(value)
                continue
            try:
                plain[name], live[name] = take_down(value, name)
            except NotPlainError as problem:
                live[name] = value
                opaque[name] = _type_of(value)
                if not problem.opaque:
                    problems.append(f"{problem.where} {problem.why}")
        if not self._defaults.keys() <= given.keys():
            defaulted = self._defaults.keys() - given.keys()
            for name in defaulted:
                plain[name], live[name] = take_down(self._defaults[name][1], name)
            return Bound(plain, live, frozenset(defaulted), opaque, tuple(problems))
        return Bound(plain, live, _NONE, opaque, tuple(problems))

    def places(self, live: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments as the tool takes them: by position where it must be, else by name."""
        args: list[Any] = []
        kwargs = dict(live)
        rest = kwargs.pop(self._rest, None) if self._rest is not None else None
        for name in self._places:
            if name not in kwargs or (rest is None and name not in self._first):
                break
            args.append(kwargs.pop(name))
        if rest:
            args.extend(rest)
        over = kwargs.pop(f"*{len(self._places)}", ())
        args.extend(over)
        return tuple(args), {
            # The same name twice is the tool's own error to raise.
            name.removeprefix("**"): value
            for name, value in kwargs.items()
        }


def _type_of(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"
