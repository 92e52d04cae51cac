"""Values as they stand in entries: plain, without secrets and bounded.

Whatever reaches the store goes through here: redaction comes before anything is written, what
is sensitive is sealed, a value too large for an entry goes beside it under a salted hash, and
one too large to be kept at all leaves its size.
"""

import functools
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias, TypedDict

import msgspec

from saferun import plain, redact
from saferun.call import RunRef, canonical
from saferun.config import Said
from saferun.keeping import MAX_ABOUT, MAX_MESSAGE, Keep, Keeping
from saferun.ledger import MAX_INLINE, Unkept, blob_hash, placeholder
from saferun.sealing import Sealing
from saferun.store import Blob, Seal, Store

MAX_CALL_ID = 256
"""Characters of a call id. Ids come from models, so they are bounded and must be printable."""

MAX_TOOL = 200
"""Characters kept of the name of a tool, or a model, that an imported file speaks of."""


def placed(data: bytes, most: int = MAX_INLINE) -> tuple[bytes, tuple[Blob, ...]]:
    """A value as an entry holds it: whole where it has `most` bytes, else by a salted hash."""
    if len(data) <= most:
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


Digest: TypeAlias = Callable[[bytes], bytes]
"""The keyed digest of a store."""


def unkept(data: bytes, keep: Keep, digest: Digest | None) -> Unkept:
    """What is known of a value that is not kept; without a `digest`, at most its size."""
    if keep == "off":
        return Unkept()
    return Unkept(bytes=len(data), digest=None if digest is None else digest(data).hex())


class Sealer(NamedTuple):
    """What one entry seals and leaves out of what a run says of itself, as the settings have it.

    `digest` is the store's, and needed where anything is to be left out.
    """

    sensitive: frozenset[Said]
    sealing: Sealing
    keeping: Keeping = Keeping()
    digest: Digest | None = None

    def brief(self, name: Said, value: Any) -> Any:
        """A value as the first entry of a run holds it; see `brief`."""
        keep = self.keeping.prompts if name in _PROMPTS else "whole"
        if keep != "whole" and value is not None:
            return self._unkept(name, value, keep, sensitive=name in self.sensitive)
        if name not in self.sensitive or value is None or value == {}:
            return brief(value)
        data = redact.encoded(bounded(plain.encode_result(value)))
        if name == "user" and isinstance(value, Mapping):
            # Who it is has to be known, or nothing of theirs could be found to be erased.
            paths = [(key,) for key in value if isinstance(key, str) and key != "id"]
            return msgspec.Raw(self.sealing.part(name, data, paths))
        return msgspec.Raw(self.sealing.whole(name, data))

    def kept(self, kind: Said, name: str, value: Any) -> tuple[Any, tuple[Blob, ...]]:
        """What somebody said, as an entry holds it under that name; None where it does not."""
        keep = self.keeping.output if kind == "output" else self.keeping.messages
        return self.told(name, value, keep, MAX_MESSAGE, sensitive=kind in self.sensitive)

    def told(
        self, name: str, value: Any, keep: Keep, most: int, *, sensitive: bool
    ) -> tuple[Any, tuple[Blob, ...]]:
        """A value under that name, in the entry itself where it has `most` bytes."""
        if keep != "whole":
            return self._unkept(name, value, keep, sensitive=sensitive), ()
        data = redact.encoded(bounded(plain.encode_result(value)))
        if sensitive:
            return msgspec.Raw(self.sealing.whole(name, data)), ()
        kept, blobs = placed(data, most)
        return msgspec.Raw(kept), blobs

    def _unkept(self, name: str, value: Any, keep: Keep, *, sensitive: bool) -> None:
        data = b"" if keep == "off" else redact.encoded(plain.encode_result(value))
        # What is to be erased some day must leave nothing that it could be recognised by.
        self.sealing.unkept[name] = unkept(data, keep, None if sensitive else self.digest)

    def seal(self, user: str | None, tenant: str | None, store: Store) -> Seal | None:
        values = self.sealing.values
        return Seal(store.subject(tenant, user or ""), values) if values else None


_PROMPTS = frozenset(("prompt", "plan"))
