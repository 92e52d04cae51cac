"""A run written as an incident file, and what is said of that."""

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from saferun.approval.inert import inert
from saferun.call import size
from saferun.cli.ledger.note import signer_at_hand
from saferun.cli.options import CannotError
from saferun.cli.run.told import history_of, named
from saferun.cli.screen import ALLOWED, counted, document, facts, headline, progress, screen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from saferun.incident import Packed
    from saferun.ledger import Signs


def written(
    run: str,
    output: Path,
    *,
    archive: Path | None,
    store: str | None,
    as_json: bool,
    test: Path | None = None,
) -> int:
    """Write the file, and say what is in it; and which `test` goes with it. Raises CannotError."""
    from saferun.incident import SUFFIX, pack

    if output.suffix != SUFFIX:
        raise CannotError(f"An incident file is named NAME{SUFFIX}; name another than {output}.")
    with history_of(store, archive) as (reader, index):
        run_id = named(index, run)
        signer = None if reader.excerpt else signer_at_hand(reader, store)
        with progress("packing", 0) as done:
            try:
                packed = pack(index, run_id, output, signer=signer, progress=done)
            except OSError as problem:
                # It names a file beside it that nobody has asked for, and that is gone by now.
                why = problem.strerror or str(problem)
                raise OSError(f"{output} cannot be written: {why}") from None
    beside = {} if test is None else {"test": str(test)}
    if as_json:
        document({"run": run_id, "path": str(output), **msgspec.to_builtins(packed), **beside})
    else:
        _say(output, run_id, packed, signer)
        if test is not None:
            facts(screen(), ("to test", f"pytest {inert(str(test))}"))
    return 0


def _say(output: Path, run_id: str, packed: "Packed", signer: "Signs | None") -> None:
    console, where = screen(), inert(str(output))
    many = counted(packed.entries, "entry", "entries")
    said = f"Written: {where} has run {inert(run_id, 80)} in {many}, {size(packed.bytes)}."
    headline(console, ALLOWED.icon, ALLOWED.style, said)
    facts(console, *_rows(where, packed, signer))


def _rows(where: str, packed: "Packed", signer: "Signs | None") -> "Iterator[tuple[str, str]]":
    if packed.runs > 1:
        yield "with it", counted(packed.runs - 1, "run that began in it", "runs that began in it")
    if packed.policies:
        yield "policies", counted(packed.policies, "version that decided", "versions that decided")
    if packed.values:
        yield "beside it", counted(packed.values, "large value")
    if packed.missing:
        yield "missing", f"{counted(packed.missing, 'large value')} that the store holds no more"
    if packed.sealed:
        yield "sealed", f"{counted(packed.sealed, 'value')}, which nothing in the file opens"
    if signer is not None:
        yield "signed by", f"{inert(signer.name)}+{signer.key_id.hex()}"
    else:
        yield "signed by", "nobody: the ledger's key is not here"
    if not packed.vouched:
        yield "vouched for", "by no checkpoint: none covers the run, and nobody here can sign one"
    yield "to look", f"saferun open {where}"
    yield "to verify", f"saferun run verify {where} --vkey FILE   (saferun ledger vkey > FILE)"
