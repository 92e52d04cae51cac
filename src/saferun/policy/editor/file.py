"""The policy file, its tools, and its limits."""

from saferun.policy.editor import name
from saferun.policy.editor.shape import (
    Schema,
    any_of,
    by_name,
    by_type,
    closed,
    flag,
    many,
    one_of,
    text,
    use,
)
from saferun.policy.parse.rule import ANSWERS
from saferun.policy.parse.whole import MODES

EFFECTS = ("read", "write", "destructive")
INPUTS = ("string", "integer", "number", "boolean", "int", "double", "bool")

_COUNTED: Schema = {"type": "string", "pattern": r"^(run$|args\.)"}
_REDACTED: Schema = {"type": "string", "pattern": r"^(args|result)(\.[^.]+)+$"}


def _limit(per: Schema) -> Schema:
    return closed(
        "How many calls of one run, those of its child runs among them, are allowed.",
        {
            "id": {**name.ID, "examples": ["refunds-per-order"]},
            "max": {
                "description": "How many calls are allowed.",
                "type": "integer",
                "minimum": 1,
                "examples": [50],
            },
            "per": per,
            "message": name.sentence(
                "What people and the model read. Without it, the limit is put into words.",
                "One refund for each order.",
            ),
            "disclose": flag(
                "Whether the threshold may be told to the model. A limit of a tool is as open "
                "about it as the tool, unless it says so itself.",
                default=True,
            ),
        },
        required=("id", "max", "per"),
    )


LIMIT_OVER_ALL = _limit(
    by_type(
        "What is counted. Over all tools, that is the calls of a run.",
        {"type": "string", "pattern": "^run$"},
        many("Alone.", {"const": "run"}, minItems=1, maxItems=1),
        examples=["run"],
    )
)

LIMIT = _limit(
    by_type(
        "What is counted: the calls of a `run`, or those with one value of an argument. With a "
        "list, each combination of values is counted by itself.",
        _COUNTED,
        many("Each combination of these.", _COUNTED, minItems=1, uniqueItems=True),
        examples=["run", "args.order_id", ["run", "args.order_id"]],
    )
)

TOOL = closed(
    "What holds for calls of one tool, or of all whose names begin alike.",
    {
        "effect": one_of(
            "What a call can do. Without it, the worst is assumed.", EFFECTS, "destructive"
        ),
        "args": by_type(
            "The arguments that the tool may be given. They are closed: one that is not named "
            "here is denied, and one that is named is required, unless it says `optional: true` "
            "or has a `default`. `any` checks nothing, and is meant for tools that only read.",
            by_name("The arguments by name.", name.ARGUMENT, use("argument")),
            {"type": "string", "pattern": "^any$"},
            examples=["any", {"order_id": {"type": "string", "maxLength": 40}}],
        ),
        "default": one_of(
            "What holds for a call that fits and that no rule decides.", ANSWERS, "allow"
        ),
        "rules": many(
            "What holds for some of the calls. Deny beats ask beats allow.",
            use("rule"),
            examples=[[{"id": "by-hand", "deny": True, "args": {"currency": {"const": "GBP"}}}]],
        ),
        "limits": many(
            "How many calls are allowed. All limits are checked before any is moved.",
            use("toolLimit"),
            examples=[[{"id": "once-per-order", "max": 1, "per": "args.order_id"}]],
        ),
        "redact": many(
            "What is never kept, in no form: `args.` or `result.` and the names that lead to it, "
            "where `*` stands for any.",
            _REDACTED,
            examples=[["args.card_number", "result.customer.*"]],
        ),
        "idempotent": flag(
            "Whether a call whose outcome is unknown may be made again.", default=False
        ),
        "opaque": name.names(
            "Arguments that are objects of the application, such as a connection: never taken "
            "down and never decided on.",
            "session",
        ),
        "disclose": flag(
            "Whether the constants of this tool may be told to the model.", default=True
        ),
        "message": name.sentence(
            "What is said where `args` or `default` denies or asks.",
            "Every transfer is looked at by a person.",
        ),
    },
)

SCOPE = closed(
    "Tools for some users, tenants, agents or environments. An entry that names more of whom it "
    "is for goes before one that names less, and that before the policy's own `tools`.",
    {
        "for": use("for"),
        "tools": by_name(
            "What the tools may do for them, each entry instead of that for everyone.",
            name.TOOL,
            use("tool"),
            examples=[{"refund": {"effect": "write", "args": {}, "default": "ask"}}],
        ),
    },
    required=("for", "tools"),
)

KEYS: dict[str, Schema] = {
    "version": {
        "description": "The form of the file, which is 1. A file that others include leaves it "
        "out.",
        "const": 1,
    },
    "name": text(
        "How decisions name the policy. Without it, the name of the file.",
        "production",
        pattern=name.POLICY,
    ),
    "default": one_of("What holds for a tool that is not listed.", ANSWERS, "deny"),
    "mode": one_of(
        "`shadow` decides and records, and never stops a call. A rule may say its own.",
        MODES,
        "enforce",
    ),
    "urgent": flag(
        "Whether runs that began with an earlier version go over to this one at once.",
        default=False,
    ),
    "include": many(
        "Files beside the policy, or in folders below it, whose `definitions`, `inputs`, "
        "`limits`, `tools` and `scopes` belong to it.",
        {"type": "string"},
        examples=[["common.yaml"]],
    ),
    "inputs": by_name(
        "What conditions may speak of beside what SafeRun knows itself, and what it is: facts "
        "about the user as `user.NAME`, and what else the run gives as its `context`.",
        name.INPUT,
        any_of(
            "What the input is, or `[string]` and the like for a list of such.",
            {"enum": list(INPUTS)},
            {"type": "array", "items": {"enum": list(INPUTS)}, "minItems": 1, "maxItems": 1},
            examples=["string", ["string"]],
        ),
        examples=[{"user.tier": "string", "ticket.tags": ["string"]}],
    ),
    "definitions": by_name(
        "Schemas with a name, for arguments and rules to `use`.",
        name.ARGUMENT,
        use("definition"),
        examples=[{"order_id": {"type": "string", "pattern": "^[A-Z]-[0-9]{1,9}$"}}],
    ),
    "limits": many(
        "Limits over all tools together.",
        use("limit"),
        examples=[[{"id": "calls", "max": 50, "per": "run"}]],
    ),
    "tools": by_name(
        "The tools that are listed, each under the name that it is guarded by. A name that ends "
        "in `*` is all that begin so; the most specific entry counts.",
        name.TOOL,
        use("tool"),
        examples=[{"search_orders": {"effect": "read", "args": {"query": {"type": "string"}}}}],
    ),
    "scopes": many(
        "Entries that hold for some only, and go before those for everyone.",
        use("scope"),
        examples=[[{"for": {"agent": "support"}, "tools": {"refund": {"default": "deny"}}}]],
    ),
}

INCLUDABLE = ("include", "inputs", "definitions", "limits", "tools", "scopes")
"""What an included file may say; whatever else it says makes it a policy, with a `version`."""
