"""The entries of a run as an audience gets them in an incident file: see `saferun.audience`.

What an audience gets all of goes out as the ledger has it, to the byte, and stays proven. Of any
other entry, the words go out that are left. A large value stays beside them as it is if all of it
is for this audience, and as another one if some of it is. A version of a policy goes out whole or
not at all, since it is known by its hash.

Ids are never hidden here: without them, nobody could tell which entries belong together.
"""

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any

import msgspec

from saferun.audience import FIELDS, Audience, AudienceError, Showing
from saferun.call import size
from saferun.incident.container import IncidentError
from saferun.incident.packing import SIGNERS
from saferun.ledger import Blobs, Entry, blob_hash, placeholder
from saferun.ledger.blob import MAX_INLINE, SALT_BYTES
from saferun.ledger.entry import MAX_REST
from saferun.replay import large

SEARCHED = 8 << 20
"""Bytes of a large value that is searched for names and secrets. A larger one goes out as it is
where all of the run does, and else not at all."""

SHORT = 1_000
"""Bytes of a value that stays in an entry which has become too long."""

_WORDS = ("prompts", "output", "arguments", "results")
"""Parts whose values may be of any length."""


class Outgoing:
    """What one audience gets of a store, in one file. `blobs` finds the store's large values.

    Raises AudienceError where the audience gets no ids.
    """

    def __init__(self, showing: Showing, blobs: Blobs) -> None:
        _hold(showing.audience)
        self.showing = showing
        self._blobs = blobs
        self._others: dict[bytes, tuple[bytes, str]] = {}
        """Of large values that go out in other words: which they come from, and their field."""
        self._runs: dict[str, str] = {}

    def meet(self, entries: Iterable[Entry]) -> None:
        """Take down whom entries name, before any of them goes out. Raises AudienceError."""
        audience = self.showing.audience
        for entry in entries if not audience.all else ():
            self.showing.meet(self._whole(entry.fields)[0] if audience.paths else entry.fields)

    def run(self, run_id: str) -> str:
        """What a run is called. Raises IncidentError where another one is called so too."""
        told = str(self.showing.value(("run",), run_id))
        if self._runs.setdefault(told, run_id) != run_id:
            raise IncidentError(
                "Two runs are called the same once names are hidden in their ids; --replace ids."
            )
        return told

    def entry(self, was: Entry) -> Entry:
        """An entry as it goes out: itself, where that is all of it."""
        if was.kind in ("ledger", "key", "restart"):
            # All else of it is how a reader gets from one key to the next.
            own = {name: each for name, each in was.fields.items() if name in SIGNERS}
            goes = {**was.fields, **self.showing.fields(own)}
        else:
            whole, beside = self._whole(was.fields)
            goes = self.showing.fields(whole, of="model" if was.kind == "model" else None)
            others = dict[str, int]()
            for field, name in beside.items():
                if goes.get(field, msgspec.UNSET) == whole[field]:
                    goes[field] = was.fields[field]
                elif field in goes:
                    goes[field] = self._aside(field, name, goes[field], others)
            if goes != was.fields:
                goes = _naming(was.fields, _fitting(goes), others)
        return was if goes == was.fields else msgspec.structs.replace(was, fields=goes)

    def beside(self, name: bytes) -> tuple[bytes, bytes] | None:
        """Salt and JSON of a large value that an entry names as it goes out, if it is held."""
        if name not in self._others:
            return self._blobs(name)
        was, field = self._others[name]
        held = self._blobs(was)
        if held is None:
            return None
        goes = self.showing.value((field,), msgspec.json.decode(held[1]))
        return _salt(held[0]), msgspec.json.encode(goes)

    def version(self, data: bytes) -> bool:
        """Whether a version of a policy goes in. It says who answers, beside its rules."""
        audience = self.showing.audience
        kept = audience.parts["policy"] == audience.parts["people"] == "keep"
        return kept and not self.showing.names(msgspec.json.decode(data))

    def _whole(self, fields: dict[str, Any]) -> tuple[dict[str, Any], dict[str, bytes]]:
        """Fields with their large values in place, and which of them those are."""
        found, beside = dict(fields), dict[str, bytes]()
        for field in fields if fields.get("blobs") else ():
            named = large.named(fields, field)
            if named is None:
                continue
            name, many = named
            if many <= SEARCHED:
                found[field] = large.found(fields, field, self._blobs)
                beside[field] = bytes.fromhex(name)
            elif not self.showing.audience.all:
                found[field] = _left_out(field, f"{size(many)} that nobody has looked through")
        return found, beside

    def _aside(self, field: str, was: bytes, value: Any, others: dict[str, int]) -> Any:
        """What is left of a large value, beside the entry if it is still large."""
        data = msgspec.json.encode(value)
        held = self._blobs(was)
        if len(data) <= MAX_INLINE or held is None:
            return value
        name = blob_hash(_salt(held[0]), data)
        self._others[name] = was, field
        others[name.hex()] = len(data)
        return placeholder(name, len(data))


def _naming(was: Mapping[str, Any], goes: dict[str, Any], others: dict[str, int]) -> dict[str, Any]:
    """Fields that name what is left in them of large and of sealed values, and no other."""
    known = {**was.get("blobs", {}), **others}
    if not (known or was.get("sealed")):
        return goes
    rest = {name: each for name, each in goes.items() if name not in ("blobs", "sealed")}
    said = msgspec.json.encode(rest)
    blobs = {name: many for name, many in known.items() if name.encode() in said}
    sealed = {name: path for name, path in was.get("sealed", {}).items() if name.encode() in said}
    return rest | ({"blobs": blobs} if blobs else {}) | ({"sealed": sealed} if sealed else {})


def _hold(audience: Audience) -> None:
    """Raises AudienceError where entries could not be told apart."""
    ids = [name for name, part in FIELDS.items() if part == "ids"]
    if any(audience.act((name,)) == "hide" for name in ids):
        raise AudienceError(
            "Without its ids, nobody could tell which entries of an incident file belong together; "
            "--replace ids."
        )


def _fitting(goes: dict[str, Any]) -> dict[str, Any]:
    """Fields that are no longer than an entry can be, whatever placeholders have made of them."""
    if len(msgspec.json.encode(goes)) <= MAX_REST:
        return goes
    return {
        name: _left_out(name, "too long")
        if FIELDS.get(name) in _WORDS and len(msgspec.json.encode(each)) > SHORT
        else each
        for name, each in goes.items()
    }


def _left_out(field: str, why: str) -> Any:
    said = f"[left out: {why}]"
    return {"…": said} if field == "context" else said


def _salt(was: bytes) -> bytes:
    """The salt of what is made of a large value: the same each time, and told by nothing else."""
    return blake2b(was, digest_size=SALT_BYTES, person=b"saferun outgoing").digest()
