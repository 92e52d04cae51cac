"""`saferun run import`: runs that were made elsewhere, brought into the store to be looked at."""

import re
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from saferun.approval.inert import inert
from saferun.cli.history import incident_file
from saferun.cli.options import CannotError, JsonOption, StoreOption, settings
from saferun.cli.screen import ALLOWED, IMPORTED, counted, document, progress, screen
from saferun.config import Said

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from saferun.replay import TracedRun
    from saferun.store import Store

ROOM = 150
"""Characters of a run's own id that are kept; a run's whole id has at most 200."""

_UNSAFE = re.compile(r"[^A-Za-z0-9._:@+/-]")


def bring_in(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Trace files, or incident files.")
    ],
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Bring runs from trace files, or incident files, into the store.

    They get ids that begin with import/, and count towards nothing: no check, no limit and no
    approval ever rests on them. A file that is there already adds nothing.
    """
    from saferun.store import Store

    # All of it is read before any of it is written: a file is brought in whole or not at all.
    counts = {file: _count(file) for file in files}
    configured = settings(store)
    held = Store(
        configured.store,
        ledger=configured.ledger,
        durability=configured.durability,
        signing=configured.signing,
    )
    try:
        for file, count in counts.items():
            _bring_in(held, configured.sensitive, file, count, as_json=as_json)
    finally:
        held.close()
    return 0


def run_id(file: str, own: str, line: int, taken: set[str]) -> str:
    """The id of a run that is brought in: `import/`, 8 digits of its file's hash, its own id.

    What an id should not hold is replaced, and the number of the line then tells it from others.
    """
    safe = _UNSAFE.sub("_", own)[:ROOM]
    if safe != own or safe in taken:
        # A tilde stands in no id that is kept as it is.
        safe += f"~{line}"
    # Of several runs on one line, each further one has its own number behind that.
    further, alone = 1, safe
    while safe in taken:
        further += 1
        safe = f"{alone}~{further}"
    taken.add(safe)
    return f"import/{file[:8]}/{safe}"


def _count(file: Path) -> int:
    size = file.stat().st_size if file.is_file() else 0
    with progress(f"reading {inert(file.name, 40)}", size) as done:
        return sum(1 for _ in _runs(file, done))


def _runs(file: Path, done: "Callable[[int], None]" = lambda _: None) -> "Iterator[TracedRun]":
    """The runs of a file of either kind. Raises TraceError, IncidentError."""
    if incident_file(str(file)) is None:
        from saferun.replay import traces

        yield from traces(file, done)
        return
    from saferun.incident import opened, traced

    with opened(file) as found:
        yield from traced(found.path, found.incident.manifest.runs)


def _bring_in(
    store: "Store", sensitive: frozenset[Said], file: Path, count: int, *, as_json: bool
) -> None:
    from rich.text import Text

    from saferun import importing

    sha256 = _hash(file)
    taken: set[str] = set()
    roots: dict[str, importing.Above] = {}
    new = calls = 0
    with progress(f"importing {inert(file.name, 40)}", count) as done:
        number = 0
        for family in _families(_runs(file)):
            made: dict[str, int] = {}
            found = []
            for run in family:
                named = run_id(sha256, run.run_id, run.line, taken)
                above = None if run.parent is None else roots.get(run.parent)
                roots[run.run_id] = importing.Above(named, named if above is None else above.root)
                found.append(importing.brought(run, named, sha256, store, sensitive, above))
                made[named] = sum(1 for _ in run.calls)
            within = {
                (run.parent, run.run_id): each
                for run, each in zip(family[1:], found[1:], strict=True)
            }
            added = store.commit(importing.together(found[0], within, sha256))
            new += len(added)
            calls += sum(made[each] for each in added)
            number += len(family)
            done(number)
    known = count - new
    if as_json:
        told = {"file": str(file), "sha256": sha256, "runs": new, "calls": calls, "known": known}
        document(told)
        return
    said = f"{counted(new, 'run')} with {counted(calls, 'call')}" if new else "nothing new"
    if known:
        said += f"; {counted(known, 'run')} there already"
    mark = IMPORTED if new else ALLOWED
    screen().print(
        Text.assemble(
            (f"{mark.icon} ", mark.style),
            (inert(file.name), "bold"),
            f"  {said}",
            (f"  import/{sha256[:8]}/", "dim"),
        )
    )


def _families(runs: "Iterator[TracedRun]") -> "Iterator[list[TracedRun]]":
    """Runs with those within them, each as soon as it is whole: parents before their children."""
    awaited: dict[tuple[str, str], list[TracedRun]] = {}
    missing: dict[int, int] = {}
    for run in runs:
        own = awaited.pop((run.parent, run.run_id), None) if run.parent is not None else None
        family = [] if own is None else own
        family.append(run)
        due = [(run.run_id, child) for child, _ in run.begun]
        fresh = [each for each in dict.fromkeys(due) if each not in awaited]
        awaited.update(dict.fromkeys(fresh, family))
        missing[id(family)] = missing.get(id(family), 0) + len(fresh) - (own is not None)
        if not missing[id(family)]:
            del missing[id(family)]
            yield family
    # A file that announces a run and lacks it: what is there is brought in.
    yield from {id(each): each for each in awaited.values()}.values()


def _hash(file: Path) -> str:
    try:
        with file.open("rb") as data:
            return file_digest(data, "sha256").hexdigest()
    except OSError as problem:
        raise CannotError(f"{file} cannot be read: {problem.strerror}.") from None
