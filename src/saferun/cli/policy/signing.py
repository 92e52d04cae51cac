"""`saferun policy key`: the key that published versions are signed with.

Whoever holds it can publish to workers that ask for signatures; whoever has the database alone
cannot. So it belongs with the people or the pipeline that publish, and not with the workers.
"""

import base64
import binascii
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from saferun.cli.options import CannotError, contents

if TYPE_CHECKING:
    from saferun.ledger import Signer

_PREFIX = "PRIVATE+KEY+"
_ED25519 = b"\x01"


def key(
    file: Annotated[Path, typer.Argument(metavar="KEYFILE", help="Made where it is not there.")],
    name: Annotated[str, typer.Option("--name", help="The key's name.")] = "policies",
) -> int:
    """Print the key that `policy_key` names.

    The signing key that it belongs to is made where the file is not there.
    """
    from saferun.ledger import Signer

    if not file.exists():
        seed = secrets.token_bytes(32)
        made = Signer(name, seed)
        coded = base64.b64encode(_ED25519 + seed).decode()
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            out.write(f"{_PREFIX}{name}+{made.key_id.hex()}+{coded}\n")
    typer.echo(signer(file).vkey())
    return 0


def signer(file: Path) -> "Signer":
    """Who signs with the key in a file, written as Go's checksum database writes its own.

    Raises CannotError where there is none.
    """
    from saferun.ledger import NoteError, Signer

    text = contents(file, 1_000).decode(errors="replace").strip()
    name, _, rest = text.removeprefix(_PREFIX).partition("+")
    key_id, _, coded = rest.partition("+")
    try:
        seed = base64.b64decode(coded, validate=True)
        if not text.startswith(_PREFIX) or seed[:1] != _ED25519:
            raise CannotError(f"{file} holds no signing key; saferun policy key FILE makes one.")
        found = Signer(name, seed[1:])
    except (binascii.Error, ValueError, NoteError) as problem:
        raise CannotError(f"{file} holds no signing key: {problem}") from None
    if found.key_id.hex() != key_id:
        raise CannotError(f"The key in {file} is damaged: its name and its id do not fit.")
    return found
