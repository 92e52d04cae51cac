"""How much is kept of what models are given and say, of what users say, and of results."""

from typing import Final, Literal, TypeAlias

import msgspec

Keep: TypeAlias = Literal["whole", "hashed", "off"]
"""All of it; its size and a keyed digest; or that there was something, and nothing else."""

KEEPS: Final[tuple[Keep, ...]] = ("whole", "hashed", "off")
"""From the laxest to the strictest."""


MAX_ABOUT: Final = 8_192
"""Bytes kept of each of a run's prompt, plan, user and context."""

MAX_MESSAGE: Final = 32 * 1024
"""Bytes of a message that are kept in its entry; a longer one goes beside it."""


class Keeping(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[record]` of the configuration, and `record` of a policy.

    `prompts` are a run's prompt and plan, and the plan and context of a model turn. `output` is
    what models say, `messages` what users say, and `results` what tools give, their errors too.
    """

    prompts: Keep = "whole"
    output: Keep = "whole"
    messages: Keep = "whole"
    results: Keep = "whole"

    @property
    def given(self) -> Keep:
        """How much is kept of the messages that a model is given: they repeat all the others."""
        return strictest(self.prompts, self.output, self.messages, self.results)

    def and_(self, other: "Keeping") -> "Keeping":
        """Of each kind, as much as both have kept."""
        if self == other:
            return self
        return Keeping(
            prompts=strictest(self.prompts, other.prompts),
            output=strictest(self.output, other.output),
            messages=strictest(self.messages, other.messages),
            results=strictest(self.results, other.results),
        )


WHOLE: Final = Keeping()


def strictest(*keeps: Keep) -> Keep:
    return max(keeps, key=KEEPS.index)
