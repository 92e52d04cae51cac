"""`saferun policy test`: whether a policy does what the files beside it expect."""

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from saferun.approval.inert import inert
from saferun.cli.options import CannotError, JsonOption, StoreOption, near, settings
from saferun.cli.policy.incidents import Choice, of_incidents
from saferun.cli.policy.named import policy_file
from saferun.cli.run.verify import VkeyOption
from saferun.cli.screen import ALLOWED, DENIED, counted, document, progress, screen
from saferun.errors import PolicyError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from saferun.policy import Policy
    from saferun.policy.source import Fault
    from saferun.suites.case import Suite
    from saferun.suites.coverage import Coverage
    from saferun.suites.mutation import Mutant
    from saferun.suites.run import Result

LOOK = 0.3
"""Seconds between two looks at the files with `--watch`: soon enough after a keystroke to save."""


def run_tests(
    policy: Annotated[
        str | None,
        typer.Argument(metavar="[POLICY]", help="A policy's name or file; all of them without."),
    ] = None,
    store: StoreOption = None,
    only: Annotated[
        str | None,
        typer.Option("-k", metavar="NAME", help="Only the cases whose names hold this."),
    ] = None,
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML as well.")
    ] = None,
    coverage: Annotated[
        bool, typer.Option("--coverage", help="Tell what of the policy no test has tried.")
    ] = False,
    mutate: Annotated[
        bool,
        typer.Option("--mutate", help="Change the policy in small ways: does some test fail?"),
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Test again whenever a file changes.")
    ] = False,
    incidents: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Instead, decide the calls of the incident files there anew."
        ),
    ] = None,
    labelled: Annotated[
        bool,
        typer.Option("--labelled", help="Expect something of labelled calls of incidents alone."),
    ] = False,
    vkey: VkeyOption = None,
    as_json: JsonOption = False,
) -> int:
    """Try the test files of a policy, or of all policies.

    Exits 1 where a case fails, or with --mutate where a change goes unnoticed; otherwise 0.

    With --incidents, calls that are labelled right to stop have to be stopped, and all others have
    to go as they went; --labelled leaves these out. POLICY decides on all of them; without, each
    is decided on by the policy of the same name as then. It exits 1 as well where a file cannot be
    used.
    """
    if incidents is not None:
        if watch or coverage or mutate:
            raise CannotError("--watch, --coverage and --mutate are for test files alone.")
        chosen = Choice(word=only, labelled=labelled)
        return of_incidents(
            incidents, policy, chosen, vkey, junit=junit, store=store, as_json=as_json
        )
    if vkey is not None or labelled:
        raise CannotError("--vkey and --labelled go with --incidents alone.")
    if watch and (as_json or junit is not None):
        raise CannotError("--watch is for somebody who looks on; leave out --json and --junit.")
    named = None if policy is None else policy_file(policy, store)
    folder = settings(store).policies if named is None else named.parent
    round_ = _Round(folder, named, only, coverage=coverage, mutate=mutate)
    if watch:
        return _watched(round_)
    code = round_.go(as_json=as_json)
    if junit is not None:
        from saferun.suites.junit import junit as written
        from saferun.suites.junit import tried

        junit.write_bytes(written(map(tried, round_.results), round_.faults))
    return code


def _watched(round_: "_Round") -> int:
    from saferun.suites.watch import changes

    console = screen()
    with contextlib.suppress(KeyboardInterrupt):
        for _ in changes(round_.folder, lambda: time.sleep(LOOK)):
            console.clear()
            try:
                round_.go(as_json=False)
            except CannotError as problem:
                # A file that is half-written now will be whole at its next change.
                console.print(inert(str(problem)))
            console.print("Waiting for a change; Ctrl-C ends it.", style="dim")
    return 0


