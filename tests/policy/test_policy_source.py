"""The text of a policy file: YAML 1.2, bounded, and nothing that readers disagree on."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.making import call, error, errors, text
from saferun.errors import PolicyError
from saferun.policy import load, loads
from saferun.policy.source import MAX_BYTES, MAX_FAULTS, read


def test_a_sound_text_is_read_into_plain_values():
    source = read("a: 1\nb: [x, 'y', ~, true, -2.5]\nc: {d: e f}\n")
    assert source.value == {"a": 1, "b": ["x", "y", None, True, -2.5], "c": {"d": "e f"}}
    assert source.faults == ()


def test_every_value_knows_its_line():
    source = read("a: 1\nb:\n  - x\n  - {c: 2}\n")
    assert source.line(("a",)) == 1
    assert source.line(("b", 1, "c")) == 4


def test_what_is_missing_stands_on_the_line_of_what_lacks_it():
    assert read("a:\n  b: 1\n").line(("a", "c", "d")) == 1


@pytest.mark.parametrize("empty", ["", "\n\n", "# a comment and no more\n"])
def test_an_empty_file_is_refused(empty):
    assert "the file is empty" in error(empty)


@pytest.mark.parametrize("other", ["- 1\n", "just text\n", "5\n", "---\n"])
def test_a_file_that_is_no_mapping_is_refused(other):
    assert "a policy is a mapping" in error(other)


def test_a_file_that_is_not_utf_8_is_refused_with_its_line():
    assert error(b"version: 1\nname: \xff\n").startswith("2: the file is not UTF-8")


def test_a_byte_order_mark_is_no_part_of_the_text():
    assert loads(b"\xef\xbb\xbfversion: 1\n").name == "policy"


def test_a_tab_for_indentation_is_refused_in_plain_words():
    assert error("version: 1\ntools:\n\trefund: {}\n").startswith("3: not readable as YAML: a tab")


def test_what_is_not_yaml_is_refused_with_its_line():
    assert error("version: 1\nname: 'open\n").startswith("3: not readable as YAML")


def test_a_character_that_no_text_file_holds_is_refused_with_its_line():
    assert error("version: 1\nname: a\x00b\n") == (
        "2: the character U+0000 does not belong in a text file"
    )


def test_an_escape_past_the_last_code_point_is_refused():
    assert "not readable as YAML" in error('version: 1\nname: "\\UFFFFFFFF"\n')


def test_half_a_surrogate_pair_is_refused():
    assert "2: U+D800 is half a character" in error('version: 1\nname: "\\ud800"\n')


def test_a_control_character_behind_an_escape_is_refused():
    assert "U+001B does not belong" in error('version: 1\nname: "\\e[31m"\n')


def test_a_duplicate_key_is_refused_with_both_lines():
    assert error("version: 1\nname: a\nname: b\n") == (
        "3: `name` stands here a second time (first in line 2)"
    )


@pytest.mark.parametrize("anchored", ["a: &x 1\n", "a: &x [1]\n", "a: &x {b: 1}\n", "&x a: 1\n"])
def test_anchors_are_refused(anchored):
    assert "anchor" in read(anchored).faults[0].message


def test_aliases_are_refused_and_never_expanded():
    [first, *_] = read("a: &x [1]\nb: [*x, *x, *x]\n").faults
    assert (first.line, first.code) == (1, "syntax")
    assert "write the value out" in first.message


def test_merge_keys_are_refused():
    assert "merge keys" in read("a: {b: 1}\nc:\n  <<: {d: 1}\n").faults[0].message


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system", "!!str", "!mine", "!"])
def test_tags_are_refused_whatever_they_name(tag):
    assert "tags (`!`) are not allowed" in read(f"a: {tag} x\n").faults[0].message


@pytest.mark.parametrize("directive", ["%YAML 1.1\n---\n", "%TAG ! tag:x,2000:\n---\n"])
def test_directives_are_refused(directive):
    assert "leave the `%` lines out" in error(f"{directive}version: 1\n")


def test_a_second_document_is_refused():
    assert error("version: 1\n---\nversion: 1\n").startswith("2: a second document")


def test_a_key_that_is_no_word_is_refused():
    assert "a key is a plain word" in error("? [a, b]\n: 1\n")


@pytest.mark.parametrize("key", ["1", "true", "null", "1.5"])
def test_a_key_that_is_not_text_is_refused_until_it_is_quoted(key):
    assert "is not text" in read(f"{key}: x\n").faults[0].message
    assert read(f"'{key}': x\n").value == {key: "x"}


@pytest.mark.parametrize("word", ["on", "off", "yes", "no", "y", "NO"])
def test_the_booleans_of_yaml_1_1_are_text(word):
    assert read(f"a: {word}\n").value == {"a": word}


@pytest.mark.parametrize(
    "disputed", ["007", "0o17", "0x1F", "0b1", "1_000", "1_0.5", "1:30", "2026-10-11"]
)
def test_what_readers_of_yaml_disagree_on_is_refused_until_it_is_quoted(disputed):
    assert "disagree" in read(f"a: {disputed}\n").faults[0].message
    assert read(f"a: '{disputed}'\n").value == {"a": disputed}


@pytest.mark.parametrize("endless", [".nan", ".NaN", ".inf", "-.inf", "1e999", "-1e999"])
def test_a_number_without_end_is_refused(endless):
    [fault] = read(f"a: {endless}\n").faults
    assert "can compare with" in fault.message


def test_an_integer_of_any_reasonable_size_is_kept_exactly():
    assert read(f"a: {2**200 + 1}\n").value == {"a": 2**200 + 1}


def test_an_integer_of_absurd_size_is_refused():
    assert "more than 100 digits" in read(f"a: {'9' * 5000}\n").faults[0].message


def test_a_file_that_is_too_large_is_refused():
    assert "larger than" in error("#" * (MAX_BYTES + 1))


@pytest.mark.parametrize("deep", ["[" * 1000, "- " * 1000, "{a: " * 1000, "[a: " * 1000])
def test_a_file_that_is_nested_too_deep_is_refused(deep):
    assert "nested at most 64 deep" in error(deep)


def test_a_file_with_too_many_values_is_refused():
    assert "at most 50,000 values" in error(f"[{'a,' * 60_000}]")


def test_a_long_number_like_text_is_read_in_linear_time():
    assert read(f"a: {'0_' * 200_000}x\n").faults == ()


def test_a_file_full_of_faults_is_given_up_on():
    faults = read("".join(f"k{n}: &a 1\n" for n in range(1000))).faults
    assert len(faults) == MAX_FAULTS
    assert len(errors("version: 1\n" + "".join(f"k{n}: 1\n" for n in range(1000)))) == MAX_FAULTS


def test_one_place_has_one_fault():
    assert error(text(rules="- {id: r, deny: &a no}")).endswith("write the value out")


def test_faults_come_in_the_order_of_the_file():
    found = errors("mode: off\nname: 5\nversion: 2\n")
    assert [line.split(":")[0] for line in found] == ["1", "2", "3"]


def test_a_file_is_loaded_under_its_own_name(tmp_path):
    (tmp_path / "production.yaml").write_text("version: 1\n", encoding="utf-8")
    assert load(tmp_path / "production.yaml").name == "production"
    assert load(str(tmp_path / "production.yaml")).name == "production"


def test_a_file_that_cannot_be_read_says_so(tmp_path: Path):
    with pytest.raises(PolicyError, match="cannot be read") as caught:
        load(tmp_path / "none.yaml")
    assert caught.value.path == str(tmp_path / "none.yaml")


def test_the_first_fault_of_a_file_is_raised_with_its_place(tmp_path: Path):
    path = tmp_path / "p.yaml"
    path.write_text("version: 1\ntools:\n  refund: {effekt: read}\n", encoding="utf-8")
    with pytest.raises(PolicyError) as caught:
        load(path)
    assert (caught.value.path, caught.value.line, caught.value.column) == (str(path), 3, 12)
    assert str(caught.value).startswith(f"{path}:3:12: `effekt` is not a key here")


def test_no_more_of_a_huge_file_is_read_than_shows_that_it_is_huge(tmp_path: Path):
    path = tmp_path / "huge.yaml"
    with path.open("wb") as file:
        file.truncate(1 << 34)
    with pytest.raises(PolicyError, match="larger than"):
        load(path)


@given(st.binary(max_size=400))
def test_random_bytes_are_a_policy_or_a_policy_error(data):
    _loads(data)


@given(st.text(max_size=400))
def test_random_text_is_a_policy_or_a_policy_error(data):
    _loads(data)


SOUND = text(rules="- {id: r, ask: [a], args: {amount: {minimum: 5}}, message: 'Why, \\u00e9'}")

damage = st.tuples(
    st.integers(0, len(SOUND)),
    st.integers(0, 12),
    st.text("{}[]:,-&*!|>'\"\\%@`#?~<= \n\tux019.ae", max_size=6),
)


@given(st.lists(damage, min_size=1, max_size=4))
def test_a_damaged_policy_is_a_policy_or_a_policy_error(damages):
    data = SOUND
    for at, length, inserted in damages:
        data = data[:at] + inserted + data[at + length :]
    _loads(data)


def _loads(data: str | bytes) -> None:
    with contextlib.suppress(PolicyError):
        assert loads(data).decide(call()).verdict in ("allow", "ask", "deny")
