"""A stand-in for a tool object: every way in is guarded, everything else is the object's.

Frameworks enter their tools by a handful of names. Those lead through the gate; the rest,
name, schema, settings, properties, is read from the object and written to it. The object
itself is not to be had: its other methods run with the stand-in as `self`, so what they
enter or hand out is guarded as well, a copy is guarded again, and there is no pickling.

What remains open is what is open to any code in the process: the object's class, which can
be imported anyway, closures, and what an attribute or a property makes of the object inside.
"""

import copy
from collections.abc import Callable
from types import MethodType
from typing import Any, NoReturn

ENTRIES = (
    *("__call__", "execute", "aexecute", "invoke", "ainvoke", "run", "arun", "_run", "_arun"),
    *("call", "acall", "_call", "_acall", "forward", "aforward", "run_async", "call_async"),
    *("batch", "abatch", "batch_as_completed", "abatch_as_completed", "stream", "astream"),
    *("astream_events", "astream_log", "transform", "atransform", "on_invoke_tool", "run_json"),
    *("func", "_func", "afunc", "async_func", "coroutine", "fn", "_fn", "async_fn", "_async_fn"),
    *("real_fn", "function", "original_function", "tool_func", "_tool_func", "entrypoint"),
    *("handler", "method"),
)
"""Every name by which frameworks are known to enter a tool object, or to keep its function."""

_COPIES = ("copy", "model_copy", "__replace__")

_OWN = frozenset((*dir(object), "__saferun__", "__copy__", "__deepcopy__")) - {"__doc__"}
"""Looked up on the stand-in and not on the object, which they would hand out or act on."""

_COMPARED = ("__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "__hash__", "__str__")

_UNSPOKEN = _OWN.difference(_COMPARED) | {
    *("__getattr__", "__del__", "__get__", "__set__", "__delete__", "__set_name__"),
    *("__setstate__", "__getnewargs__", "__getnewargs_ex__", *_COPIES),
}
"""Special methods that the stand-in does not take over from the object's class."""


class _View:
    """What a stand-in shows of its object. Reachable from the stand-in through closures alone."""

    def __init__(self, tool: Any, enter: Callable[[Any], Any], again: Callable[[Any], Any]) -> None:
        self.tool = tool
        self.outside: Any = None
        self.entries: dict[str, tuple[Any, Any]] = {}
        self._enter = enter
        self._again = again

    def attribute(self, name: str) -> Any:
        return self._named(name, getattr(self.tool, name))

    def attributes(self) -> dict[str, Any]:
        return {name: self._named(name, held) for name, held in self.tool.__dict__.items()}

    def copied(self, made: Any) -> Any:
        """A copy of the object, guarded as it is."""
        same = type(made) is type(self.tool) and made is not self.tool
        return self._again(made) if same else self._shown(made)

    def _named(self, name: str, found: Any) -> Any:
        if name in ENTRIES and callable(found):
            return self._entry(name, found)
        if name in _COPIES and isinstance(found, MethodType):
            return lambda *args, **kwargs: self.copied(found(*args, **kwargs))
        return self._shown(found)

    def _entry(self, name: str, raw: Any) -> Any:
        known = self.entries.get(name)
        if known is None or known[0] != raw:
            # New, or the object has got another function since.
            known = self.entries[name] = (raw, self._enter(raw))
        return known[1]

    def _shown(self, found: Any) -> Any:
        for raw, guarded in list(self.entries.values()):
            if found is raw or (isinstance(found, MethodType) and found == raw):
                return guarded
        outside = self._instead_of(found)
        if outside is not None:
            return outside
        outside = self._instead_of(getattr(found, "__self__", None))
        if outside is None:
            return found
        if isinstance(found, MethodType):
            return MethodType(found.__func__, outside)
        # Of a class in C, whose methods take nothing else for `self`.
        return lambda *args, **kwargs: self._shown(found(*args, **kwargs))

    def _instead_of(self, found: Any) -> Any:
        """The stand-in for the object, or for one that it forwards its entries to."""
        if found is self.tool:
            return self.outside
        for raw, _ in list(self.entries.values()):
            if isinstance(raw, MethodType) and raw.__self__ is found:
                return self._again(found)
        return None


def stand_in(tool: Any, name: str, enter: Callable[[Any], Any], again: Callable[[Any], Any]) -> Any:
    """The stand-in for `tool`.

    `enter` guards one of its entries; `again` guards another object in the same way. Raises
    TypeError where the object has no entry, or one that cannot be guarded.
    """
    view = _View(tool, enter, again)
    for entry in ENTRIES:
        if entry != "__call__" or callable(tool):
            _try_entry(view, entry)
    if not view.entries:
        raise TypeError(
            f"{type(tool).__qualname__} has none of the entries of a tool (execute, invoke, run, "
            "__call__, ...); guard the function or method that acts"
        )

    class Guarded:
        __slots__ = ("__weakref__",)
        __saferun__ = True
        # For `isinstance` checks of frameworks.
        __class__ = type(tool)

        def __getattribute__(self, wanted: str) -> Any:
            if wanted in _OWN:
                return object.__getattribute__(self, wanted)
            return view.attributes() if wanted == "__dict__" else view.attribute(wanted)

        def __setattr__(self, wanted: str, value: Any) -> None:
            if wanted in view.entries:
                raise AttributeError(f"{wanted} of {name} is guarded; it cannot be replaced")
            setattr(tool, wanted, value)

        def __delattr__(self, wanted: str) -> None:
            if wanted in view.entries:
                raise AttributeError(f"{wanted} of {name} is guarded; it cannot be removed")
            delattr(tool, wanted)

        def __copy__(self) -> Any:
            return view.copied(copy.copy(tool))

        def __deepcopy__(self, memo: dict[int, Any]) -> Any:
            return view.copied(copy.deepcopy(tool, memo))

        def __reduce_ex__(self, protocol: Any) -> NoReturn:
            raise TypeError(f"{name} is guarded and cannot be pickled; guard it where it is used")

        def __reduce__(self) -> NoReturn:
            self.__reduce_ex__(2)

        def __dir__(self) -> list[str]:
            return dir(tool)

        def __repr__(self) -> str:
            return f"<guarded {tool!r}>"

    for special in _specials(view):
        setattr(Guarded, special, _spoken(view, special))
    Guarded.__name__ = Guarded.__qualname__ = type(tool).__name__
    view.outside = Guarded()
    return view.outside


def _try_entry(view: _View, name: str) -> None:
    try:
        raw = getattr(view.tool, name, None)
    except Exception:  # noqa: BLE001 - a property that fails now is looked at again when it is read
        return
    if callable(raw):
        view.attribute(name)


def _specials(view: _View) -> list[str]:
    """What the language looks up on the class: calls, operators, `with`, `len`, iteration."""
    kind = type(view.tool)
    return [
        name
        for name in dir(kind)
        if name.startswith("__") and name.endswith("__") and name not in _UNSPOKEN
        # A class says `__hash__ = None` to say that it cannot.
        if getattr(kind, name) is None or callable(getattr(kind, name))
        if getattr(kind, name) is not getattr(object, name, None)
    ]


def _spoken(view: _View, name: str) -> Any:
    if getattr(type(view.tool), name) is None:
        return None

    def special(_: Any, /, *args: Any, **kwargs: Any) -> Any:
        return view.attribute(name)(*args, **kwargs)

    return special
