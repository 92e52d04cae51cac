"""`under`: a path that lies in a folder. Links are resolved before; what is left is text."""

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.making import call, decide, error, of, said, text
from saferun.policy.form import paths
from saferun.policy.matcher import Matcher

DATA = {"type": "string", "under": ["/srv/data", "/tmp/out"]}


def readings(value, schema=DATA):
    matcher = Matcher(schema)
    return matcher.admits(value, floats=False), matcher.catches(value, floats=False)


@pytest.mark.parametrize("path", ["/srv/data", "/srv/data/a", "/srv/data/a b/c.txt", "/tmp/out/.x"])
def test_a_path_in_one_of_the_folders_fits(path):
    assert readings(path) == (True, True)


@pytest.mark.parametrize("path", ["/", "/srv", "/srv/database", "/etc/passwd", "/tmp/outside"])
def test_a_path_elsewhere_is_neither_let_through_nor_caught(path):
    assert readings(path) == (False, False)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "srv/data/a",
        "./srv/data",
        "~/data",
        "/srv/data/../../etc/passwd",
        "/srv/data/..",
        "/srv/./data/a",
        "/srv//data/a",
        "//srv/data/a",
        "/srv/data/",
        "/srv/data/a\0.txt",
        "file:///srv/data/a",
        "C:\\srv\\data",
        "/SRV/Data/a",
        "/srv/d\u200bata/a",
        "/srv/ｄata",
    ],
)
def test_a_path_that_might_lie_there_is_caught_and_not_let_through(path):
    assert readings(path) == (False, True)


steps = st.lists(st.sampled_from(["srv", "data", "a", "..", ".", "", "database"]), max_size=6)


@given(steps, st.booleans())
def test_what_is_let_through_is_where_pathlib_finds_it(names, absolute):
    path = ("/" if absolute else "") + "/".join(names)
    if readings(path)[0]:
        assert PurePosixPath(path).is_relative_to("/srv/data")
        assert ".." not in PurePosixPath(path).parts
        assert str(PurePosixPath(path)) == path


@given(st.lists(st.sampled_from(["srv", "data", "a", "b"]), min_size=1, max_size=5))
def test_a_normal_path_is_let_through_where_pathlib_finds_it_below(names):
    path = "/" + "/".join(names)
    assert readings(path)[0] == PurePosixPath(path).is_relative_to("/srv/data")


def test_a_rule_that_stops_stops_a_path_that_it_cannot_place():
    rules = "- {id: secrets, deny: true, args: {path: {under: /srv/data/secret}}}"
    tool = "args: {path: {type: string, under: /srv/data}}"
    assert decide(rules, {"path": "/srv/data/a"}, tool=tool).verdict == "allow"
    for path in ("/srv/data/secret/a", "/srv/data/Secret/a"):
        assert decide(rules, {"path": path}, tool=tool).verdict == "deny"


def test_a_denial_names_the_folders():
    ruling = of("path: {type: string, under: [/srv/data, /tmp]}").decide(call({"path": "/etc"}))
    assert said(ruling) == "path must be an absolute path under /srv/data or /tmp"


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"type": "string", "under": "/a"}, "path"),
        ({"type": "array", "items": {"type": "string", "under": "/a"}}, "paths"),
        ({"type": "string"}, None),
        ({"type": "array", "items": False}, None),
    ],
)
def test_a_schema_tells_whether_its_argument_is_a_path(schema, kind):
    assert paths(schema) == kind


@pytest.mark.parametrize(
    ("schema", "fault"),
    [
        ("{type: string, under: data}", "a folder is written from the root"),
        ("{type: string, under: /srv/../etc}", "without `.`, `..`"),
        ("{type: string, under: /srv/}", "a double slash or one at its end"),
        ("{type: string, under: []}", "expected a folder such as `/srv/data`"),
        ("{type: string, under: [/a, 5]}", "written from the root, such as `/srv/data`; found the"),
        ("{type: integer, under: /a}", "`under` is about text"),
        ("{type: string, anyOf: [{under: /a}]}", "stands at the top of an argument"),
        (
            "{type: object, additionalProperties: {type: string, under: /a}}",
            "stands at the top of an argument, or of its `items`",
        ),
    ],
)
def test_what_is_wrong_with_a_folder_is_told(schema, fault):
    assert fault in error(text(f"args: {{a: {schema}}}\n"))
