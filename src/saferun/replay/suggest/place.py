"""Where a rule for a call stands in a policy, and what the policy is with it there."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from saferun.call import Call
from saferun.errors import SafeRunError
from saferun.policy import Finding, Policy, check, included, loads, restore
from saferun.policy.amend import AmendError, appended, flow, put
from saferun.policy.document import Tool
from saferun.policy.source import Path, read
from saferun.policy.suggest import Candidate


class CannotSuggestError(SafeRunError):
    """No rule can be suggested for a call, in one sentence."""


class File(NamedTuple):
    """A policy file: its bytes, and the path that it was read from."""

    text: bytes
    path: str | None

    def policy(self) -> Policy:
        """What it says. Raises PolicyError."""
        return loads(self.text, self.path)


class Place(NamedTuple):
    """The entry of a tool that a call falls under, as the file and as the policy have it.

    `listed` is false where the policy lists no such tool and allows it: the entry is then made.
    `elsewhere` names the file that has the entry where the policy includes it. A rule can be tried
    there and is not written: it would hold in every policy that includes that file, and was tried
    for one.
    """

    file: File
    policy: Policy
    entry: Tool
    path: Path
    listed: bool
    elsewhere: str | None = None

    @classmethod
    def of(cls, file: File, policy: Policy, call: Call, environment: str | None = None) -> "Place":
        """The place for a rule about a call. Raises CannotSuggestError where there is none."""
        entry = policy.entry(call, environment).said
        if not entry.path:
            if policy.document.default != "allow":
                raise CannotSuggestError(
                    f"The policy {policy.name} does not list {call.tool}, and so it does not allow "
                    "it either; list the tool first."
                )
            return cls(file, policy, entry, ("tools", call.tool), listed=False)
        elsewhere = included(file.text, file.path, entry.path)
        return cls(file, policy, entry, entry.path, listed=True, elsewhere=elsewhere)

    def joined(
        self, rules: Sequence[Mapping[str, Any]], limits: Sequence[Mapping[str, Any]] = ()
    ) -> Policy:
        """The policy with rules and limits in it. Raises PolicyError where it would not load."""
        whole = dict(self.policy.document.value)
        _add(whole, self.path, {"rules": rules, "limits": limits})
        return restore(whole)

    def holding(self, candidates: Iterable[Candidate], *, shadow: bool) -> Policy:
        """The policy with candidates in it, each in its part. Raises PolicyError as `joined`."""
        said: dict[str, list[Mapping[str, Any]]] = {"rules": [], "limits": []}
        for each in candidates:
            said[each.part].append(each.rule(shadow=shadow))
        return self.joined(**said)

    def sound(self, candidates: Iterable[Candidate]) -> tuple[list[Candidate], Policy]:
        """Those with which the policy loads, each by itself, and the policy with all in shadow."""
        found = list(candidates)
        try:
            return found, self.holding(found, shadow=True)
        except SafeRunError:
            found = [each for each in found if self._loads(each)]
            return found, self.holding(found, shadow=True)

    def _loads(self, candidate: Candidate) -> bool:
        try:
            self.holding([candidate], shadow=True)
        except SafeRunError:
            return False
        return True

    def amended(self, candidate: Candidate, *, shadow: bool) -> bytes:
        """The file with a candidate in it, and all else as it was. Raises AmendError."""
        rule = candidate.rule(shadow=shadow)
        if self.elsewhere is not None:
            raise AmendError(
                f"The entry of {self.entry.name} stands in {self.elsewhere}: a rule there holds in "
                f"every policy that includes it, and was tried for {self.policy.name} alone. Move "
                "the entry into the policy, or write the rule there by hand."
            )
        if self.listed:
            return appended(self.file.text, (*self.path, candidate.part), rule)
        body = {"args": "any", candidate.part: [rule]}
        if "tools" not in (read(self.file.text).value or {}):
            return put(self.file.text, ("tools",), {self.path[-1]: body})
        return put(self.file.text, self.path, body)

    def standing(self, candidate: Candidate) -> str | None:
        """The id of what stands there in shadow already and says the same; None where nothing."""
        entry: Any = self.policy.document.value
        for step in self.path if self.listed else ():
            entry = entry[step]
        some = entry.get(candidate.part) or () if self.listed else ()
        said = _meaning(candidate.rule(shadow=True))
        return next((str(each["id"]) for each in some if _meaning(each) == said), None)

    def findings(self, text: bytes) -> list[Finding]:
        """What there is to say of the file as it would be, and not of it as it is."""
        before = {(each.code, each.message) for each in check(self.file.text, self.file.path)}
        after = check(text, self.file.path)
        return [each for each in after if (each.code, each.message) not in before]


def written(rule: Mapping[str, Any]) -> str:
    """A rule as it stands in a list of a policy file."""
    first, *rest = (f"{key}: {flow(value)}" for key, value in rule.items())
    return "\n".join((f"- {first}", *(f"  {line}" for line in rest))) + "\n"


def _meaning(rule: Mapping[str, Any]) -> dict[str, Any]:
    """What a rule or limit says, whatever it is called and however it words that."""
    return {key: value for key, value in rule.items() if key not in ("id", "message")}


def _add(
    holder: dict[str, Any], path: Path, said: Mapping[str, Sequence[Mapping[str, Any]]]
) -> None:
    """Put rules and limits at the end of those of an entry.

    What is shared with other policies is copied.
    """
    at: Any = holder
    for step in path:
        if isinstance(at, list):
            assert isinstance(step, int)
            at[step] = dict(at[step])
        else:
            held = at.get(step)
            at[step] = list(held) if isinstance(held, list) else dict(held or {})
        at = at[step]
    at.setdefault("args", "any")
    for part, some in said.items():
        if some:
            at[part] = [*(at.get(part) or ()), *map(dict, some)]
