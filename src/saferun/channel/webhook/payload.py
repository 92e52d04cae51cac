"""What goes out about a request, as JSON. Pure.

The arguments, and what the run says of itself, are a model's words: whoever shows them escapes
them for where they are shown.
"""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from saferun.approval import Request
from saferun.approval.grant import grantable

MAX_ARGS = 200_000
"""Bytes of the arguments as JSON. Larger ones are cut, and are not approved by a webhook."""

_CUT = 2_000
_MOST = 50

Type = Literal[
    "approval.requested",
    "approval.changed",
    "approval.ended",
    "approval.outcome",
    "approval.glass_broken",
]


def payload(
    request: Request,
    type_: Type,
    now: int,
    link: str | None,
    tokens: Mapping[str, str],
    *,
    breakers: Collection[str] = (),
    alarmed: Collection[str] = (),
) -> bytes:
    """The body of one message. `now` is in microseconds since 1970.

    `link` is where people can look at the request, and `tokens` are by whom they answer.
    `breakers` are those who may break the glass for it, and `alarmed` those who are to hear that
    somebody has.
    """
    question = request.question
    run = question.run
    data = {
        "request": request.id,
        "revision": request.revision,
        "state": request.state,
        "url": link,
        "deadline": moment(request.deadline),
        "tool": question.tool,
        "effect": question.effect,
        "args": question.args if fits(request) else _cut(question.args),
        "whole": whole(request),
        "hidden": question.hidden,
        "edits": question.edits,
        "schema": question.schema,
        "run": None
        if run is None
        else {
            "id": run.run_id,
            "agent": run.agent,
            "user": run.user_id,
            "tenant": run.tenant,
            "prompt": run.prompt,
            "plan": run.plan,
            "context": run.context,
        },
        "reasons": [
            {
                "id": each.id,
                "message": each.message,
                "measure": None if each.measure is None else each.measure.said(),
                "because": question.why(each),
            }
            for each in question.reasons
        ],
        "demands": [
            {"rule": each.rule, "of": each.of, "approvals": each.approvals}
            for each in question.demands
        ],
        "policy": question.policy,
        "digest": question.digest,
        "joined": request.joined,
        "votes": [
            {
                "by": each.by,
                "approved": each.approved,
                "reason": each.reason,
                "channel": each.channel,
                "glass": each.glass,
            }
            for each in request.votes
        ],
        "by": request.by,
        "reason": request.reason,
        "tokens": tokens,
        "may_grant": request.open and whole(request) and grantable(question),
        "may_break_glass": sorted(breakers),
        "glass": None
        if request.glass is None
        else {
            "by": request.glass.by,
            "reason": request.glass.reason,
            "at": moment(request.glass.at),
            "tell": sorted(alarmed),
        },
    }
    return msgspec.json.encode({"type": type_, "timestamp": moment(now), "data": data})


def fits(request: Request) -> bool:
    """Whether the arguments go out as they are."""
    return len(msgspec.json.encode(request.question.args)) <= MAX_ARGS


def whole(request: Request) -> bool:
    """Whether every argument goes out in full and as it is: only then may it be approved."""
    return request.whole and fits(request)


def moment(at: int) -> str:
    """A time in microseconds since 1970 as RFC 3339 writes it."""
    return datetime.fromtimestamp(at / 1e6, UTC).isoformat().replace("+00:00", "Z")


def _cut(args: Mapping[str, Any]) -> dict[str, str]:
    """The beginnings of the first arguments, as text."""
    return {
        name[:_CUT]: (value if isinstance(value, str) else msgspec.json.encode(value).decode())[
            :_CUT
        ]
        for name, value in list(args.items())[:_MOST]
    }
