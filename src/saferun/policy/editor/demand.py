"""What stands beside `ask`: who has to say yes, how many, how soon, and what they may do."""

from saferun.policy.editor import name
from saferun.policy.editor.control import duration
from saferun.policy.editor.shape import Schema, any_of, closed, flag, many
from saferun.policy.parse.demand import MAX_APPROVALS, MAX_STEPS

SEVERAL = many("Any of these.", name.ANY, minItems=1, uniqueItems=True)
YES: Schema = {"const": True}

DEMAND: dict[str, Schema] = {
    "ask": any_of(
        "A person has to approve the call: anyone in one of these groups, one of these "
        "people, or with `true` anyone.",
        YES,
        SEVERAL,
        examples=[["finance"], True],
    ),
    "approvals": {
        "description": "How many different people have to approve it.",
        "type": "integer",
        "minimum": 1,
        "maximum": MAX_APPROVALS,
        "default": 1,
        "examples": [2],
    },
    "expires": duration(
        "How long the question stands; then the call is denied. Without it, as configured. At "
        "most 30 days.",
        "15m",
        "1h",
    ),
    "escalate": many(
        "Whom else it goes to, once it has waited so long. Each step comes later than the one "
        "before it, and before the question expires.",
        closed(
            "One step.",
            {
                "after": duration("How long it has waited by then.", "5m"),
                "to": {
                    **many("Groups or people.", name.ANY, minItems=1, uniqueItems=True),
                    "examples": [["managers"]],
                },
            },
            required=("after", "to"),
        ),
        minItems=1,
        maxItems=MAX_STEPS,
        examples=[[{"after": "5m", "to": ["managers"]}]],
    ),
    "edits": any_of(
        "The arguments that whoever approves may change first, or with `true` all of them.",
        YES,
        many("Any of these.", name.ARGUMENT, minItems=1, uniqueItems=True),
        examples=[["amount"], True],
    ),
    "own": flag("Whether the user of the run may answer too.", default=False),
}
"""`ask`, and the words that stand in a rule with it alone."""
