"""What bounds the calls of an agent: limits, loops, breakers and what a call costs."""

from typing import Any

from saferun.control import Breaker, Loops
from saferun.control.breaker import PROBES_KEPT
from saferun.policy.editor import name
from saferun.policy.editor.keyword import QUANTITY
from saferun.policy.editor.shape import (
    Schema,
    any_of,
    by_type,
    closed,
    flag,
    many,
    one_of,
    text,
)
from saferun.policy.expression.parse import MAX_TEXT
from saferun.policy.parse.limit import FOREVER, MAX_RATE, ON_LIMIT, SCOPES
from saferun.policy.parse.setting import MAX_COUNT, OFF
from saferun.policy.parse.whole import MODES

_DURATION = r"^\s*([0-9]+(\.[0-9]+)?\s*[A-Za-z]+\s*)+$"
_RATE = r"^\s*[0-9]{1,9}\s*/\s*([0-9]+(\.[0-9]+)?)?\s*[A-Za-z]+\s*$"
_SCOPE = "|".join(SCOPES)
_OFF: Schema = {"type": "string", "pattern": f"^{OFF}$"}


def duration(meaning: str, *examples: str, **more: Any) -> Schema:
    """A stretch of time with its unit."""
    return {**text(meaning, *examples, pattern=_DURATION), **more}


def _limit(who: str, scopes: Schema, sums: Schema, *per: Any) -> Schema:
    return closed(
        "How many calls, or how much of something, for whom, and how long it counts.",
        {
            "id": {**name.ID, "examples": ["refunds-per-order"]},
            "max": by_type(
                "How many calls are allowed, or with `sum` how much, which may be written with a "
                "unit: `200 USD`.",
                {"type": "number", "exclusiveMinimum": 0},
                {"type": "string", "pattern": QUANTITY},
                examples=[50, 2.5, "200 USD"],
            ),
            "rate": text(
                "How many calls in a time, evenly: so many at once as `burst` says, and after "
                "that one as soon as its time has come. In place of `max`.",
                "10/min",
                "10/5min",
                pattern=_RATE,
            ),
            "burst": {
                "description": "How many calls of a `rate` may come at once. Without it, as many "
                "as the rate has.",
                "type": "integer",
                "minimum": 1,
                "maximum": MAX_RATE,
                "examples": [3],
            },
            "per": by_type(
                f"{who} `all` is all calls together. With a list, each combination of values is "
                "counted by itself.",
                scopes,
                many("Each combination of these.", scopes, minItems=1, uniqueItems=True),
                examples=per,
            ),
            "sum": sums,
            "window": text(
                "How long a call counts. Any stretch of time that long holds at most `max`. "
                "Without it or with `forever` it counts for good, and with `run` in `per` for "
                "the run.",
                "1h",
                "1d",
                FOREVER,
                pattern=rf"{_DURATION}|^{FOREVER}$",
            ),
            "on_limit": one_of(
                "What is said where the limit is reached. `defer` tells when it is free again, "
                "and needs a `window` or a `rate`; `ask` lets a person go beyond it.",
                ON_LIMIT,
                "deny",
            ),
            "message": name.sentence(
                "What people and the model read. Without it, the limit is put into words.",
                "One refund for each order.",
            ),
            "disclose": flag(
                "Whether the threshold may be told to the model. A limit of a tool is as open "
                "about it as the tool, unless it says so itself.",
                default=True,
            ),
            "mode": one_of(
                "With `shadow`, the limit counts, and what it would have stopped is recorded and "
                "stops nothing.",
                MODES,
                "enforce",
            ),
        },
        required=("id", "per"),
        oneOf=[{"required": ["max"]}, {"required": ["rate"]}],
    )


LIMIT_OVER_ALL = _limit(
    "Whom or what it counts by: the run, the agent, the user, the tenant or the tool.",
    {"type": "string", "pattern": f"^({_SCOPE})$"},
    text("What is added up, in place of calls: what they cost.", "cost_usd", pattern="^cost_usd$"),
    "run",
    ["tenant", "tool"],
)

LIMIT = _limit(
    "Whom or what it counts by: the run, the agent, the user, the tenant, the tool, or the value "
    "of an argument.",
    {"type": "string", "pattern": rf"^({_SCOPE})$|^args\.."},
    text(
        "What is added up, in place of calls: what they cost, or a number among the arguments.",
        "cost_usd",
        "args.amount",
        pattern=r"^cost_usd$|^args\..",
    ),
    "user",
    "args.order_id",
    ["run", "args.order_id"],
)


def _repeats(meaning: str, usual: int | None, least: int = 1) -> Schema:
    count: Schema = {"type": "integer", "minimum": least, "maximum": MAX_COUNT}
    return {**by_type(meaning, count, _OFF, examples=[OFF]), "default": usual}


def _count(meaning: str, usual: int, least: int = 1, most: int = MAX_COUNT) -> Schema:
    count: Schema = {"description": meaning, "type": "integer", "minimum": least}
    return {**count, "maximum": most, "default": usual, "examples": [usual]}


def _share(meaning: str, usual: float, **bounds: float) -> Schema:
    share: Schema = {"description": meaning, "type": "number", **bounds}
    return {**share, "default": usual, "examples": [usual]}


