"""`saferun policy test --incidents`: whether a policy stops what went wrong, and nothing else."""

from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import msgspec

from saferun.approval.inert import inert
from saferun.cli.ledger.kept import keys_in
from saferun.cli.options import CannotError, near, settings
from saferun.cli.policy.named import policy_file
from saferun.cli.screen import ALLOWED, DENIED, beside, counted, document, progress, put, screen

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.text import Text

    from saferun.incident import Policies, Retried
    from saferun.ledger import Verifier
    from saferun.policy.source import Fault
    from saferun.suites.junit import Tried

UNDECIDED = "…"
"""The mark of what nobody can tell, as `policy backtest` has it."""

MOST = 50
"""Calls of one file of which it is said that nobody can tell; `--json` has them all."""


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """Which calls something is expected of: those with a word in their names, or with a label."""

    word: str | None = None
    labelled: bool = False

    def __call__(self, call: "Retried") -> bool:
        if self.labelled and call.label is None:
            return False
        return self.word is None or self.word.casefold() in name(call).casefold()


class Tally(msgspec.Struct):
    """What came of one file, of whose runs `left_out` entries are not in it."""

    path: Path
    calls: "list[Retried]"
    seconds: float
    left_out: int

    def of(self, finding: str) -> "list[Retried]":
        return [each for each in self.calls if each.finding == finding]


def of_incidents(
    folder: Path,
    policy: str | None,
    chosen: Choice,
    vkey: Path | None,
    *,
    junit: Path | None,
    store: str | None,
    as_json: bool,
) -> int:
    """Put the calls of all files before the policy; exits 1 where something is not as it should be.

    Raises CannotError, and PolicyError.
    """
    paths = _files(folder)
    trusted = () if vkey is None else keys_in(vkey)
    policies = _policies(policy, store)
    tallies: list[Tally] = []
    faults: list[tuple[Path, Fault]] = []
    with progress("deciding", len(paths)) as done:
        for number, path in enumerate(paths, 1):
            try:
                tallies.append(_tried(path, policies, trusted, settings(store).environment))
            except _UnusableError as problem:
                faults.append((path, problem.fault))
            done(number)
    for tally in tallies:
        tally.calls = [each for each in tally.calls if chosen(each)]
    if chosen.word is not None and not any(tally.calls for tally in tallies) and not faults:
        raise CannotError(f"No call has {chosen.word!r} in its name.")
    if chosen.labelled and not any(tally.calls for tally in tallies) and not faults:
        raise CannotError(
            f"No call in {folder} is labelled, so nothing would be tested; `saferun run label "
            "RUN#FRAME right` says what should have been stopped, and a file has the labels that "
            "there were when it was written."
        )
    if junit is not None:
        from saferun.suites.junit import junit as written

        junit.write_bytes(written((each for tally in tallies for each in _rows(tally)), faults))
    if as_json:
        document(_document(tallies, faults))
    else:
        put(screen(), _lines(tallies, faults))
    return int(bool(faults) or any(tally.of("failed") for tally in tallies))


def name(call: "Retried") -> str:
    """What a call is called among the tests."""
    return f"{call.place} {call.tool}"


class _UnusableError(Exception):
    """An incident file that cannot be put before any policy."""

    def __init__(self, message: str) -> None:
        from saferun.policy.source import Fault

        self.fault = Fault("incident", message)


def _files(folder: Path) -> list[Path]:
    from saferun.incident import SUFFIX

    if not folder.is_dir():
        raise CannotError(f"There is no folder {folder}; name the one that incident files lie in.")
    # A store's own folder is called so too.
    paths = sorted(each for each in folder.glob(f"*{SUFFIX}") if not each.is_dir())
    if not paths:
        raise CannotError(
            f"There is no incident file in {folder}; `saferun run export RUN -o "
            f"{folder / 'NAME'}{SUFFIX}` writes one."
        )
    return paths


def _policies(named: str | None, store: str | None) -> "Policies":
    """The one that is named, for all calls; or else those of the folder, by their names."""
    from saferun.policy import load

    if named is not None:
        chosen = load(near(policy_file(named, store)))
        return lambda _: chosen
    from saferun.incident import by_name

    return by_name(settings(store))


