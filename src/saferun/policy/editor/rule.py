"""One rule of a tool: what it says, whom and which calls it concerns, and what it changes."""

from saferun.policy.editor import name
from saferun.policy.editor.demand import DEMAND, SEVERAL, YES
from saferun.policy.editor.keyword import bound
from saferun.policy.editor.shape import (
    Schema,
    by_name,
    by_type,
    closed,
    one_of,
    text,
    use,
)
from saferun.policy.expression.parse import MAX_TEXT
from saferun.policy.parse.whole import MODES


def _whom(what: str, example: str) -> Schema:
    said = f"The {what}, or several of which it is one."
    return by_type(said, name.ANY, SEVERAL, examples=[example])


FOR = closed(
    "Whom it is for; without it, everyone. Each thing that is named here has to be so. All of it "
    "comes from the application and its configuration, and nothing from a model.",
    {
        "user": _whom("user's id", "maria"),
        "tenant": _whom("tenant", "acme"),
        "agent": _whom("agent", "support"),
        "environment": _whom("environment", "production"),
    },
    minProperties=1,
    examples=[{"agent": "support"}, {"environment": ["staging", "test"]}],
)

CLAMP = closed(
    "The range that a number is brought into, both ends in it.",
    {
        "minimum": bound("What a lesser number becomes.", 1),
        "maximum": bound("What a greater number becomes.", 100, "50 USD"),
    },
    minProperties=1,
)

RULE = closed(
    "One rule. Deny beats ask beats allow, in whatever order the rules stand.",
    {
        "id": name.ID,
        "allow": {
            "description": "The call is allowed, unless another rule asks or denies.",
            **YES,
        },
        **DEMAND,
        "deny": {"description": "The call is denied.", **YES},
        "set": by_name(
            "Values that these arguments are given before the tool runs. The call is then decided "
            "on with them.",
            name.ARGUMENT,
            {},
            examples=[{"priority": "low"}],
        ),
        "clamp": by_name(
            "Ranges that these numbers are brought into before the tool runs. The call is then "
            "decided on with them.",
            name.ARGUMENT,
            use("clamp"),
            examples=[{"limit": {"maximum": 100}}],
        ),
        "for": use("for"),
        "args": by_name(
            "Which calls it is about: those where every argument named here is there and matches.",
            name.ARGUMENT,
            use("fragment"),
            minProperties=1,
            examples=[{"amount": {"minimum": 20_001}}],
        ),
        "when": text(
            "Which calls it is about, as a condition over `args`, `user`, `agent`, `tenant`, "
            "`environment`, `run`, `now` and the policy's `inputs`. A condition that cannot be "
            "evaluated denies.",
            'args.amount > 20000 && user.tier != "gold"',
            'now.getHours("Europe/Berlin") < 6',
            maxLength=MAX_TEXT,
        ),
        "message": name.sentence(
            "What people and the model read. Without it, the rule is put into words.",
            "Refunds above $200 need finance.",
        ),
        "mode": one_of(
            "`shadow` records what the rule would have done, and it counts for nothing.",
            MODES,
            "enforce",
        ),
    },
    required=("id",),
    oneOf=[
        {"required": ["allow"]},
        {"required": ["ask"]},
        {"required": ["deny"]},
        {"anyOf": [{"required": ["set"]}, {"required": ["clamp"]}]},
    ],
    **{
        "if": {"anyOf": [{"required": [word]} for word in DEMAND]},
        "then": {"required": ["ask"]},
    },
)
