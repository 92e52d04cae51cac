"""Policies in several files: what is included, defined once, or listed in a file."""

import json
from pathlib import Path

import pytest

from saferun.call import Call
from saferun.errors import PolicyError
from saferun.policy import check, load, loads, restore


@pytest.fixture
def write(tmp_path):
    def write(**files: str) -> Path:
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/")
            path.parent.mkdir(exist_ok=True)
            path.with_suffix(".txt" if name.endswith("list") else ".yaml").write_text(text)
        return tmp_path / "main.yaml"

    return write


MAIN = """\
version: 1
include: [common.yaml]
tools:
  refund:
    effect: write
    args: {amount: cents, to: {type: string, among: {file: leads_list.txt}}}
"""

COMMON = """\
definitions:
  cents: {type: integer, minimum: 1, maximum: 500}
tools:
  search: {effect: read, args: {q: {type: string}}}
limits:
  - {id: calls, max: 5, per: run}
"""

LEADS = "# who may be written to\na@example.com\n\nb@example.com\n"


def _main(write) -> Path:
    return write(main=MAIN, common=COMMON, leads_list=LEADS)


def test_what_is_included_holds_as_if_it_stood_there(write):
    made = load(_main(write))
    assert set(made.tools) == {"refund", "search"}
    assert made.tools["refund"][0].limits[0].id == "calls"


@pytest.mark.parametrize(
    ("args", "verdict"),
    [
        ({"amount": 500, "to": "a@example.com"}, "allow"),
        ({"amount": 501, "to": "a@example.com"}, "deny"),
        ({"amount": 5, "to": "c@example.com"}, "deny"),
        ({"amount": 5, "to": "# who may be written to"}, "deny"),
    ],
)
def test_definitions_and_lists_are_put_in_place(write, args, verdict):
    assert load(_main(write)).decide(Call(tool="refund", args=args)).verdict == verdict


def test_the_version_is_that_of_all_files_together(write):
    path = _main(write)
    before = load(path).version
    (path.parent / "leads_list.txt").write_text(LEADS + "c@example.com\n")
    after = load(path).version
    assert before != after
    (path.parent / "common.yaml").write_text(COMMON.replace("500", "400"))
    assert load(path).version not in (before, after)


def test_a_policy_is_made_again_from_its_canonical_form(write):
    made = load(_main(write))
    again = restore(made.canonical)
    assert again.ref == made.ref
    assert again.canonical == made.canonical
    assert "include" not in json.loads(made.canonical)


def test_a_canonical_form_that_is_damaged_is_refused():
    with pytest.raises(PolicyError, match="cannot be read"):
        restore(b'{"version": 1')


def test_a_fault_in_an_included_file_is_told_where_it_stands(write):
    path = write(main=MAIN, common=COMMON.replace("q: {type:", "q: {tpye:"), leads_list=LEADS)
    with pytest.raises(PolicyError) as caught:
        load(path)
    assert caught.value.line == 4
    assert str(caught.value.path).endswith("common.yaml")
    finding = check(path.read_bytes(), str(path))[0]
    assert (finding.line, Path(finding.path).name) == (4, "common.yaml")


@pytest.mark.parametrize(
    ("common", "message"),
    [
        (COMMON + "version: 1\n", "stands in the policy itself"),
        (COMMON.replace("search:", "refund:"), "stands in another file"),
        ("[1]", "an included file is a mapping"),
        ("definitions: [1]", "has another form"),
        ("tools: {a: &x {args: any}}", "anchors and aliases"),
    ],
)
def test_what_an_included_file_may_not_say_is_refused(write, common, message):
    path = write(
        main="version: 1\ninclude: [common.yaml]\ntools: {refund: {args: any}}\n", common=common
    )
    with pytest.raises(PolicyError, match=message):
        load(path)


@pytest.mark.parametrize("name", ["../secret.yaml", "/etc/hostname", "none.yaml"])
def test_only_files_in_the_policys_folder_are_read(write, name):
    path = write(main=f"version: 1\ninclude: [{name}]\n")
    with pytest.raises(PolicyError, match=r"outside the policy's folder|cannot be read"):
        load(path)


