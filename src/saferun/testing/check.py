"""What became of the calls in a block, as tests say it.

    with denied(by="big-refund"):
        refund("A-17", 250_000)

A block stands for the calls that are made in it, through whatever wrapped them: a guarded tool
that raises or returns its denial, or `Gate.check`. Every decision of the block counts.
"""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import ClassVar, Self

from saferun.call import Decision, Reason
from saferun.errors import Denied
from saferun.listening import on_decision, stop_listening


class _Block(ABC):
    """A block whose calls should all have one fate.

    Args:
        by: the id of a rule, limit or schema that has to have spoken for it.

    Raises:
        AssertionError: a call had another fate, somebody else spoke, or no call was made.

    """

    fate: ClassVar[str]

    def __init__(self, *, by: str | None = None) -> None:
        self.by = by
        self.decisions: list[Decision] = []

    @property
    def decision(self) -> Decision:
        """The last decision of the block."""
        __tracebackhide__ = True
        if not self.decisions:
            raise AssertionError(
                f"no guarded call was made, and one was expected to be {self.fate}"
            )
        return self.decisions[-1]

    @property
    def for_model(self) -> str:
        """What the model would be told of it."""
        return self.decision.for_model

    def __enter__(self) -> Self:
        # For as long as the block lasts and no longer: what else listens is not its business.
        on_decision(self.decisions.append)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        __tracebackhide__ = True
        stop_listening(self.decisions.append)
        if error is not None and not isinstance(error, Denied):
            return False
        assert self.decision is not None
        for decision in self.decisions:
            if not self._fits(decision):
                raise AssertionError(f"{_told(decision)}; it was expected to be {self.fate}")
            if self.by not in (None, *(reason.id for reason in self._spoke(decision))):
                raise AssertionError(f"{_told(decision)}; {self.by} was expected to say so")
        # A denial that no decision of the block accounts for is somebody else's.
        return any(not decision.allowed for decision in self.decisions)

    @abstractmethod
    def _fits(self, decision: Decision) -> bool: ...

    def _spoke(self, decision: Decision) -> tuple[Reason, ...]:
        """The reasons that led to this fate."""
        return decision.reasons


class allowed(_Block):  # noqa: N801 - `with allowed():` reads as what it does
    """Every call in the block may run: it was allowed, or approved, or is only watched."""

    fate = "allowed"

    def _fits(self, decision: Decision) -> bool:
        return decision.allowed


class denied(_Block):  # noqa: N801
    """No call in the block may run, whether policy, a limit or a person stopped it.

    The error that tells the caller so ends the block, and goes no further.
    """

    fate = "denied"

    def _fits(self, decision: Decision) -> bool:
        return not decision.allowed

    def _spoke(self, decision: Decision) -> tuple[Reason, ...]:
        return tuple(reason for reason in decision.reasons if reason.effect != "allow")


class asked(_Block):  # noqa: N801
    """About every call in the block a person is asked, whatever they answer.

    It holds where there is nobody to ask as well, and the call is denied for that.
    """

    fate = "asked about"

    def _fits(self, decision: Decision) -> bool:
        others = [each for each in decision.reasons if each.effect == "deny"]
        unanswered = all(each.source == "approval" for each in others)
        return decision.approval_id is not None or (unanswered and bool(self._spoke(decision)))

    def _spoke(self, decision: Decision) -> tuple[Reason, ...]:
        return tuple(reason for reason in decision.reasons if reason.effect == "ask")


def _told(decision: Decision) -> str:
    """What became of a call, and all that spoke about it."""
    fate = "was allowed" if decision.allowed else "was denied"
    if decision.approval_id is not None:
        fate = f"was asked about and {fate}"
    said = "; ".join(f"{each.id}: {each.message}" for each in decision.reasons)
    return f"{decision.tool} {fate}{f' ({said})' if said else ''}"
