"""Test files as pytest sees them: a file that is collected, and its cases as items."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from saferun.approval.inert import inert
from saferun.errors import PolicyError
from saferun.policy import Policy, load
from saferun.suites.case import Case
from saferun.suites.fault import SuiteError
from saferun.suites.file import load as load_suite
from saferun.suites.report import sentence
from saferun.suites.trial import Failure, attempt


class SuiteFile(pytest.File):
    """One test file; its cases are its items."""

    def collect(self) -> "Iterator[CaseItem]":
        try:
            suite = load_suite(self.path)
            policy = load(suite.policy)
        except SuiteError as problem:
            raise self.CollectError("\n".join(_placed(self.path, problem))) from None
        except PolicyError as problem:
            raise self.CollectError(str(problem)) from None
        for case in suite.cases:
            yield CaseItem.from_parent(self, name=case.name, case=case, policy=policy)


class CaseItem(pytest.Item):
    """One case, or one row of a table."""

    def __init__(self, *, case: Case, policy: Policy, **about: Any) -> None:
        super().__init__(**about)
        self._case = case
        self._policy = policy

    def runtest(self) -> None:
        failure = attempt(self._policy, self._case)
        if failure is not None:
            raise UnexpectedError(failure)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if not isinstance(excinfo.value, UnexpectedError):
            return super().repr_failure(excinfo, style)
        failure = excinfo.value.failure
        told = "\n".join(inert(line) for line in sentence(failure))
        return f"{self.path}:{failure.line or self._case.line}\n{told}"

    def reportinfo(self) -> tuple[Path, int | None, str]:
        line = self._case.line
        return self.path, None if line is None else line - 1, self.name


class UnexpectedError(Exception):
    """A call did not do what its case expects."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.call.tool)
        self.failure = failure


def _placed(path: Path, problem: SuiteError) -> Iterator[str]:
    for fault in problem.faults:
        place = ":".join(str(each) for each in (path, fault.line, fault.column) if each)
        yield f"{place}: {fault.message}"
