"""What a rule demands of the people it asks: who, how many, for how long, and what they may do."""

from collections.abc import Mapping
from typing import Any

from saferun.call import Demand, Escalation
from saferun.control.limit import duration
from saferun.policy.document import Argument
from saferun.policy.parse.whole import unknown, words
from saferun.policy.part import Part
from saferun.policy.wording import found

DEMAND = ("approvals", "expires", "escalate", "edits", "own")
"""The words that stand beside `ask`, and nowhere without it."""

ESCALATION = ("after", "to")

MAX_APPROVALS = 20
MAX_STEPS = 5
MAX_WAIT = 30 * 86_400 * 10**6
"""The longest that a question stands, in microseconds. After a month, nobody knows the case."""

_WHO = "the name of a group or a person"


def demand(part: Part, rule: str, args: Mapping[str, Argument] | None) -> Demand | None:
    """What a rule with this id demands about a tool with these arguments; None without `ask`."""
    if "ask" not in part:
        for key in DEMAND:
            if key in part:
                what = "this is about the people whom a rule asks, and here there is no `ask`"
                part.fault((key,), "value", what)
        return None
    within = _wait(part, "expires")
    return Demand(
        rule=rule,
        of=_of(part),
        approvals=_approvals(part),
        within=within,
        escalate=_escalate(part, within),
        edits=_edits(part, args),
        own=part.flag("own", default=False),
    )


def _of(part: Part) -> tuple[str, ...]:
    """Who is named; nobody where it is anyone."""
    if part["ask"] is True:
        return ()
    if not isinstance(part["ask"], list) or not part["ask"]:
        what = "expected a list of groups or people, or `true` for anyone"
        part.fault(("ask",), "type", f"{what}; {found(part['ask'])}")
        return ()
    return words(part, "ask", _WHO)


def _approvals(part: Part) -> int:
    if "approvals" not in part:
        return 1
    said = part["approvals"]
    if type(said) is int and 1 <= said <= MAX_APPROVALS:
        return said
    what = f"expected how many different people have to approve, 1 to {MAX_APPROVALS}"
    part.fault(("approvals",), "value", f"{what}; {found(said)}")
    return 1


def _wait(part: Part, key: str) -> int | None:
    length = part.duration(key)
    if length is not None and length > MAX_WAIT and part.source.sound((*part.path, key)):
        what = f"a question stands for {duration(MAX_WAIT)} at most; {found(part[key])}"
        part.fault((key,), "value", what)
    return length


def _escalate(part: Part, within: int | None) -> tuple[Escalation, ...]:
    said = part.list("escalate")
    if len(said) > MAX_STEPS:
        what = f"a question goes on to others {MAX_STEPS} times at most; found {len(said)}"
        part.fault(("escalate",), "value", what)
        return ()
    if "escalate" in part and said == []:
        what = "say when it goes to whom, as `{after: 5m, to: [managers]}`, or leave it out"
        part.fault(("escalate",), "value", what)
    made: list[Escalation] = []
    for at, body in enumerate(said):
        before = made[-1].after if made else 0
        made.append(_step(part, ("escalate", at), body, before, within))
    return tuple(made)


def _step(
    holder: Part, steps: tuple[str, int], body: Any, before: int, within: int | None
) -> Escalation:
    part = Part(holder.source, (*holder.path, *steps), body, ESCALATION)
    whole = part.source.sound(part.path)
    if whole and "after" not in part:
        part.fault((), "value", "say how long it has waited by then, as `after: 5m`")
    after = _wait(part, "after")
    if after is not None and after <= before:
        what = "each step comes later than the one before it"
        part.fault(("after",), "value", f"{what}; {found(part['after'])}")
    if after is not None and within is not None and after >= within:
        what = f"by then the question has expired, after {duration(within)}"
        part.fault(("after",), "value", f"{what}; {found(part['after'])}")
    to = words(part, "to", _WHO)
    if whole and not to and part.source.sound((*part.path, "to")):
        what = "expected a list of groups or people"
        part.fault(("to",), "type", f"{what}; {found(part['to'])}")
    # Where it is missing there will be no policy; the steps after it are still held to the order.
    return Escalation(after=before if after is None else after, to=to)


def _edits(part: Part, args: Mapping[str, Argument] | None) -> tuple[str, ...]:
    """The arguments that may be changed, each by its name, also where the rule says all."""
    said = part["edits"]
    if "edits" not in part:
        return ()
    if said is True and args:
        return tuple(args)
    if said is True:
        # What no schema describes could be changed into anything.
        what = "only arguments that the tool's `args` describe can be changed, and it has none"
        part.fault(("edits",), "value", what)
        return ()
    if not isinstance(said, list) or not said:
        what = "expected a list of arguments, or `true` for all of them"
        part.fault(("edits",), "type", f"{what}; {found(said)}")
        return ()
    names = words(part, "edits", "the name of an argument")
    for at, name in enumerate(said):
        if name in names and name not in (args or ()):
            part.fault(("edits", at), "value", unknown(name, args or ()))
    return names
