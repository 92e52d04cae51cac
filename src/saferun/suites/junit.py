"""Results as JUnit XML, which most build servers show test by test."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from xml.etree import ElementTree as ET

from saferun.approval.inert import inert
from saferun.policy.source import Fault
from saferun.suites.report import sentence
from saferun.suites.run import Result


def junit(results: Sequence[Result], faults: Sequence[tuple[Path, Fault]] = ()) -> bytes:
    """One `testsuite` for each file and one `testcase` for each case, in UTF-8.

    A file that cannot be used has one `testcase` for each of its faults, which is an error.
    Names and values are put in as text that has no control characters, which XML cannot hold.
    """
    root = ET.Element("testsuites", name="saferun policy test")
    for path, grouped in groupby(results, lambda result: str(result.suite.path)):
        those = list(grouped)
        failed = sum(result.failure is not None for result in those)
        seconds = sum(result.seconds for result in those)
        suite = _suite(root, path, tests=len(those), failures=failed, errors=0, seconds=seconds)
        for result in those:
            _case(suite, result, path)
    for path, broken in groupby(faults, lambda fault: str(fault[0])):
        errors = [fault for _, fault in broken]
        suite = _suite(root, path, tests=len(errors), failures=0, errors=len(errors), seconds=0.0)
        for fault in errors:
            _error(suite, path, fault)
    written: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return written


def _suite(
    root: ET.Element, path: str, *, tests: int, failures: int, errors: int, seconds: float
) -> ET.Element:
    return ET.SubElement(
        root,
        "testsuite",
        name=inert(path),
        tests=str(tests),
        failures=str(failures),
        errors=str(errors),
        skipped="0",
        time=f"{seconds:.6f}",
    )


def _error(suite: ET.Element, path: str, fault: Fault) -> None:
    name = f"line {fault.line}" if fault.line is not None else "the file"
    case = ET.SubElement(suite, "testcase", name=name, classname=inert(path), file=inert(path))
    ET.SubElement(case, "error", message=inert(fault.message))


def _case(suite: ET.Element, result: Result, path: str) -> None:
    case = ET.SubElement(
        suite,
        "testcase",
        name=inert(result.case.name),
        classname=inert(result.suite.path.name.partition(".")[0]),
        file=inert(path),
        time=f"{result.seconds:.6f}",
    )
    if result.case.line is not None:
        case.set("line", str(result.case.line))
    if result.failure is not None:
        lines = sentence(result.failure)
        failure = ET.SubElement(case, "failure", message=inert(lines[0]))
        failure.text = "\n".join(inert(each) for each in lines)
