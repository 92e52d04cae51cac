"""A run as an incident file, with a preview of what goes out in it: `saferun run export -o`."""

import secrets
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from saferun.approval.inert import inert
from saferun.call import size
from saferun.cli.ledger.note import signer_at_hand
from saferun.cli.options import CannotError, near
from saferun.cli.run import preview
from saferun.cli.run.told import history_of
from saferun.cli.run.told import named as named_run
from saferun.cli.screen import ALLOWED, counted, document, facts, headline, progress, screen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from saferun.audience import Audience
    from saferun.incident import Content, Outgoing, Packed
    from saferun.ledger import Signs
    from saferun.store.index import Index


def export(
    run: str,
    output: Path,
    audience: "Audience",
    *,
    named: bool,
    previews: bool,
    yes: bool,
    archive: Path | None,
    store: str | None,
    as_json: bool,
    test: Path | None = None,
) -> int:
    """Write a run to a file, or only say what would go out in it. Raises CannotError.

    Where nobody has `named` the audience, it goes out only if somebody at a terminal says so.
    `test` is one that goes with it, and is spoken of.
    """
    from saferun.audience import Showing
    from saferun.incident import SUFFIX, Outgoing

    if output.suffix != SUFFIX:
        raise CannotError(f"An incident file is named NAME{SUFFIX}; name another than {output}.")
    asks = preview.asks(yes=yes, as_json=as_json)
    if not (named or asks or previews):
        raise CannotError(
            "Say for whom the file is: --for full has all of the run, so that its code can be run "
            "again; --for team or --for public has less."
        )
    with history_of(store, archive) as (reader, index):
        run_id = named_run(index, run)
        if previews or asks:
            # Nothing is signed for a file that nobody may want.
            out = Outgoing(Showing(audience, secrets.token_bytes(32)), reader.blob)
            content = _weighed(index, run_id, out)
            if as_json:
                document(_told(run_id, None, content, out))
                return 0
            _preview(run_id, content, out)
            over = f", in place of what is in {inert(near(output))}" if output.exists() else ""
            if previews:
                return 0
            if not preview.agreed(f"Write {inert(near(output))}{over}?"):
                return 1
        signer = None if reader.excerpt else signer_at_hand(reader, store)
        out = Outgoing(Showing(audience, secrets.token_bytes(32)), reader.blob)
        packed = _packed(index, run_id, output, out, signer)
    if as_json:
        beside = {} if test is None else {"test": str(test)}
        document(_told(run_id, output, packed, out) | beside)
        return 0
    if not asks:
        _preview(run_id, packed, out)
        screen().print()
    _say(output, run_id, packed, signer)
    if test is not None:
        facts(screen(), ("to test", f"pytest {inert(str(test))}"))
    return 0


def _weighed(index: "Index", run_id: str, out: "Outgoing") -> "Content":
    from saferun.incident import weigh

    with progress("looking through", 0) as done:
        return weigh(index, run_id, redact=out, progress=done)


def _packed(
    index: "Index", run_id: str, output: Path, out: "Outgoing", signer: "Signs | None"
) -> "Packed":
    from saferun.incident import pack

    with progress("packing", 0) as done:
        try:
            return pack(index, run_id, output, signer=signer, redact=out, progress=done)
        except OSError as problem:
            # It names a file beside it that nobody has asked for, and that is gone by now.
            why = problem.strerror or str(problem)
            raise OSError(f"{output} cannot be written: {why}") from None


def _preview(run_id: str, content: "Content", out: "Outgoing") -> None:
    many = counted(content.entries, "entry", "entries")
    with_it = f" and {counted(content.runs - 1, 'run')} within" if content.runs > 1 else ""
    of = f"run {inert(run_id, 60)}{with_it}, {many}"
    preview.preview(out.showing, of, [("!", said) for said in content.costs])


def _told(
    run_id: str, output: Path | None, content: "Content", out: "Outgoing"
) -> dict[str, object]:
    return {
        "run": run_id,
        "for": out.showing.audience.name,
        "path": None if output is None else str(output),
        **msgspec.to_builtins(content),
        "fields": preview.counted_fields(out.showing),
    }


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