class _Round:
    """One round of tests, and what it found."""

    def __init__(
        self, folder: Path, policy: Path | None, only: str | None, *, coverage: bool, mutate: bool
    ) -> None:
        self.folder = folder
        self.results: list[Result] = []
        self.faults: list[tuple[Path, Fault]] = []
        self._policy = policy
        self._only = only
        self._coverage = coverage
        self._mutate = mutate

    def go(self, *, as_json: bool) -> int:
        """Test once and print what came of it; returns the exit code."""
        from saferun.suites.coverage import Coverage
        from saferun.suites.run import results

        self.results = []
        suites, faults = self._suites()
        self.faults = faults
        policies: dict[Path, Policy] = {}
        for suite in suites:
            _load(suite.policy, policies, faults)
        looked_on = {path: Coverage(policy) for path, policy in policies.items()}
        with progress("testing", sum(len(suite.cases) for suite in suites)) as tell:
            for suite in suites:
                if suite.policy not in policies:
                    continue
                coverage = looked_on[suite.policy] if self._coverage else None
                for result in results(suite, policies[suite.policy], coverage):
                    self.results.append(result)
                    tell(len(self.results))
        failed = bool(faults) or any(result.failure is not None for result in self.results)
        survivors = []
        if self._mutate and not failed:
            survivors = list(_survivors(policies, suites))
        if as_json:
            document(self._document(faults, looked_on, survivors))
        else:
            self._print(screen(), faults, looked_on, survivors, failed=failed)
        return 1 if failed or survivors else 0

    def _suites(self) -> "tuple[list[Suite], list[tuple[Path, Fault]]]":
        from saferun.suites.fault import SuiteError
        from saferun.suites.file import ENDING, load
        from saferun.suites.run import chosen, found

        suites, faults = [], []
        paths = found(self.folder, self._policy)
        for path in paths:
            try:
                suites.append(load(path))
            except SuiteError as problem:
                faults += [(path, fault) for fault in problem.faults]
        if not paths:
            name = "NAME" if self._policy is None else self._policy.stem
            where = near(self.folder / f"{name}{ENDING}")
            raise CannotError(f"There are no tests yet; write the first into {where}.")
        kept = chosen(suites, self._only)
        if not kept and not faults:
            raise CannotError(f"No case has {self._only!r} in its name.")
        return kept, faults

    def _document(
        self,
        faults: "list[tuple[Path, Fault]]",
        looked_on: "dict[Path, Coverage]",
        survivors: "list[_Survivor]",
    ) -> dict[str, Any]:
        import msgspec

        told: dict[str, Any] = {
            "cases": [_case(result) for result in self.results],
            "faults": [
                {"path": near(path), "line": fault.line, "message": fault.message}
                for path, fault in faults
            ],
            "passed": sum(result.failure is None for result in self.results),
            "failed": sum(result.failure is not None for result in self.results),
        }
        if self._coverage:
            told["coverage"] = [
                {
                    "policy": near(path),
                    "tried": coverage.tried,
                    "of": coverage.of,
                    "gaps": msgspec.to_builtins(coverage.gaps),
                }
                for path, coverage in looked_on.items()
            ]
        if self._mutate:
            told["survivors"] = [each.document() for each in survivors]
        return told

    def _print(
        self,
        console: "Console",
        faults: "list[tuple[Path, Fault]]",
        looked_on: "dict[Path, Coverage]",
        survivors: "list[_Survivor]",
        *,
        failed: bool,
    ) -> None:
        for path, fault in faults:
            _print_fault(console, path, fault)
        for result in self.results:
            if result.failure is not None:
                _print_failure(console, result)
        if self._coverage:
            for path, coverage in looked_on.items():
                _print_coverage(console, path, coverage)
        for survivor in survivors:
            _line(console, f"{survivor.where}: ", "no test fails if ", survivor.mutant.what)
        _print_sum(console, self.results, faults)
        if self._mutate:
            _print_survived(console, survivors, failed=failed)


class _Survivor:
    """A change of a policy that no test notices, and where it would be made."""

    def __init__(self, path: Path, line: int | None, mutant: "Mutant") -> None:
        self.path = path
        self.line = line
        self.mutant = mutant

    @property
    def where(self) -> str:
        return near(self.path) if self.line is None else f"{near(self.path)}:{self.line}"

    def document(self) -> dict[str, Any]:
        return {"path": near(self.path), "line": self.line, "what": self.mutant.what}


def _load(path: Path, policies: "dict[Path, Policy]", faults: "list[tuple[Path, Fault]]") -> None:
    """Take in a policy, once; one that cannot be used is a fault like those of the tests."""
    from saferun.policy import load
    from saferun.policy.source import Fault

    if path in policies or any(blamed == path for blamed, _ in faults):
        return
    try:
        policies[path] = load(path)
    except PolicyError as problem:
        fault = Fault("policy", problem.message, problem.line, problem.column)
        faults.append((Path(problem.path or path), fault))


