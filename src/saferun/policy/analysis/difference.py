"""What two policies decide otherwise, as records for people and for programs."""

from typing import Any

import msgspec

from saferun.call import Demand, PolicyRef, Verdict
from saferun.policy.document import Answer


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """One call that the two policies disagree on, made as simple as it can be.

    `known` holds what is known beside the arguments, by dotted names such as `user.tier`.
    `old_rules` and `new_rules` are the ids of all that spoke. `given` says that the tool would
    be given other arguments; then, `old_args` and `new_args` are these. `old_demands` and
    `new_demands` are what has to be met where a person is asked.
    """

    tool: str
    args: dict[str, Any]
    known: dict[str, Any]
    old: Verdict
    new: Verdict
    old_rules: tuple[str, ...]
    new_rules: tuple[str, ...]
    old_args: dict[str, Any] | None = None
    new_args: dict[str, Any] | None = None
    old_demands: tuple[Demand, ...] = ()
    new_demands: tuple[Demand, ...] = ()


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """Arguments that were answered with `old` and are answered with `new`, all of them.

    `schema` is a JSON Schema of the whole argument object. `who` says whose calls it is about,
    by dotted names, and is empty where it is about everybody's.
    """

    old: Answer
    new: Answer
    schema: Any
    who: dict[str, str] = {}


class ToolDifference(msgspec.Struct, frozen=True, kw_only=True):
    """What is decided otherwise about one tool, about `mcp.*`, or about `*`: all unlisted ones.

    `told` says that `moved` has everything; where it is False, the policies rest on what no
    schema can say, and only `examples` were tried. With neither, no call was found that is
    decided otherwise, and it is not certain that there is none.
    """

    tool: str
    moved: tuple[Moved, ...] = ()
    examples: tuple[Example, ...] = ()
    told: bool = True


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One setting that is another one now. `code` is for programs, `message` for people.

    `resets` names the limit whose counters start at nothing under the new version. `laxer` says
    of what is demanded of people that it is easier to meet now, or lets them do more; False that
    it is harder, and None that it is neither or that nobody can tell.
    """

    code: str
    message: str
    tool: str | None = None
    resets: str | None = None
    laxer: bool | None = None


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """All that a new policy changes. False where nothing differs in effect."""

    old: PolicyRef
    new: PolicyRef
    tools: tuple[ToolDifference, ...] = ()
    changes: tuple[Change, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.tools or self.changes)

    def of(self, tool: str) -> ToolDifference | None:
        """What changes for a tool, by its name as it stands in `tools`."""
        return next((each for each in self.tools if each.tool == tool), None)
