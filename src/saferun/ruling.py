"""What a version of a policy says of a call, as it is put to it.

Paths are resolved before it is asked. And once people have been asked, the call waits for them,
whatever policy would say of it by now.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from saferun import resolve
from saferun.call import Call, Demand, Facts, Reason, canonical
from saferun.policy import Policy, Ruling


def ruled(policy: Policy, call: Call, facts: Facts) -> Ruling:
    """What a version says of a call, whose paths are resolved before it is asked."""
    resolved = call
    if policy.takes_paths:
        resolved = resolve.resolved(call, policy.entry(call, facts.environment).paths)
    ruling = policy.decide(resolved, facts)
    if policy.takes_paths and ruling.modified and ruling.verdict != "deny":
        final = msgspec.structs.replace(resolved, args=ruling.args)
        if resolve.resolved(final, ruling.tool.paths) is not final:
            reason = Reason(
                id=f"{ruling.tool.said.name}.args",
                effect="deny",
                source="gate",
                message="a path that the policy fills in leads somewhere else",
                line=ruling.tool.said.line,
            )
            ruling = msgspec.structs.replace(
                ruling, verdict="deny", reasons=(reason, *ruling.reasons), demands=()
            )
    if resolved is call:
        return ruling
    if ruling.mode == "shadow":
        # Shadow never changes what happens.
        return msgspec.structs.replace(ruling, args=call.args)
    return msgspec.structs.replace(ruling, modified=True)


def still_asked(ruling: Ruling, reasons: tuple[Reason, ...], demands: tuple[Demand, ...]) -> Ruling:
    """The ruling on a call that people are asked about already: for `reasons`, it was.

    What they have changed may be what policy would not even ask about. It is for them to say,
    also where what decides by now would only watch: whoever was asked keeps the last word.
    """
    ruling = msgspec.structs.replace(ruling, mode="enforce")
    if ruling.verdict != "allow":
        return ruling
    return msgspec.structs.replace(ruling, verdict="ask", reasons=reasons, demands=demands)


def changed(call: Call, args: Mapping[str, Any]) -> Call:
    """The call with other arguments; what is the same in both stays the very value that it was."""
    kept = {
        name: call.args[name]
        if name in call.args and canonical.encode(call.args[name]) == canonical.encode(value)
        else value
        for name, value in args.items()
    }
    return msgspec.structs.replace(call, args=kept, defaulted=call.defaulted - _new(call, args))


def _new(call: Call, args: Mapping[str, Any]) -> frozenset[str]:
    """The arguments that are other ones now, so no longer left to the tool's own default."""
    return frozenset(
        name
        for name, value in args.items()
        if name not in call.args or canonical.encode(call.args[name]) != canonical.encode(value)
    )
