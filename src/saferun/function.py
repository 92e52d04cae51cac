"""Which function a tool is: what a yes to one of its calls is bound to, besides its name.

A name in a policy says nothing of what runs under it. What is noted here is what stays the same
when a program starts anew, on another Python too: where the function was defined and as what,
whose method it is, and how it takes its arguments. Neither its code is noted, which every
release of Python compiles differently and every comment in it would change, nor annotations,
which read otherwise from version to version and decide nothing. Nor are the values of defaults:
those are among the arguments of a call, and so bound as they are.
"""

import functools
import hashlib
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from pathlib import Path
from types import BuiltinMethodType, FunctionType, MethodType, ModuleType
from typing import Any

import msgspec

from saferun import redact
from saferun.call import FunctionRef, Parameter, Taking, canonical
from saferun.plain import NotPlainError, shown, take_down, type_name

_KEPT = 100
"""Functions that are looked for among what a tool object has been given."""

_WAYS: Mapping[Any, Taking] = {
    inspect.Parameter.POSITIONAL_ONLY: "place",
    inspect.Parameter.POSITIONAL_OR_KEYWORD: "any",
    inspect.Parameter.VAR_POSITIONAL: "rest",
    inspect.Parameter.KEYWORD_ONLY: "name",
    inspect.Parameter.VAR_KEYWORD: "more",
}


def reference(
    tool: Callable[..., Any], signature: inspect.Signature, *, receiver: bool = False
) -> FunctionRef:
    """What is known of a tool that takes its arguments like that.

    With `receiver`, the first of them is the object that a method belongs to; see `on`.
    """
    fixed: list[Any] = []
    while isinstance(tool, functools.partial):
        fixed += [_fixed(tool.args), {name: _fixed([it]) for name, it in tool.keywords.items()}]
        tool = tool.func
    owner = getattr(tool, "__self__", None)
    bound = owner is not None and not isinstance(owner, ModuleType)
    parameters = list(signature.parameters.values())[receiver:]
    return FunctionRef(
        module=_module(tool),
        name=_name(tool),
        of=_class(owner) if bound else None,
        takes=tuple(
            Parameter(
                each.name,
                _WAYS[each.kind],
                each.default is each.empty
                and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD),
            )
            for each in parameters
        ),
        fixed=hashlib.sha256(canonical.encode(fixed)).hexdigest() if fixed else "",
        keeps=_kept(owner) if bound else (),
    )


def on(function: FunctionRef, owner: Any) -> FunctionRef:
    """A method as it is called on an object: which class that has is part of what runs."""
    return msgspec.structs.replace(function, of=_class(owner))


def difference(asked: FunctionRef | None, now: FunctionRef | None) -> str | None:
    """How what would run differs from what people were asked about; None where it does not.

    A sentence that a model may read: it names neither of them.
    """
    if asked == now:
        return None
    if asked is None or now is None:
        return "nobody has said which function it was asked about for, so none can be held to be it"
    if (asked.module, asked.name, asked.keeps) != (now.module, now.name, now.keeps):
        return "it was asked about for another function than the one that would run"
    if asked.of != now.of:
        return "it was asked about for an object of another class than the one that it would run on"
    if asked.takes != now.takes:
        return "the function takes its arguments otherwise than when it was asked about"
    return "the function has other values fixed than when it was asked about"


def unfit(function: FunctionRef, args: Iterable[str]) -> str | None:
    """Why a function cannot be called with arguments of these names; None where it can."""
    if function.takes is None:
        return None
    given = set(args)
    lacking = next(
        (each.name for each in function.takes if each.needed and each.name not in given), None
    )
    if lacking is not None:
        return f"the tool needs an argument {lacking}, which nobody gives"
    if any(each.way == "more" for each in function.takes):
        return None
    odd = next(iter(sorted(given.difference(each.name for each in function.takes))), None)
    return None if odd is None else f"the tool takes no argument {redact.text(shown(odd))}"


def _fixed(values: Iterable[Any]) -> list[Any]:
    """Values that a partial has set: those that are plain as they are, others by their type."""
    return [_plain(value) for value in values]


def _plain(value: Any) -> Any:
    try:
        return take_down(value, "")[0]
    except NotPlainError:
        return {"of": type_name(value)}


def _kept(owner: Any) -> tuple[str, ...]:
    """The functions that a tool object has been given, by what they are there: `func`, say."""
    kinds = (FunctionType, MethodType, BuiltinMethodType, functools.partial)
    found = sorted(
        (name, each) for name, each in getattr(owner, "__dict__", {}).items() if type(each) in kinds
    )
    return tuple(f"{name}={_described(each)}" for name, each in islice(found, _KEPT))


def _described(tool: Any) -> str:
    while isinstance(tool, functools.partial):
        tool = tool.func
    return f"{_module(tool)}:{_name(tool)}"


def _class(owner: Any) -> str:
    # What stands in for an object says its class by this, and has another type.
    kind = owner if isinstance(owner, type) else owner.__class__
    return f"{_module(kind)}:{kind.__qualname__}"


def _name(tool: Any) -> str:
    found = getattr(tool, "__qualname__", None)
    return found if isinstance(found, str) else type(tool).__qualname__


def _module(defined: Any) -> str:
    """Where something was defined, for a program's first file as whoever imports it calls it."""
    found = getattr(defined, "__module__", None)
    if found not in ("__main__", "__mp_main__"):
        return found if isinstance(found, str) else ""
    main = sys.modules.get("__main__")
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    if spec is not None:
        return str(spec.name)
    return Path(file).stem if isinstance(file, str) else "__main__"
