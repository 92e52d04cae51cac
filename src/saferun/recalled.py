"""A guarded call in a rerun: checked and run like any other, with the record in the tool's place.

It has the two steps of a call that is really made, so that all that is done around them stays the
same: what a denial gives, how streams and coroutines are handed on, what a model is told beside a
result. The tool itself is looked at for the types that it says, and never called.
"""

import inspect
from collections.abc import Callable
from typing import Any

from saferun.call import Call, Decision
from saferun.recall import Answers, Recollection


class Recalled:
    """One call that has been taken down, to be answered from the record.

    `wait` is how long `guard` lets a call be held back, which nobody has to do twice.
    """

    __slots__ = ("_found", "_leaves", "_raw", "_resumes", "_wait", "call", "gate")

    def __init__(
        self,
        answers: Answers,
        call: Call,
        raw: Callable[..., Any],
        *,
        wait: float,
        leaves: bool,
        resumes: str | None,
    ) -> None:
        self.gate = answers
        self.call = call
        self._raw = raw
        self._wait = wait
        self._leaves = leaves
        self._resumes = resumes
        self._found: Recollection | None = None

    def check(self) -> Decision:
        left = self._wait
        while True:
            self._found = self.gate.recall(self.call, leaves=self._leaves, resumes=self._resumes)
            decision = self._found.decision
            outcome = decision.outcome
            if outcome is not None and outcome.status == "not_started":
                # It was decided again, since too much time had passed.
                continue
            held_back = decision.retry_after
            if decision.verdict != "defer" or decision.starts or held_back is None:
                return decision
            if held_back > left:
                return decision
            left -= held_back

    async def acheck(self) -> Decision:
        return self.check()

    def run(self, _: Decision) -> Any:
        assert self._found is not None
        raw, found = self._raw, self._found
        if inspect.iscoroutinefunction(raw):
            return found.awaited(raw)
        if inspect.isasyncgenfunction(raw):
            return found.awaited_items(raw)
        if inspect.isgeneratorfunction(raw):
            return found.items(raw)
        return found.result(raw)
