"""Results as JUnit XML, which most build servers show test by test."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

from saferun.approval.inert import inert
from saferun.policy.source import Fault
from saferun.suites.report import sentence
from saferun.suites.run import Result


class Tried(NamedTuple):
    """One test as a build server knows it. `group` is what it stands under.

    `failure` is what was wrong, line by line, and `skipped` says why nobody can tell.
    """

    path: str
    group: str
    name: str
    seconds: float = 0.0
    line: int | None = None
    failure: Sequence[str] = ()
    skipped: str | None = None


def tried(result: Result) -> Tried:
    """A case of a test file."""
    return Tried(
        path=str(result.suite.path),
        group=result.suite.path.name.partition(".")[0],
        name=result.case.name,
        seconds=result.seconds,
        line=result.case.line,
        failure=() if result.failure is None else sentence(result.failure),
    )


def junit(results: Iterable[Tried], faults: Sequence[tuple[Path, Fault]] = ()) -> bytes:
    """One `testsuite` for each file and one `testcase` for each test, in UTF-8.

    A file that cannot be used has one `testcase` for each of its faults, which is an error.
    Names and values are put in as text that has no control characters, which XML cannot hold.
    """
    root = ET.Element("testsuites", name="saferun policy test")
    for path, grouped in groupby(results, lambda each: each.path):
        those = list(grouped)
        suite = _suite(
            root,
            path,
            tests=len(those),
            failures=sum(bool(each.failure) for each in those),
            skipped=sum(each.skipped is not None for each in those),
            seconds=sum(each.seconds for each in those),
        )
        for each in those:
            _case(suite, each)
    for path, broken in groupby(faults, lambda fault: str(fault[0])):
        errors = [fault for _, fault in broken]
        suite = _suite(root, path, tests=len(errors), errors=len(errors))
        for fault in errors:
            _error(suite, path, fault)
    written: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return written


def _suite(
    root: ET.Element,
    path: str,
    *,
    tests: int,
    failures: int = 0,
    errors: int = 0,
    skipped: int = 0,
    seconds: float = 0.0,
) -> ET.Element:
    return ET.SubElement(
        root,
        "testsuite",
        name=inert(path),
        tests=str(tests),
        failures=str(failures),
        errors=str(errors),
        skipped=str(skipped),
        time=f"{seconds:.6f}",
    )


def _error(suite: ET.Element, path: str, fault: Fault) -> None:
    name = f"line {fault.line}" if fault.line is not None else "the file"
    case = ET.SubElement(suite, "testcase", name=name, classname=inert(path), file=inert(path))
    ET.SubElement(case, "error", message=inert(fault.message))


def _case(suite: ET.Element, each: Tried) -> None:
    case = ET.SubElement(
        suite,
        "testcase",
        name=inert(each.name),
        classname=inert(each.group),
        file=inert(each.path),
        time=f"{each.seconds:.6f}",
    )
    if each.line is not None:
        case.set("line", str(each.line))
    if each.failure:
        failure = ET.SubElement(case, "failure", message=inert(each.failure[0]))
        failure.text = "\n".join(inert(line) for line in each.failure)
    if each.skipped is not None:
        ET.SubElement(case, "skipped", message=inert(each.skipped))
