"""Values as they stand in entries: plain, without secrets and bounded.

Whatever reaches the store goes through here: redaction comes before anything is written, what
is sensitive is sealed, a value too large for an entry goes beside it under a salted hash, and
one too large to be kept at all leaves its size.
"""

import functools
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypedDict

import msgspec

from saferun import plain, redact
from saferun.call import RunRef, canonical
from saferun.config import Said
from saferun.ledger import MAX_INLINE, blob_hash, placeholder
from saferun.sealing import Sealing
from saferun.store import Blob, Seal, Store

MAX_CALL_ID = 256
"""Characters of a call id. Ids come from models, so they are bounded and must be printable."""

MAX_TOOL = 200
"""Characters kept of the name of a tool, or a model, that an imported file speaks of."""

MAX_ABOUT = 8_192
"""Bytes kept of each of a run's prompt, plan, user and context."""


def placed(data: bytes) -> tuple[bytes, tuple[Blob, ...]]:
    """A value as an entry holds it: whole where it is small, else by a salted hash."""
    if len(data) <= MAX_INLINE:
        return data, ()
    salt = secrets.token_bytes(16)
    blob = Blob(blob_hash(salt, data), salt, data)
    return canonical.encode(placeholder(blob.hash, len(data))), (blob,)


def blob_sizes(blobs: tuple[Blob, ...]) -> dict[str, int]:
    """The large values beside an entry as it names them: each by its hash, with its size."""
    return {blob.hash.hex(): len(blob.data) for blob in blobs}


def bounded(data: bytes) -> bytes:
    """An encoded value, or what stands for one that is too large to be kept."""
    return data if len(data) <= plain.MAX_BYTES else omitted(len(data))


def omitted(size: int, digest: str | None = None) -> bytes:
    """What stands for a value that is too large to be kept at all."""
    return canonical.encode({"$omitted": f"{size:,} bytes", "digest": digest})


def under(paths: Sequence[tuple[str, ...]], part: str) -> tuple[tuple[str, ...], ...]:
    """Those of a policy's paths that lead into the `args` or the `result`, from there on."""
    return tuple(path[1:] for path in paths if path[0] == part) if paths else ()


def brief(value: Any) -> Any:
    """What a run says of itself, without secrets and short enough to stand in one entry."""
    data = redact.encoded(plain.encode_result(value))
    if len(data) <= MAX_ABOUT:
        return msgspec.json.decode(data)
    if isinstance(value, Mapping):
        return {"$omitted": f"{len(data):,} bytes"}
    return data[:MAX_ABOUT].decode(errors="ignore") + f"… ({len(data):,} bytes)"


class Whose(TypedDict, total=False):
    run: str | None
    agent: str | None
    user: str | None
    tenant: str | None


def whose(about: RunRef | None) -> Whose:
    """Whose entry it is, as fields of it: ids are bounded, and shown without secrets."""
    if about is None:
        return {}
    return {
        "run": about.run_id,
        "agent": _id(about.agent),
        "user": _id(about.user_id),
        "tenant": _id(about.tenant),
    }


@functools.lru_cache(maxsize=4_096)
def _id(value: str | None) -> str | None:
    return None if value is None else redact.text(value)


class Sealer(NamedTuple):
    """What one entry seals of what a run says of itself, where the configuration has it so."""

    sensitive: frozenset[Said]
    sealing: Sealing

    def brief(self, name: Said, value: Any) -> Any:
        """A value as the first entry of a run holds it; see `brief`."""
        if name not in self.sensitive or value is None or value == {}:
            return brief(value)
        data = redact.encoded(bounded(plain.encode_result(value)))
        if name == "user" and isinstance(value, Mapping):
            # Who it is has to be known, or nothing of theirs could be found to be erased.
            paths = [(key,) for key in value if isinstance(key, str) and key != "id"]
            return msgspec.Raw(self.sealing.part(name, data, paths))
        return msgspec.Raw(self.sealing.whole(name, data))

    def kept(self, kind: Said, name: str, value: Any) -> tuple[msgspec.Raw, tuple[Blob, ...]]:
        """What somebody said, as an entry holds it under that name."""
        data = redact.encoded(bounded(plain.encode_result(value)))
        if kind in self.sensitive:
            return msgspec.Raw(self.sealing.whole(name, data)), ()
        kept, blobs = placed(data)
        return msgspec.Raw(kept), blobs

    def seal(self, user: str | None, tenant: str | None, store: Store) -> Seal | None:
        values = self.sealing.values
        return Seal(store.subject(tenant, user or ""), values) if values else None
