"""Calls to try on a policy, with all that is known beside them."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from saferun.call import Call, Facts, Past, RunRef, canonical
from saferun.policy.analysis.sample import simplicity
from saferun.policy.names import OWN

Known = tuple[str, ...]
"""A path of what a condition may read beside arguments: `("user", "tier")`."""

NOW = 1_767_614_400_000_000
"""Monday, 5 January 2026, 12:00 UTC, in microseconds: when nothing else is asked for."""


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """One call, and what is known when it is made.

    `known` maps paths to values: whose call it is, where it runs, what the run has done before
    and what `inputs` declare. What is not in it is not known.
    """

    tool: str
    args: Mapping[str, Any]
    known: Mapping[Known, Any] = msgspec.field(default_factory=dict)

    def call(self) -> Call:
        user: dict[str, Any] = {}
        context: dict[str, Any] = {}
        for path, value in self.known.items():
            if path[0] == "user":
                _put(user, path[1:], value)
            elif path[0] not in OWN:
                _put(context, path, value)
        run = RunRef(
            run_id="tried",
            root="tried",
            agent=self.known.get(("agent",)),
            tenant=self.known.get(("tenant",)),
            user=user,
            context=context,
        )
        return Call(tool=self.tool, args=dict(self.args), run=run)

    def facts(self) -> Facts:
        said = self.known.get(("run", "said"))
        now = self.known.get(("now",), NOW)
        seconds = self.known.get(("run", "seconds"), 0)
        return Facts(
            now=now,
            environment=self.known.get(("environment",)),
            past=Past(
                began=now - int(seconds * 1e6),
                calls=self.known.get(("run", "calls"), 0),
                cost_usd=self.known.get(("run", "cost_usd"), 0.0),
                tools=tuple(self.known.get(("run", "tools"), ())),
                said=() if said is None else (said,),
            ),
        )

    def told(self) -> dict[str, Any]:
        """What is known beside the arguments, by its dotted names."""
        return {".".join(path): value for path, value in sorted(self.known.items())}

    def simplicity(self) -> tuple[Any, ...]:
        """What situations are ordered by so that a reader meets the simplest one first."""
        said = {**self.args, **self.told()}
        odd = sum(simplicity(value)[0] for value in said.values())
        return (len(said), odd, len(canonical.encode(said)), canonical.encode(said))

    def without(self, name: str) -> "Situation":
        left = {each: value for each, value in self.args.items() if each != name}
        return msgspec.structs.replace(self, args=left)

    def forgetting(self, path: Known) -> "Situation":
        left = {each: value for each, value in self.known.items() if each != path}
        return msgspec.structs.replace(self, known=left)

    def having(
        self, args: Iterable[tuple[str, Any]] = (), known: Iterable[tuple[Known, Any]] = ()
    ) -> "Situation":
        return msgspec.structs.replace(
            self, args={**self.args, **dict(args)}, known={**self.known, **dict(known)}
        )


def _put(holder: dict[str, Any], path: Known, value: Any) -> None:
    for step in path[:-1]:
        holder = holder.setdefault(step, {})
    holder[path[-1]] = value
