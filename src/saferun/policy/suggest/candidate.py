"""What a suggestion is made from, and what it is."""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, get_args

import msgspec

Answer: TypeAlias = Literal["deny", "ask"]

Kind: TypeAlias = Literal[
    "range",
    "domain",
    "among",
    "origin",
    "prefix",
    "suffix",
    "given",
    "order",
    "rate",
    "exact",
    "every",
]
"""What a rule or limit goes by, from what says most of calls to come to what says least: a bound,
the domain of an address, a set of values that were seen, that nobody has asked for it, how a text
begins or ends, that an argument is there at all, what ran before it, how much or how often, this
one value, or nothing."""


KINDS: tuple[Kind, ...] = get_args(Kind)


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One call as far as rules can be made from it.

    `tools` are those that its run had called before, and `calls` is how many calls that were.
    `said` are the texts of what people had asked for, None where some of it is not known.
    """

    args: Mapping[str, Any]
    user: str | None = None
    tools: tuple[str, ...] = ()
    calls: int = 0
    said: tuple[str, ...] | None = ()

    def names(self, text: str) -> bool:
        """Whether people had named a text; no where it is not known what they said."""
        return self.said is not None and any(text in each for each in self.said)


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A rule or limit that would stop a call: `body` is what the policy file would say of it.

    It has no `mode` there. `part` is where in the tool's entry it stands. With `single`, it is made
    for one value, and says little of any other call.
    """

    id: str
    kind: Kind
    body: Mapping[str, Any]
    part: Literal["rules", "limits"] = "rules"
    single: bool = False

    @property
    def answer(self) -> Answer:
        """What it says of a call: a limit denies."""
        return "deny" if "deny" in self.body or self.part == "limits" else "ask"

    @property
    def before(self) -> int:
        """How many such calls have to come before the one that a limit stops; none for a rule."""
        return int(self.body["max"]) if self.part == "limits" else 0

    def rule(self, *, shadow: bool) -> dict[str, Any]:
        """The rule or limit as it goes into the file."""
        return {**self.body, **({"mode": "shadow"} if shadow else {})}
