"""Arguments by name: how a tool is called, and how it is called again with what was decided.

A tool's signature is read once, when it is wrapped. Each call is then bound by name,
positional, keyword, default and variadic arguments alike, since a policy speaks of names;
and the values that were taken down are put back into the places they came from.

Nothing is refused here. A call that names cannot tell is bound as far as they go, and the
problem is stated: under a policy, that is a denial with an entry in the ledger.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from saferun import redact
from saferun.plain import NotPlainError, shown, take_down, type_name

IDEMPOTENCY = "idempotency_key"
"""A parameter of this name is the gate's to fill and is hidden from callers."""

_NONE: frozenset[str] = frozenset()
_SMALL = 1 << 63


class Bound(msgspec.Struct, frozen=True):
    """The arguments of one call: `plain` to decide on, `live` to run with (see `plain`).

    `defaulted` names what the caller left to the tool's own defaults. Those stand in `plain`,
    and in `live` only where the tool's own object could be another one by then.
    """

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
        every = list(signature.parameters.values())
        self.signature = signature.replace(
            parameters=[each for each in every if each.name != IDEMPOTENCY]
        )
        by_place = [
            each
            for each in every[receiver:]
            if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
        ]
        self._places = tuple(each.name for each in by_place if each.name != IDEMPOTENCY)
        self._only = [
            each.name
            for each in by_place
            if each.kind is each.POSITIONAL_ONLY and each.name != IDEMPOTENCY
        ]
        self._rest = next((each.name for each in every if each.kind is each.VAR_POSITIONAL), None)
        self._key = signature.parameters.get(IDEMPOTENCY)
        self._key_at = by_place.index(self._key) if self._key in by_place else None
        # Keywords that would be taken for what only a place, or the gate, can fill.
        self._reserved = frozenset(
            filter(None, (*self._only, self._rest, self._key and IDEMPOTENCY))
        )
        self._own = {
            each.name: each.default
            for each in every[receiver:]
            if each.default is not each.empty and each.name != IDEMPOTENCY
        }
        # Those that nothing can change are taken down once, the others at every call.
        self._fixed: dict[str, Any] = {}
        self._moving: dict[str, Any] = {}
        for name, default in self._own.items():
            try:
                plain, live = take_down(default, name)
            except NotPlainError:
                # A mark of the tool's own that no caller can mean.
                continue
            if live is default and not isinstance(plain, list | dict):
                self._fixed[name] = plain
            else:
                self._moving[name] = default
        self._defaults = frozenset((*self._fixed, *self._moving))

    def bind(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], unread: frozenset[str] = _NONE
    ) -> Bound:
        """The arguments of one call by name. `args` come without the receiver.

        `unread` names the arguments that policy has declared opaque: they are passed on as
        they are, whatever they are.
        """
        given: dict[str, Any] = dict(zip(self._places, args, strict=False)) if args else {}
        problems: list[str] = []
        if len(args) > len(self._places):
            if self._rest is not None:
                given[self._rest] = list(args[len(self._places) :])
            else:
                problems.append(f"it takes {len(self._places)} arguments by position at most")
        taken = self._reserved.union(given) if args else self._reserved
        if taken and not taken.isdisjoint(kwargs):
            problems += (
                f"{redact.text(shown(name))} cannot be given by its name here"
                for name in kwargs
                if name in taken
            )
            given = {**kwargs, **given}
        else:
            given.update(kwargs)
        defaulted = _NONE
        if self._defaults:
            defaulted = self._defaults.difference(given)
            given.update((name, self._moving[name]) for name in self._moving if name in defaulted)
        plain: dict[str, Any] = {}
        live: dict[str, Any] = {}
        opaque: dict[str, str] = {}
        for name, value in given.items():
            if name not in unread:
                kind = type(value)
                if (
                    (kind is str and value.isascii() and "\0" not in value)
                    or (kind is int and -_SMALL < value < _SMALL)
                    or value is None
                ):
                    # What most arguments are is plain at a glance.
                    plain[name] = live[name] = value
                    continue
                try:
                    plain[name], live[name] = take_down(value, name)
                except NotPlainError as problem:
                    if not problem.opaque:
                        problems.append(redact.text(str(problem)))
                else:
                    continue
            live[name] = value
            opaque[name] = type_name(value)
        for name in defaulted:
            if name in self._fixed:
                plain[name] = self._fixed[name]
        return Bound(plain, live, defaulted, opaque, tuple(problems))

    def places(self, live: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments as the tool takes them: by position where it must be, else by name."""
        kwargs = dict(live)
        rest = kwargs.pop(self._rest, ()) if self._rest is not None else ()
        names = self._places if rest else self._only
        if not names:
            return tuple(rest), kwargs
        args: list[Any] = []
        for name in names:
            if name in kwargs:
                args.append(kwargs.pop(name))
            elif name in self._own and not kwargs.keys().isdisjoint(names):
                # The policy has filled in a later place, which only has it behind this one.
                args.append(self._own[name])
            else:
                break
        return (*args, *rest), kwargs

    @property
    def takes_key(self) -> bool:
        return self._key is not None

    def keyed(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], key: str | None
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """A call with the gate's key put where the tool expects it, whatever was there."""
        left = {name: value for name, value in kwargs.items() if name != IDEMPOTENCY}
        at, mark = self._key_at, self._key
        if (
            at is None
            or mark is None
            or (len(args) <= at and mark.kind is not mark.POSITIONAL_ONLY)
        ):
            return args, {**left, IDEMPOTENCY: key}
        skipped = (self._own[name] for name in self._places[len(args) : at] if name in self._own)
        return (*args[:at], *skipped, key, *args[at:]), left
