"""A run that the loop control watches, told as tests tell it."""

import hashlib
from typing import Any

from saferun.call import Status, canonical
from saferun.control.loop import Echo, Finding, Loops, Sign, Trail, echo, sign

SECOND = 1_000_000


def digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16, key=b"test").digest()


def signed(tool: str, **args: Any) -> Sign:
    return sign(tool, canonical.encode(args), digest)


def echoed(result: Any = None, *, error: str | None = None, status: Status = "ok") -> Echo:
    if status != "ok":
        return echo(status, None, error, digest)
    if error is not None:
        return echo("error", None, error, digest)
    return echo("ok", canonical.encode(result), None, digest)


class Running:
    """Makes calls one after the other, a second apart unless said otherwise."""

    def __init__(self, *, poll: bool = False, effect: str = "write", **settings: Any) -> None:
        self.trail = Trail()
        self.settings = Loops(**settings)
        self.poll = poll
        self.effect = effect
        self.now = 1_700_000_000 * SECOND
        self.seq = 0

    def asked(self, tool: str, **args: Any) -> Finding | None:
        """What the control says of a call that is not made."""
        known = signed(tool, **args)
        return self.trail.check(self.settings, known, self.now, poll=self.poll, effect=self.effect)

    def made(
        self,
        tool: str,
        result: Any = None,
        *,
        error: str | None = None,
        status: Status = "ok",
        after: float = 1,
        times: int = 1,
        **args: Any,
    ) -> None:
        """Calls that are let through, whatever the control says."""
        for _ in range(times):
            self.now += round(after * SECOND)
            self.seq += 1
            self.trail.started(signed(tool, **args), self.seq, self.now)
            self.trail.ended(self.seq, echoed(result, error=error, status=status), self.now)

    def heard(self, tool: str, result: Any = None, **made: Any) -> tuple[str, int] | None:
        """What the model hears of a call that is made, by signal and count."""
        told = {"error", "status", "after"}
        args = {name: value for name, value in made.items() if name not in told}
        self.now += round(made.pop("after", 1) * SECOND)
        found = self.asked(tool, **args)
        assert found is None or found.step == "nudge", found
        self.made(tool, result, after=0, **made)
        return None if found is None else (found.signal, found.count)

    def refused(self, tool: str, *, after: float = 1, **args: Any) -> str:
        """The rung of a call that is asked and refused."""
        self.now += round(after * SECOND)
        found = self.asked(tool, **args)
        assert found is not None
        assert found.step != "nudge"
        self.trail.refused(signed(tool, **args), self.now)
        return found.step
