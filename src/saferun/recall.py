"""What answers in place of tools and models while a run is made again from its record.

The one seam of a rerun: `saferun.rerun` puts itself here, and guarded tools, gates, runs and
watched clients look here before they do anything. It holds for the whole process and not for one
context, since a thread that a tool is called from need not have the context of whoever began.
"""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from saferun.call import Call, Decision, Outcome, RunRef
from saferun.leftover import Leftover

if TYPE_CHECKING:
    from saferun.conversation import Given
    from saferun.run import Recorder, Run


class Recollection(Protocol):
    """One call, as the record has it. `decision.starts` says that the tool was run."""

    @property
    def decision(self) -> Decision: ...

    def result(self, raw: Callable[..., Any]) -> Any:
        """What the tool gave, or raises as it did. `raw` is read for its types alone."""
        ...

    def items(self, raw: Callable[..., Any]) -> Iterator[Any]:
        """What the tool gave one by one, and raises as it did."""
        ...

    def awaited(self, raw: Callable[..., Any]) -> Coroutine[Any, Any, Any]:
        """As `result`, when its turn has come: see `Matching.before`."""
        ...

    def awaited_items(self, raw: Callable[..., Any]) -> AsyncIterator[Any]:
        """As `items`, for a tool that was waited for."""
        ...


class Spoken(NamedTuple):
    """One turn of a model, as the record has it.

    `answer` is the provider's own, as JSON, None where only `output` was kept. `at` is in
    microseconds since 1970, UTC.
    """

    output: Any
    answer: Any
    model: str | None
    input_tokens: int | None
    output_tokens: int | None
    error: str | None
    at: int


class Answers(Protocol):
    """Answers from a record. What it cannot answer, it stops with `RerunStopped`."""

    @property
    def recorder(self) -> "Recorder": ...

    def named(self, about: RunRef, *, given: bool) -> str | None:
        """The id under which the record has a run that begins; None where it has none such."""
        ...

    def recall(self, call: Call, *, leaves: bool, resumes: str | None) -> Recollection: ...

    def decided(self, call: Call, *, leaves: bool, resumes: str | None) -> Decision:
        """A decision as of a call that was made before: it starts nothing, and has its end."""
        ...

    def taken_up(self, request: str) -> Call | Decision: ...

    def spoken(self, run: "Run | None", given: "Given | None") -> Spoken: ...

    def refuse(self, what: str) -> BaseException:
        """The error for what no record could answer, such as `a request for a raw response`."""
        ...

    def afterwards(self, undo: Callable[[], None]) -> None:
        """Have something put back once the rerun is over."""
        ...

    def settle(self, decision: Decision, outcome: Outcome) -> None: ...

    def asettle(self, decision: Decision, outcome: Outcome) -> Awaitable[None]: ...


_standing: Answers | None = None
_left = Leftover[Answers]("saferun_answers")


def standing() -> Answers | None:
    """What answers now, None where tools and models do themselves.

    For a thread or task that a rerun has left behind it goes on answering, if only that all is
    over.
    """
    return _standing or _left.behind()


@contextlib.contextmanager
def stand(answers: Answers) -> Iterator[None]:
    """Have it answer for a block, in place of tools and models."""
    global _standing  # noqa: PLW0603 - the seam
    with _left.stay(answers):
        _standing = answers
        try:
            yield
        finally:
            _standing = None
