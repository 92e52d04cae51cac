"""Rotation: the key of a ledger hands over to the next, in a note that it signs.

    saferun key rotation
    ORIGIN
    NEW VKEY

The note stands in a `key` entry. Whoever trusts one key of a ledger follows these notes from
it to the newest, and needs no other word for any of them: only who held a key could name
the next. Both keys bear the ledger's origin as their name.
"""

from saferun.ledger.note import NoteError, Signs, Verifier, open_note, sign

TITLE = "saferun key rotation"


def rotation_text(origin: str, vkey: str) -> str:
    """The three lines by which a ledger's key names the next one."""
    return f"{TITLE}\n{origin}\n{vkey}\n"


def sign_rotation(signer: Signs, vkey: str) -> bytes:
    """The note by which `signer`, the key until now, names `vkey` as the key from here on.

    Raises:
        NoteError: `vkey` is no verifier key, is another ledger's, or is the signer's own.

    """
    _fits(signer.name, signer.vkey(), vkey)
    return sign(rotation_text(signer.name, vkey), signer)


def open_rotation(note: bytes, before: Verifier) -> Verifier:
    """The key that a note names as the next one, where the key before it has signed that.

    Raises:
        NoteError: as `open_note`; or the note is no rotation, or is another ledger's.

    """
    title, _, rest = open_note(note, [before]).partition("\n")
    origin, _, rest = rest.partition("\n")
    vkey, end, more = rest.partition("\n")
    if title != TITLE or not end or more:
        raise NoteError("This is no rotation of a key: it needs its title, an origin and a key.")
    if origin != before.name:
        raise NoteError(f"The rotation is of the ledger {origin!r}, and not of {before.name!r}.")
    after = Verifier(vkey)
    if after.name != origin:
        raise NoteError(
            f"The new key bears the name {after.name!r}, and not that of its ledger {origin!r}."
        )
    return after


def _fits(origin: str, old: str, new: str) -> None:
    after = Verifier(new)
    if after.name != origin:
        raise NoteError(
            f"The new key bears the name {after.name!r}, and not that of its ledger {origin!r}."
        )
    if new == old:
        raise NoteError("The new key is the old one; make another.")
