"""A policy, ready to decide. Pure: the same call gets the same ruling at any time, anywhere.

For nearly every call nothing speaks: its arguments fit and no rule is about it. One
compiled schema for each tool finds that out, at a cost that does not depend on how many
rules there are. Only where something may speak is the call looked at piece by piece.
"""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from saferun.call import Call, Mode, PolicyRef, Reason, Verdict
from saferun.policy.reading import floats_in
from saferun.policy.tool import ToolPolicy
from saferun.policy.wording import named

_STRENGTH = {"deny": 0, "ask": 1, "allow": 2}
"""Deny beats ask beats allow, in whatever order the rules stand."""


class Ruling(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy says about one call.

    `reasons` holds everything that spoke, the strongest first, and nothing where a call
    is simply allowed. `groups` names who may answer where the verdict is `ask`; empty
    means anyone. `shadow` holds what rules in shadow mode would have said, which counts
    for nothing. With `mode="shadow"` the verdict is what the policy would have said.
    `args` is what the tool is to be given: the call's own dict, or a new one with
    defaults of the policy filled in, and then `modified` is true. `policy` is None where
    there was none, and the mode is then `observe`.
    """

    verdict: Verdict
    tool: ToolPolicy
    args: dict[str, Any]
    policy: PolicyRef | None
    mode: Mode
    modified: bool = False
    reasons: tuple[Reason, ...] = ()
    groups: tuple[str, ...] = ()
    shadow: tuple[Reason, ...] = ()


class Policy(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """A compiled policy. Immutable, and safe to share between threads.

    `load` and `loads` make one. `tools` has the tools that the policy lists, `stranger`
    what holds for all others.
    """

    ref: PolicyRef
    mode: Literal["enforce", "shadow"]
    tools: Mapping[str, ToolPolicy]
    stranger: ToolPolicy

    @property
    def name(self) -> str:
        return self.ref.name

    @property
    def version(self) -> str:
        """The hash of what the file says, in hexadecimal.

        Comments and the order of keys do not change it; the order of lists does.
        """
        return self.ref.version

    def decide(self, call: Call) -> Ruling:
        """What the policy says about a call. It does not raise: an error is a denial."""
        tool = self.stranger
        args = call.args
        try:
            tool = self.tools.get(call.tool) or self._unlisted(call.tool)
            if tool.defaults:
                args = tool.filled(call)
            if tool.is_quiet(call, args):
                return self._ruling(call, tool, args)
            return self._heard(call, tool, args)
        except Exception:  # noqa: BLE001
            # Whatever it was, it must neither crash the agent nor let the call through.
            why = "the call cannot be checked, so it is denied"
            reason = Reason(id=f"{tool.said.name}.args", effect="deny", source="gate", message=why)
            return self._ruling(call, tool, args, verdict="deny", reasons=(reason,))

    def _heard(self, call: Call, tool: ToolPolicy, args: dict[str, Any]) -> Ruling:
        """The ruling where something may speak: all are heard, and the strongest decides."""
        objection = tool.objection(call, args)
        if objection is not None:
            # Rules are about arguments that fit; what they say of others would mislead.
            return self._ruling(call, tool, args, verdict="deny", reasons=(objection,))
        checked = tool.checked(call, args)
        floats = floats_in(checked)
        spoken: list[Reason] = []
        shadow: list[Reason] = []
        groups: set[str] = set()
        for rule in tool.rules:
            reason = rule.says(checked, floats=floats)
            if reason is None:
                continue
            if rule.said.shadow:
                shadow.append(reason)
                continue
            spoken.append(reason)
            groups.update(rule.said.groups)
        if not spoken and tool.otherwise is not None:
            spoken.append(tool.otherwise)
        spoken.sort(key=_strength)
        verdict = spoken[0].effect if spoken else "allow"
        return self._ruling(
            call,
            tool,
            args,
            verdict=verdict,
            reasons=tuple(spoken),
            groups=tuple(sorted(groups)) if verdict == "ask" else (),
            shadow=tuple(shadow),
        )

    def _ruling(
        self,
        call: Call,
        tool: ToolPolicy,
        args: dict[str, Any],
        *,
        verdict: Verdict = "allow",
        reasons: tuple[Reason, ...] = (),
        groups: tuple[str, ...] = (),
        shadow: tuple[Reason, ...] = (),
    ) -> Ruling:
        return Ruling(
            verdict=verdict,
            tool=tool,
            args=args,
            policy=self.ref,
            mode=self.mode,
            modified=args is not call.args,
            reasons=reasons,
            groups=groups,
            shadow=shadow,
        )

    def _unlisted(self, name: str) -> ToolPolicy:
        otherwise = self.stranger.otherwise
        if otherwise is not None:
            otherwise = replace(otherwise, message=f"{named(name)} {otherwise.message}")
        return replace(self.stranger, name=name, otherwise=otherwise)


def _strength(reason: Reason) -> int:
    return _STRENGTH[reason.effect]
