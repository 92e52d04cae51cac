"""Results for build servers."""

from pathlib import Path
from xml.etree import ElementTree as ET

from saferun.policy import loads as policy_of
from saferun.suites.file import loads
from saferun.suites.junit import junit, tried
from saferun.suites.run import results

POLICY = policy_of("version: 1\nname: a\ntools: {t: {effect: read, args: {a: {type: string}}}}\n")


def _written(cases: str) -> ET.Element:
    suite = loads(f"cases:\n{cases}", Path("policies/a.test.yaml"))
    return ET.fromstring(junit(map(tried, results(suite, POLICY))))


def test_each_case_has_its_place_and_each_failure_its_report() -> None:
    root = _written(
        "  - {name: one, call: {tool: t, args: {a: x}}, expect: allow}\n"
        "  - {name: two, call: {tool: t, args: {a: x}}, expect: deny}\n"
    )
    [suite] = root
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    one, two = suite
    assert one.attrib.items() >= {
        ("name", "one"),
        ("classname", "a"),
        ("file", "policies/a.test.yaml"),
        ("line", "2"),
    }
    assert list(one) == []
    [failure] = two
    assert failure.get("message") == 't(a="x")'
    assert failure.text is not None
    assert "verdict  expected deny, found allow" in failure.text


def test_characters_that_xml_cannot_hold_are_written_out() -> None:
    root = _written('  - {name: "é\\U0001F600 <&>", call: {tool: t, args: {a: x}}, expect: deny}\n')
    assert root[0][0].get("name") == "é\U0001f600 <&>"
    hostile = _written('  - {name: "a\\u202eb", call: {tool: t, args: {a: x}}, expect: deny}\n')
    assert hostile[0][0].get("name") == "a\\u202eb"
