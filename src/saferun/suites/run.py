"""Tries whole test files on their policies, one case after the other."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from time import perf_counter

import msgspec

from saferun.policy import Policy
from saferun.suites.case import Case, Suite
from saferun.suites.coverage import Coverage
from saferun.suites.fault import SuiteError
from saferun.suites.file import ENDING, load
from saferun.suites.trial import Failure, Observer, attempt


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one case. `seconds` is how long it took."""

    suite: Suite
    case: Case
    failure: Failure | None
    seconds: float


def found(folder: Path, policy: Path | None = None) -> list[Path]:
    """The test files in a folder, in order of name; with `policy`, those that are about it.

    One that cannot be used counts where it is called like the policy: another may be about
    anything, and is told of where all are tested.
    """
    paths = sorted(folder.glob(f"*{ENDING}"))
    return paths if policy is None else [path for path in paths if _is_about(path, policy)]


def _is_about(path: Path, policy: Path) -> bool:
    try:
        return load(path).policy.resolve() == policy.resolve()
    except SuiteError:
        return path.name == policy.stem + ENDING


def chosen(all_suites: Iterable[Suite], word: str | None) -> list[Suite]:
    """The suites with those of their cases whose names hold a word, in any case of letters."""
    if word is None:
        return list(all_suites)
    kept = [
        msgspec.structs.replace(
            suite,
            cases=tuple(case for case in suite.cases if word.casefold() in case.name.casefold()),
        )
        for suite in all_suites
    ]
    return [suite for suite in kept if suite.cases]


def results(suite: Suite, policy: Policy, coverage: Coverage | None = None) -> Iterator[Result]:
    """Try the cases of a file, each on a run of its own."""
    observe: Observer | None = None if coverage is None else coverage.observe
    for case in suite.cases:
        began = perf_counter()
        failure = attempt(policy, case, observe)
        yield Result(suite=suite, case=case, failure=failure, seconds=perf_counter() - began)


def passes(policy: Policy, all_suites: Sequence[Suite]) -> bool:
    """Whether every case does, up to the first that does not."""
    return all(attempt(policy, case) is None for suite in all_suites for case in suite.cases)
