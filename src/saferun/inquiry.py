"""Asking a tool's own check whether a call has happened of which nobody knows.

The check is the application's, given to `guard` as `verify`: it looks at the world, at the bank's
list of payments say, and never runs the tool. What it is asked with are the very arguments that
were decided on. From the ledger they are rebuilt, and held against the keyed digest that stands
there: arguments that were redacted, sealed or too large to be kept give another one, and then it
is not asked at all.

Arguments that policy passes on unread are not among them.

It is asked about nothing that may still happen: a call whose process is there may yet do its
work, also where its time ran out. And it is asked for no longer than `PATIENCE`; what it raises,
and any answer but True and False, leaves the call unknown.
"""

import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeAlias

import msgspec

from saferun.call import canonical
from saferun.ledger import DecisionEntry
from saferun.store import FindOut, Known, Loose, Reader, Store
from saferun.store.unsettled import unknown_calls
from saferun.waiting import Apart, OverdueError, aside, awaited_within

log = logging.getLogger("saferun")

Check: TypeAlias = Callable[[dict[str, Any], str | None], "bool | Awaitable[bool | None] | None"]
"""Takes the arguments of a call, and its idempotency key: True where it has happened, False where
it has not and never will, None where nobody can tell."""

PATIENCE = 30.0
"""Seconds that a check has to answer."""


class Inquiry(NamedTuple):
    """One question to a tool's own check, about the call of that decision."""

    of: int
    tool: str
    check: Check
    args: dict[str, Any]
    key: str | None

    def ask(self) -> bool | None:
        """Whether the call has happened. Raises OverdueError where the check takes too long."""
        if inspect.iscoroutinefunction(self.check):
            log.error("saferun: the check of %s has to be awaited, and nobody can here", self.tool)
            return None
        try:
            return self._answer(Apart(self._call).result(PATIENCE))
        except OverdueError:
            raise
        except Exception:
            log.exception("saferun: the check of %s has failed", self.tool)
            return None

    async def aask(self) -> bool | None:
        """`ask`, awaiting instead of blocking."""
        if not inspect.iscoroutinefunction(self.check):
            return await aside(self.ask)
        try:
            return self._answer(await awaited_within(PATIENCE, self._call()))
        except OverdueError:
            raise
        except Exception:
            log.exception("saferun: the check of %s has failed", self.tool)
            return None

    def _call(self) -> Any:
        # Its own copy: what a check does to it changes nothing.
        return self.check(msgspec.json.decode(canonical.encode(self.args)), self.key)

    def _answer(self, said: object) -> bool | None:
        if inspect.iscoroutine(said):
            said.close()
        if said is True or said is False:
            return said
        if said is not None:
            log.error(
                "saferun: the check of %s gave a %s, and only True, False and None are answers",
                *(self.tool, type(said).__name__),
            )
        return None


def settling(of: int, happened: bool) -> FindOut:
    """What an answer makes of a call."""
    status: Known = "ok" if happened else "not_started"
    return FindOut(of=of, status=status)


def standing(store: Store, of: int) -> Loose | None:
    """A call as it stands now, None where it is not unknown. Raises StoreError."""
    # What rides must not be read past.
    store.flush()
    with Reader(store.path) as reader:
        return next(unknown_calls(reader, of), None)


def rebuilt(call: Loose, store: Store) -> dict[str, Any] | None:
    """The arguments of a call from the ledger, None where it does not hold them whole."""
    made = call.decision
    if made is None:
        return None
    args = made.args
    with Reader(store.path) as reader:
        for name in made.blobs:
            found = reader.blob(bytes.fromhex(name))
            if found is None:
                continue
            data = found[1]
            if _is_of(made, data, store):
                args = msgspec.json.decode(data)
    if not isinstance(args, dict) or not _is_of(made, canonical.encode(args), store):
        return None
    return args


def _is_of(made: DecisionEntry, data: bytes, store: Store) -> bool:
    """Whether that is the canonical JSON of the arguments that were decided on."""
    return store.keys.digest(b"\0".join((made.tool.encode(), data))).hex() == made.digest


class Recovered(msgspec.Struct, frozen=True, kw_only=True):
    """What the check of a tool has made of its calls of which nobody knew, by their decisions.

    Of those in `left` nobody knows still: the check could not tell, their arguments are not kept
    whole, or their process is still there.
    """

    happened: tuple[int, ...] = ()
    not_happened: tuple[int, ...] = ()
    left: tuple[int, ...] = ()


def of_tool(
    tool: str, check: Check, store: Store, key: Callable[[bytes | None, int], str]
) -> list[Inquiry | int]:
    """The questions about all unknown calls of a tool; a number alone where none can be asked."""
    store.flush()
    with Reader(store.path) as reader:
        calls = list(unknown_calls(reader, tool=tool))
    return [_question(call, check, store, key) for call in calls]


def _question(
    call: Loose, check: Check, store: Store, key: Callable[[bytes | None, int], str]
) -> Inquiry | int:
    args = None if call.alive else rebuilt(call, store)
    if args is None or call.decision is None:
        return call.seq
    own = call.decision.key
    return Inquiry(
        call.seq, call.tool, check, args, key(None if own is None else bytes.fromhex(own), call.seq)
    )


class Tally:
    """What becomes of questions, one after the other."""

    def __init__(self) -> None:
        self._found: dict[bool | None, list[int]] = {True: [], False: [], None: []}

    def note(self, of: int, happened: bool | None) -> None:
        self._found[happened].append(of)

    def told(self) -> Recovered:
        found = self._found
        return Recovered(
            happened=tuple(found[True]), not_happened=tuple(found[False]), left=tuple(found[None])
        )
