"""A witness: it signs a newer checkpoint only after a proof that nothing older was changed.

The protocol is C2SP tlog-witness (https://c2sp.org/tlog-witness). The witness remembers one
size for each ledger. What it is sent has to go on from there; where it does not, it says the
size that it has, and is asked again from that one. So nothing that this side remembers of the
witness has to be right.
"""

import re
import time
from base64 import b64encode

from saferun.anchor.http import Answer, post, target
from saferun.anchor.place import AnchorError, Kind, Offered, Patience, RefusedError
from saferun.errors import ConfigError
from saferun.ledger import NoteError, Witness, cosigned

SECONDS = 10.0
"""How long a witness may take, for all that it is asked in one round."""

SKEW = 600
"""Seconds by which a witness's clock may differ from ours."""

_ATTEMPTS = 3
"""Once with the size that we believe it has, once with that it names, once more for a race."""

_MAX_PROOF = 63
_SIZE = re.compile(rb"(0|[1-9][0-9]{0,18})\n")


class WitnessPlace:
    """One witness, by the address that it takes checkpoints at and its verifier key."""

    kind: Kind = "witness"
    seconds = SECONDS

    def __init__(self, name: str, url: str, key: str) -> None:
        """Raises ConfigError where the address or the key cannot be one."""
        self.name = name
        self._target = target(url)
        try:
            self.witness = Witness(key.strip())
        except NoteError as problem:
            raise ConfigError(f"key: {problem}") from None

    def take(self, offered: Offered, last: int, patience: Patience) -> bytes:
        """See `Place`. What comes back is the note with the witness's cosignature under it."""
        if any(verifier.key == self.witness.key for verifier in offered.verifiers):
            raise AnchorError("It has the ledger's own key, so its word adds nothing to it.")
        size = offered.checkpoint.size
        old = min(last, size)
        for _ in range(_ATTEMPTS):
            answer = post(self._target, "/add-checkpoint", _body(offered, old), patience.left())
            if answer.status == 200:
                return self._taken(offered, answer)
            if answer.status != 409:
                raise _refusal(answer, old)
            old = self._goes_on_from(answer, old, size)
        raise AnchorError("What it has seen changed each time that it was asked; try again.")

    def _taken(self, offered: Offered, answer: Answer) -> bytes:
        try:
            note, said = cosigned(offered.note, answer.body, self.witness)
        except NoteError as problem:
            raise AnchorError(
                f"What it has answered is no cosignature of its key: {problem}"
            ) from None
        apart = said - time.time()
        if abs(apart) > SKEW:
            way = "ahead of" if apart > 0 else "behind"
            raise AnchorError(
                f"Its clock is {abs(apart):,.0f} s {way} this machine's; set the one that is wrong."
            )
        return note

    @staticmethod
    def _goes_on_from(answer: Answer, old: int, size: int) -> int:
        """The size that the witness has, to prove from. Raises AnchorError."""
        found = _SIZE.fullmatch(answer.body)
        if found is None or answer.kind != "text/x.tlog.size":
            raise AnchorError("It says that it has seen another size, and not which.")
        theirs = int(found[1])
        if theirs > size:
            raise RefusedError(
                f"It has seen {theirs:,} entries, and this ledger has {size:,}: the tail was cut "
                "off, or an older copy was put back."
            )
        if theirs != old:
            return theirs
        if old == size:
            raise _contradicts(size)
        raise AnchorError("It has refused the very size that it has.")


def _body(offered: Offered, old: int) -> bytes:
    size = offered.checkpoint.size
    proof = offered.history.proof(old, size) if 0 < old < size else []
    if len(proof) > _MAX_PROOF:
        raise AnchorError(f"The proof has {len(proof)} hashes, and {_MAX_PROOF} are the most.")
    lines = b"".join(b64encode(each) + b"\n" for each in proof)
    return f"old {old}\n".encode() + lines + b"\n" + offered.note


def _contradicts(size: int) -> RefusedError:
    return RefusedError(
        f"It has seen {size:,} entries that are not the first {size:,} of this ledger: they were "
        "rewritten."
    )


def _refusal(answer: Answer, old: int) -> AnchorError:
    status = answer.status
    if status == 422:
        return _contradicts(old)
    known = {
        400: "It takes what it was sent for malformed; is it a C2SP witness, and of this age?",
        403: "It does not know the key that the checkpoint is signed with; "
        "give its operator what `saferun ledger vkey` prints.",
        404: "It does not know this ledger; "
        "give its operator what `saferun ledger vkey` prints, or correct `url`.",
        429: "It is asked too often; ask it less often with a longer `every`.",
    }
    if status in known:
        return AnchorError(known[status])
    if 300 <= status < 400:
        return AnchorError(
            f"It leads elsewhere (HTTP {status}), which is not followed; correct `url`."
        )
    return AnchorError(f"It has answered with HTTP {status}.")
