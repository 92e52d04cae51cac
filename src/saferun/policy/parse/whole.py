"""What the parts of a policy need to know of the whole: ids that are taken, words defined."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeAlias

from saferun.control import Breaker, Loops
from saferun.policy.part import Part
from saferun.policy.schema import meant
from saferun.policy.source import Path, Source
from saferun.policy.wording import found, listed, named

Mode: TypeAlias = Literal["enforce", "shadow"]
MODES: tuple[Mode, ...] = ("enforce", "shadow")

MAX_NAME = 128
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Whole:
    """One policy while it is read.

    `inputs` holds what conditions may speak of, as schemas; `loops` and `breaker` what it says
    of them for all tools, None where they are off.
    """

    def __init__(self, source: Source, mode: Mode, reserved: Iterable[str]) -> None:
        self.source = source
        self.mode = mode
        self.inputs: Mapping[str, dict[str, Any]] = {}
        self.loops: Loops | None = Loops()
        self.breaker: Breaker | None = Breaker()
        self._ids = set(reserved)

    def id(self, part: Part) -> str:
        """The id of a rule or a limit, which no other has."""
        said = part["id"]
        if not matches(_ID, said):
            what = f"expected an `id` of letters, digits, `.`, `_` and `-`; {found(said)}"
            part.fault(("id",), "value", what)
        elif said in self._ids:
            what = f"{named(said)} is taken; every rule and limit has an id of its own"
            part.fault(("id",), "duplicate", what)
        else:
            self._ids.add(said)
        return str(said)

    def tried(self, part: Part) -> bool:
        """Whether a rule or a limit is only tried out, by its own `mode`."""
        if self.mode == "shadow" and part["mode"] == "enforce":
            what = "the policy's `mode` is shadow, so nothing in it can enforce; "
            part.fault(("mode",), "value", what + "turn that round and mark what is to be tried")
        return part.choice("mode", MODES, "enforce") == "shadow"

    def name(self, path: Path, *, many: bool = False) -> str:
        """The key at the end of a path, as a name; with `many`, it may end in `*`."""
        name = str(path[-1])
        if not speakable(name):
            what = f"a name is up to {MAX_NAME} visible characters without a space"
            self.source.fault(path, "value", f"{what}; {found(name)}")
        elif not {"*", "?"}.isdisjoint(name[:-1] if many and name.endswith("*") else name):
            where = "`*` stands at the end of a tool's name alone, for all that begin so"
            self.source.fault(path, "value", f"{where}; {found(name)}")
        return name


def words(part: Part, key: str, what: str) -> tuple[str, ...]:
    """A list of names, each once."""
    seen: dict[str, None] = {}
    for at, word in enumerate(part.list(key)):
        if not isinstance(word, str) or not speakable(word):
            part.fault((key, at), "value", f"expected {what}; {found(word)}")
        elif word in seen:
            part.fault((key, at), "duplicate", f"{named(word)} stands here twice")
        else:
            seen[word] = None
    return tuple(seen)


def matches(pattern: re.Pattern[str], value: Any) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def speakable(name: str) -> bool:
    return name.isprintable() and " " not in name and 0 < len(name) <= MAX_NAME


def unknown(name: str, args: Iterable[str]) -> str:
    """What is said of an argument that the tool does not have."""
    known = list(args)
    what = f"{named(name)} is not an argument that the tool's `args` describe; they describe"
    return f"{what} {listed(known) or 'none'}{meant(name, known)}"
