"""Rules in shadow, all of them at once, put before recorded calls as these were made.

It is the policy itself that is asked, with the rules among its own, as it is when calls are
decided, backtested or tested. Each call is looked at with the past that it really had: what would
have come of the next one, had this one been stopped, nobody knows.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from saferun.policy import Policy, Shadows
from saferun.replay.suggest.history import Known


class Spoken(NamedTuple):
    """What rules in shadow say of one call: those that apply, and those that cannot be evaluated.

    A rule that `failed` denies the call as well: it makes nothing of the arguments that are there,
    and would of the next such call. One that is `unsure` lacks what nobody knows of the run by now.
    """

    applies: frozenset[str]
    failed: frozenset[str]
    unsure: frozenset[str] = frozenset()


class Tried(NamedTuple):
    """One recorded call, and what the rules say of it; None where its arguments are not known."""

    known: Known
    spoken: Spoken | None


_NOTHING = Spoken(frozenset(), frozenset())


def sweep(policy: Policy, calls: Iterable[Known]) -> Iterator[Tried]:
    """Ask a policy's rules in shadow about each call."""
    shadows = Shadows(policy)
    for known in calls:
        if known.call is None:
            yield Tried(known, None)
            continue
        shadow = shadows.of(known.call, known.facts)
        if not shadow:
            yield Tried(known, _NOTHING)
            continue
        failed = frozenset(each.id for each in shadow if each.failed)
        unsure = failed & shadows.unsure(known.call, known.facts) if failed else failed
        applies = frozenset(each.id for each in shadow if not each.failed)
        yield Tried(known, Spoken(applies, failed - unsure, unsure))
