"""The conditions behind a recorded decision, with the values that they saw.

The ledger has which rules spoke and what they said, and the store has the very version of the
policy that decided. So the same version is asked again about the same call. What it says is told
only as far as it cannot be another answer than then: where a rule speaks now as it spoke then, and
of its conditions those that rest on the call and its run, and on nothing that has moved on. What
people had said by then does not move on, where the record has all of it.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from saferun.call import Call, Clause, Facts, Past, RunRef
from saferun.errors import SafeRunError
from saferun.policy import Policy, explain, restore
from saferun.policy.explain import Spoken
from saferun.replay import large
from saferun.replay.backtest import unread
from saferun.said import Texts
from saferun.store import Reader
from saferun.store.versions import kept_version

_MOVED_ON = re.compile(r"\b(environment|env|run)\b")
"""What conditions may speak of and the entry does not have: where it ran, and what the run had done
before."""

_SAID = re.compile(r"\brun\.said\b")


def _nothing() -> Texts:
    return None


def version(reader: Reader, name: str) -> Policy | None:
    """A version of a policy as the store has kept it, None where it has not."""
    try:
        return restore(kept_version(reader, name))
    except (SafeRunError, ValueError, KeyError, RecursionError):
        return None


def grounds(
    decision: Mapping[str, Any],
    run: RunRef | None,
    at: int,
    policy_of: Callable[[str], Policy | None],
    said: Callable[[], Texts] = _nothing,
) -> dict[str, tuple[Clause, ...]]:
    """The conditions of each rule that spoke for a decision, by the rule's id.

    None of rules of which they cannot be told: their version is not kept, the arguments are not
    all here, or the answer would be another one now. `said` finds what people had said before the
    decision; it is asked only where a rule reads that.
    """
    ref, key = decision.get("policy"), "given" if "given" in decision else "args"
    args = decision.get(key)
    if ref is None or not isinstance(args, dict) or unread(args):
        return {}
    sealed = any(path.split(".")[0] == key for path in decision.get("sealed", {}).values())
    if large.named(decision, key) is not None or sealed:
        return {}
    spoke = {
        each["id"]: each["effect"]
        for each in decision.get("reasons", ())
        if each.get("source") in ("rule", "args") and not each.get("failed")
    }
    if not spoke:
        return {}
    policy = policy_of(ref["version"])
    if policy is None:
        return {}
    call = Call(tool=decision["tool"], args=args, run=run, opaque=decision.get("opaque", {}))
    found = {
        rule.id: told
        for rule in _speaking(policy, call, Facts(now=at), spoke)
        if (told := tuple(each for each in rule.clauses if not _MOVED_ON.search(each.text)))
    }
    texts = said() if policy.asks_said else None
    if texts:
        past = Past(began=at, said=texts)
        for rule in _speaking(policy, call, Facts(now=at, past=past), spoke):
            written = [each.text for each in rule.clauses]
            # Of what else the run had done nothing is known, so the rule may not rest on that.
            moved = any(_MOVED_ON.search(_SAID.sub("", each)) for each in written)
            if not moved and any(map(_SAID.search, written)):
                found[rule.id] = rule.clauses
    return found


def _speaking(
    policy: Policy, call: Call, facts: Facts, spoke: Mapping[str, str]
) -> Iterator[Spoken]:
    """The rules that say now what they said then."""
    try:
        said = explain(policy, call, facts)
    except (SafeRunError, ValueError, KeyError, RecursionError):
        return
    yield from (rule for rule in said.rules if spoke.get(rule.id) == rule.effect)
