"""The reference page has a word for everything that a policy file may hold."""

import re
from pathlib import Path

import pytest

from saferun.policy import lint, schema
from saferun.policy.form import FORMS
from saferun.policy.parse import cost, demand, document, limit, rule, setting, tool

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "policy.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "words",
    [
        document._FILE,
        document._SCOPED,
        tool._TOOL,
        rule._RULE,
        rule._FOR,
        demand.ESCALATION,
        limit._LIMIT,
        limit.SCOPES,
        limit.ON_LIMIT,
        setting.LOOPS,
        setting.BREAKER,
        cost._COST,
        FORMS,
        schema._ABOUT,
        schema._FORMATS,
    ],
    ids=[
        *("file", "scope", "tool", "rule", "for", "escalation", "limit", "scopes of limits"),
        *("on limit", "loops", "breaker", "cost", "forms"),
        *("keywords", "formats"),
    ],
)
def test_every_word_of_a_policy_file_is_on_the_page(words):
    assert [word for word in words if f"`{word}`" not in PAGE] == []


def test_every_warning_is_on_the_page():
    room = Path(lint.__file__).parent
    text = "".join(file.read_text(encoding="utf-8") for file in room.rglob("*.py"))
    codes = set(re.findall(r'\bNote\("([a-z-]+)"', text))
    assert len(codes) > 10
    assert [code for code in codes if f"`{code}`" not in PAGE] == []
