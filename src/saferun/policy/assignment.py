"""Which versions of a policy decide: one record for each name, behind every way to roll out.

    publish                   the new version is live
    publish --shadow          it only says beside the live one what it would have decided
    publish --canary 10%      it decides for a tenth of the runs
    promote                   the candidate is live
    rollback                  the candidate is gone; or, where there is none, an earlier version
                              is live again

An assignment never changes: each act makes the next, with a serial one higher. Written down it
is a text of two lines, which its author may sign as a note (https://c2sp.org/signed-note). The
signature covers name, store and serial, so a good old note can neither be taken elsewhere nor
be brought back. Since a version is the hash of all that it says, it covers that as well.
"""

from collections.abc import Collection, Sequence
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from saferun.call import canonical
from saferun.errors import PolicyError
from saferun.ledger import NoteError, PolicyAct, Signer, Verifier, open_note, sign

Trial: TypeAlias = Literal["shadow", "canary"]
"""How a candidate is tried: beside the live version, or for a part of the runs."""

HEADING = "saferun policy assignment\n"

MAX_NOTE = 16_384
"""Characters of an assignment that are read; one has a few hundred."""

_BUCKETS = 10_000

Version: TypeAlias = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Name: TypeAlias = Annotated[str, Meta(min_length=1, max_length=128)]
Moment: TypeAlias = Annotated[int, Meta(ge=0, lt=1 << 62)]


class Assignment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What decides under one policy's name, and who said so.

    `origin` is the ledger of the store that it is for. `share` is the percentage of runs that a
    canary decides for. `floor` is the serial of the last act that was urgent: runs that began
    before it go on under what holds now. `at` is in microseconds since 1970, UTC.
    """

    name: Name
    origin: str
    serial: Annotated[int, Meta(ge=1, lt=1 << 62)]
    act: PolicyAct
    live: Version
    candidate: Version | None = None
    trial: Trial | None = None
    share: Annotated[int, Meta(ge=0, le=99)] = 0
    floor: Moment = 0
    by: Name
    at: Moment

    @property
    def urgent(self) -> bool:
        """Whether it is for runs as well that began under an earlier one."""
        return self.floor == self.serial

    def text(self) -> str:
        """What is written down, and signed where it is signed."""
        return f"{HEADING}{canonical.encode(self).decode()}\n"

    def sealed(self, signer: Signer | None) -> bytes:
        """The text, as a signed note where somebody signs it."""
        text = self.text()
        return text.encode() if signer is None else sign(text, signer)


def read(
    data: bytes,
    *,
    name: str,
    origin: str,
    former: Collection[str] = (),
    verifier: Verifier | None = None,
) -> Assignment:
    """The assignment in a text, which `verifier` must have signed where there is one.

    `origin` is the ledger of the store that it is for, and `former` what that was called before
    it was restarted.

    Raises PolicyError where it is none, is not for that name and that store, or is not signed
    as it has to be.
    """
    said = f"what decides for {name!r}"
    try:
        if verifier is not None:
            text = open_note(data, [verifier])
        else:
            # A signature that nobody can check says nothing, for or against it.
            text = data.partition(b"\n\n")[0].decode().rstrip("\n") + "\n"
        found = msgspec.json.decode(text.removeprefix(HEADING)[:MAX_NOTE], type=Assignment)
    except NoteError as problem:
        raise PolicyError(f"{said} is not signed as `policy_key` demands: {problem}") from None
    except (ValueError, msgspec.MsgspecError, RecursionError) as problem:
        raise PolicyError(f"{said} cannot be read: {problem}") from None
    if found.text() != text or (found.candidate is None) != (found.trial is None):
        raise PolicyError(f"{said} cannot be read: it is not written as it would be published")
    if found.name != name or found.origin not in (origin, *former):
        raise PolicyError(f"{said} was published for another policy or another store")
    return found


def published(
    before: Assignment | None,
    version: str,
    *,
    trial: Trial | None = None,
    share: int = 0,
    urgent: bool = False,
    **who: Any,
) -> Assignment:
    """The assignment by which a version is live, or is tried beside the one that is.

    `who` has `by` and `at`, and for the first one of a policy its `name` and `origin`. Raises
    PolicyError where there is no live version beside which it could be tried, or it is live.
    """
    if trial is None:
        return _next(before, "publish", version, urgent=urgent, **who)
    if before is None:
        raise PolicyError(
            "there is no live version yet that a candidate could be compared with; publish one "
            "first, or say `mode: shadow` in the policy"
        )
    if before.live == version:
        raise PolicyError(f"version {version[:12]} is live already")
    tried = _next(before, "publish", before.live, urgent=urgent, **who)
    return replace(tried, candidate=version, trial=trial, share=share)


def promoted(before: Assignment, *, urgent: bool = False, **who: Any) -> Assignment:
    """The assignment by which the candidate is live. Raises PolicyError where there is none."""
    if before.candidate is None:
        raise PolicyError(f"{before.name} has no candidate; publish one with --shadow or --canary")
    return _next(before, "promote", before.candidate, urgent=urgent, **who)


def rolled_back(
    history: Sequence[Assignment], version: str | None = None, *, urgent: bool = False, **who: Any
) -> Assignment:
    """The assignment that takes the last one of `history` back, or goes back to a version.

    A candidate is taken back first; where there is none, the version is live that was so
    before, and each further time one before that: going back never goes forward. Raises
    PolicyError where there is nothing to go back to.
    """
    now = history[-1]
    if version is None and now.candidate is not None:
        version = now.live
    elif version is None:
        version = _before(history)
    if version is None:
        raise PolicyError(f"{now.name} has had no other live version to go back to")
    if version == now.live and now.candidate is None:
        raise PolicyError(f"version {version[:12]} is live already")
    return _next(now, "rollback", version, urgent=urgent, **who)


def _before(history: Sequence[Assignment]) -> str | None:
    """The version that was live before the one that is, not counting what was taken back."""
    lives: list[str] = []
    for each in history:
        if each.act == "rollback":
            while lives and lives[-1] != each.live:
                lives.pop()
        if not lives or lives[-1] != each.live:
            lives.append(each.live)
    return lives[-2] if len(lives) > 1 else None


def canary(now: Assignment, bucket: bytes) -> bool:
    """Whether the candidate decides for the runs of a bucket; see `bucket_of`."""
    return now.trial == "canary" and _number(bucket) < now.share * _BUCKETS // 100


def bucket_of(now: Assignment, root: str) -> bytes:
    """What a run's bucket is the keyed digest of: without the key, no id can be chosen for it.

    Each candidate has buckets of its own. While its share grows, its runs stay its runs.
    """
    return canonical.encode(("canary", now.name, now.candidate, root))


def _number(digest: bytes) -> int:
    return int.from_bytes(digest[:8]) % _BUCKETS


def _next(
    before: Assignment | None, act: PolicyAct, live: str, *, urgent: bool, **who: Any
) -> Assignment:
    serial = 1 if before is None else before.serial + 1
    about = {} if before is None else {"name": before.name, "origin": before.origin}
    floor = serial if urgent else before.floor if before is not None else 0
    return Assignment(**{**who, **about}, serial=serial, act=act, live=live, floor=floor)
