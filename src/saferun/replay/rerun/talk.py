"""What a model is given now, held against what the record has: see `saferun.conversation`."""

from collections.abc import Mapping

from saferun.conversation import Given
from saferun.replay.conversation import Turns, told
from saferun.replay.rerun.likeness import alike, alike_spoken, shown
from saferun.replay.rerun.steps import Script, Step


class Talk:
    """The model turns of one run, by their ids in the record and by those of now."""

    def __init__(self, script: Script) -> None:
        self._turns: Turns = {
            step.said["turn"]: step.said for step in script.steps if step.said.get("turn")
        }
        self._now: dict[str, str] = {}

    def made(self, named: str, step: Step) -> None:
        """A turn of now is that of the record."""
        if step.said.get("turn"):
            self._now[named] = step.said["turn"]

    def same(self, step: Step, given: Given | None) -> bool:
        """Whether a model was given the same there, as far as the record shows it."""
        return self._asked_so(step, given) and self._given_so(step, given)

    def _asked_so(self, step: Step, given: Given | None) -> bool:
        recorded = step.said.get("asked")
        if given is None or given.asked is None or not isinstance(recorded, Mapping):
            # Older records do not say, nor do those that were redacted for somebody.
            return True
        return alike(recorded, given.asked)

    def _given_so(self, step: Step, given: Given | None) -> bool:
        if "messages" in step.lost:
            return True
        recorded = step.said.get("messages")
        if given is None or recorded is None:
            return given is None and recorded is None
        after = step.said.get("after")
        same_base = (None if given.after is None else self._now.get(given.after)) == after
        if same_base and given.kept == step.said.get("kept", 0):
            return alike_spoken(recorded, shown(given.new))
        whole = told(step.said["turn"], self._turns)
        return bool(whole.lost) or alike_spoken(whole.messages, shown(given.whole or given.new))
