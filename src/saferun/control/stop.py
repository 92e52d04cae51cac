"""Stop switches: a person, or a control, has said that something goes no further."""

from typing import Literal, TypeAlias

import msgspec

from saferun.call import RunRef

Stoppable: TypeAlias = Literal["all", "agent", "tool", "tenant", "user", "run"]
STOPPABLE: tuple[Stoppable, ...] = ("all", "agent", "tool", "tenant", "user", "run")


MAX_NAME, MAX_REASON = 1_000, 2_000
"""Characters of a name and of a reason: both stand in one entry of the ledger."""


class Switch(msgspec.Struct, frozen=True, kw_only=True):
    """What is stopped, by whom and why, since when (microseconds since 1970, UTC).

    `value` is None for `all`. A run, and an agent, stops with all that it has begun.
    """

    scope: Stoppable
    value: str | None
    by: str
    reason: str | None = None
    since: int = 0

    def stops(self, tool: str, run: RunRef | None) -> bool:
        """Whether a call of that tool, in that run, is stopped by it."""
        if self.scope == "all":
            return True
        if self.scope == "tool":
            return tool == self.value
        if run is None:
            return False
        if self.scope == "run":
            above = (above for above, _ in run.lineage)
            return self.value in (run.root, run.run_id, *above)
        if self.scope == "agent":
            # Whoever works for an agent that is stopped is stopped with it.
            return self.value in (run.agent, *(agent for _, agent in run.lineage))
        known = run.user_id if self.scope == "user" else getattr(run, self.scope)
        return bool(known == self.value)

    def sentence(self) -> str:
        """What a stopped call is told, to people and to the model alike: no reason, no name."""
        if self.scope == "all":
            return "all tools are stopped; wait until a person resumes them"
        return f"this {self.scope} is stopped; wait until a person resumes it"