def _survivors(policies: "dict[Path, Policy]", suites: "Sequence[Suite]") -> "Iterator[_Survivor]":
    from saferun.policy.gather import gather, reader
    from saferun.suites.mutation import mutants
    from saferun.suites.run import passes

    for path, policy in policies.items():
        tests = [suite for suite in suites if suite.policy == path]
        source = gather(path.read_bytes(), path.name, reader(path.parent))
        changed = mutants(policy)
        with progress(f"changing {policy.name}", len(changed)) as tell:
            for done, mutant in enumerate(changed, 1):
                other = mutant.policy()
                if other is not None and passes(other, tests):
                    file = path.parent / (source.file_of(mutant.at) or path.name)
                    yield _Survivor(file, source.line(mutant.at), mutant)
                tell(done)


def _case(result: "Result") -> dict[str, Any]:
    from saferun.suites.report import sentence

    failure = result.failure
    told: dict[str, Any] = {
        "path": near(result.suite.path),
        "line": result.case.line,
        "name": result.case.name,
        "passed": failure is None,
    }
    if failure is not None:
        told["differences"] = [
            {"about": each.about, "expected": each.expected, "found": each.found}
            for each in failure.differences
        ]
        told["report"] = sentence(failure)
    return told


def _line(console: "Console", where: str, lead: str, said: str) -> None:
    from rich.text import Text

    text = Text.assemble((inert(where), "bold"), lead, inert(said))
    # In a pipe, a finding is one line for whatever reads it there.
    console.print(text, soft_wrap=not console.is_terminal)


def _print_fault(console: "Console", path: Path, fault: "Fault") -> None:
    place = (near(path), fault.line, fault.column)
    where = ":".join(str(part) for part in place if part is not None)
    _line(console, f"{where}: ", "error: ", fault.message)


def _print_failure(console: "Console", result: "Result") -> None:
    from rich.text import Text

    from saferun.suites.report import sentence

    assert result.failure is not None
    where = near(result.suite.path)
    line = result.failure.line or result.case.line
    console.print(
        Text.assemble((f"{DENIED.icon} ", DENIED.style), (inert(result.case.name), "bold"))
    )
    console.print(Text(f"  {inert(where)}:{line}", style="dim"), soft_wrap=True)
    for each in sentence(result.failure):
        console.print(Text(f"  {inert(each)}"), soft_wrap=True)
    console.print()


def _print_coverage(console: "Console", path: Path, coverage: "Coverage") -> None:
    for gap in coverage.gaps:
        line = f":{gap.line}" if gap.line is not None else ""
        _line(console, f"{near(path)}{line}: ", f"{gap.kind} {inert(gap.id)}: ", gap.message)
    share = 100 * coverage.tried // coverage.of if coverage.of else 100
    tried = f"{share} % of {near(path)} tried ({coverage.tried} of {coverage.of})"
    console.print(tried, style="dim")


def _print_sum(
    console: "Console", results: "Sequence[Result]", faults: "Sequence[tuple[Path, Fault]]"
) -> None:
    failed = sum(result.failure is not None for result in results)
    passed = len(results) - failed
    if faults:
        console.print(f"{DENIED.icon} {counted(len(faults), 'error')}", style=DENIED.style)
    if failed:
        said = f"{DENIED.icon} {counted(failed, 'case')} failed, {passed:,} passed"
        console.print(said, style=DENIED.style)
    elif passed:
        said = f"{ALLOWED.icon} {counted(passed, 'case')} passed"
        console.print(said, style=ALLOWED.style)


def _print_survived(console: "Console", survivors: "Sequence[_Survivor]", *, failed: bool) -> None:
    if failed:
        console.print("Nothing was changed: first make every case pass.", style="dim")
    elif survivors:
        said = f"{DENIED.icon} {counted(len(survivors), 'change')} of the policy noticed by no test"
        console.print(said, style=DENIED.style)
    else:
        said = f"{ALLOWED.icon} every change of the policy is noticed"
        console.print(said, style=ALLOWED.style)