def _or_off(meaning: str, shape: Schema) -> Schema:
    return any_of(meaning, shape, {"const": OFF}, examples=[*shape["examples"], OFF])


_L = Loops()
_B = Breaker()

LOOPS = by_type(
    "After how many repeats an agent that goes in circles is denied the next. It is told at half "
    "of that; after some denials a person is asked, and then the run is stopped.",
    _OFF,
    closed(
        "Its thresholds.",
        {
            "same_result": _repeats(
                "The same call with the same result, within five seconds of the last.",
                _L.same_result,
            ),
            "spaced_result": _repeats(
                "The same call with the same result, whatever time lies between.",
                _L.spaced_result,
            ),
            "same_error": _repeats("The same call with the same error.", _L.same_error),
            "transient_error": _repeats(
                "The same call with an error that may pass, such as a timeout.",
                _L.transient_error,
            ),
            "masked": _repeats(
                "As `same_result`, but for times, durations and ids of requests.", _L.masked
            ),
            "cycle": _repeats(
                "Rounds of two to eight calls that come to the same each time.", _L.cycle, least=2
            ),
            "barren": _repeats(
                "Calls of one tool, whatever their arguments, that fail or find nothing.",
                _L.barren,
            ),
            "lifetime": _repeats("A call that comes to the same, over the whole run.", _L.lifetime),
            "changing": _repeats("One call in a row, whatever its results.", _L.changing),
            "poll_burst": _repeats(
                "Calls of a tool with `poll: true` in ten seconds.", _L.poll_burst
            ),
            "poll_for": _or_off(
                "For how long a call of a tool with `poll: true` may come to the same.",
                duration("For how long.", "1h", "10min"),
            ),
            "retries": _repeats(
                "The same call after an error, with no other call between.", _L.retries, least=0
            ),
            "denials": _count(
                "Denials for a loop, after which a person is asked.", _L.denials, least=0
            ),
            "asks": _count(
                "Times that a person was asked and did not say yes, after which the run is "
                "stopped.",
                _L.asks,
                least=0,
            ),
        },
    ),
    examples=[OFF, {"same_result": 4, "poll_for": "10min"}],
)

BREAKER = by_type(
    "When a tool that fails is left alone for a while, for each tenant by itself.",
    _OFF,
    closed(
        "Its settings.",
        {
            "failure_rate": _share(
                "The share of calls that fail at which it opens.",
                _B.failure_rate,
                exclusiveMinimum=0,
                maximum=1,
            ),
            "slow_rate": _share(
                "The share of calls that are slow at which it opens.",
                _B.slow_rate,
                exclusiveMinimum=0,
                maximum=1,
            ),
            "slow_after": _or_off(
                "From what time a call is slow. Without it, from half of the `timeout`, where "
                "there is one.",
                duration("From what time.", "10s"),
            ),
            "min_calls": _count("Calls in the last minute before it may open.", _B.min_calls),
            "open_for": duration(
                "How long it is open at first. It doubles with each time that it opens again.",
                "30s",
                default="30s",
            ),
            "open_max": duration("How long it is open at most.", "10min", default="10min"),
            "jitter": _share(
                "By what share the time is longer or shorter, so that not all try at once.",
                _B.jitter,
                minimum=0,
                exclusiveMaximum=1,
            ),
            "probes": _count(
                "Calls at once that try whether the tool works again.", _B.probes, most=PROBES_KEPT
            ),
            "successes": _count("Calls that must succeed before it closes.", _B.successes),
            "lease": duration(
                "After what time a trial that was never heard of again makes room.",
                "1min",
                default="1min",
            ),
            "spike": _or_off(
                "How many times the usual the cost of a minute is when a person is asked.",
                {"type": "number", "exclusiveMinimum": 1, "examples": [_B.spike]},
            ),
            "spike_floor": _share(
                "US dollars a minute up to which no cost is a spike.",
                _B.spike_floor / 1e6,
                minimum=0,
            ),
            "retry_share": _share(
                "The share of calls that may be retries.", _B.retry_share, minimum=0, maximum=1
            ),
            "retry_min": _count(
                "Retries that are allowed whatever their share.", _B.retry_min, least=0
            ),
        },
    ),
    examples=[OFF, {"failure_rate": 0.3, "open_for": "1min"}],
)

_NUMBER: Schema = {"type": "number", "minimum": 0}
_EXPRESSION: Schema = {"type": "string", "minLength": 1, "maxLength": MAX_TEXT}

COST = by_type(
    "What a call costs in US dollars: a number, an expression over what conditions may speak of, "
    "or the most of it and where the result says the truth.",
    _NUMBER,
    _EXPRESSION,
    closed(
        "The most, and where the truth is.",
        {
            "most": by_type(
                "What a call may come to at most. It is held while the call runs.",
                _NUMBER,
                _EXPRESSION,
                examples=[0.5, "double(args.pages) * 0.01"],
            ),
            "from": text(
                "Where the tool's result says what it cost.",
                "result.usage.cost_usd",
                pattern=r"^result(\.[^.]+)+$",
            ),
        },
        required=("most",),
    ),
    examples=[
        0.02,
        "double(args.pages) * 0.01",
        {"most": 0.5, "from": "result.usage.cost_usd"},
    ],
)
