"""What a rule demands of the people it asks, in words."""

from collections.abc import Iterable

from saferun.call import Demand, Escalation
from saferun.control.limit import duration
from saferun.policy.wording import listed


def whom(demand: Demand) -> str:
    """Who has to say yes: `a person`, `finance or ops`, `2 of finance or ops`."""
    names = " or ".join(demand.of)
    if demand.approvals == 1:
        return names or "a person"
    return f"{demand.approvals} of {names}" if names else f"{demand.approvals} people"


def sentence(demand: Demand) -> str:
    """All of it: `2 of finance, within 15 minutes; managers too after 5 minutes`."""
    within = f", within {duration(demand.within)}" if demand.within is not None else ""
    said = [f"{whom(demand)}{within}"]
    if demand.escalate:
        said.append(steps(demand.escalate))
    if demand.edits:
        said.append(f"may change {listed(demand.edits)}")
    if demand.own:
        said.append("the user of the run may answer")
    return "; ".join(said)


def steps(escalate: Iterable[Escalation]) -> str:
    """`leads too after 5 minutes, managers too after 10 minutes`; nothing where there is none."""
    return ", ".join(
        f"{' and '.join(step.to)} too after {duration(step.after)}" for step in escalate
    )
