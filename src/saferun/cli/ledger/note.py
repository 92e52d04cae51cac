"""`saferun ledger checkpoint` and `vkey`: what others need to tell whether the history is right."""

import base64
from typing import TYPE_CHECKING, Annotated

import typer

from saferun.cli.options import JsonOption, StoreOption, settings, store_file
from saferun.cli.screen import document, raw

if TYPE_CHECKING:
    from saferun.ledger import Signs
    from saferun.store import Reader


def checkpoint(store: StoreOption = None, as_json: JsonOption = False) -> int:
    """Print the newest signed checkpoint.

    Where entries are newer, one is made. It is a C2SP signed note: keep it where nobody who
    can change the store can reach it.
    """
    from saferun.ledger import Verifier, open_checkpoint
    from saferun.store import Reader
    from saferun.store import checkpoint as newest

    path = store_file(store)
    with Reader(path) as reader:
        signer = own_key(reader, store)
    note = newest(path, signer)
    if as_json:
        stated = open_checkpoint(note, [Verifier(signer.vkey())])
        root = base64.b64encode(stated.root).decode()
        document(
            {"origin": stated.origin, "size": stated.size, "root": root, "note": note.decode()}
        )
    else:
        raw(note)
    return 0


def vkey(
    every: Annotated[
        bool, typer.Option("--all", help="Every key that the ledger has had, the oldest first.")
    ] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Print the key that checkpoints are verified with.

    Keep it outside, and give it to whoever verifies.
    """
    from saferun.store import Reader

    with Reader(store_file(store)) as reader:
        ledger = reader.named_keys()
        if ledger.vkeys:
            # The key at hand has to be the one that the ledger names, if one is at hand.
            signer_at_hand(reader, store)
            keys = ledger.vkeys
        else:
            # One that was begun before format 4 has always had the key at hand.
            keys = ((0, own_key(reader, store).vkey()),)
    if as_json:
        document(
            {"vkeys": [{"seq": seq, "vkey": key} for seq, key in keys]}
            if every
            else {"vkey": keys[-1][1]}
        )
    else:
        raw("".join(f"{key}\n" for _, key in (keys if every else keys[-1:])).encode())
    return 0


def signer_at_hand(reader: "Reader", store: str | None) -> "Signs | None":
    """Who signs for a store's ledger, by all that is configured; None where the key is not here.

    `store` is what the command line says of the store. Raises StoreError and ConfigError.
    """
    return reader.signer(given=settings(store).signing)


def own_key(reader: "Reader", store: str | None) -> "Signs":
    """As `signer_at_hand`. Raises StoreError where the key is not here."""
    signer = signer_at_hand(reader, store)
    if signer is None:
        raise reader.missing_key()
    return signer