def test_a_link_out_of_the_folder_is_not_followed(write, tmp_path_factory):
    path = write(main="version: 1\ninclude: [common.yaml]\n")
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "x.yaml"
    elsewhere.write_text(COMMON)
    (path.parent / "common.yaml").symlink_to(elsewhere)
    with pytest.raises(PolicyError, match="outside the policy's folder"):
        load(path)


def test_files_that_include_each_other_end(write):
    path = write(
        main="version: 1\ninclude: [a.yaml]\n",
        a="include: [b.yaml]\ntools: {t: {args: any}}\n",
        b="include: [a.yaml]\ntools: {u: {args: any}}\n",
    )
    assert set(load(path).tools) == {"t", "u"}


def test_a_text_without_a_folder_includes_nothing():
    with pytest.raises(PolicyError, match="no folder"):
        loads("version: 1\ninclude: [a.yaml]\n")


def _defined(definitions: str, args: str) -> str:
    return f"version: 1\ndefinitions: {definitions}\ntools: {{t: {{effect: read, args: {args}}}}}\n"


def _allows(text: str, value: object) -> bool:
    return loads(text).decide(Call(tool="t", args={"a": value})).verdict == "allow"


def test_a_definition_is_narrowed_where_it_is_used():
    text = _defined("{n: {type: integer, maximum: 9}}", "{a: {use: n, minimum: 3, maximum: 20}}")
    assert [_allows(text, value) for value in (2, 3, 9, 10)] == [False, True, True, False]


def test_a_definition_may_use_another_and_stand_inside_a_schema():
    text = _defined(
        "{n: {type: integer}, ns: {type: array, items: n}}", "{a: {use: ns, maxItems: 2}}"
    )
    assert [_allows(text, value) for value in ([1], ["1"], [1, 2, 3])] == [True, False, False]


@pytest.mark.parametrize(
    ("definitions", "args", "message"),
    [
        ("{n: {use: n}}", "{a: n}", "uses itself"),
        ("{n: {use: m}, m: {use: n}}", "{a: n}", "uses itself"),
        ("{cents: {type: integer}}", "{a: cent}", "did you mean `cents`"),
        ("{n: {type: intger}}", "{}", "a type is one of"),
        ("{n: {type: integer}}", "{a: {use: n, type: integer, allOf: 5}}", "`allOf` is a list"),
    ],
)
def test_a_definition_that_is_wrong_is_told(definitions, args, message):
    with pytest.raises(PolicyError, match=message):
        loads(_defined(definitions, args))


def test_definitions_that_grow_without_end_are_refused():
    steps = [f"d{n}: {{allOf: [d{n + 1}, d{n + 1}]}}" for n in range(40)]
    bomb = _defined("{" + ", ".join([*steps, "d40: {type: integer}"]) + "}", "{a: d0}")
    with pytest.raises(PolicyError, match="more than 50,000 schemas"):
        loads(bomb)


def test_a_definition_with_a_unit_is_narrowed_in_that_unit():
    text = _defined(
        "{amount: {type: integer, unit: cents, maximum: 500 USD}}",
        "{a: {use: amount, maximum: 200 USD}}",
    )
    assert [_allows(text, value) for value in (20_000, 20_001)] == [True, False]


def test_an_argument_at_fault_is_told_once_and_not_again_by_its_rules():
    text = """\
version: 1
tools:
  t:
    args: {a: {type: intger}}
    rules: [{id: r, deny: true, args: {a: {minimum: 5}}}]
"""
    assert [each.line for each in check(text)] == [4]


@pytest.mark.parametrize(
    "args",
    [
        "{a: {use: n, unit: cents}}",
        "{a: {type: integer, unit: s, allOf: [{unit: ms, maximum: 5}]}}",
    ],
)
def test_a_value_is_counted_in_one_unit(args):
    with pytest.raises(PolicyError, match="counted in"):
        loads(_defined("{n: {type: integer, unit: USD}}", args))


def test_a_carriage_return_that_ends_a_comment_unseen_is_refused():
    with pytest.raises(PolicyError, match="carriage return"):
        loads("version: 1\n# deny\rdefault: allow\n")
