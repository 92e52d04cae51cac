"""A stand-in for a tool object: every way in is guarded, everything else is the object's.

Frameworks enter their tools by a handful of names. Those lead through the gate; the rest,
name, schema, settings, properties, is read from the object and written to it. The object
itself is not to be had: its other methods run with the stand-in as `self`, so what they
enter or hand out is guarded as well, a copy is guarded again, and there is no pickling.

What remains open is what is open to any code in the process: the object's class, which can
be imported anyway, closures, and what an attribute or a method makes of the object inside.
"""

import copy
import dataclasses
from collections.abc import Callable, Iterator
from types import MethodType
from typing import Any, NoReturn

ENTRIES = (
    *("__call__", "execute", "aexecute", "invoke", "ainvoke", "run", "arun", "_run", "_arun"),
    *("call", "acall", "_call", "_acall", "forward", "aforward", "run_async", "call_async"),
    *("batch", "abatch", "batch_as_completed", "abatch_as_completed", "stream", "astream"),
    *("astream_events", "astream_log", "transform", "atransform", "on_invoke_tool", "run_json"),
    *("func", "_func", "afunc", "async_func", "coroutine", "fn", "_fn", "async_fn", "_async_fn"),
    *("real_fn", "function", "original_function", "tool_func", "_tool_func", "entrypoint"),
    *("handler", "callback_func", "method", "target"),
)
"""Every name by which frameworks are known to enter a tool object, or to keep its function."""

_ENTRIES = frozenset(ENTRIES)
_COPIES = frozenset(("copy", "model_copy"))

_KEPT = frozenset(dir(object)) - {"__doc__"} | {"__saferun__", "__copy__", "__deepcopy__"}
"""Looked up on the stand-in and not on the object."""

_NOT_FORWARDED = _KEPT - {"__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "__hash__"}
_NOT_FORWARDED -= {"__str__", "__format__"}
_NOT_FORWARDED |= {"__call__", "__getattr__", "__del__", "__get__", "__set__", "__delete__"}
_NOT_FORWARDED |= {"__set_name__", "__setstate__", "__getnewargs__", "__getnewargs_ex__"}


def stand_in(
    tool: Any, name: str, enter: Callable[[Any], Any], again: Callable[[Any], Any]
) -> Any:
    """The stand-in for `tool`.

    `enter` guards one of its entries; `again` guards another object in the same way, a copy or
    the object that the entries really belong to. Raises TypeError where there is no entry.
    """
    entries: dict[str, tuple[Any, Any]] = {}

    def entry(wanted: str, raw: Any) -> Any:
        known = entries.get(wanted)
        if known is None or known[0] != raw:
            # The object may have got another function since it was wrapped.
            known = entries[wanted] = (raw, enter(raw))
        return known[1]

    def shown(found: Any) -> Any:
        """An attribute of the object as others may have it."""
        if found is tool:
            return this
        owner = getattr(found, "__self__", None)
        for raw, guarded in list(entries.values()):
            inside = raw.__self__ if isinstance(raw, MethodType) else None
            if raw is found or (inside is not None and raw == found):
                return guarded
            if inside is not None and inside is not tool and inside in (found, owner):
                # The entries are those of another object, which this one forwards to.
                return again(found) if found is inside else MethodType(found.__func__, again(owner))
        if owner is not tool:
            return found
        return MethodType(found.__func__, this) if isinstance(found, MethodType) else hidden(found)

    def copied(made: Any) -> Any:
        return again(made) if type(made) is type(tool) and made is not tool else shown(made)

    class Guarded(metaclass=_Kind):
        pass
    return None
