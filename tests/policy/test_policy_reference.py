"""The reference page has a word for everything that a policy file may hold."""

from pathlib import Path

import pytest

from saferun.policy import lint, parse, part, schema

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "policy.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "words",
    [
        parse._FILE,
        parse._TOOL,
        parse._RULE,
        parse._LIMIT,
        parse._LATER_SCOPES,
        part._LATER,
        schema._ABOUT,
        schema._FORMATS,
    ],
    ids=["file", "tool", "rule", "limit", "later scopes", "later", "keywords", "formats"],
)
def test_every_word_of_a_policy_file_is_on_the_page(words):
    assert [word for word in words if f"`{word}`" not in PAGE] == []


def test_every_warning_is_on_the_page():
    text = Path(lint.__file__).read_text(encoding="utf-8")
    codes = [line.split('"')[1] for line in text.splitlines() if 'yield Warned("' in line]
    assert codes
    assert [code for code in codes if f"`{code}`" not in PAGE] == []
