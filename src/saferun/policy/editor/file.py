"""The policy file and its tools."""

from saferun.keeping import KEEPS
from saferun.policy.editor import name
from saferun.policy.editor.control import BREAKER, COST, LOOPS, duration
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

_PATH: Schema = {"type": "string", "pattern": r"^(args|result)(\.[^.]+)+$"}


_RECORD = {
    "prompts": "Of a run's prompt and plan, and of what models are given.",
    "output": "Of what models say.",
    "messages": "Of what users say in the course of a run.",
    "results": "Of what tools give, their errors too.",
}

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
            "How many calls are allowed, or how much of something. All limits are checked "
            "before any is moved.",
            use("toolLimit"),
            examples=[[{"id": "once-per-order", "max": 1, "per": "args.order_id"}]],
        ),
        "loops": {
            **use("loops", "When this tool is called in circles, on top of what holds for all."),
            "examples": LOOPS["examples"],
        },
        "breaker": {
            **use("breaker", "When this tool is left alone, on top of what holds for all."),
            "examples": BREAKER["examples"],
        },
        "poll": flag(
            "Whether the tool is meant to be asked again and again until something changes.",
            default=False,
        ),
        "timeout": duration(
            "After what time a call counts as failed, and is not waited for any more.", "30s"
        ),
        "cost": COST,
        "releasable": flag(
            "Whether an error of the tool means that nothing happened. What the call had counted "
            "towards limits is then given back.",
            default=False,
        ),
        "redact": many(
            "What is never kept, in no form: `args.` or `result.` and the names that lead to it, "
            "where `*` stands for any.",
            _PATH,
            examples=[["args.card_number", "result.customer.*"]],
        ),
        "sensitive": many(
            "What is kept encrypted under a key of the person's whose it is, until it is erased: "
            "paths as under `redact`.",
            _PATH,
            examples=[["args.email", "result.*"]],
        ),
        "subject": text(
            "Whose the sensitive values are: the `user` of the run, or `args.` and the name of "
            "the argument that says it.",
            "args.customer_id",
            pattern=r"^(user|args\.[^.*]+)$",
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
    "loops": {
        **use("loops", "When an agent that goes in circles is stopped, whatever the tool."),
        "examples": LOOPS["examples"],
    },
    "breaker": {
        **use("breaker", "When a tool that fails is left alone, whichever it is."),
        "examples": BREAKER["examples"],
    },
    "record": closed(
        "How much is kept of what the runs say that this policy guards, and of its tools' results. "
        "Where the configuration says otherwise, the stricter of the two holds.",
        {word: one_of(meaning, KEEPS, "whole") for word, meaning in _RECORD.items()},
        examples=[{"prompts": "hashed", "results": "off"}],
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
