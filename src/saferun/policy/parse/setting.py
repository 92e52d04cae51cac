"""What a policy says of loops, of breakers and of what is kept, for all tools and for each."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeAlias, TypeVar

from msgspec.structs import replace

from saferun.control import Breaker, Loops
from saferun.control.amount import micro
from saferun.control.breaker import PROBES_KEPT
from saferun.keeping import KEEPS, WHOLE, Keeping
from saferun.policy.part import Part
from saferun.policy.wording import found

OFF = "off"

MAX_COUNT = 1_000_000

Reader: TypeAlias = Callable[[Part, str], Any]
"""Takes one setting out of its mapping, as the record has it."""

_Settings = TypeVar("_Settings", Loops, Breaker)


def _count(
    part: Part, key: str, *, least: int, most: int = MAX_COUNT, off: bool = False
) -> int | None:
    said = part[key]
    if off and said == OFF:
        return None
    if type(said) is not int or not least <= said <= most:
        what = f"expected a whole number, {least} to {most:,}{_or_off(off=off)}"
        part.fault((key,), "value", f"{what}; {found(said)}")
        return least
    return said


def _time(part: Part, key: str, *, off: bool = False) -> int | None:
    return None if off and part[key] == OFF else part.duration(key)


def _share(part: Part, key: str, *, above: bool) -> float:
    """A share of the whole; with `above`, it is more than none of it."""
    said = part[key]
    if type(said) in (int, float) and 0 <= said <= 1 and (said or not above):
        return float(said)
    least = "above 0, and 1 at most" if above else "from 0 to 1"
    part.fault((key,), "value", f"expected a share as a number {least}; {found(said)}")
    return 1.0


def _spread(part: Part, key: str) -> float:
    share = _share(part, key, above=False)
    if part.source.sound((*part.path, key)) and share == 1:
        part.fault((key,), "value", f"expected a share below 1; {found(part[key])}")
    return share


def _times(part: Part, key: str) -> float | None:
    said = part[key]
    if said == OFF:
        return None
    if type(said) in (int, float) and 1 < said <= MAX_COUNT:
        return float(said)
    what = f"expected how many times the usual it is, as a number above 1{_or_off(off=True)}"
    part.fault((key,), "value", f"{what}; {found(said)}")
    return None


def _dollars(part: Part, key: str) -> int:
    try:
        return micro(part[key])
    except ValueError:
        part.fault((key,), "value", f"expected US dollars as a number; {found(part[key])}")
        return 0


def _or_off(*, off: bool) -> str:
    return f", or `{OFF}`" if off else ""


# How many calls have been made already: at 1, the second of a kind is denied.
_REPEATS = partial(_count, least=1, off=True)

LOOPS: Mapping[str, Reader] = {
    "same_result": _REPEATS,
    "spaced_result": _REPEATS,
    "same_error": _REPEATS,
    "transient_error": _REPEATS,
    "masked": _REPEATS,
    "cycle": partial(_count, least=2, off=True),
    "barren": _REPEATS,
    "lifetime": _REPEATS,
    "changing": _REPEATS,
    "poll_burst": _REPEATS,
    "poll_for": partial(_time, off=True),
    "retries": partial(_count, least=0, off=True),
    "denials": partial(_count, least=0),
    "asks": partial(_count, least=0),
}
"""Every word under `loops`, as the fields of `Loops` are called."""

BREAKER: Mapping[str, Reader] = {
    "failure_rate": partial(_share, above=True),
    "slow_rate": partial(_share, above=True),
    "slow_after": partial(_time, off=True),
    "min_calls": partial(_count, least=1),
    "open_for": _time,
    "open_max": _time,
    "jitter": _spread,
    "probes": partial(_count, least=1, most=PROBES_KEPT),
    "successes": partial(_count, least=1),
    "lease": _time,
    "spike": _times,
    "spike_floor": _dollars,
    "retry_share": partial(_share, above=False),
    "retry_min": partial(_count, least=0),
}
"""Every word under `breaker`, as the fields of `Breaker` are called."""

RECORD = Keeping.__struct_fields__
"""Every word under `record`."""


def loops(holder: Part, base: Loops | None) -> Loops | None:
    """What holds for loops where `holder` speaks of them on top of `base`; None is off."""
    return _settings(holder, "loops", LOOPS, base, Loops())


def breaker(holder: Part, base: Breaker | None, timeout: int | None = None) -> Breaker | None:
    """What holds for the breaker of a tool with this `timeout`; None is off.

    A call that takes half of its timeout is slow, unless the policy says what is.
    """
    made = _settings(holder, "breaker", BREAKER, base, Breaker())
    if made is None:
        return None
    if made.open_max < made.open_for and "breaker" in holder:
        which = "open_max" if "open_max" in holder["breaker"] else "open_for"
        what = "`open_max`, the longest that a breaker is open, is shorter than `open_for`"
        holder.fault(("breaker", which), "value", what)
        return base
    said = (holder["breaker"], holder.source.value.get("breaker"))
    if timeout is not None and not any(isinstance(e, dict) and "slow_after" in e for e in said):
        made = replace(made, slow_after=timeout // 2)
    return made


def record(holder: Part) -> Keeping:
    """How much is kept of what is said and given; all of it where nothing is said of that."""
    if "record" not in holder:
        return WHOLE
    part = Part(holder.source, (*holder.path, "record"), holder["record"], RECORD)
    return Keeping(**{word: part.choice(word, KEEPS, "whole") for word in RECORD})


def _settings(
    holder: Part,
    key: str,
    words: Mapping[str, Reader],
    base: _Settings | None,
    usual: _Settings,
) -> _Settings | None:
    """The settings under a key: what it says, and the rest from `base`."""
    said = holder[key]
    if key not in holder:
        return base
    if said == OFF:
        return None
    if not isinstance(said, dict):
        what = f"expected `{OFF}` or a mapping with some of {', '.join(words)}; {found(said)}"
        holder.fault((key,), "type", what)
        return base
    part = Part(holder.source, (*holder.path, key), said, tuple(words))
    read = {word: reader(part, word) for word, reader in words.items() if word in part}
    # Where something is at fault there will be no policy, and what was read is no setting.
    return replace(base or usual, **read) if holder.source.sound(part.path) else base