def _tried(
    path: Path, policies: "Policies", trusted: "Sequence[Verifier]", environment: str | None
) -> Tally:
    from saferun.errors import PolicyError, SafeRunError
    from saferun.incident import opened, retried

    began = perf_counter()
    try:
        with opened(path, trusted) as found:
            if trusted and found.incident.by is None:
                raise _UnusableError("the key that was given does not vouch for it")
            calls = list(retried(found, policies, environment=environment))
            left_out = found.incident.manifest.left_out
    except PolicyError:
        raise
    except SafeRunError as problem:
        raise _UnusableError(str(problem)) from None
    except OSError as problem:
        raise _UnusableError(f"it cannot be read: {problem.strerror}") from None
    return Tally(path, calls, perf_counter() - began, left_out)


def _rows(tally: Tally) -> "Iterator[Tried]":
    from saferun.suites.junit import Tried

    for each in tally.calls:
        yield Tried(
            path=str(tally.path),
            group=tally.path.stem,
            name=name(each),
            seconds=tally.seconds / len(tally.calls),
            failure=(each.why,) if each.finding == "failed" else (),
            skipped=f"cannot decide: {each.why}" if each.finding == "undecided" else None,
        )


def _document(tallies: list[Tally], faults: "list[tuple[Path, Fault]]") -> dict[str, Any]:
    return {
        "calls": [
            {"path": near(tally.path), **msgspec.to_builtins(each)}
            for tally in tallies
            for each in tally.calls
        ],
        "faults": [{"path": near(path), "message": fault.message} for path, fault in faults],
        "passed": _sum(tallies, "held"),
        "failed": _sum(tallies, "failed"),
        "undecided": _sum(tallies, "undecided"),
        "left_out": sum(tally.left_out for tally in tallies),
    }


def _sum(tallies: list[Tally], finding: str) -> int:
    return sum(len(tally.of(finding)) for tally in tallies)


def _lines(tallies: list[Tally], faults: "list[tuple[Path, Fault]]") -> "Iterator[Text]":
    from rich.text import Text

    console = screen()
    column = max((len(_named(tally)) for tally in tallies), default=0)
    for tally in tallies:
        failed, unknown = tally.of("failed"), tally.of("undecided")
        icon, style = (DENIED.icon, DENIED.style) if failed else (ALLOWED.icon, ALLOWED.style)
        if not failed and len(unknown) == len(tally.calls):
            icon, style = UNDECIDED, "magenta"
        told = [counted(len(tally.calls), "call")]
        told += [f"{sum(each.stopped for each in tally.calls):,} stopped"]
        told += [f"{len(failed):,} not as expected"] if failed else []
        told += [f"{len(unknown):,} cannot be decided"] if unknown else []
        if tally.left_out:
            many = counted(tally.left_out, "entry is", "entries are")
            told += [f"{many} not in the file"]
        yield Text.assemble(
            (f"{icon} ", style),
            (f"{_named(tally):{column}}", "bold"),
            (f"  {', '.join(told)}", "dim"),
        )
        for each in failed:
            yield from _line(console, each, DENIED.icon, DENIED.style)
        for each in unknown[:MOST]:
            yield from _line(console, each, UNDECIDED, "magenta")
        if len(unknown) > MOST:
            yield Text(f"    … {len(unknown) - MOST:,} more; --json has them all", "dim")
    for path, fault in faults:
        lead = Text(f"{DENIED.icon} ", DENIED.style)
        said = Text.assemble((inert(near(path)), "bold"), f": error: {inert(fault.message)}")
        yield from beside(console, lead, said)
    yield from _end(tallies, faults)


def _named(tally: Tally) -> str:
    return inert(near(tally.path), 60)


def _line(console: Any, each: "Retried", icon: str, style: str) -> "Iterator[Text]":
    from rich.text import Text

    said = Text.assemble((inert(name(each), 80), "bold"), f"  {inert(each.why)}")
    yield from beside(console, Text(f"    {icon} ", style), said)


def _end(tallies: list[Tally], faults: "list[tuple[Path, Fault]]") -> "Iterator[Text]":
    from rich.text import Text

    failed, unknown = _sum(tallies, "failed"), _sum(tallies, "undecided")
    passed = _sum(tallies, "held")
    if faults:
        many = counted(len(faults), "file cannot be used", "files cannot be used")
        yield Text(f"{DENIED.icon} {many}", DENIED.style)
    if failed:
        many = counted(failed, "call is", "calls are")
        yield Text(f"{DENIED.icon} {many} not as expected, {passed:,} as expected", DENIED.style)
    elif passed:
        many = counted(passed, "call is", "calls are")
        yield Text(f"{ALLOWED.icon} {many} as expected", ALLOWED.style)
    if unknown:
        many = counted(unknown, "call", "calls")
        yield Text(f"{UNDECIDED} {many} cannot be decided, and count as nothing", "magenta")
