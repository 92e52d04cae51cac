"""Everything that SafeRun raises. `except Denied` covers every call that did not run."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from saferun.call import Decision


class SafeRunError(Exception):
    """The root of all errors raised by SafeRun."""


class ConfigError(SafeRunError):
    """The configuration names something that is not there or cannot be."""


class PolicyError(SafeRunError):
    """A policy file that cannot be used: what was found, where, and what was expected.

    `line` and `column` count from 1; None where the file as a whole is meant.
    """

    def __init__(
        self,
        message: str,
        path: str | None = None,
        line: int | None = None,
        column: int | None = None,
    ) -> None:
        self.message = message
        self.path = path
        self.line = line
        self.column = column
        super().__init__(message, path, line, column)

    def __str__(self) -> str:
        where = ":".join(
            str(part) for part in (self.path, self.line, self.column) if part is not None
        )
        return f"{where}: {self.message}" if where else self.message


class StoreError(SafeRunError):
    """The store cannot be opened, read or written. Inside the gate this becomes a denial."""


class SearchError(StoreError):
    """What is looked for cannot be: it has no word, or too many. It is to be said otherwise."""


class ApprovalPending(SafeRunError):
    """The call waits for a person and the caller chose not to wait with it."""

    def __init__(self, approval_id: str) -> None:
        self.approval_id = approval_id
        super().__init__(approval_id)

    def __str__(self) -> str:
        return f"The call waits for a person's approval ({self.approval_id})."


class Denied(SafeRunError):
    """The call did not run. `decision` has all that is known, `for_model` what may be told."""

    def __init__(self, decision: "Decision") -> None:
        self.decision = decision
        # Whatever prints an error ends up in transcripts, `repr` and `args` too.
        super().__init__(decision.for_model)

    def __reduce__(self) -> "tuple[type[Denied], tuple[Decision]]":
        return type(self), (self.decision,)

    @property
    def for_model(self) -> str:
        return self.decision.for_model

    @property
    def retry_after(self) -> float | None:
        """Seconds until the same call may fit, None where nobody knows."""
        return self.decision.retry_after

    def __str__(self) -> str:
        # What is printed ends up in transcripts, so it says what the model may know and no more.
        return self.decision.for_model


class LimitExceeded(Denied):
    """A count or sum that the policy caps has reached its cap."""


class BudgetExceeded(LimitExceeded):
    """The money that the policy allows is spent or held."""


class LoopDetected(Denied):
    """The agent repeats itself without anything new coming of it."""


class CircuitOpen(Denied):
    """The tool fails too often; its breaker is open."""


class Stopped(Denied):
    """A person has stopped this agent, tool, tenant or everything, or a loop its own run."""


class Deferred(Denied):
    """Not now: the same call may be made again after `retry_after` seconds."""


class Rejected(Denied):
    """A person was asked and said no."""


class ApprovalExpired(Denied):
    """Nobody answered in time, or nobody could be asked."""


class GateUnavailable(Denied):
    """The gate could not record its decision, so the call was not let through."""


def denial(decision: "Decision") -> Denied:
    """The error for a decision that stopped its call: the class its first deciding reason names."""
    for reason in decision.reasons:
        if reason.effect == decision.verdict:
            return _BY_NAME.get(reason.error, Denied)(decision)
    return Denied(decision)


_BY_NAME: dict[str, type[Denied]] = {
    kind.__name__: kind
    for kind in (
        LimitExceeded,
        BudgetExceeded,
        LoopDetected,
        CircuitOpen,
        Stopped,
        Deferred,
        Rejected,
        ApprovalExpired,
        GateUnavailable,
    )
}


class RerunStopped(BaseException):
    """A rerun goes no further; see `saferun.rerun`. `run` and `frame` say where in the record.

    Not an `Exception`: agents catch those around their tools and hand the text to the model, and
    one that went on from here would do so on answers that nobody has recorded.
    """

    def __init__(self, why: str, run: str | None = None, frame: int | None = None) -> None:
        self.why = why
        self.run = run
        self.frame = frame
        super().__init__(why)

    def __str__(self) -> str:
        return self.why


class Diverged(RerunStopped):
    """The code does something else than the record has.

    `recorded` is what the record has there, and `now` what the code did; None for nothing.
    """

    def __init__(
        self,
        why: str,
        run: str | None = None,
        frame: int | None = None,
        recorded: "dict[str, Any] | None" = None,
        now: "dict[str, Any] | None" = None,
    ) -> None:
        super().__init__(why, run, frame)
        self.recorded = recorded
        self.now = now


class Unanswered(RerunStopped):
    """The code does what the record has, and what came of it is not to be had any more."""
