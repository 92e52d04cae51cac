"""The JSON Schema of a policy file, with which an editor completes and checks one.

It knows every key, its values and its meaning, and lets every policy through that loads. What
takes more than one place to see, such as a condition's types or an id that stands twice, is
left to `check`.
"""

import json

from saferun.policy.editor.control import BREAKER, LIMIT, LIMIT_OVER_ALL, LOOPS
from saferun.policy.editor.file import INCLUDABLE, KEYS, SCOPE, TOOL
from saferun.policy.editor.keyword import ARGUMENT, DEFINITION, FRAGMENT, PART
from saferun.policy.editor.rule import CLAMP, FOR, RULE
from saferun.policy.editor.shape import Schema, closed


def schema() -> Schema:
    """JSON Schema, draft 2020-12, in words that mean the same in draft-07."""
    # Files that are included share the form, and say nothing that is the policy's alone.
    own = [{"required": [key]} for key in KEYS if key not in INCLUDABLE]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$comment": "Made by `saferun policy schema`.",
        "title": "SafeRun policy",
        **closed(
            "Which tools may be called, with which arguments, how often, and whom to ask.", KEYS
        ),
        "if": {"anyOf": own},
        "then": {"required": ["version"]},
        "$defs": {
            "tool": TOOL,
            "toolLimit": LIMIT,
            "limit": LIMIT_OVER_ALL,
            "loops": LOOPS,
            "breaker": BREAKER,
            "scope": SCOPE,
            "for": FOR,
            "rule": RULE,
            "clamp": CLAMP,
            "argument": ARGUMENT,
            "definition": DEFINITION,
            "fragment": FRAGMENT,
            "schema": PART,
        },
    }


def text() -> str:
    """The schema as it is published: JSON in ASCII, in a fixed layout."""
    return json.dumps(schema(), indent=2) + "\n"
