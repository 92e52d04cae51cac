"""Files that are changed in place: what was there stays, character by character."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saferun.policy.amend import AmendError, appended, begun, flow, put, replaced
from saferun.policy.amend.yaml import scalar
from saferun.policy.source import read

RULE = {"id": "new", "deny": True, "when": 'args.to == "it\'s: #1"', "mode": "shadow"}
WHERE = ("tools", "refund", "rules")

FILES = {
    "a list below its key": """\
# head
tools:
  refund: # about
    effect: write
    rules:
      - id: a
        deny: true # why

      # the end of the rules
  other: {effect: read}
# tail
""",
    "a list at its key": """\
tools:
  refund:
    rules:
    - {id: a, deny: true}
    effect: read
""",
    "a text over several lines": """\
tools:
  refund:
    rules:
      - id: a
        when: |
          args.a > 1
          && args.b
  other: {}
""",
    "no list": "tools:\n  refund:\n    effect: read # why\n  other: {}\n",
    "no list on one line": "tools:\n  refund: {effect: read} # why\n",
    "nothing at all": "tools:\n  refund: {}\n",
    "a list on one line": "tools:\n  refund: {rules: [{id: a, deny: true}]}\n",
    "an empty list": "tools:\n  refund: {rules: []}\n",
    "a list with a comma at its end": "tools: {refund: {rules: [{id: a, deny: true},]}}\n",
    "a list over several lines": """\
tools:
  refund:
    rules: [
      {id: a, deny: true}, # one, two
    ]
""",
    "no end of the last line": "tools:\n  refund:\n    rules:\n      - {id: a, deny: true}",
    "characters beyond the first plane": """\
# 😀
tools:
  refund:
    rules:
      - {id: a, x: 😀}
""",
}


@pytest.mark.parametrize("text", FILES.values(), ids=FILES)
@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "marked"])
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["lf", "crlf"])
def test_a_rule_is_added_and_all_else_stays(text, mark, end) -> None:
    before = (mark + text.replace("\n", end)).encode()
    after = appended(before, WHERE, RULE)
    rules = read(text).value["tools"]["refund"].get("rules", [])
    value = read(after).value
    assert value["tools"]["refund"]["rules"] == [*rules, RULE]
    # Nothing was taken away: what was there is found again, in its order.
    rest = iter(after.decode())
    assert all(each in rest for each in before.decode())
    assert after.decode().startswith(mark)
    assert ("\r\n" in after.decode()) is (end == "\r\n")


def test_comments_stand_where_they_stood() -> None:
    after = appended(FILES["a list below its key"].encode(), WHERE, RULE).decode()
    assert after.index("# why") < after.index("id: new") < after.index("# the end of the rules")


def test_a_new_key_is_put_at_the_end_of_its_mapping() -> None:
    after = put(b"tools:\n  a: {}\n# tail\n", ("tools", "b"), {"args": "any", "rules": [RULE]})
    assert read(after).value["tools"] == {"a": {}, "b": {"args": "any", "rules": [RULE]}}
    assert after.endswith(b"# tail\n")


def test_a_value_is_replaced_and_the_comment_beside_it_stays() -> None:
    after = replaced(b"a:\n  - {mode: shadow} # why\n", ("a", 0, "mode"), "enforce")
    assert after == b"a:\n  - {mode: enforce} # why\n"


def test_a_file_can_be_begun() -> None:
    assert read(begun("cases", {"name": "a", "expect": {"shadow": ["b"]}})).value == {
        "cases": [{"name": "a", "expect": {"shadow": ["b"]}}]
    }


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (b"tools: {refund: {rules: yes}}", WHERE),
        (b"tools: {refund: 3}", WHERE),
        (b"tools:\n  refund:\n    rules:\n", WHERE),
        (b"tools: [", WHERE),
        (b"tools: &a {refund: {rules: []}}\nb: *a\n", WHERE),
        (b"[]", WHERE),
        (b"tools: {}", WHERE),
        (b"\xff", WHERE),
    ],
)
def test_what_cannot_be_changed_in_place_is_refused(text, path) -> None:
    with pytest.raises(AmendError):
        appended(text, path, RULE)


def test_a_key_that_is_there_is_not_put_twice() -> None:
    with pytest.raises(AmendError):
        put(b"a: {b: 1}", ("a", "b"), 2)
    with pytest.raises(AmendError):
        replaced(b"a:\n  b:\n    c: 1\n", ("a", "b"), 2)


texts = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=30)
plain = st.recursive(
    st.one_of(texts, st.booleans(), st.integers(-(10**9), 10**9), st.none()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


@given(texts)
def test_every_text_is_written_so_that_it_is_read_again(text) -> None:
    assert read(f"a: {scalar(text)}").value == {"a": text}
    assert read(f"a: [{scalar(text)}, {scalar(text)}]").value == {"a": [text, text]}


@given(plain)
def test_every_value_is_written_so_that_it_is_read_again(value) -> None:
    assert read(f"a: {flow(value)}").value == {"a": value}


@given(st.dictionaries(st.sampled_from("abc"), plain, min_size=1), st.sampled_from(list(FILES)))
def test_whatever_is_added_is_added(rule, name) -> None:
    after = appended(FILES[name].encode(), WHERE, rule)
    assert read(after).value["tools"]["refund"]["rules"][-1] == rule


def test_each_line_keeps_the_end_that_it_has():
    text = b"tools:\r\n  b:\n    rules:\r\n      - {id: x}\n  # c\r\n"
    after = appended(text, ("tools", "b", "rules"), {"id": "y"})
    assert after == text.replace(b"{id: x}\n", b"{id: x}\n      - id: y\r\n")
